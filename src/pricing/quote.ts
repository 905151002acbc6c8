import { type Micro, max } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import { ceil, decimalOf, floor, type Ratio, ratioOf } from '../kernel/ratio.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { isTokenPool, POOLS, type Pool, PRICED_AS, plus, promptTokens, type Rates, type Usage } from './pools.ts'
import type { ServiceTier } from './prices.ts'
import type { ModelTerms, Subject, Terms } from './terms.ts'

/** Work to be priced: units of an operation, a model's usage, or both. */
export interface Work {
  readonly units: number | null
  readonly usage: Usage | null
  readonly serviceTier: ServiceTier
  readonly estimate?: EstimateMethod | undefined
}

/** By the model's own tokenizer, by another one's, or by the number of characters. */
export const ESTIMATE_METHODS = ['tokenizer', 'approximate', 'characters'] as const
export type EstimateMethod = (typeof ESTIMATE_METHODS)[number]

/** What a caller wants priced: an amount of credits as it stands, or work under named prices. */
export type CostRequest = { readonly amount: Micro } | ({ readonly amount?: undefined } & Subject & Work)

/**
 * An exact cost before its one rounding: `cost = exempt ? 0 : max(min, ⌈n/d⌉)` in micro-credits, where ⌈⌉ goes up to the next
 * multiple of the terms' `round_to`. Stored as JSON.
 */
export interface Quote {
  readonly n: string
  readonly d: string
  readonly min: string
  readonly exempt: boolean
  readonly units?: number
  /** Whether the operation's flat cost is part of it. */
  readonly flat?: boolean
  readonly usage?: Usage
  /** The usage that was charged before, where `usage` is what came on top of it and prices depend on the whole. */
  readonly since?: Usage
  /** How the tokens of the prompt were counted, where the usage is an estimate of a text. */
  readonly estimate?: EstimateMethod
  /** Absent for the standard one. */
  readonly service_tier?: Exclude<ServiceTier, 'standard'>
  readonly terms: Terms
}

/** Micro-credits in one credit; also the tokens that a price is stated for, so that the two cancel out. */
const MILLION = 1_000_000n

const mergedRates = new WeakMap<ModelTerms, Map<number, Rates>>()

/** The prices of a request: those of the base, replaced by every variant whose conditions it meets. */
function ratesFor(model: ModelTerms, serviceTier: ServiceTier, prompt: number): Rates {
  if (!model.variants) return model.rates
  const met = model.variants.map(
    (variant) =>
      (variant.service_tier === undefined || variant.service_tier === serviceTier) &&
      (variant.above_prompt_tokens === undefined || prompt > variant.above_prompt_tokens),
  )
  const key = met.reduce((bits, is, index) => (is ? bits + 2 ** index : bits), 0)
  let merged = mergedRates.get(model)
  if (!merged) {
    merged = new Map()
    mergedRates.set(model, merged)
  }
  let rates = merged.get(key)
  if (!rates) {
    rates = Object.assign({}, model.rates, ...model.variants.filter((_, index) => met[index]).map((variant) => variant.rates)) as Rates
    merged.set(key, rates)
  }
  return rates
}

/** The price of a pool: its own, else that of the pool that it is priced as. */
function rateOf(rates: Rates, pool: Pool): { rate: string; pricedAs: Pool } | undefined {
  for (let own: Pool | undefined = pool; own !== undefined; own = PRICED_AS[own]) {
    const rate = rates[own]
    if (rate !== undefined) return { rate, pricedAs: own }
  }
  return undefined
}

/** Integers over one power of ten, so that a sum needs no fractions. */
interface Scaled {
  readonly perOne: Readonly<Partial<Record<Pool, bigint>>>
  readonly d: bigint
}

const scaledRates = new WeakMap<Rates, { readonly factor: string; readonly scaled: Scaled }>()

