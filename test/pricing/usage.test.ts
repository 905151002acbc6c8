import t from 'tap'
import type { Usage } from '../../src/pricing/pools.ts'
import { FORMAT_NAMES, FORMATS, type FormatName, formatOf } from '../../src/pricing/usage/formats.ts'
import { normalise, reportedUsage, toPools } from '../../src/pricing/usage/normalise.ts'
import { reportedModel } from '../../src/pricing/usage/report.ts'

function pools(format: FormatName, usage: unknown): Usage | string {
  const result = normalise(format, usage)
  return result.ok ? result.value : result.refusal.detail
}

/** The pointer of what is wrong, and the detail. */
function refusalOf(format: string, usage: unknown): { code: string; pointer: string | undefined; detail: string } {
  const result = normalise(format, usage)
  if (result.ok) return { code: 'accepted', pointer: undefined, detail: JSON.stringify(result.value) }
  const { code, detail, errors } = result.refusal
  return { code, detail, pointer: errors?.[0]?.pointer }
}

const CHAT = {
  prompt_tokens: 1_200,
  completion_tokens: 300,
  total_tokens: 1_500,
  prompt_tokens_details: { cached_tokens: 1_024, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 192, audio_tokens: 0, accepted_prediction_tokens: 0 },
}

const CASES: { of: string; format: FormatName; usage: unknown; pools: Usage }[] = [
  {
    of: 'OpenAI chat: the details are part of the totals',
    format: 'openai.chat',
    usage: CHAT,
    pools: {
      input_tokens: 176,
      cache_read_tokens: 1_024,
      input_audio_tokens: 0,
      output_tokens: 108,
      reasoning_tokens: 192,
      output_audio_tokens: 0,
    },
  },
  {
    of: 'OpenAI chat without details: what is not reported has no pool',
    format: 'openai.chat',
    usage: { prompt_tokens: 10, completion_tokens: 0, prompt_tokens_details: null, completion_tokens_details: {} },
    pools: { input_tokens: 10, output_tokens: 0 },
  },
  {
    of: 'OpenAI chat with audio and a cache that was written',
    format: 'openai.chat',
    usage: {
      prompt_tokens: 500,
      completion_tokens: 90,
      prompt_tokens_details: { cached_tokens: 100, cache_write_tokens: 150, audio_tokens: 200 },
      completion_tokens_details: { audio_tokens: 60, reasoning_tokens: 20 },
    },
    pools: {
      input_tokens: 50,
      cache_read_tokens: 100,
      cache_write_5m_tokens: 150,
      input_audio_tokens: 200,
      output_tokens: 10,
      reasoning_tokens: 20,
      output_audio_tokens: 60,
    },
  },
  {
    of: 'OpenAI responses',
    format: 'openai.responses',
    usage: {
      input_tokens: 75,
      input_tokens_details: { cached_tokens: 25 },
      output_tokens: 1_186,
      output_tokens_details: { reasoning_tokens: 1_024 },
      total_tokens: 1_261,
    },
    pools: { input_tokens: 50, cache_read_tokens: 25, output_tokens: 162, reasoning_tokens: 1_024 },
  },
  {
    of: 'OpenAI embeddings: no output at all',
    format: 'openai.embeddings',
    usage: { prompt_tokens: 8, total_tokens: 8 },
    pools: { input_tokens: 8 },
  },
  {
    of: 'OpenAI images',
    format: 'openai.images',
    usage: {
      input_tokens: 50,
      input_tokens_details: { text_tokens: 10, image_tokens: 40 },
      output_tokens: 4_160,
      output_tokens_details: { text_tokens: 0, image_tokens: 4_160 },
    },
    pools: { input_tokens: 10, input_image_tokens: 40, output_tokens: 0, output_image_tokens: 4_160 },
  },
  {
    of: 'OpenAI realtime: cached audio is neither cached text nor fresh audio',
    format: 'openai.realtime',
    usage: {
      input_tokens: 1_000,
      input_token_details: {
        text_tokens: 300,
        audio_tokens: 700,
        cached_tokens: 400,
        cached_tokens_details: { text_tokens: 100, audio_tokens: 300, image_tokens: 0 },
      },
      output_tokens: 200,
      output_token_details: { text_tokens: 50, audio_tokens: 150 },
    },
    pools: {
      input_tokens: 200,
      cache_read_tokens: 100,
      input_audio_tokens: 400,
      cache_read_audio_tokens: 300,
      cache_read_image_tokens: 0,
      output_tokens: 50,
      output_audio_tokens: 150,
    },
  },
  {
    of: 'Azure chat',
    format: 'azure.chat',
    usage: CHAT,
    pools: {
      input_tokens: 176,
      cache_read_tokens: 1_024,
      input_audio_tokens: 0,
      output_tokens: 108,
      reasoning_tokens: 192,
      output_audio_tokens: 0,
    },
  },
  {
    of: 'Anthropic: the input leaves out the cache; both lifetimes, a search, and thinking',
    format: 'anthropic',
    usage: {
      input_tokens: 12,
      cache_creation_input_tokens: 3_000,
      cache_read_input_tokens: 20_000,
      cache_creation: { ephemeral_5m_input_tokens: 1_000, ephemeral_1h_input_tokens: 2_000 },
      output_tokens: 700,
      output_tokens_details: { thinking_tokens: 450 },
      server_tool_use: { web_search_requests: 2 },
      service_tier: 'standard',
    },
    pools: {
      input_tokens: 12,
      cache_read_tokens: 20_000,
      cache_write_5m_tokens: 1_000,
      cache_write_1h_tokens: 2_000,
      output_tokens: 250,
      reasoning_tokens: 450,
      searches: 2,
    },
  },
  {
    of: 'Anthropic before it told lifetimes apart: what was written has the usual one',
    format: 'anthropic',
    usage: { input_tokens: 3, cache_creation_input_tokens: 1_956, cache_read_input_tokens: 0, output_tokens: 44, server_tool_use: null },
    pools: { input_tokens: 3, cache_read_tokens: 0, cache_write_5m_tokens: 1_956, output_tokens: 44 },
  },
  {
    of: 'Anthropic with zeros everywhere: they stay',
    format: 'anthropic',
    usage: {
      input_tokens: 0,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
      output_tokens: 0,
    },
    pools: { input_tokens: 0, cache_read_tokens: 0, cache_write_5m_tokens: 0, cache_write_1h_tokens: 0, output_tokens: 0 },
  },
  {
    of: 'Bedrock Converse',
    format: 'aws',
    usage: {
      inputTokens: 40,
      outputTokens: 18,
      cacheReadInputTokens: 900,
      cacheWriteInputTokens: 60,
      totalTokens: 1_018,
      serverToolUsage: {},
    },
    pools: { input_tokens: 40, cache_read_tokens: 900, cache_write_5m_tokens: 60, output_tokens: 18 },
  },
  {
    of: 'Bedrock with the messages of Anthropic',
    format: 'aws.anthropic',
    usage: { input_tokens: 40, output_tokens: 18, cache_read_input_tokens: 900, cache_creation_input_tokens: null },
    pools: { input_tokens: 40, cache_read_tokens: 900, output_tokens: 18 },
  },
  {
    of: 'Google: the candidates leave out the thoughts',
    format: 'google',
    usage: {
      promptTokenCount: 219,
      candidatesTokenCount: 93,
      thoughtsTokenCount: 323,
      totalTokenCount: 635,
      promptTokensDetails: [{ modality: 'TEXT', tokenCount: 219 }],
    },
    pools: { input_tokens: 219, output_tokens: 93, reasoning_tokens: 323 },
  },
  {
    of: 'Google with every modality, a cache and tools: documents are images',
    format: 'google',
    usage: {
      promptTokenCount: 2_000,
      promptTokensDetails: [
        { modality: 'VIDEO', tokenCount: 640 },
        { modality: 'TEXT', tokenCount: 302 },
        { modality: 'AUDIO', tokenCount: 250 },
        { modality: 'IMAGE', tokenCount: 550 },
        { modality: 'DOCUMENT', tokenCount: 258 },
      ],
      cachedContentTokenCount: 500,
      cacheTokensDetails: [
        { modality: 'TEXT', tokenCount: 200 },
        { modality: 'AUDIO', tokenCount: 100 },
        { modality: 'DOCUMENT', tokenCount: 50 },
        { modality: 'VIDEO', tokenCount: 150 },
      ],
      toolUsePromptTokenCount: 119,
      toolUsePromptTokensDetails: [
        { modality: 'TEXT', tokenCount: 100 },
        { modality: 'IMAGE', tokenCount: 19 },
      ],
      candidatesTokenCount: 1_400,
      candidatesTokensDetails: [{ modality: 'IMAGE', tokenCount: 1_290 }, { modality: 'TEXT' }],
    },
    pools: {
      input_tokens: 202,
      cache_read_tokens: 350,
      input_audio_tokens: 150,
      cache_read_audio_tokens: 100,
      input_image_tokens: 777,
      cache_read_image_tokens: 50,
      input_video_tokens: 490,
      output_tokens: 110,
      output_image_tokens: 1_290,
    },
  },
  {
    of: 'Google with one modality listed twice: no item is dropped',
    format: 'google',
    usage: {
      promptTokenCount: 160,
      promptTokensDetails: [{ modality: 'AUDIO', tokenCount: 100 }, { modality: 'AUDIO', tokenCount: 50 }, { tokenCount: 1 }],
    },
    pools: { input_tokens: 10, input_audio_tokens: 150 },
  },
  {
    of: 'xAI chat: the completion leaves out the reasoning',
    format: 'xai.chat',
    usage: {
      prompt_tokens: 32,
      completion_tokens: 9,
      prompt_tokens_details: { text_tokens: 32, cached_tokens: 6 },
      completion_tokens_details: { reasoning_tokens: 233, audio_tokens: 0 },
    },
    pools: { input_tokens: 26, cache_read_tokens: 6, output_tokens: 9, reasoning_tokens: 233, output_audio_tokens: 0 },
  },
  {
    of: "xAI's own API",
    format: 'xai',
    usage: { prompt_tokens: 32, completion_tokens: 9, reasoning_tokens: 233, cached_prompt_text_tokens: 6 },
    pools: { input_tokens: 26, cache_read_tokens: 6, output_tokens: 9, reasoning_tokens: 233 },
  },
  {
    of: 'Perplexity: the completion leaves out reasoning and citations',
    format: 'perplexity',
    usage: { prompt_tokens: 33, completion_tokens: 400, reasoning_tokens: 900, citation_tokens: 7_000, num_search_queries: 18 },
    pools: { input_tokens: 33, output_tokens: 400, reasoning_tokens: 900, citation_tokens: 7_000, searches: 18 },
  },
  {
    of: 'Groq: fractions of seconds are none of our counts',
    format: 'groq',
    usage: { prompt_tokens: 774, completion_tokens: 15, prompt_time: 0.021, completion_time: 0.035 },
    pools: { input_tokens: 774, output_tokens: 15 },
  },
  { of: 'Mistral', format: 'mistral', usage: { prompt_tokens: 9, completion_tokens: 1 }, pools: { input_tokens: 9, output_tokens: 1 } },
  { of: 'Mistral OCR', format: 'mistral.ocr', usage: { pages_processed: 29, doc_size_bytes: 3_002_783 }, pools: { pages: 29 } },
  {
    of: 'Cohere by what it bills',
    format: 'cohere',
    usage: { input_tokens: 33, output_tokens: 22 },
    pools: { input_tokens: 33, output_tokens: 22 },
  },
  {
    of: 'Cohere by tokens',
    format: 'cohere.tokens',
    usage: { tokens: { input_tokens: 1_452, output_tokens: 33 }, cached_tokens: 144 },
    pools: { input_tokens: 1_308, cache_read_tokens: 144, output_tokens: 33 },
  },
  { of: 'Cohere rerank', format: 'cohere.rerank', usage: { search_units: 1 }, pools: { searches: 1 } },
  { of: 'Voyage', format: 'voyageai', usage: { total_tokens: 12 }, pools: { input_tokens: 12 } },
  {
    of: 'Modal: reasoning stands beside the totals and is part of them',
    format: 'modal.chat',
    usage: { prompt_tokens: 5, completion_tokens: 50, reasoning_tokens: 40 },
    pools: { input_tokens: 5, output_tokens: 10, reasoning_tokens: 40 },
  },
  {
    of: 'AI SDK 5 with OpenAI',
    format: 'ai_sdk.5',
    usage: { inputTokens: 1_200, outputTokens: 300, totalTokens: 1_500, reasoningTokens: 192, cachedInputTokens: 1_024 },
    pools: { input_tokens: 176, cache_read_tokens: 1_024, output_tokens: 108, reasoning_tokens: 192 },
  },
  {
    of: 'AI SDK 5 with Anthropic: the input leaves out what was cached',
    format: 'ai_sdk.5_anthropic',
    usage: { inputTokens: 12, outputTokens: 300, totalTokens: 312, cachedInputTokens: 1_024 },
    pools: { input_tokens: 12, cache_read_tokens: 1_024, output_tokens: 300 },
  },
  {
    of: 'AI SDK 5 with Google: the output leaves out the thoughts',
    format: 'ai_sdk.5_google',
    usage: { inputTokens: 219, outputTokens: 93, totalTokens: 635, reasoningTokens: 323 },
    pools: { input_tokens: 219, output_tokens: 93, reasoning_tokens: 323 },
  },
  {
    of: 'AI SDK 6: the old members repeat the new ones',
    format: 'ai_sdk.6',
    usage: {
      inputTokens: 27_000,
      inputTokenDetails: { noCacheTokens: 27, cacheReadTokens: 0, cacheWriteTokens: 26_973 },
      outputTokens: 150,
      outputTokenDetails: { textTokens: 100, reasoningTokens: 50 },
      totalTokens: 27_150,
      reasoningTokens: 50,
      cachedInputTokens: 0,
    },
    pools: { input_tokens: 27, cache_read_tokens: 0, cache_write_5m_tokens: 26_973, output_tokens: 100, reasoning_tokens: 50 },
  },
  {
    of: 'AI SDK 6 as the provider gives it to the SDK',
    format: 'ai_sdk.6',
    usage: {
      inputTokens: { total: 100, noCache: 30, cacheRead: 50, cacheWrite: 20 },
      outputTokens: { total: 40, text: 25, reasoning: 15 },
      raw: { input_tokens: 30, output_tokens: 40 },
    },
    pools: { input_tokens: 30, cache_read_tokens: 50, cache_write_5m_tokens: 20, output_tokens: 25, reasoning_tokens: 15 },
  },
  {
    of: 'AI SDK 7',
    format: 'ai_sdk.7',
    usage: { inputTokens: 5, inputTokenDetails: {}, outputTokens: 2, outputTokenDetails: {}, totalTokens: 7 },
    pools: { input_tokens: 5, output_tokens: 2 },
  },
  {
    of: 'AI SDK 7 as the provider gives it to the SDK',
    format: 'ai_sdk.7',
    usage: { inputTokens: { total: 5 }, outputTokens: { total: 2, reasoning: null } },
    pools: { input_tokens: 5, output_tokens: 2 },
  },
  { of: 'AI SDK embeddings', format: 'ai_sdk.embeddings', usage: { tokens: 10 }, pools: { input_tokens: 10 } },
]

