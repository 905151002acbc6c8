import { spendFree } from '../grants/burn.ts'
import { addGrant, roomFor } from '../grants/issue.ts'
import { settle } from '../grants/settle.ts'
import { formatCredits, type Micro } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { post } from '../ledger/post.ts'
import type { Transaction } from '../ledger/transaction.ts'
import { available, insufficient, type Wallet } from '../ledger/wallet.ts'

export interface AdjustInput {
  readonly walletId: string | undefined
  /** Micro-credits, not zero; negative takes credits away. */
  readonly amount: Micro
  readonly reason: string
  readonly reference: string | null
  readonly metadata: string | null
}

/** An admin's correction, with its reason in the audit log. It gives a grant, or takes what is available; it never makes debt. */
export function adjust(draft: Draft, input: AdjustInput): Outcome<{ transaction: Transaction; wallet: Wallet }> {
  const found = draft.findWallet(input.walletId)
  if (!found) return refuse(refusal('wallet_not_found', 'No wallet of yours has this id or owner.'))
  if (found.status === 'closed') return refuse(refusal('wallet_closed', 'A closed wallet takes no adjustments.'))
  settle(draft, found.id)
  const before = draft.wallet(found.id)
  const { amount } = input
  let draws = []
  if (amount > 0n) {
    const room = roomFor(draft, found.id, amount)
    if (!room.ok) return room
    const grant = addGrant(draft, {
      id: draft.nextId(),
      walletId: found.id,
      kind: 'adjustment',
      amount,
      reference: input.reference,
    })
    draws = [{ grantId: grant.id, amount }]
  } else {
    if (-amount > available(before)) return refuse(insufficient(before, -amount))
    draws = spendFree(draft, found.id, -amount)
  }
  const transaction = post(draft, {
    id: draft.commandId,
    walletId: found.id,
    kind: 'adjust',
    amount,
    counterAccount: 'adjustments',
    draws,
    reference: input.reference,
    metadata: input.metadata,
  }) as Transaction
  settle(draft, found.id)
  const wallet = draft.wallet(found.id)
  draft.record({
    action: 'wallet.adjust',
    targetKind: 'transaction',
    targetId: transaction.id,
    reason: input.reason,
    before: { balance: formatCredits(before.balance), debt: formatCredits(before.debt) },
    after: { balance: formatCredits(wallet.balance), debt: formatCredits(wallet.debt) },
  })
  return done({ transaction, wallet })
}
