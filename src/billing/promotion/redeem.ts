import type { Grant } from '../../grants/grant.ts'
import { grants } from '../../grants/grant.ts'
import { giveGrant, roomFor } from '../../grants/issue.ts'
import { settle } from '../../grants/settle.ts'
import type { Micro } from '../../kernel/credits.ts'
import { about, refusal } from '../../kernel/errors.ts'
import { DAY_MS } from '../../kernel/time.ts'
import type { Draft } from '../../ledger/book.ts'
import { done, type Outcome, refuse } from '../../ledger/command.ts'
import type { Wallet } from '../../ledger/wallet.ts'
import { type Redemption, redemptions } from './promotion.ts'

/** A claim on a promotion: the wallet's place among its redemptions, and what it gives. */
export interface Claim {
  readonly redemptionId: string
  readonly code: string
  readonly credits: Micro
}

/** Gives a wallet the credits of a code that needs no purchase, once. */
export function redeem(
  draft: Draft,
  walletId: string | undefined,
  claim: Outcome<Claim>,
): Outcome<{ grant: Grant; wallet: Wallet; redemption: Redemption }> {
  const wallet = draft.findWallet(walletId)
  if (!wallet) return refuse(refusal('wallet_not_found', 'No wallet of yours has this id or owner.'))
  if (wallet.status === 'closed') return refuse(refusal('wallet_closed', 'A closed wallet takes no credits.'))
  if (!claim.ok) return claim
  const redemption = draft.get(redemptions, wallet.id, claim.value.redemptionId)
  if (!redemption || redemption.redeemedAt !== null)
    return refuse(about('/code', refusal('promotion_used', 'This wallet has redeemed the code before.')))
  settle(draft, wallet.id)
  const room = roomFor(draft, wallet.id, claim.value.credits)
  if (!room.ok) return room
  const { grant, redemption: used } = grantPromotion(draft, redemption, claim.value.credits, {
    source: `promotion:${claim.value.code}`,
    reference: null,
    paymentId: null,
  })
  settle(draft, wallet.id)
  return done({ grant: draft.get(grants, wallet.id, grant.id) ?? grant, wallet: draft.wallet(wallet.id), redemption: used })
}

/** The grant of a promotion and its ledger row; the redemption is used from then on. */
export function grantPromotion(
  draft: Draft,
  redemption: Redemption,
  amount: Micro,
  of: { readonly source: string | null; readonly reference: string | null; readonly paymentId: string | null },
): { grant: Grant; redemption: Redemption } {
  const { walletId, grantDays } = redemption
  const expiresAt = grantDays === null ? null : draft.now + grantDays * DAY_MS
  const { source, reference, paymentId } = of
  const grant = giveGrant(draft, { walletId, kind: 'promotion', amount, expiresAt, source, reference })
  const used = { ...redemption, paymentId, grantId: grant.id, credits: amount, redeemedAt: draft.now }
  draft.put(redemptions, used)
  return { grant, redemption: used }
}
