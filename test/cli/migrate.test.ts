import pg from 'pg'
import t from 'tap'
import { farebox } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'

t.setTimeout(300_000)

t.test('migrates an empty database, once, and shows where it stands', async (t) => {
  const env = { DATABASE_URL: (await createTestDatabase(t, { migrated: false })).url }
  const before = await farebox(['migrate', 'status'], env)
  t.equal(before.status, 0)
  t.match(before.stdout, /^pending {2}\d{14}_\w+$/m)
  for (const command of ['verify', 'keys']) {
    const early = await farebox(command === 'keys' ? ['keys', 'list'] : [command], env)
    t.equal(early.status, 1)
    t.match(early.stderr, /^farebox: \d+ migrations are pending\. Run "farebox migrate" first\.\n$/)
  }
  const doctor = await farebox(['doctor'], env)
  t.match(doctor.stdout, /^warn {2}migrations {4}\d+ pending\. Run "farebox migrate"/m)

  const first = await farebox(['migrate'], env)
  t.equal(first.status, 0, first.stderr)
  t.match(first.stdout, /^applied {2}\d{14}_\w+$/m)
  t.equal((await farebox(['migrate'], env)).stdout, 'Nothing to do: every migration is applied.\n')
  t.notMatch((await farebox(['migrate', 'status'], env)).stdout, /pending/)
})

t.test('refuses a migration that was edited after it was applied', async (t) => {
  const { url } = await createTestDatabase(t)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(`update _prisma_migrations set checksum = repeat('0', 64)`)
  await client.end()
  const env = { DATABASE_URL: url }
  const migrate = await farebox(['migrate'], env)
  t.equal(migrate.status, 1)
  t.match(migrate.stderr, /^farebox: Migration .* was edited after it was applied.*\n$/)
  const status = await farebox(['migrate', 'status'], env)
  t.equal(status.status, 0)
  t.match(status.stdout, /^applied, and its file was edited since {2}\d{14}_/m)
  t.match((await farebox(['doctor'], env)).stdout, /^fail {2}migrations {4}edited after they were applied/m)
})
