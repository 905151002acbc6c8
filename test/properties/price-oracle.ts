/**
 * What work ought to cost, written from DESIGN §4 and §6 and src/ledger/README.md alone. It shares no code with `src`: no ratios, no
 * frozen figures and no remembered ones. A price list is the versions that were ever set, and an exact cost is one integer, in units
 * of 10⁻⁶⁰ micro-credits.
 */

export const EXACT = 10n ** 60n

/** Counts by pool: what consists of tokens ends in `_tokens`, and the prompt is what begins with `input_` or `cache_` of it. */
export type OUsage = Readonly<Record<string, number>>

/** US dollars by pool, as decimals: for a million of what consists of tokens, for one of anything else. */
export type ORates = Readonly<Record<string, string>>

export type OTier = 'standard' | 'batch' | 'flex' | 'priority'

export interface OVariant {
  readonly tier?: Exclude<OTier, 'standard'>
  readonly above?: number
  /** "HH:MM" in UTC. */
  readonly hours?: { readonly from: string; readonly to: string }
  readonly rates: ORates
}

export type OAlias =
  | { readonly equals: string }
  | { readonly startsWith: string }
  | { readonly endsWith: string }
  | { readonly contains: string }
  | { readonly all: readonly OAlias[] }

interface Dated {
  readonly from: number
}

export interface OModelPrice extends Dated {
  readonly model: string
  readonly provider: string
  readonly rates: ORates
  readonly variants: readonly OVariant[]
  readonly aliases: readonly OAlias[]
  readonly enabled: boolean
}

export interface OOperationPrice extends Dated {
  readonly operation: string
  readonly flat: bigint
  readonly unit: bigint
  readonly enabled: boolean
}

export interface OMarkup extends Dated {
  /** `default`, `provider:…` or `model:…`. */
  readonly scope: string
  readonly percent: string
}

export interface OExchangeRate extends Dated {
  readonly currency: string
  readonly purpose: 'purchase' | 'consumption'
  readonly credits: string
}

export interface OPolicy extends Dated {
  readonly minimum: bigint
  readonly maximum: bigint
  readonly roundTo: bigint
  readonly ownerExempt: boolean
}

/** The prices that were ever set, in the order in which they were. */
export interface OPrices {
  readonly models: OModelPrice[]
  readonly operations: OOperationPrice[]
  readonly markups: OMarkup[]
  readonly rates: OExchangeRate[]
  readonly policies: OPolicy[]
}

/** Why work cannot be priced. */
export class Unpriced extends Error {
  readonly code: string
  constructor(code: string) {
    super(code)
    this.code = code
  }
}

/** The prices of one moment, as the versions that were chosen then. */
export interface OTerms {
  readonly policy: OPolicy
  readonly model: { readonly price: OModelPrice; readonly percent: string; readonly credits: string; readonly at: number } | null
  readonly operation: OOperationPrice | null
}

/** What has no price of its own and is charged as something else. */
const CHARGED_AS: Readonly<Record<string, string>> = {
  cache_read_tokens: 'input_tokens',
  cache_read_audio_tokens: 'input_audio_tokens',
  cache_read_image_tokens: 'input_image_tokens',
  reasoning_tokens: 'output_tokens',
  citation_tokens: 'output_tokens',
}

const NO_POLICY: OPolicy = { from: 0, minimum: 10_000n, maximum: 100_000_000_000n, roundTo: 1n, ownerExempt: true }

/** Of the versions that have begun the one that began last. */
function present<V extends Dated>(versions: readonly V[], at: number): V | undefined {
  let best: V | undefined
  for (const version of versions) if (version.from <= at && (!best || version.from >= best.from)) best = version
  return best
}

export function policyOf(prices: OPrices, at: number): OPolicy {
  return present(prices.policies, at) ?? NO_POLICY
}

/** The model that a name means, at the price of that time. */
export function modelNamed(prices: OPrices, at: number, name: string, provider: string | null): OModelPrice | undefined {
  const now: OModelPrice[] = []
  for (const id of [...new Set(prices.models.map(({ model }) => model))].sort()) {
    const price = present(
      prices.models.filter(({ model }) => model === id),
      at,
    )
    if (price) now.push(price)
  }
  const plain = name.startsWith('models/') ? name.slice('models/'.length) : name
  for (const text of [name, plain, plain.toLowerCase()]) {
    const slash = text.indexOf('/')
    const asked = provider ?? (slash > 0 ? text.slice(0, slash) : null)
    const rest = provider === null && slash > 0 ? text.slice(slash + 1) : text
    const found =
      now.find((price) => price.model === text && (provider === null || price.provider === provider)) ??
      (asked === null ? undefined : servedBy(now, rest, asked)) ??
      // A path with nobody's name before it is only meant by an alias that has it.
      (provider === null ? closest(now.filter(isMakers), text, slash >= 0) : undefined)
    if (found) return found
  }
  return undefined
}

