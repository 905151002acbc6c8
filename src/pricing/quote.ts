import { type Micro, max } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import { add, ceil, floor, type Ratio, reduce, scale, ZERO } from '../kernel/ratio.ts'
import type { Instant } from '../kernel/time.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { DEFAULT_POLICY, inForce, type ModelPrice, microPerToken, type PriceBook } from './prices.ts'

/** Tokens of one model call. */
export interface Usage {
  readonly input_tokens: number
  readonly output_tokens: number
}

/** What a caller wants priced: an amount of credits as it stands, or work (an operation, a model's tokens, or both). */
export type CostRequest =
  | { readonly amount: Micro }
  | {
      readonly amount?: undefined
      readonly operation: string | null
      readonly units: number | null
      readonly model: string | null
      readonly usage: Usage | null
    }

/**
 * The price at one moment, with everything needed to use it again later: version ids and exact unit costs. Stored as JSON
 * with the reservation, which is how prices are frozen at reserve. Amounts are decimal strings of micro-credits.
 */
export interface Terms {
  readonly policy: string | null
  /** Smallest and largest cost of a priced charge, micro-credits. */
  readonly minimum: string
  readonly maximum: string
  readonly model?: {
    readonly id: string
    readonly price: string
    readonly markup: string | null
    readonly rate: string
    /** Micro-credits per token as "n/d". */
    readonly input: string
    readonly output: string
  }
  readonly operation?: { readonly id: string; readonly price: string /** Micro-credits per unit. */; readonly unit: string }
}

/** An exact cost before its one rounding: `cost = exempt ? 0 : max(min, ⌈n/d⌉)`, in micro-credits. Stored as JSON. */
export interface Quote {
  readonly n: string
  readonly d: string
  readonly min: string
  readonly exempt: boolean
  readonly units?: number
  readonly usage?: Usage
  readonly terms: Terms
}

/** The terms in force at a time for a model and/or an operation. Unknown and disabled ones are refused, never free. */
export function termsAt(
  book: PriceBook,
  at: Instant,
  request: { readonly amount: Micro } | { readonly amount?: undefined; readonly model: string | null; readonly operation: string | null },
): Outcome<Terms> {
  const { model: modelId, operation: operationId } = request.amount === undefined ? request : { model: null, operation: null }
  const policy = inForce(book.policies, at)
  const base = {
    policy: policy?.id ?? null,
    minimum: (policy?.minimumCharge ?? DEFAULT_POLICY.minimumCharge).toString(),
    maximum: (policy?.maximumCharge ?? DEFAULT_POLICY.maximumCharge).toString(),
  }
  let model: Terms['model']
  if (modelId !== null) {
    const price = inForce(book.models.get(modelId), at)
    if (!price) return refuse(refusal('unknown_model', `There is no price for model ${modelId}.`))
    if (!price.enabled) return refuse(refusal('model_disabled', `Model ${modelId} is disabled.`))
    const terms = modelTerms(book, at, price)
    if (!terms.ok) return terms
    model = terms.value
  }
  let operation: Terms['operation']
  if (operationId !== null) {
    const price = inForce(book.operations.get(operationId), at)
    if (!price?.enabled) return refuse(refusal('unknown_operation', `There is no price for operation ${operationId}.`))
    operation = { id: price.operation, price: price.id, unit: price.unitCost.toString() }
  }
  return done({ ...base, ...(model && { model }), ...(operation && { operation }) })
}

type ModelTerms = NonNullable<Terms['model']>
const memo = new WeakMap<ModelPrice, ModelTerms>()

/** Exact unit costs of a model. They change only with the price, markup or rate version, so they are worked out once for each. */
function modelTerms(book: PriceBook, at: Instant, price: ModelPrice): Outcome<ModelTerms> {
  const rate = inForce(book.consumptionRates, at)
  if (!rate) return refuse(refusal('rate_missing', 'No exchange rate for consumption is in force.'))
  const markup = inForce(book.markups, at)
  const known = memo.get(price)
  if (known && known.rate === rate.id && known.markup === (markup?.id ?? null)) return done(known)
  const terms: ModelTerms = {
    id: price.model,
    price: price.id,
    markup: markup?.id ?? null,
    rate: rate.id,
    input: ratioText(microPerToken(price.inputUsdPerMillion, markup, rate)),
    output: ratioText(microPerToken(price.outputUsdPerMillion, markup, rate)),
  }
  memo.set(price, terms)
  return done(terms)
}

