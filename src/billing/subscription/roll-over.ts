import { free, type Grant, grants, putGrant } from '../../grants/grant.ts'
import { giveGrant } from '../../grants/issue.ts'
import { settle } from '../../grants/settle.ts'
import { type Micro, min } from '../../kernel/credits.ts'
import type { Instant } from '../../kernel/time.ts'
import type { Draft } from '../../ledger/book.ts'
import { post } from '../../ledger/post.ts'
import { GRACE_MS, type Subscription, sourceOf } from './subscription.ts'

export interface RollOver {
  /** How many credits may go over. */
  readonly room: Micro
  readonly expiresAt: Instant
  /** Of the payment that the new period was paid with. */
  readonly reference: string
}

/**
 * Ends grants of a subscription: what is free of them goes over into one new grant as far as there is room, and the rest expires here
 * and now. What reservations have pinned stays theirs, and expires when they release it. The caller has settled the wallet.
 * @returns how many credits went over
 */
export function rollOver(draft: Draft, subscription: Subscription, old: readonly Grant[], how: RollOver): Micro {
  const { walletId } = subscription
  let total = 0n
  for (const grant of old) {
    const amount = free(grant)
    total += amount
    putGrant(draft, endedAt(draft, { ...grant, remaining: grant.held }, draft.now))
    post(draft, {
      walletId,
      author: 'time',
      kind: 'expire',
      amount: -amount,
      counterAccount: 'expired',
      draws: [{ grantId: grant.id, amount }],
      reference: grant.reference,
    })
  }
  const amount = min(total, how.room)
  if (amount === 0n) return 0n
  const { expiresAt, reference } = how
  // Back from where it went a moment ago: what expired of the period is what did not go over.
  giveGrant(draft, { walletId, kind: 'rollover', amount, expiresAt, source: sourceOf(subscription), reference })
  return amount
}

/** The grants of a subscription that are not over yet. */
export function grantsOf(draft: Draft, subscription: Subscription): Grant[] {
  const source = sourceOf(subscription)
  return draft.list(grants, subscription.walletId).filter(({ source: of, clientId, spentAt, voidedAt, expiresAt }) => {
    return of === source && clientId === null && spentAt === null && voidedAt === null && expiresAt !== null && expiresAt > draft.now
  })
}

/** Whether a grant came when its period was over, or nearly. The others live through what was left of it, and the grace. */
export function cameLate({ createdAt, expiresAt }: Grant): boolean {
  return expiresAt !== null && expiresAt - createdAt < 2 * GRACE_MS
}

/** Lets the credits of a subscription that is over go with the periods that they were paid for; those that came late, a while after that. */
export function endGrants(draft: Draft, subscription: Subscription): void {
  settle(draft, subscription.walletId)
  for (const grant of grantsOf(draft, subscription)) {
    const periodEnd = (grant.expiresAt ?? draft.now) - GRACE_MS
    putGrant(draft, endedAt(draft, grant, Math.max(periodEnd, grant.createdAt + GRACE_MS)))
  }
  settle(draft, subscription.walletId)
}

/** A grant never ends before it began, nor in the past. */
function endedAt(draft: Draft, grant: Grant, at: Instant): Grant {
  return { ...grant, expiresAt: Math.max(at, draft.now, grant.effectiveAt + 1) }
}
