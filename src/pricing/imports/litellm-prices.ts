import type { Pool } from '../pools.ts'
import type { PriceVariant } from '../prices.ts'
import { decimalTimes, type Fields, fieldsOf, Skip, textsOf } from './source.ts'
import { type Collected, VariantBuilder } from './variants.ts'

/** USD per token, which is a millionth of our rate. */
const PER_TOKEN: ReadonlyMap<string, Pool> = new Map([
  ['input_cost_per_token', 'input_tokens'],
  ['input_cost_per_token_cache_hit', 'cache_read_tokens'],
  ['cache_read_input_token_cost', 'cache_read_tokens'],
  ['cache_creation_input_token_cost', 'cache_write_5m_tokens'],
  ['cache_creation_input_token_cost_above_1hr', 'cache_write_1h_tokens'],
  ['input_cost_per_audio_token', 'input_audio_tokens'],
  ['cache_read_input_audio_token_cost', 'cache_read_audio_tokens'],
  ['input_cost_per_image_token', 'input_image_tokens'],
  ['cache_read_input_image_token_cost', 'cache_read_image_tokens'],
  ['input_cost_per_video_token', 'input_video_tokens'],
  ['output_cost_per_token', 'output_tokens'],
  ['output_cost_per_reasoning_token', 'reasoning_tokens'],
  ['citation_cost_per_token', 'citation_tokens'],
  ['output_cost_per_audio_token', 'output_audio_tokens'],
  ['output_cost_per_image_token', 'output_image_tokens'],
  ['output_cost_per_video_token', 'output_video_tokens'],
])

/** USD for one, as our rates are. */
const PER_ONE: ReadonlyMap<string, Pool> = new Map([
  ['input_cost_per_request', 'requests'],
  ['input_cost_per_query', 'requests'],
  ['input_cost_per_second', 'input_seconds'],
  ['input_cost_per_audio_per_second', 'input_seconds'],
  ['input_cost_per_video_per_second', 'input_seconds'],
  ['output_cost_per_second', 'output_seconds'],
  ['output_cost_per_video_per_second', 'output_seconds'],
  ['input_cost_per_character', 'input_characters'],
  ['output_cost_per_character', 'output_characters'],
  ['input_cost_per_image', 'input_images'],
  ['output_cost_per_image', 'output_images'],
  ['ocr_cost_per_page', 'pages'],
])

const TIER_OF_SUFFIX = { _batches: 'batch', _flex: 'flex', _priority: 'priority' } as const
type Suffix = keyof typeof TIER_OF_SUFFIX
const FIELD = /^(.+?)(?:_above_([0-9]{1,6})(k?)_tokens)?(_batches|_flex|_priority)?$/

/** A price, or something that multiplies one, under whatever name. */
const MONEY = /cost|pricing|multiplier|provider_specific_entry/
/** The same price in Databricks' own unit. */
const SAME_IN_ANOTHER_UNIT = /_dbu_cost_per_token$/

/** The prices of a LiteLLM entry. */
export interface Prices {
  readonly rates: Collected
  readonly variants: PriceVariant[]
  /** Fields with a price that has no pool. */
  readonly unread: string[]
}

