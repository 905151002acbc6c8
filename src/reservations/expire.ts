import type { Draft } from '../ledger/book.ts'
import { end, isPastDeadline, reservations } from './reservation.ts'

/**
 * Ends a hold whose deadline has passed. Harmless at any time and in any number: a reservation that was settled or extended
 * meanwhile stays as it is.
 * @returns whether it ended the hold
 */
export function expire(draft: Draft, walletId: string, reservationId: string): boolean {
  const reservation = draft.get(reservations, walletId, reservationId)
  if (reservation?.status !== 'held' || !isPastDeadline(reservation, draft.now)) return false
  end(draft, reservation, 'expired')
  return true
}
