import { z } from 'zod'
import * as field from '../../http/fields.ts'
import { POOLS, type Pool, type Usage } from '../pools.ts'
import { FORMAT_NAMES } from './formats.ts'
import { normalise } from './normalise.ts'

const DESCRIPTIONS: Readonly<Partial<Record<Pool, string>>> = {
  input_tokens: 'Prompt tokens that were neither cached nor of another kind below',
  cache_read_tokens: 'Prompt tokens read from a cache; not part of input_tokens',
  cache_write_5m_tokens: 'Prompt tokens written to a cache of the usual lifetime',
  cache_write_1h_tokens: 'Prompt tokens written to a cache of one hour',
  output_tokens: 'Answer tokens without reasoning',
  reasoning_tokens: 'Thinking tokens; not part of output_tokens',
  requests: '1 when absent, where the model has a price per request',
  searches: 'Web searches of the model',
}

/** Usage in Farebox's own form: pools that exclude each other. */
export const usage = z
  .strictObject(
    Object.fromEntries(
      POOLS.map((pool) => {
        const count = field.tokens.optional()
        return [pool, DESCRIPTIONS[pool] ? count.meta({ description: DESCRIPTIONS[pool] }) : count]
      }),
    ),
  )
  .refine((pools) => Object.keys(pools).length > 0, 'must name at least one pool')
  .meta({
    id: 'Usage',
    description: 'What one model call consumed, in pools that exclude each other: nothing is counted twice. An absent pool is zero.',
    example: { input_tokens: 1200, cache_read_tokens: 800, output_tokens: 350 },
  }) as unknown as z.ZodType<Usage>

export const usageOut = z.partialRecord(z.enum(POOLS), z.int()).meta({ description: 'By pool; an absent pool is zero' })

const RAW_LENGTH_MAX = 16_384

/** The provider's own usage object. It is turned into pools here, so that a wrong one is refused like any other field. */
export const rawUsage = z
  .strictObject({
    format: z.enum(FORMAT_NAMES).meta({ description: 'Whose form it has' }),
    body: z
      .record(z.string(), z.unknown())
      .refine((body) => JSON.stringify(body).length <= RAW_LENGTH_MAX, `must not be longer than ${RAW_LENGTH_MAX} characters`)
      .meta({ description: 'The usage object as it came, or the whole answer that has it' }),
  })
  .transform(({ format, body }, context): RawUsage => {
    const pools = normalise(format, body)
    if (pools.ok) {
      const excessive = POOLS.filter((pool) => (pools.value[pool] ?? 0) > field.COUNT_MAX)
      if (excessive.length === 0) return { format, body, pools: pools.value }
      context.issues.push({
        code: 'custom',
        path: ['body'],
        message: `must not come to more than ${field.COUNT_MAX} ${excessive.join(', ')}`,
        input: body,
      })
      return z.NEVER
    }
    for (const { pointer, message } of pools.refusal.errors ?? [{ pointer: '', message: pools.refusal.detail }]) {
      const path = pointer
        .split('/')
        .slice(1)
        .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
      context.issues.push({ code: 'custom', path: ['body', ...path], message, input: body })
    }
    return z.NEVER
  })
  .meta({ id: 'RawUsage', example: { format: 'openai.chat', body: { prompt_tokens: 1200, completion_tokens: 350 } } })

export interface RawUsage {
  readonly format: string
  readonly body: Readonly<Record<string, unknown>>
  /** What it comes to. */
  readonly pools: Usage
}
