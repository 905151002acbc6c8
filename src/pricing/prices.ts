import { MICRO_PER_CREDIT, type Micro } from '../kernel/credits.ts'
import type { Instant } from '../kernel/time.ts'
import type { Rates } from './pools.ts'

/** A dated fact. Versions are only ever added; the one in force at a time is the newest that is not after it. */
export interface Version {
  readonly id: string
  readonly effectiveFrom: Instant
}

/** How a provider serves a request, where that has a price of its own. `standard` is the base price. */
export const SERVICE_TIERS = ['standard', 'batch', 'flex', 'priority'] as const
export type ServiceTier = (typeof SERVICE_TIERS)[number]

/**
 * Prices that replace those of the base, pool by pool, for requests that meet all conditions given. Of several that apply, the later
 * one in the list wins.
 */
export interface PriceVariant {
  readonly serviceTier?: Exclude<ServiceTier, 'standard'>
  /** Applies to the whole request when its prompt has more tokens than this. */
  readonly abovePromptTokens?: number
  /** Applies from `from` to before `to`, times of day in UTC as "HH:MM", also over midnight. */
  readonly hours?: { readonly from: string; readonly to: string }
  readonly rates: Rates
}

/** Other names of a model. `equals` is a name; the others match many. */
export type Alias =
  | { readonly equals: string }
  | { readonly startsWith: string }
  | { readonly endsWith: string }
  | { readonly contains: string }
  | { readonly regex: string }
  | { readonly all: readonly Alias[] }

export const COST_TIERS = ['cheap', 'medium', 'expensive'] as const
export type CostTier = (typeof COST_TIERS)[number]

/** What a price list says of a model. */
export interface ModelListing {
  /** The name that callers use: the maker's own name ("gpt-4o"), or "provider/name" where somebody else serves it ("azure/gpt-4o"). */
  readonly model: string
  readonly provider: string
  readonly rates: Rates
  readonly variants: readonly PriceVariant[]
  readonly aliases: readonly Alias[]
  /** Tokens of prompt and answer together, where known. */
  readonly contextWindow: number | null
  readonly maxOutputTokens: number | null
  /** What it can do: `vision`, `tools`, `reasoning` … in alphabetical order. */
  readonly capabilities: readonly string[]
  readonly costTier: CostTier
  readonly enabled: boolean
}

export interface ModelPrice extends Version, ModelListing {
  /** The list that it came from, or `manual`. */
  readonly source: string
}

export interface OperationPrice extends Version {
  readonly operation: string
  /** Micro-credits once for each charge, whatever its units. */
  readonly flatCost: Micro
  /** Micro-credits per unit. */
  readonly unitCost: Micro
  readonly enabled: boolean
}

/** `default`, `provider:…` or `model:…`: the most specific one in force applies. */
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

/** Rules for every priced charge. Amounts in micro-credits. */
export interface ChargePolicy extends Version {
  readonly minimumCharge: Micro
  readonly maximumCharge: Micro
  /** The cost of priced work is rounded up to a multiple of this; 1 is the finest. */
  readonly roundTo: Micro
  /** Whether an owner's use of what it owns itself (`resource_owner`) is free. */
  readonly ownerExempt: boolean
}

/** All versions of all prices, each list newest first: an immutable snapshot, so that a quote needs no query. */
export interface PriceBook {
  readonly models: ReadonlyMap<string, readonly ModelPrice[]>
  readonly operations: ReadonlyMap<string, readonly OperationPrice[]>
  readonly markups: ReadonlyMap<string, readonly Markup[]>
  /** By currency and purpose: `USD consumption`. */
  readonly exchangeRates: ReadonlyMap<string, readonly ExchangeRate[]>
  readonly policies: readonly ChargePolicy[]
}

export const EMPTY_PRICE_BOOK: PriceBook = {
  models: new Map(),
  operations: new Map(),
  markups: new Map(),
  exchangeRates: new Map(),
  policies: [],
}

/** In force until somebody sets a policy: 0.01 to 100,000 credits, exact to the micro-credit, owners exempt. */
export const DEFAULT_POLICY = {
  minimumCharge: MICRO_PER_CREDIT / 100n,
  maximumCharge: 100_000n * MICRO_PER_CREDIT,
  roundTo: 1n,
  ownerExempt: true,
} as const

/** The version in force at a time. */
export function inForce<V extends Version>(versions: readonly V[] | undefined, at: Instant): V | undefined {
  return versions?.find((version) => version.effectiveFrom <= at)
}

/** The key of `PriceBook.exchangeRates`. */
export function rateKey(currency: string, purpose: ExchangeRate['purpose']): string {
  return `${currency} ${purpose}`
}
