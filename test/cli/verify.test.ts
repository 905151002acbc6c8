import pg from 'pg'
import t from 'tap'
import { INVARIANTS } from '../../src/ledger/invariants.ts'
import { farebox, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { createService } from '../helpers/service.ts'

t.setTimeout(300_000)

t.test('verify passes a good book and names what is broken in another', async (t) => {
  const { url } = await createTestDatabase(t)
  const env = { DATABASE_URL: url, DATA_DIR: temporary(t) }
  t.equal((await farebox(['seed', '--demo'], env)).status, 0)

  const good = await farebox(['verify'], env)
  t.equal(good.status, 0, good.stderr)
  const lines = good.stdout.trim().split('\n')
  t.match(lines.pop(), new RegExp(`^All ${INVARIANTS.length} invariants hold \\(\\d+ ms\\)\\.$`))
  t.equal(lines.length, INVARIANTS.length)
  for (const line of lines) t.match(line, /^I\d\d {2}ok +\d+ ms {2}\S/)

  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ id: string }>(`select id from wallets where owner_id = 'demo-3'`)
  // A hand in the ledger: the trigger that refuses it is switched off first.
  await client.query('alter table transactions disable trigger user')
  await client.query('update transactions set amount = amount + 1 where wallet_id = $1 and seq = 2', [rows[0]?.id])
  await client.query('alter table transactions enable trigger user')
  await client.end()

  const bad = await farebox(['verify'], env)
  t.equal(bad.status, 1)
  t.match(bad.stdout, new RegExp(`^I01  BROKEN +\\d+ ms  a balance is the sum of its transactions: 1 times, at ${rows[0]?.id}$`, 'm'))
  t.match(bad.stdout, /^I19 {2}BROKEN/m, 'the hash chain shows it too')
  t.match(bad.stdout, /^\d of \d+ invariants are broken: I01, .*I19/m)

  const json = await farebox(['verify', '--json'], env)
  t.equal(json.status, 1)
  const found = JSON.parse(json.stdout)
  t.match(found, { ok: false, invariants: INVARIANTS.length })
  t.match(found.findings[0], { id: 'I01', broken: 1, examples: [rows[0]?.id] })
})

t.test('verify --charges works every charge out again', async (t) => {
  const service = await createService(t)
  const wallet = await service.wallet('100')
  const usage = { input_tokens: 1_000, output_tokens: 500 }
  for (const model of ['gpt-4o', 'gpt-4o-mini', 'claude-sonnet-4-5']) await service.made('/v1/charges', { wallet, model, usage })
  await service.made('/v1/charges', { wallet, amount: '1.5' })
  const env = { DATABASE_URL: service.url, DATA_DIR: temporary(t) }
  const good = await farebox(['verify', '--charges'], env)
  t.equal(good.status, 0, good.stderr)
  t.match(good.stdout, /^All 4 charges are what the stored versions of prices come to\.$/m)

  // A price that was changed where it is stored, which only somebody with the database's own keys can do.
  await service.query('alter table price_versions disable trigger user')
  await service.query(`update price_versions set rates = jsonb_set(rates, '{output_tokens}', '"10.000001"') where model = 'gpt-4o'`)
  await service.query('alter table price_versions enable trigger user')
  const bad = await farebox(['verify', '--charges'], env)
  t.equal(bad.status, 1)
  t.match(bad.stdout, /^1 of 4 charges differ .*:\nchg_[0-9a-f]{32} cost 0\.9 and comes to 0\.900001$/m)
  const json = JSON.parse((await farebox(['verify', '--charges', '--json'], env)).stdout)
  t.match(json, { ok: false, broken: 0, charges: { charges: 4, different: 1 } })
})
