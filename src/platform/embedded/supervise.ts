import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from './cluster.ts'
import { end, interrupt } from './end.ts'
import { start } from './start.ts'

const RESTART_PAUSE_MS_MIN = 100
const RESTART_PAUSE_MS_MAX = 5_000

export interface Supervised {
  readonly port: number
  stop(): Promise<void>
}

/**
 * Starts a postmaster and keeps one running on the same port until `stop`. There is no last attempt: a full disk, which is what
 * mostly ends a postmaster, is a full disk for hours, and the service answers 503 meanwhile.
 */
export async function supervise(cluster: Cluster, note: (postmaster: number) => void): Promise<Supervised> {
  const { place, binaries, log } = cluster
  const stopping = new AbortController()
  const { signal } = stopping
  let current: ChildProcess | undefined
  const onSpawn = (child: ChildProcess) => {
    current = child
    try {
      if (child.pid !== undefined) note(child.pid)
    } catch (error) {
      // On a full disk the server may still come up, and then it must not run unwatched.
      log.warn((error as Error).message)
    }
  }
  // Covers process.exit and an uncaught exception. The lock file stays, so that the next start waits for the server to end.
  const lastWords = () => {
    if (current?.pid !== undefined && isRunning(current)) interrupt(current.pid, 'fast', place, binaries)
  }
  process.once('exit', lastWords)

  let port: number
  try {
    port = await start(cluster, { port: 0, onSpawn, signal })
  } catch (error) {
    if (current) await end(current, cluster)
    process.removeListener('exit', lastWords)
    throw error
  }

  const restart = async () => {
    for (let pauseMs = RESTART_PAUSE_MS_MIN; !signal.aborted; pauseMs = Math.min(pauseMs * 2, RESTART_PAUSE_MS_MAX)) {
      try {
        await start(cluster, { port, onSpawn, signal })
        log.info('PostgreSQL is running again')
        return
      } catch (error) {
        if (signal.aborted) return
        log.warn(`${(error as Error).message} (next attempt in ${pauseMs / 1000} s)`)
        await sleep(pauseMs, undefined, { signal }).catch(() => {})
      }
    }
  }
  const watch = async () => {
    while (current && !signal.aborted) {
      const ended = await exitOf(current, signal)
      if (ended === undefined) break
      log.warn(`PostgreSQL ended unexpectedly (${ended}); starting it again`)
      await restart()
    }
  }
  const watching = watch()

  return {
    port,
    async stop() {
      stopping.abort()
      await watching
      if (current) await end(current, cluster)
      process.removeListener('exit', lastWords)
    },
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

/** How a child ended, or undefined when the signal came first. */
function exitOf(child: ChildProcess, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((done) => {
    const report = () => done(child.signalCode ?? `status ${child.exitCode}`)
    if (!isRunning(child)) report()
    else child.once('exit', report)
    if (signal.aborted) done(undefined)
    else signal.addEventListener('abort', () => done(undefined), { once: true })
  })
}