function ratioText(ratio: Ratio): string {
  return `${ratio.n}/${ratio.d}`
}

function ratioFromText(text: string): Ratio {
  const slash = text.indexOf('/')
  return { n: BigInt(text.slice(0, slash)), d: BigInt(text.slice(slash + 1)) }
}

/** The quote of an amount that the caller states in credits: it costs what it says, without a minimum. */
export function quoteAmount(terms: Terms, amount: Micro, exempt: boolean): Quote {
  return { n: amount.toString(), d: '1', min: '0', exempt, terms }
}

/**
 * The quote of work under given terms, before any minimum. Work that is nothing (no tokens, no units) costs nothing.
 */
export function quoteWork(terms: Terms, work: { units: number | null; usage: Usage | null }, exempt: boolean): Quote {
  let cost = ZERO
  if (terms.model && work.usage) {
    cost = add(cost, scale(ratioFromText(terms.model.input), BigInt(work.usage.input_tokens)))
    cost = add(cost, scale(ratioFromText(terms.model.output), BigInt(work.usage.output_tokens)))
  }
  if (terms.operation && work.units !== null) {
    cost = add(cost, { n: BigInt(terms.operation.unit) * BigInt(work.units), d: 1n })
  }
  const { n, d } = reduce(cost)
  return {
    n: n.toString(),
    d: d.toString(),
    min: '0',
    exempt,
    ...(work.units !== null && { units: work.units }),
    ...(work.usage && { usage: work.usage }),
    terms,
  }
}

/** The same quote with a least cost in micro-credits. */
export function withMinimum(quote: Quote, minimum: Micro): Quote {
  return minimum === 0n ? quote : { ...quote, min: minimum.toString() }
}

/**
 * The quote of a whole piece of work or of a stated amount, as a reservation or a one-shot charge has it: the policy's minimum
 * applies to work that costs anything.
 */
export function quoteWhole(terms: Terms, request: CostRequest, exempt: boolean): Quote {
  if (request.amount !== undefined) return quoteAmount(terms, request.amount, exempt)
  const quote = quoteWork(terms, request, exempt)
  return withMinimum(quote, quote.n === '0' ? 0n : BigInt(terms.minimum))
}

/** Micro-credits: the one rounding of a charge, upwards, so that Farebox never bills less than the exact cost. */
export function costOf(quote: Quote): Micro {
  if (quote.exempt) return 0n
  return max(BigInt(quote.min), ceil({ n: BigInt(quote.n), d: BigInt(quote.d) }))
}

/** A cost above the policy's maximum is refused unless an admin forces it. */
export function exceedsMaximum(terms: Terms, cost: Micro): boolean {
  return cost > BigInt(terms.maximum)
}

/** How many output tokens, or else units, an amount of micro-credits pays for under these terms. Rounded down. */
export function affordable(terms: Terms, work: { units: number | null; usage: Usage | null }, amount: Micro): object | null {
  if (amount < BigInt(terms.minimum)) return terms.model && work.usage ? { output_tokens: 0 } : terms.operation ? { units: 0 } : null
  if (terms.model && work.usage) {
    const unit = ratioFromText(terms.model.output)
    const fixed = quoteWork(terms, { units: work.units, usage: { ...work.usage, output_tokens: 0 } }, false)
    const left: Ratio = { n: amount * BigInt(fixed.d) - BigInt(fixed.n), d: BigInt(fixed.d) }
    if (left.n <= 0n) return { output_tokens: 0 }
    if (unit.n === 0n) return { output_tokens: work.usage.output_tokens }
    const tokens = floor({ n: left.n * unit.d, d: left.d * unit.n })
    return { output_tokens: Math.min(Number(tokens), work.usage.output_tokens) }
  }
  if (terms.operation && work.units !== null) {
    const unit = BigInt(terms.operation.unit)
    return { units: unit === 0n ? work.units : Math.min(Number(amount / unit), work.units) }
  }
  return null
}
