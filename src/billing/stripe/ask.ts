import Stripe from 'stripe'
import { type ErrorCode, type FareboxError, fail, refusal } from '../../kernel/errors.ts'
import { CustomerGone } from '../customers.ts'

/** What there is not is no error to us. */
export async function orNull<T>(asking: Promise<T>): Promise<T | null> {
  try {
    return await asking
  } catch (error) {
    if (error instanceof Stripe.errors.StripeInvalidRequestError && error.code === 'resource_missing') return null
    throw error
  }
}

/** Asks Stripe, and says in our terms why it does not answer or refuses. @param refused what it is called when it refuses */
export async function asked<T>(ask: () => Promise<T>, refused: ErrorCode = 'payment_refused'): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    throw translated(error, refused)
  }
}

function translated(error: unknown, refused: ErrorCode): FareboxError | unknown {
  const {
    StripeCardError,
    StripeError,
    StripeInvalidRequestError,
    StripeIdempotencyError,
    StripeAuthenticationError,
    StripePermissionError,
  } = Stripe.errors
  // A declined card is an answer.
  if (!(error instanceof StripeError) || error instanceof StripeCardError) return error
  // Our key, not the caller's request: a person has to put it right.
  if (error instanceof StripeAuthenticationError || error instanceof StripePermissionError) {
    return fail('payments_not_configured', 'Stripe does not accept the key of this installation.', undefined, error)
  }
  // While another request with the key is under way it is 409, and worth another try.
  if (error instanceof StripeIdempotencyError && error.statusCode !== 409) {
    return fail('idempotency_key_reused', 'This key came to Stripe with another request.', undefined, error)
  }
  if (error instanceof StripeInvalidRequestError && error.code === 'resource_missing' && error.param === 'customer') {
    return new CustomerGone(refusal('payment_refused', `Stripe says: ${error.message}`), error)
  }
  if (error instanceof StripeInvalidRequestError && error.statusCode !== 409) {
    return fail(refused, `Stripe says: ${error.message}`, undefined, error)
  }
  return fail('payment_provider_unavailable', 'Stripe did not answer in time.', undefined, error)
}