/** @throws Skip when the entry has no price that a pool could have, or one that is no price */
export function pricesOf(fields: Fields): Prices {
  const rates: Collected = {}
  const variants = new VariantBuilder()
  const unread: string[] = []
  const priced = Object.entries(fields).filter(([field, value]) => MONEY.test(field) && value !== null)
  for (const [field, value] of priced) {
    // Factors for a region or a speed, among entries that are no prices.
    if (field === 'provider_specific_entry' && !Object.values(fieldsOf(value) ?? {}).some(isNumber)) continue
    if (field === 'search_context_cost_per_query') {
      const search = searchPrice(value)
      if (search === null) unread.push(field)
      else rates.searches = search
      continue
    }
    const [, base = '', threshold, thousand, suffix] = FIELD.exec(field) ?? []
    const pool = poolOf(base, fields)
    if (pool === undefined) {
      if (field !== 'tiered_pricing' && !SAME_IN_ANOTHER_UNIT.test(field) && !isZero(value)) unread.push(field)
      continue
    }
    const rate = decimalTimes(value, PER_TOKEN.has(base) ? 6 : 0)
    const above = threshold === undefined ? undefined : Number(threshold) * (thousand === 'k' ? 1_000 : 1)
    if (above === undefined && suffix === undefined) {
      if (base === 'input_cost_per_token_cache_hit' && rates.cache_read_tokens !== undefined) continue
      rates[pool] = rate
    } else {
      variants.set(suffix === undefined ? undefined : TIER_OF_SUFFIX[suffix as Suffix], above, pool, rate)
    }
  }
  if (Array.isArray(fields.tiered_pricing)) addTiers(fields.tiered_pricing, rates, variants)
  // Zeros stand in the fields for tokens of what is not priced by tokens.
  if (Object.values(rates).every((rate) => rate === '0') && (unread.length > 0 || Object.keys(rates).length === 0)) {
    throw new Skip(unread.length === 0 ? 'it has no price' : `it has no price but ${unread.map(withoutCondition).sort().join(', ')}`)
  }
  return { rates, variants: variants.done(), unread }
}

function withoutCondition(field: string): string {
  return FIELD.exec(field)?.[1] ?? field
}

/** The pool of a field's price, or undefined where there is none that would say the same. */
function poolOf(base: string, fields: Fields): Pool | undefined {
  const pool = PER_TOKEN.get(base) ?? PER_ONE.get(base)
  // A second of sound and a second of film share one pool, and with two prices neither would be right.
  if (pool === 'input_seconds' || pool === 'output_seconds') {
    const prices = [...PER_ONE].filter(([field, itsPool]) => itsPool === pool && fields[field] !== undefined && fields[field] !== null)
    return new Set(prices.map(([field]) => fields[field])).size > 1 ? undefined : pool
  }
  // Image generators once had the price of a finished image under this name.
  if (base === 'input_cost_per_image' && fields.mode === 'image_generation' && fields.output_cost_per_image === undefined)
    return 'output_images'
  return pool
}

/** USD for one web search, at the usual amount of context. */
function searchPrice(value: unknown): string | null {
  const sizes = fieldsOf(value)
  if (sizes === null) return decimalTimes(value, 0)
  const prices = Object.values(sizes)
  const price = sizes.search_context_size_medium ?? (new Set(prices).size === 1 ? prices[0] : undefined)
  return price === undefined ? null : decimalTimes(price, 0)
}

/**
 * Prices by the length of the prompt, which hold for the whole request. What a tier leaves out costs what it is part of costs in that
 * tier.
 */
function addTiers(tiers: readonly unknown[], rates: Collected, variants: VariantBuilder): void {
  let end = '0'
  let known: Collected = rates
  for (const [index, tier] of tiers.entries()) {
    const { range, ...prices } = fieldsOf(tier) ?? {}
    const [from, to] = textsOf(range).map((bound) => decimalTimes(bound, 0))
    if (from === undefined || to === undefined || from !== end || from.includes('.'))
      throw new Skip('its tiers are not by the length of the prompt')
    end = to
    const own: Collected = {}
    for (const [field, value] of Object.entries(prices)) {
      const pool = PER_TOKEN.get(field)
      if (pool === undefined) throw new Skip('its tiers have prices that are not for tokens')
      own[pool] = decimalTimes(value, 6)
    }
    for (const pool of Object.keys(known) as Pool[]) {
      const implied = pool.startsWith('cache_') ? own.input_tokens : pool === 'reasoning_tokens' ? own.output_tokens : undefined
      if (own[pool] === undefined && implied !== undefined) own[pool] = implied
    }
    if (index === 0) Object.assign(rates, own)
    else for (const pool of Object.keys(own) as Pool[]) variants.set(undefined, Number(from), pool, own[pool] as string)
    known = { ...known, ...own }
  }
}

function isNumber(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9.]+$/.test(value)
}

function isZero(value: unknown): boolean {
  return typeof value === 'string' && /^-?[0.]+(?:[eE].*)?$/.test(value)
}
