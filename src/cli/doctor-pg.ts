import pg from 'pg'
import { JOBS_SCHEMA } from '../jobs/runner.ts'
import { TABLE_RIGHTS } from './rights.ts'

/** What a doctor asks of a database, in one connection and without changing anything. */
export interface Vitals {
  readonly version: string
  readonly versionNumber: number
  /** Settings by their names in postgresql.conf. */
  readonly settings: Readonly<Record<string, string>>
  /** Milliseconds that the database's clock is ahead of ours, and how far off that figure may be. */
  readonly clockAheadMs: number
  readonly clockErrorMs: number
  readonly role: string
  readonly isSuperuser: boolean
}

/** The state of the service's own tables; only of a migrated database. */
export interface Contents {
  /** Rights on our tables that the role lacks, such as "insert on transactions". */
  readonly missingRights: readonly string[]
  /** What the role may do to rows that are written once, such as "update on transactions". */
  readonly needlessRights: readonly string[]
  /** Tables of ours that belong to the role, so that it could take their triggers away. */
  readonly ownTables: number
  readonly hasJobs: boolean
  readonly models: number
  readonly rates: number
  readonly policies: number
  readonly activeKeys: number
  readonly staleHolds: number
}

export interface Examination {
  vitals(): Promise<Vitals>
  contents(): Promise<Contents>
  end(): Promise<void>
}

const CONNECT_MS_MAX = 5_000
const STATEMENT_MS_MAX = 10_000
/** As long as invariant I17 lets a hold be late. */
const STALE_HOLD = '60 seconds'

/** What can be done to rows that are there. */
const CHANGES = ['update', 'delete', 'truncate']

/** Each right on each of our tables, and whether the service needs it. */
const RIGHTS = Object.entries(TABLE_RIGHTS).flatMap(([table, rights]) =>
  ['select', 'insert', ...CHANGES].map((right) => ({ table, right, needed: rights.some((one) => one === right) })),
)

/** Connects. @throws what the driver or the server says */
export async function examine(url: string): Promise<Examination> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'farebox-doctor',
    connectionTimeoutMillis: CONNECT_MS_MAX,
    statement_timeout: STATEMENT_MS_MAX,
  })
  client.on('error', () => {})
  await client.connect()
  return { vitals: () => readVitals(client), contents: () => readContents(client), end: () => client.end() }
}

async function readVitals(client: pg.Client): Promise<Vitals> {
  const { rows: settings } = await client.query<{ name: string; setting: string }>(
    `select name, setting from pg_settings
     where name in ('server_version', 'server_version_num', 'synchronous_commit', 'fsync', 'full_page_writes', 'max_connections')`,
  )
  const { rows: roles } = await client.query<{ role: string; super: boolean }>(
    'select rolname as role, rolsuper as super from pg_roles where rolname = current_user',
  )
  const before = Date.now()
  const { rows: clocks } = await client.query<{ ms: string }>('select extract(epoch from clock_timestamp()) * 1000 as ms')
  const after = Date.now()
  const byName = Object.fromEntries(settings.map(({ name, setting }) => [name, setting]))
  return {
    version: byName.server_version ?? 'unknown',
    versionNumber: Number(byName.server_version_num),
    settings: byName,
    clockAheadMs: Math.round(Number(clocks[0]?.ms) - (before + after) / 2),
    clockErrorMs: Math.ceil((after - before) / 2),
    role: roles[0]?.role ?? 'unknown',
    isSuperuser: roles[0]?.super ?? false,
  }
}

async function readContents(client: pg.Client): Promise<Contents> {
  const { rows: rights } = await client.query<{ has: boolean }>(
    `select has_table_privilege(r.name, r.privilege) as has
     from unnest($1::text[], $2::text[]) with ordinality as r(name, privilege, n) order by n`,
    [RIGHTS.map(({ table }) => table), RIGHTS.map(({ right }) => right)],
  )
  const named = RIGHTS.map((one, index) => ({ ...one, has: rights[index]?.has === true, name: `${one.right} on ${one.table}` }))
  const { rows: found } = await client.query<Record<string, string>>(
    `select
       (select count(*) from pg_tables where schemaname = 'public' and tableowner = current_user) as "ownTables",
       (select count(*) from pg_tables where schemaname = '${JOBS_SCHEMA}' and tablename = 'version') as "hasJobs",
       (select count(distinct model) from price_versions where effective_from <= now()) as models,
       (select count(*) from exchange_rates where purpose = 'consumption' and effective_from <= now()) as rates,
       (select count(*) from charge_policies where effective_from <= now()) as policies,
       (select count(*) from api_keys where revoked_at is null and (expires_at is null or expires_at > now())) as "activeKeys",
       (select count(*) from reservations where status = 'held' and expires_at < now() - interval '${STALE_HOLD}') as "staleHolds"`,
  )
  const row = found[0] ?? {}
  return {
    missingRights: named.filter(({ needed, has }) => needed && !has).map(({ name }) => name),
    needlessRights: named.filter(({ needed, has, right }) => !needed && has && CHANGES.includes(right)).map(({ name }) => name),
    ownTables: Number(row.ownTables),
    hasJobs: Number(row.hasJobs) === 1,
    models: Number(row.models),
    rates: Number(row.rates),
    policies: Number(row.policies),
    activeKeys: Number(row.activeKeys),
    staleHolds: Number(row.staleHolds),
  }
}
