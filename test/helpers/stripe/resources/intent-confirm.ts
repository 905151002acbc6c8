/** What the API asks before it tries a payment intent, and what it answers when that went wrong. */
import type Stripe from 'stripe'
import { invalid, StripeFailure } from '../failure.ts'
import { idOf, type World } from '../world.ts'
import { attempt } from './intents.ts'
import { followIntent } from './invoice-payments.ts'
import { methodNamed } from './payment-methods.ts'

/** What Stripe takes for USD; other currencies have figures of their own, which nobody here asks for. */
const AMOUNT_MIN = 50
const AMOUNT_MAX = 99_999_999

export function checkAmount(amount: number): void {
  if (amount < AMOUNT_MIN) throw invalid('Amount must be at least $0.50 usd', { code: 'amount_too_small', param: 'amount' })
  if (amount > AMOUNT_MAX) throw invalid('Amount must be no more than $999,999.99', { code: 'amount_too_large', param: 'amount' })
}

/** The payment method, if this intent may be paid with it. */
export function methodFor(world: World, id: string, customer: string | null): Stripe.PaymentMethod {
  const method = methodNamed(world, id, 'payment_method')
  const owner = idOf(method.customer)
  if (world.detached.has(method.id) || (owner !== null && owner !== customer)) {
    const message =
      customer === null
        ? `The PaymentMethod ${id} belongs to the Customer ${owner}. Please include the Customer in the \`customer\` parameter on the PaymentIntent.`
        : `The customer does not have a payment method with the ID ${id}. The payment method must be attached to the customer.`
    throw invalid(message, { code: 'resource_missing', param: 'payment_method' })
  }
  return method
}

export function unexpected(intent: Stripe.PaymentIntent, verb: string): StripeFailure {
  return new StripeFailure(400, {
    type: 'invalid_request_error',
    code: 'payment_intent_unexpected_state',
    message: `You cannot ${verb} this PaymentIntent because it has a status of ${intent.status}.`,
    payment_intent: structuredClone(intent),
  })
}

export const CONFIRMABLE = new Set(['requires_payment_method', 'requires_confirmation', 'requires_action'])

type Confirmation = { off_session?: boolean | undefined; error_on_requires_action?: boolean | undefined }

export function confirm(world: World, intent: Stripe.PaymentIntent, method: Stripe.PaymentMethod | undefined, params: Confirmation): void {
  if (!CONFIRMABLE.has(intent.status)) throw unexpected(intent, 'confirm')
  const used = method ?? world.tables.paymentMethods.get(idOf(intent.payment_method) ?? '')
  if (used === undefined)
    throw invalid(
      "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment method or ConfirmationToken.",
      { code: 'payment_intent_unexpected_state' },
    )
  const offSession = params.off_session === true
  const outcome = attempt(world, intent, used, { offSession, canAuthenticate: !offSession && params.error_on_requires_action !== true })
  followIntent(world, intent)
  if (outcome.status === 'failed') throw new StripeFailure(402, outcome.error)
}
