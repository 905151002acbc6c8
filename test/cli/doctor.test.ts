import pg from 'pg'
import t from 'tap'
import { farebox, freePort, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'

t.setTimeout(300_000)

t.test('has one line for each check and says what to do', async (t) => {
  const { serviceUrl } = await createTestDatabase(t)
  const env = { DATABASE_URL: serviceUrl, DATA_DIR: temporary(t) }
  const { stdout } = await farebox(['doctor'], env)
  for (const about of ['node', 'config', 'database', 'commit', 'clock', 'role', 'migrations', 'ledger', 'rights', 'jobs']) {
    t.match(stdout, new RegExp(`^ok    ${about} `, 'm'), about)
  }
  t.match(stdout, /^warn {2}prices {8}0 models, 0 rates, 0 policies\. Nothing can be priced: run "farebox seed"/m)
  t.match(stdout, /^warn {2}keys {10}none\. /m)
  t.match(stdout, /^ok {4}holds /m)
  t.match(stdout, /^\d+ ok, \d+ warnings, \d+ failures\.$/m)

  await farebox(['seed', '--demo'], env)
  const seeded = await farebox(['doctor'], env)
  t.match(seeded.stdout, /^ok {4}prices {8}31 models/m)
  t.match(seeded.stdout, /^ok {4}keys {10}1 active/m)
})

t.test('fails where what was acknowledged could be lost, and where rights are missing', async (t) => {
  const { url } = await createTestDatabase(t)
  const role = `doctor_${process.pid}`
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(`create role ${role} login password 'secret'`)
  await client.query(`grant select on all tables in schema public to ${role}`)
  await client.query(`alter role ${role} set synchronous_commit = off`)
  t.teardown(async () => {
    await client.query(`drop owned by ${role}`)
    await client.query(`drop role ${role}`)
    await client.end()
  })
  const address = new URL(url)
  address.username = role
  address.password = 'secret'
  const { status, stdout } = await farebox(['doctor'], { DATABASE_URL: address.href, DATA_DIR: temporary(t) })
  t.equal(status, 1)
  t.match(stdout, /^fail {2}commit {8}synchronous_commit is off\. /m)
  t.match(stdout, new RegExp(`^ok    role          ${role}$`, 'm'))
  t.match(stdout, /^fail {2}rights {8}missing: .*insert on transactions, insert on wallets, update on wallets/m)
  t.notMatch(stdout, /secret@/)
})

t.test('tells an owner and a superuser from the role that the service should have', async (t) => {
  const { url } = await createTestDatabase(t, { migrated: false })
  const role = `owner_${process.pid}`
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(`create role ${role} login password 'secret'`)
  await client.query(`grant create on database ${new URL(url).pathname.slice(1)} to ${role}`)
  await client.query(`grant create, usage on schema public to ${role}`)
  t.teardown(async () => {
    await client.query(`drop owned by ${role} cascade`)
    await client.query(`drop role ${role}`)
    await client.end()
  })
  const address = new URL(url)
  address.username = role
  address.password = 'secret'
  const env = { DATABASE_URL: address.href, DATA_DIR: temporary(t) }
  t.equal((await farebox(['migrate'], env)).status, 0)
  const owner = await farebox(['doctor'], env)
  t.match(owner.stdout, /^warn {2}ledger {8}the role owns \d+ tables, .*MIGRATION_DATABASE_URL/m)
  await client.query(`reassign owned by ${role} to current_user`)
  await client.query(`grant select on all tables in schema public to ${role}`)
  await client.query(`grant update, truncate on transactions to ${role}`)
  t.match((await farebox(['doctor'], env)).stdout, /^warn {2}ledger {8}the role may .*update on transactions, truncate on transactions/m)

  const superuser = { DATABASE_URL: url, DATA_DIR: env.DATA_DIR, JWT_SECRET: 'x'.repeat(32) }
  t.match((await farebox(['doctor'], superuser)).stdout, /^warn {2}role .* is a superuser\. Production refuses it/m)
  const production = await farebox(['doctor'], { ...superuser, NODE_ENV: 'production' })
  t.match(production.stdout, /^fail {2}role .* is a superuser\. The service refuses to start/m)
})

t.test('goes on as far as it can', async (t) => {
  const dataDir = temporary(t)
  const none = await farebox(['doctor'], { DATA_DIR: dataDir })
  t.equal(none.status, 0)
  t.match(none.stdout, /^warn {2}database {6}none yet in .*The first start makes it$/m)

  const away = await farebox(['doctor'], { DATABASE_URL: `postgresql://x:y@127.0.0.1:${await freePort()}/z`, DATA_DIR: dataDir })
  t.equal(away.status, 1)
  t.match(away.stdout, /^fail {2}database {6}cannot be reached: .*ECONNREFUSED/m)

  const { url } = await createTestDatabase(t)
  const production = await farebox(['doctor'], { NODE_ENV: 'production', DATABASE_URL: url, DATA_DIR: dataDir })
  t.equal(production.status, 1)
  t.match(production.stdout, /^fail {2}config {8}JWT_SECRET: is required in production/m)
  t.match(production.stdout, /^ok {4}migrations /m, 'the database is looked at all the same')
  t.match(production.stdout, /^warn {2}keys {10}none\. Run "farebox keys create/m)
})