function servedBy(now: readonly OModelPrice[], name: string, provider: string): OModelPrice | undefined {
  const its = now.filter((price) => price.provider === provider)
  const own = its.find((price) => price.model === `${provider}/${name}`) ?? its.find((price) => price.model === name)
  return own ?? closest(its, name)
}

/** What a name without a provider can mean. */
function isMakers({ model, provider }: OModelPrice): boolean {
  return model.indexOf(`${provider}/`) !== 0
}

/** The one with the alias that says most of the name; the first by its id of several. */
function closest(now: readonly OModelPrice[], name: string, isPath = false): OModelPrice | undefined {
  let best: OModelPrice | undefined
  let most = 0
  for (const price of now) {
    for (const alias of price.aliases) {
      if (isPath && !JSON.stringify(alias).includes('/')) continue
      const says = saysOf(alias, name)
      if (says > most) [best, most] = [price, says]
    }
  }
  return best
}

function saysOf(alias: OAlias, name: string): number {
  if ('all' in alias) {
    let sum = 0
    for (const part of alias.all) {
      const says = saysOf(part, name)
      if (says === 0) return 0
      sum += says
    }
    return Math.min(sum, 1e15)
  }
  if ('equals' in alias) return alias.equals === name ? 1e16 : 0
  const [kind, text] = Object.entries(alias)[0] as [string, string]
  const at = kind === 'endsWith' ? name.lastIndexOf(text) : name.indexOf(text)
  const fits = kind === 'startsWith' ? at === 0 : kind === 'endsWith' ? at >= 0 && at + text.length === name.length : at >= 0
  return fits ? text.length : 0
}

/** @throws Unpriced */
export function modelTerms(prices: OPrices, at: number, name: string, provider: string | null): NonNullable<OTerms['model']> {
  const price = modelNamed(prices, at, name, provider)
  if (!price) throw new Unpriced('unknown_model')
  if (!price.enabled) throw new Unpriced('model_disabled')
  const rate = present(
    prices.rates.filter(({ currency, purpose }) => currency === 'USD' && purpose === 'consumption'),
    at,
  )
  if (!rate) throw new Unpriced('rate_missing')
  let percent = '0'
  for (const scope of ['default', `provider:${price.provider}`, `model:${price.model}`]) {
    const markup = present(
      prices.markups.filter((each) => each.scope === scope),
      at,
    )
    if (markup) percent = markup.percent
  }
  return { price, percent, credits: rate.credits, at }
}

/** @throws Unpriced */
export function operationTerms(prices: OPrices, at: number, name: string): OOperationPrice {
  const price = present(
    prices.operations.filter(({ operation }) => operation === name),
    at,
  )
  if (!price?.enabled) throw new Unpriced('unknown_operation')
  return price
}

/** Whether a variant has anything to do with the hour, and whether this one is it. */
function isHourOf({ hours }: OVariant, at: number): boolean {
  if (!hours) return true
  const clock = new Date(at).toISOString().slice(11, 16)
  return hours.from <= hours.to ? hours.from <= clock && clock < hours.to : hours.from <= clock || clock < hours.to
}

/** Tokens of the prompt of every kind, cached or not. */
export function tokensOfPrompt(usage: OUsage): number {
  let sum = 0
  for (const [pool, count] of Object.entries(usage)) if (/^(input|cache)_(.*_)?tokens$/.test(pool)) sum += count
  return sum
}

function ratesFor({ price, at }: NonNullable<OTerms['model']>, usage: OUsage, tier: OTier): ORates {
  let rates = price.rates
  for (const variant of price.variants) {
    const applies =
      (variant.tier === undefined || variant.tier === tier) &&
      (variant.above === undefined || tokensOfPrompt(usage) > variant.above) &&
      isHourOf(variant, at)
    if (applies) rates = { ...rates, ...variant.rates }
  }
  return rates
}

/** A decimal as its digits and how many of them come after the point. */
function digitsOf(decimal: string): [bigint, number] {
  const point = decimal.indexOf('.')
  return point < 0 ? [BigInt(decimal), 0] : [BigInt(decimal.replace('.', '')), decimal.length - point - 1]
}

