import type Stripe from 'stripe'
import t from 'tap'
import { fromStripe } from '../../src/billing/stripe/from-stripe.ts'
import { concernOf, subjectOf } from '../../src/billing/stripe/subject.ts'

/** Stripe's objects in our terms. */

const intentOf = (said: object = {}) =>
  ({
    id: 'pi_1',
    status: 'succeeded',
    currency: 'usd',
    amount: 4500,
    amount_received: 4500,
    livemode: false,
    last_payment_error: null,
    cancellation_reason: null,
    metadata: { farebox_payment: `pay_${'1'.repeat(32)}`, farebox_wallet: `wal_${'2'.repeat(32)}` },
    ...said,
  }) as unknown as Stripe.PaymentIntent
const refundOf = (amount: number, status: string) => ({ id: 're_1', amount, status }) as unknown as Stripe.Refund
const chargeOf = (said: object = {}) => ({ amount_refunded: 0, created: 1_800_000_000, ...said }) as unknown as Stripe.Charge
const disputeOf = (status: string, entries: number[], amount = 4500) =>
  ({ status, amount, currency: 'usd', balance_transactions: entries.map((one) => ({ amount: one })) }) as unknown as Stripe.Dispute

t.test('a payment is open, paid or failed', async (t) => {
  const statuses: Record<string, string> = {
    requires_payment_method: 'open',
    requires_confirmation: 'open',
    requires_action: 'open',
    requires_capture: 'open',
    processing: 'open',
    succeeded: 'paid',
    canceled: 'failed',
  }
  for (const [status, expected] of Object.entries(statuses)) {
    t.equal(fromStripe(intentOf({ status }), null, [], []).status, expected, status)
  }
  const declined = { last_payment_error: { message: 'Your card was declined.' } }
  t.equal(fromStripe(intentOf({ ...declined, status: 'requires_payment_method' }), null, [], []).failure, 'Your card was declined.')
  t.equal(fromStripe(intentOf({ ...declined }), null, [], []).failure, null, 'an earlier decline is forgotten')
  t.equal(fromStripe(intentOf({ status: 'canceled', cancellation_reason: 'abandoned' }), null, [], []).failure, 'abandoned')
})

t.test('it says what came in, when, for whom, and how much of it was given back', async (t) => {
  const state = fromStripe(
    intentOf({ amount_received: 4400, livemode: true }),
    chargeOf(),
    [],
    [refundOf(17, 'succeeded'), refundOf(5, 'pending'), refundOf(9, 'failed'), refundOf(3, 'canceled')],
  )
  t.match(state, { objectId: 'pi_1', currency: 'USD', amount: 4_400n, refunded: 22n, withdrawn: 0n, disputed: false, livemode: true })
  t.match(state, { paymentId: '11111111-1111-1111-1111-111111111111', walletId: '22222222-2222-2222-2222-222222222222' })
  t.equal(state.paidAt, 1_800_000_000_000)
  t.match(fromStripe(intentOf(), null, [], []), { refunded: 0n, paidAt: null })
})

t.test('marks that are no ids of ours are none', async (t) => {
  const others = [{}, null, { farebox_payment: '' }, { farebox_payment: 'pay_1' }, { farebox_payment: `wal_${'1'.repeat(32)}` }]
  for (const metadata of others) t.match(fromStripe(intentOf({ metadata }), null, [], []), { paymentId: null, walletId: null })
})

t.test('a dispute holds what its bank has taken and not given back', async (t) => {
  const cases: [status: string, entries: number[], withdrawn: bigint, disputed: boolean][] = [
    ['needs_response', [], 0n, true],
    ['needs_response', [-4500], 4_500n, true],
    ['under_review', [-4500], 4_500n, true],
    ['under_review', [-4500, 4500], 0n, true],
    ['under_review', [4500, -4500], 0n, true],
    // A second round, in which the bank takes the money again.
    ['under_review', [-4500, 4500, -4500], 4_500n, true],
    ['won', [-4500, 4500], 0n, false],
    ['won', [-4500], 0n, false],
    ['lost', [-4500], 4_500n, false],
    ['lost', [], 4_500n, false],
    ['lost', [-4500, 4500], 4_500n, false],
    ['prevented', [], 0n, false],
    // A question of the bank: no money moves.
    ['warning_needs_response', [], 0n, true],
    ['warning_under_review', [], 0n, true],
    ['warning_closed', [-4500], 0n, false],
    // Entries in the account's own currency, which is another one: only their signs count.
    ['needs_response', [-5123], 4_500n, true],
    ['under_review', [-5123, 5007], 0n, true],
  ]
  for (const [status, entries, withdrawn, disputed] of cases) {
    t.match(fromStripe(intentOf(), chargeOf(), [disputeOf(status, entries)], []), { withdrawn, disputed }, `${status} ${entries}`)
  }
})

