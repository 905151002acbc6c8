import { MICRO_PER_CREDIT } from '../kernel/credits.ts'
import { costTierOf } from './cost-tier.ts'
import type { Rates } from './pools.ts'
import { DEFAULT_POLICY, type PriceVariant } from './prices.ts'
import type { NewVersion } from './store.ts'

/**
 * The first price list: public list prices of current models in US dollars per million tokens, five operations, a markup of 20 %,
 * one dollar to 100 credits, and charges between 0.01 and 100,000 credits. It is only ever added where nothing is, so that an operator's
 * own prices stand. Sources: the price pages of the providers, as collected by pydantic/genai-prices (MIT) in August 2026.
 */

/** Before any use of Farebox: seed prices hold for everything that was ever reserved under them. */
export const SEED_EFFECTIVE_FROM = Date.UTC(2025, 0, 1)

interface SeedModel {
  readonly rates: Rates
  readonly variants?: readonly PriceVariant[]
  readonly context: number
  readonly capabilities: readonly string[]
  readonly aliases?: readonly string[]
}

const TEXT = ['json_schema', 'prompt_caching', 'tools']
const VISION = [...TEXT, 'vision']
const REASONING = ['json_schema', 'prompt_caching', 'reasoning', 'tools', 'vision']

/** Input, cached input and output. */
function rates(input: string, cached: string, output: string): Rates {
  return { input_tokens: input, cache_read_tokens: cached, output_tokens: output }
}

/** Anthropic's cache: reading, writing for five minutes, writing for an hour. Images count as text; a search costs a cent. */
function claude(input: string, cached: string, write5m: string, write1h: string, output: string): Rates {
  return {
    ...rates(input, cached, output),
    cache_write_5m_tokens: write5m,
    cache_write_1h_tokens: write1h,
    input_image_tokens: input,
    searches: '0.01',
  }
}

/** Google's models read images and video at the price of text, and audio at one of its own. */
function gemini(input: string, cached: string, output: string, audio = input, cachedAudio = cached): Rates {
  const pictures = { input_image_tokens: input, cache_read_image_tokens: cached, input_video_tokens: input }
  return { ...rates(input, cached, output), ...pictures, input_audio_tokens: audio, cache_read_audio_tokens: cachedAudio }
}

function above(promptTokens: number, replaced: Rates): PriceVariant[] {
  return [{ abovePromptTokens: promptTokens, rates: replaced }]
}

