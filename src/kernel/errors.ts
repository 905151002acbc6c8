/**
 * Everything Farebox can refuse, one stable code per failed precondition. The kind says what sort of failure it is; only
 * `http/problem.ts` knows which HTTP status a kind has. `docs/errors.md` describes every code and is tested against this list.
 */

export type ErrorKind =
  | 'invalid'
  | 'unauthenticated'
  | 'exhausted'
  | 'forbidden'
  | 'not_found'
  | 'method_not_allowed'
  | 'timeout'
  | 'conflict'
  | 'too_large'
  | 'unsupported'
  | 'unprocessable'
  | 'throttled'
  | 'internal'
  | 'unavailable'

interface CodeEntry {
  readonly kind: ErrorKind
  readonly title: string
  /** True when the very same request may succeed later without anyone changing anything else. */
  readonly retryable: boolean
}

function code(kind: ErrorKind, title: string, retryable = false): CodeEntry {
  return { kind, title, retryable }
}

export const ERROR_CODES = {
  // The request itself.
  invalid_request: code('invalid', 'The request does not have the documented form'),
  invalid_json: code('invalid', 'The body is not one valid JSON text'),
  duplicate_json_key: code('invalid', 'An object in the body names one key twice'),
  idempotency_key_missing: code('invalid', 'This operation needs an Idempotency-Key header'),
  idempotency_key_invalid: code('invalid', 'The Idempotency-Key is not 1 to 255 printable ASCII characters'),
  cursor_invalid: code('invalid', 'The cursor does not belong to this listing'),
  method_not_allowed: code('method_not_allowed', 'This path does not take that method'),
  payload_too_large: code('too_large', 'The body is larger than this operation takes'),
  headers_too_large: code('too_large', 'The head of the request is larger than 16 KiB'),
  unsupported_media_type: code('unsupported', 'The body must be application/json, uncompressed'),
  request_timeout: code('timeout', 'The request did not arrive in time', true),
  rate_limited: code('throttled', 'Too many requests in this minute', true),
  // Who asks.
  unauthenticated: code('unauthenticated', 'A valid API key or token is required'),
  forbidden: code('forbidden', 'This key or token may not do that'),
  tokens_not_issued: code('conflict', 'This installation has no secret to sign tokens with'),
  // What is asked for.
  route_not_found: code('not_found', 'There is no such route'),
  wallet_not_found: code('not_found', 'There is no such wallet'),
  payee_not_found: code('not_found', 'There is no such payee wallet'),
  grant_not_found: code('not_found', 'There is no such grant'),
  reservation_not_found: code('not_found', 'There is no such reservation'),
  charge_not_found: code('not_found', 'There is no such charge'),
  client_not_found: code('not_found', 'There is no such client'),
  api_key_not_found: code('not_found', 'There is no such API key'),
  client_exists: code('conflict', 'A client with this name exists already'),
  // Idempotency.
  idempotency_key_reused: code('unprocessable', 'This Idempotency-Key was used with another request'),
  idempotency_answer_expired: code('conflict', 'This Idempotency-Key did its work; the answer is no longer kept'),
  // Money.
  insufficient_credits: code('exhausted', 'The wallet does not have enough available credits'),
  wallet_exists: code('conflict', 'This owner has a wallet already'),
  wallet_frozen: code('conflict', 'The wallet is frozen'),
  wallet_closed: code('conflict', 'The wallet is closed'),
  wallet_not_empty: code('conflict', 'Only an empty wallet without holds and debt can be closed'),
  wallet_subscribed: code('conflict', 'Only a wallet whose subscription is over can be closed'),
  payee_closed: code('conflict', 'The payee wallet is closed'),
  balance_limit_exceeded: code('unprocessable', 'The wallet would hold more than the largest balance'),
  overdraft_limit_below_debt: code('unprocessable', 'The overdraft limit cannot be set below the present debt'),
  too_many_grants: code('unprocessable', 'The wallet has the largest number of live grants already'),
  grant_voided: code('conflict', 'The grant is void already'),
  grant_of_payment: code('conflict', 'The grant belongs to a payment'),
  grant_spent: code('conflict', 'Nothing of the grant is left'),
  grant_times_invalid: code('unprocessable', 'The grant would expire before it takes effect'),
  reservation_released: code('conflict', 'The reservation was released'),
  reservation_committed: code('conflict', 'The reservation was committed'),
  reservation_expired: code('conflict', 'The reservation is past its deadline'),
  reservation_deadline_too_far: code('unprocessable', 'The deadline is too far from the creation of the reservation'),
  commit_exceeds_hold_factor: code('unprocessable', 'The cost is many times what was reserved'),
  charge_exceeds_maximum: code('unprocessable', 'The cost exceeds the largest charge allowed'),
  payee_is_payer: code('unprocessable', 'A wallet cannot be its own payee'),
  payee_share_exceeds_whole: code('unprocessable', 'The payees share more than the whole charge'),
  refund_exceeds_charge: code('unprocessable', 'The refunds would exceed what the charge collected'),
  charge_refunded: code('conflict', 'Nothing of the charge is left to refund'),
  charge_free: code('conflict', 'The charge collected nothing'),
  // Prices.
  unknown_model: code('unprocessable', 'This model has no price'),
  model_disabled: code('unprocessable', 'This model is disabled'),
  unknown_operation: code('unprocessable', 'This operation has no price'),
  rate_missing: code('unprocessable', 'No exchange rate is in force'),
  pool_unpriced: code('unprocessable', 'The model has no price for a part of the usage'),
  service_tier_unpriced: code('unprocessable', 'The model has no price for this service tier'),
  usage_mismatch: code('unprocessable', 'The usage does not fit what was reserved'),
  effective_from_past: code('unprocessable', 'A version cannot take effect in the past'),
  price_implausible: code('unprocessable', 'The price looks like a mistake'),
  price_list_invalid: code('unprocessable', 'The document is not a price list of this format'),
  quarantine_not_found: code('not_found', 'There is no such proposal'),
  quarantine_decided: code('conflict', 'The proposal was decided already'),
  version_exists: code('conflict', 'A version with this time of effect exists already'),
  too_many_subscriptions: code('unprocessable', 'One socket follows at most a thousand wallets'),
  // Payments.
  payment_not_found: code('not_found', 'There is no such payment'),
  payment_event_not_found: code('not_found', 'There is no such event'),
  package_not_sold: code('unprocessable', 'This package is not on sale'),
  amount_not_payable: code('unprocessable', 'An order cannot be for this amount'),
  return_url_not_allowed: code('unprocessable', 'Customers may not be sent back to this address'),
  payment_not_cancellable: code('conflict', 'The order can be given up no more'),
  payment_not_paid: code('conflict', 'The order is not paid'),
  refund_exceeds_payment: code('unprocessable', 'The refunds would exceed what was paid'),
  payment_refused: code('unprocessable', 'The payment provider refuses this'),
  promotion_not_found: code('not_found', 'There is no such promotion'),
  promotion_exists: code('conflict', 'A promotion with this code exists already'),
  promotion_ended: code('unprocessable', 'The promotion is over'),
  promotion_used: code('conflict', 'The wallet has redeemed this promotion already'),
  promotion_not_applicable: code('unprocessable', 'The promotion is not for this'),
  top_up_in_flight: code('conflict', 'A top-up is under way'),
  top_up_not_found: code('not_found', 'This wallet has no top-up'),
  card_not_found: code('unprocessable', 'The wallet has no such saved card'),
  plan_not_sold: code('unprocessable', 'This plan is not on sale'),
  plan_not_changeable: code('unprocessable', 'A subscription cannot go over to this plan'),
  subscription_not_found: code('not_found', 'This wallet has no subscription'),
  subscription_exists: code('conflict', 'The wallet has a subscription already'),
  subscription_ended: code('conflict', 'The subscription is over'),
  subscription_not_active: code('conflict', 'The subscription is not paid'),
  subscription_refused: code('unprocessable', 'The payment provider refuses this change of the subscription'),
  subscriptions_need_stripe: code('unavailable', 'The sandbox has no subscriptions'),
  payment_declined: code('exhausted', 'The bank declined the payment'),
  webhook_invalid: code('invalid', 'This is no event that the payment provider signed'),
  payments_not_configured: code('unavailable', 'This installation takes no payments'),
  payment_provider_unavailable: code('unavailable', 'The payment provider cannot be reached', true),
  // Us.
  overloaded: code('unavailable', 'The service has more work than it can take', true),
  storage_unavailable: code('unavailable', 'The database cannot be reached', true),
  key_set_unavailable: code('unavailable', 'The keys that tokens are checked with cannot be fetched', true),
  shutting_down: code('unavailable', 'The service is stopping', true),
  internal: code('internal', 'Something went wrong on our side'),
} as const satisfies Record<string, CodeEntry>

