/** Payment intents as everybody pays them: the API, the checkout, invoices, the outside world. */
import type Stripe from 'stripe'
import { cardBehind, declineError, type Verdict } from '../cards.ts'
import { emit, patch } from '../events.ts'
import type { FailureBody } from '../failure.ts'
import { idOf, type World } from '../world.ts'
import { chargeBooked, chargeFails, chargeSucceeds, newCharge } from './charges.ts'
import { attach } from './payment-methods.ts'

export type Outcome = { status: 'succeeded' | 'processing' | 'requires_action' } | { status: 'failed'; error: FailureBody }

export interface AttemptOptions {
  offSession: boolean
  /** Whether the customer can be asked. If not, a card that wants it is declined. */
  canAuthenticate: boolean
}

/** Tries to take the money. The intent is left in the state that Stripe would leave it in, whatever happens. */
export function attempt(world: World, intent: Stripe.PaymentIntent, method: Stripe.PaymentMethod, options: AttemptOptions): Outcome {
  patch(intent, { payment_method: method.id, last_payment_error: null, next_action: null })
  if (method.type === 'sepa_debit') return startDebit(world, intent, method)
  const card = cardBehind(world, method)
  const verdict: Verdict = options.offSession ? card.offSession : card.onSession
  if (verdict === 'approve') {
    succeed(world, intent, method)
    return { status: 'succeeded' }
  }
  if (verdict !== 'authenticate') return { status: 'failed', error: decline(world, intent, method, verdict.decline) }
  if (!options.canAuthenticate) return { status: 'failed', error: decline(world, intent, method, 'authentication_required') }
  patch(intent, {
    status: 'requires_action',
    next_action: {
      type: 'use_stripe_sdk',
      use_stripe_sdk: { type: 'three_d_secure_redirect' },
    } as unknown as Stripe.PaymentIntent.NextAction,
  })
  emit(world, 'payment_intent.requires_action', intent)
  return { status: 'requires_action' }
}

export function succeed(world: World, intent: Stripe.PaymentIntent, method: Stripe.PaymentMethod): void {
  const charge = newCharge(world, intent, method)
  chargeSucceeds(world, charge)
  received(world, intent, charge)
  const customer = idOf(intent.customer)
  if (intent.setup_future_usage && customer && method.customer === null) attach(world, method, customer)
  chargeBooked(world, charge)
}

function received(world: World, intent: Stripe.PaymentIntent, charge: Stripe.Charge): void {
  patch(intent, {
    status: 'succeeded',
    amount_received: intent.amount,
    latest_charge: charge.id,
    last_payment_error: null,
    next_action: null,
    processing: null,
  })
  emit(world, 'payment_intent.succeeded', intent)
}

export function decline(world: World, intent: Stripe.PaymentIntent, method: Stripe.PaymentMethod, declineCode: string): FailureBody {
  const error = declineError(declineCode)
  const charge = newCharge(world, intent, method)
  chargeFails(world, charge, error)
  return failed(world, intent, method, charge, error)
}

function failed(
  world: World,
  intent: Stripe.PaymentIntent,
  method: Stripe.PaymentMethod,
  charge: Stripe.Charge,
  error: FailureBody,
): FailureBody {
  const lastError = { ...error, charge: charge.id, payment_method: structuredClone(method) }
  patch(intent, {
    status: 'requires_payment_method',
    latest_charge: charge.id,
    last_payment_error: lastError as unknown as Stripe.PaymentIntent.LastPaymentError,
    payment_method: null,
    next_action: null,
    processing: null,
  })
  emit(world, 'payment_intent.payment_failed', intent)
  return { ...lastError, payment_intent: structuredClone(intent) }
}

/** A debit is under way for days. */
function startDebit(world: World, intent: Stripe.PaymentIntent, method: Stripe.PaymentMethod): Outcome {
  const charge = newCharge(world, intent, method)
  patch(intent, { status: 'processing', latest_charge: charge.id, payment_method_types: ['card', 'sepa_debit'] })
  emit(world, 'charge.pending', charge)
  emit(world, 'payment_intent.processing', intent)
  return { status: 'processing' }
}

/** The debit arrived, or came back. */
export function settleDebit(world: World, intent: Stripe.PaymentIntent, ok: boolean): void {
  const charge = world.tables.charges.get(idOf(intent.latest_charge) ?? '')
  const method = world.tables.paymentMethods.get(idOf(intent.payment_method) ?? '')
  if (intent.status !== 'processing' || charge === undefined || method === undefined)
    throw new Error(`${intent.id} has no debit under way: it is ${intent.status}`)
  if (ok) {
    chargeSucceeds(world, charge)
    received(world, intent, charge)
    chargeBooked(world, charge)
    return
  }
  const error: FailureBody & { code: string } = {
    type: 'card_error',
    code: 'payment_intent_payment_attempt_failed',
    message: 'The payment attempt failed.',
  }
  chargeFails(world, charge, { ...error, code: 'insufficient_funds' })
  failed(world, intent, method, charge, error)
}

export function cancelIntent(world: World, intent: Stripe.PaymentIntent, reason: Stripe.PaymentIntent['cancellation_reason']): void {
  patch(intent, { status: 'canceled', canceled_at: world.clock.now(), cancellation_reason: reason, next_action: null })
  emit(world, 'payment_intent.canceled', intent)
}
