import type { Pool } from '../pools.ts'
import type { PriceVariant } from '../prices.ts'
import { type Capability, ListBuilder, type Listed, listingOf, type PriceList } from './listing.ts'
import { capabilitiesOf } from './modalities.ts'
import { MODEL_ID, modelId } from './names.ts'
import { countOrNull, decimalTimes, type Fields, fieldsOf, notThisList, parseSource, Skip, textsOf } from './source.ts'
import type { Collected } from './variants.ts'

const NAME = 'OpenRouter'
const PROVIDER = 'openrouter'

/** USD per token, which is a millionth of our rate. */
const PER_TOKEN: ReadonlyMap<string, Pool> = new Map([
  ['prompt', 'input_tokens'],
  ['completion', 'output_tokens'],
  ['internal_reasoning', 'reasoning_tokens'],
  ['input_cache_read', 'cache_read_tokens'],
  ['input_cache_write', 'cache_write_5m_tokens'],
  ['input_cache_write_1h', 'cache_write_1h_tokens'],
  ['audio', 'input_audio_tokens'],
  ['input_audio_cache', 'cache_read_audio_tokens'],
  ['audio_output', 'output_audio_tokens'],
  ['image_token', 'input_image_tokens'],
])

/** USD for one, as our rates are. */
const PER_ONE: ReadonlyMap<string, Pool> = new Map([
  ['request', 'requests'],
  ['web_search', 'searches'],
])

/** USD. An image below this is priced by its tokens: as an image it would be absurdly cheap, as a token still dear. */
const OUTPUT_IMAGE_USD_MIN_MILLIONTHS = 1_000

const CAPABILITY_OF_PARAMETER: ReadonlyMap<string, Capability> = new Map([
  ['include_reasoning', 'reasoning'],
  ['reasoning', 'reasoning'],
  ['structured_outputs', 'json_schema'],
  ['tools', 'tools'],
  ['web_search_options', 'web_search'],
] as const)

/**
 * OpenRouter's answer to `GET /api/v1/models`: prices in USD per token as decimal strings. "-1" stands for a price that varies.
 * @throws FareboxError `invalid_json`, `duplicate_json_key`, `price_list_invalid`
 */
export function readOpenrouter(text: string): PriceList {
  const models = fieldsOf(parseSource(text, NAME))?.data
  const entries = Array.isArray(models) ? models.map(fieldsOf) : []
  if (!entries.some((entry) => typeof entry?.id === 'string' && fieldsOf(entry.pricing))) {
    throw notThisList(NAME, 'it must be an object with an array "data" of models, each with an id and a pricing')
  }
  const slugs = slugsOfOne(entries)
  const list = new ListBuilder()
  for (const entry of entries) {
    const id = typeof entry?.id === 'string' ? entry.id : 'a model without an id'
    list.add(id, (note) => listedOf(entry ?? {}, note, slugs))
  }
  return list.done(NAME)
}

/** Dated names that belong to one model only: a free variant has the same one as the model that costs. */
function slugsOfOne(entries: readonly (Fields | null)[]): ReadonlySet<string> {
  const names = entries.flatMap((entry) => [entry?.id, ...(entry?.canonical_slug === entry?.id ? [] : [entry?.canonical_slug])])
  const once = new Set<string>()
  const twice = new Set<string>()
  for (const name of names) if (typeof name === 'string') (once.has(name) ? twice : once).add(name)
  return new Set([...once].filter((name) => !twice.has(name)))
}

