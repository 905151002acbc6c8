import { constants } from 'node:os'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Runs `work`, which cleans up after itself, and lets a signal end it early instead of ending the process on the spot. Returns the
 * exit status: that of `work`, or the shell's number for the signal.
 */
export async function interruptible(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const controller = new AbortController()
  let interruptedBy: (typeof SIGNALS)[number] | undefined
  const interrupt = (signal: (typeof SIGNALS)[number]) => {
    interruptedBy ??= signal
    controller.abort()
  }
  for (const signal of SIGNALS) process.on(signal, interrupt)
  try {
    const status = await work(controller.signal)
    return interruptedBy ? 128 + constants.signals[interruptedBy] : status
  } catch (error) {
    if (!interruptedBy) throw error
    return 128 + constants.signals[interruptedBy]
  } finally {
    for (const signal of SIGNALS) process.removeListener(signal, interrupt)
  }
}
