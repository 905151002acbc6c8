import { MICRO_PER_CREDIT, type Micro } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import { decimalOf, floor, multiply, ratioOf, scale } from '../kernel/ratio.ts'
import { HOUR_MS, type Instant, MINUTE_MS } from '../kernel/time.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import type { Rates } from './pools.ts'
import {
  type ChargePolicy,
  DEFAULT_POLICY,
  type ExchangeRate,
  inForce,
  type Markup,
  type ModelPrice,
  type OperationPrice,
  type PriceBook,
  type PriceVariant,
  rateKey,
  type Version,
} from './prices.ts'
import { resolveModel } from './resolve.ts'

/**
 * The prices at one moment, with everything needed to use them again later: version ids and exact figures. Stored as JSON with the
 * reservation, which is how prices are frozen at reserve. Amounts are decimal strings of micro-credits.
 */
export interface Terms {
  readonly policy: string | null
  /** Smallest and largest cost of a priced charge. */
  readonly minimum: string
  readonly maximum: string
  /** Costs are rounded up to a multiple of this; absent where that is one micro-credit. */
  readonly round_to?: string
  readonly model?: ModelTerms
  readonly operation?: OperationTerms
}

export interface ModelTerms {
  readonly id: string
  readonly provider: string
  /** Version ids. */
  readonly price: string
  readonly markup: string | null
  readonly rate: string
  /** Credits for one US dollar of the provider's price, markup included, as an exact decimal. */
  readonly credits_per_usd: string
  readonly rates: Rates
  readonly variants?: readonly TermsVariant[]
  /** When the time of day was read, in milliseconds; absent where it does not matter. */
  readonly at?: Instant
}

/**
 * A price that depends on the request itself: how it was served, or how long its prompt was. One without conditions holds in any case,
 * over what stands before it in the list.
 */
export interface TermsVariant {
  readonly service_tier?: NonNullable<PriceVariant['serviceTier']>
  readonly above_prompt_tokens?: number
  readonly rates: Rates
}

export interface OperationTerms {
  readonly id: string
  readonly price: string
  /** Per unit. */
  readonly unit: string
  /** Once a charge; absent where it is nothing. */
  readonly flat?: string
}

/** What is to be priced, by name. */
export interface Subject {
  readonly model: string | null
  readonly provider: string | null
  readonly operation: string | null
}

/** An amount that is stated has no prices, only the policy. */
export const NO_SUBJECT: Subject = { model: null, provider: null, operation: null }

/** The terms in force at a time for a model and/or an operation. Unknown and disabled ones are refused, never free. */
export function termsAt(book: PriceBook, at: Instant, subject: Subject): Outcome<Terms> {
  let model: ModelTerms | undefined
  if (subject.model !== null) {
    const price = resolveModel(book, at, subject.model, subject.provider)
    const served = subject.provider === null ? '' : ` of provider ${subject.provider}`
    if (!price) return refuse(refusal('unknown_model', `There is no price for model ${subject.model}${served}.`))
    if (!price.enabled) return refuse(refusal('model_disabled', `Model ${price.model} is disabled.`))
    const terms = modelTerms(book, at, price)
    if (!terms.ok) return terms
    model = terms.value
  }
  let operation: OperationTerms | undefined
  if (subject.operation !== null) {
    const price = inForce(book.operations.get(subject.operation), at)
    if (!price?.enabled) return refuse(refusal('unknown_operation', `There is no price for operation ${subject.operation}.`))
    operation = freezeOperation(price)
  }
  return done({ ...policyTerms(policyAt(book, at)), ...(model && { model }), ...(operation && { operation }) })
}

type Policy = Omit<ChargePolicy, keyof Version> & { readonly id: string | null }

const NO_POLICY: Policy = { id: null, ...DEFAULT_POLICY }

function policyAt(book: PriceBook, at: Instant): Policy {
  return inForce(book.policies, at) ?? NO_POLICY
}

const policyMemo = new WeakMap<Policy, Terms>()

/** The terms of a policy, worked out once for all quotes under it. */
function policyTerms(policy: Policy): Terms {
  let terms = policyMemo.get(policy)
  if (!terms) {
    terms = freezePolicy(policy)
    policyMemo.set(policy, terms)
  }
  return terms
}

/** The terms that a policy sets. */
export function freezePolicy({ id, minimumCharge, maximumCharge, roundTo }: Policy): Terms {
  return {
    policy: id,
    minimum: minimumCharge.toString(),
    maximum: maximumCharge.toString(),
    ...(roundTo > 1n && { round_to: roundTo.toString() }),
  }
}

export function freezeOperation({ operation, id, unitCost, flatCost }: OperationPrice): OperationTerms {
  return { id: operation, price: id, unit: unitCost.toString(), ...(flatCost > 0n && { flat: flatCost.toString() }) }
}