/** Micro-credits for one of each pool. A token at 1 USD per million and 1 credit per USD is one micro-credit. */
function scale(model: ModelTerms, rates: Rates): Scaled {
  const known = scaledRates.get(rates)
  if (known && known.factor === model.credits_per_usd) return known.scaled
  const factor = ratioOf(model.credits_per_usd)
  const parsed: [Pool, Ratio][] = []
  let d = 1n
  for (const pool of POOLS) {
    const found = rateOf(rates, pool)
    if (!found) continue
    const rate = ratioOf(found.rate)
    const cost = { n: rate.n * factor.n * (isTokenPool(pool) ? 1n : MILLION), d: rate.d * factor.d }
    parsed.push([pool, cost])
    // The least common multiple of divisors of powers of ten.
    d = (d * cost.d) / gcd(d, cost.d)
  }
  const scaled = { perOne: Object.fromEntries(parsed.map(([pool, cost]) => [pool, (cost.n * d) / cost.d])), d }
  scaledRates.set(rates, { factor: model.credits_per_usd, scaled })
  return scaled
}

function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b]
  while (y > 0n) [x, y] = [y, x % y]
  return x
}

/** The exact micro-credits of a usage, or the pools of it that have no price. */
function costOfUsage(model: ModelTerms, usage: Usage, serviceTier: ServiceTier): Ratio | Pool[] {
  const { perOne, d } = scale(model, ratesFor(model, serviceTier, model.variants ? promptTokens(usage) : 0))
  let n = 0n
  let unpriced: Pool[] | undefined
  for (const pool in usage) {
    const count = usage[pool as Pool] as number
    if (count === 0) continue
    const cost = perOne[pool as Pool]
    if (cost === undefined) unpriced = [...(unpriced ?? []), pool as Pool]
    else n += cost * BigInt(count)
  }
  return unpriced ?? { n, d }
}

/**
 * A price for each request applies once, also where the caller does not count its requests: where the prices of this very request have one.
 * @param since the usage charged before, on top of which this comes
 */
export function withRequest(terms: Terms, usage: Usage, serviceTier: ServiceTier, since?: Usage | null): Usage {
  if (usage.requests !== undefined || !terms.model) return usage
  const rates = ratesFor(terms.model, serviceTier, promptTokens(usage) + (since ? promptTokens(since) : 0))
  return rates.requests === undefined ? usage : { ...usage, requests: 1 }
}

/**
 * The quote of work under given terms, before any minimum. Work that is nothing (no tokens, no units) costs nothing.
 * @param extra `flat` adds the operation's flat cost; `since` is the usage charged before, on top of which this comes
 */
export function quoteWork(
  terms: Terms,
  { units, usage, serviceTier, estimate }: Work,
  exempt: boolean,
  extra: { readonly flat?: boolean; readonly since?: Usage | null | undefined } = {},
): Outcome<Quote> {
  let n = 0n
  let d = 1n
  let since: Usage | undefined
  if (terms.model && usage) {
    if (serviceTier !== 'standard' && !terms.model.variants?.some((variant) => variant.service_tier === serviceTier)) {
      return refuse(refusal('service_tier_unpriced', `Model ${terms.model.id} has no price for service tier ${serviceTier}.`))
    }
    const whole = extra.since && terms.model.variants ? plus(extra.since, usage) : usage
    const cost = costOfUsage(terms.model, whole, serviceTier)
    if (Array.isArray(cost)) return refuse(unpricedPools(terms.model, cost))
    ;({ n, d } = cost)
    if (extra.since && whole !== usage) {
      since = extra.since
      const before = costOfUsage(terms.model, since, serviceTier)
      if (Array.isArray(before)) return refuse(unpricedPools(terms.model, before))
      // A longer prompt may have other prices, so the denominators may differ.
      n = max(0n, n * before.d - before.n * d)
      d *= before.d
    }
  }
  let flat = false
  if (terms.operation && units !== null) {
    n += BigInt(terms.operation.unit) * BigInt(units) * d
    if (extra.flat && terms.operation.flat !== undefined) {
      n += BigInt(terms.operation.flat) * d
      flat = true
    }
  }
  const quote: { -readonly [Key in keyof Quote]: Quote[Key] } = { n: n.toString(), d: d.toString(), min: '0', exempt, terms }
  // Set one by one: copying them from objects made for the purpose takes as long as the arithmetic.
  if (units !== null) quote.units = units
  if (flat) quote.flat = true
  if (usage) quote.usage = usage
  if (since) quote.since = since
  if (estimate) quote.estimate = estimate
  if (serviceTier !== 'standard') quote.service_tier = serviceTier
  return done(quote)
}

