import type Stripe from 'stripe'

/**
 * What an event is about, as an id that `resolve` understands: mostly the PaymentIntent, the page where there is none yet. Null for
 * everything that moves no credits.
 */
export function subjectOf(event: Stripe.Event): string | null {
  if (!isWatched(event.type)) return null
  const object = event.data.object as { object?: unknown; id?: unknown; payment_intent?: unknown; mode?: unknown }
  if (object.object === 'payment_intent') return readable(idOf(object))
  if (object.object === 'checkout.session' && object.mode !== 'payment') return null
  return readable(idOf(object.payment_intent)) ?? (object.object === 'checkout.session' ? readable(idOf(object)) : null)
}

/** Nothing else is ever put into a path of Stripe's. */
function readable(id: string | null): string | null {
  return id !== null && /^(?:pi|cs)_[A-Za-z0-9_]{1,250}$/.test(id) ? id : null
}

/** The kinds of events to ask for; Stripe lists at most twenty at once. */
export const WATCHED = [
  'checkout.session.completed',
  'checkout.session.async_payment_succeeded',
  'checkout.session.async_payment_failed',
  'checkout.session.expired',
  'payment_intent.succeeded',
  'payment_intent.payment_failed',
  'payment_intent.canceled',
  'charge.refunded',
  'charge.refund.updated',
  'refund.created',
  'refund.updated',
  'refund.failed',
  'charge.dispute.created',
  'charge.dispute.updated',
  'charge.dispute.funds_withdrawn',
  'charge.dispute.funds_reinstated',
  'charge.dispute.closed',
] as const satisfies readonly Stripe.Event['type'][]

function isWatched(type: string): boolean {
  return (WATCHED as readonly string[]).includes(type)
}

/** The id of an object, or of one that is named by its id. */
export function idOf(value: unknown): string | null {
  if (typeof value === 'string') return value
  const id = (value as { id?: unknown } | null | undefined)?.id
  return typeof id === 'string' ? id : null
}
