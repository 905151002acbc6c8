import Stripe from 'stripe'
import t from 'tap'
import type { DueEvent, Inbox } from '../../src/billing/inbox.ts'
import { createProcessor } from '../../src/billing/processor.ts'
import { type ReconcilePorts, reconcile, reconcileDue } from '../../src/billing/reconcile.ts'
import { createStripeGateway } from '../../src/billing/stripe/gateway.ts'
import type { SyncOutcome } from '../../src/billing/sync.ts'
import { startTestStripe } from '../helpers/stripe/index.ts'

/** What looks for what nobody told, and what works off what was told, with pretended neighbours. */

const FROM = new Date(0)
const TO = new Date(1_000)

function portsOf(listed: readonly string[], disputed: readonly string[], sync: ReconcilePorts['sync']): ReconcilePorts {
  return {
    gateway: {
      provider: 'stripe',
      livemode: false,
      async *changedBetween() {
        yield* listed
      },
    },
    inbox: { settle: async () => {}, report: async () => {} },
    orders: { disputed: async () => [...disputed] },
    sync,
  }
}

t.test('everything that changed is looked at once, and open disputes whenever they were opened', async (t) => {
  const asked: string[] = []
  const progress: number[] = []
  const sync = async (subject: string, cause: string): Promise<SyncOutcome> => {
    t.equal(cause, 'reconcile')
    asked.push(subject)
    return { outcome: 'applied', changed: subject === 'pi_2', id: `order of ${subject}` }
  }
  const ports = portsOf(['pi_1', 'pi_2', 'pi_1', 'cs_1', 'pi_2'], ['pi_2', 'pi_old'], sync)
  const result = await reconcile(ports, FROM, TO, (checked) => progress.push(checked))
  t.same(asked.sort(), ['cs_1', 'pi_1', 'pi_2', 'pi_old'])
  t.same(result, { checked: 4, repaired: ['order of pi_2'], disagreeing: [], failed: [] })
  t.same(progress, [1, 2, 3, 4])
})

t.test('what does not fit or cannot be read is told, and stops nothing', async (t) => {
  const outcomes: Record<string, () => SyncOutcome> = {
    pi_parked: () => ({ outcome: 'parked', reason: 'another amount', id: null }),
    pi_ignored: () => ({ outcome: 'ignored', reason: 'a payment of somebody else' }),
    pi_down: () => {
      throw new Error('Stripe is down')
    },
    pi_good: () => ({ outcome: 'applied', changed: true, id: 'good' }),
  }
  const result = await reconcile(
    portsOf(Object.keys(outcomes), [], async (subject) => (outcomes[subject] as () => SyncOutcome)()),
    FROM,
    TO,
  )
  t.same(result, {
    checked: 4,
    repaired: ['good'],
    disagreeing: [{ subject: 'pi_parked', reason: 'another amount' }],
    failed: [{ subject: 'pi_down', reason: 'Stripe is down' }],
  })
})

t.test('no more than eight are read at once', async (t) => {
  let reading = 0
  let most = 0
  const sync = async (): Promise<SyncOutcome> => {
    reading += 1
    most = Math.max(most, reading)
    await new Promise((resolve) => setTimeout(resolve, 5))
    reading -= 1
    return { outcome: 'ignored', reason: 'nothing' }
  }
  const subjects = Array.from({ length: 50 }, (_, n) => `pi_${n}`)
  t.equal((await reconcile(portsOf(subjects, [], sync), FROM, TO)).checked, 50)
  t.equal(most, 8)
})

