import { pin } from '../grants/burn.ts'
import type { Micro } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { available, insufficient, type Wallet } from '../ledger/wallet.ts'
import { exceedsMaximum } from '../pricing/quote.ts'
import { closedReason, findReservation, type ReservationRefInput } from './release.ts'
import { deadline, LIFETIME_MS_MAX, type Reservation, reservations } from './reservation.ts'

export interface ExtendInput extends ReservationRefInput {
  /** The new deadline, counted from now; null keeps the present one. Never moves it forward in time to an earlier moment. */
  readonly ttlSeconds: number | null
  /** Micro-credits to add to the hold. */
  readonly addAmount: Micro
}

/** Moves the deadline of an open hold and/or grows the hold. Growing takes what a new hold would have to have. */
export function extend(draft: Draft, input: ExtendInput): Outcome<{ reservation: Reservation; wallet: Wallet }> {
  const found = findReservation(draft, input)
  if (!found.ok) return found
  const reservation = found.value
  const wallet = draft.wallet(reservation.walletId)
  if (input.addAmount > 0n && wallet.status === 'frozen') {
    return refuse(refusal('wallet_frozen', 'The holds of a frozen wallet cannot grow.'))
  }
  const closed = closedReason(reservation, draft.now)
  if (closed) return refuse(closed)

  const wanted = input.ttlSeconds === null ? reservation.expiresAt : deadline(draft.now, input.ttlSeconds)
  const expiresAt = Math.max(wanted, reservation.expiresAt)
  if (expiresAt > reservation.createdAt + LIFETIME_MS_MAX) {
    return refuse(refusal('reservation_deadline_too_far', 'A reservation ends within seven days of its creation.'))
  }
  if (input.addAmount > 0n) {
    if (exceedsMaximum(reservation.quote.terms, reservation.requested + input.addAmount)) {
      return refuse(refusal('charge_exceeds_maximum', 'The hold would exceed the largest charge of the policy.'))
    }
    if (input.addAmount > available(wallet)) return refuse(insufficient(wallet, input.addAmount))
  }
  const extended: Reservation = {
    ...reservation,
    requested: reservation.requested + input.addAmount,
    amount: reservation.amount + input.addAmount,
    pins: [...reservation.pins, ...pin(draft, wallet.id, input.addAmount)],
    expiresAt,
  }
  draft.put(reservations, extended)
  return done({ reservation: extended, wallet: draft.wallet(wallet.id) })
}