for (const { of, format, usage, pools: expected } of CASES) {
  t.test(of, async (t) => {
    t.same(pools(format, usage), expected)
    t.same(pools(format, inBody(format, usage)), expected, 'in its response body too')
  })
}

/** The usage where the first root of its format has it. */
function inBody(format: FormatName, usage: unknown): unknown {
  const steps = FORMATS[format].roots[0]?.split('.') ?? []
  return { id: 'one', ...(steps.reduceRight((inner, step) => ({ [step]: inner }), usage) as object) }
}

t.test('pools exclude each other: their sums are the totals', async (t) => {
  for (const { format, usage, pools: expected } of CASES) {
    const reported = reportedUsage(format, usage)
    if (!reported.ok) return t.fail(reported.refusal.detail)
    const total = (names: (keyof Usage)[]) => names.reduce((sum, name) => sum + (expected[name] ?? 0), 0)
    const names = Object.keys(expected) as (keyof Usage)[]
    const output = names.filter((name) => /^(output|reasoning|citation)/.test(name))
    const input = names.filter((name) => name.endsWith('_tokens') && !output.includes(name))
    t.equal(total(input), reported.value.input_tokens ?? 0, `${format}: the prompt`)
    t.equal(total(output), reported.value.output_tokens ?? 0, `${format}: the answer`)
  }
})

