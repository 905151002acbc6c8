import { sum } from '../grants/burn.ts'
import { giveBack, type TakenPart, takeFromEnd } from '../grants/give-back.ts'
import { fits } from '../grants/issue.ts'
import { settle } from '../grants/settle.ts'
import { formatCredits, type Micro } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { post } from '../ledger/post.ts'
import type { Transaction } from '../ledger/transaction.ts'
import type { Wallet } from '../ledger/wallet.ts'
import { type Charge, charges, collected } from './charge.ts'

export interface RefundInput {
  readonly walletId: string | undefined
  readonly chargeId: string
  /** Micro-credits; null for all that is left to refund. */
  readonly amount: Micro | null
  readonly reference: string | null
  readonly metadata: string | null
}

/**
 * Gives back all or a part of what a charge collected, last drawn first: to the grants it was paid from, and to a fresh grant
 * that never expires where those are over or where the charge had gone into debt. Payees keep their earnings: the house pays.
 */
export function refund(
  draft: Draft,
  input: RefundInput,
): Outcome<{ amount: Micro; transaction: Transaction; charge: Charge; wallet: Wallet }> {
  const wallet = draft.findWallet(input.walletId)
  const charge = wallet && draft.get(charges, wallet.id, input.chargeId)
  if (!wallet || !charge) return refuse(refusal('charge_not_found', 'No charge of yours has this id.'))
  if (wallet.status === 'closed') return refuse(refusal('wallet_closed', 'A closed wallet takes no refunds.'))
  const total = collected(charge)
  const left = total - charge.refunded
  if (total === 0n) return refuse(refusal('charge_free', 'The charge collected nothing, so there is nothing to refund.'))
  if (left === 0n) return refuse(refusal('charge_refunded', 'The charge was refunded in full before.'))
  const amount = input.amount ?? left
  if (amount > left) {
    return refuse(
      refusal('refund_exceeds_charge', `At most ${formatCredits(left)} credits of this charge are left to refund.`, {
        refundable: formatCredits(left),
        refunded: formatCredits(charge.refunded),
      }),
    )
  }
  settle(draft, wallet.id)
  const room = fits(draft, wallet.id, amount)
  if (!room.ok) return room

  const back = giveBack(draft, wallet.id, partsToRefund(charge, amount), input.reference)
  const transaction = post(draft, {
    id: draft.commandId,
    walletId: wallet.id,
    kind: 'refund',
    amount,
    counterAccount: 'revenue',
    draws: back,
    chargeId: charge.id,
    reservationId: charge.reservationId,
    reversesId: charge.id,
    reference: input.reference,
    metadata: input.metadata,
  }) as Transaction
  settle(draft, wallet.id)
  const refunded = { ...charge, refunded: charge.refunded + amount }
  draft.put(charges, refunded)
  return done({ amount, transaction, charge: refunded, wallet: draft.wallet(wallet.id) })
}

/**
 * The next `amount` to give back, counting from the end of what the charge drew: first what had gone into debt (no grant),
 * then the draws backwards, skipping what earlier refunds gave back.
 */
function partsToRefund(charge: Charge, amount: Micro): TakenPart[] {
  const drawn = [...charge.draws, { grantId: null, amount: collected(charge) - sum(charge.draws) }]
  return takeFromEnd(takeFromEnd(drawn, charge.refunded).rest, amount).end
}
