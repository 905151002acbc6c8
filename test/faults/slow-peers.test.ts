/**
 * Peers that are slow, half-open or gone, before the service and behind it: no request takes longer than six seconds, what is gone is
 * noticed within ten, and all goes on by itself when the road is good again.
 *
 *   node test/run.ts test/faults/slow-peers.test.ts --test-arg=--seconds=20
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import t, { type Test } from 'tap'
import { createTestDatabase } from '../helpers/database.ts'
import { startProcess } from '../helpers/process.ts'
import { callerAt, tally } from '../helpers/service.ts'
import { createSlowRoad, type Pace } from '../helpers/slow-road.ts'
import { charge, sendersText, spansOf, startSenders, type Timed } from './senders.ts'
import { createSetting } from './setting.ts'
import { settledText } from './settle.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } }, strict: false })
const SECONDS = Number(values.seconds ?? 7)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
/** Six seconds, and what a busy machine adds to them. */
const ANSWER_MS_MAX = 12_000
const PATIENCE = ['201', '503 storage_unavailable', '503 overloaded']
const CLIENTS = 4

/** One pace for a while, and how it was to clients that charge and clients that read. */
async function play(
  t: Test,
  road: { set(pace: Pace): void },
  pace: Pace,
  wallet: string,
  clients: { readonly writer: ReturnType<typeof callerAt>; readonly probe: ReturnType<typeof callerAt> },
): Promise<{ readonly during: readonly Timed[]; readonly recoveryMs: number }> {
  const senders = startSenders(CLIENTS, () => charge(clients.writer, wallet))
  const readers = startSenders(CLIENTS, () => clients.writer.get(`/v1/wallets/${wallet}/balance`))
  await sleep(300)
  const from = performance.now()
  road.set(pace)
  await sleep(SECONDS * 1_000)
  road.set('pass')
  const to = performance.now()
  while ((await charge(clients.probe, wallet)).status !== 201 && performance.now() - to < 30_000) await sleep(20)
  const recoveryMs = performance.now() - to
  await Promise.all([senders.stop(), readers.stop()])
  const during = [...senders.answers, ...readers.answers].filter(({ answeredAt }) => answeredAt > from)
  t.ok(recoveryMs < 10_000, `${pace}: it goes on by itself`)
  t.equal((await clients.probe.get('/readyz')).status, 200, `${pace}: ready`)
  return { during, recoveryMs }
}

t.setTimeout(300_000)

t.test('behind the service', async (t) => {
  const { url } = await createTestDatabase(t)
  const setting = await createSetting(t, url, SEED)
  const road = await createSlowRoad(t, url)
  const service = await startProcess(t, { ...setting.env, PORT: '0', DATABASE_URL: road.url })
  const caller = callerAt(service.url, () => setting.key)
  const { id: wallet } = await caller.made('/v1/wallets', { owner: 'user:beside' })
  await caller.made('/v1/grants', { wallet, kind: 'bonus', amount: '1000' })
  const load = await setting.load([service.url], 8)
  await load.reaches(100)

  for (const pace of ['late', 'half-closed', 'vanished'] as const) {
    const { during, recoveryMs } = await play(t, road, pace, wallet, { writer: caller, probe: caller })
    t.same(
      Object.keys(tally(during)).filter((name) => !['200', ...PATIENCE].includes(name)),
      [],
      `${pace}: who is not served is told to come back`,
    )
    t.ok((spansOf(during).at(-1) as number) < ANSWER_MS_MAX, `${pace}: nobody waits for long`)
    t.comment(`F4: database ${pace} for ${SECONDS} s: ${sendersText(during)}; recovery ${Math.round(recoveryMs)} ms`)
  }
  // The jobs, too, notice that their connections were gone.
  const { id: held } = await caller.made('/v1/reservations', { wallet, amount: '0.000001', ttl_seconds: 1 })
  const since = performance.now()
  const status = async () => (await caller.get(`/v1/reservations/${held}`)).body.status
  while ((await status()) === 'held' && performance.now() - since < 120_000) await sleep(200)
  t.equal(await status(), 'expired', 'holds are swept')
  t.comment(`F4: a hold of one second was swept after ${((performance.now() - since) / 1_000).toFixed(1)} s`)
  const settled = await setting.settle(t, [service.url])
  t.comment(`F4: database slow, half-open, vanished; ${settledText(SEED, settled)}`)
})

t.test('before the service', async (t) => {
  const { url } = await createTestDatabase(t)
  const setting = await createSetting(t, url, SEED + 1)
  const service = await startProcess(t, { ...setting.env, PORT: '0' })
  const caller = callerAt(service.url, () => setting.key)
  const { id: wallet } = await caller.made('/v1/wallets', { owner: 'user:beside' })
  await caller.made('/v1/grants', { wallet, kind: 'bonus', amount: '1000' })
  const load = await setting.load([service.url], 8)
  await load.reaches(100)

  for (const pace of ['late', 'half-closed', 'vanished'] as const) {
    const road = await createSlowRoad(t, service.url)
    const slow = callerAt(road.url.replace(/\/$/, ''), () => setting.key)
    // Clients that gave up on a peer that is gone: nobody tells the service.
    const impatient: ReturnType<typeof callerAt> = {
      ...slow,
      post: (path, body, options) => Promise.race([slow.post(path, body, options), sleep(3_000).then(() => GONE)]),
      get: (path, options) => Promise.race([slow.get(path, options), sleep(3_000).then(() => GONE)]),
    }
    const beside = startSenders(CLIENTS, () => charge(caller, wallet))
    const { during } = await play(t, road, pace, wallet, { writer: pace === 'vanished' ? impatient : slow, probe: caller })
    await beside.stop()
    t.same(Object.keys(tally(beside.answers)), ['201'], `${pace}: others are served`)
    t.ok((spansOf(beside.answers).at(-1) as number) < ANSWER_MS_MAX, `${pace}: as ever`)
    t.comment(`F4: clients ${pace} for ${SECONDS} s: ${sendersText(during)}; others: ${sendersText(beside.answers)}`)
  }
  const settled = await setting.settle(t, [service.url])
  t.comment(`F4: clients slow, half-open, vanished; ${settledText(SEED + 1, settled)}`)
})

/** What a client has of a peer that never answers. */
const GONE = { status: 0, headers: {}, text: '', body: { code: 'gone' } }
