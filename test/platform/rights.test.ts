import { readFileSync } from 'node:fs'
import pg from 'pg'
import t, { type Test } from 'tap'
import { SEQUENCES, TABLE_RIGHTS } from '../../src/cli/rights.ts'
import { INVARIANTS } from '../../src/ledger/invariants.ts'
import { verify } from '../../src/ledger/verify-pg.ts'
import { farebox, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { createOwnedDatabase } from '../helpers/owner.ts'
import { startProcess } from '../helpers/process.ts'
import { makeRichBook } from '../helpers/rich-book.ts'
import { callerAt, createService, JWT_SECRET } from '../helpers/service.ts'

/**
 * The role that the service runs as may do what it does and nothing more. All tests that use `createService` run as such a role;
 * here is what it cannot do, and that it comes about as an operator would make it.
 */

t.setTimeout(300_000)

const CODE = { denied: '42501', refusedByTrigger: '23001' }

async function connect(t: Test, url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => client.end())
  return client
}

async function codeOf(client: pg.Client, statement: string): Promise<string | undefined> {
  try {
    await client.query(statement)
    return undefined
  } catch (error) {
    return (error as pg.DatabaseError).code
  }
}

t.test('every table and sequence has its stated rights, and nothing else has', async (t) => {
  const client = await connect(t, (await createTestDatabase(t)).url)
  const { rows: tables } = await client.query<{ name: string }>(`select tablename as name from pg_tables where schemaname = 'public'`)
  t.same(tables.map(({ name }) => name).sort(), Object.keys(TABLE_RIGHTS).sort(), 'state in src/cli/rights.ts what the service does to it')
  // The sequence behind an identity column needs no right.
  const { rows: sequences } = await client.query<{ name: string }>(
    `select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'public' and c.relkind = 'S' and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'i')`,
  )
  t.same(sequences.map(({ name }) => name).sort(), [...SEQUENCES].sort())
})

t.test('what a trigger protects, the role of the service may not touch either', async (t) => {
  const client = await connect(t, (await createTestDatabase(t)).url)
  const { rows } = await client.query<{ name: string }>(
    `select tgrelid::regclass::text as name from pg_trigger where tgname = 'append_only'`,
  )
  t.ok(rows.length >= 10)
  for (const { name } of rows) t.same(TABLE_RIGHTS[name], ['select', 'insert'], name)
})

t.test('a full book is made without a right too many, and none of it can be rewritten', async (t) => {
  const service = await createService(t)
  await makeRichBook(service)
  t.same(await service.unsound(), [])
  const [asService, asOwner] = await Promise.all([connect(t, service.serviceUrl), connect(t, service.url)])
  const append = Object.entries(TABLE_RIGHTS).filter(([, rights]) => !rights.includes('update') && !rights.includes('delete'))
  t.ok(append.length > 10)
  for (const [table] of append) {
    const { rows } = await asOwner.query(`select attname as column from pg_attribute where attrelid = $1::regclass and attnum = 1`, [table])
    const column = (rows[0] as { column: string }).column
    for (const statement of [`update ${table} set ${column} = ${column}`, `delete from ${table}`, `truncate ${table} cascade`]) {
      t.equal(await codeOf(asService, statement), CODE.denied, `the service: ${statement}`)
    }
  }
  for (const statement of ['update transactions set amount = 1', 'delete from transactions', 'truncate transactions']) {
    t.equal(await codeOf(asOwner, statement), CODE.refusedByTrigger, `the owner: ${statement}`)
  }
  for (const statement of [
    'delete from wallets',
    'truncate wallets cascade',
    'delete from idempotency_keys',
    'alter table transactions disable trigger all',
    'drop table transactions',
    'drop trigger append_only on transactions',
    `set session_replication_role = 'replica'`,
    'create table mine (id int)',
    'create schema mine',
    'create or replace function refuse_change() returns trigger language plpgsql as $$ begin return new; end $$',
    `update _prisma_migrations set checksum = ''`,
  ]) {
    t.equal(await codeOf(asService, statement), CODE.denied, statement)
  }
  t.same(await service.unsound(), [])
})

