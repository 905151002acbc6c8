import type { Instant } from '../../kernel/time.ts'
import type { Pool, Rates } from '../pools.ts'
import type { PriceVariant } from '../prices.ts'
import { countOrNull, decimalTimes, type Fields, fieldsOf, Skip } from './source.ts'
import { type Collected, differing } from './variants.ts'

/** The unit of a price here: our rates are for a million tokens, and for one of anything else. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ['mtok', 0],
  ['mchars', -6],
  ['kcount', -3],
  ['kpages', -3],
])

const POOL_OF_PRICE: ReadonlyMap<string, Pool> = new Map([
  ['input_mtok', 'input_tokens'],
  ['cache_read_mtok', 'cache_read_tokens'],
  ['cache_write_mtok', 'cache_write_5m_tokens'],
  ['cache_write_5m_mtok', 'cache_write_5m_tokens'],
  ['cache_write_1h_mtok', 'cache_write_1h_tokens'],
  ['input_audio_mtok', 'input_audio_tokens'],
  ['cache_audio_read_mtok', 'cache_read_audio_tokens'],
  ['input_image_mtok', 'input_image_tokens'],
  ['cache_image_read_mtok', 'cache_read_image_tokens'],
  ['input_video_mtok', 'input_video_tokens'],
  ['output_mtok', 'output_tokens'],
  ['output_reasoning_mtok', 'reasoning_tokens'],
  ['output_citation_mtok', 'citation_tokens'],
  ['output_audio_mtok', 'output_audio_tokens'],
  ['output_image_mtok', 'output_image_tokens'],
  ['output_video_mtok', 'output_video_tokens'],
  ['requests_kcount', 'requests'],
  ['rerank_searches_kcount', 'requests'],
  ['web_searches_kcount', 'searches'],
  ['input_mchars', 'input_characters'],
  ['input_document_kpages', 'pages'],
])

/** The price of what our pool for a direction holds, where the rest of that direction has another one. */
const POOL_OF_TEXT_PRICE: ReadonlyMap<string, Pool> = new Map([
  ['input_text_mtok', 'input_tokens'],
  ['output_text_mtok', 'output_tokens'],
] as const)

/**
 * What this list implies: a unit without a price costs what the unit that it is part of costs. In this order: cached sound costs what
 * sound costs only where sound has a price of its own, which has to be asked before it is given one.
 */
const PART_OF: readonly (readonly [part: Pool, whole: Pool])[] = [
  ['cache_read_audio_tokens', 'input_audio_tokens'],
  ['cache_read_audio_tokens', 'cache_read_tokens'],
  ['cache_read_image_tokens', 'input_image_tokens'],
  ['cache_read_image_tokens', 'cache_read_tokens'],
  ['cache_write_5m_tokens', 'input_tokens'],
  ['cache_write_1h_tokens', 'cache_write_5m_tokens'],
  ['input_audio_tokens', 'input_tokens'],
  ['input_image_tokens', 'input_tokens'],
  ['input_video_tokens', 'input_tokens'],
  ['output_audio_tokens', 'output_tokens'],
  ['output_image_tokens', 'output_tokens'],
  ['output_video_tokens', 'output_tokens'],
]

/** One of a model's prices, and when it holds. */
export interface Entry {
  readonly from: Instant | null
  readonly hours: { readonly from: string; readonly to: string } | null
  readonly prices: readonly Price[]
}

interface Price {
  readonly pool: Pool
  readonly base: string
  /** Only for text, so that nothing is implied by it. */
  readonly isText: boolean
  /** By least prompt, ascending. */
  readonly tiers: readonly { readonly above: number; readonly rate: string }[]
}

/**
 * @param unread takes the names of prices that have no pool
 * @throws Skip when the entry cannot be read
 */
export function entryFrom(entry: Fields, unread: Set<string>): Entry {
  const prices: Price[] = []
  const stated = fieldsOf(entry.prices)
  if (stated === null) throw new Skip('its prices are not an object')
  for (const [name, value] of Object.entries(stated)) {
    const pool = POOL_OF_PRICE.get(name) ?? POOL_OF_TEXT_PRICE.get(name)
    if (pool === undefined) unread.add(name)
    // A price for both lifetimes of a cache gives way to one for the shorter.
    else if (name !== 'cache_write_mtok' || stated.cache_write_5m_mtok === undefined) prices.push(priceFrom(pool, name, value))
  }
  const both = stated.cache_write_mtok
  if (both !== undefined && stated.cache_write_5m_mtok !== undefined && stated.cache_write_1h_mtok === undefined) {
    prices.push(priceFrom('cache_write_1h_tokens', 'cache_write_mtok', both))
  }
  return { ...conditionsOf(entry.constraint), prices }
}

