import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Config, ConfigError, readConfig } from '../config.ts'
import { dataOf, SUPERUSER } from '../platform/embedded/cluster.ts'
import { isReady, runningPostmaster } from '../platform/embedded/pid-file.ts'
import type { Place } from '../platform/embedded/place.ts'
import { startOf } from '../platform/embedded/process-lock.ts'
import { EmbeddedError, startEmbedded } from '../platform/embedded.ts'
import { migrate, migrationStatus } from '../platform/migrate.ts'
import { Failure, note, type Ports } from './command.ts'

/**
 * The database of a command is the one of the service: that of DATABASE_URL, or the embedded one. There can be only one server on a
 * data directory, so a command joins the one that a running service has started, and starts one itself only where none runs.
 */

export interface OpenDatabase {
  readonly url: string
  /** Which one it is, for a sentence. */
  readonly where: string
  readonly embedded: boolean
  /** Stops the server where this command has started it. */
  close(): Promise<void>
}

/** The database that the embedded server makes; `platform/embedded.ts` names it so. */
const DATABASE = 'farebox'
/** A service that is just starting may have to replay its log first. */
const STARTING_MS_MAX = 30_000
const POLL_MS = 100

/** Signals that must not leave behind a server that we have started. */
const SIGNALS = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const

/**
 * The configuration of a command that needs the database and no secrets: in production it asks for DATABASE_URL alone.
 * @throws ConfigError
 */
export function readDatabaseConfig(env: NodeJS.ProcessEnv): Config {
  if (env.NODE_ENV !== 'production') return readConfig(env)
  if (!env.DATABASE_URL) throw new ConfigError(['DATABASE_URL: is required in production (postgresql://user:password@host/database)'])
  return Object.freeze({ ...readConfig({ ...env, NODE_ENV: 'development' }), NODE_ENV: 'production' })
}

/**
 * Opens the database of the service.
 * @param make whether to make the embedded database where there is none yet
 * @throws Failure where there is none, EmbeddedError where it cannot be started
 */
export async function openDatabase(config: Config, { make = false } = {}): Promise<OpenDatabase> {
  if (config.DATABASE_URL) {
    return { url: config.DATABASE_URL, where: 'the one of DATABASE_URL', embedded: false, async close() {} }
  }
  if (!make && !hasEmbedded(config)) {
    throw new Failure(
      `There is no database in ${shown(config.DATA_DIR)} yet. Start the service once ("npm start"), or set DATABASE_URL or DATA_DIR to where it is.`,
    )
  }
  for (const deadline = Date.now() + STARTING_MS_MAX; ; await sleep(POLL_MS)) {
    const running = findRunning(config)
    if (running)
      return {
        url: running,
        where: `the embedded one of the running service in ${shown(config.DATA_DIR)}`,
        embedded: true,
        async close() {},
      }
    try {
      return await startOwn(config)
    } catch (error) {
      const busy = error instanceof EmbeddedError && error.code === 'data_dir_in_use'
      if (!busy || Date.now() > deadline) throw error
    }
  }
}

/** Whether the data directory has an embedded database. */
export function hasEmbedded(config: Config): boolean {
  return existsSync(dataOf(placeOf(config)))
}

/** Where the files of the embedded database really are: the data directory may only point there. */
export function placeOf(config: Config): Place {
  const pointer = join(config.DATA_DIR, 'location')
  const root = existsSync(pointer) ? readFileSync(pointer, 'utf8').trim() : resolve(config.DATA_DIR)
  // The server is told from others by its command line, which has the directory with links resolved.
  return { root: existsSync(root) ? realpathSync(root) : root, account: undefined }
}

/** The address of the embedded server when a live farebox has one running; undefined otherwise. */
function findRunning(config: Config): string | undefined {
  const place = placeOf(config)
  const lock = readIfThere(join(place.root, 'farebox.lock'))
  // A server whose farebox died is about to be ended by the next one: that is no server to join.
  if (lock === undefined || !isAlive(lock)) return undefined
  const pid = runningPostmaster(place)
  if (pid === undefined || !isReady(place, pid)) return undefined
  const port = readIfThere(join(dataOf(place), 'postmaster.pid'))
    ?.split('\n')[3]
    ?.trim()
  const password = readIfThere(join(place.root, 'password'))?.trim()
  return port && password ? `postgresql://${SUPERUSER}:${password}@127.0.0.1:${port}/${DATABASE}` : undefined
}

async function startOwn(config: Config): Promise<OpenDatabase> {
  const log = { info: () => {}, warn: note }
  const server = await startEmbedded({ dataDir: config.DATA_DIR, log })
  const handlers = SIGNALS.map(([signal, status]) => {
    // Leaving by `exit` takes the server down, too; dying of the signal would not.
    const leave = () => process.exit(status)
    process.once(signal, leave)
    return () => process.removeListener(signal, leave)
  })
  return {
    url: server.url,
    where: `the embedded one in ${shown(server.root)}`,
    embedded: true,
    async close() {
      await server.stop()
      for (const remove of handlers) remove()
    },
  }
}

/** Runs some work on the database and closes it whatever happens. */
export async function withDatabase<T>(
  config: Config,
  options: { make?: boolean },
  work: (database: OpenDatabase) => Promise<T>,
): Promise<T> {
  const database = await openDatabase(config, options)
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

/**
 * Sees to it that the schema is the one of this version. The embedded database belongs to this farebox alone, so that a command which
 * may make it also migrates it, as a start would. @throws Failure where migrations are pending
 */
export async function requireSchema(
  { migrationsDir: dir }: Pick<Ports, 'migrationsDir'>,
  { url, embedded }: OpenDatabase,
  make = false,
): Promise<void> {
  if (make && embedded) await migrate(url, { dir, log: { info: () => {}, warn: note } })
  const { pending } = await migrationStatus(url, { dir })
  if (pending.length > 0) throw new Failure(`${pending.length} migrations are pending. Run "farebox migrate" first.`)
}

/** A process id alone proves nothing: ids are used again. */
function isAlive(lock: string): boolean {
  const { pid, startedAt } = JSON.parse(lock) as { pid: number; startedAt?: string }
  return startedAt !== undefined && startOf(pid) === startedAt
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    if (code === 'EACCES') throw new Failure(`${path} belongs to another user. Run this as the user who runs the service.`)
    throw error
  }
}

/** A path as a person would write it. */
export function shown(path: string): string {
  const short = relative('.', path)
  return short === '' || short.startsWith('..') ? path : short
}
