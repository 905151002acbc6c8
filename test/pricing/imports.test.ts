import t from 'tap'
import { FareboxError } from '../../src/kernel/errors.ts'
import { aliasesOf, isLinearPattern } from '../../src/pricing/imports/aliases.ts'
import { canonical, isSame } from '../../src/pricing/imports/canonical.ts'
import { readGenaiPrices } from '../../src/pricing/imports/genai-prices.ts'
import { CAPABILITIES, type Listed, type PriceList } from '../../src/pricing/imports/listing.ts'
import { readLitellm } from '../../src/pricing/imports/litellm.ts'
import { readModelsDev } from '../../src/pricing/imports/models-dev.ts'
import { modelId, providerOf } from '../../src/pricing/imports/names.ts'
import { readOpenrouter } from '../../src/pricing/imports/openrouter.ts'
import { type Decided, type ImportOptions, type ImportPlan, planImport, VANISHED } from '../../src/pricing/imports/plan.ts'
import { changesOf, reportOf } from '../../src/pricing/imports/report.ts'
import { BAND_PERCENT, implausible, percentText } from '../../src/pricing/imports/sanity.ts'
import { countOrNull, decimalTimes, parseSource } from '../../src/pricing/imports/source.ts'
import type { Rates } from '../../src/pricing/pools.ts'
import type { ModelListing, ModelPrice } from '../../src/pricing/prices.ts'

const NOW = Date.UTC(2026, 5, 1)
const DAY = 86_400_000

// Decimals.

t.test('moves the decimal point of the source text, never through a float', async (t) => {
  const cases: [value: string, power: number, expected: string][] = [
    ['1.25e-06', 6, '1.25'],
    ['2.5E-7', 6, '0.25'],
    ['0.00003', 6, '30'],
    ['1e-05', 6, '10'],
    ['0.30000000000000004', 0, '0.30000000000000004'],
    ['4.285999999999999e-06', 6, '4.285999999999999'],
    ['0.00000008333333333333334', 6, '0.08333333333333334'],
    ['12', -3, '0.012'],
    ['10', -3, '0.01'],
    ['100.00', 0, '100'],
    ['0.0', 6, '0'],
    ['-0', 0, '0'],
    ['0e99', 0, '0'],
    ['999999999', 0, '999999999'],
    ['1e8', 0, '100000000'],
    ['1e-20', 0, '0.00000000000000000001'],
  ]
  for (const [value, power, expected] of cases) t.equal(decimalTimes(value, power), expected, `${value} × 10^${power}`)
})

t.test('refuses what is no price or cannot be one, each with its reason', async (t) => {
  const cases: [value: unknown, reason: RegExp][] = [
    ['-1', /negative/],
    ['-0.0000001', /negative/],
    ['1e9', /10\^9/],
    ['1e-21', /more than 20 decimals/],
    ['3.3333333333333335e-05', /more than 20 decimals/],
    ['1e9999', /extreme exponent/],
    ['1e99999', /not a number/],
    ['NaN', /not a number/],
    ['', /not a number/],
    ['1,5', /not a number/],
    [' 1', /not a number/],
    ['9'.repeat(101), /not a number/],
    [true, /not a number/],
    [1.5, /not a number/],
  ]
  for (const [value, reason] of cases) t.throws(() => decimalTimes(value, 0), { message: reason }, String(value))
})

t.test('reads numbers as they are written', async (t) => {
  t.same(parseSource('{"a":1.10,"b":[1e-06,-0],"c":"2.50","d":true,"e":null}', 'x'), {
    a: '1.10',
    b: ['1e-06', '-0'],
    c: '2.50',
    d: true,
    e: null,
  })
  t.equal(countOrNull('1000000.0'), 1_000_000)
  for (const value of ['0', '1.5', '-1', 'max tokens', 12, null]) t.equal(countOrNull(value), null, String(value))
})

t.test('says what is wrong with a document, and never takes it for an empty list', async (t) => {
  const readers = { readLitellm, readGenaiPrices, readOpenrouter, readModelsDev }
  const codeOf = (read: (text: string) => PriceList, text: string) => {
    try {
      read(text)
      return 'read'
    } catch (error) {
      return error instanceof FareboxError ? error.refusal.code : String(error)
    }
  }
  const documents = {
    litellm: '{"gpt-x":{"litellm_provider":"openai","input_cost_per_token":1e-06}}',
    genai: '[{"id":"openai","models":[{"id":"gpt-x","match":{"equals":"gpt-x"},"prices":{"input_mtok":1}}]}]',
    openrouter: '{"data":[{"id":"a/b","pricing":{"prompt":"0.000001","completion":"0.000001"}}]}',
    modelsDev: '{"openai":{"id":"openai","models":{"gpt-x":{"id":"gpt-x","cost":{"input":1,"output":2}}}}}',
  }
  const own = [documents.litellm, documents.genai, documents.openrouter, documents.modelsDev]
  for (const [index, [name, read]] of Object.entries(readers).entries()) {
    t.equal(codeOf(read, '{"a":'), 'invalid_json', name)
    t.equal(codeOf(read, ''), 'invalid_json', name)
    t.equal(codeOf(read, '<html>'), 'invalid_json', name)
    t.equal(codeOf(read, '{"a":{"b":1,"b":2}}'), 'duplicate_json_key', name)
    for (const text of ['null', '[]', '{}', '1', '"a"', '{"data":[]}', '[1,2]', '{"a":[1]}'])
      t.equal(codeOf(read, text), 'price_list_invalid', `${name} ${text}`)
    for (const [other, text] of own.entries())
      t.equal(codeOf(read, text), other === index ? 'read' : 'price_list_invalid', `${name} of document ${other}`)
  }
  t.equal(
    codeOf(readOpenrouter, '{"data":[{"id":"a/b","pricing":{"prompt":"-1","completion":"-1"}}]}'),
    'price_list_invalid',
    'nothing of it can be listed',
  )
})

// Names.

t.test('a maker has bare names, anybody else puts the provider in front', async (t) => {
  const cases: [provider: string, name: string, id: string][] = [
    ['openai', 'gpt-4o', 'gpt-4o'],
    ['x-ai', 'grok-4', 'grok-4'],
    ['azure', 'gpt-4o', 'azure/gpt-4o'],
    ['openrouter', 'openai/gpt-4o', 'openrouter/openai/gpt-4o'],
    ['aws', 'anthropic.claude-v2', 'bedrock/anthropic.claude-v2'],
    ['google', 'gemini-2.5-pro', 'gemini-2.5-pro'],
    ['google', 'claude-haiku-4-5', 'google/claude-haiku-4-5'],
    ['perplexity', 'sonar', 'sonar'],
    ['perplexity', 'llama-3.1-70b', 'perplexity/llama-3.1-70b'],
    ['perplexity', 'openai/gpt-5', 'perplexity/openai/gpt-5'],
  ]
  for (const [provider, name, id] of cases) t.equal(modelId(providerOf(provider), name), id)
  t.throws(() => modelId('openrouter', '~openai/gpt-latest '), { message: /requests cannot use/ })
  t.throws(() => modelId('a b', 'c'), { message: /provider/ })
})

