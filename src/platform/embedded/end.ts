import { type ChildProcess, spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Binaries } from './binaries.ts'
import { type Cluster, dataOf } from './cluster.ts'
import { EmbeddedError } from './error.ts'
import { runningPostmaster } from './pid-file.ts'
import type { Place } from './place.ts'

/** A fast shutdown writes out the shared buffers; past this an immediate one is safe, and costs a recovery at the next start. */
const FAST_MS_MAX = 60_000
const IMMEDIATE_MS_MAX = 10_000
const POLL_MS = 20

/** Ends a postmaster of ours and waits for it: fast, and at once when fast takes too long. */
export async function end(child: ChildProcess, { place, binaries }: Cluster): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise<void>((done) => child.once('exit', () => done()))
  interrupt(child.pid, 'fast', place, binaries)
  if (await within(gone, FAST_MS_MAX)) return
  interrupt(child.pid, 'immediate', place, binaries)
  if (await within(gone, IMMEDIATE_MS_MAX)) return
  child.kill('SIGKILL')
  await gone
}

/**
 * Ends the postmaster that an earlier farebox left behind. `noted` is the one that the earlier farebox wrote down, 0 when it
 * died too early for that, undefined when there was no earlier one: a server which someone else started is never touched.
 */
export async function endOrphan({ place, binaries, log }: Cluster, noted: number | undefined): Promise<void> {
  const pid = runningPostmaster(place)
  if (pid === undefined) return
  if (noted === undefined || (noted !== 0 && noted !== pid)) {
    throw new EmbeddedError(
      'data_dir_in_use',
      `PostgreSQL process ${pid}, which farebox did not start, uses ${dataOf(place)}. Stop it first.`,
    )
  }
  log.info(`Ending PostgreSQL process ${pid}, left behind by a farebox that was killed`)
  for (const [mode, limitMs] of [
    ['fast', FAST_MS_MAX],
    ['immediate', IMMEDIATE_MS_MAX],
  ] as const) {
    interrupt(pid, mode, place, binaries)
    for (const deadline = Date.now() + limitMs; Date.now() < deadline; await sleep(POLL_MS)) {
      if (runningPostmaster(place) !== pid) return
    }
  }
  throw new EmbeddedError(
    'data_dir_in_use',
    `PostgreSQL process ${pid}, left behind by a farebox that was killed, does not end: kill it by hand.`,
  )
}

/** SIGINT is a fast shutdown and SIGQUIT an immediate one. Windows has no signals: pg_ctl speaks to the server over a pipe. */
export function interrupt(pid: number, mode: 'fast' | 'immediate', place: Place, binaries: Binaries): void {
  if (process.platform === 'win32') {
    spawnSync(binaries.pgCtl, ['kill', mode === 'fast' ? 'INT' : 'QUIT', String(pid)], { cwd: place.root, windowsHide: true })
    return
  }
  try {
    process.kill(pid, mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return
    throw new EmbeddedError(
      'data_dir_in_use',
      `PostgreSQL process ${pid} uses ${dataOf(place)} and belongs to another user. Stop it first.`,
      {
        cause: error,
      },
    )
  }
}

async function within(event: Promise<void>, limitMs: number): Promise<boolean> {
  const timer = new AbortController()
  const late = sleep(limitMs, false, { signal: timer.signal }).catch(() => false)
  const first = await Promise.race([event.then(() => true), late])
  timer.abort()
  return first
}
