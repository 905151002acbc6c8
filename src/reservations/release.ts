import { settle } from '../grants/settle.ts'
import { refusal } from '../kernel/errors.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import type { Wallet } from '../ledger/wallet.ts'
import { end, isPastDeadline, type Reservation, reservations } from './reservation.ts'

export interface ReservationRefInput {
  readonly walletId: string | undefined
  readonly reservationId: string
}

/** Finds a reservation of the speaker's, its wallet settled. */
export function findReservation(draft: Draft, input: ReservationRefInput): Outcome<Reservation> {
  const wallet = draft.findWallet(input.walletId)
  const reservation = wallet && draft.get(reservations, wallet.id, input.reservationId)
  if (!wallet || !reservation) return refuse(refusal('reservation_not_found', 'No reservation of yours has this id.'))
  settle(draft, wallet.id)
  return done(reservation)
}

/** The refusal for what only an open hold can take; null when it is open. */
export function closedReason(reservation: Reservation, now: number) {
  if (reservation.status === 'committed') return refusal('reservation_committed', 'The reservation was committed before.')
  if (reservation.status === 'released') return refusal('reservation_released', 'The reservation was released before.')
  if (reservation.status === 'expired' || isPastDeadline(reservation, now)) {
    return refusal('reservation_expired', 'The deadline of the reservation has passed: its hold is gone.')
  }
  return null
}

/** Gives back what is unspent of a hold and ends the reservation. */
export function release(draft: Draft, input: ReservationRefInput): Outcome<{ reservation: Reservation; wallet: Wallet }> {
  const found = findReservation(draft, input)
  if (!found.ok) return found
  const closed = closedReason(found.value, draft.now)
  if (closed) return refuse(closed)
  const reservation = end(draft, found.value, 'released')
  return done({ reservation, wallet: draft.wallet(reservation.walletId) })
}
