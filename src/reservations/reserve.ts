import { pin } from '../grants/burn.ts'
import { settle } from '../grants/settle.ts'
import { type Micro, min } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { available, insufficient, ownerOf, type Wallet } from '../ledger/wallet.ts'
import type { PriceBook } from '../pricing/prices.ts'
import { affordable, type CostRequest, costOf, exceedsMaximum, quoteWhole } from '../pricing/quote.ts'
import { isExempt, NO_SUBJECT, termsAt } from '../pricing/terms.ts'
import { deadline, type Reservation, reservations } from './reservation.ts'

export interface ReserveInput {
  readonly walletId: string | undefined
  readonly cost: CostRequest
  readonly ttlSeconds: number
  /** Take the largest hold there is when there is not enough. */
  readonly partial: boolean
  readonly resourceOwner: string | null
  readonly reference: string | null
  readonly metadata: string | null
}

export interface Reserved {
  readonly reservation: Reservation
  readonly wallet: Wallet
  /** What a partial hold pays for, or null. */
  readonly affords: object | null
}

/** Holds credits for work that is about to start, and freezes its prices. A hold never draws overdraft. */
export function reserve(draft: Draft, input: ReserveInput, prices: PriceBook): Outcome<Reserved> {
  const found = draft.findWallet(input.walletId)
  if (!found) return refuse(refusal('wallet_not_found', 'No wallet of yours has this id or owner.'))
  if (found.status === 'closed') return refuse(refusal('wallet_closed', 'A closed wallet takes no holds.'))
  if (found.status === 'frozen') return refuse(refusal('wallet_frozen', 'A frozen wallet takes no new holds.'))
  settle(draft, found.id)

  const request = input.cost
  const terms = termsAt(prices, draft.now, request.amount === undefined ? request : NO_SUBJECT)
  if (!terms.ok) return terms
  const priced = quoteWhole(terms.value, request, isExempt(prices, draft.now, input.resourceOwner, ownerOf(found)))
  if (!priced.ok) return priced
  const quote = priced.value
  const requested = costOf(quote)
  if (exceedsMaximum(terms.value, requested)) {
    return refuse(refusal('charge_exceeds_maximum', 'The hold exceeds the largest charge of the policy.'))
  }

  const wallet = draft.wallet(found.id)
  const amount = holdOf(requested, available(wallet), input.partial)
  if (amount === null) return refuse(insufficient(wallet, requested))
  const reservation: Reservation = {
    walletId: wallet.id,
    id: draft.commandId,
    status: 'held',
    requested,
    amount,
    captured: 0n,
    released: 0n,
    cost: 0n,
    pins: pin(draft, wallet.id, amount),
    quote,
    usageTotal: null,
    clientId: draft.speaker.clientId ?? wallet.clientId,
    reference: input.reference,
    metadata: input.metadata,
    expiresAt: deadline(draft.now, input.ttlSeconds),
    createdAt: draft.now,
    finalizedAt: null,
  }
  draft.put(reservations, reservation)
  const affords = amount < requested && request.amount === undefined ? affordable(terms.value, request, amount) : null
  return done({ reservation, wallet: draft.wallet(wallet.id), affords })
}

/** The hold that can be taken, or null when there is not enough. */
function holdOf(requested: Micro, available: Micro, partial: boolean): Micro | null {
  if (requested <= available || requested === 0n) return requested
  return partial && available > 0n ? min(requested, available) : null
}
