import type { Counter } from './counters.ts'

/**
 * Where each provider puts its counts. The meaning of every entry is a fact about the provider's API; `tools/price-oracle.ts`
 * compares the table with genai-prices (MIT), which keeps the same facts.
 */

/**
 * For each counter the places that add up to it. A dot goes down, `list[field=value]` goes into the items of a list that have this
 * value, and a final `!` marks what the provider always sends: without it the usage is refused.
 */
export type Mappings = Readonly<Partial<Record<Counter, readonly string[]>>>

export interface Format {
  /** Where a response body has the usage object; the first that is there counts. */
  readonly roots: readonly string[]
  /** Where a response body names the model. */
  readonly model: string
  readonly counters: Mappings
  /** The other form that the usage can have: the one with an object at `at`. */
  readonly nested?: { readonly at: string; readonly counters: Mappings }
}

function usage(counters: Mappings, rest: Partial<Format> = {}): Format {
  return { roots: ['usage'], model: 'model', counters, ...rest }
}

// Chat completions. Details are part of the totals.
const CHAT: Mappings = { input_tokens: ['prompt_tokens!'], output_tokens: ['completion_tokens!'] }
const CACHED: Mappings = { cache_read_tokens: ['prompt_tokens_details.cached_tokens'] }
const CACHE_WRITTEN: Mappings = { cache_write_tokens: ['prompt_tokens_details.cache_write_tokens'] }
const REASONING: Mappings = { output_reasoning_tokens: ['completion_tokens_details.reasoning_tokens'] }
const AUDIO_IN: Mappings = { input_audio_tokens: ['prompt_tokens_details.audio_tokens'] }
const AUDIO_OUT: Mappings = { output_audio_tokens: ['completion_tokens_details.audio_tokens'] }

const CHAT_CACHED: Mappings = { ...CHAT, ...CACHED, ...REASONING }
const CHAT_SPOKEN: Mappings = { ...CHAT_CACHED, ...AUDIO_OUT }
const CHAT_AUDIO: Mappings = { ...CHAT_SPOKEN, ...AUDIO_IN }
const CHAT_FULL: Mappings = { ...CHAT_AUDIO, ...CACHE_WRITTEN }

const EMBEDDINGS: Mappings = { input_tokens: ['prompt_tokens!'] }

// Responses.
const RESPONSES: Mappings = { input_tokens: ['input_tokens!'], output_tokens: ['output_tokens!'] }
const RESPONSES_CACHED: Mappings = { ...RESPONSES, cache_read_tokens: ['input_tokens_details.cached_tokens'] }
const RESPONSES_REASONING: Mappings = {
  ...RESPONSES_CACHED,
  output_reasoning_tokens: ['output_tokens_details.reasoning_tokens'],
}
const RESPONSES_FULL: Mappings = {
  ...RESPONSES_REASONING,
  cache_write_tokens: ['input_tokens_details.cache_write_tokens'],
}

// Anthropic's input leaves out what the cache had or was given.
const ANTHROPIC: Mappings = {
  input_tokens: ['input_tokens!', 'cache_creation_input_tokens', 'cache_read_input_tokens'],
  cache_read_tokens: ['cache_read_input_tokens'],
  cache_write_tokens: ['cache_creation_input_tokens'],
  output_tokens: ['output_tokens!'],
}

/** Tokens of some modalities, as Google lists them. It counts the pages of a document as images. */
function google(list: string, ...modalities: ('TEXT' | 'AUDIO' | 'IMAGE' | 'DOCUMENT' | 'VIDEO')[]): string[] {
  return modalities.map((modality) => `${list}[modality=${modality}].tokenCount`)
}

