/**
 * Somebody holds what the service needs: the row of one wallet, or all connections for reads. Whoever needs just that is told to come
 * back, and everybody else is served.
 *
 *   node test/run.ts test/faults/pool.test.ts --test-arg=--seconds=10 [--test-arg=--clients=200]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import t, { type Test } from 'tap'
import { generateApiKey } from '../../src/auth/api-key.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { startProcess } from '../helpers/process.ts'
import { callerAt, tally, times } from '../helpers/service.ts'
import { charge, sendersText, silenceOf, spansOf, startSenders } from './senders.ts'
import { createSetting } from './setting.ts'
import { settledText } from './settle.ts'

const { values } = parseArgs({
  options: { seconds: { type: 'string' }, clients: { type: 'string' }, seed: { type: 'string' } },
  strict: false,
})
const HELD_SECONDS = Number(values.seconds ?? 7)
const CLIENTS = Number(values.clients ?? (values.seconds ? 200 : 60))
const OTHERS = 20
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
/** Nobody is let wait longer than about five seconds; the rest is a busy machine. */
const ANSWER_MS_MAX = 12_000

/** A transaction that holds something and does nothing else. */
async function hold(t: Test, url: string, statement: string, values: unknown[] = []): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: url, application_name: 'test' })
  client.on('error', () => {})
  await client.connect()
  let open = true
  const letGo = async () => {
    if (open) await client.end()
    open = false
  }
  t.teardown(letGo)
  await client.query('begin')
  await client.query(statement, values)
  return letGo
}

/** Transactions of the service that have been open and idle for a while. */
async function idleTransactions(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url, application_name: 'test' })
  await client.connect()
  try {
    const { rows } = await client.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity where datname = current_database() and application_name like 'farebox-%'
        and state like 'idle in transaction%' and state_change < clock_timestamp() - interval '5 s'`,
    )
    return rows[0]?.n ?? 0
  } finally {
    await client.end()
  }
}

t.setTimeout(300_000)

t.test('the row of a wallet is held', async (t) => {
  const { url } = await createTestDatabase(t)
  const setting = await createSetting(t, url, SEED)
  const service = await startProcess(t, { ...setting.env, PORT: '0' })
  const caller = callerAt(service.url, () => setting.key)
  const [held = '', ...others] = await Promise.all(
    times(OTHERS + 1, async (n) => {
      const { id } = await caller.made('/v1/wallets', { owner: `user:beside-${n}` })
      await caller.made('/v1/grants', { wallet: id, kind: 'bonus', amount: '1000' })
      return id as string
    }),
  )
  const load = await setting.load([service.url], 8)
  await load.reaches(100)

  const from = performance.now()
  const letGo = await hold(t, url, 'select 1 from wallets where id = $1 for update', [held.slice(4)])
  const waiting = startSenders(CLIENTS, () => charge(caller, held))
  const beside = startSenders(OTHERS, (n) => charge(caller, others[n] as string))
  await sleep(HELD_SECONDS * 1_000)
  const silence = silenceOf(beside.answers, from, performance.now())
  const whileHeld = [...waiting.answers]
  t.equal(await idleTransactions(url), 0, 'no transaction of ours stands open')

  const released = performance.now()
  await letGo()
  const served = () => waiting.answers.find(({ status, answeredAt }) => status === 201 && answeredAt > released)
  while (!served() && performance.now() - released < 30_000) await sleep(20)
  const recovery = (served()?.answeredAt ?? Number.POSITIVE_INFINITY) - released
  await sleep(1_000)
  await Promise.all([waiting.stop(), beside.stop()])

  t.ok(whileHeld.length > 0, 'the others on this wallet are answered')
  t.ok(
    whileHeld.every(({ status, headers }) => status === 503 && Number(headers['retry-after']) >= 1),
    'with 503 and Retry-After',
  )
  t.ok((spansOf(waiting.answers).at(-1) as number) < ANSWER_MS_MAX, 'nobody waits for long')
  t.same(Object.keys(tally(beside.answers)), ['201'], 'other wallets are served')
  t.ok(silence < ANSWER_MS_MAX, 'all the time')
  t.ok(recovery < 10_000, 'the wallet is back when its row is')
  t.equal((await charge(caller, held)).status, 201)
  const settled = await setting.settle(t, [service.url])
  t.comment(
    `F5: row held ${HELD_SECONDS} s, ${CLIENTS} clients on it: ${sendersText(whileHeld)}; ${OTHERS} on other wallets: ` +
      `${sendersText(beside.answers)}, longest silence ${Math.round(silence)} ms; recovery ${Math.round(recovery)} ms; ` +
      `idle in transaction 0; ${settledText(SEED, settled)}`,
  )
})

t.test('no connection is left for reads', async (t) => {
  const { url } = await createTestDatabase(t)
  const setting = await createSetting(t, url, SEED + 1)
  const service = await startProcess(t, { ...setting.env, PORT: '0' })
  const caller = callerAt(service.url, () => setting.key)
  const load = await setting.load([service.url], 8)
  await load.reaches(100)

  // What nobody knows is looked up, and that waits.
  const letGo = await hold(t, url, 'lock table api_keys in access exclusive mode')
  const keys = times(CLIENTS, () => generateApiKey().key)
  const unknown = startSenders(CLIENTS, (n) => caller.get('/v1/wallets', { key: keys[n] as string }))
  const before = load.acknowledged
  await sleep(HELD_SECONDS * 1_000)
  const during = load.acknowledged - before
  const refused = [...unknown.answers]
  t.equal(await idleTransactions(url), 0, 'no transaction of ours stands open')
  const released = performance.now()
  await letGo()
  while ((await caller.get('/v1/wallets')).status !== 200) await sleep(20)
  const recovery = performance.now() - released
  await unknown.stop()

  t.ok(refused.length > 0)
  t.same(Object.keys(tally(refused)), ['503 storage_unavailable'], 'reads are told to come back')
  t.ok((spansOf(unknown.answers).at(-1) as number) < ANSWER_MS_MAX, 'nobody waits for long')
  t.ok(during > 50, 'money moves meanwhile')
  const settled = await setting.settle(t, [service.url])
  t.comment(
    `F5: every connection for reads taken for ${HELD_SECONDS} s, ${CLIENTS} clients: ${sendersText(refused)}; ${during} commands ` +
      `acknowledged meanwhile; recovery ${Math.round(recovery)} ms; ${settledText(SEED + 1, settled)}`,
  )
})
