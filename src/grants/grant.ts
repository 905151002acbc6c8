import type { Micro } from '../kernel/credits.ts'
import type { Instant } from '../kernel/time.ts'
import { type Draft, Table } from '../ledger/book.ts'
import type { CounterAccount } from '../ledger/transaction.ts'

/**
 * Kinds that a caller may issue, and four that Farebox makes itself: from refunds, a payee's earnings, promotions, and of credits that a
 * subscription's next period takes over.
 */
export const ISSUED_KINDS = ['bonus', 'purchase', 'adjustment'] as const
export type IssuedKind = (typeof ISSUED_KINDS)[number]
export type GrantKind = IssuedKind | 'refund' | 'earning' | 'promotion' | 'rollover'

/** A lot of credits in a wallet. */
export interface Grant {
  readonly walletId: string
  readonly id: string
  readonly kind: GrantKind
  readonly amount: Micro
  /** What is left of it, the pinned part included. */
  readonly remaining: Micro
  /** The part that open reservations have pinned. */
  readonly held: Micro
  readonly priority: number
  readonly effectiveAt: Instant
  readonly expiresAt: Instant | null
  /** JSON text of what was paid for it, or null. */
  readonly costBasis: string | null
  readonly source: string | null
  readonly reference: string | null
  readonly clientId: string | null
  /** When it entered the wallet's figures; null while it is scheduled. */
  readonly postedAt: Instant | null
  readonly voidedAt: Instant | null
  /** When nothing was left of it: the lane does not load it any more. */
  readonly spentAt: Instant | null
  readonly createdAt: Instant
}

export const grants = new Table<Grant>('grants')

/** The lane loads every live grant of a wallet, so their number is bounded. */
export const LIVE_GRANTS_MAX = 1_000

/** Lower burns first: bonus, then whatever expires, then adjustments, then what was bought, earned or refunded. */
export function defaultPriority(kind: GrantKind, expiresAt: Instant | null): number {
  if (kind === 'bonus' || kind === 'promotion') return 10
  if (expiresAt !== null) return 20
  return kind === 'adjustment' ? 30 : 50
}

/**
 * The account that credits of this kind come from, and go back to when the grant is voided. Earnings come over `clearing`, which nets
 * to zero with each charge; a void one goes to the house.
 */
export function originOf(kind: GrantKind): CounterAccount {
  switch (kind) {
    case 'bonus':
    case 'promotion':
      return 'promotions'
    case 'purchase':
      return 'purchases'
    case 'adjustment':
      return 'adjustments'
    case 'rollover':
      return 'expired'
    case 'refund':
    case 'earning':
      return 'revenue'
  }
}

/** What no reservation has pinned. */
export function free(grant: Grant): Micro {
  return grant.remaining - grant.held
}

/** No new work may draw on it: it is past its expiry or void. */
export function isOver(grant: Grant, now: Instant): boolean {
  return grant.voidedAt !== null || (grant.expiresAt !== null && grant.expiresAt <= now)
}

/** Stores a grant; it counts as spent from the moment nothing is left of it, and no longer once something is. */
export function putGrant(draft: Draft, grant: Grant): void {
  const empty = grant.remaining === 0n && (grant.postedAt !== null || grant.voidedAt !== null)
  draft.put(grants, { ...grant, spentAt: empty ? (grant.spentAt ?? draft.now) : null })
}
