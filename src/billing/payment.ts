import type { TakenPart } from '../grants/give-back.ts'
import type { Micro } from '../kernel/credits.ts'
import { min } from '../kernel/credits.ts'
import type { Instant } from '../kernel/time.ts'
import { Table } from '../ledger/book.ts'

export const PROVIDERS = ['stripe', 'sandbox'] as const
export type Provider = (typeof PROVIDERS)[number]
export type PaymentStatus = 'pending' | 'paid' | 'failed'

/** An order for credits and all that its payment has done to the wallet. */
export interface Payment {
  readonly walletId: string
  readonly id: string
  readonly clientId: string
  readonly kind: 'package' | 'amount' | 'plan'
  /** Who asked for it: somebody, the wallet's top-up, or its subscription: then it is an invoice of the provider, written when it is paid. */
  readonly origin: 'purchase' | 'top_up' | 'subscription'
  readonly packageVersionId: string | null
  /** Of a subscription, and what it was billed with; null for everything else. */
  readonly subscriptionId: string | null
  readonly invoiceId: string | null
  readonly currency: string
  /** Of the currency's smallest unit. */
  readonly amount: bigint
  readonly credits: Micro
  /** All that came, or will come, on top; what is for first orders only once this was one. */
  readonly bonus: Micro
  /** What comes on top should this be the wallet's first order that is paid. */
  readonly firstBonus: Micro
  /** What of the bonus a promotion gives, and the wallet's claim on it. */
  readonly promotion: Micro
  readonly redemptionId: string | null
  readonly promotionGrantId: string | null
  readonly provider: Provider
  /** Real money, as the provider's key says. */
  readonly livemode: boolean
  readonly status: PaymentStatus
  /** Why it was not paid, in the provider's words. */
  readonly failure: string | null
  /** The provider's payment; null until there is one. */
  readonly objectId: string | null
  /** The provider's page that it is paid on. */
  readonly checkoutId: string | null
  /** What the provider gave back and what banks took, of the amount. */
  readonly refunded: bigint
  readonly withdrawn: bigint
  readonly disputed: boolean
  /** Credits taken back for that, at most credits + bonus. */
  readonly reversed: Micro
  /** Where they came from. */
  readonly taken: readonly TakenPart[]
  readonly grantId: string | null
  readonly bonusGrantId: string | null
  /** The number of the newest reading that was applied. */
  readonly appliedRead: bigint
  readonly reference: string | null
  /** JSON text. */
  readonly metadata: string | null
  readonly createdAt: Instant
  readonly updatedAt: Instant
  readonly paidAt: Instant | null
}

export const payments = new Table<Payment>('payments')

/** A payment as the provider has it at the moment of reading. Everything that Farebox does follows from this and from the order. */
export interface ProviderPayment {
  /** Null where it was never begun: a page that nobody paid on. */
  readonly objectId: string | null
  readonly status: 'open' | 'paid' | 'failed'
  readonly failure: string | null
  /** ISO 4217, capitals. */
  readonly currency: string
  /** What came in, of the currency's smallest unit. */
  readonly amount: bigint
  readonly refunded: bigint
  /** What disputes hold at the moment, or took for good. */
  readonly withdrawn: bigint
  readonly disputed: boolean
  readonly livemode: boolean
  /** What the order left on it, ids of ours; null where it is nobody's order. */
  readonly paymentId: string | null
  readonly walletId: string | null
  readonly paidAt: Instant | null
}

export const SHOWN_STATUSES = ['pending', 'paid', 'failed', 'partially_refunded', 'refunded', 'disputed'] as const
export type ShownStatus = (typeof SHOWN_STATUSES)[number]

/** What is said of a payment: whether it is paid, and what became of its money since. */
export function shownStatus({ status, disputed, withdrawn, refunded, amount }: Payment): ShownStatus {
  if (status !== 'paid') return status
  if (disputed || withdrawn > 0n) return 'disputed'
  if (refunded === 0n) return 'paid'
  return refunded < amount ? 'partially_refunded' : 'refunded'
}

/** Why a payment cannot be the one of this order, or null. Such a payment is looked at by a person; it never becomes credits. */
export function disagreement(payment: Payment, state: ProviderPayment): string | null {
  const isBilled = payment.origin === 'subscription'
  // The provider makes the payments of its invoices itself, and leaves no mark of ours on them.
  if (!isBilled && state.walletId !== payment.walletId) return 'the payment names another wallet than the order'
  if (state.livemode !== payment.livemode) return 'test money for a real order, or the reverse'
  if (payment.objectId !== null && payment.objectId !== state.objectId) return `the order belongs to ${payment.objectId}`
  if (state.status !== 'paid') return null
  if (state.currency !== payment.currency) return `paid in ${state.currency}, ordered in ${payment.currency}`
  if (!isBilled && state.amount !== payment.amount) return `paid ${state.amount}, ordered ${payment.amount} of the smallest unit`
  return null
}

/**
 * Credits that a payment has lost: its share of what was given back or taken by a bank, bonus included. Rounded down, for the
 * customer; everything when all of the money is gone. A refund of disputed money counts once.
 */
export function reversedTarget(
  payment: Pick<Payment, 'amount' | 'credits' | 'bonus'>,
  state: Pick<ProviderPayment, 'refunded' | 'withdrawn'>,
): Micro {
  // Nothing was paid, so nothing can go back.
  if (payment.amount === 0n) return 0n
  const gone = min(payment.amount, state.refunded + state.withdrawn)
  return ((payment.credits + payment.bonus) * gone) / payment.amount
}

/** How much of so many reversed credits were bought, the rest having been a bonus; all of it when all is reversed. */
export function boughtPart({ credits, bonus }: Pick<Payment, 'credits' | 'bonus'>, reversed: Micro): Micro {
  return (reversed * credits) / (credits + bonus)
}