t.test('takes the total of all steps where an AI SDK result has both', async (t) => {
  const step = { inputTokens: 1, outputTokens: 1 }
  t.same(pools('ai_sdk.5', { usage: step, totalUsage: { inputTokens: 3, outputTokens: 2 } }), { input_tokens: 3, output_tokens: 2 })
})

t.test('refuses counts that are none, and says where they are', async (t) => {
  const wrong: [unknown, string][] = [
    [{ ...CHAT, prompt_tokens: '1200' }, '/prompt_tokens'],
    [{ ...CHAT, prompt_tokens: 1_200.5 }, '/prompt_tokens'],
    [{ ...CHAT, prompt_tokens: -1 }, '/prompt_tokens'],
    [{ ...CHAT, prompt_tokens: Number.NaN }, '/prompt_tokens'],
    [{ ...CHAT, prompt_tokens: 2 ** 53 }, '/prompt_tokens'],
    [{ ...CHAT, prompt_tokens: true }, '/prompt_tokens'],
    [{ ...CHAT, prompt_tokens: 12n }, '/prompt_tokens'],
    [{ ...CHAT, prompt_tokens: [1] }, '/prompt_tokens'],
    [{ ...CHAT, completion_tokens_details: { reasoning_tokens: '192' } }, '/completion_tokens_details/reasoning_tokens'],
    [{ ...CHAT, prompt_tokens_details: 7 }, '/prompt_tokens_details'],
    [{ ...CHAT, prompt_tokens_details: [] }, '/prompt_tokens_details'],
    [{ usage: { ...CHAT, completion_tokens: 0.1 } }, '/usage/completion_tokens'],
    [{ ...CHAT, completion_tokens: undefined }, '/completion_tokens'],
    [{ usage: { ...CHAT, completion_tokens: null } }, '/usage/completion_tokens'],
    [{ completion_tokens: 5 }, '/prompt_tokens'],
    [{ usage: [] }, '/usage'],
    [{ usage: null }, '/prompt_tokens'],
    [{ usage: CHAT, prompt_tokens: 3 }, '/prompt_tokens'],
    [[CHAT], ''],
    [null, ''],
    ['usage', ''],
    [Object.create(CHAT), '/prompt_tokens'],
  ]
  for (const [usage, pointer] of wrong) {
    const refusal = refusalOf('openai.chat', usage)
    t.equal(refusal.code, 'invalid_request', refusal.detail)
    t.equal(refusal.pointer, pointer)
  }
  const google = {
    promptTokenCount: 5,
    promptTokensDetails: [
      { modality: 'TEXT', tokenCount: 5 },
      { modality: 'AUDIO', tokenCount: 'x' },
    ],
  }
  t.equal(refusalOf('google', google).pointer, '/promptTokensDetails/1/tokenCount')
  t.equal(refusalOf('google', { usageMetadata: { promptTokensDetails: {} } }).pointer, '/usageMetadata/promptTokensDetails')
  t.equal(refusalOf('google', { promptTokensDetails: ['TEXT'] }).pointer, '/promptTokensDetails/0')
  t.equal(refusalOf('ai_sdk.6', { inputTokens: { noCache: 3 }, outputTokens: { total: 1 } }).pointer, '/inputTokens/total')
  t.equal(refusalOf('ai_sdk.6', { inputTokens: 3, outputTokens: { total: 1 } }).pointer, '/outputTokens')
  t.equal(refusalOf('cohere', { usage: { tokens: { input_tokens: 3 } } }).pointer, '/input_tokens')
})

