import { type Micro, min } from '../../kernel/credits.ts'
import { refusal } from '../../kernel/errors.ts'
import type { Instant } from '../../kernel/time.ts'
import type { Draft } from '../../ledger/book.ts'
import { done, type Outcome, refuse } from '../../ledger/command.ts'
import type { Wallet } from '../../ledger/wallet.ts'
import type { Card } from '../gateway.ts'
import { FAILURES_MAX, failuresOf } from './decline.ts'
import { putTopUp, type StopReason, type TopUp, topUps } from './top-up.ts'

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
 * Sets a wallet's top-up. What was spent of the cap stays spent, also where the cap is less now, and of a cap in another currency the same
 * share. A card that was declined too often stays so: it is known by its fingerprint, so that saving it again does not make it another one.
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
  const sameCard = before?.fingerprint === card.fingerprint
  const topUp: TopUp = switched(
    enabled,
    {
      walletId: wallet.id,
      id: wallet.id,
      ...settings,
      ...card,
      declines: before?.declines ?? [],
      inFlightId: before?.inFlightId ?? null,
      actionId: sameCard ? (before?.actionId ?? null) : null,
      actionUrl: sameCard ? (before?.actionUrl ?? null) : null,
      periodStart: before?.periodStart ?? null,
      periodSpent: before ? spentOf(before, settings) : 0n,
      createdAt: before?.createdAt ?? draft.now,
      updatedAt: draft.now,
    },
    draft.now,
  )
  putTopUp(draft, topUp)
  return done({ topUp, wallet: draft.wallet(wallet.id) })
}

/** What counts as spent of a new cap. Money of two currencies has no sum, but a share of one cap is the same share of another; rounded up, for the cap. */
function spentOf(before: TopUp, { currency, capAmount }: Pick<TopUpSettings, 'currency' | 'capAmount'>): bigint {
  const { periodSpent: spent, capAmount: cap } = before
  return before.currency === currency ? spent : min(capAmount, (capAmount * spent + cap - 1n) / cap)
}

/** Switches a top-up on or off; what it buys and with which card stays as it was set. Off works always. */
export function switchTopUp(draft: Draft, walletId: string | undefined, enabled: boolean): Outcome<{ topUp: TopUp; wallet: Wallet }> {
  const wallet = draft.findWallet(walletId)
  if (!wallet) return refuse(refusal('wallet_not_found', 'No wallet of yours has this id or owner.'))
  const before = draft.get(topUps, wallet.id, wallet.id)
  if (!before) return refuse(refusal('top_up_not_found', 'The wallet has no automatic top-up.'))
  if (enabled && wallet.status === 'closed') return refuse(refusal('wallet_closed', 'A closed wallet buys no credits.'))
  const topUp = { ...switched(enabled, before, draft.now), updatedAt: draft.now }
  putTopUp(draft, topUp)
  return done({ topUp, wallet: draft.wallet(wallet.id) })
}

/** Whoever sets a top-up takes it up again, whatever stopped it, except where the card stands against it. */
function switched(enabled: boolean, topUp: Omit<TopUp, 'status' | 'stoppedReason'>, now: Instant): TopUp {
  const stoppedReason = enabled ? reasonOf(topUp, now) : null
  return { ...topUp, status: !enabled ? 'off' : stoppedReason ? 'stopped' : 'active', stoppedReason }
}

/** Why a card is not tried, whether the top-up was switched off meanwhile or not. A page that its owner let expire is asked for anew. */
function reasonOf(
  { actionId, declines, fingerprint }: Pick<TopUp, 'actionId' | 'declines' | 'fingerprint'>,
  now: Instant,
): StopReason | null {
  if (actionId !== null) return 'authentication_required'
  return failuresOf(declines, fingerprint, now) >= FAILURES_MAX ? 'card_declined' : null
}
