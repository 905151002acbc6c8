import type Stripe from 'stripe'
import { type FailureBody, missing } from './failure.ts'
import type { World } from './world.ts'

/** What the bank says to a payment. */
export type Verdict = 'approve' | 'authenticate' | { readonly decline: string }

export interface TestCard {
  readonly brand: string
  readonly last4: string
  /** The same for the same number, whichever payment method it is behind. */
  readonly fingerprint: string
  readonly expMonth: number
  readonly expYear: number
  /** With the customer present. */
  readonly onSession: Verdict
  /** Later, without. */
  readonly offSession: Verdict
}

const visa = { brand: 'visa', expMonth: 8, expYear: 2034 }

function card(last4: string, onSession: Verdict, offSession: Verdict = onSession): TestCard {
  return { ...visa, last4, fingerprint: `fp_test_${last4}`, onSession, offSession }
}

export const cards = {
  good: card('4242', 'approve'),
  mastercard: { ...card('4444', 'approve'), brand: 'mastercard' },
  declined: card('0002', { decline: 'generic_decline' }),
  insufficientFunds: card('9995', { decline: 'insufficient_funds' }),
  lost: card('9987', { decline: 'lost_card' }),
  stolen: card('9979', { decline: 'stolen_card' }),
  expired: card('0069', { decline: 'expired_card' }),
  processingError: card('0119', { decline: 'processing_error' }),
  /** Always wants the customer. */
  authenticate: card('3184', 'authenticate'),
  /** Good at the checkout and saved there, but wants the customer for every payment after. */
  authenticateOffSession: card('3155', 'approve', 'authenticate'),
  /** Good at the checkout, then never again. */
  declinedOffSession: card('0341', 'approve', { decline: 'generic_decline' }),
} as const satisfies Record<string, TestCard>

export type CardName = keyof typeof cards

export const cardOf = (given: CardName | TestCard): TestCard => (typeof given === 'string' ? cards[given] : given)

/** A card that declines always, with this reason. */
export const declining = (declineCode: string): TestCard => card('0002', { decline: declineCode })

/** The names that Stripe's own test mode takes for payment methods. */
export const WELL_KNOWN: Readonly<Record<string, CardName>> = {
  pm_card_visa: 'good',
  pm_card_mastercard: 'mastercard',
  pm_card_chargeDeclined: 'declined',
  pm_card_visa_chargeDeclined: 'declined',
  pm_card_visa_chargeDeclinedInsufficientFunds: 'insufficientFunds',
  pm_card_chargeCustomerFail: 'declinedOffSession',
  pm_card_authenticationRequired: 'authenticate',
  pm_card_authenticationRequiredOnSetup: 'authenticateOffSession',
}

/** Decline codes that are the error's code as well. */
const OWN_CODE = new Set(['expired_card', 'incorrect_cvc', 'incorrect_number', 'processing_error', 'authentication_required'])
const MESSAGES: Readonly<Record<string, string>> = {
  insufficient_funds: 'Your card has insufficient funds.',
  expired_card: 'Your card has expired.',
  processing_error: 'An error occurred while processing your card. Try again in a little bit.',
  incorrect_cvc: "Your card's security code is incorrect.",
  authentication_required: 'Your card was declined. This transaction requires authentication.',
}

/** The error of a declined card, without the objects that it concerns. */
export function declineError(declineCode: string): FailureBody & { code: string } {
  return {
    type: 'card_error',
    code: OWN_CODE.has(declineCode) ? declineCode : 'card_declined',
    decline_code: declineCode,
    doc_url: `https://stripe.com/docs/error-codes/${OWN_CODE.has(declineCode) ? declineCode.replaceAll('_', '-') : 'card-declined'}`,
    message: MESSAGES[declineCode] ?? 'Your card was declined.',
  }
}

/** The card behind a payment method; a bank account has none and is good. */
export const cardBehind = (world: World, method: Stripe.PaymentMethod): TestCard => world.cards.get(method.id) ?? cards.good

/** The payment method that a parameter names; a well-known name makes a new one. */
export function referMethod(world: World, id: string, param: string, make: (card: TestCard) => Stripe.PaymentMethod): Stripe.PaymentMethod {
  const known = WELL_KNOWN[id]
  if (known) return make(cards[known])
  const method = world.tables.paymentMethods.get(id)
  if (method === undefined) throw missing('PaymentMethod', id, param, 400)
  return method
}
