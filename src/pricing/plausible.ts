import type { Micro } from '../kernel/credits.ts'
import { compare, type Ratio, ratioOf } from '../kernel/ratio.ts'
import type { Instant } from '../kernel/time.ts'
import { implausible } from './imports/sanity.ts'
import { POOLS } from './pools.ts'
import { inForce, type PriceBook, rateKey } from './prices.ts'
import type { NewVersion } from './store.ts'

/** A change by this factor or more, either way, is taken for a mistake of units. */
const FACTOR_MAX = 100n
/** Somebody who sets a price means to change it; only orders of magnitude are doubted. */
const ANY_CHANGE_PERCENT = Number.MAX_SAFE_INTEGER
/** A larger markup is taken for a price. */
const MARKUP_PERCENT_MAX = 1_000n

/**
 * Why a version that somebody sets by hand looks like a mistake: something that cost something would be free, or the figure is off by
 * orders of magnitude. Empty where it looks right.
 */
export function doubtsOf(book: PriceBook, added: NewVersion, at: Instant): string[] {
  switch (added.kind) {
    case 'model': {
      const { model, rates, enabled } = added.version
      if (!enabled) return []
      const before = inForce(book.models.get(model), at)
      const leaps = POOLS.flatMap((pool) => {
        const [was, is] = [before?.rates[pool], rates[pool]]
        return was === undefined || is === undefined ? [] : leap(pool, ratioOf(was), ratioOf(is))
      })
      return leaps.length > 0 ? leaps : implausible(before ?? null, added.version, ANY_CHANGE_PERCENT)
    }
    case 'operation': {
      const { operation, flatCost, unitCost, enabled } = added.version
      if (!enabled) return []
      if (flatCost === 0n && unitCost === 0n) return [`${operation} would be free`]
      const before = inForce(book.operations.get(operation), at)
      return before
        ? [...leap('flat_cost', whole(before.flatCost), whole(flatCost)), ...leap('unit_cost', whole(before.unitCost), whole(unitCost))]
        : []
    }
    case 'markup': {
      const percent = ratioOf(added.version.percent)
      return compare(percent, { n: MARKUP_PERCENT_MAX, d: 1n }) > 0
        ? [`a markup of ${added.version.percent} % is more than ${MARKUP_PERCENT_MAX} %`]
        : []
    }
    case 'rate': {
      const { currency, purpose, creditsPerUnit } = added.version
      const before = inForce(book.exchangeRates.get(rateKey(currency, purpose)), at)
      return before ? leap('credits_per_unit', ratioOf(before.creditsPerUnit), ratioOf(creditsPerUnit)) : []
    }
    case 'policy':
      return []
  }
}

function whole(amount: Micro): Ratio {
  return { n: amount, d: 1n }
}

function leap(name: string, before: Ratio, after: Ratio): string[] {
  if (before.n === 0n || after.n === 0n) return []
  const grown = after.n * before.d >= FACTOR_MAX * before.n * after.d
  const shrunk = before.n * after.d >= FACTOR_MAX * after.n * before.d
  return grown || shrunk ? [`${name} would ${grown ? 'grow' : 'shrink'} by a factor of ${FACTOR_MAX} or more`] : []
}
