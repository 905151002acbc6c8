import pg from 'pg'
import t from 'tap'
import { INVARIANTS } from '../../src/ledger/invariants.ts'
import { farebox, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'

t.setTimeout(60_000)

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