// Google's candidates leave out the thoughts, and its prompt leaves out what tools read.
const GOOGLE: Mappings = {
  input_tokens: ['promptTokenCount', 'toolUsePromptTokenCount'],
  input_text_tokens: [...google('promptTokensDetails', 'TEXT'), ...google('toolUsePromptTokensDetails', 'TEXT')],
  input_audio_tokens: [...google('promptTokensDetails', 'AUDIO'), ...google('toolUsePromptTokensDetails', 'AUDIO')],
  input_image_tokens: [...google('promptTokensDetails', 'IMAGE', 'DOCUMENT'), ...google('toolUsePromptTokensDetails', 'IMAGE', 'DOCUMENT')],
  input_video_tokens: [...google('promptTokensDetails', 'VIDEO'), ...google('toolUsePromptTokensDetails', 'VIDEO')],
  input_tool_tokens: ['toolUsePromptTokenCount'],
  input_text_tool_tokens: google('toolUsePromptTokensDetails', 'TEXT'),
  input_audio_tool_tokens: google('toolUsePromptTokensDetails', 'AUDIO'),
  input_image_tool_tokens: google('toolUsePromptTokensDetails', 'IMAGE', 'DOCUMENT'),
  input_video_tool_tokens: google('toolUsePromptTokensDetails', 'VIDEO'),
  cache_read_tokens: ['cachedContentTokenCount'],
  cache_text_read_tokens: google('cacheTokensDetails', 'TEXT'),
  cache_audio_read_tokens: google('cacheTokensDetails', 'AUDIO'),
  cache_image_read_tokens: google('cacheTokensDetails', 'IMAGE', 'DOCUMENT'),
  cache_video_read_tokens: google('cacheTokensDetails', 'VIDEO'),
  output_tokens: ['candidatesTokenCount', 'thoughtsTokenCount'],
  output_text_tokens: google('candidatesTokensDetails', 'TEXT'),
  output_audio_tokens: google('candidatesTokensDetails', 'AUDIO'),
  output_image_tokens: google('candidatesTokensDetails', 'IMAGE', 'DOCUMENT'),
  output_video_tokens: google('candidatesTokensDetails', 'VIDEO'),
  output_reasoning_tokens: ['thoughtsTokenCount'],
}

// The AI SDK up to 5 passes on what the provider reported, so its counts mean something else with each. From 6 on they are the same
// for all: the details are part of the totals.
const AI_SDK_5: Mappings = {
  input_tokens: ['inputTokens!'],
  cache_read_tokens: ['cachedInputTokens'],
  output_tokens: ['outputTokens!'],
  output_reasoning_tokens: ['reasoningTokens'],
}
const AI_SDK_6: Mappings = {
  input_tokens: ['inputTokens!'],
  cache_read_tokens: ['inputTokenDetails.cacheReadTokens'],
  cache_write_tokens: ['inputTokenDetails.cacheWriteTokens'],
  output_tokens: ['outputTokens!'],
  output_text_tokens: ['outputTokenDetails.textTokens'],
  output_reasoning_tokens: ['outputTokenDetails.reasoningTokens'],
}
/** The usage of a language model provider of version 3 or 4, which the AI SDK 6 and 7 are built on. */
const AI_SDK_PROVIDER: Mappings = {
  input_tokens: ['inputTokens.total!'],
  cache_read_tokens: ['inputTokens.cacheRead'],
  cache_write_tokens: ['inputTokens.cacheWrite'],
  output_tokens: ['outputTokens.total!'],
  output_text_tokens: ['outputTokens.text'],
  output_reasoning_tokens: ['outputTokens.reasoning'],
}

/** `usage` of a result is its last step in the AI SDK 5 and 6, `totalUsage` all of them. */
const AI_SDK: Pick<Format, 'roots' | 'model'> = { roots: ['totalUsage', 'usage'], model: 'response.modelId' }
const AI_SDK_BOTH: Omit<Format, 'counters'> = { ...AI_SDK, nested: { at: 'inputTokens', counters: AI_SDK_PROVIDER } }

