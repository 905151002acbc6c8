/** What becomes of an invoice, and of its subscription, when its payment intent is paid or is not. */
import type Stripe from 'stripe'
import { cardBehind } from '../cards.ts'
import { change, emit, patch } from '../events.ts'
import { idOf, type World } from '../world.ts'
import { attempt, cancelIntent, type Outcome } from './intents.ts'
import { endSubscription } from './subscription-end.ts'

const RETRY_SECONDS = 3 * 86_400

export const paymentOf = (world: World, invoice: Stripe.Invoice): Stripe.InvoicePayment | undefined =>
  world.tables.invoicePayments.rows.find((row) => row.invoice === invoice.id)

export function intentOf(world: World, invoice: Stripe.Invoice): Stripe.PaymentIntent | undefined {
  return world.tables.paymentIntents.get(idOf(paymentOf(world, invoice)?.payment.payment_intent) ?? '')
}

export function subscriptionOf(world: World, invoice: Stripe.Invoice): Stripe.Subscription | undefined {
  return world.tables.subscriptions.get(idOf(invoice.parent?.subscription_details?.subscription) ?? '')
}

/** The payment method that an invoice of this subscription is charged to. */
export function methodOf(world: World, subscription: Stripe.Subscription): Stripe.PaymentMethod | undefined {
  const customer = world.tables.customers.get(idOf(subscription.customer) ?? '')
  const id = idOf(subscription.default_payment_method) ?? idOf(customer?.invoice_settings.default_payment_method)
  return world.tables.paymentMethods.get(id ?? '')
}

/** Whether the card would pay off-session. Asked before a change that is to happen only if it is paid. */
export function wouldPay(world: World, method: Stripe.PaymentMethod | undefined): boolean {
  return method !== undefined && cardBehind(world, method).offSession === 'approve'
}

/** Tries to collect a finalised invoice. */
export function collect(
  world: World,
  invoice: Stripe.Invoice,
  method: Stripe.PaymentMethod | undefined,
  { offSession }: { offSession: boolean },
): Outcome | null {
  const intent = intentOf(world, invoice)
  if (intent === undefined) {
    settle(world, invoice)
    return null
  }
  if (method === undefined) {
    miss(world, invoice, intent)
    return null
  }
  const outcome = attempt(world, intent, method, { offSession, canAuthenticate: true })
  followIntent(world, intent)
  return outcome
}

/** Brings an invoice up to what its payment intent says. A payment intent without an invoice is nobody's concern here. */
export function followIntent(world: World, intent: Stripe.PaymentIntent): void {
  const payment = world.tables.invoicePayments.rows.find((row) => row.payment.payment_intent === intent.id)
  const invoice = world.tables.invoices.get(idOf(payment?.invoice) ?? '')
  if (invoice === undefined || invoice.status !== 'open') return
  if (intent.status === 'succeeded') settle(world, invoice)
  else if (intent.status === 'requires_action' || intent.status === 'requires_payment_method') miss(world, invoice, intent)
}

function settle(world: World, invoice: Stripe.Invoice): void {
  const at = world.clock.now()
  const payment = paymentOf(world, invoice)
  const attempts = payment === undefined ? invoice.attempt_count : invoice.attempt_count + 1
  patch(invoice, {
    status: 'paid',
    attempted: true,
    attempt_count: attempts,
    amount_paid: invoice.amount_due,
    amount_remaining: 0,
    auto_advance: false,
    next_payment_attempt: null,
    status_transitions: { ...invoice.status_transitions, paid_at: at },
  })
  if (payment) patch(payment, { status: 'paid', amount_paid: invoice.amount_due, status_transitions: { canceled_at: null, paid_at: at } })
  emit(world, 'invoice.paid', invoice)
  emit(world, 'invoice.payment_succeeded', invoice)
  if (payment) emit(world, 'invoice_payment.paid', payment)
  const subscription = subscriptionOf(world, invoice)
  if (subscription === undefined || subscription.latest_invoice !== invoice.id) return
  const changes: Partial<Stripe.Subscription> = {}
  if (['incomplete', 'past_due', 'unpaid'].includes(subscription.status)) changes.status = 'active'
  if (subscription.payment_settings?.save_default_payment_method === 'on_subscription' && subscription.default_payment_method === null)
    changes.default_payment_method = idOf(intentOf(world, invoice)?.payment_method)
  change(world, 'customer.subscription.updated', subscription, changes)
}

function miss(world: World, invoice: Stripe.Invoice, intent: Stripe.PaymentIntent): void {
  const { attemptsMax } = world.settings.dunning
  const attempts = invoice.attempt_count + 1
  const first = invoice.billing_reason === 'subscription_create'
  const exhausted = !first && attempts >= attemptsMax
  patch(invoice, {
    attempted: true,
    attempt_count: attempts,
    next_payment_attempt: first || exhausted ? null : world.clock.now() + RETRY_SECONDS,
  })
  emit(world, 'invoice.payment_failed', invoice)
  if (intent.status === 'requires_action') emit(world, 'invoice.payment_action_required', invoice)
  const subscription = subscriptionOf(world, invoice)
  if (subscription === undefined || subscription.status === 'canceled' || subscription.status === 'incomplete') return
  if (!exhausted) change(world, 'customer.subscription.updated', subscription, { status: 'past_due' })
  else giveUp(world, subscription)
}

function giveUp(world: World, subscription: Stripe.Subscription): void {
  const { endsAs } = world.settings.dunning
  if (endsAs === 'canceled') endSubscription(world, subscription, 'payment_failed')
  else change(world, 'customer.subscription.updated', subscription, { status: endsAs })
}

export function voidInvoice(world: World, invoice: Stripe.Invoice): void {
  const intent = intentOf(world, invoice)
  if (intent && intent.status !== 'succeeded') cancelIntent(world, intent, 'void_invoice')
  patch(invoice, {
    status: 'void',
    auto_advance: false,
    next_payment_attempt: null,
    status_transitions: { ...invoice.status_transitions, voided_at: world.clock.now() },
  })
  emit(world, 'invoice.voided', invoice)
}
