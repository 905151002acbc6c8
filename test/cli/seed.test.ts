import pg from 'pg'
import t from 'tap'
import { farebox, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'

t.setTimeout(300_000)

t.test('seeds prices, packages and demo data once, money through the lane', async (t) => {
  const { url } = await createTestDatabase(t)
  const env = { DATABASE_URL: url, DATA_DIR: temporary(t) }
  const NOTHING = 'Nothing was added: everything is there already.\n'

  const prices = await farebox(['seed'], env)
  t.equal(prices.status, 0, prices.stderr)
  t.match(prices.stdout, /^added {2}40 prices: [\w ,]+\nadded {2}5 packages of credits\n$/)
  t.equal((await farebox(['seed'], env)).stdout, NOTHING)

  const demo = await farebox(['seed', '--demo'], env)
  t.equal(demo.status, 0, demo.stderr)
  t.match(demo.stdout, /^added {2}client demo \(cli_/m)
  t.equal(demo.stdout.match(/^added {2}wallet user:demo-\d$/gm)?.length, 5)
  t.equal(demo.stdout.match(/^added {2}\d+ credits to /gm)?.length, 10)
  t.match(demo.stdout, /^fbx_[0-9a-z]{8}_[\w-]{43}$/m)
  const again = await farebox(['seed', '--demo'], env)
  t.equal(again.stdout, NOTHING, again.stderr)

  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query(
    `select w.owner_id, w.balance, count(t.*)::int as rows from wallets w join transactions t on t.wallet_id = w.id group by 1, 2 order by 1`,
  )
  const { rows: packages } = await client.query(
    'select package, amount, credits, bonus, enabled, created_by from package_versions order by amount',
  )
  await client.end()
  t.same(
    packages.map((row) => [row.package, row.amount, row.credits, row.bonus]),
    [
      ['starter', '1000', '1000000000', '0'],
      ['basic', '4500', '5000000000', '500000000'],
      ['pro', '10000', '12000000000', '1500000000'],
      ['business', '22500', '30000000000', '5000000000'],
      ['enterprise', '70000', '100000000000', '20000000000'],
    ],
    'each once, in cents and micro-credits',
  )
  t.ok(packages.every((row) => row.enabled && row.created_by === 'system:seed'))
  t.same(
    rows,
    [1, 2, 3, 4, 5].map((n) => ({ owner_id: `demo-${n}`, balance: '1050000000', rows: 2 })),
  )
  t.equal((await farebox(['verify'], env)).status, 0)
})

t.test('seeding half done is finished by the next run', async (t) => {
  const { url } = await createTestDatabase(t)
  const env = { DATABASE_URL: url, DATA_DIR: temporary(t) }
  await farebox(['seed', '--demo'], env)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('delete from api_keys')
  await client.query(`delete from price_versions where model = 'grok-4'`).catch(() => {})
  await client.end()
  const rest = await farebox(['seed', '--demo'], env)
  t.equal(rest.status, 0, rest.stderr)
  t.match(rest.stdout, /^added {2}an API key/m)
  t.notMatch(rest.stdout, /^added {2}(wallet|\d+ credits|client)/m)
})

t.test('a package that an admin changed or took off sale is not seeded over', async (t) => {
  const { url } = await createTestDatabase(t)
  const env = { DATABASE_URL: url, DATA_DIR: temporary(t) }
  await farebox(['migrate'], env)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  await client.query(`insert into package_versions (id, package, name, currency, amount, credits, bonus, enabled, effective_from, created_by, created_at)
    values (gen_random_uuid(), 'basic', 'Basic', 'EUR', 3900, 5000000000, 0, false, now(), 'admin:key:x', now())`)
  const seeded = await farebox(['seed'], env)
  t.match(seeded.stdout, /^added {2}4 packages of credits$/m)
  const { rows } = await client.query(`select currency, enabled from package_versions where package = 'basic'`)
  t.same(rows, [{ currency: 'EUR', enabled: false }])
})

t.test('processes that seed one database at once add everything once', async (t) => {
  const { url } = await createTestDatabase(t)
  const env = { DATABASE_URL: url, DATA_DIR: temporary(t) }
  await farebox(['migrate'], env)
  const both = await Promise.all([farebox(['seed'], env), farebox(['seed'], env)])
  for (const { status, stderr } of both) t.equal(status, 0, stderr)
  const added = both.map(({ stdout }) => Number(/^added {2}(\d+) packages/m.exec(stdout)?.[1] ?? 0))
  t.equal((added[0] as number) + (added[1] as number), 5)
})