t.test('two roles as an operator makes them: one migrates, one serves', async (t) => {
  const { url, ownerUrl, serviceUrl } = await createOwnedDatabase(t)
  const dataDir = temporary(t)
  // Nobody has to tell the migration the password of the service.
  const nameOnly = new URL(serviceUrl)
  nameOnly.password = ''
  const migration = { NODE_ENV: 'production', MIGRATION_DATABASE_URL: ownerUrl, DATABASE_URL: nameOnly.href, DATA_DIR: dataDir }
  const env = { NODE_ENV: 'production', DATABASE_URL: serviceUrl, DATA_DIR: dataDir, JWT_SECRET }
  await t.rejects(startProcess(t, { ...env, PORT: '0' }), /migrations are pending; run "farebox migrate" first/)

  for (const round of ['first', 'again']) {
    const migrated = await farebox(['migrate'], migration)
    t.equal(migrated.status, 0, `${round}: ${migrated.stderr}`)
    t.match(migrated.stdout, /^The role service_\w+ may use the tables, and cannot change the ledger\.$/m)
  }
  t.notMatch((await farebox(['migrate', 'status'], migration)).stdout, /pending/)
  t.equal((await farebox(['seed'], env)).status, 0)
  const created = await farebox(
    ['keys', 'create', '--name', 'backend', '--scope', 'wallets:write', '--scope', 'usage:write', '--scope', 'grants:write'],
    env,
  )
  t.equal(created.status, 0, created.stderr)
  const key = /fbx_[\w-]+/.exec(created.stdout)?.[0] ?? ''

  const processes = await Promise.all([startProcess(t, { ...env, PORT: '0' }, 'api'), startProcess(t, { ...env, PORT: '0' }, 'worker')])
  const api = callerAt(processes[0].url, () => key)
  const wallet = (await api.made('/v1/wallets', { owner: 'user:alice' })).id
  await api.made('/v1/grants', { wallet, kind: 'purchase', amount: '100' })
  const hold = await api.made('/v1/reservations', { wallet, model: 'gpt-4o-mini', usage: { input_tokens: 1000, output_tokens: 2000 } })
  await api.made(`/v1/reservations/${hold.id}/commit`, { usage: { input_tokens: 1000, output_tokens: 734 } })
  const expiring = await api.made('/v1/reservations', { wallet, amount: '5', ttl_seconds: 1 })
  while ((await api.get(`/v1/reservations/${expiring.id}`)).body.status === 'held') await new Promise((resolve) => setTimeout(resolve, 50))

  const doctor = await farebox(['doctor'], env)
  for (const about of ['role', 'migrations', 'ledger', 'rights', 'jobs']) t.match(doctor.stdout, new RegExp(`^ok    ${about} `, 'm'), about)
  t.equal((await farebox(['verify'], env)).status, 0)
  for (const { output } of processes) t.notMatch(output(), /permission denied/)
  for (const one of processes) t.equal(await one.end(), 0)
  const findings = await verify(url)
  t.equal(findings.length, INVARIANTS.length)
  t.same(
    findings.filter(({ broken }) => broken > 0),
    [],
  )
})

t.test('production refuses to run as a superuser', async (t) => {
  const { url } = await createTestDatabase(t)
  const env = { NODE_ENV: 'production', DATABASE_URL: url, DATA_DIR: temporary(t), JWT_SECRET, PORT: '0' }
  await t.rejects(startProcess(t, env), /farebox: the database role "\w+" is a superuser; give DATABASE_URL one that is not/)
})

t.test('says what is missing where the roles are not there', async (t) => {
  const { ownerUrl } = await createOwnedDatabase(t)
  const nobody = new URL(ownerUrl)
  nobody.username = 'nobody_of_that_name'
  const missing = await farebox(['migrate'], { MIGRATION_DATABASE_URL: ownerUrl, DATABASE_URL: nobody.href })
  t.equal(missing.status, 1)
  t.match(missing.stderr, /^farebox: there is no database role "nobody_of_that_name", which DATABASE_URL names: create it/m)
  nobody.username = ''
  const nameless = await farebox(['migrate'], { MIGRATION_DATABASE_URL: ownerUrl, DATABASE_URL: nobody.href })
  t.equal(nameless.status, 1)
  t.match(nameless.stderr, /^farebox: DATABASE_URL has to name the role of the service/)
})

t.test("the image's database is given both roles", async (t) => {
  const script = readFileSync(new URL('../../deploy/postgres/10-farebox.sh', import.meta.url), 'utf8')
  const sql = /<<'SQL'\n([\s\S]*?)\nSQL/.exec(script)?.[1] ?? ''
  t.match(sql, /^create role farebox_owner login password :'owner_password';$/m)
  t.match(sql, /^create role farebox login password :'password';$/m)
  t.match(sql, /^create database farebox owner farebox_owner;$/m)
})
