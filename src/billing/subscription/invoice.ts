import type { Micro } from '../../kernel/credits.ts'
import { add, floor, type Ratio, ZERO } from '../../kernel/ratio.ts'
import type { Instant } from '../../kernel/time.ts'
import type { Plan, PlansByPrice } from './plan.ts'

export interface Period {
  readonly start: Instant
  readonly end: Instant
}

/** What an invoice is for: a plan for a time. What is given back for a plan that was left has a negative amount. */
export interface InvoiceLine {
  readonly priceId: string | null
  /** Before coupons, of the currency's smallest unit. */
  readonly amount: bigint
  readonly period: Period
}

/** An invoice as the provider has it at the moment of reading. One that is paid changes no more. */
export interface ProviderInvoice {
  readonly invoiceId: string
  readonly createdAt: Instant
  /** The subscription that it is of, at the provider; null for every other invoice. */
  readonly subscriptionObjectId: string | null
  readonly isPaid: boolean
  readonly livemode: boolean
  readonly currency: string
  /** The money that came in: nothing where a coupon or credit at the provider paid. */
  readonly amountPaid: bigint
  readonly paidAt: Instant | null
  /** The payment that paid it; null where none did. */
  readonly objectId: string | null
  readonly lines: readonly InvoiceLine[]
  readonly subscriptionId: string | null
  readonly walletId: string | null
}

/** What an invoice buys: credits, for a period, and the plan that the period is of. */
export interface Bought {
  readonly credits: Micro
  readonly period: Period
  readonly plan: Plan
}

/**
 * Credits follow the money, line by line: a whole period buys what its plan says, a part of one its part, and what is given back for a
 * plan that was left takes its part off. Rounded down once, at the end. The period is that of the line that ends last.
 * @returns null where it buys none: nothing on it is of a plan, or as much was given back
 */
export function boughtBy(lines: readonly InvoiceLine[], plans: PlansByPrice): Bought | null {
  let sum: Ratio = ZERO
  let newest: { readonly line: InvoiceLine; readonly plan: Plan } | null = null
  for (const line of lines) {
    const plan = line.priceId === null ? undefined : plans.get(line.priceId)
    if (!plan) continue
    sum = add(sum, { n: plan.credits * line.amount, d: plan.amount })
    if (line.amount > 0n && (newest === null || line.period.end >= newest.line.period.end)) newest = { line, plan }
  }
  if (newest === null || sum.n <= 0n) return null
  const credits = floor(sum)
  if (credits === 0n) return null
  const { start, end } = newest.line.period
  return { credits, period: { start, end: Math.max(end, start + 1) }, plan: newest.plan }
}
