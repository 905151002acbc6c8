import { type Refusal, refusal } from '../../kernel/errors.ts'
import { done, type Outcome, refuse } from '../../ledger/command.ts'
import type { Pool, Usage } from '../pools.ts'
import type { Counter, Reported } from './counters.ts'

/** Part of a total: its name and how much it is. */
type Part = readonly [name: string, count: number]

/**
 * Splits counters that contain each other into pools that do not. A pool is there where its counter was reported, zero included.
 * Text and tool tokens stay in the pool of their direction, and cached video in that of the cache.
 * @returns `invalid_request` naming the counters where parts are more than their whole
 */
export function toPools(reported: Reported): Outcome<Usage> {
  let excess: Refusal | undefined
  const part = (counter: Counter): Part => [counter, reported[counter] ?? 0]
  const left = (whole: Counter, ...parts: Part[]): number => {
    const rest = (reported[whole] ?? 0) - parts.reduce((sum, [, count]) => sum + count, 0)
    if (rest < 0) excess ??= excessOf(reported, whole, parts)
    return rest
  }

  const [cachedAudio, cachedImage, cachedVideo] = [
    part('cache_audio_read_tokens'),
    part('cache_image_read_tokens'),
    part('cache_video_read_tokens'),
  ]
  const [written5m, written1h] = [part('cache_write_5m_tokens'), part('cache_write_1h_tokens')]
  const audio = left('input_audio_tokens', cachedAudio)
  const image = left('input_image_tokens', cachedImage)
  const video = left('input_video_tokens', cachedVideo)
  const pools: [Pool, Counter, number][] = [
    ['cache_read_tokens', 'cache_read_tokens', left('cache_read_tokens', cachedAudio, cachedImage, cachedVideo) + cachedVideo[1]],
    // What no lifetime is given for has the usual one.
    ['cache_write_5m_tokens', 'cache_write_tokens', left('cache_write_tokens', written5m, written1h) + written5m[1]],
    ['cache_write_1h_tokens', 'cache_write_1h_tokens', written1h[1]],
    ['input_audio_tokens', 'input_audio_tokens', audio],
    ['cache_read_audio_tokens', 'cache_audio_read_tokens', cachedAudio[1]],
    ['input_image_tokens', 'input_image_tokens', image],
    ['cache_read_image_tokens', 'cache_image_read_tokens', cachedImage[1]],
    ['input_video_tokens', 'input_video_tokens', video],
    [
      'input_tokens',
      'input_tokens',
      left(
        'input_tokens',
        part('cache_read_tokens'),
        part('cache_write_tokens'),
        ['uncached input_audio_tokens', audio],
        ['uncached input_image_tokens', image],
        ['uncached input_video_tokens', video],
      ),
    ],
    [
      'output_tokens',
      'output_tokens',
      left(
        'output_tokens',
        part('output_reasoning_tokens'),
        part('output_citation_tokens'),
        part('output_audio_tokens'),
        part('output_image_tokens'),
        part('output_video_tokens'),
      ),
    ],
    ...ALONE.map(([counter, pool]): [Pool, Counter, number] => [pool, counter, reported[counter] ?? 0]),
  ]
  if (excess) return refuse(excess)

  const usage: Partial<Record<Pool, number>> = {}
  for (const [pool, counter, count] of pools) if (reported[counter] !== undefined) usage[pool] = (usage[pool] ?? 0) + count
  return done(usage)
}

/** Counters that nothing is taken from. Searches of every kind are one pool. */
const ALONE: readonly (readonly [Counter, Pool])[] = [
  ['output_reasoning_tokens', 'reasoning_tokens'],
  ['output_citation_tokens', 'citation_tokens'],
  ['output_audio_tokens', 'output_audio_tokens'],
  ['output_image_tokens', 'output_image_tokens'],
  ['output_video_tokens', 'output_video_tokens'],
  ['requests', 'requests'],
  ['web_searches', 'searches'],
  ['rerank_searches', 'searches'],
  ['input_audio_seconds', 'input_seconds'],
  ['input_characters', 'input_characters'],
  ['input_document_pages', 'pages'],
]

/** Says which parts are more than their whole. */
function excessOf(reported: Reported, whole: Counter, parts: readonly Part[]): Refusal {
  const counted = parts.filter(([, count]) => count > 0)
  const named = counted.map(([name, count]) => `${name} (${count})`).join(' + ')
  const verb = counted.length === 1 ? 'exceeds' : 'exceed'
  const limit = reported[whole] === undefined ? `${whole}, which the usage does not report` : `${whole} (${reported[whole]})`
  return refusal('invalid_request', `${named} ${verb} ${limit}.`)
}