t.test('takes over the patterns that are matched in one pass, and no others', async (t) => {
  for (const pattern of ['^gpt-5\\.6-luna-\\d{4}-\\d{2}$', '^x-ai/grok-4\\.3-\\d{8}$', '^gemini-3\\.5-flash-\\d', 'o[134]', '[a-z]{2}-x']) {
    t.ok(isLinearPattern(pattern), pattern)
  }
  for (const pattern of [
    '(a+)+$',
    'a*',
    'a+',
    '.*',
    'a|b',
    '(?:a)',
    '\\w',
    '[^a]',
    '[z-a]',
    'a{2,}',
    '',
    '^$',
    '\\1',
    `${'a'.repeat(201)}`,
  ]) {
    t.notOk(isLinearPattern(pattern), pattern)
  }
})

t.test('turns match clauses into aliases', async (t) => {
  const clause = {
    or: [
      { equals: 'own' },
      { equals: 'other' },
      { starts_with: 'a-' },
      { ends_with: '-b' },
      { regex: '^c-\\d$' },
      { and: [{ contains: 'x' }, { or: [{ contains: 'y' }, { contains: 'z' }] }] },
      { regex: '(?:mi|code)stral' },
      { contains: '' },
    ],
  }
  t.same(aliasesOf(clause, 'own'), {
    aliases: [
      { equals: 'other' },
      { startsWith: 'a-' },
      { endsWith: '-b' },
      { regex: '^c-\\d$' },
      { all: [{ contains: 'x' }, { contains: 'y' }] },
      { all: [{ contains: 'x' }, { contains: 'z' }] },
    ],
    untranslated: ['{"regex":"(?:mi|code)stral"}', '{"contains":""}'],
  })
  t.same(aliasesOf(undefined, 'own').aliases, [])
  const many = { or: Array.from({ length: 201 }, (_, index) => ({ equals: `name-${index}` })) }
  t.same(aliasesOf(many, 'own').aliases, [], 'no model has so many names')
})

// LiteLLM.

function ratesOf(list: PriceList): Record<string, Rates> {
  return Object.fromEntries(list.listed.map(({ listing }) => [listing.model, listing.rates]))
}

t.test('reads LiteLLM: pools, service tiers, long prompts and both', async (t) => {
  const list = readLitellm(`{
    "sample_spec": {"litellm_provider": "one of …", "input_cost_per_token": 0.0},
    "last_updated": "2026-07-24",
    "gpt-x": {
      "litellm_provider": "openai", "mode": "chat", "max_input_tokens": 1e6, "max_output_tokens": 128000, "max_tokens": 128000,
      "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1.5e-05, "cache_read_input_token_cost": 2.5e-07,
      "cache_creation_input_token_cost": 3.125e-06, "cache_creation_input_token_cost_above_1hr": 5e-06,
      "input_cost_per_token_above_272k_tokens": 5e-06, "output_cost_per_token_above_272k_tokens": 2.25e-05,
      "cache_creation_input_token_cost_above_1hr_above_272k_tokens": 1e-05,
      "input_cost_per_token_flex": 1.25e-06, "output_cost_per_token_batches": 7.5e-06,
      "input_cost_per_token_priority": 5e-06, "output_cost_per_token_priority": 3e-05,
      "input_cost_per_token_above_272k_tokens_priority": 1e-05,
      "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_medium": 0.0275, "search_context_size_high": 0.03},
      "supports_function_calling": true, "supports_vision": true, "supports_web_search": false, "supported_modalities": ["text", "audio"],
      "regional_processing_uplift_multiplier_eu": 1.1
    }
  }`)
  t.same(list.skipped, [])
  t.same(list.notes, [{ model: 'gpt-x', note: 'not taken over: regional_processing_uplift_multiplier_eu' }])
  t.same(list.listed, [
    {
      effectiveFrom: null,
      listing: {
        model: 'gpt-x',
        provider: 'openai',
        rates: {
          input_tokens: '2.5',
          cache_read_tokens: '0.25',
          cache_write_5m_tokens: '3.125',
          cache_write_1h_tokens: '5',
          output_tokens: '15',
          searches: '0.0275',
        },
        variants: [
          { abovePromptTokens: 272_000, rates: { input_tokens: '5', cache_write_1h_tokens: '10', output_tokens: '22.5' } },
          { serviceTier: 'batch', rates: { output_tokens: '7.5' } },
          { serviceTier: 'flex', rates: { input_tokens: '1.25' } },
          { serviceTier: 'priority', rates: { input_tokens: '5', output_tokens: '30' } },
          // No price for both at once: the dearer of the two, so that neither condition makes the other cheaper.
          { serviceTier: 'batch', abovePromptTokens: 272_000, rates: { output_tokens: '22.5' } },
          { serviceTier: 'flex', abovePromptTokens: 272_000, rates: { input_tokens: '5' } },
          { serviceTier: 'priority', abovePromptTokens: 272_000, rates: { input_tokens: '10' } },
        ],
        aliases: [],
        contextWindow: 1_000_000,
        maxOutputTokens: 128_000,
        capabilities: ['audio_input', 'tools', 'vision'],
        costTier: 'medium',
        enabled: true,
      },
    },
  ])
})

t.test('reads LiteLLM: what is not counted in tokens', async (t) => {
  const list = readLitellm(`{
    "dall-e-3": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_image": 0.04},
    "gemini/gemini-x": {"litellm_provider": "gemini", "input_cost_per_image": 0.0011, "input_cost_per_character": 2.5e-08, "input_cost_per_token": "1e-6"},
    "whisper-1": {"litellm_provider": "openai", "mode": "audio_transcription", "input_cost_per_second": 0.0001},
    "rerank-v3": {"litellm_provider": "cohere", "mode": "rerank", "input_cost_per_query": 0.002, "input_cost_per_token": 0.0},
    "perplexity/search": {"litellm_provider": "perplexity", "mode": "search", "input_cost_per_query": 0.005},
    "mistral/mistral-ocr": {"litellm_provider": "mistral", "mode": "ocr", "ocr_cost_per_page": 0.004, "annotation_cost_per_page": 0.005},
    "seconds": {"litellm_provider": "bedrock", "input_cost_per_audio_per_second": 0.00014, "input_cost_per_video_per_second": 0.0007, "input_cost_per_token": 1e-06},
    "deep": {"litellm_provider": "deepseek", "input_cost_per_token": 2.8e-07, "input_cost_per_token_cache_hit": 2.8e-08},
    "vertex_ai/claude": {"litellm_provider": "vertex_ai-anthropic_models", "input_cost_per_token": 1e-06},
    "gemini-y": {"litellm_provider": "vertex_ai-language-models", "input_cost_per_token": 1e-06},
    "anthropic.claude": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 1e-06, "provider_specific_entry": {"schema": "titan"}},
    "claude-x": {"litellm_provider": "anthropic", "input_cost_per_token": 1e-06, "provider_specific_entry": {"us": 1.1, "fast": 6.0}}
  }`)
  t.same(ratesOf(list), {
    'dall-e-3': { output_images: '0.04' },
    'gemini-x': { input_tokens: '1', input_characters: '0.000000025', input_images: '0.0011' },
    'whisper-1': { input_seconds: '0.0001' },
    'rerank-v3': { input_tokens: '0', requests: '0.002' },
    'perplexity/search': { requests: '0.005' },
    'mistral-ocr': { pages: '0.004' },
    'bedrock/seconds': { input_tokens: '1' },
    deep: { input_tokens: '0.28', cache_read_tokens: '0.028' },
    'vertex_ai/claude': { input_tokens: '1' },
    'gemini-y': { input_tokens: '1' },
    'bedrock/anthropic.claude': { input_tokens: '1' },
    'claude-x': { input_tokens: '1' },
  })
  t.same(list.notes, [
    { model: 'mistral-ocr', note: 'not taken over: annotation_cost_per_page' },
    { model: 'bedrock/seconds', note: 'not taken over: input_cost_per_audio_per_second, input_cost_per_video_per_second' },
    { model: 'claude-x', note: 'not taken over: provider_specific_entry' },
  ])
  t.same(
    list.listed.map(({ listing }) => listing.provider),
    ['openai', 'google', 'openai', 'cohere', 'perplexity', 'mistral', 'bedrock', 'deepseek', 'vertex_ai', 'google', 'bedrock', 'anthropic'],
  )
})