function listedOf(entry: Fields, note: (text: string) => void, slugs: ReadonlySet<string>): Listed[] {
  if (typeof entry.id !== 'string') throw new Skip('a model without an id')
  const model = modelId(PROVIDER, entry.id)
  const { overrides, ...pricing } = fieldsOf(entry.pricing) ?? {}
  const unread: string[] = []
  const rates = ratesFrom(pricing, pricing, unread)
  const variants = variantsFrom(overrides, pricing, unread)
  // The prices outside of all overrides are those of the hour at which the list was fetched, so that they would change from fetch to fetch.
  const firstHours = variants.find((variant) => variant.hours && variant.abovePromptTokens === undefined)
  const { context_length, architecture, canonical_slug: slug } = entry
  const modalities = fieldsOf(architecture)
  const limits = fieldsOf(entry.top_provider)
  const listing = listingOf({
    model,
    provider: PROVIDER,
    rates: { ...rates, ...firstHours?.rates },
    variants,
    aliases: typeof slug === 'string' && slug !== entry.id && slugs.has(slug) && MODEL_ID.test(slug) ? [{ equals: slug }] : [],
    contextWindow: countOrNull(context_length) ?? countOrNull(limits?.context_length),
    maxOutputTokens: countOrNull(limits?.max_completion_tokens),
    capabilities: [
      ...capabilitiesOf(textsOf(modalities?.input_modalities), textsOf(modalities?.output_modalities)),
      ...textsOf(entry.supported_parameters).flatMap((parameter) => CAPABILITY_OF_PARAMETER.get(parameter) ?? []),
      ...(rates.cache_read_tokens === undefined ? [] : (['prompt_caching'] as const)),
    ],
  })
  if (unread.length > 0) note(`not taken over: ${[...new Set(unread)].join(', ')}`)
  return [{ listing, effectiveFrom: null }]
}

/** @param base the model's prices outside of overrides, which tell what `image` counts */
function ratesFrom(pricing: Fields, base: Fields, unread: string[]): Collected {
  const rates: Collected = {}
  for (const [field, value] of Object.entries(pricing)) {
    if (value === null) continue
    const perToken = PER_TOKEN.get(field)
    const perOne = PER_ONE.get(field)
    if (perToken) rates[perToken] = decimalTimes(value, 6)
    else if (perOne) rates[perOne] = decimalTimes(value, 0)
    else if (field === 'image') {
      // Documented as the price of an image, and for models that price images as tokens given as that of a token, the same as of text.
      if (decimalTimes(value, 6) === decimalTimes(base.prompt, 6)) rates.input_image_tokens = decimalTimes(value, 6)
      else rates.input_images = decimalTimes(value, 0)
    } else if (field === 'image_output') {
      const millionths = decimalTimes(value, 6)
      if (Number(millionths) < OUTPUT_IMAGE_USD_MIN_MILLIONTHS) rates.output_image_tokens = millionths
      else rates.output_images = decimalTimes(value, 0)
    } else if (decimalTimes(value, 0) !== '0') unread.push(field)
  }
  return rates
}

/** Prices under conditions. Of several that apply the later one wins, here as there. */
function variantsFrom(overrides: unknown, base: Fields, unread: string[]): PriceVariant[] {
  if (overrides === undefined || overrides === null) return []
  if (!Array.isArray(overrides)) throw new Skip('its overrides are not an array')
  return overrides.map((one: unknown) => {
    const { min_prompt_tokens: least, utc_start: start, utc_end: end, ...rest } = fieldsOf(one) ?? {}
    if (rest.utc_days !== undefined && rest.utc_days !== null) throw new Skip('it has prices for certain days of the week')
    const { utc_days: _, ...prices } = rest
    const isTimed = (start ?? null) !== null || (end ?? null) !== null
    const above = countOrNull(least)
    if ((least ?? null) !== null && above === null) throw new Skip('it has prices from no number of tokens on')
    return {
      ...(above !== null && { abovePromptTokens: above }),
      ...(isTimed && { hours: { from: clockFrom(start), to: clockFrom(end) } }),
      rates: ratesFrom(prices, base, unread),
    }
  })
}

/** A time of day from its digits: 1630 → "16:30", 30 → "00:30". */
function clockFrom(value: unknown): string {
  const digits = typeof value === 'string' && /^[0-9]{1,4}$/.test(value) ? value.padStart(4, '0') : ''
  const time = `${digits.slice(0, 2)}:${digits.slice(2)}`
  if (!/^(?:[01][0-9]|2[0-3]):[0-5][0-9]$/.test(time)) throw new Skip('it has prices at hours that are no times of day')
  return time
}
