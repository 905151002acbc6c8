/**
 * Two services on one database tell each other through a Redis that is restarted, frozen, flushed and cut off, behind a proxy that
 * drops, delays and resets, while money moves on both. In the end every socket has to show what the database says, no version may ever
 * have gone backwards, no request may have failed, and nothing may have been stale for longer than the time between two comparisons.
 *
 * In a test run it is short, and everything that waits waits less. The long form has the real times and a database of its own:
 *
 *   node test/realtime/storm.test.ts --minutes=10 --wallets=200 --sockets=50 [--seed=7]
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import t, { type Test } from 'tap'
import { migrate } from '../../src/platform/migrate.ts'
import { REALTIME_TIMES, type RealtimeTimes } from '../../src/realtime/times.ts'
import { startThrowaway } from '../../tools/throwaway-postgres.ts'
import { createProxy, type Proxy as Road } from '../helpers/proxy.ts'
import { createRedis, noRedis, type TestRedis } from '../helpers/redis.ts'
import { type Answer, type AppOfService, type Body, createService, type TestService, times } from '../helpers/service.ts'
import { openSocket, type TestSocket } from '../helpers/socket.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    wallets: { type: 'string', default: '24' },
    sockets: { type: 'string', default: '12' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
  strict: false,
})
const MINUTES = values.minutes === undefined ? null : Number(values.minutes)
const WALLETS = Number(values.wallets)
const SOCKETS = Number(values.sockets)
const WORKERS = 6
const GRANT = '100000'
/** The code of a call that could not be carried out just now. */
const TRY_AGAIN = -32_000

const SHORT: Partial<RealtimeTimes> = { compareMs: 4_000, compareDownMs: 500, tickMs: 100, watchdogMs: 500, watchdogAnswerMs: 300 }
const TIMES: RealtimeTimes = { ...REALTIME_TIMES, ...(MINUTES === null && SHORT) }
/** Between two comparisons, with a look at the clock and a query; on two busy cores, too. */
const STALE_MS_MAX = TIMES.compareMs + TIMES.tickMs + 1_000
/** How long a fault stays. */
const [FAULT_MS_MIN, FAULT_MS_MAX] = MINUTES === null ? [800, 1_000] : [2_000, 12_000]

t.setTimeout(MINUTES === null ? 300_000 : (MINUTES * 60 + 120) * 1_000)

