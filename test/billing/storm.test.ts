/**
 * A storm of webhooks: payments that are paid, refunded in parts, disputed, won and lost, told of in any order, several times or never,
 * to two processes that are killed (SIGKILL) and started again, while Stripe has bad days. In the end every wallet has exactly what
 * Stripe's books say, and the reconciler has found exactly what nobody told.
 *
 * In a test run it is short. The long form starts a database of its own:
 *
 *   node test/billing/storm.test.ts --payments=5000 --kills=10 [--seed=…]
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import Stripe from 'stripe'
import t, { type Test } from 'tap'
import { createClient } from '../../src/auth/create-client.ts'
import { issueKey } from '../../src/auth/issue-key.ts'
import { PACKAGE_SEED } from '../../src/billing/package.ts'
import { WATCHED } from '../../src/billing/stripe/subject.ts'
import { verify } from '../../src/ledger/verify-pg.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { migrate } from '../../src/platform/migrate.ts'
import { MIGRATIONS_DIR, seedLists } from '../../src/prepare.ts'
import { createRooms } from '../../src/wire.ts'
import { startThrowaway } from '../../tools/throwaway-postgres.ts'
import { RETURN_URL, WEBHOOK_SECRET } from '../helpers/billing.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { type ServiceProcess, startProcess } from '../helpers/process.ts'
import { type Random, randomFrom } from '../helpers/random.ts'
import { BACKEND_SCOPES, type Body, callerAt, JWT_SECRET, times } from '../helpers/service.ts'
import { type Controls, startTestStripe } from '../helpers/stripe/index.ts'

const { values } = parseArgs({
  options: { payments: { type: 'string' }, kills: { type: 'string' }, seed: { type: 'string' } },
  strict: false,
})
const isLong = values.payments !== undefined
const PAYMENTS = Number(values.payments ?? 60)
const KILLS = Number(values.kills ?? (isLong ? 10 : 1))
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
const PAYMENTS_PER_WALLET = 5
const AT_ONCE = 20
const COPIES_MAX = 5
/** Of every so manieth payment nobody hears anything, and of the others' events such a share is lost on the way. */
const SILENT = 20
const LOST = 0.05

/** One payment in the outside world, and what it must come to. */
interface Story {
  readonly order: Body
  readonly wallet: string
  readonly amount: number
  /** Nobody is ever told of it. */
  readonly isSilent: boolean
  /** What happens, one after the other. */
  readonly steps: (() => void | Promise<void>)[]
  isPaid: boolean
  refunded: number
  withdrawn: number
}

/** Writes what happens to a payment. Its books are kept here, apart from Stripe's. */
function write(story: Story, random: Random, controls: Controls, api: Stripe, sessionId: string | null): void {
  const { steps, amount, order } = story
  let intent = order.provider_payment_id as string
  const part = Math.max(1, Math.floor(amount * (0.1 + 0.4 * random.next())))
  const paid = () => {
    story.isPaid = true
  }
  if (sessionId === null) {
    if (random.chance(0.2))
      steps.push(() => api.paymentIntents.confirm(intent, { payment_method: 'pm_card_chargeDeclined' }).then(noop, noop))
    steps.push(() => api.paymentIntents.confirm(intent, { payment_method: 'pm_card_visa' }).then(paid))
  } else {
    const fate = random.next()
    const pay = (card?: 'delayed' | 'declined') => {
      const { session } = controls.payCheckout(sessionId, card ? { card } : {})
      intent = session.payment_intent as string
    }
    if (fate < 0.05) {
      steps.push(() => void controls.expireCheckout(sessionId))
      return
    }
    if (random.chance(0.1)) steps.push(() => pay('declined'))
    if (fate < 0.25) {
      const arrives = random.chance(0.8)
      steps.push(() => pay('delayed'))
      steps.push(() => {
        controls.settleDelayed(sessionId, arrives)
        story.isPaid = arrives
      })
      if (!arrives) return
    } else {
      steps.push(() => {
        pay()
        paid()
      })
    }
  }
  const fate = random.next()
  const refund = (cents: number) => {
    const { id } = controls.refund(intent, cents)
    story.refunded += cents
    return id
  }
  if (fate < 0.4) {
    let first = ''
    steps.push(() => {
      first = refund(part)
    })
    steps.push(() => void refund(random.chance(0.5) ? amount - part : 1))
    if (random.chance(0.25)) {
      steps.push(() => {
        controls.failRefund(first)
        story.refunded -= part
      })
    }
  }
  if (fate > 0.3 && fate < 0.6) {
    const disputed = random.chance(0.7) ? amount : part
    const isInquiry = random.chance(0.15)
    let id = ''
    steps.push(() => {
      id = controls.openDispute(intent, { amount: disputed, inquiry: isInquiry }).id
    })
    if (isInquiry) {
      steps.push(() => void controls.closeInquiry(id))
      return
    }
    steps.push(() => {
      controls.withdrawFunds(id)
      story.withdrawn = disputed
    })
    const end = random.next()
    if (end < 0.5) {
      steps.push(() => {
        controls.reinstateFunds(id)
        story.withdrawn = 0
      })
      steps.push(() => void controls.winDispute(id))
    } else if (end < 0.8) steps.push(() => void controls.loseDispute(id))
  }
}

