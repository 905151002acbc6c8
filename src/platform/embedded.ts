/**
 * A real PostgreSQL of our own, for whoever starts farebox without a DATABASE_URL: the binaries come from npm, the data stay
 * in the data directory, and the server listens on loopback only, with a password.
 *
 * The server lives and dies with this process. Where it dies alone it is started again on the same port; where we die
 * alone (kill -9) the next farebox ends it and starts its own.
 */
import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { prepareBinaries } from './embedded/binaries.ts'
import { type Cluster, dataOf, SUPERUSER } from './embedded/cluster.ts'
import { endOrphan } from './embedded/end.ts'
import { EmbeddedError, fromFileError } from './embedded/error.ts'
import { clusterMajor, makeCluster } from './embedded/make.ts'
import { type Place, settle } from './embedded/place.ts'
import { takeLock } from './embedded/process-lock.ts'
import { supervise } from './embedded/supervise.ts'
import type { PlatformLog } from './log.ts'

export { EmbeddedError, type EmbeddedErrorCode } from './embedded/error.ts'

const DATABASE = 'farebox'

export interface EmbeddedOptions {
  /** Made when it is missing. One farebox at a time. */
  readonly dataDir: string
  /** False only where the data may be lost, as in tests: it trades durability for speed. */
  readonly fsync?: boolean
  /** Server settings over ours, by their names in postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>
  readonly log: PlatformLog
}

export interface EmbeddedDatabase {
  /** The database `farebox`, as its superuser. Valid until `stop`, also across a restart of the server. */
  readonly url: string
  /** The maintenance database `postgres` of the same server, for CREATE DATABASE. */
  readonly adminUrl: string
  /** Such as 18.4. */
  readonly version: string
  /** Where the data really are: not below `dataDir` when root started us and the server's account cannot go there. */
  readonly root: string
  /** Shuts the server down and waits for it. Safe to call again. */
  stop(): Promise<void>
}

/** For a machine with two cores and some gigabytes that also runs the service. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  cluster_name: 'farebox',
  max_connections: '60',
  shared_buffers: '256MB',
  full_page_writes: 'on',
  wal_compression: 'on',
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  // Our statements are short: compiling them costs more than it gains.
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_checkpoints: 'off',
}

const NOT_DURABLE: Readonly<Record<string, string>> = { fsync: 'off', full_page_writes: 'off' }

/** Starts the server, making the database first where there is none, and returns when it takes connections. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const { log, fsync = true } = options
  const place = settle(options.dataDir, log)
  const lock = takeLock(place.root)
  try {
    const binaries = prepareBinaries(place)
    refuseOtherMajor(place, binaries.major)
    const settings = { ...SETTINGS, fsync: 'on', ...(fsync ? {} : NOT_DURABLE), ...options.settings }
    const cluster: Cluster = { place, binaries, settings, log }
    await endOrphan(cluster, lock.orphan)
    const password = passwordOf(place)
    if (!existsSync(dataOf(place))) makeCluster(cluster, join(place.root, 'password'), fsync)
    const server = await supervise(cluster, lock.note)
    const address = `postgresql://${SUPERUSER}:${password}@127.0.0.1:${server.port}`
    let stopped: Promise<void> | undefined
    const stop = () => {
      stopped ??= server.stop().then(lock.release)
      return stopped
    }
    try {
      await ensureDatabase(`${address}/postgres`)
    } catch (error) {
      await stop()
      throw error
    }
    return { url: `${address}/${DATABASE}`, adminUrl: `${address}/postgres`, version: binaries.version, root: place.root, stop }
  } catch (error) {
    lock.release()
    throw error
  }
}

function refuseOtherMajor(place: Place, major: number): void {
  const found = clusterMajor(place)
  if (found === undefined || found === major) return
  throw new EmbeddedError(
    'data_dir_version',
    `The database in ${dataOf(place)} is of PostgreSQL ${found}, and this farebox brings PostgreSQL ${major}: move the data with pg_dump and psql, or use another data directory.`,
  )
}

/** The superuser's password: made with the cluster, readable by its owner only. */
function passwordOf(place: Place): string {
  const path = join(place.root, 'password')
  try {
    if (existsSync(path)) return readFileSync(path, 'utf8').trim()
    if (existsSync(dataOf(place))) {
      throw new EmbeddedError('start_failed', `${path} is missing, so that nobody can log in to the database beside it. Restore the file.`)
    }
    const password = randomBytes(24).toString('base64url')
    writeFileSync(path, `${password}\n`, { mode: 0o600 })
    if (place.account) chownSync(path, place.account.uid, place.account.gid)
    return password
  } catch (error) {
    throw fromFileError(error, path)
  }
}

async function ensureDatabase(adminUrl: string): Promise<void> {
  const client = new Client({ connectionString: adminUrl })
  try {
    await client.connect()
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE])
    if (rowCount === 0) await client.query(`create database ${DATABASE}`)
  } catch (error) {
    const cause = error as Error & { code?: string }
    const code = cause.code === '53100' ? 'disk_full' : 'start_failed'
    throw new EmbeddedError(code, `The embedded PostgreSQL does not serve: ${cause.message}`, { cause })
  } finally {
    await client.end().catch(() => {})
  }
}
