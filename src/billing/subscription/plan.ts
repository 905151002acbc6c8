import type { Micro } from '../../kernel/credits.ts'
import type { Instant } from '../../kernel/time.ts'

export type Interval = 'month' | 'year'

/** What is subscribed to: so many credits each period, for a price. A version is never changed; the newest whose time has come is on sale. */
export interface Plan {
  readonly id: string
  /** `pro` */
  readonly plan: string
  readonly name: string
  readonly currency: string
  /** Of the currency's smallest unit, for one period. */
  readonly amount: bigint
  readonly interval: Interval
  /** Of one period. */
  readonly credits: Micro
  /** How many that are left of a period the next one takes over at most. */
  readonly rolloverCap: Micro
  readonly enabled: boolean
  readonly effectiveFrom: Instant
}

export type NewPlan = Omit<Plan, 'id' | 'effectiveFrom'>

/** Plans by what the provider calls them. */
export type PlansByPrice = ReadonlyMap<string, Plan>

export type PlanChange = 'same' | 'upgrade' | 'downgrade'

/**
 * What it is to go from one plan to another: an upgrade is paid for at once, a downgrade begins with the next period. Null where the
 * provider would do neither: another currency, and a shorter interval, which would begin at once and not when the longer one is over.
 * @param paid what the present period was paid for
 */
export function changeOf(paid: Plan, wanted: Plan): PlanChange | null {
  if (paid.id === wanted.id) return 'same'
  if (paid.currency !== wanted.currency) return null
  if (paid.interval === wanted.interval) return wanted.amount < paid.amount ? 'downgrade' : 'upgrade'
  return wanted.interval === 'year' && wanted.amount > paid.amount ? 'upgrade' : null
}
