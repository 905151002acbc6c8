import type { Pool } from '../pools.ts'
import type { Alias } from '../prices.ts'
import { weightOf } from '../resolve.ts'
import { aliasesOf } from './aliases.ts'
import { type Entry, entryFrom, pricesFrom } from './genai-entry.ts'
import { type Capability, ListBuilder, type Listed, listingOf, type PriceList } from './listing.ts'
import { modelId, providerOf } from './names.ts'
import { countOrNull, type Fields, fieldsOf, notThisList, parseSource, Skip, textsOf } from './source.ts'

const NAME = 'genai-prices'

const CAPABILITY_OF_POOL: ReadonlyMap<Pool, Capability> = new Map([
  ['cache_read_tokens', 'prompt_caching'],
  ['input_audio_tokens', 'audio_input'],
  ['input_image_tokens', 'vision'],
  ['input_video_tokens', 'video_input'],
  ['output_audio_tokens', 'audio_output'],
  ['output_image_tokens', 'image_output'],
  ['output_video_tokens', 'video_output'],
  ['reasoning_tokens', 'reasoning'],
  ['searches', 'web_search'],
] as const)

interface Model {
  readonly id: string
  readonly fields: Fields
  readonly aliases: readonly Alias[]
  /** Match clauses that are not among the aliases. */
  readonly untranslated: readonly string[]
}

interface Provider {
  readonly id: string
  readonly fallbacks: readonly string[]
  readonly models: readonly Model[]
}

/**
 * The price list of genai-prices (`prices/new_data/v2/data.json`): providers with models, prices in USD per million tokens, some from a
 * date on and some at certain hours.
 * @throws FareboxError `invalid_json`, `duplicate_json_key`, `price_list_invalid`
 */
export function readGenaiPrices(text: string): PriceList {
  const document = parseSource(text, NAME)
  const list = new ListBuilder()
  const providers = Array.isArray(document) ? document.flatMap((one: unknown, index) => providerFrom(one, index, list)) : []
  if (providers.length === 0) throw notThisList(NAME, 'it must be an array of providers, each with an id and an array of models')
  const byId = new Map(providers.map((provider) => [provider.id, provider]))
  for (const { id, models, fallbacks } of providers) {
    for (const model of models) list.add(`${id}/${model.id}`, (note) => versionsOf(providerOf(id), model, note))
    // A provider serves these providers' models at their prices, but for names that one of its own models has.
    for (const other of fallbacks.flatMap((fallback) => byId.get(fallback)?.models ?? [])) {
      const isOwn = models.some((model) => model.id === other.id || model.aliases.some((alias) => weightOf(alias, other.id) > 0))
      if (!isOwn) list.add(`${id}/${other.id}`, (note) => versionsOf(providerOf(id), other, note))
    }
  }
  return list.done(NAME)
}

function providerFrom(value: unknown, index: number, list: ListBuilder): Provider[] {
  const fields = fieldsOf(value)
  if (typeof fields?.id !== 'string' || !Array.isArray(fields.models)) {
    list.skip(`provider ${index}`, 'a provider without an id or without models')
    return []
  }
  const models: Model[] = []
  for (const one of fields.models) {
    const model = fieldsOf(one)
    if (typeof model?.id === 'string') models.push({ id: model.id, fields: model, ...aliasesOf(model.match, model.id) })
    else list.skip(fields.id, 'a model without an id')
  }
  return [{ id: fields.id, fallbacks: textsOf(fields.fallback_model_providers), models }]
}

/** One version for each date from which other prices hold, the one without a date first. */
function versionsOf(provider: string, { id, fields, aliases, untranslated }: Model, note: (text: string) => void): Listed[] {
  const model = modelId(provider, id)
  const unread = new Set<string>()
  const entries = Array.isArray(fields.prices)
    ? fields.prices.map((entry: unknown) => entryFrom(fieldsOf(entry) ?? {}, unread))
    : [entryFrom({ prices: fields.prices }, unread)]
  const dates = [...new Set(entries.map(({ from }) => from))].filter((from) => from !== null).sort((a, b) => a - b)
  const versions: Listed[] = []
  for (const effectiveFrom of [null, ...dates]) {
    const isActive = ({ from }: Entry) => from === null || (effectiveFrom !== null && from <= effectiveFrom)
    const base = entries.findLastIndex((entry) => entry.hours === null && isActive(entry))
    // Before the first date, where no price is without one.
    if (base < 0) continue
    const later = entries.filter((entry, index) => entry.hours !== null && index > base)
    const { rates, variants, stated } = pricesFrom(entries[base] as Entry, later)
    if (stated.size === 0 && unread.size > 0) throw new Skip(`it has no price but ${[...unread].sort().join(', ')}`)
    const listing = listingOf({
      model,
      provider,
      rates,
      variants,
      aliases,
      contextWindow: countOrNull(fields.context_window),
      maxOutputTokens: null,
      capabilities: [...stated].flatMap((pool) => CAPABILITY_OF_POOL.get(pool) ?? []),
    })
    versions.push({ listing, effectiveFrom })
  }
  if (versions.length === 0) throw new Skip('it has no price')
  for (const name of untranslated) note(`alias not taken over: ${name}`)
  if (unread.size > 0) note(`not taken over: ${[...unread].join(', ')}`)
  return versions
}
