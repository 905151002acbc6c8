import { type Capability, ListBuilder, type Listed, listingOf, type PriceList } from './listing.ts'
import { pricesOf } from './litellm-prices.ts'
import { capabilitiesOf } from './modalities.ts'
import { acceptableId, isOwnName, modelId, providerOf } from './names.ts'
import { countOrNull, type Fields, fieldsOf, notThisList, parseSource, Skip, textsOf } from './source.ts'

const NAME = 'LiteLLM'

/** Keys of the document that are no models. */
const NOT_MODELS: ReadonlySet<string> = new Set(['sample_spec', 'last_updated'])

const CAPABILITY_OF_MODE: ReadonlyMap<string, readonly Capability[]> = new Map([
  ['embedding', ['embedding']],
  ['rerank', ['rerank']],
  ['moderation', ['moderation']],
  ['ocr', ['ocr']],
  ['search', ['web_search']],
  ['image_generation', ['image_output']],
  ['image_edit', ['image_output', 'vision']],
  ['video_generation', ['video_output']],
  ['audio_transcription', ['audio_input', 'transcription']],
  ['audio_speech', ['audio_output']],
])

const CAPABILITY_OF_FLAG: ReadonlyMap<string, Capability> = new Map([
  ['supports_audio_input', 'audio_input'],
  ['supports_audio_output', 'audio_output'],
  ['supports_computer_use', 'computer_use'],
  ['supports_function_calling', 'tools'],
  ['supports_pdf_input', 'pdf_input'],
  ['supports_prompt_caching', 'prompt_caching'],
  ['supports_reasoning', 'reasoning'],
  ['supports_response_schema', 'json_schema'],
  ['supports_video_input', 'video_input'],
  ['supports_vision', 'vision'],
  ['supports_web_search', 'web_search'],
])

/**
 * LiteLLM's `model_prices_and_context_window.json`: an object of models, prices in USD per token as JSON numbers with exponents.
 * @throws FareboxError `invalid_json`, `duplicate_json_key`, `price_list_invalid`
 */
export function readLitellm(text: string): PriceList {
  const document = fieldsOf(parseSource(text, NAME))
  const models = Object.entries(document ?? {}).filter(([key]) => !NOT_MODELS.has(key))
  if (!models.some(([, value]) => typeof fieldsOf(value)?.litellm_provider === 'string')) {
    throw notThisList(NAME, 'it must be an object of models, each with a litellm_provider')
  }
  const list = new ListBuilder()
  for (const [key, value] of models) list.add(key, (note) => listedOf(key, fieldsOf(value), note))
  return list.done(NAME)
}

function listedOf(key: string, fields: Fields | null, note: (text: string) => void): Listed[] {
  if (typeof fields?.litellm_provider !== 'string') throw new Skip('it has no provider')
  const { model, provider } = nameOf(key, fields.litellm_provider, fields.mode)
  const prices = pricesOf(fields)
  const listing = listingOf({
    model,
    provider,
    ...prices,
    contextWindow: countOrNull(fields.max_input_tokens ?? (fields.max_output_tokens === undefined ? fields.max_tokens : undefined)),
    maxOutputTokens: countOrNull(fields.max_output_tokens),
    capabilities: capabilitiesFrom(fields),
  })
  if (prices.unread.length > 0) note(`not taken over: ${prices.unread.join(', ')}`)
  return [{ listing, effectiveFrom: null }]
}

/** LiteLLM's keys have the provider in front already, except for the oldest providers'. */
function nameOf(key: string, spelling: string, mode: unknown): { model: string; provider: string } {
  const slash = key.indexOf('/')
  const prefix = slash < 0 ? '' : key.slice(0, slash)
  const provider =
    spelling.startsWith('vertex_ai') && prefix !== 'vertex_ai' ? 'google' : providerOf(spelling.replace(/^vertex_ai-.*/, 'vertex_ai'))
  const isPrefixed = prefix !== '' && (prefix === spelling || providerOf(prefix) === provider)
  // "search" alone would name nothing.
  if (isPrefixed && (mode === 'search' || mode === 'vector_store')) return { model: acceptableId(provider, key), provider }
  if (isPrefixed) return { model: modelId(provider, key.slice(slash + 1)), provider }
  return { model: acceptableId(provider, isOwnName(provider, key) ? key : `${provider}/${key}`), provider }
}

function capabilitiesFrom(fields: Fields): Capability[] {
  return [
    ...(typeof fields.mode === 'string' ? (CAPABILITY_OF_MODE.get(fields.mode) ?? []) : []),
    ...[...CAPABILITY_OF_FLAG].flatMap(([flag, capability]) => (fields[flag] === true ? capability : [])),
    ...capabilitiesOf(textsOf(fields.supported_modalities), textsOf(fields.supported_output_modalities)),
  ]
}
