/** What somebody at Stripe's page does with a checkout session. */
import type Stripe from 'stripe'
import { type CardName, cardOf, type TestCard } from '../cards.ts'
import { emit, patch } from '../events.ts'
import { find, idOf, type World } from '../world.ts'
import { detailsOf } from './checkout-create.ts'
import { newCustomer } from './customers.ts'
import { newIntent } from './intent-create.ts'
import { attempt, cancelIntent, decline, settleDebit } from './intents.ts'
import { collect } from './invoice-payments.ts'
import { attach, newCardMethod, newDebitMethod } from './payment-methods.ts'
import { completeSetup } from './setup-intents.ts'
import { startSubscription } from './subscription-start.ts'

export interface PayCheckout {
  /** `delayed` is a debit: the session completes unpaid, and `settleDelayed` says later how it ended. */
  readonly card?: CardName | TestCard | 'delayed'
  readonly customerDetails?: { email?: string | null; name?: string | null }
}

export interface CheckoutOutcome {
  readonly session: Stripe.Checkout.Session
  /** Why the card was declined: the session is still open, and may be paid again. */
  readonly declineCode: string | null
}

export function payCheckout(world: World, id: string, { card = 'good', customerDetails = {} }: PayCheckout): CheckoutOutcome {
  const session = find(world, 'sessions', id)
  if (session.status !== 'open') throw new Error(`${id} is ${session.status}`)
  const details = {
    ...detailsOf({ email: session.customer_details?.email ?? 'payer@example.com', name: session.customer_details?.name ?? null }),
    ...customerDetails,
  }
  const method = card === 'delayed' ? newDebitMethod(world, details) : newCardMethod(world, cardOf(card), details)
  const behaviour = card === 'delayed' ? 'approve' : cardOf(card).onSession
  const refusal = typeof behaviour === 'string' ? null : behaviour.decline
  if (session.mode === 'payment') payOnce(world, session, method, refusal, details)
  else if (refusal === null) {
    if (session.mode === 'subscription') subscribe(world, session, method, details)
    else setUp(world, session, method)
  }
  if (refusal !== null) return { session, declineCode: refusal }
  patch(session, { status: 'complete', customer_details: details, url: null })
  emit(world, 'checkout.session.completed', session)
  return { session, declineCode: null }
}

type Details = { email: string | null; name: string | null }

function customerOf(world: World, session: Stripe.Checkout.Session, details: Details): string {
  const known = idOf(session.customer)
  if (known) return known
  const customer = newCustomer(world, { email: details.email, name: details.name })
  patch(session, { customer: customer.id })
  return customer.id
}

function payOnce(
  world: World,
  session: Stripe.Checkout.Session,
  method: Stripe.PaymentMethod,
  refusal: string | null,
  details: Details,
): void {
  if (session.amount_total === 0) {
    patch(session, { payment_status: 'no_payment_required' })
    return
  }
  const data = world.sessionData.get(session.id)
  const wantsCustomer = session.customer_creation === 'always' || data?.setupFutureUsage != null
  const customer = wantsCustomer ? customerOf(world, session, details) : idOf(session.customer)
  const intent =
    world.tables.paymentIntents.get(idOf(session.payment_intent) ?? '') ??
    newIntent(world, {
      amount: session.amount_total ?? 0,
      currency: session.currency ?? 'usd',
      customer,
      description: data?.description ?? null,
      metadata: { ...data?.metadata },
      setupFutureUsage: data?.setupFutureUsage ?? null,
    })
  patch(session, { payment_intent: intent.id })
  if (refusal !== null) {
    decline(world, intent, method, refusal)
    return
  }
  // The page asks the customer whenever the bank wants it, and the customer agrees.
  world.cards.set(method.id, { ...(world.cards.get(method.id) ?? cardOf('good')), onSession: 'approve' })
  const outcome = attempt(world, intent, method, { offSession: false, canAuthenticate: true })
  patch(session, { payment_status: outcome.status === 'succeeded' ? 'paid' : 'unpaid' })
}

function subscribe(world: World, session: Stripe.Checkout.Session, method: Stripe.PaymentMethod, details: Details): void {
  const customer = customerOf(world, session, details)
  const data = world.sessionData.get(session.id)
  attach(world, method, customer)
  const card = world.cards.get(method.id)
  if (card) world.cards.set(method.id, { ...card, onSession: 'approve' })
  const items = (world.lineItems.get(session.id) ?? []).flatMap(({ price, quantity }) =>
    price?.recurring ? [{ price, quantity: quantity ?? 1, metadata: {} }] : [],
  )
  const { subscription, invoice } = startSubscription(world, {
    customer,
    items,
    metadata: { ...data?.metadata },
    description: data?.description ?? null,
    defaultMethod: method.id,
    prorationDiscounts: data?.prorationDiscounts ?? 'included',
  })
  const outcome = collect(world, invoice, method, { offSession: false })
  patch(session, {
    subscription: subscription.id,
    invoice: invoice.id,
    payment_status: outcome === null || outcome.status === 'succeeded' ? 'paid' : 'unpaid',
  })
}

function setUp(world: World, session: Stripe.Checkout.Session, method: Stripe.PaymentMethod): void {
  completeSetup(world, find(world, 'setupIntents', idOf(session.setup_intent) ?? ''), method)
}

/** The debit of a session that completed unpaid arrived, or came back. */
export function settleDelayed(world: World, id: string, ok: boolean): Stripe.Checkout.Session {
  const session = find(world, 'sessions', id)
  const intent = find(world, 'paymentIntents', idOf(session.payment_intent) ?? '')
  settleDebit(world, intent, ok)
  if (ok) patch(session, { payment_status: 'paid' })
  emit(world, ok ? 'checkout.session.async_payment_succeeded' : 'checkout.session.async_payment_failed', session)
  return session
}

export function expireSession(world: World, session: Stripe.Checkout.Session): void {
  const intent = world.tables.paymentIntents.get(idOf(session.payment_intent) ?? '')
  if (intent) cancelIntent(world, intent, 'automatic')
  patch(session, { status: 'expired', expires_at: Math.min(session.expires_at, world.clock.now()), url: null })
  emit(world, 'checkout.session.expired', session)
}
