import { add, type Ratio, ratioOf, scale } from '../kernel/ratio.ts'
import type { Rates } from './pools.ts'
import type { CostTier } from './prices.ts'

/** A call of three prompt tokens to one of the answer is typical; the bounds are US dollars per million of such tokens. */
const CHEAP_USD_MAX = 1n
const MEDIUM_USD_MAX = 6n

/** Whether a model is cheap, medium or expensive by the price of its text. A model without such a price counts as medium. */
export function costTierOf(rates: Rates): CostTier {
  if (rates.input_tokens === undefined && rates.output_tokens === undefined) return 'medium'
  const four = add(scale(ratioOf(rates.input_tokens ?? '0'), 3n), ratioOf(rates.output_tokens ?? '0'))
  return atMost(four, 4n * CHEAP_USD_MAX) ? 'cheap' : atMost(four, 4n * MEDIUM_USD_MAX) ? 'medium' : 'expensive'
}

function atMost(ratio: Ratio, bound: bigint): boolean {
  return ratio.n <= bound * ratio.d
}
