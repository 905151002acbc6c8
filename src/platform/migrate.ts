/**
 * Applies prisma/migrations with nothing but `pg`, so that production needs neither Prisma's command line nor its engine.
 * The table, the checksum and the advisory lock are Prisma's own: `prisma migrate` and we can work on one database by turns.
 *
 * Each file runs in one transaction together with its row in the table, so that a file is applied as a whole or not at all.
 */
import { createHash, randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client, type DatabaseError } from 'pg'
import type { PlatformLog } from './log.ts'

/** `unreadable`: the directory; `changed`: an applied file; `unfinished`: half a migration by another tool; `failed`: the SQL. */
export type MigrationErrorCode = 'unreadable' | 'changed' | 'unfinished' | 'failed'

/** The message is one line for the operator. Branch on `code`, never on the message. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError'
  readonly code: MigrationErrorCode

  constructor(code: MigrationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export interface MigrationStatus {
  readonly applied: readonly string[]
  readonly pending: readonly string[]
  /** Begun by another tool and neither finished nor rolled back. */
  readonly failed: readonly string[]
  /** Applied, and the file is no longer the one that was applied. */
  readonly changed: readonly string[]
  /** Applied, and there is no such file: the database was migrated by a newer farebox. */
  readonly unknown: readonly string[]
}

interface Migration {
  readonly name: string
  readonly sql: string
  readonly checksum: string
}

interface Row {
  readonly name: string
  readonly checksum: string
  readonly finished: boolean
}

/** The lock that `prisma migrate` takes, too. */
const ADVISORY_LOCK = 72707369
/** How long one process waits for another's migrations before it gives up. */
const LOCK_WAIT_MS_MAX = 10 * 60_000
const CONNECT_MS_MAX = 10_000

const TABLE = `
create table if not exists _prisma_migrations (
  id varchar(36) primary key not null,
  checksum varchar(64) not null,
  finished_at timestamptz,
  migration_name varchar(255) not null,
  logs text,
  rolled_back_at timestamptz,
  started_at timestamptz not null default now(),
  applied_steps_count integer not null default 0
)`

/** Applies what is pending, in the order of the names. Safe to call from any number of processes at once: the others wait. */
export async function migrate(url: string, { dir, log }: { dir: string; log: PlatformLog }): Promise<{ applied: string[] }> {
  const migrations = await readMigrations(dir)
  return withClient(url, async (client) => {
    // A limit that the role or the URL sets is meant for requests, not for building an index.
    await client.query('set statement_timeout = 0')
    await client.query('set idle_in_transaction_session_timeout = 0')
    await takeLock(client, log)
    await client.query(TABLE)
    const status = compare(migrations, await readRows(client))
    refuseTrouble(status)
    if (status.unknown.length > 0) log.warn(`The database has migrations of a newer farebox: ${status.unknown.join(', ')}`)
    for (const name of status.pending) {
      const migration = migrations.find((candidate) => candidate.name === name) as Migration
      const startedAt = Date.now()
      await apply(client, migration)
      log.info(`Applied migration ${name} in ${Date.now() - startedAt} ms`)
    }
    return { applied: [...status.pending] }
    // The lock ends with the session.
  })
}

/** Compares the directory with the database and changes nothing. */
export async function migrationStatus(url: string, { dir }: { dir: string }): Promise<MigrationStatus> {
  const migrations = await readMigrations(dir)
  return withClient(url, async (client) => compare(migrations, await readRows(client)))
}

async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, application_name: 'farebox-migrate', connectionTimeoutMillis: CONNECT_MS_MAX })
  // Without a listener a connection that is lost between two queries would end the process; the next query reports it.
  client.on('error', () => {})
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

async function takeLock(client: Client, log: PlatformLog): Promise<void> {
  const { rows } = await client.query<{ taken: boolean }>('select pg_try_advisory_lock($1) as taken', [ADVISORY_LOCK])
  if (rows[0]?.taken) return
  log.info('Another process is migrating this database; waiting for it')
  await client.query(`set lock_timeout = ${LOCK_WAIT_MS_MAX}`)
  await client.query('select pg_advisory_lock($1)', [ADVISORY_LOCK])
  await client.query('reset lock_timeout')
}

