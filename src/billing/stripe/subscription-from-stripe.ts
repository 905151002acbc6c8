import type Stripe from 'stripe'
import type { InvoiceLine, ProviderInvoice } from '../subscription/invoice.ts'
import type { ProviderSubscription } from '../subscription/subscription.ts'
import { markOf, SUBSCRIPTION_MARK, WALLET_MARK } from './from-stripe.ts'
import { idOf } from './subject.ts'

/** Whether the owner of a subscription owes an invoice, and may pay it on a page. */
export function owes({ status }: Stripe.Subscription): boolean {
  return status === 'incomplete' || status === 'past_due' || status === 'unpaid'
}

/**
 * A subscription in our terms. Its period is that of its items; they share one, as there is one.
 * @param open the newest invoice that is owed, if any
 */
export function subscriptionFromStripe(subscription: Stripe.Subscription, open: Stripe.Invoice | null): ProviderSubscription {
  const items = subscription.items.data
  const [first] = items
  return {
    objectId: subscription.id,
    status: statusOf(subscription.status),
    livemode: subscription.livemode,
    customerId: idOf(subscription.customer),
    priceIds: items.map(({ price }) => price.id),
    invoiceUrl: open?.hosted_invoice_url ?? null,
    cancelsAt: instant(subscription.cancel_at),
    periodStart: instant(first?.current_period_start),
    periodEnd: instant(first?.current_period_end),
    endedAt: instant(subscription.ended_at),
    subscriptionId: markOf(subscription, SUBSCRIPTION_MARK, 'subscription'),
    walletId: markOf(subscription, WALLET_MARK, 'wallet'),
  }
}

const STATUSES = ['incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled'] as const

function statusOf(status: string): ProviderSubscription['status'] {
  if (status === 'incomplete_expired') return 'expired'
  const known = STATUSES.find((one) => one === status)
  if (known === undefined) throw new Error(`Stripe says that a subscription is ${status}, which nobody here has heard of`)
  return known
}

/** An invoice in our terms. @param lines all of its lines, @param objectId the PaymentIntent that paid it */
export function invoiceFromStripe(
  invoice: Stripe.Invoice,
  lines: readonly Stripe.InvoiceLineItem[],
  objectId: string | null,
): ProviderInvoice {
  const details = invoice.parent?.subscription_details ?? null
  const marks = { metadata: details?.metadata ?? null }
  return {
    invoiceId: invoice.id,
    createdAt: invoice.created * 1_000,
    subscriptionObjectId: idOf(details?.subscription),
    isPaid: invoice.status === 'paid',
    livemode: invoice.livemode,
    currency: invoice.currency.toUpperCase(),
    amountPaid: BigInt(invoice.amount_paid),
    paidAt: instant(invoice.status_transitions.paid_at),
    objectId,
    lines: lines.map(lineFromStripe),
    subscriptionId: markOf(marks, SUBSCRIPTION_MARK, 'subscription'),
    walletId: markOf(marks, WALLET_MARK, 'wallet'),
  }
}

function lineFromStripe({ amount, period, pricing }: Stripe.InvoiceLineItem): InvoiceLine {
  return {
    priceId: idOf(pricing?.price_details?.price),
    amount: BigInt(amount),
    period: { start: period.start * 1_000, end: period.end * 1_000 },
  }
}

function instant(seconds: number | null | undefined): number | null {
  return seconds == null ? null : seconds * 1_000
}
