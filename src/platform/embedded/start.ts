import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readSync, renameSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cluster, dataOf } from './cluster.ts'
import { end } from './end.ts'
import { childEnvironment } from './environment.ts'
import { EmbeddedError, fromFileError, fromOutput } from './error.ts'
import { disownPidFile, isReady } from './pid-file.ts'

/** Replaying the WAL after a crash takes seconds with our `max_wal_size`; minutes only on a disk that hardly works. */
const READY_MS_MAX = 180_000
const READY_NOTICE_MS = 5_000
const READY_POLL_MS = 20
/** Backends outlive a killed postmaster until they look up from their work. */
const RETRY_MS_MAX = 30_000
const RETRY_PAUSE_MS = 200
const LOG_BYTES_MAX = 16 * 1024 * 1024
const LOG_TAIL_BYTES_MAX = 64 * 1024

/** What a new server prints when something is in its way that will pass: backends of a killed one, a port just taken. */
const PASSING = /still in use|Address already in use|lock file .* already exists/i

export interface Launch {
  /** 0 means any free one. */
  readonly port: number
  /** Told of every process at once, so that a failure in the middle leaves none behind unknown. */
  readonly onSpawn: (child: ChildProcess) => void
  readonly signal: AbortSignal
}

/** Starts a postmaster and returns its port once it takes connections. Tries again, for a while, where waiting may help. */
export async function start(cluster: Cluster, { port, onSpawn, signal }: Launch): Promise<number> {
  const deadline = Date.now() + RETRY_MS_MAX
  for (;;) {
    const chosen = port || (await freePort())
    disownPidFile(cluster.place)
    const failure = await tryStart(cluster, { port: chosen, onSpawn, signal })
    if (failure === undefined) return chosen
    if (!PASSING.test(failure) || Date.now() > deadline || signal.aborted) {
      throw fromOutput(failure, 'the server ended while starting', dataOf(cluster.place))
    }
    await sleep(RETRY_PAUSE_MS)
  }
}

/** Undefined when the server is ready; else what it printed before it ended. */
async function tryStart(cluster: Cluster, { port, onSpawn, signal }: Launch): Promise<string | undefined> {
  const { place, binaries, settings, log } = cluster
  const logFile = join(place.root, 'postgres.log')
  const { descriptor, offset } = openLog(logFile)
  const args = ['-D', dataOf(place), '-p', String(port)]
  for (const [name, value] of Object.entries(settings)) args.push('-c', `${name}=${value}`)
  const child = spawn(binaries.postgres, args, {
    ...place.account,
    cwd: dataOf(place),
    env: childEnvironment(),
    // Its log goes to a file, not through us: a pipe that nobody reads any more would stop the server.
    stdio: ['ignore', descriptor, descriptor],
    // A group of its own: Ctrl-C in a terminal is for us, and we need the database to finish what we are doing.
    detached: process.platform !== 'win32',
    windowsHide: true,
  })
  closeSync(descriptor)
  let ended: string | undefined
  child.once('exit', (status, reason) => {
    ended = `ended with ${status ?? reason}`
  })
  child.once('error', (error) => {
    ended = error.message
  })
  onSpawn(child)

  const startedAt = Date.now()
  let noticed = false
  while (!isReady(place, child.pid)) {
    if (ended !== undefined) return `${readFrom(logFile, offset)}\n${ended}`
    const waitedMs = Date.now() - startedAt
    if (waitedMs > READY_NOTICE_MS && !noticed) {
      noticed = true
      log.info(`PostgreSQL is recovering; its log is ${logFile}`)
    }
    if (waitedMs > READY_MS_MAX || signal.aborted) {
      await end(child, cluster)
      throw new EmbeddedError('start_failed', `PostgreSQL was not ready after ${Math.round(waitedMs / 1000)} s; its log is ${logFile}`)
    }
    await sleep(READY_POLL_MS)
  }
  return undefined
}

/** A port that was free a moment ago. The server looks for itself, and the next try takes another. */
function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const server = createServer()
    server.once('error', failed)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => done(port))
    })
  })
}

function openLog(path: string): { descriptor: number; offset: number } {
  try {
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
    if (size > LOG_BYTES_MAX) renameSync(path, `${path}.1`)
    return { descriptor: openSync(path, 'a', 0o600), offset: size > LOG_BYTES_MAX ? 0 : size }
  } catch (error) {
    throw fromFileError(error, path)
  }
}

function readFrom(path: string, offset: number): string {
  const descriptor = openSync(path, 'r')
  try {
    const buffer = Buffer.alloc(LOG_TAIL_BYTES_MAX)
    return buffer.toString('utf8', 0, readSync(descriptor, buffer, 0, buffer.length, offset))
  } finally {
    closeSync(descriptor)
  }
}
