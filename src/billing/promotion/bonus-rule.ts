import { AMOUNT_MICRO_MAX, type Micro, min } from '../../kernel/credits.ts'
import { floor, multiply, ratioOf } from '../../kernel/ratio.ts'
import type { Instant } from '../../kernel/time.ts'

/** More credits for orders of a size, or for the first one. A version is never changed; the newest whose time has come is in force. */
export interface BonusRule {
  readonly id: string
  /** `volume_100` */
  readonly rule: string
  readonly kind: 'volume' | 'first_purchase'
  readonly currency: string
  /** Orders of at least so much, of the currency's smallest unit. */
  readonly fromAmount: bigint
  /** Of the credits that are bought, a decimal: "12.5". */
  readonly percent: string
  readonly mostCredits: Micro | null
  readonly enabled: boolean
  readonly effectiveFrom: Instant
}

export type NewBonusRule = Omit<BonusRule, 'id' | 'effectiveFrom'>

/** So many percent of credits, at most the largest amount. Rounded down, as everything that is given away. */
export function percentOf(credits: Micro, percent: string): Micro {
  return min(floor(multiply({ n: credits, d: 100n }, ratioOf(percent))), AMOUNT_MICRO_MAX)
}

/** What a kind of rule gives to an order: the one rule that gives most, not all that fit. */
export function bonusBy(
  rules: readonly BonusRule[],
  kind: BonusRule['kind'],
  order: { currency: string; amount: bigint; credits: Micro },
): Micro {
  let best = 0n
  for (const rule of rules) {
    if (!rule.enabled || rule.kind !== kind || rule.currency !== order.currency || order.amount < rule.fromAmount) continue
    const credits = percentOf(order.credits, rule.percent)
    const capped = rule.mostCredits === null ? credits : min(credits, rule.mostCredits)
    if (capped > best) best = capped
  }
  return best
}