/** Whether work costs nothing because the payer owns what it uses. */
export function isExempt(book: PriceBook, at: Instant, resourceOwner: string | null, payer: string): boolean {
  return resourceOwner !== null && resourceOwner === payer && policyAt(book, at).ownerExempt
}

/** The markup of a model: its own, else its provider's, else the default one. */
export function markupAt(book: PriceBook, at: Instant, price: Pick<ModelPrice, 'model' | 'provider'>): Markup | undefined {
  for (const scope of scopesOf(price)) {
    const markup = inForce(book.markups.get(scope), at)
    if (markup) return markup
  }
  return undefined
}

const scopeMemo = new WeakMap<object, readonly string[]>()

/** The scopes of markups, the nearest first. Kept with the price: a text that was just put together has to be hashed for every look-up. */
function scopesOf(price: Pick<ModelPrice, 'model' | 'provider'>): readonly string[] {
  let scopes = scopeMemo.get(price)
  if (!scopes) {
    scopes = [`model:${price.model}`, `provider:${price.provider}`, 'default']
    scopeMemo.set(price, scopes)
  }
  return scopes
}

/** Credits for one US dollar of a provider's price: (1 + markup) × rate, as an exact decimal. */
export function creditsPerUsd(markup: Pick<Markup, 'percent'> | undefined, rate: Pick<ExchangeRate, 'creditsPerUnit'>): string {
  const percent = ratioOf(markup?.percent ?? '0')
  return decimalOf(multiply({ n: 100n * percent.d + percent.n, d: 100n * percent.d }, ratioOf(rate.creditsPerUnit)))
}

/** Micro-credits that an amount of money buys, in units of its currency. Rounded down: nobody is sold more than was paid for. */
export function creditsFor(amount: string, rate: Pick<ExchangeRate, 'creditsPerUnit'>): Micro {
  return floor(scale(multiply(ratioOf(amount), ratioOf(rate.creditsPerUnit)), MICRO_PER_CREDIT))
}

/** Providers' prices are in dollars. */
const RATE_OF_PRICES = rateKey('USD', 'consumption')

const memo = new WeakMap<ModelPrice, ModelTerms>()

/** The terms of a model. They change only with the price, markup or rate version, so one object serves all quotes until then. */
function modelTerms(book: PriceBook, at: Instant, price: ModelPrice): Outcome<ModelTerms> {
  const rate = inForce(book.exchangeRates.get(RATE_OF_PRICES), at)
  if (!rate) return refuse(refusal('rate_missing', 'No exchange rate for consumption is in force.'))
  const markup = markupAt(book, at, price)
  const timed = isTimed(price)
  const known = timed ? undefined : memo.get(price)
  if (known && known.rate === rate.id && known.markup === (markup?.id ?? null)) return done(known)
  const terms = freeze(price, at, markup, rate)
  if (!timed) memo.set(price, terms)
  return done(terms)
}

/** What holds for a request at this time: the time of day is decided here, the service tier and the prompt's length are not yet known. */
export function freeze(price: ModelPrice, at: Instant, markup: Markup | undefined, rate: ExchangeRate): ModelTerms {
  const variants: TermsVariant[] = []
  let rates = price.rates
  for (const { serviceTier, abovePromptTokens, hours, rates: replaced } of price.variants) {
    if (hours && !isWithin(hours, at)) continue
    // What holds whatever the request is becomes part of the base, unless it replaces what comes before it under a condition.
    if (serviceTier === undefined && abovePromptTokens === undefined && variants.length === 0) rates = { ...rates, ...replaced }
    else {
      variants.push({
        ...(serviceTier !== undefined && { service_tier: serviceTier }),
        ...(abovePromptTokens !== undefined && { above_prompt_tokens: abovePromptTokens }),
        rates: replaced,
      })
    }
  }
  return {
    id: price.model,
    provider: price.provider,
    price: price.id,
    markup: markup?.id ?? null,
    rate: rate.id,
    credits_per_usd: creditsPerUsd(markup, rate),
    rates,
    ...(variants.length > 0 && { variants }),
    ...(isTimed(price) && { at }),
  }
}

function isTimed(price: ModelPrice): boolean {
  return price.variants.some((variant) => variant.hours)
}

/** Whether a time of day in UTC lies in a window, which may go over midnight. */
function isWithin({ from, to }: NonNullable<PriceVariant['hours']>, at: Instant): boolean {
  const minute = Math.floor((((at % (24 * HOUR_MS)) + 24 * HOUR_MS) % (24 * HOUR_MS)) / MINUTE_MS)
  const [start, end] = [minuteOf(from), minuteOf(to)]
  return start <= end ? minute >= start && minute < end : minute >= start || minute < end
}

function minuteOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5))
}