t.test('reads LiteLLM: tiers by the length of the prompt hold for the whole request', async (t) => {
  const list = readLitellm(`{
    "dashscope/qwen": {"litellm_provider": "dashscope", "tiered_pricing": [
      {"range": [0, 32000.0], "input_cost_per_token": 1e-06, "output_cost_per_token": 5e-06, "cache_read_input_token_cost": 1e-07},
      {"range": [32000.0, 128000.0], "input_cost_per_token": 2e-06, "output_cost_per_token": 9e-06},
      {"range": [128000.0, 1000000.0], "input_cost_per_token": 3e-06, "output_cost_per_token": 15e-06}
    ]},
    "exa/search": {"litellm_provider": "exa", "tiered_pricing": [{"input_cost_per_query": 0.005, "max_results_range": [0, 25]}]},
    "gap": {"litellm_provider": "openai", "tiered_pricing": [{"range": [0, 10], "input_cost_per_token": 1e-06}, {"range": [20, 30], "input_cost_per_token": 1e-06}]}
  }`)
  const [{ listing }] = list.listed as [Listed]
  t.same(listing.rates, { input_tokens: '1', cache_read_tokens: '0.1', output_tokens: '5' })
  t.same(listing.variants, [
    { abovePromptTokens: 32_000, rates: { input_tokens: '2', cache_read_tokens: '2', output_tokens: '9' } },
    { abovePromptTokens: 128_000, rates: { input_tokens: '3', cache_read_tokens: '3', output_tokens: '15' } },
  ])
  t.same(list.skipped, [
    { model: 'exa/search', reason: 'its tiers are not by the length of the prompt' },
    { model: 'gap', reason: 'its tiers are not by the length of the prompt' },
  ])
})

t.test('skips models of LiteLLM that have no price of ours, and says why', async (t) => {
  const list = readLitellm(`{
    "good": {"litellm_provider": "openai", "input_cost_per_token": 1e-06},
    "openai/good": {"litellm_provider": "openai", "input_cost_per_token": 2e-06},
    "pixels": {"litellm_provider": "openai", "input_cost_per_pixel": 1.9e-08, "output_cost_per_token": 0.0},
    "container": {"litellm_provider": "openai", "code_interpreter_cost_per_session": 0.03},
    "dbu": {"litellm_provider": "databricks", "input_dbu_cost_per_token": 1e-06},
    "nothing": {"litellm_provider": "openai", "mode": "chat"},
    "varies": {"litellm_provider": "openai", "input_cost_per_token": -1},
    "tiny": {"litellm_provider": "openai", "input_cost_per_token": 1e-30},
    "huge": {"litellm_provider": "openai", "input_cost_per_token": 1000},
    "word": {"litellm_provider": "openai", "input_cost_per_token": "free"},
    "bedrock/*/x": {"litellm_provider": "bedrock", "input_cost_per_token": 1e-06},
    "rules": {"rules": []},
    "list": []
  }`)
  t.same(ratesOf(list), { good: { input_tokens: '1' } }, 'the first of two with one name stands')
  t.same(Object.fromEntries(list.skipped.map(({ model, reason }) => [model, reason])), {
    'openai/good': 'another model of the list has the same name here',
    pixels: 'it has no price but input_cost_per_pixel',
    container: 'it has no price but code_interpreter_cost_per_session',
    dbu: 'it has no price',
    nothing: 'it has no price',
    varies: 'a price is negative: it varies',
    tiny: 'a price is not representable: it has more than 20 decimals',
    huge: 'a price is not representable: it is 10^9 or more',
    word: 'a price is not a number',
    'bedrock/*/x': 'the model has a name that requests cannot use',
    rules: 'it has no provider',
    list: 'it has no provider',
  })
})

// genai-prices.

const genai = (models: unknown[], rest: object = {}) => JSON.stringify([{ id: 'anthropic', models, ...rest }])
const claude = (prices: unknown, rest: object = {}) => ({ id: 'claude-x', match: { starts_with: 'claude-x' }, prices, ...rest })

t.test('reads genai-prices and says what the list only implies, in tiers alike', async (t) => {
  const tiered = (base: number, price: number) => ({ base, tiers: [{ start: 200_000, price }] })
  const list = readGenaiPrices(
    genai([
      claude(
        {
          input_mtok: tiered(3, 6),
          cache_read_mtok: 0.3,
          cache_write_mtok: tiered(3.75, 7.5),
          output_mtok: tiered(15, 22.5),
          web_searches_kcount: 10,
          requests_kcount: 5,
        },
        { context_window: 200_000, deprecated: true },
      ),
    ]),
  )
  const [{ listing, effectiveFrom }] = list.listed as [Listed]
  t.equal(effectiveFrom, null)
  t.same(listing.rates, {
    input_tokens: '3',
    cache_read_tokens: '0.3',
    cache_write_5m_tokens: '3.75',
    cache_write_1h_tokens: '3.75',
    input_audio_tokens: '3',
    cache_read_audio_tokens: '0.3',
    input_image_tokens: '3',
    cache_read_image_tokens: '0.3',
    input_video_tokens: '3',
    output_tokens: '15',
    output_audio_tokens: '15',
    output_image_tokens: '15',
    output_video_tokens: '15',
    requests: '0.005',
    searches: '0.01',
  })
  t.same(listing.variants, [
    {
      abovePromptTokens: 200_000,
      rates: {
        input_tokens: '6',
        cache_write_5m_tokens: '7.5',
        cache_write_1h_tokens: '7.5',
        input_audio_tokens: '6',
        input_image_tokens: '6',
        input_video_tokens: '6',
        output_tokens: '22.5',
        output_audio_tokens: '22.5',
        output_image_tokens: '22.5',
        output_video_tokens: '22.5',
      },
    },
  ])
  t.match(listing, { aliases: [{ startsWith: 'claude-x' }], contextWindow: 200_000, capabilities: ['prompt_caching', 'web_search'] })
})

