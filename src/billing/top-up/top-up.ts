import type { Micro } from '../../kernel/credits.ts'
import { DAY_MS, type Instant } from '../../kernel/time.ts'
import { type Draft, Table, TOP_UP_TOPIC } from '../../ledger/book.ts'
import { available, type Wallet } from '../../ledger/wallet.ts'
import { type Decline, retryAt } from './decline.ts'

/** `capped` waits for the next period, `stopped` for another card or for somebody, `off` was switched off. */
export type TopUpStatus = 'active' | 'capped' | 'stopped' | 'off'
export type StopReason = 'card_declined' | 'authentication_required' | 'not_for_sale' | 'payment_reversed'

/** Credits that buy themselves when few are left. One per wallet, and its id is the wallet's. */
export interface TopUp {
  readonly walletId: string
  readonly id: string
  /** Below so many available micro-credits it buys. */
  readonly threshold: Micro
  /** What it buys: a package, or an amount of the currency's smallest unit. */
  readonly package: string | null
  readonly amount: bigint | null
  readonly currency: string
  /** At most so much money, of the smallest unit, in so many days. */
  readonly capAmount: bigint
  readonly capDays: number
  /** The saved card at the provider, what it is recognised by, and what people call it: "visa 4242". */
  readonly methodId: string
  readonly fingerprint: string
  readonly card: string
  readonly status: TopUpStatus
  readonly stoppedReason: StopReason | null
  /** What stands against cards that this top-up had, the one it has now among them or not. */
  readonly declines: readonly Decline[]
  /** The order of the attempt under way: there is one at most. */
  readonly inFlightId: string | null
  /** The order that its owner has to pay in person before it goes on, and where. */
  readonly actionId: string | null
  readonly actionUrl: string | null
  readonly periodStart: Instant | null
  readonly periodSpent: bigint
  readonly createdAt: Instant
  readonly updatedAt: Instant
}

export const topUps = new Table<TopUp>('top_ups')

/** What was spent of the cap in the period that a time falls into. */
export function spentIn(topUp: TopUp, now: Instant): { start: Instant; spent: bigint } {
  const { periodStart, periodSpent, capDays } = topUp
  const over = periodStart === null || now >= periodStart + capDays * DAY_MS
  return over ? { start: now, spent: 0n } : { start: periodStart, spent: periodSpent }
}

/**
 * Stores a top-up and arms its wallet, or disarms it. What is to be done of it already is told of. While a declined card is left alone its
 * wallet is not armed: credits that rise and fall a thousand times until then are told of once, when the card may be tried.
 */
export function putTopUp(draft: Draft, topUp: TopUp): void {
  const { walletId, status, inFlightId } = topUp
  draft.put(topUps, { ...topUp, updatedAt: draft.now })
  const isActive = status === 'active'
  const armed = isActive && !isResting(topUp, draft.now) ? topUp.threshold : null
  if (draft.wallet(walletId).topUpThreshold !== armed) draft.putWallet({ ...draft.wallet(walletId), topUpThreshold: armed })
  const isWaiting = isActive && inFlightId === null && armed === null
  if (isWaiting || needsTopUp(topUp, draft.wallet(walletId))) tellWhenReady(draft, topUp)
  else if (wantsPage(topUp)) draft.tell({ topic: TOP_UP_TOPIC, walletId, payload: {} })
}

/** Whether the card was declined and may not be tried yet. */
export function isResting({ declines, fingerprint }: TopUp, now: Instant): boolean {
  const notBefore = retryAt(declines, fingerprint)
  return notBefore !== null && notBefore > now
}

/** Tells of a wallet that is to be looked at as soon as its card may be tried. */
export function tellWhenReady(draft: Draft, { walletId, declines, fingerprint }: TopUp): void {
  const notBefore = retryAt(declines, fingerprint)
  draft.tell({ topic: TOP_UP_TOPIC, walletId, payload: {}, ...(notBefore !== null && notBefore > draft.now && { notBefore }) })
}

/** Whether a wallet is to be topped up: it is below, and nothing is under way or in the way. */
export function needsTopUp(topUp: TopUp, wallet: Wallet): boolean {
  return topUp.inFlightId === null && isWanted(topUp, wallet) && available(wallet) < topUp.threshold
}

/** Whether anything is to be bought for a wallet at all. */
export function isWanted(topUp: TopUp, wallet: Wallet): boolean {
  return topUp.status === 'active' && wallet.status === 'active'
}

/** Whether the owner has to pay in person and there is no page for it yet. */
export function wantsPage({ stoppedReason, actionId, actionUrl }: TopUp): boolean {
  return stoppedReason === 'authentication_required' && actionId !== null && actionUrl === null
}

/** Stops a top-up. One that was switched off stays so, and money that went back wants somebody to decide, whatever else there is. */
export function stopped(topUp: TopUp, reason: StopReason): TopUp {
  const isDecided = topUp.status === 'off' || topUp.stoppedReason === 'payment_reversed'
  return isDecided ? topUp : { ...topUp, status: 'stopped', stoppedReason: reason }
}
