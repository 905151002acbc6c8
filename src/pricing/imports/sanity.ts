import { assert } from '../../kernel/errors.ts'
import { compare, type Ratio, ratioOf, scale } from '../../kernel/ratio.ts'
import { isTokenPool, POOLS, type Pool, PRICED_AS, PROMPT_POOLS, type Rates, type TokenPool } from '../pools.ts'
import type { ModelListing, PriceVariant } from '../prices.ts'

/**
 * What no price list should say: changes that are far more often a mistake of the list, or of its unit, than a change of price. They
 * wait for a person; until then the old price holds.
 */

/** The prices of a model. */
export type Prices = Pick<ModelListing, 'rates' | 'variants'>

/** Percent by which a price may change without anybody looking. */
export const BAND_PERCENT = 50

/** Powers of ten that a price is wrong by when it is taken for one of another unit, in dollars or cents. */
const MIX_UP_POWERS = [3n, 4n, 5n, 6n, 7n] as const
const MIX_UP = 'which looks like a mix-up of per-token and per-million prices'
/** How close to such a power, in percent. */
const MIX_UP_TOLERANCE = 5n

/** The widest range of real prices, as a factor. */
const RANGE = 1_000_000n

/**
 * US dollars from which a price without a history is believed, up to RANGE times as much. The range is as wide as the commonest
 * mistake is large, so that no believable price, taken for one of a unit a million times larger or smaller, is believable still.
 */
const LEAST: Readonly<Record<Exclude<Pool, TokenPool>, string>> = {
  requests: '0.0001',
  searches: '0.0001',
  input_seconds: '0.000005',
  output_seconds: '0.000005',
  input_characters: '0.000000001',
  output_characters: '0.000000001',
  input_images: '0.00001',
  output_images: '0.00001',
  pages: '0.00001',
  units: '0.00001',
}
const LEAST_PER_MILLION_TOKENS = '0.001'

/**
 * Why prices should not be taken over without a look at them, one text a reason; empty where nothing is wrong.
 * @param current the prices so far, null for a model that had none
 * @param bandPercent how far a price may move, in percent of the old one; thousandths of a percent count
 */
export function implausible(current: Prices | null, next: Prices, bandPercent: number): string[] {
  assert(Number.isFinite(bandPercent) && bandPercent >= 0, `a band of ${bandPercent} percent`)
  const band: Ratio = { n: BigInt(Math.round(bandPercent * 1_000)), d: 1_000n }
  const reasons: string[] = []
  if (isFree(next) && !(current && isFree(current))) reasons.push('all prices are zero')
  else if (current === null) reasons.push(...unbelievable(POOLS, next.rates, ''))
  else reasons.push(...POOLS.flatMap((pool) => changed(pool, current.rates, next.rates, band, '')))
  for (const condition of conditionsOf(next.variants, current?.variants ?? [])) {
    const where = `${describe(condition)}: `
    const said = ratesAt(next.variants, condition)
    const before = ratesAt(current?.variants ?? [], condition)
    if (current !== null && before !== undefined) {
      // Compared as a request meets them: a price for long prompts that is dropped falls back to the one for all.
      const [was, is] = [under(current, condition), under(next, condition)]
      const pools = POOLS.filter((pool) => before[pool] !== undefined || said?.[pool] !== undefined)
      reasons.push(...pools.flatMap((pool) => changed(pool, was, is, band, where)))
    } else if (said !== undefined) {
      const pools = POOLS.filter((pool) => said[pool] !== undefined)
      reasons.push(...unbelievable(pools, said, where), ...pools.flatMap((pool) => farFromBase(pool, next.rates, said, where)))
    }
  }
  return [...new Set(reasons)]
}

/** What is wrong with the change of one pool's price. */
function changed(pool: Pool, before: Rates, after: Rates, band: Ratio, where: string): string[] {
  const [own, ownNow] = [before[pool], after[pool]]
  const was = own ?? borrowed(before, pool)
  const is = ownNow ?? borrowed(after, pool)
  if (own === undefined && ownNow === undefined) return []
  if (is === undefined) {
    // A price that only said what plain text costs is no loss: without it the pool is refused, never billed wrongly.
    const plain = PROMPT_POOLS.some((one) => one === pool) ? 'input_tokens' : 'output_tokens'
    return pool !== plain && own === before[plain] ? [] : [`${where}${pool} has no price any more`]
  }
  if (was === undefined) return unbelievable([pool], after, where)
  const [x, y] = [ratioOf(was), ratioOf(is)]
  if (compare(x, y) === 0) return []
  if (x.n === 0n) return [`${where}${pool} was free and now costs ${is}`]
  if (y.n === 0n) return [`${where}${pool} cost ${was} and now is free`]
  const mixUp = mixUpOf(x, y)
  if (mixUp !== null) return [`${where}${pool} ${was} → ${is}: ${mixUp}`]
  // A first price of its own is mostly a discount, as for cached tokens; only a dearer one is a surprise.
  if (own === undefined && compare(y, x) < 0) return unbelievable([pool], after, where)
  return exceeds(x, y, band) ? [`${where}${pool} ${was} → ${is} (${percentText(was, is)})`] : []
}