/** The quote of the same work as another one had, under other terms. */
export function quoteAgain(quote: Quote, terms: Terms): Outcome<Quote> {
  if (isStated(quote)) return done(quoteAmount(terms, BigInt(quote.n), quote.exempt))
  const work = { units: quote.units ?? null, usage: quote.usage ?? null, serviceTier: quote.service_tier ?? 'standard' } as const
  const again = quoteWork(terms, { ...work, estimate: quote.estimate }, quote.exempt, { flat: quote.flat === true, since: quote.since })
  return again.ok ? done(withMinimum(again.value, minimumDue(quote, terms))) : again
}

/** What of the minimum was due under other terms: less than all of it by what the reservation had cost before. */
function minimumDue(quote: Quote, terms: Terms): Micro {
  return quote.min === '0' ? 0n : max(0n, BigInt(quote.min) + BigInt(terms.minimum) - BigInt(quote.terms.minimum))
}

function unpricedPools(model: ModelTerms, pools: readonly Pool[]) {
  return refusal('pool_unpriced', `Model ${model.id} has no price for ${pools.join(', ')}; it is never billed as zero.`, { pools })
}

/** The quote of an amount that the caller states in credits: it costs what it says, without a minimum or a rounding. */
export function quoteAmount(terms: Terms, amount: Micro, exempt: boolean): Quote {
  return { n: amount.toString(), d: '1', min: '0', exempt, terms }
}

/** The same quote with a least cost in micro-credits. */
export function withMinimum(quote: Quote, minimum: Micro): Quote {
  return minimum === 0n ? quote : { ...quote, min: minimum.toString() }
}

const WHOLE = { flat: true }

/**
 * The quote of a whole piece of work or of a stated amount, as a reservation or a one-shot charge has it: the policy's minimum
 * applies to work that costs anything.
 */
export function quoteWhole(terms: Terms, request: CostRequest, exempt: boolean): Outcome<Quote> {
  if (request.amount !== undefined) return done(quoteAmount(terms, request.amount, exempt))
  const { units, serviceTier, estimate } = request
  const usage = request.usage && withRequest(terms, request.usage, serviceTier)
  const quote = quoteWork(terms, { units, usage, serviceTier, estimate }, exempt, WHOLE)
  return quote.ok && quote.value.n !== '0' ? done(withMinimum(quote.value, BigInt(terms.minimum))) : quote
}

/** Whether an amount was stated, which no rule changes. */
function isStated(quote: Quote): boolean {
  return quote.usage === undefined && quote.units === undefined
}

/** Micro-credits: the one rounding of a charge, upwards, so that Farebox never bills less than the exact cost. */
export function costOf(quote: Quote): Micro {
  if (quote.exempt) return 0n
  const exact = { n: BigInt(quote.n), d: BigInt(quote.d) }
  const step = quote.terms.round_to === undefined || isStated(quote) ? 1n : BigInt(quote.terms.round_to)
  return max(BigInt(quote.min), ceil({ n: exact.n, d: exact.d * step }) * step)
}

/** A cost above the policy's maximum is refused unless an admin forces it. */
export function exceedsMaximum(terms: Terms, cost: Micro): boolean {
  return cost > BigInt(terms.maximum)
}

/** One line of a quote. Amounts are exact. */
export interface QuoteLine {
  readonly item: 'usage' | 'units' | 'flat' | 'charged_before'
  readonly pool: Pool | null
  /** The pool whose price this one has, where it has none of its own. */
  readonly pricedAs: Pool | null
  readonly quantity: number
  /** The provider's price in US dollars as an exact decimal: per million tokens, or for one; null for what is priced in credits. */
  readonly usd: string | null
  readonly per: number
  /** Micro-credits before the rounding. */
  readonly micro: Ratio
}

