import type Stripe from 'stripe'

/** What an event is about, and why a person has to look at it where that cannot be read. */
export function concernOf(event: Stripe.Event): { readonly subject: string | null; readonly unreadable: string | null } {
  const subject = subjectOf(event)
  const isKnown = subject !== null || !isWatched(event.type) || isOfNobody(event.data.object as Subjects)
  return { subject, unreadable: isKnown ? null : 'what it is about cannot be read' }
}

/** What leads to the payment, subscription or invoice behind an object of Stripe's. */
interface Subjects {
  readonly object?: unknown
  readonly payment_intent?: unknown
  readonly subscription?: unknown
  readonly mode?: unknown
}

/** A card that is saved, or a charge that was made without a PaymentIntent: none of ours. */
function isOfNobody({ mode, payment_intent: intent }: Subjects): boolean {
  return mode === 'setup' || intent === null
}

/**
 * What an event is about, as an id that `resolve` understands: mostly the PaymentIntent, a subscription or an invoice, the page where
 * there is none of them yet. Null for everything that moves no credits.
 */
export function subjectOf(event: Stripe.Event): string | null {
  if (!isWatched(event.type)) return null
  const object = event.data.object as Subjects
  switch (object.object) {
    case 'payment_intent':
    case 'subscription':
    case 'invoice':
      return readable(idOf(object))
    case 'checkout.session':
      if (object.mode === 'subscription') return readable(idOf(object.subscription)) ?? readable(idOf(object))
      return object.mode === 'payment' ? (readable(idOf(object.payment_intent)) ?? readable(idOf(object))) : null
    default:
      return readable(idOf(object.payment_intent))
  }
}

/** Nothing else is ever put into a path of Stripe's. */
function readable(id: string | null): string | null {
  return id !== null && /^(?:pi|cs|sub|in)_[A-Za-z0-9_]{1,250}$/.test(id) ? id : null
}

/** Kinds of events that Stripe lists at once. */
export const LISTED_AT_ONCE = 20

/** The kinds of events to ask for. */
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
  'customer.subscription.created',
  'customer.subscription.updated',
  'customer.subscription.deleted',
  'customer.subscription.paused',
  'customer.subscription.resumed',
  'invoice.paid',
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
