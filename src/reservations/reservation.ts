import { unpin } from '../grants/burn.ts'
import { settle } from '../grants/settle.ts'
import type { Micro } from '../kernel/credits.ts'
import { DAY_MS, type Instant, SECOND_MS } from '../kernel/time.ts'
import { type Draft, Table } from '../ledger/book.ts'
import type { Draw } from '../ledger/transaction.ts'
import type { Usage } from '../pricing/pools.ts'
import type { Quote } from '../pricing/quote.ts'

/** `held → committed | released | expired`, and `expired → committed` for a late commit. */
export type ReservationStatus = 'held' | 'committed' | 'released' | 'expired'

/** A hold on credits with a deadline. While held, `amount − captured − released` is pinned to grants. */
export interface Reservation {
  readonly walletId: string
  readonly id: string
  readonly status: ReservationStatus
  /** What was asked for; more than `amount` where a partial hold was taken. Grows with the hold. */
  readonly requested: Micro
  readonly amount: Micro
  readonly captured: Micro
  readonly released: Micro
  /** Σ cost of its charges so far. */
  readonly cost: Micro
  readonly pins: readonly Draw[]
  /** The quote of the hold, with the frozen prices. */
  readonly quote: Quote
  /** The largest cumulative usage reported so far, or null. */
  readonly usageTotal: Usage | null
  readonly clientId: string
  readonly reference: string | null
  readonly metadata: string | null
  readonly expiresAt: Instant
  readonly createdAt: Instant
  readonly finalizedAt: Instant | null
}

export const reservations = new Table<Reservation>('reservations')

export const TTL_SECONDS_DEFAULT = 300
export const TTL_SECONDS_MAX = 86_400
/** However often it is extended, a hold ends within a week of its creation: forgotten work must not lock credits for good. */
export const LIFETIME_MS_MAX = 7 * DAY_MS

export function deadline(now: Instant, ttlSeconds: number): Instant {
  return now + ttlSeconds * SECOND_MS
}

/** The deadline itself is already too late. */
export function isPastDeadline(reservation: Reservation, now: Instant): boolean {
  return reservation.expiresAt <= now
}

/** Ends a held reservation: whatever is still pinned goes back to the grants it came from. */
export function end(draft: Draft, reservation: Reservation, status: 'committed' | 'released' | 'expired'): Reservation {
  unpin(draft, reservation.walletId, reservation.pins)
  const ended: Reservation = {
    ...reservation,
    status,
    released: reservation.amount - reservation.captured,
    pins: [],
    finalizedAt: draft.now,
  }
  draft.put(reservations, ended)
  settle(draft, reservation.walletId)
  return ended
}
