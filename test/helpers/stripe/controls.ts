/** What a test does as the outside world: customers, banks, time, and Stripe's own bad days. All at once, without a request. */
import type Stripe from 'stripe'
import { type CardName, cardOf, type TestCard } from './cards.ts'
import { type AutoDeliverOptions, type AutoDelivery, autoDeliver, type DeliverOptions, deliver } from './deliver.ts'
import { change } from './events.ts'
import type { ArmedFault, FaultRule, Faults } from './faults.ts'
import { type CheckoutOutcome, expireSession, type PayCheckout, payCheckout, settleDelayed } from './resources/checkout-pay.ts'
import * as disputes from './resources/disputes.ts'
import { decline, succeed } from './resources/intents.ts'
import { collect, followIntent, methodOf, subscriptionOf } from './resources/invoice-payments.ts'
import { attach, newCardMethod } from './resources/payment-methods.ts'
import { failRefund, newRefund, settleRefund } from './resources/refunds.ts'
import { advance } from './resources/subscription-change.ts'
import { periodOf } from './resources/subscription-items.ts'
import type { RequestRecord } from './server.ts'
import { type Clock, find, idOf, type RowOf, type Tables, type World } from './world.ts'

export interface Controls {
  /** `offsetSeconds` is added to what Stripe takes for now. Deliveries are signed with the real time. */
  readonly clock: Clock
  readonly requests: readonly RequestRecord[]
  /** All events so far, oldest first. */
  readonly events: readonly Stripe.Event[]
  /** All objects of a kind as they are now, oldest first. */
  rows<Kind extends keyof Tables>(kind: Kind): RowOf<Kind>[]

  /** A card of the customer, and by default the one for invoices. */
  saveCard(customerId: string, card?: CardName | TestCard, options?: { asDefault?: boolean }): Stripe.PaymentMethod
  /** From now on the card behaves so; its number stays. */
  changeCard(paymentMethodId: string, card: CardName | TestCard): void
  /** The customer comes back to a payment that waits for them, and proves who they are, or does not. */
  authenticate(paymentIntentId: string, ok: boolean): Stripe.PaymentIntent

  payCheckout(sessionId: string, how?: PayCheckout): CheckoutOutcome
  settleDelayed(sessionId: string, ok: boolean): Stripe.Checkout.Session
  expireCheckout(sessionId: string): Stripe.Checkout.Session

  /** As from Stripe's dashboard: all that is left by default. */
  refund(paymentIntentId: string, amount?: number): Stripe.Refund
  settleRefund(refundId: string): Stripe.Refund
  failRefund(refundId: string, reason?: string): Stripe.Refund

  openDispute(paymentIntentId: string, how?: disputes.DisputeInput): Stripe.Dispute
  escalateInquiry(disputeId: string): Stripe.Dispute
  closeInquiry(disputeId: string): Stripe.Dispute
  withdrawFunds(disputeId: string): Stripe.Dispute
  reinstateFunds(disputeId: string): Stripe.Dispute
  winDispute(disputeId: string): Stripe.Dispute
  loseDispute(disputeId: string): Stripe.Dispute

  /** The subscription's period ends: its next invoice, or none if this was the end. With `moveClock` the clock goes there as well. */
  advanceSubscription(subscriptionId: string, options?: { moveClock?: boolean }): Stripe.Invoice | null
  /** Stripe tries an open invoice again. */
  retryInvoice(invoiceId: string): Stripe.Invoice

  fail(rule: FaultRule): ArmedFault
  /** Sends one event, and returns the status. */
  deliver(event: Stripe.Event | string, url: string, options: DeliverOptions): Promise<number>
  /** Sends each new event from now on, again until it is taken. */
  autoDeliver(options: AutoDeliverOptions): AutoDelivery
}