const MODELS: Readonly<Record<string, Readonly<Record<string, SeedModel>>>> = {
  openai: {
    'gpt-4o': {
      rates: rates('2.5', '1.25', '10'),
      context: 128_000,
      capabilities: VISION,
      aliases: ['gpt-4o-2024-08-06', 'gpt-4o-2024-11-20'],
    },
    'gpt-4o-mini': { rates: rates('0.15', '0.075', '0.6'), context: 128_000, capabilities: VISION, aliases: ['gpt-4o-mini-2024-07-18'] },
    'gpt-4.1': { rates: rates('2', '0.5', '8'), context: 1_000_000, capabilities: VISION, aliases: ['gpt-4.1-2025-04-14'] },
    'gpt-4.1-mini': { rates: rates('0.4', '0.1', '1.6'), context: 1_000_000, capabilities: VISION, aliases: ['gpt-4.1-mini-2025-04-14'] },
    'gpt-4.1-nano': { rates: rates('0.1', '0.025', '0.4'), context: 1_000_000, capabilities: VISION, aliases: ['gpt-4.1-nano-2025-04-14'] },
    'gpt-5': { rates: rates('1.25', '0.125', '10'), context: 400_000, capabilities: REASONING, aliases: ['gpt-5-2025-08-07'] },
    'gpt-5-mini': { rates: rates('0.25', '0.025', '2'), context: 400_000, capabilities: REASONING, aliases: ['gpt-5-mini-2025-08-07'] },
    'gpt-5-nano': { rates: rates('0.05', '0.005', '0.4'), context: 400_000, capabilities: REASONING, aliases: ['gpt-5-nano-2025-08-07'] },
    'gpt-5.2': { rates: rates('1.75', '0.175', '14'), context: 400_000, capabilities: REASONING },
    'gpt-5.4': {
      rates: rates('2.5', '0.25', '15'),
      variants: above(272_000, rates('5', '0.5', '22.5')),
      context: 1_050_000,
      capabilities: REASONING,
    },
    'gpt-5.4-mini': { rates: rates('0.75', '0.075', '4.5'), context: 400_000, capabilities: REASONING },
    'o4-mini': { rates: rates('1.1', '0.275', '4.4'), context: 200_000, capabilities: REASONING, aliases: ['o4-mini-2025-04-16'] },
    'text-embedding-3-small': { rates: { input_tokens: '0.02' }, context: 8_192, capabilities: ['embedding'] },
  },
  anthropic: {
    'claude-haiku-4-5': {
      rates: claude('1', '0.1', '1.25', '2', '5'),
      context: 200_000,
      capabilities: REASONING,
      aliases: ['claude-haiku-4-5-20251001'],
    },
    'claude-sonnet-4-5': {
      rates: claude('3', '0.3', '3.75', '6', '15'),
      variants: above(200_000, claude('6', '0.6', '7.5', '12', '22.5')),
      context: 1_000_000,
      capabilities: REASONING,
      aliases: ['claude-sonnet-4-5-20250929'],
    },
    'claude-opus-4-5': {
      rates: claude('5', '0.5', '6.25', '10', '25'),
      context: 200_000,
      capabilities: REASONING,
      aliases: ['claude-opus-4-5-20251101'],
    },
    'claude-opus-5': { rates: claude('5', '0.5', '6.25', '10', '25'), context: 1_000_000, capabilities: REASONING },
  },
  google: {
    'gemini-2.5-flash-lite': { rates: gemini('0.1', '0.01', '0.4', '0.3', '0.03'), context: 1_000_000, capabilities: REASONING },
    'gemini-2.5-flash': { rates: gemini('0.3', '0.03', '2.5', '1', '0.1'), context: 1_000_000, capabilities: REASONING },
    'gemini-2.5-pro': {
      rates: gemini('1.25', '0.125', '10'),
      variants: above(200_000, gemini('2.5', '0.25', '15')),
      context: 1_000_000,
      capabilities: REASONING,
    },
    'gemini-3.5-flash': { rates: gemini('1.5', '0.15', '9'), context: 1_000_000, capabilities: REASONING },
  },
  mistral: {
    'mistral-large-latest': { rates: rates('0.5', '0.05', '1.5'), context: 256_000, capabilities: VISION, aliases: ['mistral-large-2512'] },
    'mistral-small-latest': {
      rates: rates('0.15', '0.015', '0.6'),
      context: 128_000,
      capabilities: VISION,
      aliases: ['mistral-small-2603'],
    },
    'codestral-2508': { rates: rates('0.3', '0.03', '0.9'), context: 256_000, capabilities: TEXT },
  },
  deepseek: {
    'deepseek-chat': { rates: rates('0.28', '0.028', '0.42'), context: 128_000, capabilities: TEXT },
    'deepseek-v4-flash': { rates: rates('0.14', '0.0028', '0.28'), context: 1_000_000, capabilities: TEXT },
    'deepseek-v4-pro': { rates: rates('0.435', '0.003625', '0.87'), context: 1_000_000, capabilities: [...TEXT, 'reasoning'].sort() },
  },
  xai: {
    'grok-4': { rates: rates('3', '0.75', '15'), context: 256_000, capabilities: REASONING, aliases: ['grok-4-0709'] },
    'grok-4-1-fast-reasoning': { rates: rates('0.2', '0.05', '0.5'), context: 2_000_000, capabilities: REASONING },
    'grok-4.5': { rates: rates('2', '0.5', '6'), context: 500_000, capabilities: REASONING },
  },
  moonshotai: {
    'kimi-k2.6': { rates: rates('0.95', '0.16', '4'), context: 262_144, capabilities: TEXT },
  },
}

const OPERATIONS: Readonly<Record<string, bigint>> = {
  script_generation: 1n,
  voice_creation: 5n,
  video_processing: 2n,
  rag_retrieval: 1n,
  workflow_run: 10n,
}

export const SEED: readonly NewVersion[] = [
  ...Object.entries(MODELS).flatMap(([provider, models]) =>
    Object.entries(models).map(
      ([model, { rates, variants = [], context, capabilities, aliases = [] }]): NewVersion => ({
        kind: 'model',
        version: {
          model,
          provider,
          rates,
          variants,
          aliases: aliases.map((name) => ({ equals: name })),
          contextWindow: context,
          maxOutputTokens: null,
          capabilities,
          costTier: costTierOf(rates),
          enabled: true,
          source: 'seed',
        },
      }),
    ),
  ),
  ...Object.entries(OPERATIONS).map(
    ([operation, credits]): NewVersion => ({
      kind: 'operation',
      version: { operation, flatCost: 0n, unitCost: credits * MICRO_PER_CREDIT, enabled: true },
    }),
  ),
  { kind: 'markup', version: { scope: 'default', percent: '20' } },
  { kind: 'rate', version: { currency: 'USD', purpose: 'consumption', creditsPerUnit: '100' } },
  { kind: 'rate', version: { currency: 'USD', purpose: 'purchase', creditsPerUnit: '100' } },
  { kind: 'policy', version: { ...DEFAULT_POLICY } },
]
