import pg from 'pg'
import t from 'tap'
import { farebox, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'

t.setTimeout(60_000)

t.test('seeds prices and demo data once, through the lane', async (t) => {
  const { url } = await createTestDatabase(t)
  const env = { DATABASE_URL: url, DATA_DIR: temporary(t) }
  const NOTHING = 'Nothing was added: everything is there already.\n'

  const prices = await farebox(['seed'], env)
  t.equal(prices.status, 0, prices.stderr)
  t.match(prices.stdout, /^added {2}40 prices/)
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
  await client.end()
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