t.test('what has a price of its own in genai-prices keeps it', async (t) => {
  const list = readGenaiPrices(
    genai([claude({ input_mtok: 1, input_audio_mtok: 10, cache_read_mtok: 0.5, cache_audio_read_mtok: 2, input_text_mtok: 0.9 })]),
  )
  t.match(list.listed[0]?.listing.rates, {
    input_tokens: '0.9',
    input_audio_tokens: '10',
    input_image_tokens: '1',
    cache_read_audio_tokens: '2',
    cache_write_5m_tokens: '1',
  })
  t.equal(list.listed[0]?.listing.rates.output_tokens, undefined, 'nothing is made of nothing')
  t.equal(list.listed[0]?.listing.rates.output_audio_tokens, undefined)
})

t.test('reads dates and hours of genai-prices', async (t) => {
  const dated = readGenaiPrices(
    genai([
      claude([
        { prices: { input_mtok: 10 } },
        { constraint: { start_date: '2026-09-01' }, prices: { input_mtok: 3 } },
        { constraint: { start_date: '2026-03-13' }, prices: { input_mtok: 5 } },
      ]),
    ]),
  )
  t.same(
    dated.listed.map(({ listing, effectiveFrom }) => [effectiveFrom, listing.rates.input_tokens]),
    [
      [null, '10'],
      // The last entry that holds counts, in the list's order, and that of March stands after that of September.
      [Date.UTC(2026, 2, 13), '5'],
      [Date.UTC(2026, 8, 1), '5'],
    ],
  )
  const hours = readGenaiPrices(
    genai([
      claude([
        { prices: { input_mtok: 0.135, cache_read_mtok: 0.035, output_mtok: 0.55, web_searches_kcount: 10 } },
        {
          constraint: { start_time: '00:30:00Z', end_time: '16:30:00Z' },
          prices: { input_mtok: 0.27, output_mtok: { base: 1.1, tiers: [{ start: 1000, price: 2.2 }] } },
        },
      ]),
    ]),
  )
  const [{ listing }] = hours.listed as [Listed]
  t.match(listing.rates, { input_tokens: '0.135', cache_read_tokens: '0.035', output_tokens: '0.55' })
  t.match(listing.variants, [
    {
      hours: { from: '00:30', to: '16:30' },
      rates: { input_tokens: '0.27', cache_read_tokens: '0.27', output_tokens: '1.1', searches: '0' },
    },
    { hours: { from: '00:30', to: '16:30' }, abovePromptTokens: 1000, rates: { output_tokens: '2.2' } },
  ])
  for (const constraint of [
    { start_date: '2026-13-01' },
    { start_time: '00:30:15Z', end_time: '16:30:00Z' },
    { weekday: 'monday' },
    'always',
  ]) {
    const odd = readGenaiPrices(genai([claude([{ constraint, prices: { input_mtok: 1 } }]), { id: 'claude-y', prices: { input_mtok: 1 } }]))
    t.match(odd.skipped, [{ reason: /neither a date nor hours/ }], JSON.stringify(constraint))
  }
})

t.test('a provider of genai-prices serves the models of its fallbacks, its own first', async (t) => {
  const list = readGenaiPrices(
    JSON.stringify([
      {
        id: 'openai',
        models: [
          { id: 'gpt-x', match: { equals: 'gpt-x' }, prices: { input_mtok: 1 } },
          { id: 'o9', match: { equals: 'o9-1' }, prices: { input_mtok: 2 } },
        ],
      },
      { id: 'anthropic', models: [claude({ input_mtok: 3 })] },
      {
        id: 'azure',
        fallback_model_providers: ['openai', 'anthropic', 'nobody'],
        models: [{ id: 'o9-mini', match: { contains: 'o9' }, prices: { input_mtok: 7 } }],
      },
      {
        id: 'google',
        fallback_model_providers: ['anthropic'],
        models: [{ id: 'claude-w', match: { regex: 'claude-w.*' }, prices: { input_mtok: 8 } }],
      },
      {
        id: 'x-ai',
        models: [
          { id: 'grok-x', match: { equals: 'x-ai/grok-x' }, prices: { input_mtok: 9 } },
          { id: 'free', prices: {} },
          { name: 'nameless' },
        ],
      },
      'nonsense',
    ]),
  )
  t.same(
    list.listed.map(({ listing }) => [listing.model, listing.provider, listing.rates.input_tokens]),
    [
      ['gpt-x', 'openai', '1'],
      ['o9', 'openai', '2'],
      ['claude-x', 'anthropic', '3'],
      ['azure/o9-mini', 'azure', '7'],
      ['azure/gpt-x', 'azure', '1'],
      ['azure/claude-x', 'azure', '3'],
      ['google/claude-w', 'google', '8'],
      ['google/claude-x', 'google', '3'],
      ['grok-x', 'xai', '9'],
    ],
    'azure has an o9 of its own by an alias; Claude is not a name of Google’s',
  )
  t.same(list.notes, [{ model: 'google/claude-w', note: 'alias not taken over: {"regex":"claude-w.*"}' }])
  t.same(
    list.skipped.map(({ reason }) => reason),
    ['a model without an id', 'a provider without an id or without models', 'it has no price'],
  )
})

// OpenRouter and models.dev.

t.test('reads OpenRouter', async (t) => {
  const model = (id: string, pricing: object, rest: object = {}) => ({ id, pricing, ...rest })
  const list = readOpenrouter(
    JSON.stringify({
      data: [
        model(
          'google/gemini-x',
          {
            prompt: '0.00000125',
            completion: '0.00001',
            image: '0.00000125',
            audio: '0.000002',
            internal_reasoning: '0.00001',
            input_cache_read: '0.000000125',
            input_cache_write: '0.00000008333333333333334',
            input_cache_write_1h: '0.0000025',
            web_search: '0.014',
            request: '0.005',
            image_output: '0.00003',
            discount: 0.1,
            overrides: [{ min_prompt_tokens: 200000, prompt: '0.0000025' }],
          },
          {
            canonical_slug: 'google/gemini-x-0101',
            context_length: 1048576,
            top_provider: { max_completion_tokens: 65536 },
            architecture: { input_modalities: ['text', 'image', 'file'], output_modalities: ['text', 'image'] },
            supported_parameters: ['tools', 'structured_outputs', 'include_reasoning', 'seed'],
          },
        ),
        model(
          'a/image',
          { prompt: '0.000001', completion: '0.000001', image: '0.0011', image_output: '0.04' },
          { canonical_slug: 'a/slug' },
        ),
        model('a/image:free', { prompt: '0', completion: '0' }, { canonical_slug: 'a/slug' }),
        model('openrouter/auto', { prompt: '-1', completion: '-1' }),
        model('~google/latest', { prompt: '0.000001', completion: '0.000001' }),
        model('day', { prompt: '1', overrides: [{ utc_days: ['mon'], prompt: '0.1' }] }),
        { pricing: {} },
        null,
      ],
    }),
  )
  const [{ listing }, image, free] = list.listed as [Listed, Listed, Listed]
  t.same(listing, {
    model: 'openrouter/google/gemini-x',
    provider: 'openrouter',
    rates: {
      input_tokens: '1.25',
      cache_read_tokens: '0.125',
      cache_write_5m_tokens: '0.08333333333333334',
      cache_write_1h_tokens: '2.5',
      input_audio_tokens: '2',
      input_image_tokens: '1.25',
      output_tokens: '10',
      reasoning_tokens: '10',
      output_image_tokens: '30',
      requests: '0.005',
      searches: '0.014',
    },
    variants: [{ abovePromptTokens: 200_000, rates: { input_tokens: '2.5' } }],
    aliases: [{ equals: 'google/gemini-x-0101' }],
    contextWindow: 1_048_576,
    maxOutputTokens: 65_536,
    capabilities: ['image_output', 'json_schema', 'pdf_input', 'prompt_caching', 'reasoning', 'tools', 'vision'],
    costTier: 'medium',
    enabled: true,
  })
  t.match(image.listing, { rates: { input_images: '0.0011', output_images: '0.04' }, aliases: [] }, 'two models share the slug')
  t.same(free.listing.rates, { input_tokens: '0', output_tokens: '0' }, 'free models are listed, and then doubted')
  t.same(list.notes, [{ model: 'openrouter/google/gemini-x', note: 'not taken over: discount' }])
  t.same(
    list.skipped.map(({ reason }) => reason),
    [
      'a price is negative: it varies',
      'the model has a name that requests cannot use',
      'it has prices for certain days of the week',
      'a model without an id',
      'a model without an id',
    ],
  )
})

