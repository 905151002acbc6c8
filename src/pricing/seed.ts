import { MICRO_PER_CREDIT } from '../kernel/credits.ts'
import type { NewVersion } from './store.ts'

/**
 * The first price list: public list prices of some current models in US dollars per million tokens, five operations, a markup of 20 %,
 * one dollar to 100 credits, and charges between 0.01 and 100,000 credits. It is only ever added where nothing is, so that an operator's own prices stand.
 */

/** Before any use of Farebox: seed prices hold for everything that was ever reserved under them. */
export const SEED_EFFECTIVE_FROM = Date.UTC(2025, 0, 1)

const MODELS: readonly (readonly [model: string, provider: string, input: string, output: string])[] = [
  ['gpt-4o', 'openai', '2.5', '10'],
  ['gpt-4o-mini', 'openai', '0.15', '0.6'],
  ['gpt-4.1', 'openai', '2', '8'],
  ['gpt-4.1-mini', 'openai', '0.4', '1.6'],
  ['gpt-5', 'openai', '1.25', '10'],
  ['gpt-5-mini', 'openai', '0.25', '2'],
  ['claude-haiku-4-5', 'anthropic', '1', '5'],
  ['claude-sonnet-4-5', 'anthropic', '3', '15'],
  ['claude-opus-4-5', 'anthropic', '5', '25'],
  ['gemini-2.5-flash', 'google', '0.3', '2.5'],
  ['gemini-2.5-pro', 'google', '1.25', '10'],
  ['mistral-large-latest', 'mistral', '0.5', '1.5'],
  ['deepseek-chat', 'deepseek', '0.28', '0.42'],
  ['grok-4', 'xai', '3', '15'],
]

const OPERATIONS: readonly (readonly [operation: string, credits: bigint])[] = [
  ['script_generation', 1n],
  ['voice_creation', 5n],
  ['video_processing', 2n],
  ['rag_retrieval', 1n],
  ['workflow_run', 10n],
]

export const SEED: readonly NewVersion[] = [
  ...MODELS.map(
    ([model, provider, inputUsdPerMillion, outputUsdPerMillion]): NewVersion => ({
      kind: 'model',
      version: { model, provider, inputUsdPerMillion, outputUsdPerMillion, enabled: true },
    }),
  ),
  ...OPERATIONS.map(
    ([operation, credits]): NewVersion => ({
      kind: 'operation',
      version: { operation, unitCost: credits * MICRO_PER_CREDIT, enabled: true },
    }),
  ),
  { kind: 'markup', version: { scope: 'default', percent: '20' } },
  { kind: 'rate', version: { currency: 'USD', purpose: 'consumption', creditsPerUnit: '100' } },
  { kind: 'rate', version: { currency: 'USD', purpose: 'purchase', creditsPerUnit: '100' } },
  { kind: 'policy', version: { minimumCharge: MICRO_PER_CREDIT / 100n, maximumCharge: 100_000n * MICRO_PER_CREDIT } },
]
