import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import t, { type Test } from 'tap'
import type { PlatformLog } from '../../src/platform/log.ts'
import { MigrationError, migrate, migrationStatus } from '../../src/platform/migrate.ts'
import { createTestDatabase } from '../helpers/database.ts'

type Files = Record<string, string>

const silent = { info() {}, warn() {} }

/** An empty database, a directory with the given migrations, and a connection to look at the outcome. */
async function setUp(t: Test, files: Files) {
  const { url } = await createTestDatabase(t, { migrated: false })
  const dir = await mkdtemp(join(tmpdir(), 'farebox-migrate-'))
  t.teardown(() => rm(dir, { recursive: true }))
  await write(dir, files)
  const client = new Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  const values = async (sql: string) => (await client.query({ text: sql, rowMode: 'array' })).rows.map(([value]) => value)
  return { url, dir, client, values, run: (log: PlatformLog = silent) => migrate(url, { dir, log }) }
}

async function write(dir: string, files: Files) {
  for (const [name, sql] of Object.entries(files)) {
    await mkdir(join(dir, name), { recursive: true })
    await writeFile(join(dir, name, 'migration.sql'), sql)
  }
}

/** The error of a migration that must not succeed; also checks that its message is one line. */
async function refusal(t: Test, attempt: Promise<unknown>): Promise<MigrationError> {
  const error = await attempt.then(
    () => t.fail('it should have been refused') as never,
    (reason: unknown) => reason,
  )
  t.ok(error instanceof MigrationError, String(error))
  t.notMatch((error as Error).message, /\n/, 'the message is one line')
  return error as MigrationError
}

const FIRST = { '20260101000000_first': 'create table first (id int primary key);\ninsert into first values (1);\n' }
const SECOND = { '20260102000000_second': 'alter table first add column note text;' }

t.test('applies what is pending in the order of the names, once', async (t) => {
  const { dir, url, run, values } = await setUp(t, { ...SECOND, ...FIRST })
  await writeFile(join(dir, 'migration_lock.toml'), 'provider = "postgresql"')
  t.same(await migrationStatus(url, { dir }), {
    applied: [],
    pending: ['20260101000000_first', '20260102000000_second'],
    failed: [],
    changed: [],
    unknown: [],
  })
  t.same(
    await values(`select count(*)::int from pg_class where relname = '_prisma_migrations'`),
    [0],
    'asking for the status made no table',
  )
  t.same(await run(), { applied: ['20260101000000_first', '20260102000000_second'] })
  t.same(await run(), { applied: [] })
  t.same(await values('select migration_name from _prisma_migrations where finished_at is not null order by started_at'), [
    '20260101000000_first',
    '20260102000000_second',
  ])
  t.match((await values('select checksum from _prisma_migrations'))[0], /^[0-9a-f]{64}$/)
  t.same((await migrationStatus(url, { dir })).pending, [])
})

t.test('processes that start at once apply each migration once', async (t) => {
  const { run, values } = await setUp(t, { ...FIRST, '20260102000000_slow': 'select pg_sleep(0.1); create table slow ();' })
  const results = await Promise.all(Array.from({ length: 6 }, () => run()))
  t.equal(results.flatMap(({ applied }) => applied).length, 2)
  t.same(await values('select count(*)::int from _prisma_migrations'), [2])
})

t.test('waits for whoever holds the lock of Prisma', async (t) => {
  const { run, client } = await setUp(t, FIRST)
  await client.query('select pg_advisory_lock(72707369)')
  const waiting = Promise.withResolvers<string>()
  const running = run({ ...silent, info: waiting.resolve })
  t.match(await waiting.promise, /waiting/)
  await client.query('select pg_advisory_unlock(72707369)')
  t.same(await running, { applied: ['20260101000000_first'] })
})