export type ErrorCode = keyof typeof ERROR_CODES

/** One wrong field: a JSON pointer (RFC 6901) into the request and what is wrong there. */
export interface FieldError {
  readonly pointer: string
  readonly message: string
}

/** A refusal is a value, decided like any other outcome; `extra` holds its documented figures in wire form. */
export interface Refusal {
  readonly code: ErrorCode
  readonly detail: string
  readonly extra?: Readonly<Record<string, unknown>>
  readonly errors?: readonly FieldError[]
}

export function refusal(code: ErrorCode, detail: string, extra?: Readonly<Record<string, unknown>>): Refusal {
  return extra ? { code, detail, extra } : { code, detail }
}

/** The same refusal with the field that it is about. @param pointer into the request: `/plan` */
export function about(pointer: string, refusal: Refusal): Refusal {
  return { ...refusal, errors: [{ pointer, message: refusal.detail.replace(/\.$/, '') }] }
}

/** Thrown at the edges (parsing, authentication, reads), where there is no decision to return a refusal from. */
export class FareboxError extends Error {
  override readonly name = 'FareboxError'
  readonly refusal: Refusal

  /** @param cause kept for the log; it is never shown to the caller */
  constructor(refusal: Refusal, cause?: unknown) {
    super(`${refusal.code}: ${refusal.detail}`, cause === undefined ? undefined : { cause })
    this.refusal = refusal
  }
}

/** A FareboxError with this code, ready to throw. */
export function fail(code: ErrorCode, detail: string, extra?: Readonly<Record<string, unknown>>, cause?: unknown): FareboxError {
  return new FareboxError(refusal(code, detail, extra), cause)
}

/** Checks what only our own mistake could break. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}
