import type { Pool } from '../pools.ts'
import type { PriceVariant } from '../prices.ts'
import { type Capability, ListBuilder, type Listed, listingOf, type PriceList } from './listing.ts'
import { capabilitiesOf } from './modalities.ts'
import { modelId, providerOf } from './names.ts'
import { countOrNull, decimalTimes, type Fields, fieldsOf, notThisList, parseSource, Skip, textsOf } from './source.ts'
import type { Collected } from './variants.ts'

const NAME = 'models.dev'

/** USD per million tokens, as our rates are. */
const POOL_OF_COST: ReadonlyMap<string, Pool> = new Map([
  ['input', 'input_tokens'],
  ['output', 'output_tokens'],
  ['reasoning', 'reasoning_tokens'],
  ['cache_read', 'cache_read_tokens'],
  ['cache_write', 'cache_write_5m_tokens'],
  ['input_audio', 'input_audio_tokens'],
  ['output_audio', 'output_audio_tokens'],
])

const CAPABILITY_OF_FLAG: ReadonlyMap<string, Capability> = new Map([
  ['reasoning', 'reasoning'],
  ['structured_output', 'json_schema'],
  ['tool_call', 'tools'],
] as const)

const OVER_200K = 200_000

/**
 * The `api.json` of models.dev: an object of providers, each with an object of models, prices in USD per million tokens.
 * @throws FareboxError `invalid_json`, `duplicate_json_key`, `price_list_invalid`
 */
export function readModelsDev(text: string): PriceList {
  const providers = Object.entries(fieldsOf(parseSource(text, NAME)) ?? {}).map(([id, value]) => ({
    id,
    models: fieldsOf(fieldsOf(value)?.models),
  }))
  if (!providers.some(({ models }) => models !== null)) {
    throw notThisList(NAME, 'it must be an object of providers, each with an object of models')
  }
  const list = new ListBuilder()
  for (const { id, models } of providers) {
    if (models === null) list.skip(id, 'a provider without models')
    for (const [name, model] of Object.entries(models ?? {})) {
      list.add(`${id}/${name}`, (note) => listedOf(providerOf(id), name, fieldsOf(model) ?? {}, note))
    }
  }
  return list.done(NAME)
}

function listedOf(provider: string, name: string, fields: Fields, note: (text: string) => void): Listed[] {
  const model = modelId(provider, name)
  const cost = fieldsOf(fields.cost)
  if (cost === null) throw new Skip('it has no price')
  const { tiers, context_over_200k: over200k, ...base } = cost
  const unread: string[] = []
  const rates = ratesFrom(base, unread)
  const limit = fieldsOf(fields.limit)
  const modalities = fieldsOf(fields.modalities)
  const listing = listingOf({
    model,
    provider,
    rates,
    // Where there are tiers the other field says the same of them, at a threshold that need not be theirs.
    variants: Array.isArray(tiers) ? tiersFrom(tiers, unread) : over200kFrom(over200k, unread),
    contextWindow: countOrNull(limit?.context),
    maxOutputTokens: countOrNull(limit?.output),
    capabilities: [
      ...capabilitiesOf(textsOf(modalities?.input), textsOf(modalities?.output)),
      ...[...CAPABILITY_OF_FLAG].flatMap(([flag, capability]) => (isSupported(fields[flag]) ? capability : [])),
      ...(rates.cache_read_tokens === undefined ? [] : (['prompt_caching'] as const)),
    ],
  })
  const modes = Object.keys(fieldsOf(fieldsOf(fields.experimental)?.modes) ?? {}).map((mode) => `prices of mode ${mode}`)
  const missing = [...new Set([...unread, ...modes])]
  if (missing.length > 0) note(`not taken over: ${missing.join(', ')}`)
  return [{ listing, effectiveFrom: null }]
}

/** Some capabilities are an object that says more. */
function isSupported(value: unknown): boolean {
  return value === true || fieldsOf(value)?.supported === true
}

function ratesFrom(cost: Fields, unread: string[]): Collected {
  const rates: Collected = {}
  for (const [field, value] of Object.entries(cost)) {
    const pool = POOL_OF_COST.get(field)
    if (value === null) continue
    if (pool) rates[pool] = decimalTimes(value, 0)
    else unread.push(field)
  }
  return rates
}

function over200kFrom(cost: unknown, unread: string[]): PriceVariant[] {
  const fields = fieldsOf(cost)
  return fields === null ? [] : [{ abovePromptTokens: OVER_200K, rates: ratesFrom(fields, unread) }]
}

function tiersFrom(tiers: readonly unknown[], unread: string[]): PriceVariant[] {
  const variants = tiers.map((one) => {
    const { tier, ...cost } = fieldsOf(one) ?? {}
    const condition = fieldsOf(tier)
    const above = countOrNull(condition?.size)
    if (above === null || (condition?.type ?? 'context') !== 'context') throw new Skip('its tiers are not by the length of the prompt')
    return { abovePromptTokens: above, rates: ratesFrom(cost, unread) }
  })
  return variants.sort((a, b) => a.abovePromptTokens - b.abovePromptTokens)
}