const noop = () => {}

async function openDatabase(t: Test): Promise<string> {
  if (process.env.TEST_TEMPLATE) {
    const { url } = await createTestDatabase(t)
    await seedLists(url)
    return url
  }
  const server = await startThrowaway()
  t.teardown(server.stop)
  await migrate(server.url, { dir: MIGRATIONS_DIR, log: { info() {}, warn: console.error } })
  await seedLists(server.url)
  return server.url
}

/** Works on `items` with so many at once. */
async function inParallel<T>(items: readonly T[], work: (item: T, index: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(
    times(AT_ONCE, async () => {
      for (let index = next++; index < items.length; index = next++) await work(items[index] as T, index)
    }),
  )
}

t.setTimeout(isLong ? 3_600_000 : 300_000)

t.test(`${PAYMENTS} payments in a storm of webhooks, through ${KILLS} kills`, async (t) => {
  const startedAt = performance.now()
  const random = randomFrom(SEED)
  t.comment(`webhook-storm: seed ${SEED}`)
  const url = await openDatabase(t)
  const stripe = await startTestStripe()
  t.teardown(stripe.close)
  const { controls } = stripe
  const api = new Stripe(stripe.apiKey, { host: stripe.host, port: stripe.port, protocol: stripe.protocol })
  const pool = new pg.Pool({ connectionString: url, max: 4 })
  pool.on('error', noop)
  t.teardown(() => pool.end())
  const query = async (text: string, more: unknown[] = []): Promise<Body[]> => (await pool.query(text, more)).rows
  const rooms = await createRooms(url, createLogger({ level: 'silent' }), {
    payments: { stripe: { secretKey: stripe.apiKey, apiUrl: stripe.url } },
  })
  t.teardown(rooms.close)
  const change = { speaker: { clientId: null, actor: 'system:test', requestId: 'test' }, reason: 'test', at: Date.now() }
  const { id: clientId } = await createClient(rooms.keys, 'storm', change)
  const { key } = await issueKey(rooms.keys, { clientId, name: 'storm', scopes: BACKEND_SCOPES, expiresAt: null }, change)

  // Without jobs: theirs would reconcile at every start, and there would be nothing left to find.
  const env = {
    ...{ DATABASE_URL: url, JWT_SECRET, PORT: '0', DATA_DIR: t.testdir(), DOCS: 'false', LOG_LEVEL: 'error' },
    ...{ STRIPE_SECRET_KEY: stripe.apiKey, STRIPE_API_URL: stripe.url },
    ...{ STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET, CHECKOUT_RETURN_URL: RETURN_URL },
  }
  const services: ServiceProcess[] = await Promise.all([startProcess(t, env, 'api'), startProcess(t, env, 'api')])
  const serviceOf = (n: number) => callerAt((services[n % 2] as ServiceProcess).url, () => key)

  // Orders, before the weather turns.
  const wallets: string[] = []
  await inParallel(times(Math.ceil(PAYMENTS / PAYMENTS_PER_WALLET), Number), async (n) => {
    wallets[n] = (await serviceOf(n).made('/v1/wallets', { owner: `user:${n}` })).id
  })
  const orders: Body[] = []
  const flows = times(PAYMENTS, () => (random.chance(0.2) ? 'payment_intent' : 'checkout'))
  await inParallel(flows, async (flow, n) => {
    const what = PACKAGE_SEED[n % PACKAGE_SEED.length]?.package
    orders[n] = await serviceOf(n).made('/v1/purchases', { wallet: wallets[n % wallets.length], package: what, flow })
  })
  const sessions = new Map(controls.rows('sessions').map((session) => [session.metadata?.farebox_payment, session.id]))
  const stories = orders.map((order, n): Story => {
    const amount = Math.round(Number(order.amount) * 100)
    const books = { isPaid: false, refunded: 0, withdrawn: 0 }
    const story = { order, wallet: order.wallet_id, amount, isSilent: n % SILENT === SILENT - 1, steps: [], ...books }
    write(story, random, controls, api, sessions.get(order.id) ?? null)
    return story
  })
  const openedMs = performance.now() - startedAt

  // The storm: things happen, and are told.
  const faults = [
    controls.fail({ match: { method: 'GET' }, how: 'error429', probability: 0.01, seed: SEED }),
    controls.fail({ match: { method: 'GET' }, how: 'error500', probability: 0.02, seed: SEED + 1 }),
    controls.fail({ match: { method: 'GET' }, how: 'drop', probability: 0.02, seed: SEED + 2 }),
    controls.fail({ match: { method: 'GET' }, how: 'delay', delayMs: 50, probability: 0.05, seed: SEED + 3 }),
    // Each holds a reader for as long as it waits for Stripe.
    ...(isLong ? [controls.fail({ match: { method: 'GET' }, how: 'timeout', probability: 0.0005, times: 5, seed: SEED + 4 })] : []),
  ]
  const silent = new Set(stories.filter(({ isSilent }) => isSilent).map(({ order }) => order.id))
  const isSilentIntent = new Map<string, boolean>()
  const counts = { events: 0, silent: 0, lost: 0, deliveries: 0, again: 0, charges: 0 }
  const waiting: Stripe.Event[] = []
  let told = 0
  /** Takes up what happened since the last time. */
  function hear(): void {
    for (; told < controls.events.length; told += 1) {
      const event = controls.events[told] as Stripe.Event
      if (!(WATCHED as readonly string[]).includes(event.type)) continue
      counts.events += 1
      const object = event.data.object as { id: string; object: string; payment_intent?: string; metadata?: Stripe.Metadata }
      const intent = object.object === 'payment_intent' ? object.id : object.payment_intent
      const mark = object.metadata?.farebox_payment
      if (intent && mark) isSilentIntent.set(intent, silent.has(mark))
      const unheard = (intent && isSilentIntent.get(intent)) || (mark && silent.has(mark))
      if (unheard) counts.silent += 1
      else if (random.chance(LOST)) counts.lost += 1
      else for (let copies = 1 + random.below(COPIES_MAX); copies > 0; copies -= 1) waiting.push(event)
    }
  }
  let isOver = false
  async function deliver(): Promise<void> {
    while (!isOver || waiting.length > 0) {
      // Any of those that wait: they overtake each other.
      const [event] =
        waiting.length === 0 ? [] : waiting.splice(random.below(waiting.length), 1, ...waiting.splice(-1, waiting.length > 1 ? 1 : 0))
      if (!event) {
        await sleep(5)
        continue
      }
      for (let attempt = 0; ; attempt += 1) {
        const { url: to } = services[random.below(2)] as ServiceProcess
        const status = await controls.deliver(event, `${to}/v1/stripe/webhook`, { secret: WEBHOOK_SECRET }).catch(() => 0)
        if (status === 200) break
        if (attempt > 600) throw new Error(`${event.id} is not taken: ${status}`)
        counts.again += 1
        await sleep(50)
      }
      counts.deliveries += 1
    }
  }
  async function live(): Promise<void> {
    let left = [...stories]
    while (left.length > 0) {
      await inParallel(
        left.filter(() => random.chance(0.5)),
        async (story) => {
          await story.steps.shift()?.()
          // Meanwhile credits are used, so that some are gone when the money is.
          if (story.isPaid && random.chance(0.3)) {
            const answer = await serviceOf(random.below(2))
              .post('/v1/charges', { wallet: story.wallet, amount: String(1 + random.below(4_000)) })
              .catch(noop)
            if (answer?.status === 201) counts.charges += 1
          }
        },
      )
      hear()
      left = left.filter(({ steps }) => steps.length > 0)
      // Not faster than it can be told, so that every process meets payments in all their states.
      while (waiting.length > 2 * PAYMENTS) await sleep(20)
    }
    isOver = true
  }
  const kills = { done: 0, at: [] as number[] }
  /** How many deliveries lie between two kills; the storm has some ten for each payment. */
  const spacing = Math.ceil((PAYMENTS * 10) / (KILLS + 1))
  async function kill(): Promise<void> {
    while (kills.done < KILLS) {
      while (counts.deliveries < spacing * (kills.done + 1) && !(isOver && waiting.length === 0)) await sleep(5)
      const victim = kills.done % 2
      await (services[victim] as ServiceProcess).end('SIGKILL')
      services[victim] = await startProcess(t, env, 'api')
      kills.done += 1
      kills.at.push(counts.deliveries)
    }
  }
  try {
    await Promise.all([live(), kill(), ...times(AT_ONCE, deliver)])
  } finally {
    // So that an error is told rather than waited for.
    isOver = true
    waiting.length = 0
  }
  const stormMs = performance.now() - startedAt - openedMs

  // The calm after it. What a process had in its hands when it was killed comes back to the others after a minute.
  for (const until = performance.now() + 300_000; performance.now() < until; await sleep(100)) {
    if (!isLong)
      await query(
        `update provider_events set next_attempt_at = clock_timestamp() where status = 'received' and next_attempt_at > clock_timestamp()`,
      )
    await rooms.billing.processEvents()
    const [row] = await query(`select count(*)::int as n from provider_events where status = 'received'`)
    if (row.n === 0) break
  }
  for (const fault of faults) fault.stop()
  const calmMs = performance.now() - startedAt - openedMs - stormMs

  /** Orders that are not what Stripe's books and ours of the story say. */
  async function different(): Promise<string[]> {
    const rows = await query(`select 'pay_' || replace(p.id::text, '-', '') as id, p.status, p.credits, p.bonus, p.amount, p.reversed,
        coalesce((select sum(tx.amount) from transactions tx where tx.wallet_id = p.wallet_id
          and tx.reference = 'pay_' || replace(p.id::text, '-', '')), 0)::bigint as moved
      from payments p`)
    const found = new Map(rows.map((row) => [row.id, row]))
    return stories.flatMap((story) => {
      const row = found.get(story.order.id)
      const total = BigInt(row.credits) + BigInt(row.bonus)
      const gone = BigInt(Math.min(story.amount, story.refunded + story.withdrawn))
      const reversed = story.isPaid ? (total * gone) / BigInt(story.amount) : 0n
      const moved = story.isPaid ? total - reversed : 0n
      const isPaid = (row.status === 'paid') === story.isPaid
      return isPaid && BigInt(row.reversed) === reversed && BigInt(row.moved) === moved ? [] : [story.order.id]
    })
  }
  // Two bookkeepers: the story and the test Stripe must agree before anybody else is judged.
  const charges = new Map(
    controls
      .rows('charges')
      .filter(({ paid }) => paid)
      .map((charge) => [charge.metadata.farebox_payment, charge]),
  )
  t.ok(
    stories.every(
      ({ order, refunded, isPaid }) => (charges.get(order.id)?.amount_refunded ?? 0) === refunded && charges.has(order.id) === isPaid,
    ),
  )

  const missed = await different()
  const [events] = await query(`select count(*)::int as stored, count(*) filter (where status = 'processed')::int as processed,
    count(*) filter (where status in ('parked', 'ignored'))::int as others, max(attempts) as attempts,
    coalesce(max(extract(epoch from processed_at - received_at)), 0)::float as slowest,
    coalesce(percentile_cont(0.99) within group (order by extract(epoch from processed_at - received_at)), 0)::float as p99
    from provider_events`)
  const from = new Date(Date.now() - 86_400_000)
  const reconcileAt = performance.now()
  const first = await rooms.billing.reconcile(from, new Date(Date.now() + 60_000))
  const reconcileMs = performance.now() - reconcileAt
  // Expired pages that nobody told of are found as well, and move no credits.
  const unpaid = new Set(stories.filter(({ isPaid }) => !isPaid).map(({ order }) => order.id))
  const { repaired } = first
  t.same(repaired.filter((id) => !unpaid.has(id)).sort(), missed.toSorted(), 'the reconciler finds what nobody told, and nothing else')
  t.same([first.disagreeing, first.failed], [[], []])
  t.ok(first.repaired.length > 0, 'there was something to find')
  t.same(await different(), [], 'every payment is what Stripe says, to the micro-credit')
  const second = await rooms.billing.reconcile(from, new Date(Date.now() + 60_000))
  t.same([second.repaired, second.disagreeing, second.failed], [[], [], []], 'and a second run finds nothing')
  t.equal(second.checked, first.checked)

  const [sums] = await query(`select coalesce(sum(amount), 0)::text as moved from transactions where reference like 'pay\\_%'`)
  const expected = stories.reduce((sum, { order, isPaid, amount, refunded, withdrawn }) => {
    if (!isPaid) return sum
    const total = BigInt(Number(order.credits) * 1e6) + BigInt(Number(order.bonus) * 1e6)
    return sum + total - (total * BigInt(Math.min(amount, refunded + withdrawn))) / BigInt(amount)
  }, 0n)
  t.equal(sums.moved, expected.toString(), 'Σ credits granted − reversed')
  t.equal(events.others, 0, 'nothing was parked or ignored')
  t.equal(events.stored, events.processed)
  const unsound = (await verify(url)).filter(({ broken }) => broken > 0)
  t.same(unsound, [], 'all invariants hold')
  t.equal(kills.done, KILLS)

  const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`
  const [debts] = await query('select count(*) filter (where debt > 0)::int as n from wallets')
  t.comment(
    `webhook-storm: ${PAYMENTS} payments on ${wallets.length} wallets: ${stories.length - unpaid.size} paid, ${counts.charges} charges, ${debts.n} wallets in debt`,
  )
  t.comment(
    `webhook-storm: ${counts.events} events: ${counts.silent} of ${silent.size} payments never told, ${counts.lost} lost, ${events.stored} stored in ${counts.deliveries} deliveries (${counts.again} sent again)`,
  )
  t.comment(
    `webhook-storm: ${controls.requests.length} requests to Stripe, of them ${faults.reduce((sum, { hits }) => sum + hits, 0)} struck by a fault; at most ${events.attempts} attempts; received to processed p99 ${events.p99.toFixed(1)} s, at most ${events.slowest.toFixed(1)} s`,
  )
  t.comment(
    `webhook-storm: ${kills.done} kills, after ${kills.at.join(', ')} deliveries; orders ${seconds(openedMs)}, storm ${seconds(stormMs)}, calm ${seconds(calmMs)}`,
  )
  t.comment(
    `webhook-storm: reconciler: ${first.checked} checked in ${seconds(reconcileMs)}, ${first.repaired.length} found (${missed.length} with credits), then ${second.repaired.length}; Σ ${expected} micro-credits`,
  )
})