/** Mulberry32: the same storm for the same seed. */
let state = Number(values.seed)
function random(): number {
  state = (state + 0x6d2b79f5) | 0
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T

interface Fault {
  readonly name: string
  strike(ms: number): Promise<void>
}

function faultsOf(redis: TestRedis, proxies: readonly Road[]): Fault[] {
  const onWay = (name: string, fault: Parameters<Road['set']>[0]): Fault => ({
    name,
    async strike(ms) {
      await Promise.all(proxies.map((proxy) => proxy.set(fault)))
      await sleep(ms)
      await Promise.all(proxies.map((proxy) => proxy.set('pass')))
    },
  })
  const command = (name: string, text: string): Fault => ({
    name,
    async strike(ms) {
      await redis.command(text)
      await sleep(ms)
    },
  })
  return [
    { name: 'calm', strike: (ms) => sleep(ms).then(() => {}) },
    { name: 'kill -9 and restart', strike: (ms) => redis.restart(ms) },
    {
      name: 'SIGSTOP',
      async strike(ms) {
        redis.freeze()
        await sleep(ms)
        redis.thaw()
      },
    },
    command('FLUSHALL', 'FLUSHALL'),
    command('CLIENT KILL TYPE pubsub', 'CLIENT KILL TYPE pubsub'),
    command('CLIENT KILL TYPE normal', 'CLIENT KILL TYPE normal'),
    command('maxmemory 1mb', 'CONFIG SET maxmemory 1mb'),
    onWay('resets', 'reset'),
    onWay('a blackhole', 'blackhole'),
    onWay('300 ms late', 'slow'),
    onWay('one in four lost', 'lossy'),
    onWay('refused', 'down'),
  ]
}

/** Random mutations, one after the other, until told to stop. Every answer is looked at. */
async function work(
  apps: readonly AppOfService[],
  adminKey: string,
  wallets: readonly string[],
  stop: () => boolean,
  seen: (answer: Answer) => void,
) {
  const holds: string[] = []
  const charges: string[] = []
  while (!stop()) {
    const app = pick(apps)
    const wallet = pick(wallets)
    const amount = `${1 + Math.floor(random() * 5)}.${Math.floor(random() * 9)}`
    const dice = random()
    let answer: Answer
    if (dice < 0.3) {
      answer = await app.post('/v1/reservations', { wallet, amount })
      if (answer.status === 201) holds.push(answer.body.id)
    } else if (dice < 0.5 && holds.length > 0) {
      answer = await app.post(`/v1/reservations/${holds.shift()}/commit`, { amount })
    } else if (dice < 0.6 && holds.length > 0) {
      answer = await app.post(`/v1/reservations/${holds.shift()}/release`)
    } else if (dice < 0.7 && charges.length > 0) {
      answer = await app.post(`/v1/charges/${charges.shift()}/refund`, {})
    } else if (dice < 0.8) {
      answer = await app.post('/v1/grants', { wallet, kind: 'bonus', amount })
    } else if (dice < 0.85) {
      answer = await app.post('/v1/adjustments', { wallet, amount, reason: 'storm' }, { key: adminKey })
    } else {
      answer = await app.post('/v1/charges', { wallet, amount })
      if (answer.status === 201) charges.push(answer.body.id)
    }
    seen(answer)
    await sleep(random() * 10)
  }
}

/** Who follows what, and since when each has waited for which version. */
class Watch {
  readonly #last = new Map<string, number>()
  readonly #waiting = new Map<string, { version: number; since: number }[]>()
  readonly socket: TestSocket
  readonly follows = new Set<string>()
  readonly states = new Map<string, Body>()
  backwards = 0
  readonly staleness: number[] = []

  constructor(socket: TestSocket) {
    this.socket = socket
    socket.ws.on('message', () => this.#read())
  }

  /** A mutation was answered: this reader is to know of it from now on. */
  expect(wallet: string, version: number): void {
    if (!this.follows.has(wallet) || (this.#last.get(wallet) ?? 0) >= version) return
    const waiting = this.#waiting.get(wallet) ?? []
    waiting.push({ version, since: performance.now() })
    this.#waiting.set(wallet, waiting)
  }

  forget(wallet: string): void {
    this.follows.delete(wallet)
    this.#waiting.delete(wallet)
  }

  get missing(): number {
    return [...this.#waiting.values()].reduce((sum, waiting) => sum + waiting.length, 0)
  }

  #read(): void {
    const frame = this.socket.frames.at(-1)
    if (frame.method === 'wallet.balance') this.#take(frame.params, true)
    else for (const state of Array.isArray(frame.result?.wallets) ? frame.result.wallets : []) this.#take(state, false)
  }

  #take(state: Body, isNew: boolean): void {
    const { wallet_id: wallet, version } = state
    const before = this.#last.get(wallet) ?? 0
    if (isNew ? version <= before : version < before) this.backwards += 1
    this.#last.set(wallet, version)
    this.states.set(wallet, state)
    const now = performance.now()
    const waiting = this.#waiting.get(wallet) ?? []
    this.#waiting.set(
      wallet,
      waiting.filter((one) => {
        if (one.version > version) return true
        this.staleness.push(now - one.since)
        return false
      }),
    )
  }
}

/** Of more numbers than a call takes arguments. */
function largest(numbers: readonly number[]): number {
  return numbers.reduce((most, number) => (number > most ? number : most), 0)
}

async function storm(
  t: Test,
  service: TestService,
  apps: readonly AppOfService[],
  faults: readonly Fault[],
  seconds: number,
): Promise<void> {
  const wallets = await Promise.all(times(WALLETS, () => service.wallet(GRANT)))
  const ports = await Promise.all(apps.map(async (app) => (await app.listen()).port))
  const watches = await Promise.all(
    times(SOCKETS, async (i) => new Watch(await openSocket(t, ports[i % ports.length] as number, { key: service.client.key }))),
  )
  for (const watch of watches) {
    const some = wallets.filter(() => random() < 0.4)
    if (some.length === 0) some.push(wallets[0] as string)
    for (const wallet of some) watch.follows.add(wallet)
    for (let from = 0; from < some.length; from += 300) await watch.socket.follow(some.slice(from, from + 300))
  }

  let phase = 'calm'
  let stopped = false
  const failures: string[] = []
  const spans = new Map<string, number[]>()
  let mutations = 0
  const workers = times(WORKERS, async () => {
    let started = performance.now()
    await work(
      apps,
      service.adminKey,
      wallets,
      () => stopped,
      (answer) => {
        const now = performance.now()
        const known = spans.get(phase)
        if (known) known.push(now - started)
        else spans.set(phase, [now - started])
        started = now
        if (answer.status >= 500) failures.push(`${answer.status} ${answer.body?.code} during ${phase}`)
        const { wallet } = answer.body ?? {}
        if (answer.status < 300 && wallet) {
          mutations += 1
          for (const watch of watches) watch.expect(wallet.id, wallet.version)
        }
      },
    )
  })
  /** Some come and go meanwhile. */
  const wanderers = watches.slice(0, Math.ceil(SOCKETS / 4)).map(async (watch) => {
    while (!stopped) {
      await sleep(200 + random() * 400)
      const wallet = pick(wallets)
      if (watch.follows.has(wallet) && watch.follows.size > 1) {
        watch.forget(wallet)
        await watch.socket.call('wallet.unsubscribe', { wallets: [wallet] })
      } else {
        const { result, error } = await watch.socket.call('wallet.subscribe', { wallets: [wallet] })
        // As any client would, it tries again later where it is told to.
        if (result) watch.follows.add(wallet)
        else if (error.code !== TRY_AGAIN) throw new Error(`the subscription was refused: ${JSON.stringify(error)}`)
      }
    }
  })

  const until = performance.now() + seconds * 1_000
  const worst: [phase: string, ms: number][] = []
  for (let round = 0; performance.now() < until; round += 1) {
    const fault = MINUTES === null ? (faults[round] ?? null) : pick(faults)
    if (!fault) break
    phase = fault.name
    const before = watches.map(({ staleness }) => staleness.length)
    await fault.strike(FAULT_MS_MIN + random() * (FAULT_MS_MAX - FAULT_MS_MIN))
    worst.push([phase, largest(watches.flatMap(({ staleness }, i) => staleness.slice(before[i])))])
  }
  stopped = true
  phase = 'over'
  await Promise.all([...workers, ...wanderers])

  const deadline = performance.now() + STALE_MS_MAX
  while (watches.some(({ missing }) => missing > 0) && performance.now() < deadline) await sleep(20)
  const truth = new Map(await Promise.all(wallets.map(async (id) => [id, (await service.get(`/v1/wallets/${id}/balance`)).body] as const)))
  let [wrong, looked] = [0, 0]
  for (const { states, follows } of watches) {
    for (const wallet of follows) {
      const [shown, real] = [states.get(wallet), truth.get(wallet)]
      looked += 1
      if (!['version', 'balance', 'held', 'available', 'debt'].every((figure) => shown?.[figure] === real?.[figure])) wrong += 1
    }
  }
  const staleness = watches.flatMap((watch) => watch.staleness).sort((a, b) => a - b)
  const at = (share: number) => Math.round(staleness[Math.floor(share * (staleness.length - 1))] ?? 0)
  const frames = watches.reduce((sum, { socket }) => sum + socket.frames.length, 0)
  t.comment(
    `redis-storm: seed ${values.seed}: ${mutations} mutations, ${WALLETS} wallets, ${SOCKETS} sockets, ${frames} frames, ${worst.length} phases`,
  )
  t.comment(
    `redis-storm: staleness of ${staleness.length} expectations: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms (at most ${STALE_MS_MAX})`,
  )
  for (const name of new Set(worst.map(([phase]) => phase))) {
    const stalest = largest(worst.filter(([phase]) => phase === name).map(([, ms]) => ms))
    const money = (spans.get(name) ?? []).sort((a, b) => a - b)
    const p99 = money[Math.floor(0.99 * (money.length - 1))] ?? 0
    t.comment(
      `redis-storm: ${name}: staleness seen up to ${Math.round(stalest)} ms, ${money.length} requests, p99 ${Math.round(p99)} ms with a pause of up to 10`,
    )
  }
  t.equal(wrong, 0, `wrong final balances, of ${looked}`)
  t.equal(
    watches.reduce((sum, { backwards }) => sum + backwards, 0),
    0,
    'versions backwards',
  )
  t.equal(
    watches.reduce((sum, { missing }) => sum + missing, 0),
    0,
    'changes that nobody was told of in time',
  )
  t.ok(at(1) <= STALE_MS_MAX, `never stale for longer than ${STALE_MS_MAX} ms`)
  t.same([...new Set(failures)], [], 'no request failed')
  t.ok(
    watches.every(({ socket }) => socket.ws.readyState === socket.ws.OPEN),
    'no socket was lost',
  )
  t.ok(mutations > 100, `${mutations} mutations`)
  t.same(await service.unsound(), [])
}

/** A database server for the long form, which has none. */
async function ensureServer(t: Test): Promise<void> {
  if (process.env.TEST_DATABASE_URL) return
  const server = await startThrowaway()
  t.teardown(() => server.stop())
  const template = 'farebox_storm_template'
  const client = new pg.Client({ connectionString: server.adminUrl })
  await client.connect()
  await client.query(`create database ${template}`)
  await client.end()
  const address = new URL(server.adminUrl)
  address.pathname = `/${template}`
  await migrate(address.href, { dir: join(import.meta.dirname, '../../prisma/migrations'), log: { info() {}, warn: console.error } })
  Object.assign(process.env, { TEST_DATABASE_URL: server.adminUrl, TEST_TEMPLATE: template })
}

const seconds = MINUTES === null ? 60 : MINUTES * 60

t.test('two services and a Redis that fails in every way', { skip: noRedis() }, async (t) => {
  await ensureServer(t)
  const redis = await createRedis(t)
  const proxies = [await createProxy(t, redis.url), await createProxy(t, redis.url)]
  const [first, second] = proxies as [Road, Road]
  const service = await createService(t, { level: 'fatal', rooms: { redisUrl: first.url, realtimeTimes: TIMES } })
  const other = await service.another({ rooms: { redisUrl: second.url, realtimeTimes: TIMES } })
  const faults = faultsOf(redis, proxies)
  // One of the two alone is cut off as well.
  const alone = faultsOf(redis, [second]).filter(({ name }) => ['a blackhole', 'one in four lost'].includes(name))
  await storm(
    t,
    service,
    [service, other],
    [...faults, ...alone.map((fault) => ({ ...fault, name: `${fault.name}, on one side` }))],
    seconds,
  )
})

// The long form is about Redis.
if (MINUTES === null) {
  t.test('one service without Redis', async (t) => {
    const service = await createService(t, { level: 'fatal', rooms: { realtimeTimes: TIMES } })
    await storm(t, service, [service], [{ name: 'calm', strike: () => sleep(1_500).then(() => {}) }], 2)
  })
}