async function readMigrations(dir: string): Promise<Migration[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true })
    const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
    return await Promise.all(
      names.sort().map(async (name) => {
        const bytes = await readFile(join(dir, name, 'migration.sql'))
        return { name, sql: bytes.toString('utf8'), checksum: createHash('sha256').update(bytes).digest('hex') }
      }),
    )
  } catch (cause) {
    throw new MigrationError('unreadable', `The migrations in ${dir} cannot be read: ${(cause as Error).message}`, { cause })
  }
}

async function readRows(client: Client): Promise<Row[]> {
  const { rows: found } = await client.query<{ exists: boolean }>(`select to_regclass('_prisma_migrations') is not null as exists`)
  if (!found[0]?.exists) return []
  const { rows } = await client.query<Row>(
    `select migration_name as name, checksum, finished_at is not null as finished
     from _prisma_migrations where rolled_back_at is null order by started_at, migration_name`,
  )
  return rows
}

function compare(migrations: readonly Migration[], rows: readonly Row[]): MigrationStatus {
  const finished = new Map(rows.filter((row) => row.finished).map((row) => [row.name, row.checksum]))
  const known = new Set(migrations.map(({ name }) => name))
  return {
    applied: [...finished.keys()],
    pending: migrations.filter(({ name }) => !finished.has(name)).map(({ name }) => name),
    failed: rows.filter((row) => !row.finished && !finished.has(row.name)).map((row) => row.name),
    changed: migrations.filter(({ name, checksum }) => finished.has(name) && finished.get(name) !== checksum).map(({ name }) => name),
    unknown: [...finished.keys()].filter((name) => !known.has(name)),
  }
}

function refuseTrouble({ failed, changed }: MigrationStatus): void {
  if (changed.length > 0) {
    throw new MigrationError(
      'changed',
      `Migration ${changed.join(', ')} was edited after it was applied to this database: restore the file and put the change into a new migration.`,
    )
  }
  if (failed.length > 0) {
    throw new MigrationError(
      'unfinished',
      `Migration ${failed.join(', ')} was begun by another tool and never finished: repair the database, then use "prisma migrate resolve".`,
    )
  }
}

async function apply(client: Client, migration: Migration): Promise<void> {
  refuseTransactionControl(migration)
  await client.query('begin')
  try {
    await client.query(migration.sql)
    await client.query(
      `insert into _prisma_migrations (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
       values ($1, $2, $3, now(), clock_timestamp(), 1)`,
      [randomUUID(), migration.checksum, migration.name],
    )
    await client.query('commit')
  } catch (error) {
    await client.query('rollback').catch(() => {})
    throw new MigrationError(
      'failed',
      `Migration ${migration.name} failed${reasonOf(error as DatabaseError, migration.sql)}. Nothing of it was applied.`,
      {
        cause: error,
      },
    )
  }
}

/** A COMMIT in the file would end our transaction, and what follows a failure would stay half done. */
function refuseTransactionControl({ name, sql }: Migration): void {
  const found = /^[ \t]*(begin|start transaction|commit|rollback)[ \t]*(transaction|work)?[ \t]*;/im.exec(withoutBodies(sql))
  if (!found) return
  throw new MigrationError(
    'failed',
    `Migration ${name} has "${found[0].trim()}" of its own, but each migration runs in one transaction: take it out.`,
  )
}

/** Without comments and dollar-quoted bodies, where the same words are text or PL/pgSQL. */
function withoutBodies(sql: string): string {
  return sql.replace(/--[^\n]*|\/\*[\s\S]*?\*\/|\$(\w*)\$[\s\S]*?\$\1\$/g, '')
}

function reasonOf({ position, message, code }: DatabaseError, sql: string): string {
  // PostgreSQL counts characters from 1, and a character outside the basic plane is one to it.
  const line = position ? ` at line ${[...sql].slice(0, Number(position) - 1).filter((character) => character === '\n').length + 1}` : ''
  return `${line}: ${message.split('\n')[0]}${code ? ` (${code})` : ''}`
}
