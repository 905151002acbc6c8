import pg from 'pg'
import { JOBS_SCHEMA } from '../jobs/runner.ts'
import { SEQUENCES, TABLE_RIGHTS } from './rights.ts'

/** Gives the service's role what it needs, and takes from it what it does not. */

const CONNECT_MS_MAX = 10_000
/** Two of these at once would meet in the catalogue. The number is ours. */
const ADVISORY_LOCK = 72707370
const UNKNOWN_ROLE = '42704'

/** The name of the role in a database URL; null where it names none. */
export function roleOf(url: string): string | null {
  const { username } = new URL(url)
  return username === '' ? null : decodeURIComponent(username)
}

/**
 * Grants the declared rights to a role, in one transaction, so that a running service never misses one.
 * @param url of the role that owns the tables
 * @returns false where the two roles are the same one: an owner needs no grants
 * @throws Error where there is no such role
 */
export async function grantRights(url: string, role: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, application_name: 'farebox-migrate', connectionTimeoutMillis: CONNECT_MS_MAX })
  client.on('error', () => {})
  await client.connect()
  try {
    const { rows } = await client.query<{ name: string; database: string }>('select current_user as name, current_database() as database')
    const [at] = rows
    if (at === undefined || at.name === role) return false
    await client.query('begin')
    await client.query('select pg_advisory_xact_lock($1)', [ADVISORY_LOCK])
    for (const statement of statements(pg.escapeIdentifier(role), pg.escapeIdentifier(at.database))) await client.query(statement)
    await client.query('commit')
    return true
  } catch (error) {
    if ((error as pg.DatabaseError).code !== UNKNOWN_ROLE) throw error
    throw new Error(`there is no database role "${role}", which DATABASE_URL names: create it ("create role ${role} login password …")`, {
      cause: error,
    })
  } finally {
    await client.end()
  }
}

function statements(role: string, database: string): string[] {
  return [
    `grant connect on database ${database} to ${role}`,
    `grant usage on schema public, ${JOBS_SCHEMA} to ${role}`,
    `revoke all on all tables in schema public from ${role}`,
    ...Object.entries(TABLE_RIGHTS).map(([table, rights]) => `grant ${rights.join(', ')} on ${table} to ${role}`),
    ...SEQUENCES.map((sequence) => `grant usage on sequence ${sequence} to ${role}`),
    // pg-boss makes and names these; none of it is money.
    `grant select, insert, update, delete on all tables in schema ${JOBS_SCHEMA} to ${role}`,
    `grant usage on all sequences in schema ${JOBS_SCHEMA} to ${role}`,
  ]
}
