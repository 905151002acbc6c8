import { POOLS, type Rates } from '../pools.ts'
import type { Alias, ModelListing, PriceVariant } from '../prices.ts'
import { decimalTimes } from './source.ts'

/**
 * A listing as a text that is the same for two listings exactly when they say the same: however their decimals are written, whatever
 * order keys, aliases and capabilities have. The order of variants counts, because of several the later one wins.
 */
export function canonical(listing: ModelListing): string {
  return JSON.stringify([
    listing.model,
    listing.provider,
    ratesOf(listing.rates),
    listing.variants.map(variantOf),
    aliasTexts(listing.aliases),
    listing.contextWindow,
    listing.maxOutputTokens,
    [...listing.capabilities].sort(),
    listing.costTier,
    listing.enabled,
  ])
}

export function isSame(a: ModelListing, b: ModelListing): boolean {
  return canonical(a) === canonical(b)
}

export function haveSameAliases(a: ModelListing, b: ModelListing): boolean {
  return aliasTexts(a.aliases).join() === aliasTexts(b.aliases).join()
}

function aliasTexts(aliases: readonly Alias[]): string[] {
  return aliases.map((alias) => JSON.stringify(aliasOf(alias))).sort()
}

function ratesOf(rates: Rates): string[] {
  return POOLS.flatMap((pool) => (rates[pool] === undefined ? [] : [`${pool} ${decimalTimes(rates[pool], 0)}`]))
}

function variantOf({ serviceTier, abovePromptTokens, hours, rates }: PriceVariant): unknown[] {
  return [serviceTier ?? null, abovePromptTokens ?? null, hours ? `${hours.from} ${hours.to}` : null, ratesOf(rates)]
}

function aliasOf(alias: Alias): unknown {
  return 'all' in alias ? ['all', aliasTexts(alias.all)] : Object.entries(alias)
}