t.test("Stripe's books of a window name what changed in it, however old the payment is", async (t) => {
  const stripe = await startTestStripe()
  t.teardown(() => stripe.close())
  const { controls } = stripe
  const api = new Stripe(stripe.apiKey, { host: stripe.host, port: stripe.port, protocol: stripe.protocol })
  const gateway = createStripeGateway({ secretKey: stripe.apiKey, apiUrl: stripe.url })
  const paid = async () =>
    (await api.paymentIntents.create({ amount: 4500, currency: 'usd', payment_method: 'pm_card_visa', confirm: true })).id
  const page = () =>
    api.checkout.sessions.create({
      mode: 'payment',
      line_items: [{ quantity: 1, price_data: { currency: 'usd', unit_amount: 4500, product_data: { name: 'x' } } }],
      success_url: 'https://app.example.com/',
    })
  const changed = async (days: number): Promise<string[]> => {
    const at = Date.now() + days * 86_400_000
    const subjects: string[] = []
    for await (const subject of gateway.changedBetween(new Date(at - 3_600_000), new Date(at + 3_600_000))) subjects.push(subject)
    return [...new Set(subjects)].sort()
  }
  const [refunded, failing, disputed, untouched] = [await paid(), await paid(), await paid(), await paid()]
  const left = await page()
  const refund = controls.refund(failing)
  const dispute = controls.openDispute(disputed)
  const days = (count: number) => controls.clock.advance(count * 86_400)
  t.same(await changed(0), [disputed, failing, refunded, untouched].sort())
  days(10)
  const fresh = await paid()
  controls.refund(refunded)
  t.same(await changed(10), [fresh, refunded].sort(), 'a new payment, and a refund of an old one')
  days(10)
  controls.failRefund(refund.id)
  controls.withdrawFunds(dispute.id)
  controls.expireCheckout(left.id)
  t.same(await changed(20), [left.id, disputed, failing].sort(), 'what only an event tells of')
  t.same(await changed(30), [])
})

/** An inbox of batches that are claimed one after the other. */
function processorOf(claim: () => Promise<DueEvent[]>) {
  const warnings: string[] = []
  const inbox = {
    claim,
    receive: async () => true,
    finish: async () => {},
    postpone: async () => {},
    settle: async () => {},
    report: async () => {},
    clearOld: async () => 0,
  } satisfies Inbox
  const sync = async (): Promise<SyncOutcome> => ({ outcome: 'ignored', reason: 'nothing' })
  const log = { warn: (_: object, message: string) => warnings.push(message), error: () => {} }
  return { processor: createProcessor({ inbox, gateway: () => ({ provider: 'stripe', livemode: false }), sync, log }), warnings }
}

t.test('what comes while events are worked off is not left for later', async (t) => {
  let claims = 0
  const first = Promise.withResolvers<DueEvent[]>()
  const { processor } = processorOf(() => {
    claims += 1
    return claims === 1 ? first.promise : Promise.resolve([])
  })
  const runs = [processor.run(), processor.run(), processor.run()]
  t.equal(claims, 1, 'one run at a time')
  first.resolve([])
  await Promise.all(runs)
  t.equal(claims, 2, 'and one more, for all that came meanwhile')
  await processor.run()
  t.equal(claims, 3)
})

t.test('a run that fails says so, and the next one goes on', async (t) => {
  let claims = 0
  const { processor, warnings } = processorOf(async () => {
    claims += 1
    if (claims <= 2) throw new Error('the database is away')
    return []
  })
  await t.rejects(processor.run(), /away/)
  processor.soon()
  await new Promise((resolve) => setImmediate(resolve))
  t.same(warnings, ['events could not be worked off'])
  await processor.run()
  t.equal(claims, 3)
})

t.test('the job goes on from where it was, however long ago', async (t) => {
  const HOUR = 3_600_000
  const now = Date.parse('2026-11-21T12:00:00Z')
  let reached: Date | null = null
  const windows: number[][] = []
  const marks = {
    reconciledUpTo: async () => reached,
    async markReconciled(at: Date) {
      reached = at
    },
  }
  const run = async (at: number, failed: { subject: string; reason: string }[] = []) => {
    await reconcileDue(
      marks,
      async (from, to) => {
        windows.push([(from.getTime() - now) / HOUR, (to.getTime() - now) / HOUR])
        return { checked: 0, repaired: [], disagreeing: [], failed }
      },
      at,
    )
  }
  await run(now)
  await run(now + HOUR, [{ subject: 'pi_1', reason: 'no answer' }])
  await run(now + 50 * HOUR)
  await run(now + 51 * HOUR)
  await run(now + 3_000 * HOUR)
  t.same(windows, [
    [-6, 0],
    [-1, 1],
    [0, 50],
    [49, 51],
    [3_000 - 720, 3_000],
  ])
})
