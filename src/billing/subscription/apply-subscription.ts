import { refusal } from '../../kernel/errors.ts'
import type { Draft } from '../../ledger/book.ts'
import { done, type Outcome, refuse } from '../../ledger/command.ts'
import type { Plan } from './plan.ts'
import { endGrants } from './roll-over.ts'
import { isLive, type ProviderSubscription, type Subscription, subscriptions } from './subscription.ts'

export interface ApplySubscriptionInput {
  readonly walletId: string
  readonly subscriptionId: string
  /** The reading's number, taken before it began. */
  readonly read: bigint
  readonly state: ProviderSubscription
  /** What it bills; undefined where that is no plan of ours. */
  readonly plan: Plan | undefined
}

export interface AppliedSubscription {
  readonly subscription: Subscription
  readonly changed: boolean
  /** Whether another one, whose page was still open, gave way to it. */
  readonly replaced: boolean
}

/**
 * Brings a subscription to what the provider says of it. Credits are no part of that: they come with paid invoices. Only its end
 * touches them: they last as long as was paid for.
 */
export function applySubscription(draft: Draft, input: ApplySubscriptionInput): Outcome<AppliedSubscription> {
  const { walletId, state, plan } = input
  const found = draft.get(subscriptions, walletId, input.subscriptionId)
  if (!found) return refuse(refusal('subscription_not_found', 'There is no such subscription.'))
  // A reading that began later was applied: this one may be of an older state.
  if (input.read <= found.appliedRead) return done({ subscription: found, changed: false, replaced: false })
  const others = draft.list(subscriptions, walletId).filter((one) => one.id !== found.id && isLive(one))
  const other = isLive(state) ? others[0] : undefined
  // Two pages were paid on. The provider bills both, and only a person can say which is to stay; what they pay for is credited.
  if (other && other.status !== 'pending')
    return refuse(refusal('subscription_exists', 'The wallet has another subscription: one of the two has to be ended.'))
  if (other) draft.put(subscriptions, ended(draft, other))

  const { objectId, status, invoiceUrl, cancelsAt, periodStart, periodEnd } = state
  const planVersionId = plan?.id ?? found.planVersionId
  const endedAt = isLive(state) ? null : (state.endedAt ?? draft.now)
  const times = { cancelsAt, periodStart, periodEnd, endedAt }
  const read = { appliedRead: input.read, updatedAt: draft.now }
  const subscription: Subscription = { ...found, ...times, ...read, objectId, status, invoiceUrl, planVersionId }
  draft.put(subscriptions, subscription)
  // Also of one that had given way, and was paid on all the same.
  if (found.status !== 'canceled' && status === 'canceled') endGrants(draft, subscription)
  const changed =
    subscription.status !== found.status ||
    subscription.planVersionId !== found.planVersionId ||
    subscription.cancelsAt !== found.cancelsAt ||
    subscription.periodEnd !== found.periodEnd
  return done({ subscription, changed, replaced: other !== undefined })
}

/** Ends a subscription that nobody has paid for. @returns whether there was one */
export function endPending(draft: Draft, walletId: string, subscriptionId: string): boolean {
  const found = draft.get(subscriptions, walletId, subscriptionId)
  if (found?.status !== 'pending') return false
  draft.put(subscriptions, ended(draft, found))
  return true
}

export function ended(draft: Draft, pending: Subscription): Subscription {
  return { ...pending, status: 'expired', endedAt: draft.now, updatedAt: draft.now }
}