t.test('reads the same of OpenRouter’s hours at whatever hour it was fetched', async (t) => {
  const fetched = (prompt: string) =>
    readOpenrouter(
      JSON.stringify({
        data: [
          {
            id: 'deepseek/x',
            pricing: {
              prompt,
              completion: '0.000001',
              overrides: [
                { utc_start: 30, utc_end: 1630, prompt: '0.00000028' },
                { utc_start: 1630, utc_end: 30, prompt: '0.00000014' },
              ],
            },
          },
        ],
      }),
    ).listed[0]?.listing as ModelListing
  const [day, night] = [fetched('0.00000028'), fetched('0.00000014')]
  t.same(day, night)
  t.same(day.variants, [
    { hours: { from: '00:30', to: '16:30' }, rates: { input_tokens: '0.28' } },
    { hours: { from: '16:30', to: '00:30' }, rates: { input_tokens: '0.14' } },
  ])
})

t.test('reads models.dev', async (t) => {
  const list = readModelsDev(
    JSON.stringify({
      google: {
        id: 'google',
        models: {
          'gemini-x': {
            id: 'gemini-x',
            cost: {
              input: 1.25,
              output: 10,
              reasoning: 12,
              cache_read: 0.125,
              cache_write: 1.5,
              input_audio: 3,
              output_audio: 20,
              context_over_200k: { input: 2.5, output: 15 },
            },
            limit: { context: 1048576, output: 65536 },
            modalities: { input: ['text', 'image', 'pdf'], output: ['text'] },
            tool_call: true,
            reasoning: true,
            structured_output: { supported: true },
          },
        },
      },
      'amazon-bedrock': {
        id: 'amazon-bedrock',
        models: {
          tiered: {
            cost: {
              input: 5,
              output: 30,
              tiers: [
                { input: 20, output: 60, tier: { type: 'context', size: 400000 } },
                { input: 10, output: 45, tier: { size: 272000 } },
              ],
              context_over_200k: { input: 10, output: 45 },
              per_minute: 1,
            },
            experimental: { modes: { fast: { cost: {} } } },
          },
          odd: { cost: { input: 1, output: 1, tiers: [{ input: 2, tier: { type: 'time', size: 1 } }] } },
          unpriced: { limit: {} },
        },
      },
      empty: { id: 'empty' },
    }),
  )
  const [gemini, tiered] = list.listed as [Listed, Listed]
  t.match(gemini.listing, {
    model: 'gemini-x',
    rates: {
      input_tokens: '1.25',
      output_tokens: '10',
      reasoning_tokens: '12',
      cache_read_tokens: '0.125',
      cache_write_5m_tokens: '1.5',
      input_audio_tokens: '3',
      output_audio_tokens: '20',
    },
    variants: [{ abovePromptTokens: 200_000, rates: { input_tokens: '2.5', output_tokens: '15' } }],
    contextWindow: 1_048_576,
    maxOutputTokens: 65_536,
    capabilities: ['json_schema', 'pdf_input', 'prompt_caching', 'reasoning', 'tools', 'vision'],
  })
  t.equal(tiered.listing.model, 'bedrock/tiered')
  t.same(tiered.listing.variants, [
    { abovePromptTokens: 272_000, rates: { input_tokens: '10', output_tokens: '45' } },
    { abovePromptTokens: 400_000, rates: { input_tokens: '20', output_tokens: '60' } },
  ])
  t.same(list.notes, [{ model: 'bedrock/tiered', note: 'not taken over: per_minute, prices of mode fast' }])
  t.same(list.skipped, [
    { model: 'amazon-bedrock/odd', reason: 'its tiers are not by the length of the prompt' },
    { model: 'amazon-bedrock/unpriced', reason: 'it has no price' },
    { model: 'empty', reason: 'a provider without models' },
  ])
})

t.test('capabilities are words of one list', async (t) => {
  t.same([...CAPABILITIES].sort(), [...CAPABILITIES], 'in alphabetical order')
})

// Sanity.

const prices = (rates: Rates, variants: ModelListing['variants'] = []) => ({ rates, variants })
const text = (input: string, output: string) => prices({ input_tokens: input, output_tokens: output })

t.test('a price may move within the band, exactly', async (t) => {
  t.same(implausible(text('2', '10'), text('3', '5'), 50), [], '50 % is not more than 50 %')
  t.same(implausible(text('2', '10'), text('3.00000001', '4.99999999'), 50), [
    'input_tokens 2 → 3.00000001 (+50 %)',
    'output_tokens 10 → 4.99999999 (−50 %)',
  ])
  t.same(implausible(text('2', '10'), text('2.4', '10'), 12.5), ['input_tokens 2 → 2.4 (+20 %)'])
  t.same(implausible(text('2', '10'), text('2', '10.00'), 0), [])
  t.same(implausible(text('2', '10'), text('150', '10'), Number.MAX_SAFE_INTEGER), [], 'a person may mean it')
  t.equal(percentText('3', '4'), '+33.3 %')
})

t.test('nothing becomes free or loses its price unseen', async (t) => {
  t.same(implausible(text('2', '10'), text('2', '0'), 50), ['output_tokens cost 10 and now is free'])
  t.same(implausible(text('2', '10'), text('0', '0'), 50), ['all prices are zero'])
  t.same(implausible(null, text('0', '0'), 50), ['all prices are zero'])
  t.same(implausible(text('0', '0'), text('0', '0'), 50), [], 'somebody has accepted that before')
  t.same(implausible(text('0', '10'), text('1', '10'), 50), ['input_tokens was free and now costs 1'])
  t.same(implausible(null, text('1', '0'), 50), [], 'embeddings have no output')
  t.same(implausible(text('2', '10'), prices({ input_tokens: '2' }), 50), ['output_tokens has no price any more'])
  const audio = (rate: string) => prices({ ...text('2', '10').rates, input_audio_tokens: rate })
  t.same(implausible(audio('8'), text('2', '10'), 50), ['input_audio_tokens has no price any more'])
  t.same(implausible(audio('2'), text('2', '10'), 50), [], 'one that was only that of text')
  t.same(implausible(null, prices({ input_tokens: '3', output_tokens: '0.3' }), 50), [])
})

