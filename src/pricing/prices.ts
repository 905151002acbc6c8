import { MICRO_PER_CREDIT, type Micro } from '../kernel/credits.ts'
import { multiply, type Ratio, ratioOf, reduce } from '../kernel/ratio.ts'
import type { Instant } from '../kernel/time.ts'

/** A dated fact. Versions are only ever added; the one in force at a time is the newest that is not after it. */
export interface Version {
  readonly id: string
  readonly effectiveFrom: Instant
}

export interface ModelPrice extends Version {
  readonly model: string
  readonly provider: string
  /** US dollars per million tokens, as exact decimals. */
  readonly inputUsdPerMillion: string
  readonly outputUsdPerMillion: string
  readonly enabled: boolean
}

export interface OperationPrice extends Version {
  readonly operation: string
  /** Micro-credits per unit. */
  readonly unitCost: Micro
  readonly enabled: boolean
}

export interface Markup extends Version {
  readonly scope: string
  readonly percent: string
}

export interface ExchangeRate extends Version {
  readonly currency: string
  readonly purpose: 'purchase' | 'consumption'
  /** Credits for one unit of the currency, as an exact decimal. */
  readonly creditsPerUnit: string
}

/** The smallest and the largest cost of one priced charge, in micro-credits. */
export interface ChargePolicy extends Version {
  readonly minimumCharge: Micro
  readonly maximumCharge: Micro
}

/** All versions of all prices, each list newest first: an immutable snapshot, so that a quote needs no query. */
export interface PriceBook {
  readonly models: ReadonlyMap<string, readonly ModelPrice[]>
  readonly operations: ReadonlyMap<string, readonly OperationPrice[]>
  readonly markups: readonly Markup[]
  readonly consumptionRates: readonly ExchangeRate[]
  readonly policies: readonly ChargePolicy[]
}

export const EMPTY_PRICE_BOOK: PriceBook = {
  models: new Map(),
  operations: new Map(),
  markups: [],
  consumptionRates: [],
  policies: [],
}

/** In force until somebody sets a policy: 0.01 to 100,000 credits. */
export const DEFAULT_POLICY = { minimumCharge: MICRO_PER_CREDIT / 100n, maximumCharge: 100_000n * MICRO_PER_CREDIT }

/** The version in force at a time. */
export function inForce<V extends Version>(versions: readonly V[] | undefined, at: Instant): V | undefined {
  return versions?.find((version) => version.effectiveFrom <= at)
}

/**
 * Micro-credits per token, exactly: US dollars per million tokens × (1 + markup) × credits per dollar. A million tokens and a
 * million micro-credits cancel out.
 */
export function microPerToken(usdPerMillion: string, markup: Markup | undefined, rate: ExchangeRate): Ratio {
  const percent = ratioOf(markup?.percent ?? '0')
  const factor: Ratio = { n: 100n * percent.d + percent.n, d: 100n * percent.d }
  return reduce(multiply(multiply(ratioOf(usdPerMillion), factor), ratioOf(rate.creditsPerUnit)))
}
