import type { Micro } from '../../kernel/credits.ts'
import { refusal } from '../../kernel/errors.ts'
import type { Draft } from '../../ledger/book.ts'
import { done, type Outcome, refuse } from '../../ledger/command.ts'
import type { Wallet } from '../../ledger/wallet.ts'
import type { Card } from '../gateway.ts'
import { FAILURES_MAX, putTopUp, type StopReason, type TopUp, topUps } from './top-up.ts'

export interface TopUpSettings {
  readonly enabled: boolean
  readonly threshold: Micro
  readonly package: string | null
  readonly amount: bigint | null
  readonly currency: string
  readonly capAmount: bigint
  readonly capDays: number
}

/**
 * Sets a wallet's top-up. What was spent of the cap stays spent, also where the cap is less now (another currency counts anew), and a card that was declined too often stays so: it is known by its
 * fingerprint, so that saving it again does not make it another one.
 */
export function setTopUp(
  draft: Draft,
  walletId: string | undefined,
  { enabled, ...settings }: TopUpSettings,
  card: Card,
): Outcome<{ topUp: TopUp; wallet: Wallet }> {
  const wallet = draft.findWallet(walletId)
  if (!wallet) return refuse(refusal('wallet_not_found', 'No wallet of yours has this id or owner.'))
  if (wallet.status === 'closed') return refuse(refusal('wallet_closed', 'A closed wallet buys no credits.'))
  const before = draft.get(topUps, wallet.id, wallet.id)
  const isSpent = before !== undefined && before.periodSpent > 0n
  // Money of two currencies has no sum.
  if (isSpent && before.currency !== settings.currency && before.inFlightId !== null) {
    return refuse(refusal('top_up_in_flight', 'An attempt in another currency is under way; try again when it is over.'))
  }
  const sameCurrency = before?.currency === settings.currency
  const sameCard = before?.fingerprint === card.fingerprint
  const stoppedReason = enabled && before && sameCard ? reasonOf(before) : null
  const periodSpent = sameCurrency ? (before?.periodSpent ?? 0n) : 0n
  const topUp: TopUp = {
    walletId: wallet.id,
    id: wallet.id,
    ...settings,
    ...card,
    status: !enabled ? 'off' : stoppedReason ? 'stopped' : 'active',
    stoppedReason,
    failures: sameCard ? (before?.failures ?? 0) : 0,
    inFlightId: before?.inFlightId ?? null,
    actionId: sameCard ? (before?.actionId ?? null) : null,
    actionUrl: sameCard ? (before?.actionUrl ?? null) : null,
    periodStart: sameCurrency ? (before?.periodStart ?? null) : null,
    periodSpent,
    createdAt: before?.createdAt ?? draft.now,
    updatedAt: draft.now,
  }
  putTopUp(draft, topUp)
  return done({ topUp, wallet: draft.wallet(wallet.id) })
}

/** Why a card is not tried, whether the top-up was switched off meanwhile or not. A page that its owner let expire is asked for anew. */
function reasonOf({ actionId, failures }: TopUp): StopReason | null {
  if (actionId !== null) return 'authentication_required'
  return failures >= FAILURES_MAX ? 'card_declined' : null
}