t.test('a price that a pool borrows counts as its price', async (t) => {
  const cached = prices({ input_tokens: '3', cache_read_tokens: '0.3', output_tokens: '15' })
  t.same(implausible(text('3', '15'), cached, 50), [], 'a new discount')
  t.same(implausible(cached, text('3', '15'), 50), ['cache_read_tokens 0.3 → 3 (+900 %)'], 'a discount that ends')
  const reasoning = prices({ input_tokens: '3', output_tokens: '15', reasoning_tokens: '60' })
  t.same(implausible(text('3', '15'), reasoning, 50), ['reasoning_tokens 15 → 60 (+300 %)'])
  t.same(implausible(text('3', '15'), prices({ ...text('3', '15').rates, searches: '10000' }), 50), ['searches 10000 is unbelievably dear'])
})

t.test('names factors that units differ by, also roughly', async (t) => {
  for (const power of [3, 4, 5, 6, 7]) {
    const up = implausible(text('25', '1'), text(decimalTimes('25', power), '1'), 1e9)
    t.match(up, [new RegExp(`: 10\\^${power} times as much, .*per-token and per-million`)])
    const down = implausible(text('25', '1'), text(decimalTimes('25', -power), '1'), 1e9)
    t.match(down, [new RegExp(`: a 10\\^${power}th, .*per-token and per-million`)])
  }
  t.match(implausible(text('1', '1'), text('1040', '1'), 1e9), [/10\^3/])
  t.same(implausible(text('1', '1'), text('1060', '1'), 1e9), [])
})

t.test('a believable price times or divided by a million is not believable', async (t) => {
  const believable: [pool: keyof Rates, prices: string[]][] = [
    ['input_tokens', ['0.001', '0.0028', '0.15', '3', '600', '999.99']],
    ['output_audio_tokens', ['0.5', '220']],
    ['searches', ['0.0006', '0.05867']],
    ['requests', ['0.002', '0.014']],
    ['input_seconds', ['0.00001111', '0.0455']],
    ['output_seconds', ['0.0000277778', '0.5']],
    ['input_characters', ['0.000000025', '0.00018']],
    ['input_images', ['0.00002', '0.0011']],
    ['output_images', ['0.0006', '0.6']],
    ['pages', ['0.0003', '0.01']],
  ]
  for (const [pool, rates] of believable) {
    for (const rate of rates) {
      t.same(implausible(null, prices({ [pool]: rate }), 50), [], `${pool} ${rate}`)
      t.match(implausible(null, prices({ [pool]: decimalTimes(rate, 6) }), 50), [/unbelievably dear/], `${pool} ${rate} × 10^6`)
      if (decimalTimes(rate, 0).length > 11) continue
      t.match(implausible(null, prices({ [pool]: decimalTimes(rate, -6) }), 50), [/unbelievably cheap/], `${pool} ${rate} ÷ 10^6`)
    }
  }
})

t.test('prices under conditions are compared with those under the same conditions', async (t) => {
  const base = { input_tokens: '3', output_tokens: '15' }
  const long = (input: string) => [{ abovePromptTokens: 200_000, rates: { input_tokens: input } }]
  t.same(implausible(prices(base), prices(base, long('6')), 50), [], 'a new tier is no change')
  t.same(implausible(prices(base, long('6')), prices(base, long('12')), 50), ['above 200000 prompt tokens: input_tokens 6 → 12 (+100 %)'])
  t.same(implausible(prices(base, long('6')), prices(base), 50), [], 'a tier that ends halves the price')
  t.same(implausible(prices(base, long('9')), prices(base), 50), ['above 200000 prompt tokens: input_tokens 9 → 3 (−66.7 %)'])
  t.match(
    implausible(prices(base), prices(base, long('6000000')), 50),
    [/unbelievably dear/, /^above 200000 prompt tokens: .*otherwise 3: .*$/].slice(0, 1),
  )
  t.match(implausible(null, prices(base, [{ serviceTier: 'batch', rates: { input_tokens: '0.003' } }]), 50), [
    /^batch: input_tokens 0.003, otherwise 3: a 10\^3th/,
  ])
  t.same(implausible(null, prices(base, [{ serviceTier: 'batch', rates: { input_tokens: '0' } }]), 50), [
    'batch: input_tokens is free, otherwise 3',
  ])
  const night = (input: string) => [{ hours: { from: '16:30', to: '00:30' }, rates: { input_tokens: input } }]
  t.same(implausible(prices(base, night('1')), prices(base, night('2')), 50), ['16:30–00:30 UTC: input_tokens 1 → 2 (+100 %)'])
})

// Comparison.

t.test('two ways to say the same are the same', async (t) => {
  const one = listing('gpt-x', {
    rates: { input_tokens: '1', output_tokens: '2.50' },
    aliases: [{ equals: 'a' }, { all: [{ contains: 'b' }, { contains: 'c' }] }],
    capabilities: ['tools', 'vision'],
    variants: [{ abovePromptTokens: 5, serviceTier: 'flex', rates: { output_tokens: '1', input_tokens: '2' } }],
  })
  const other = listing('gpt-x', {
    rates: { output_tokens: '2.5', input_tokens: '1.000' },
    aliases: [{ all: [{ contains: 'c' }, { contains: 'b' }] }, { equals: 'a' }],
    capabilities: ['vision', 'tools'],
    variants: [{ rates: { input_tokens: '2.0', output_tokens: '1' }, serviceTier: 'flex', abovePromptTokens: 5 }],
  })
  t.ok(isSame(one, other))
  t.equal(canonical(one), canonical(other))
  t.notOk(isSame(one, { ...other, aliases: [{ startsWith: 'a' }] }))
  t.notOk(isSame(one, { ...other, enabled: false }))
  const [x, y] = [
    { abovePromptTokens: 5, rates: { input_tokens: '1' } },
    { abovePromptTokens: 9, rates: { input_tokens: '2' } },
  ]
  t.notOk(isSame({ ...one, variants: [x, y] }, { ...one, variants: [y, x] }), 'the later variant wins')
})

// Plans.

function listing(model: string, rest: Partial<ModelListing> = {}): ModelListing {
  return {
    model,
    provider: 'openai',
    rates: { input_tokens: '2', output_tokens: '10' },
    variants: [],
    aliases: [],
    contextWindow: null,
    maxOutputTokens: null,
    capabilities: [],
    costTier: 'medium',
    enabled: true,
    ...rest,
  }
}

function rates(input: string, output = '10'): Partial<ModelListing> {
  return { rates: { input_tokens: input, output_tokens: output } }
}

const undated = (one: ModelListing): Listed => ({ listing: one, effectiveFrom: null })

/** A price book that plans are applied to. */
class Book {
  versions = new Map<string, ModelPrice[]>()
  decided: Decided[] = []
  now = NOW
  #ids = 0

