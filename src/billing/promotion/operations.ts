import { z } from 'zod'
import { grantAnswer, grantToWire } from '../../grants/schemas.ts'
import { refusal } from '../../kernel/errors.ts'
import { type Outcome, refuse } from '../../ledger/command.ts'
import { decided, type Operation, operation, walletRef } from '../../ledger/operation.ts'
import { figuresToWire } from '../../ledger/wallet.ts'
import { redemptions } from './promotion.ts'
import { type Claim, redeem } from './redeem.ts'
import { redeemBody } from './schemas.ts'

/** A redemption with the wallet's claim, which is made before the lane: places are counted over all wallets. */
export interface ClaimedRedemption extends z.output<typeof redeemBody> {
  readonly claim?: Outcome<Claim>
}

export const redeemOperation: Operation = operation({
  name: 'redeem',
  path: '/v1/redemptions',
  scope: 'payments:write',
  tag: 'Payments',
  summary: 'Redeem a promotion code',
  description: 'For codes that need no purchase; the others are named with it. A wallet redeems a code once.',
  status: 201,
  needsCredits: false,
  params: z.strictObject({}),
  body: redeemBody as z.ZodType<ClaimedRedemption>,
  answer: grantAnswer,
  plan(_caller, _params, body) {
    const claim = body.claim ?? refuse(refusal('promotion_not_found', 'Nothing was claimed.'))
    return {
      wallets: [walletRef(body.wallet)],
      rows: claim.ok ? [{ table: redemptions, id: claim.value.redemptionId }] : [],
      decide: (draft, { wallets: [walletId] }) =>
        decided(redeem(draft, walletId, claim), 201, ({ grant, wallet, redemption }) => ({
          effectId: redemption.id,
          walletId: wallet.id,
          body: { ...grantToWire(grant, draft.now), wallet: figuresToWire(wallet) },
        })),
    }
  },
})
