import type { Micro } from '../../kernel/credits.ts'
import type { Instant } from '../../kernel/time.ts'
import { Table } from '../../ledger/book.ts'
import { percentOf } from './bonus-rule.ts'

/** A code that gives credits, once to a wallet: with a purchase, or by itself. */
export interface Promotion {
  readonly id: string
  readonly code: string
  /** Of the credits that are bought; null where it gives a number of credits. */
  readonly percent: string | null
  readonly credits: Micro | null
  readonly needsPurchase: boolean
  readonly firstPurchaseOnly: boolean
  readonly mostRedemptions: number | null
  /** How long its credits last. */
  readonly grantDays: number | null
  readonly startsAt: Instant
  readonly endsAt: Instant | null
}

export type NewPromotion = Omit<Promotion, 'id'>

/** A wallet's use of a promotion: claimed by an order that names it, redeemed once credits came of it. */
export interface Redemption {
  readonly walletId: string
  readonly id: string
  readonly promotionId: string
  /** Of the promotion, as the next. */
  readonly grantDays: number | null
  readonly firstPurchaseOnly: boolean
  readonly paymentId: string | null
  readonly grantId: string | null
  readonly credits: Micro
  readonly claimedAt: Instant
  readonly redeemedAt: Instant | null
}

/** The first order that a wallet paid. Its id is the wallet's. */
export interface FirstPayment {
  readonly walletId: string
  readonly id: string
  readonly paymentId: string
  readonly paidAt: Instant
}

export const redemptions = new Table<Redemption>('redemptions')
export const firstPayments = new Table<FirstPayment>('first_payments')

/** Codes are read as people type them. */
export function normalCode(text: string): string {
  return text.toUpperCase()
}

/** What a promotion gives on so many bought credits. */
export function creditsOf({ percent, credits }: Pick<Promotion, 'percent' | 'credits'>, bought: Micro): Micro {
  return percent === null ? (credits ?? 0n) : percentOf(bought, percent)
}
