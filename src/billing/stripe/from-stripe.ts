import type Stripe from 'stripe'
import { fromWireId } from '../../kernel/ids.ts'
import type { Checkout, ProviderRefund } from '../gateway.ts'
import type { ProviderPayment } from '../payment.ts'
import { idOf } from './subject.ts'

/** What an order leaves on everything that is made for it. */
export const PAYMENT_MARK = 'farebox_payment'
export const WALLET_MARK = 'farebox_wallet'
export const REFUND_MARK = 'farebox_refund'
export const SUBSCRIPTION_MARK = 'farebox_subscription'

/** A payment in our terms. @param disputes all of its disputes @param refunds all of its refunds */
export function fromStripe(
  intent: Stripe.PaymentIntent,
  charge: Stripe.Charge | null,
  disputes: readonly Stripe.Dispute[],
  refunds: readonly Stripe.Refund[],
): ProviderPayment {
  return {
    objectId: intent.id,
    status: intent.status === 'succeeded' ? 'paid' : intent.status === 'canceled' ? 'failed' : 'open',
    failure: intent.status === 'succeeded' ? null : (intent.last_payment_error?.message ?? intent.cancellation_reason ?? null),
    currency: intent.currency.toUpperCase(),
    amount: BigInt(intent.amount_received),
    refunded: refunds.map(refundFromStripe).reduce((sum, { amount, status }) => (status === 'failed' ? sum : sum + amount), 0n),
    withdrawn: disputes.reduce((sum, dispute) => sum + withdrawnBy(dispute, intent), 0n),
    disputed: disputes.some((dispute) => !isClosed(dispute)),
    livemode: intent.livemode,
    paymentId: markOf(intent, PAYMENT_MARK, 'payment'),
    walletId: markOf(intent, WALLET_MARK, 'wallet'),
    paidAt: charge ? charge.created * 1_000 : null,
  }
}

export function refundFromStripe({ id, amount, status }: Stripe.Refund): ProviderRefund {
  const isOver = status === 'failed' || status === 'canceled'
  return { id, amount: BigInt(amount), status: isOver ? 'failed' : status === 'succeeded' ? 'succeeded' : 'pending' }
}

/** A page that can be paid on. */
export function ofSession(session: Stripe.Checkout.Session): Checkout {
  return {
    checkoutId: session.id,
    objectId: idOf(session.payment_intent),
    url: session.url,
    clientSecret: null,
    expiresAt: session.expires_at * 1_000,
  }
}

export function markOf(
  { metadata }: { metadata: Stripe.Metadata | null },
  mark: string,
  kind: 'payment' | 'wallet' | 'subscription',
): string | null {
  const text = metadata?.[mark]
  return text === undefined ? null : fromWireId(kind, text)
}

/**
 * What a dispute holds of the payment at the moment. Its entries in the balance say whether the money has gone and come back: an inquiry
 * takes none, an opened dispute may take it a little later, a won one gives it back.
 * Amounts of entries are in the currency of the account, which may be another one; so only their signs count.
 */
function withdrawnBy(dispute: Stripe.Dispute, intent: Stripe.PaymentIntent): bigint {
  if (dispute.status === 'won' || dispute.status.startsWith('warning_')) return 0n
  // A second round takes again what the first gave back.
  const rounds = dispute.balance_transactions.reduce((sum, { amount }) => sum + Math.sign(amount), 0)
  if (rounds >= 0 && dispute.status !== 'lost') return 0n
  // What it is of the payment cannot be said in another currency: all of it, until it is decided.
  return BigInt(dispute.currency === intent.currency ? dispute.amount : intent.amount_received)
}

function isClosed({ status }: Stripe.Dispute): boolean {
  return status === 'won' || status === 'lost' || status === 'warning_closed' || status === 'prevented'
}
