/**
 * What a model call can consume, split into pools that exclude each other: a token is counted in exactly one pool, so that no price is
 * applied twice. Providers count otherwise (OpenAI's prompt tokens contain the cached ones, Google's candidates leave out the
 * thoughts); usage/ turns their counts into these.
 */
export const TOKEN_POOLS = [
  /** Text (and whatever has no pool of its own) that was read afresh. */
  'input_tokens',
  'cache_read_tokens',
  /** Written to a cache with the provider's usual lifetime (five minutes at Anthropic), or one that it does not name. */
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'input_audio_tokens',
  'cache_read_audio_tokens',
  'input_image_tokens',
  'cache_read_image_tokens',
  'input_video_tokens',
  /** Visible text, without reasoning. */
  'output_tokens',
  'reasoning_tokens',
  'citation_tokens',
  'output_audio_tokens',
  'output_image_tokens',
  'output_video_tokens',
] as const

/** Things that are not counted in tokens. */
export const COUNT_POOLS = [
  'requests',
  'searches',
  'input_seconds',
  'output_seconds',
  'input_characters',
  'output_characters',
  'input_images',
  'output_images',
  'pages',
  'units',
] as const

export const POOLS = [...TOKEN_POOLS, ...COUNT_POOLS] as const

export type TokenPool = (typeof TOKEN_POOLS)[number]
export type Pool = (typeof POOLS)[number]

/** What one model call consumed. An absent pool is zero. */
export type Usage = Readonly<Partial<Record<Pool, number>>>

/** US dollars as exact decimal strings: per million tokens for a pool of tokens, per one for any other. */
export type Rates = Readonly<Partial<Record<Pool, string>>>

/** The pools that together are the prompt: their sum decides on long-context prices. */
export const PROMPT_POOLS: readonly TokenPool[] = TOKEN_POOLS.slice(0, TOKEN_POOLS.indexOf('output_tokens'))

const tokenPools: ReadonlySet<string> = new Set(TOKEN_POOLS)

export function isTokenPool(pool: Pool): pool is TokenPool {
  return tokenPools.has(pool)
}

/**
 * The pool whose price a pool without one has. Only where that can never be too little: a cached token is a prompt token without a
 * discount, and reasoning is output. Anything else without a price (audio, images, cache writes, searches …) cannot be billed.
 */
export const PRICED_AS: Readonly<Partial<Record<Pool, Pool>>> = {
  cache_read_tokens: 'input_tokens',
  cache_read_audio_tokens: 'input_audio_tokens',
  cache_read_image_tokens: 'input_image_tokens',
  reasoning_tokens: 'output_tokens',
  citation_tokens: 'output_tokens',
}

/** Tokens of the prompt, cached or not, of any kind. */
export function promptTokens(usage: Usage): number {
  let sum = 0
  for (const pool of PROMPT_POOLS) sum += usage[pool] ?? 0
  return sum
}

/** Two usages as one, pool by pool. */
export function plus(a: Usage, b: Usage): Usage {
  const sum: Partial<Record<Pool, number>> = { ...a }
  for (const pool of POOLS) if (b[pool] !== undefined) sum[pool] = (a[pool] ?? 0) + b[pool]
  return sum
}

/** The same prices in the order of the pools: PostgreSQL keeps another one. */
export function inOrder(rates: Rates): Rates {
  return Object.fromEntries(POOLS.flatMap((pool) => (rates[pool] === undefined ? [] : [[pool, rates[pool]]])))
}