  set(one: ModelListing, effectiveFrom = this.now, source = 'manual'): void {
    this.#ids += 1
    const version: ModelPrice = { ...one, id: `price-${this.#ids}`, effectiveFrom, source }
    const all = [...(this.versions.get(one.model) ?? []), version]
    this.versions.set(
      one.model,
      all.sort((a, b) => b.effectiveFrom - a.effectiveFrom),
    )
  }

  plan(listed: readonly Listed[], options: Partial<ImportOptions> = {}): ImportPlan {
    const ours = [...this.versions].flatMap(([model, all]) =>
      all.find(({ effectiveFrom }) => effectiveFrom <= this.now)?.source === 'list' ? [model] : [],
    )
    return planImport(this.versions, listed, {
      source: 'list',
      now: this.now,
      bandPercent: BAND_PERCENT,
      decided: this.decided,
      sourceModels: new Set(ours),
      ...options,
    })
  }

  apply(listed: readonly Listed[]): ImportPlan {
    const plan = this.plan(listed)
    for (const { listing, effectiveFrom } of plan.insert) this.set(listing, effectiveFrom, 'list')
    for (const { listing, effectiveFrom } of plan.quarantine) this.decided.push({ listing, effectiveFrom, state: 'pending' })
    this.now += DAY
    return plan
  }
}

function outcome(plan: ImportPlan): Record<string, unknown> {
  const names = (items: readonly { listing: ModelListing }[]) => items.map((item) => item.listing.model)
  const all = {
    insert: names(plan.insert),
    quarantine: names(plan.quarantine),
    unchanged: plan.unchanged,
    vanished: plan.vanished.map(({ model }) => model),
    pending: names(plan.pending),
    rejected: names(plan.rejected),
    skipped: plan.skipped.map(({ model }) => model),
  }
  return Object.fromEntries(Object.entries(all).filter(([, models]) => models.length > 0))
}

t.test('an import fills an empty book, and the same import again changes nothing', async (t) => {
  const book = new Book()
  const listed = [undated(listing('b')), undated(listing('a', rates('0.15'))), undated(listing('free', rates('0', '0')))]
  const first = book.apply(listed)
  t.same(outcome(first), { insert: ['a', 'b'], quarantine: ['free'] })
  t.match(first.insert, [{ effectiveFrom: NOW, current: null }, { effectiveFrom: NOW }])
  t.match(first.quarantine, [{ effectiveFrom: null, current: null, reasons: ['all prices are zero'] }])
  t.same(outcome(book.apply(listed)), { unchanged: ['a', 'b'], pending: ['free'] })
  const otherwise = [
    undated(listing('a', { rates: { output_tokens: '10.0', input_tokens: '0.150' } })),
    ...listed.slice(2),
    ...listed.slice(0, 1),
  ]
  t.same(outcome(book.apply(otherwise)), { unchanged: ['a', 'b'], pending: ['free'] })
})

t.test('the order of a list makes no difference', async (t) => {
  const book = new Book()
  book.set(listing('c', rates('1')))
  book.set(listing('d'), NOW, 'list')
  book.now += DAY
  const listed = [undated(listing('a')), undated(listing('b', rates('0', '0'))), undated(listing('c', rates('1.2')))]
  t.same(book.plan(listed), book.plan([...listed].reverse()))
})

t.test('a change within the band is taken, another one waits, and the old price stays', async (t) => {
  const book = new Book()
  book.apply([undated(listing('a')), undated(listing('b')), undated(listing('c'))])
  const plan = book.apply([
    undated(listing('a', rates('3'))),
    undated(listing('b', rates('3.1'))),
    undated(listing('c', { capabilities: ['tools'] })),
  ])
  t.same(outcome(plan), { insert: ['a', 'c'], quarantine: ['b'] })
  t.match(plan.quarantine, [{ reasons: ['input_tokens 2 → 3.1 (+55 %)'], current: { rates: { input_tokens: '2' } } }])
  t.equal(book.versions.get('b')?.length, 1)
})

t.test('a mistake of a million either way waits, with history and without', async (t) => {
  const real = ['0.0028', '0.15', '2.5', '75', '600']
  for (const power of [6, -6]) {
    for (const price of real) {
      const wrong = listing('gpt-x', rates(decimalTimes(price, power), price))
      t.same(outcome(new Book().plan([undated(wrong)])), { quarantine: ['gpt-x'] }, `${price} × 10^${power}, new`)
      const book = new Book()
      book.apply([undated(listing('gpt-x', rates(price, price)))])
      const plan = book.plan([undated(wrong)])
      t.same(outcome(plan), { quarantine: ['gpt-x'] }, `${price} × 10^${power}`)
      t.match(plan.quarantine[0]?.reasons, [/10\^6/])
    }
  }
})

t.test('what was rejected or is undecided is not asked again, something else is', async (t) => {
  const book = new Book()
  book.apply([undated(listing('a'))])
  const doubtful = [undated(listing('a', rates('20')))]
  t.same(outcome(book.apply(doubtful)), { quarantine: ['a'] })
  t.same(outcome(book.apply(doubtful)), { pending: ['a'] })
  book.decided = book.decided.map((one) => ({ ...one, state: 'rejected' }))
  t.same(outcome(book.apply(doubtful)), { rejected: ['a'] })
  t.same(outcome(book.apply([undated(listing('a', rates('30')))])), { quarantine: ['a'] })
  t.same(outcome(book.apply([undated(listing('a'))])), { unchanged: ['a'] })
})

t.test('a model that vanished from its list waits for a person; others may have it from elsewhere', async (t) => {
  const book = new Book()
  book.set(listing('by-hand'))
  book.apply([undated(listing('a')), undated(listing('b'))])
  const plan = book.apply([undated(listing('a'))])
  t.same(outcome(plan), { quarantine: ['b'], unchanged: ['a'], vanished: ['b'] })
  t.match(plan.quarantine, [{ reasons: [VANISHED], effectiveFrom: null, listing: { model: 'b', enabled: false } }])
  t.notOk('id' in (plan.quarantine[0]?.listing ?? {}), 'a listing, not a version')
  t.same(outcome(book.apply([undated(listing('a'))])), { unchanged: ['a'], vanished: ['b'], pending: ['b'] })
  book.set(plan.quarantine[0]?.listing as ModelListing, book.now, 'list')
  book.now += DAY
  t.same(outcome(book.apply([undated(listing('a'))])), { unchanged: ['a'] }, 'accepted: it is out of service')
  t.same(outcome(book.apply([undated(listing('a')), undated(listing('b'))])), { unchanged: ['a', 'b'] }, 'and stays so')
})

t.test('a list does not bring back what was disabled', async (t) => {
  const book = new Book()
  book.set(listing('a', { enabled: false }))
  book.now += DAY
  const plan = book.apply([undated(listing('a', rates('2.2')))])
  t.match(plan.insert, [{ listing: { enabled: false, rates: { input_tokens: '2.2' } } }])
})