/** The price that a pool has for want of one of its own. */
function borrowed(rates: Rates, pool: Pool): string | undefined {
  for (let other = PRICED_AS[pool]; other !== undefined; other = PRICED_AS[other]) {
    if (rates[other] !== undefined) return rates[other]
  }
  return undefined
}

/** Prices without a history that no provider has. */
function unbelievable(pools: readonly Pool[], rates: Rates, where: string): string[] {
  return pools.flatMap((pool) => {
    const rate = rates[pool]
    if (rate === undefined) return []
    const price = ratioOf(rate)
    const least = ratioOf(isTokenPool(pool) ? LEAST_PER_MILLION_TOKENS : LEAST[pool])
    if (price.n === 0n) return []
    if (compare(price, least) < 0) return [`${where}${pool} ${rate} is unbelievably cheap`]
    return compare(price, scale(least, RANGE)) < 0 ? [] : [`${where}${pool} ${rate} is unbelievably dear`]
  })
}

/** A price under a new condition that is nothing like the one without it. */
function farFromBase(pool: Pool, base: Rates, rates: Rates, where: string): string[] {
  const [usual, rate] = [base[pool], rates[pool]]
  if (usual === undefined || rate === undefined) return []
  const [x, y] = [ratioOf(usual), ratioOf(rate)]
  if (x.n === 0n) return []
  if (y.n === 0n) return [`${where}${pool} is free, otherwise ${usual}`]
  const mixUp = mixUpOf(x, y)
  return mixUp === null ? [] : [`${where}${pool} ${rate}, otherwise ${usual}: ${mixUp}`]
}

/** Names a factor that two units differ by, where the two prices do. Both are positive. */
function mixUpOf(was: Ratio, is: Ratio): string | null {
  const [up, down] = [is.n * was.d, was.n * is.d]
  for (const power of MIX_UP_POWERS) {
    const isNear = (large: bigint, small: bigint) =>
      large * 100n >= small * 10n ** power * (100n - MIX_UP_TOLERANCE) && large * 100n <= small * 10n ** power * (100n + MIX_UP_TOLERANCE)
    if (isNear(up, down)) return `10^${power} times as much, ${MIX_UP}`
    if (isNear(down, up)) return `a 10^${power}th, ${MIX_UP}`
  }
  return null
}

function exceeds(was: Ratio, is: Ratio, band: Ratio): boolean {
  const [old, now] = [was.n * is.d, is.n * was.d]
  const change = now > old ? now - old : old - now
  return change * 100n * band.d > band.n * old
}

/** "+20 %" of a change from a positive price, rounded to a tenth of a percent. For people to read, not to compare. */
export function percentText(was: string, is: string): string {
  const [x, y] = [ratioOf(was), ratioOf(is)]
  const [old, now] = [x.n * y.d, y.n * x.d]
  const change = now > old ? now - old : old - now
  const tenths = (change * 2_000n + old) / (2n * old)
  const text = tenths % 10n === 0n ? `${tenths / 10n}` : `${tenths / 10n}.${tenths % 10n}`
  return `${now < old ? '−' : '+'}${text} %`
}

function isFree({ rates, variants }: Prices): boolean {
  return [rates, ...variants.map((variant) => variant.rates)].every((one) => Object.values(one).every((rate) => ratioOf(rate).n === 0n))
}

export type Condition = Pick<PriceVariant, 'serviceTier' | 'abovePromptTokens' | 'hours'>

/** Each condition that any of the lists has a price for, once. */
export function conditionsOf(...lists: readonly (readonly PriceVariant[])[]): Condition[] {
  return [...new Map(lists.flat().map((variant) => [describe(variant), variant])).values()]
}

/** "batch, above 200000 prompt tokens" */
export function describe({ serviceTier, abovePromptTokens, hours }: Condition): string {
  return [
    ...(serviceTier === undefined ? [] : [serviceTier]),
    ...(abovePromptTokens === undefined ? [] : [`above ${abovePromptTokens} prompt tokens`]),
    ...(hours === undefined ? [] : [`${hours.from}–${hours.to} UTC`]),
  ].join(', ')
}

/** What variants say under exactly this condition. */
export function ratesAt(variants: readonly PriceVariant[], condition: Condition): Rates | undefined {
  const same = variants.filter((variant) => describe(variant) === describe(condition))
  return same.length === 0 ? undefined : Object.assign({}, ...same.map(({ rates }) => rates))
}

/** The prices of a request that meets a condition and no other. */
function under({ rates, variants }: Prices, condition: Condition): Rates {
  const met = variants.filter(
    ({ serviceTier, abovePromptTokens, hours }) =>
      (serviceTier === undefined || serviceTier === condition.serviceTier) &&
      (abovePromptTokens === undefined ||
        (condition.abovePromptTokens !== undefined && abovePromptTokens <= condition.abovePromptTokens)) &&
      (hours === undefined || (hours.from === condition.hours?.from && hours.to === condition.hours.to)),
  )
  return Object.assign({}, rates, ...met.map((variant) => variant.rates))
}