t.test('a migration that fails leaves nothing behind, and says where it failed', async (t) => {
  const broken = '20260102000000_broken'
  const { dir, run, values } = await setUp(t, { ...FIRST, [broken]: `-- 💰\ncreate table half ();\n\ninsert into nowhere values (1);\n` })
  const error = await refusal(t, run())
  t.equal(error.code, 'failed')
  t.match(error.message, /20260102000000_broken failed at line 4: .*nowhere.*\(42P01\)/)
  t.same(await values(`select count(*)::int from pg_class where relname = 'half'`), [0])
  t.same(await values('select migration_name from _prisma_migrations'), ['20260101000000_first'])
  await write(dir, { [broken]: 'create table half ();' })
  t.same(await run(), { applied: [broken] }, 'once mended it is applied')
})

t.test('a check that only fails at the commit leaves nothing behind either', async (t) => {
  const deferred = `create table child (id int references first deferrable initially deferred);\ninsert into child values (7);`
  const { run, values } = await setUp(t, { ...FIRST, '20260102000000_deferred': deferred })
  t.match((await refusal(t, run())).message, /\(23503\)/)
  t.same(await values('select migration_name from _prisma_migrations'), ['20260101000000_first'])
})

t.test('refuses when an applied file was edited', async (t) => {
  const { dir, url, run, values } = await setUp(t, FIRST)
  await run()
  await write(dir, { '20260101000000_first': 'create table other ();', ...SECOND })
  const error = await refusal(t, run())
  t.equal(error.code, 'changed')
  t.match(error.message, /20260101000000_first was edited/)
  t.same((await migrationStatus(url, { dir })).changed, ['20260101000000_first'])
  t.same(await values(`select count(*)::int from information_schema.columns where table_name = 'first'`), [1], 'nothing later was applied')
})

t.test('refuses when another tool left a migration half done', async (t) => {
  const { dir, url, run, client } = await setUp(t, FIRST)
  await run()
  await write(dir, SECOND)
  await client.query(`insert into _prisma_migrations (id, checksum, migration_name) values ('x', 'x', '20260102000000_second')`)
  t.equal((await refusal(t, run())).code, 'unfinished')
  t.same((await migrationStatus(url, { dir })).failed, ['20260102000000_second'])
  await client.query(`update _prisma_migrations set rolled_back_at = now() where id = 'x'`)
  t.same(await run(), { applied: ['20260102000000_second'] }, 'what was resolved as rolled back is applied again')
})

t.test('an older farebox runs against a database that a newer one migrated', async (t) => {
  const { dir, url, run } = await setUp(t, { ...FIRST, ...SECOND })
  await run()
  await rm(join(dir, '20260102000000_second'), { recursive: true })
  const warnings: string[] = []
  t.same(await run({ ...silent, warn: (message) => void warnings.push(message) }), { applied: [] })
  t.match(warnings, [/20260102000000_second/])
  t.same((await migrationStatus(url, { dir })).unknown, ['20260102000000_second'])
})

t.test('a migration may not end the transaction that it runs in', async (t) => {
  const { dir, run, values } = await setUp(t, { '20260101000000_own': 'create table own ();\nCOMMIT;\ncreate table later ();' })
  t.match((await refusal(t, run())).message, /"COMMIT;" of its own/)
  t.same(await values(`select count(*)::int from pg_class where relname in ('own', 'later')`), [0])
  const routine = `-- rollback;\ncreate procedure p() language plpgsql as $$ begin\n  commit;\nend; $$;`
  await write(dir, { '20260101000000_own': routine })
  t.same(await run(), { applied: ['20260101000000_own'] }, 'the same words in a body or a comment are fine')
})

t.test('limits that the database sets for requests do not stop a long migration', async (t) => {
  const { run, client } = await setUp(t, { '20260101000000_long': 'select pg_sleep(0.2)' })
  await client.query(`do $$ begin execute format('alter database %I set statement_timeout = ''50ms''', current_database()); end $$`)
  t.same(await run(), { applied: ['20260101000000_long'] })
})

t.test('says which migrations it cannot read', async (t) => {
  const { dir, url } = await setUp(t, {})
  await mkdir(join(dir, '20260101000000_empty'))
  for (const path of [dir, join(dir, 'absent')]) {
    const error = await refusal(t, migrate(url, { dir: path, log: silent }))
    t.equal(error.code, 'unreadable')
    t.match(error.message, path)
  }
})
