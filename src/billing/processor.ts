import { type ProcessPorts, processEvents } from './process-events.ts'

export interface Processor {
  /** Works off what is due; one run at a time in this process, and one more when something came meanwhile. Rejects as `processEvents` does. */
  run(): Promise<void>
  /** The same, in the background. */
  soon(): void
}

export function createProcessor(ports: ProcessPorts): Processor {
  let running: Promise<void> | null = null
  let again = false

  async function work(): Promise<void> {
    do {
      again = false
      await processEvents(ports)
    } while (again)
  }

  function run(): Promise<void> {
    again = true
    running ??= work().finally(() => {
      running = null
    })
    return running
  }

  return {
    run,
    soon() {
      // The job comes round in a moment.
      run().catch((error: unknown) => ports.log.warn({ err: error }, 'events could not be worked off'))
    },
  }
}