/** The lines of a quote, worked out from what it stores. Their sum is its exact cost, unless a later total is cheaper than what was charged. */
export function linesOf(quote: Quote): QuoteLine[] {
  const { model, operation } = quote.terms
  const lines: QuoteLine[] = []
  const addUsage = (usage: Usage, sign: 1n | -1n) => {
    if (!model) return
    const rates = ratesFor(model, quote.service_tier ?? 'standard', promptTokens(usage))
    const { perOne, d } = scale(model, rates)
    for (const pool of POOLS) {
      const quantity = usage[pool]
      const found = rateOf(rates, pool)
      if (quantity === undefined || !found) continue
      lines.push({
        item: sign > 0n ? 'usage' : 'charged_before',
        pool,
        pricedAs: found.pricedAs === pool ? null : found.pricedAs,
        quantity,
        usd: found.rate,
        per: isTokenPool(pool) ? Number(MILLION) : 1,
        micro: { n: sign * (perOne[pool] ?? 0n) * BigInt(quantity), d },
      })
    }
  }
  if (quote.usage) addUsage(quote.since ? plus(quote.since, quote.usage) : quote.usage, 1n)
  if (quote.since) addUsage(quote.since, -1n)
  const inCredits = { pool: null, pricedAs: null, usd: null, per: 1 }
  if (operation && quote.units !== undefined) {
    lines.push({ ...inCredits, item: 'units', quantity: quote.units, micro: { n: BigInt(operation.unit) * BigInt(quote.units), d: 1n } })
  }
  if (operation?.flat !== undefined && quote.flat) {
    lines.push({ ...inCredits, item: 'flat', quantity: 1, micro: { n: BigInt(operation.flat), d: 1n } })
  }
  return lines
}

/** What the rounding and the minimum add to the exact cost, in micro-credits. Zero where the work is exempt. */
export function residueOf(quote: Quote): Ratio {
  if (quote.exempt) return { n: 0n, d: 1n }
  const d = BigInt(quote.d)
  return { n: costOf(quote) * d - BigInt(quote.n), d }
}

/** Credits as an exact decimal, of micro-credits. */
export function exactCredits({ n, d }: Ratio): string {
  return n < 0n ? `-${decimalOf({ n: -n, d: d * MILLION })}` : decimalOf({ n, d: d * MILLION })
}

/** How many output tokens, or else units, an amount of micro-credits pays for under these terms. Rounded down. */
export function affordable(terms: Terms, work: Work, amount: Micro): { output_tokens: number } | { units: number } | null {
  const tooLittle = amount < BigInt(terms.minimum)
  // What is left beyond a multiple of what costs are rounded up to pays for nothing.
  const spendable = amount - (amount % BigInt(terms.round_to ?? '1'))
  const wanted = work.usage?.output_tokens
  if (terms.model && work.usage && wanted !== undefined) {
    if (tooLittle) return { output_tokens: 0 }
    const { output_tokens: _, ...others } = withRequest(terms, work.usage, work.serviceTier)
    const fixed = quoteWork(terms, { ...work, usage: others }, false, { flat: true })
    const one = costOfUsage(terms.model, { ...others, output_tokens: 1 }, work.serviceTier)
    if (!fixed.ok || Array.isArray(one)) return null
    const base = costOfUsage(terms.model, others, work.serviceTier) as Ratio
    const unit = { n: one.n - base.n, d: one.d }
    const left = { n: spendable * BigInt(fixed.value.d) - BigInt(fixed.value.n), d: BigInt(fixed.value.d) }
    if (left.n < 0n) return { output_tokens: 0 }
    if (unit.n === 0n) return { output_tokens: wanted }
    return { output_tokens: smaller(floor({ n: left.n * unit.d, d: left.d * unit.n }), wanted) }
  }
  if (terms.operation && work.units !== null && !work.usage) {
    const unit = BigInt(terms.operation.unit)
    const left = spendable - BigInt(terms.operation.flat ?? '0')
    if (tooLittle || left < 0n) return { units: 0 }
    return { units: unit === 0n ? work.units : smaller(left / unit, work.units) }
  }
  return null
}

function smaller(count: bigint, wanted: number): number {
  return count < BigInt(wanted) ? Number(count) : wanted
}