t.test('says in words what is wrong', async (t) => {
  t.equal(
    refusalOf('openai.chat', { usage: { ...CHAT, prompt_tokens: -1 } }).detail,
    '/usage/prompt_tokens must be a count, a whole number from 0 to 2^53 - 1 (format openai.chat).',
  )
  t.equal(refusalOf('google', { usageMetadata: {} }).detail, '/usageMetadata reports nothing (format google).')
  t.equal(refusalOf('google', {}).detail, 'The usage reports nothing (format google).')
})

t.test('refuses sums that a number cannot hold', async (t) => {
  const most = Number.MAX_SAFE_INTEGER
  t.match(refusalOf('anthropic', { usage: { input_tokens: most, cache_read_input_tokens: 1, output_tokens: 0 } }), {
    code: 'invalid_request',
    pointer: '/usage',
    detail: /too many input_tokens/,
  })
  t.same(pools('openai.chat', { prompt_tokens: most, completion_tokens: 0 }), { input_tokens: most, output_tokens: 0 })
})

t.test('refuses parts that are more than their whole, and names them', async (t) => {
  const details: [FormatName, unknown, string][] = [
    [
      'openai.chat',
      { prompt_tokens: 10, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 11 } },
      'cache_read_tokens (11) exceeds input_tokens (10).',
    ],
    [
      'openai.chat',
      { prompt_tokens: 10, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 6, audio_tokens: 6 } },
      'cache_read_tokens (6) + uncached input_audio_tokens (6) exceed input_tokens (10).',
    ],
    [
      'openai.responses',
      { input_tokens: 10, output_tokens: 5, output_tokens_details: { reasoning_tokens: 6 } },
      'output_reasoning_tokens (6) exceeds output_tokens (5).',
    ],
    [
      'anthropic',
      { input_tokens: 1, output_tokens: 1, cache_creation_input_tokens: 5, cache_creation: { ephemeral_1h_input_tokens: 6 } },
      'cache_write_1h_tokens (6) exceeds cache_write_tokens (5).',
    ],
    [
      'anthropic',
      { input_tokens: 1, output_tokens: 1, cache_creation: { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: 0 } },
      'cache_write_5m_tokens (3) exceeds cache_write_tokens, which the usage does not report.',
    ],
    [
      'google',
      {
        promptTokenCount: 10,
        promptTokensDetails: [{ modality: 'AUDIO', tokenCount: 3 }],
        cachedContentTokenCount: 5,
        cacheTokensDetails: [{ modality: 'AUDIO', tokenCount: 5 }],
      },
      'cache_audio_read_tokens (5) exceeds input_audio_tokens (3).',
    ],
    ['ai_sdk.5', { inputTokens: 12, outputTokens: 3, cachedInputTokens: 1_024 }, 'cache_read_tokens (1024) exceeds input_tokens (12).'],
  ]
  for (const [format, usage, detail] of details) t.same(refusalOf(format, usage), { code: 'invalid_request', detail, pointer: undefined })
})

