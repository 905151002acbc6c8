import { formatCredits } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import { fromWireId, toWireId } from '../kernel/ids.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { post } from '../ledger/post.ts'
import type { Wallet } from '../ledger/wallet.ts'
import { free, type Grant, grants, originOf, putGrant } from './grant.ts'
import { settle } from './settle.ts'

export interface VoidInput {
  readonly walletId: string | undefined
  readonly grantId: string
  readonly reason: string
}

/** Takes back what is free of a grant. What reservations have pinned stays theirs and goes when they release it. */
export function voidGrant(draft: Draft, input: VoidInput): Outcome<{ grant: Grant; wallet: Wallet }> {
  const wallet = draft.findWallet(input.walletId)
  if (!wallet) return refuse(refusal('grant_not_found', 'No grant of yours has this id.'))
  settle(draft, wallet.id)
  const grant = draft.get(grants, wallet.id, input.grantId)
  if (!grant) return refuse(refusal('grant_not_found', 'No grant of yours has this id.'))
  if (grant.voidedAt !== null) return refuse(refusal('grant_voided', 'The grant was voided before.'))
  if (isOfPayment(grant)) {
    return refuse(refusal('grant_of_payment', 'Its credits go back with its money: refund the payment.', { payment_id: grant.reference }))
  }
  if (grant.spentAt !== null) return refuse(refusal('grant_spent', 'The grant is spent or expired: there is nothing to take back.'))
  const amount = free(grant)
  putGrant(draft, { ...grant, remaining: grant.held, voidedAt: draft.now })
  post(draft, {
    id: draft.commandId,
    walletId: wallet.id,
    kind: 'void',
    amount: -amount,
    counterAccount: originOf(grant.kind),
    draws: [{ grantId: grant.id, amount }],
    reference: grant.reference,
  })
  draft.record({
    action: 'grant.void',
    targetKind: 'transaction',
    targetId: draft.commandId,
    reason: input.reason,
    before: { grant: toWireId('grant', grant.id), remaining: formatCredits(grant.remaining) },
    after: { grant: toWireId('grant', grant.id), remaining: formatCredits(grant.held) },
  })
  return done({ grant: draft.get(grants, wallet.id, grant.id) as Grant, wallet: draft.wallet(wallet.id) })
}

/** What a payment brought is taken back with its money; voided before, it would be taken twice. Clients may write what they like into a reference. */
function isOfPayment({ clientId, reference }: Grant): boolean {
  return clientId === null && reference !== null && fromWireId('payment', reference) !== null
}
