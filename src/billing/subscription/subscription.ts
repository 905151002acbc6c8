import type { Micro } from '../../kernel/credits.ts'
import { toWireId } from '../../kernel/ids.ts'
import { DAY_MS, type Instant } from '../../kernel/time.ts'
import { type Draft, Table } from '../../ledger/book.ts'
import type { Provider } from '../payment.ts'

/**
 * As the provider has it, and two of ours: `pending` while nobody has paid on the page, `expired` when nobody did. `past_due` and
 * `unpaid` are not paid for the present period; `unpaid` is not even tried any more.
 */
export const STATUSES = ['pending', 'incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled', 'expired'] as const
export type SubscriptionStatus = (typeof STATUSES)[number]

/** Credits that are bought anew each period. A wallet has one live one at most. */
export interface Subscription {
  readonly walletId: string
  readonly id: string
  readonly clientId: string
  /** What the provider bills next. */
  readonly planVersionId: string
  readonly provider: Provider
  readonly livemode: boolean
  readonly status: SubscriptionStatus
  /** The provider's subscription; null until somebody paid on the page. */
  readonly objectId: string | null
  readonly checkoutId: string | null
  /** Where its owner pays what is due at the provider; null where nothing is. */
  readonly invoiceUrl: string | null
  /** When it will end; null while it goes on. */
  readonly cancelsAt: Instant | null
  /** The period that the provider bills, paid or not. */
  readonly periodStart: Instant | null
  readonly periodEnd: Instant | null
  /** The newest period that credits were paid for, on which plan, and the credits that it took over. */
  readonly creditedPlanId: string | null
  readonly creditedFrom: Instant | null
  readonly creditedUntil: Instant | null
  readonly rolledOver: Micro
  /** The number of the newest reading that was applied. */
  readonly appliedRead: bigint
  readonly createdAt: Instant
  readonly updatedAt: Instant
  readonly endedAt: Instant | null
}

/** A wallet's own id, named as a row of this table, stands for its live subscription: that has to be found before anybody knows its id. */
export const subscriptions = new Table<Subscription>('subscriptions')

/**
 * Credits outlive their period by this, while their subscription goes on: a provider finalises and collects the next invoice about an
 * hour after the period is over, and tries a card that fails again for days. Credits that are paid for late live at least as long.
 */
export const GRACE_MS = 3 * DAY_MS

/** A subscription as the provider has it at the moment of reading. */
export interface ProviderSubscription {
  readonly objectId: string
  readonly status: Exclude<SubscriptionStatus, 'pending'>
  readonly livemode: boolean
  readonly customerId: string | null
  /** What is billed, in the provider's names for plans. */
  readonly priceIds: readonly string[]
  /** The page of its open invoice; null where it is paid, or nothing can be paid any more. */
  readonly invoiceUrl: string | null
  readonly cancelsAt: Instant | null
  readonly periodStart: Instant | null
  readonly periodEnd: Instant | null
  readonly endedAt: Instant | null
  /** What was left on it, ids of ours; null where it is nobody's. */
  readonly subscriptionId: string | null
  readonly walletId: string | null
}

export function isLive({ status }: Pick<Subscription, 'status'>): boolean {
  return status !== 'canceled' && status !== 'expired'
}

/** The wallet's live subscription. The command has to name the wallet's id among its rows. */
export function liveOf(draft: Draft, walletId: string): Subscription | undefined {
  return draft.list(subscriptions, walletId).find(isLive)
}

/**
 * The version of the plan that the present period is paid for with: until its invoice is paid that is what is billed for it, and not what
 * the period before was paid for.
 */
export function presentPlanId({
  planVersionId,
  periodStart,
  creditedPlanId,
  creditedUntil,
}: Pick<Subscription, 'planVersionId' | 'periodStart' | 'creditedPlanId' | 'creditedUntil'>): string {
  if (creditedPlanId === null || creditedUntil === null) return planVersionId
  return periodStart !== null && periodStart >= creditedUntil ? planVersionId : creditedPlanId
}

/** What its grants say that they came from. */
export function sourceOf({ id }: Pick<Subscription, 'id'>): string {
  return toWireId('subscription', id)
}
