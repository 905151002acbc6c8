import type { Micro } from '../../kernel/credits.ts'
import { DAY_MS, HOUR_MS, type Instant } from '../../kernel/time.ts'
import { type Draft, Table, TOP_UP_TOPIC } from '../../ledger/book.ts'
import { available, type Wallet } from '../../ledger/wallet.ts'

/** `capped` waits for the next period, `stopped` for another card or for its owner, `off` was switched off. */
export type TopUpStatus = 'active' | 'capped' | 'stopped' | 'off'
export type StopReason = 'card_declined' | 'authentication_required' | 'not_for_sale'

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
  /** Attempts in a row that this card declined. */
  readonly failures: number
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

/** Attempts in a row before a card is not tried any more: banks think ill of more. */
export const FAILURES_MAX = 3
/** A card that was declined is tried again after this, times the number of failures. */
export const RETRY_MS = HOUR_MS

/** What was spent of the cap in the period that a time falls into. */
export function spentIn(topUp: TopUp, now: Instant): { start: Instant; spent: bigint } {
  const { periodStart, periodSpent, capDays } = topUp
  const over = periodStart === null || now >= periodStart + capDays * DAY_MS
  return over ? { start: now, spent: 0n } : { start: periodStart, spent: periodSpent }
}

/**
 * Stores a top-up and arms its wallet, or disarms it. A wallet that needs one already is told of.
 * @param notBefore when to act on that; at once when absent
 */
export function putTopUp(draft: Draft, topUp: TopUp, notBefore?: Instant): void {
  draft.put(topUps, { ...topUp, updatedAt: draft.now })
  const armed = topUp.status === 'active' ? topUp.threshold : null
  if (draft.wallet(topUp.walletId).topUpThreshold !== armed) draft.putWallet({ ...draft.wallet(topUp.walletId), topUpThreshold: armed })
  if (needsTopUp(topUp, draft.wallet(topUp.walletId)))
    draft.tell({ topic: TOP_UP_TOPIC, walletId: topUp.walletId, payload: {}, ...(notBefore !== undefined && { notBefore }) })
}

/** Whether a wallet is to be topped up now: it is below, and nothing is under way or in the way. */
export function needsTopUp(topUp: TopUp, wallet: Wallet): boolean {
  return topUp.status === 'active' && topUp.inFlightId === null && wallet.status === 'active' && available(wallet) < topUp.threshold
}
