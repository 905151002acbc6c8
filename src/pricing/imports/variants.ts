import { compare, ratioOf } from '../../kernel/ratio.ts'
import type { Pool, Rates } from '../pools.ts'
import { type PriceVariant, SERVICE_TIERS, type ServiceTier } from '../prices.ts'

/** Prices while they are being collected. */
export type Collected = Partial<Record<Pool, string>>

type Tier = Exclude<ServiceTier, 'standard'>

/** Prices under conditions, by the conditions: a service tier, a least prompt, or both. */
export class VariantBuilder {
  readonly #byCondition = new Map<string, { tier: Tier | undefined; above: number | undefined; rates: Collected }>()

  set(tier: Tier | undefined, above: number | undefined, pool: Pool, rate: string): void {
    const key = `${tier ?? ''} ${above ?? ''}`
    let found = this.#byCondition.get(key)
    if (!found) {
      found = { tier, above, rates: {} }
      this.#byCondition.set(key, found)
    }
    found.rates[pool] = rate
  }

  /**
   * The variants so ordered that the later one is always the one to prefer: longer prompts after shorter ones, then service tiers, then
   * both at once. A list often has a price for long prompts and one for a service tier, but none for both: then the dearer of the two
   * holds, which the order alone would not give.
   */
  done(): PriceVariant[] {
    const all = [...this.#byCondition.values()]
    for (const { tier, rates } of all.filter((one) => one.tier !== undefined && one.above === undefined)) {
      const longer: Collected = {}
      for (const { above, rates: long } of all.filter((one) => one.tier === undefined).sort(byThreshold)) {
        for (const pool of Object.keys(long) as Pool[]) longer[pool] = long[pool] as string
        const both = this.#byCondition.get(`${tier ?? ''} ${above ?? ''}`)?.rates
        for (const pool of Object.keys(longer) as Pool[]) {
          const [ofTier, ofPrompt] = [rates[pool], longer[pool] as string]
          if (ofTier !== undefined && both?.[pool] === undefined && isDearer(ofPrompt, ofTier)) this.set(tier, above, pool, ofPrompt)
        }
      }
    }
    return [...this.#byCondition.values()]
      .sort((a, b) => rankOf(a) - rankOf(b) || tierRank(a.tier) - tierRank(b.tier) || byThreshold(a, b))
      .map(({ tier, above, rates }) => ({
        ...(tier !== undefined && { serviceTier: tier }),
        ...(above !== undefined && { abovePromptTokens: above }),
        rates,
      }))
  }
}

function rankOf({ tier, above }: { tier: Tier | undefined; above: number | undefined }): number {
  return tier === undefined ? 0 : above === undefined ? 1 : 2
}

function tierRank(tier: Tier | undefined): number {
  return tier === undefined ? 0 : SERVICE_TIERS.indexOf(tier)
}

function byThreshold(a: { above: number | undefined }, b: { above: number | undefined }): number {
  return (a.above ?? 0) - (b.above ?? 0)
}

function isDearer(a: string, b: string): boolean {
  return compare(ratioOf(a), ratioOf(b)) > 0
}

/** The pools whose price is another one than in `base`: what a variant has to say. */
export function differing(rates: Rates, base: Rates): Collected {
  const different: Collected = {}
  for (const pool of Object.keys(rates) as Pool[]) if (rates[pool] !== base[pool]) different[pool] = rates[pool] as string
  return different
}
