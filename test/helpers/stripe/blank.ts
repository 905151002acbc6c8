import type Stripe from 'stripe'

/** Values that several kinds of object share, fresh each time. */
export const noAddress = (): Stripe.Address => ({ city: null, country: null, line1: null, line2: null, postal_code: null, state: null })

export const noBilling = (given: { email?: string | null; name?: string | null } = {}) => ({
  address: noAddress(),
  email: given.email ?? null,
  name: given.name ?? null,
  phone: null,
  tax_id: null,
})

export const noTax = () => ({ enabled: false, liability: null, status: null, disabled_reason: null, provider: null })

/** Why a subscription ended, or is going to. */
export const cancellation = (
  reason: 'cancellation_requested' | 'payment_failed' | null,
  { comment = null, feedback = null }: { comment?: string | null; feedback?: string | null } = {},
): Stripe.Subscription.CancellationDetails => ({
  comment,
  feedback: feedback as Stripe.Subscription.CancellationDetails['feedback'],
  feedback_option: null,
  reason,
})

/** On the wire a decimal is text; the library makes its Decimal of it. */
export const decimal = (value: number): Stripe.Decimal => String(value) as unknown as Stripe.Decimal