t.test('several disputes of one payment add up', async (t) => {
  const disputes = [disputeOf('lost', [-1000], 1000), disputeOf('won', [-700, 700], 700), disputeOf('needs_response', [-500], 500)]
  t.match(fromStripe(intentOf(), chargeOf(), disputes, []), { withdrawn: 1_500n, disputed: true })
  t.match(fromStripe(intentOf(), chargeOf(), disputes.slice(0, 2), []), { withdrawn: 1_000n, disputed: false })
})

t.test('an event is about a payment, a page without one, or nothing', async (t) => {
  const about = (type: string, object: unknown) => subjectOf({ type, data: { object } } as Stripe.Event)
  const cases: [type: string, object: unknown, subject: string | null][] = [
    ['payment_intent.succeeded', { object: 'payment_intent', id: 'pi_1' }, 'pi_1'],
    ['checkout.session.completed', { object: 'checkout.session', mode: 'payment', id: 'cs_1', payment_intent: 'pi_1' }, 'pi_1'],
    ['checkout.session.completed', { object: 'checkout.session', mode: 'payment', id: 'cs_1', payment_intent: { id: 'pi_1' } }, 'pi_1'],
    ['checkout.session.expired', { object: 'checkout.session', mode: 'payment', id: 'cs_1', payment_intent: null }, 'cs_1'],
    ['checkout.session.completed', { object: 'checkout.session', mode: 'subscription', id: 'cs_1', subscription: 'sub_1' }, 'sub_1'],
    ['checkout.session.expired', { object: 'checkout.session', mode: 'subscription', id: 'cs_1', subscription: null }, 'cs_1'],
    ['customer.subscription.updated', { object: 'subscription', id: 'sub_1' }, 'sub_1'],
    ['invoice.paid', { object: 'invoice', id: 'in_1' }, 'in_1'],
    ['invoice.created', { object: 'invoice', id: 'in_1' }, null],
    ['checkout.session.completed', { object: 'checkout.session', mode: 'setup', id: 'cs_1' }, null],
    ['charge.refunded', { object: 'charge', id: 'ch_1', payment_intent: 'pi_1' }, 'pi_1'],
    ['charge.refunded', { object: 'charge', id: 'ch_1', payment_intent: null }, null],
    ['refund.failed', { object: 'refund', id: 're_1', payment_intent: 'pi_1' }, 'pi_1'],
    ['charge.dispute.closed', { object: 'dispute', id: 'dp_1', payment_intent: 'pi_1' }, 'pi_1'],
    ['payment_intent.created', { object: 'payment_intent', id: 'pi_1' }, null],
    ['customer.created', { object: 'customer', id: 'cus_1' }, null],
    // Never put into a path of Stripe's.
    ['payment_intent.succeeded', { object: 'payment_intent', id: '' }, null],
    ['payment_intent.succeeded', { object: 'payment_intent', id: 'pi_1/cancel' }, null],
    ['payment_intent.succeeded', { object: 'payment_intent', id: '../refunds' }, null],
    ['payment_intent.succeeded', { object: 'payment_intent', id: `pi_${'1'.repeat(251)}` }, null],
    ['payment_intent.succeeded', { object: 'payment_intent', id: 5 }, null],
    ['charge.refunded', { object: 'charge', payment_intent: { id: null } }, null],
    ['charge.refunded', 'a text', null],
    ['charge.refunded', [], null],
  ]
  for (const [type, object, subject] of cases) t.equal(about(type, object), subject, `${type} ${JSON.stringify(object)}`.slice(0, 120))
})

t.test('a dispute in another currency than the payment holds all of it', async (t) => {
  const dispute = { ...disputeOf('needs_response', [-5000], 5000), currency: 'eur' } as Stripe.Dispute
  t.match(fromStripe(intentOf(), chargeOf(), [dispute], []), { withdrawn: 4_500n, disputed: true })
})

t.test('an event of a known kind that cannot be read is for a person', async (t) => {
  const about = (type: string, object: unknown) => concernOf({ type, data: { object } } as Stripe.Event)
  t.same(about('payment_intent.succeeded', { object: 'payment_intent', id: 'pi_1' }), { subject: 'pi_1', unreadable: null })
  t.same(about('customer.created', {}), { subject: null, unreadable: null })
  t.same(about('checkout.session.completed', { object: 'checkout.session', mode: 'setup', id: 'cs_1' }), {
    subject: null,
    unreadable: null,
  })
  t.same(about('charge.refunded', { object: 'charge', payment_intent: null }), { subject: null, unreadable: null })
  t.match(about('payment_intent.succeeded', { object: 'payment_intent' }), { subject: null, unreadable: /cannot be read/ })
  t.match(about('charge.refunded', 'a text'), { subject: null, unreadable: /cannot be read/ })
})
