import type { Micro } from '../kernel/credits.ts'
import type { Instant } from '../kernel/time.ts'
import { Table } from '../ledger/book.ts'
import type { Draw } from '../ledger/transaction.ts'
import type { Usage } from '../pricing/pools.ts'
import type { Quote } from '../pricing/quote.ts'

/** Whether the usage is what the provider measured or somebody's guess. */
export type Basis = 'actual' | 'estimated'

/** A wallet that earns a share of a charge. */
export interface Payee {
  readonly walletId: string
  /** Millionths of what the charge collects. */
  readonly sharePpm: bigint
}

export const SHARE_WHOLE_PPM = 1_000_000n
export const PAYEES_MAX = 8

export interface Earning extends Payee {
  readonly amount: Micro
}

/** The record of a completed cost. `cost = captured + overage + uncollected`. */
export interface Charge {
  readonly walletId: string
  readonly id: string
  readonly reservationId: string | null
  readonly cost: Micro
  /** Paid from the reservation's hold. */
  readonly captured: Micro
  /** Paid from available credits and by going into debt. */
  readonly overage: Micro
  /** What the wallet could not cover at all. */
  readonly uncollected: Micro
  readonly refunded: Micro
  /** Settled its reservation. A one-shot charge is final by nature. */
  readonly final: boolean
  /** Came after the reservation's deadline. */
  readonly late: boolean
  readonly basis: Basis
  readonly model: string | null
  readonly operation: string | null
  readonly usage: Usage | null
  /** The provider's own usage with its format, JSON as it was given. */
  readonly rawUsage: string | null
  readonly quote: Quote
  /** The grants it was paid from, in the order in which they were drawn. What went into debt drew none. */
  readonly draws: readonly Draw[]
  readonly earnings: readonly Earning[]
  readonly clientId: string | null
  readonly reference: string | null
  readonly metadata: string | null
  readonly occurredAt: Instant
  readonly createdAt: Instant
}

export const charges = new Table<Charge>('charges')

export function collected(charge: Pick<Charge, 'captured' | 'overage'>): Micro {
  return charge.captured + charge.overage
}