t.test('counters without tokens are pools as they are, and searches of all kinds one', async (t) => {
  const result = toPools({
    requests: 1,
    web_searches: 2,
    rerank_searches: 3,
    input_audio_seconds: 61,
    input_characters: 0,
    input_document_pages: 4,
  })
  t.same(result, { ok: true, value: { requests: 1, searches: 5, input_seconds: 61, input_characters: 0, pages: 4 } })
})

t.test('an unknown format is refused with the list of those there are', async (t) => {
  for (const name of ['openai', 'OpenAI.chat', '', 'toString', '__proto__']) {
    const refusal = refusalOf(name, CHAT)
    t.equal(refusal.code, 'invalid_request', name)
    t.match(refusal.detail, 'openai.chat, openai.embeddings')
  }
})

t.test('every format reads its own places', async (t) => {
  for (const name of FORMAT_NAMES) {
    const result = reportedUsage(name, {})
    t.match(result, { ok: false, refusal: { code: 'invalid_request' } }, `${name} refuses a usage without anything`)
  }
})

t.test('finds formats by the ids of genai-prices', async (t) => {
  const names: [string, string, string | undefined][] = [
    ['x-ai', 'default', 'xai'],
    ['x-ai', 'chat', 'xai.chat'],
    ['anthropic', 'default', 'anthropic'],
    ['openai', 'responses', 'openai.responses'],
    ['deepseek', 'chat', 'deepseek'],
    ['huggingface_fireworks-ai', 'chat', 'huggingface'],
    ['openai', 'default', undefined],
    ['aws', 'chat', undefined],
    ['nobody', 'chat', undefined],
  ]
  for (const [provider, flavor, name] of names) t.equal(formatOf(provider, flavor), name, `${provider} ${flavor}`)
})

t.test('finds the model in a response body', async (t) => {
  t.equal(reportedModel('openai.chat', { model: 'gpt-4o', usage: CHAT }), 'gpt-4o')
  t.equal(reportedModel('google', { modelVersion: 'gemini-2.5-flash' }), 'gemini-2.5-flash')
  t.equal(reportedModel('ai_sdk.6', { response: { modelId: 'claude-sonnet-4-5' } }), 'claude-sonnet-4-5')
  t.equal(reportedModel('openai.chat', CHAT), undefined)
  t.equal(reportedModel('openai.chat', { model: 7 }), undefined)
  t.equal(reportedModel('ai_sdk.6', { response: 'text' }), undefined)
})
