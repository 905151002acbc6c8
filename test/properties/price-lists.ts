import type { OAlias, OModelPrice, OPrices, ORates, OTier, OUsage, OVariant } from './price-oracle.ts'

/** Random price lists and work, by the million: every number comes from one small generator, so that a seed is a run. */

export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A whole number from 0 to before 2³² (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }

  below(n: number): number {
    return this.next() % n
  }

  oneOf<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }

  /** True once in `n` times. */
  once(n: number): boolean {
    return this.below(n) === 0
  }

  digits(count: number): string {
    let text = ''
    for (let i = 0; i < count; i += 1) text += this.below(10)
    return text
  }

  /** A decimal as the API takes it: up to nine digits before the point and twelve after it, zeros at the end too. */
  decimal(): string {
    const n = this.below(10)
    if (n === 0) return '0'
    if (n === 1) return `0.${'0'.repeat(this.below(12))}${1 + this.below(9)}`
    const whole = n < 4 ? '0' : `${1 + this.below(9)}${this.digits(n < 9 ? this.below(3) : this.below(9))}`
    return this.once(4) ? whole : `${whole}.${this.digits(1 + this.below(n < 8 ? 4 : 12))}`
  }

  /** The same above zero. */
  positive(): string {
    const text = this.decimal()
    return /[1-9]/.test(text) ? text : '1'
  }
}

const TOKENS = [
  ...['input_tokens', 'cache_read_tokens', 'cache_write_5m_tokens', 'cache_write_1h_tokens', 'input_audio_tokens'],
  ...['cache_read_audio_tokens', 'input_image_tokens', 'cache_read_image_tokens', 'input_video_tokens', 'output_tokens'],
  ...['reasoning_tokens', 'citation_tokens', 'output_audio_tokens', 'output_image_tokens', 'output_video_tokens'],
]
const OTHERS = [
  ...['requests', 'searches', 'input_seconds', 'output_seconds', 'input_characters', 'output_characters'],
  ...['input_images', 'output_images', 'pages', 'units'],
]
/** All that can be counted, as DESIGN §6 lists it. */
export const ALL_POOLS = [...TOKENS, ...OTHERS]

export const TIERS: readonly OTier[] = ['standard', 'batch', 'flex', 'priority']
const PROVIDERS = ['acme', 'bolt']
const DAY_MS = 86_400_000

/** When the quotes of a list are asked for: around the times at which its versions and hours begin and end. */
export const LIST_START = 1_800_000_000_000 - (1_800_000_000_000 % DAY_MS)

function randomRates(dice: Dice): ORates {
  const rates: Record<string, string> = {}
  if (!dice.once(12)) rates.input_tokens = dice.decimal()
  if (!dice.once(12)) rates.output_tokens = dice.decimal()
  for (let n = dice.oneOf([0, 1, 2, 4, 8, 16, 32]); n > 0; n -= 1) rates[dice.oneOf(ALL_POOLS)] = dice.decimal()
  return rates
}

const clock = (minute: number) => `${String(Math.floor((minute % 1440) / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`

function randomVariant(dice: Dice): OVariant {
  const conditions = 1 + dice.below(7)
  return {
    ...(conditions & 1 && { above: dice.oneOf([1, 100, 128_000, 200_000, 272_000]) }),
    ...(conditions & 2 && { tier: dice.oneOf(['batch', 'flex', 'priority'] as const) }),
    ...(conditions & 4 && { hours: { from: clock(dice.oneOf([0, 1, 30, 990, 1439])), to: clock(dice.oneOf([0, 1, 30, 990, 1439])) } }),
    rates: randomRates(dice),
  }
}

function randomModel(dice: Dice, from: number, model: string, provider: string, aliases: readonly OAlias[]): OModelPrice {
  const variants = Array.from({ length: dice.once(2) ? 0 : dice.below(6) }, () => randomVariant(dice))
  return { from, model, provider, rates: randomRates(dice), variants, aliases, enabled: !dice.once(20) }
}

/** Dates in a list: the second versions take effect in the middle of its days. */
const LATER = LIST_START + 36_000_000