export function createControls(world: World, faults: Faults, requests: readonly RequestRecord[]): Controls {
  /** What a test holds is a copy: the original goes on changing. */
  const copy = <Row>(row: Row): Row => structuredClone(row)

  function chargeOf(paymentIntentId: string): Stripe.Charge {
    return find(world, 'charges', idOf(find(world, 'paymentIntents', paymentIntentId).latest_charge) ?? '')
  }

  function withDispute(id: string, act: (dispute: Stripe.Dispute) => void): Stripe.Dispute {
    const dispute = find(world, 'disputes', id)
    act(dispute)
    return copy(dispute)
  }

  function withRefund(id: string, act: (refund: Stripe.Refund) => void): Stripe.Refund {
    const refund = find(world, 'refunds', id)
    act(refund)
    return copy(refund)
  }

  return {
    clock: world.clock,
    requests,
    events: world.tables.events.rows,
    rows: (kind) => copy(world.tables[kind].rows) as never,

    saveCard(customerId, card = 'good', { asDefault = true } = {}) {
      const customer = find(world, 'customers', customerId)
      const method = newCardMethod(world, cardOf(card), { email: customer.email, name: customer.name ?? null })
      attach(world, method, customer.id)
      if (asDefault)
        change(world, 'customer.updated', customer, {
          invoice_settings: { ...customer.invoice_settings, default_payment_method: method.id },
        })
      return copy(method)
    },
    changeCard(paymentMethodId, card) {
      world.cards.set(find(world, 'paymentMethods', paymentMethodId).id, cardOf(card))
    },
    authenticate(paymentIntentId, ok) {
      const intent = find(world, 'paymentIntents', paymentIntentId)
      if (intent.status !== 'requires_action') throw new Error(`${intent.id} is ${intent.status}`)
      const method = find(world, 'paymentMethods', idOf(intent.payment_method) ?? '')
      if (ok) succeed(world, intent, method)
      else decline(world, intent, method, 'authentication_required')
      followIntent(world, intent)
      return copy(intent)
    },

    payCheckout: (sessionId, how = {}) => copy(payCheckout(world, sessionId, how)),
    settleDelayed: (sessionId, ok) => copy(settleDelayed(world, sessionId, ok)),
    expireCheckout(sessionId) {
      const session = find(world, 'sessions', sessionId)
      if (session.status !== 'open') throw new Error(`${session.id} is ${session.status}`)
      expireSession(world, session)
      return copy(session)
    },

    refund: (paymentIntentId, amount) => copy(newRefund(world, { charge: chargeOf(paymentIntentId), amount })),
    settleRefund: (id) => withRefund(id, (refund) => settleRefund(world, refund)),
    failRefund: (id, reason) => withRefund(id, (refund) => failRefund(world, refund, reason)),

    openDispute: (paymentIntentId, how = {}) => copy(disputes.newDispute(world, chargeOf(paymentIntentId), how)),
    escalateInquiry: (id) => withDispute(id, (dispute) => disputes.escalate(world, dispute)),
    closeInquiry: (id) => withDispute(id, (dispute) => disputes.closeDispute(world, dispute, 'warning_closed')),
    withdrawFunds: (id) => withDispute(id, (dispute) => disputes.withdrawFunds(world, dispute)),
    reinstateFunds: (id) => withDispute(id, (dispute) => disputes.reinstateFunds(world, dispute)),
    winDispute: (id) => withDispute(id, (dispute) => disputes.closeDispute(world, dispute, 'won')),
    loseDispute: (id) => withDispute(id, (dispute) => disputes.closeDispute(world, dispute, 'lost')),

    advanceSubscription(subscriptionId, { moveClock = false } = {}) {
      const subscription = find(world, 'subscriptions', subscriptionId)
      if (moveClock) world.clock.advance(Math.max(0, periodOf(subscription).end - world.clock.now()))
      return copy(advance(world, subscription))
    },
    retryInvoice(invoiceId) {
      const invoice = find(world, 'invoices', invoiceId)
      const subscription = subscriptionOf(world, invoice)
      if (invoice.status !== 'open' || subscription === undefined)
        throw new Error(`${invoice.id} cannot be tried again: it is ${invoice.status}`)
      collect(world, invoice, methodOf(world, subscription), { offSession: true })
      return copy(invoice)
    },

    fail: (rule) => faults.arm(rule),
    deliver: (event, url, options) => deliver(typeof event === 'string' ? find(world, 'events', event) : event, url, options),
    autoDeliver: (options) => autoDeliver(world, options),
  }
}