function priceFrom(pool: Pool, name: string, value: unknown): Price {
  const power = UNITS.get(name.slice(name.lastIndexOf('_') + 1)) ?? 0
  const isText = POOL_OF_TEXT_PRICE.has(name)
  const fields = fieldsOf(value)
  if (fields === null) return { pool, isText, base: decimalTimes(value, power), tiers: [] }
  if (!Array.isArray(fields.tiers)) throw new Skip('its tiers are not an array')
  const tiers = fields.tiers.map((one: unknown) => {
    const tier = fieldsOf(one)
    const above = countOrNull(tier?.start)
    if (above === null) throw new Skip('a tier begins at no number of tokens')
    return { above, rate: decimalTimes(tier?.price, power) }
  })
  return { pool, isText, base: decimalTimes(fields.base, power), tiers: tiers.sort((a, b) => a.above - b.above) }
}

function conditionsOf(constraint: unknown): Pick<Entry, 'from' | 'hours'> {
  if (constraint === undefined || constraint === null) return { from: null, hours: null }
  const { start_date, start_time, end_time } = fieldsOf(constraint) ?? {}
  if (typeof start_date === 'string' && /^\d{4}-\d{2}-\d{2}$/.test(start_date)) {
    const from = Date.parse(`${start_date}T00:00:00Z`)
    if (!Number.isNaN(from)) return { from, hours: null }
  }
  const hours = { from: minuteFrom(start_time), to: minuteFrom(end_time) }
  if (hours.from !== null && hours.to !== null) return { from: null, hours: { from: hours.from, to: hours.to } }
  throw new Skip('it has prices under a condition that is neither a date nor hours in UTC')
}

/** "00:30:00Z" → "00:30". */
function minuteFrom(value: unknown): string | null {
  const match = typeof value === 'string' ? /^((?:[01][0-9]|2[0-3]):[0-5][0-9]):00Z$/.exec(value) : null
  return match?.[1] ?? null
}

/** The prices of an entry, those for long prompts, and those of the entries that replace it at certain hours. */
export function pricesFrom(entry: Entry, later: readonly Entry[]): { rates: Rates; variants: PriceVariant[]; stated: Set<Pool> } {
  const rates = ratesAbove(entry, 0)
  const variants = longPrompts(entry, rates).map((long): PriceVariant => ({ abovePromptTokens: long.above, rates: long.rates }))
  const pools = new Set(Object.keys(rates) as Pool[])
  for (const other of later) {
    if (other.hours === null) continue
    // At these hours the other entry's prices hold and nothing of this one's, so each pool has to be said.
    const replaced = ratesAbove(other, 0)
    for (const pool of Object.keys(replaced) as Pool[]) pools.add(pool)
    variants.push({ hours: other.hours, rates: complete(replaced, pools) })
    for (const { above, rates } of longPrompts(other, replaced)) variants.push({ hours: other.hours, abovePromptTokens: above, rates })
  }
  return { rates, variants, stated: new Set(entry.prices.map(({ pool }) => pool)) }
}

/** What differs from the step before, for each length of prompt from which it does. */
function longPrompts(entry: Entry, base: Rates): { above: number; rates: Collected }[] {
  const thresholds = [...new Set(entry.prices.flatMap(({ tiers }) => tiers.map(({ above }) => above)))].sort((a, b) => a - b)
  let before: Rates = base
  return thresholds.flatMap((above) => {
    const rates = ratesAbove(entry, above)
    const changed = differing(rates, before)
    before = rates
    return Object.keys(changed).length > 0 ? [{ above, rates: changed }] : []
  })
}

/** All prices for prompts above a length, those that the list implies included. */
function ratesAbove(entry: Entry, above: number): Collected {
  const rates: Collected = {}
  const add = (prices: readonly Price[]) => {
    for (const { pool, base, tiers } of prices) rates[pool] = tiers.findLast((tier) => tier.above <= above)?.rate ?? base
  }
  add(entry.prices.filter(({ isText }) => !isText))
  for (const [part, whole] of PART_OF) {
    const rate = rates[whole]
    if (rates[part] === undefined && rate !== undefined) rates[part] = rate
  }
  add(entry.prices.filter(({ isText }) => isText))
  return rates
}

/** Prices that replace others wholly: what they are silent about costs what it is part of, and nothing where it is part of nothing. */
function complete(rates: Collected, pools: ReadonlySet<Pool>): Collected {
  const all: Collected = { ...rates }
  for (const pool of pools) {
    const isOutput = pool === 'reasoning_tokens' || pool === 'citation_tokens'
    const whole = pool.startsWith('cache_') ? rates.input_tokens : isOutput ? rates.output_tokens : undefined
    all[pool] ??= whole ?? '0'
  }
  return all
}
