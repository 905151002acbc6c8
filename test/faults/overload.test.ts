/**
 * More arrives than the lane can take, three times as much: what cannot be done in time is refused at once, and what is taken is done
 * as quickly as without the crowd. The database answers late here, so that it is the lane that is full and not the processor.
 *
 *   node test/run.ts test/faults/overload.test.ts --test-arg=--seconds=60
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import t from 'tap'
import { createTestDatabase } from '../helpers/database.ts'
import { startProcess } from '../helpers/process.ts'
import { createProxy } from '../helpers/proxy.ts'
import { type Answer, type Body, callerAt, tally, times } from '../helpers/service.ts'
import { createSetting } from './setting.ts'
import { settledText } from './settle.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } }, strict: false })
const SECONDS = Number(values.seconds ?? 8)
/** How much is done, and how fast, says something only where nothing else runs beside it. */
const isLong = values.seconds !== undefined
const CAPACITY_SECONDS = Math.min(10, SECONDS)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
const WALLETS = 200
const AT_ONCE = 10
/** Commands of a request: the lane counts them one by one, and few requests make many. */
const SIZE = 20
/** Keeps every batch of the lane full, and nobody is refused. */
const CLIENTS = 90
const TIMES_CAPACITY = 3
const TICK_MS = 20

interface Outcome {
  readonly answer: Pick<Answer, 'status' | 'body' | 'headers'>
  readonly done: number
  readonly sentAt: number
  readonly ms: number
}

function memoryMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024
}

function percentile(spans: readonly number[], share: number): number {
  const sorted = [...spans].sort((a, b) => a - b)
  return Math.round(sorted[Math.ceil(share * sorted.length) - 1] ?? 0)
}

t.setTimeout(300_000)

t.test('three times what the lane can take', async (t) => {
  const { url } = await createTestDatabase(t)
  const setting = await createSetting(t, url, SEED)
  const proxy = await createProxy(t, url)
  const service = await startProcess(t, { ...setting.env, PORT: '0', DATABASE_URL: proxy.url })
  const caller = callerAt(service.url, () => setting.key)
  const wallets: string[] = []
  while (wallets.length < WALLETS) {
    const opened = times(AT_ONCE, async (n) => {
      const { id } = await caller.made('/v1/wallets', { owner: `user:crowd-${wallets.length + n}` })
      await caller.made('/v1/grants', { wallet: id, kind: 'bonus', amount: '1000' })
      return id as string
    })
    wallets.push(...(await Promise.all(opened)))
  }
  let sent = 0
  const outcomes: Outcome[] = []
  async function send(): Promise<Outcome> {
    const commands = times(SIZE, () => {
      sent += 1
      const body = { wallet: wallets[sent % WALLETS], amount: '0.000001' }
      return { operation: 'reserve', idempotency_key: `crowd-${sent}`, body }
    })
    const sentAt = performance.now()
    const answer = await caller
      .post('/v1/batch', { commands })
      .catch((error: unknown) => ({ status: 0, body: { code: String(error) }, headers: {} }))
    const done = answer.status === 200 ? answer.body.results.filter((result: Body) => result.status === 201).length : 0
    const outcome = {
      answer: { ...answer, body: answer.status === 200 ? null : answer.body },
      done,
      sentAt,
      ms: performance.now() - sentAt,
    }
    outcomes.push(outcome)
    return outcome
  }

  await proxy.set('slow')
  const until = performance.now() + 2_000 + CAPACITY_SECONDS * 1_000
  const countFrom = performance.now() + 2_000
  await Promise.all(
    times(CLIENTS, async () => {
      while (performance.now() < until) await send()
    }),
  )
  const closed = outcomes.filter(({ sentAt, ms }) => sentAt + ms >= countFrom && sentAt + ms < until)
  const capacity = closed.reduce((sum, { done }) => sum + done, 0) / CAPACITY_SECONDS
  t.same(Object.keys(tally(outcomes.map(({ answer }) => answer))), ['200'], 'at capacity nobody is refused')

  const load = await setting.load([service.url], 4)
  outcomes.length = 0
  const startedAt = performance.now()
  const under: Promise<Outcome>[] = []
  const memory: number[] = []
  for (let due = 0; performance.now() - startedAt < SECONDS * 1_000; ) {
    due = ((performance.now() - startedAt) / 1_000) * (TIMES_CAPACITY * capacity)
    while (under.length * SIZE < due) under.push(send())
    memory.push(memoryMiB(service.pid))
    await sleep(TICK_MS)
  }
  const seconds = (performance.now() - startedAt) / 1_000
  const inTime = outcomes.reduce((sum, { done }) => sum + done, 0)
  const arrivals = (under.length * SIZE) / seconds
  const all = await Promise.all(under)
  await proxy.set('pass')

  const goodput = inTime / seconds
  const taken = all.filter(({ answer }) => answer.status === 200)
  const refused = all.filter(({ answer }) => answer.status !== 200)
  const third = (n: number) =>
    taken.filter(({ sentAt }) => Math.floor(((sentAt - startedAt) / 1_000 / seconds) * 3) === n).map(({ ms }) => ms)
  const [first, last] = [percentile(third(0), 0.99), percentile(third(2), 0.99)]
  const [memoryFrom = 0, memoryTo = 0] = [memory[Math.floor(memory.length / 3)], memory.at(-1)]

  t.same(Object.keys(tally(refused.map(({ answer }) => answer))), ['503 overloaded'], 'the rest is refused as overloaded')
  t.ok(
    refused.every(({ answer }) => Number(answer.headers['retry-after']) >= 1),
    'with Retry-After',
  )
  if (isLong) {
    t.ok(
      taken.every(({ done }) => done === SIZE),
      'what is taken is done',
    )
    t.ok(goodput > 0.5 * capacity, 'as much is done as without the crowd')
    t.ok(last < 5_000 && last < 2 * first + 1_000, 'it takes as long in the end as in the beginning')
  }
  t.ok(memoryTo < memoryFrom + 200, 'memory stays as it is')
  const settled = await setting.settle(t, [service.url])
  const ms = (list: readonly Outcome[]) => list.map((outcome) => outcome.ms)
  t.comment(
    `F6: capacity ${Math.round(capacity)} commands/s (p99 ${percentile(ms(closed), 0.99)} ms), arrivals ${Math.round(arrivals)}/s for ${Math.round(seconds)} s ` +
      `(${(arrivals / capacity).toFixed(1)} times), goodput ${Math.round(goodput)}/s (${Math.round((100 * goodput) / capacity)} %), ` +
      `taken p50 ${percentile(ms(taken), 0.5)} p99 ${percentile(ms(taken), 0.99)} ms (first third ${first}, last ${last}), ` +
      `${refused.length} of ${all.length} requests refused, p50 ${percentile(ms(refused), 0.5)} p99 ${percentile(ms(refused), 0.99)} ms, ` +
      `RSS ${Math.round(memoryFrom)} to ${Math.round(memoryTo)} MiB; ${load.acknowledged} commands of others acknowledged; ${settledText(SEED, settled)}`,
  )
})