/**
 * By name: `provider.flavor`, or the provider alone for its own API or its only one. Many others speak a format of this list, most
 * of them `openai.chat`.
 */
export const FORMATS = {
  'ai_sdk.5': usage(AI_SDK_5, AI_SDK),
  // Of Anthropic and Bedrock, whose input leaves out the cache. It has no cache writes: those are in the provider's metadata.
  'ai_sdk.5_anthropic': usage({ ...AI_SDK_5, input_tokens: ['inputTokens!', 'cachedInputTokens'] }, AI_SDK),
  // Of Google and xAI, whose output leaves out the reasoning.
  'ai_sdk.5_google': usage({ ...AI_SDK_5, output_tokens: ['outputTokens!', 'reasoningTokens'] }, AI_SDK),
  'ai_sdk.6': usage(AI_SDK_6, AI_SDK_BOTH),
  'ai_sdk.7': usage(AI_SDK_6, AI_SDK_BOTH),
  'ai_sdk.embeddings': usage({ input_tokens: ['tokens!'] }, AI_SDK),
  anthropic: usage({
    ...ANTHROPIC,
    cache_write_5m_tokens: ['cache_creation.ephemeral_5m_input_tokens'],
    cache_write_1h_tokens: ['cache_creation.ephemeral_1h_input_tokens'],
    output_reasoning_tokens: ['output_tokens_details.thinking_tokens'],
    web_searches: ['server_tool_use.web_search_requests'],
  }),
  'anthropic.chat': usage({ ...CHAT, ...REASONING, cache_read_tokens: ['cached_tokens'] }),
  aws: usage({
    input_tokens: ['inputTokens!', 'cacheReadInputTokens', 'cacheWriteInputTokens'],
    cache_read_tokens: ['cacheReadInputTokens'],
    cache_write_tokens: ['cacheWriteInputTokens'],
    output_tokens: ['outputTokens!'],
  }),
  'aws.anthropic': usage(ANTHROPIC),
  'azure.anthropic': usage(ANTHROPIC),
  'azure.chat': usage(CHAT_AUDIO),
  'azure.embeddings': usage(EMBEDDINGS),
  'azure.responses': usage(RESPONSES_REASONING),
  cerebras: usage({ ...CHAT, ...REASONING }),
  cohere: usage(RESPONSES, { roots: ['usage.billed_units', 'billed_units'] }),
  'cohere.embeddings': usage({ input_tokens: ['input_tokens!'] }, { roots: ['meta.billed_units', 'billed_units'] }),
  'cohere.rerank': usage({ rerank_searches: ['search_units!'] }, { roots: ['meta.billed_units', 'billed_units'] }),
  'cohere.tokens': usage({
    input_tokens: ['tokens.input_tokens'],
    cache_read_tokens: ['cached_tokens'],
    output_tokens: ['tokens.output_tokens'],
  }),
  deepseek: usage(CHAT_SPOKEN),
  'doubleword.chat': usage({ ...CHAT_CACHED, ...CACHE_WRITTEN }),
  'doubleword.embeddings': usage(EMBEDDINGS),
  'doubleword.responses': usage(RESPONSES_CACHED),
  fireworks: usage(CHAT_SPOKEN),
  google: usage(GOOGLE, { roots: ['usageMetadata'], model: 'modelVersion' }),
  'google.anthropic': usage(ANTHROPIC),
  'google.chat': usage(CHAT_AUDIO),
  groq: usage(CHAT_AUDIO),
  huggingface: usage(CHAT_FULL),
  minimax: usage(ANTHROPIC),
  'minimax.chat': usage(CHAT_CACHED),
  'minimax.responses': usage(RESPONSES_CACHED),
  mistral: usage(CHAT_CACHED),
  'mistral.ocr': usage({ input_document_pages: ['pages_processed!'] }, { roots: ['usage_info'] }),
  'modal.chat': usage({ ...CHAT, ...CACHED, ...CACHE_WRITTEN, output_reasoning_tokens: ['reasoning_tokens'] }),
  'modal.responses': usage(RESPONSES_FULL),
  moonshotai: usage(CHAT_CACHED),
  'openai.chat': usage(CHAT_FULL),
  'openai.embeddings': usage(EMBEDDINGS),
  'openai.images': usage({
    ...RESPONSES,
    input_text_tokens: ['input_tokens_details.text_tokens!'],
    input_image_tokens: ['input_tokens_details.image_tokens!'],
    output_text_tokens: ['output_tokens_details.text_tokens'],
    output_image_tokens: ['output_tokens_details.image_tokens'],
  }),
  'openai.realtime': usage(
    {
      input_tokens: ['input_tokens'],
      input_text_tokens: ['input_token_details.text_tokens'],
      input_audio_tokens: ['input_token_details.audio_tokens'],
      input_image_tokens: ['input_token_details.image_tokens'],
      cache_read_tokens: ['input_token_details.cached_tokens'],
      cache_text_read_tokens: ['input_token_details.cached_tokens_details.text_tokens'],
      cache_audio_read_tokens: ['input_token_details.cached_tokens_details.audio_tokens'],
      cache_image_read_tokens: ['input_token_details.cached_tokens_details.image_tokens'],
      output_tokens: ['output_tokens'],
      output_text_tokens: ['output_token_details.text_tokens'],
      output_audio_tokens: ['output_token_details.audio_tokens'],
    },
    { roots: ['response.usage', 'usage'] },
  ),
  'openai.responses': usage(RESPONSES_FULL),
  openrouter: usage(CHAT_FULL),
  ovhcloud: usage(CHAT_FULL),
  // Its completion leaves out reasoning and citations.
  perplexity: usage({
    ...CHAT,
    output_tokens: ['completion_tokens!', 'reasoning_tokens', 'citation_tokens'],
    output_reasoning_tokens: ['reasoning_tokens'],
    output_citation_tokens: ['citation_tokens'],
    web_searches: ['num_search_queries'],
  }),
  voyageai: usage({ input_tokens: ['total_tokens!'] }),
  // Its completion leaves out the reasoning.
  xai: usage({
    ...CHAT,
    cache_read_tokens: ['cached_prompt_text_tokens'],
    output_tokens: ['completion_tokens!', 'reasoning_tokens'],
    output_reasoning_tokens: ['reasoning_tokens'],
  }),
  'xai.chat': usage({
    ...CHAT_SPOKEN,
    output_tokens: ['completion_tokens!', 'completion_tokens_details.reasoning_tokens'],
  }),
  zai: usage(CHAT_CACHED),
  zhipuai: usage(CHAT_CACHED),
} satisfies Record<string, Format>

export type FormatName = keyof typeof FORMATS

export const FORMAT_NAMES = Object.keys(FORMATS) as [FormatName, ...FormatName[]]

export function isFormatName(name: string): name is FormatName {
  return Object.hasOwn(FORMATS, name)
}

/** Providers whose only API is chat completions, so that their format has the provider's name alone. */
const CHAT_ONLY: ReadonlySet<string> = new Set<FormatName>([
  'cerebras',
  'deepseek',
  'fireworks',
  'huggingface',
  'moonshotai',
  'openrouter',
  'ovhcloud',
  'zai',
  'zhipuai',
])

/** The format of a provider and API flavor by the ids of genai-prices (`x-ai`, `default`), or undefined. */
export function formatOf(providerId: string, flavor: string): FormatName | undefined {
  const provider = providerId === 'x-ai' ? 'xai' : providerId.replace(/^huggingface_.*/, 'huggingface')
  const bare = flavor === 'default' || (flavor === 'chat' && CHAT_ONLY.has(provider))
  const name = bare ? provider : `${provider}.${flavor}`
  return isFormatName(name) ? name : undefined
}