/** The exact cost of a usage. @throws Unpriced */
function costOfUsage(model: NonNullable<OTerms['model']>, usage: OUsage, tier: OTier): bigint {
  const rates = ratesFor(model, usage, tier)
  const [percent, percentDecimals] = digitsOf(model.percent)
  const [credits, creditsDecimals] = digitsOf(model.credits)
  let sum = 0n
  for (const [pool, count] of Object.entries(usage)) {
    if (count === 0) continue
    const usd = rates[pool] ?? rates[CHARGED_AS[pool] ?? '']
    if (usd === undefined) throw new Unpriced('pool_unpriced')
    const [dollars, dollarDecimals] = digitsOf(usd)
    // A dollar for a million tokens is a millionth of a dollar, and a credit is a million micro-credits.
    const millions = pool.endsWith('_tokens') ? 0 : 6
    const left = 60 + millions - dollarDecimals - creditsDecimals - percentDecimals - 2
    sum += BigInt(count) * dollars * credits * (100n * 10n ** BigInt(percentDecimals) + percent) * 10n ** BigInt(left)
  }
  return sum
}

export interface OWorkDone {
  readonly usage: OUsage | null
  readonly units: number | null
  readonly tier: OTier
  /** What was charged before of a cumulative usage, on top of which `usage` comes. */
  readonly since?: OUsage | null
  /** Whether it is all of the work or the last of it: what is due once for the whole is due now. */
  readonly last: boolean
}

export function together(a: OUsage, b: OUsage): OUsage {
  const sum: Record<string, number> = { ...a }
  for (const [pool, count] of Object.entries(b)) sum[pool] = (sum[pool] ?? 0) + count
  return sum
}

/** The exact cost of work, before any minimum. `notes` gathers what was special about it. @throws Unpriced */
export function exactCost(terms: OTerms, { usage, units, tier, since = null, last }: OWorkDone, notes: Set<string> = new Set()): bigint {
  let exact = 0n
  const { model, operation } = terms
  if (model && usage) {
    const { variants } = model.price
    const mattering = variants.filter((variant) => isHourOf(variant, model.at))
    if (tier !== 'standard' && !mattering.some((variant) => variant.tier === tier)) throw new Unpriced('service_tier_unpriced')
    let more = usage
    const before = since ?? {}
    if (last && usage.requests === undefined && ratesFor(model, together(before, usage), tier).requests !== undefined) {
      more = { ...usage, requests: 1 }
      notes.add('implied request')
    }
    // Where the price depends on the request, all of the usage must have a price, otherwise only what is new of it.
    if (since && mattering.some((variant) => variant.tier !== undefined || variant.above !== undefined)) {
      const all = together(since, more)
      const whole = costOfUsage(model, all, tier)
      const charged = costOfUsage(model, since, tier)
      exact = whole > charged ? whole - charged : 0n
      // By its prices, not its cost: what is new may have none by itself.
      const [asWhole, alone] = [all, more].map((each) => JSON.stringify(ratesFor(model, each, tier)))
      if (asWhole !== alone) notes.add('cumulative usage over a threshold')
      if (whole < charged) notes.add('cheaper as a whole')
    } else exact = costOfUsage(model, more, tier)
    noteRates(model, together(before, more), tier, notes)
  }
  if (operation && units !== null) {
    exact += operation.unit * BigInt(units) * EXACT
    if (last && operation.flat > 0n) {
      exact += operation.flat * EXACT
      notes.add('flat cost')
    }
  }
  return exact
}

function noteRates(model: NonNullable<OTerms['model']>, usage: OUsage, tier: OTier, notes: Set<string>): void {
  const rates = ratesFor(model, usage, tier)
  const used = Object.keys(usage).filter((pool) => usage[pool] !== 0)
  if (used.some((pool) => rates[pool] === undefined)) notes.add('priced as another pool')
  if (Object.keys(usage).some((pool) => usage[pool] === 0 && rates[pool] === undefined && CHARGED_AS[pool] === undefined))
    notes.add('zero of an unpriced pool')
  if (tier !== 'standard') notes.add('service tier')
  for (const variant of model.price.variants) {
    if (variant.hours) notes.add(isHourOf(variant, model.at) ? 'in hours' : 'out of hours')
    if (variant.above !== undefined) notes.add(tokensOfPrompt(usage) > variant.above ? 'long prompt' : 'short prompt')
  }
}

/** Micro-credits: rounded up once, to a multiple of what the policy says, and no less than the minimum that is due. */
export function rounded(exact: bigint, roundTo: bigint, minimum: bigint): bigint {
  const step = roundTo * EXACT
  const up = (exact / step + (exact % step > 0n ? 1n : 0n)) * roundTo
  return up < minimum ? minimum : up
}