t.test('dated prices take effect at their time, and are not repeated', async (t) => {
  const [before, autumn, winter] = [Date.UTC(2026, 2, 13), Date.UTC(2026, 8, 1), Date.UTC(2026, 11, 1)]
  const listed: Listed[] = [
    { listing: listing('a', rates('3')), effectiveFrom: winter },
    undated(listing('a', rates('5'))),
    { listing: listing('a', rates('2')), effectiveFrom: before },
    { listing: listing('a', rates('2.5')), effectiveFrom: autumn },
  ]
  const book = new Book()
  const first = book.apply(listed)
  t.same(
    first.insert.map(({ listing, effectiveFrom }) => [listing.rates.input_tokens, effectiveFrom]),
    [
      ['2', NOW],
      ['2.5', autumn],
      ['3', winter],
    ],
    'what holds since March holds from now on, never from the past on',
  )
  t.match(first.skipped, [{ model: 'a', reason: /superseded/ }], 'the price before March has no time left')
  t.same(outcome(book.apply(listed)), { unchanged: ['a'], skipped: ['a'] })
  book.now = autumn + DAY
  t.same(outcome(book.apply(listed)), { unchanged: ['a'], skipped: ['a', 'a'] }, 'also when a date has passed')
})

t.test('a later price is compared with the one before it', async (t) => {
  const [autumn, winter] = [Date.UTC(2026, 8, 1), Date.UTC(2026, 11, 1)]
  const listed = [
    undated(listing('a', rates('2'))),
    { listing: listing('a', rates('3')), effectiveFrom: autumn },
    { listing: listing('a', rates('4.5')), effectiveFrom: winter },
  ]
  t.same(outcome(new Book().plan(listed)), { insert: ['a', 'a', 'a'] }, 'half as much again each time')
  const leap = [undated(listing('a', rates('2'))), { listing: listing('a', rates('4.5')), effectiveFrom: winter }]
  const plan = new Book().plan(leap)
  t.same(outcome(plan), { insert: ['a'], quarantine: ['a'] })
  t.match(plan.quarantine, [{ effectiveFrom: winter, reasons: ['input_tokens 2 → 4.5 (+125 %)'] }])
})

t.test('another price at a time that has one waits', async (t) => {
  const autumn = Date.UTC(2026, 8, 1)
  const book = new Book()
  book.apply([undated(listing('a')), { listing: listing('a', rates('2.5')), effectiveFrom: autumn }])
  const plan = book.plan([undated(listing('a')), { listing: listing('a', rates('2.6')), effectiveFrom: autumn }])
  t.match(plan.quarantine, [{ effectiveFrom: autumn, reasons: ['another version takes effect at the same time'] }])
})

t.test('an old dated price does not replace what somebody set since', async (t) => {
  const before = Date.UTC(2026, 2, 13)
  const book = new Book()
  book.set(listing('a', rates('1.9')), before + DAY)
  const dated = { listing: listing('a', rates('2')), effectiveFrom: before }
  t.match(book.plan([dated]).skipped, [{ model: 'a', reason: /older than the version in force/ }])
  t.same(outcome(book.plan([dated])), { skipped: ['a'] })
  const own = book.plan([dated], { sourceModels: new Set(['a']) })
  t.match(own.insert, [{ effectiveFrom: NOW }], 'unless this list said the other thing')
  t.same(outcome(book.plan([undated(listing('a')), undated(listing('a', rates('7')))])), { insert: ['a'], skipped: ['a'] }, 'listed twice')
})

t.test('real shapes survive a second import', async (t) => {
  const documents: [read: (text: string) => PriceList, text: string][] = [
    [
      readLitellm,
      '{"gpt-x":{"litellm_provider":"openai","input_cost_per_token":2.5e-06,"output_cost_per_token_flex":1e-06,"output_cost_per_token":1e-05}}',
    ],
    [
      readGenaiPrices,
      genai([claude([{ prices: { input_mtok: 2 } }, { constraint: { start_date: '2026-07-01' }, prices: { input_mtok: 3 } }])]),
    ],
    [readOpenrouter, '{"data":[{"id":"a/b","pricing":{"prompt":"0.000001","completion":"0.000002"}}]}'],
    [readModelsDev, '{"xai":{"models":{"grok-x":{"cost":{"input":3,"output":15}}}}}'],
  ]
  for (const [read, text] of documents) {
    const book = new Book()
    t.ok(book.apply(read(text).listed).insert.length > 0)
    t.same(Object.keys(outcome(book.apply(read(text).listed))), ['unchanged'])
  }
})

// Reports.

t.test('reports a plan in lines that a person can read', async (t) => {
  const book = new Book()
  book.apply([undated(listing('gpt-4o')), undated(listing('held')), undated(listing('gone'))])
  const plan = book.plan([
    undated(
      listing('gpt-4o', {
        ...rates('2', '12'),
        capabilities: ['tools'],
        variants: [{ serviceTier: 'flex', rates: { input_tokens: '1' } }],
      }),
    ),
    undated(listing('held', rates('2000000'))),
    undated(listing('new', { variants: [{ abovePromptTokens: 5, rates: { input_tokens: '3' } }] })),
  ])
  const read = {
    skipped: [
      { model: 'x', reason: 'it has no price' },
      { model: 'y\u001b[2J', reason: 'it has no price' },
      { model: 'z', reason: 'a price is negative: it varies' },
    ],
    notes: [{ model: 'new', note: 'not taken over: per_minute' }],
  }
  t.equal(
    reportOf(plan, read, { all: false }),
    [
      'list: 1 new version, 1 changed version, 0 unchanged, 2 held back (0 more since earlier, 0 rejected earlier), 1 vanished, 3 skipped',
      '',
      'New:',
      '  new  input_tokens 2, output_tokens 10; above 5 prompt tokens: input_tokens 3',
      '',
      'Changed:',
      '  gpt-4o  output_tokens  10 → 12 (+20 %)',
      '  gpt-4o  flex: input_tokens  no price → 1',
      '  gpt-4o  capabilities  → tools',
      '',
      'Held back:',
      '  gone  vanished',
      '  held  input_tokens 2 → 2000000: 10^6 times as much, which looks like a mix-up of per-token and per-million prices',
      '',
      'Skipped:',
      '  2 × it has no price: x, y\uFFFD[2J',
      '  1 × a price is negative: it varies: z',
      '',
      'Notes:',
      '  1 × not taken over: per_minute: new',
      '',
    ].join('\n'),
  )
  t.same(changesOf(listing('a'), listing('a', { rates: { output_tokens: '10.0', input_tokens: '2.00' } })), [])
})

t.test('a report has an end, unless all of it is asked for', async (t) => {
  const many = Array.from({ length: 100 }, (_, index) => undated(listing(`model-${index}`)))
  const skipped = many.map(({ listing }) => ({ model: listing.model, reason: 'it has no price' }))
  const plan = new Book().plan(many)
  const short = reportOf(plan, { skipped, notes: [] }, { all: false })
  t.match(short, /… and 60 more\n/)
  t.match(short, /100 × it has no price: model-0, model-1, model-2, model-3, model-4 … and 95 more\n/)
  t.ok(short.split('\n').length < 60)
  const long = reportOf(plan, { skipped, notes: [] }, { all: true })
  t.notMatch(long, /more\n/)
  t.match(long, /model-99/)
})