/** A list with a few models, some of them with a second version, and markups, exchange rates, operations and policies of every scope. */
export function randomPrices(dice: Dice): OPrices {
  const prices: OPrices = { models: [], operations: [], markups: [], rates: [], policies: [] }
  for (const model of ['one', 'two', 'bolt/one']) {
    const provider = model.startsWith('bolt/') ? 'bolt' : dice.oneOf(PROVIDERS)
    const aliases: OAlias[] = !dice.once(4) ? [{ equals: `${model}-latest` }, { startsWith: `${model}-v` }] : []
    prices.models.push(randomModel(dice, LIST_START - 1, model, provider, aliases))
    if (dice.once(3)) prices.models.push(randomModel(dice, LATER, model, dice.once(5) ? 'acme' : provider, aliases))
  }
  for (const operation of ['scan', 'render']) {
    const version = (from: number) => ({
      from,
      operation,
      flat: dice.once(2) ? 0n : BigInt(dice.below(3_000_000)),
      unit: dice.once(5) ? 0n : BigInt(dice.below(20_000_000)),
      enabled: !dice.once(10),
    })
    prices.operations.push(version(LIST_START - 1))
    if (dice.once(3)) prices.operations.push(version(LATER))
  }
  for (const scope of ['default', 'provider:acme', 'provider:bolt', 'model:one', 'model:bolt/one']) {
    if (dice.once(2)) prices.markups.push({ from: LIST_START - 1, scope, percent: dice.decimal() })
    if (dice.once(4)) prices.markups.push({ from: LATER, scope, percent: dice.decimal() })
  }
  const rate = (from: number, currency = 'USD', purpose: 'purchase' | 'consumption' = 'consumption') =>
    prices.rates.push({ from, currency, purpose, credits: dice.positive() })
  if (!dice.once(30)) rate(LIST_START - 1)
  if (dice.once(3)) rate(LATER)
  rate(LIST_START, 'EUR')
  rate(LIST_START, 'USD', 'purchase')
  const policy = (from: number) =>
    prices.policies.push({
      from,
      minimum: dice.oneOf([0n, 1n, 10_000n, 1_000_000n]),
      maximum: 10n ** 18n,
      roundTo: dice.oneOf([1n, 1n, 7n, 10_000n, 1_000_000n]),
      ownerExempt: !dice.once(3),
    })
  if (!dice.once(4)) policy(LIST_START - 1)
  if (dice.once(3)) policy(LATER)
  return prices
}

/** A moment at which a list is asked: mostly one at which something begins or ends. */
export function randomTime(dice: Dice): number {
  const minute = dice.oneOf([0, 1, 2, 30, 31, 600, 990, 991, 1438, 1439])
  return LIST_START + DAY_MS * dice.below(2) + minute * 60_000 + dice.oneOf([-1, 0, 0, 1, 59_999])
}

const NAMES: readonly (readonly [model: string, provider: string | null])[] = [
  ...['one', 'two', 'bolt/one', 'one', 'two', 'bolt/one', 'one', 'two', 'two', 'models/two', 'ONE', 'two-v7', 'one-latest'],
  ...['bolt/one-latest', 'none', 'acme/one', 'bolt/two'],
]
  .map((model): readonly [string, string | null] => [model, null])
  .concat([
    ['one', 'bolt'],
    ['one', 'bolt'],
    ['two', 'acme'],
    ['one-latest', 'bolt'],
  ])

export function randomName(dice: Dice): readonly [model: string, provider: string | null] {
  return dice.oneOf(NAMES)
}

const COUNTS = [0, 0, 1, 2, 3, 7, 99, 100, 101, 127_999, 128_000, 128_001, 200_000, 200_001, 1_000_000_000]

export function randomUsage(dice: Dice): OUsage {
  const usage: Record<string, number> = {}
  if (!dice.once(8)) usage.input_tokens = dice.once(3) ? dice.below(300_000) : dice.oneOf(COUNTS)
  if (!dice.once(8)) usage.output_tokens = dice.once(3) ? dice.below(30_000) : dice.oneOf(COUNTS)
  for (let n = dice.below(3); n > 0; n -= 1) usage[dice.oneOf(['cache_read_tokens', 'reasoning_tokens', 'requests'])] = dice.oneOf(COUNTS)
  for (let n = dice.once(3) ? dice.below(4) : 0; n > 0; n -= 1) usage[dice.oneOf(ALL_POOLS)] = dice.oneOf(COUNTS)
  return usage
}

export function randomTier(dice: Dice): OTier {
  return dice.once(4) ? dice.oneOf(TIERS) : 'standard'
}
