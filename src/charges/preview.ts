import type { Micro } from '../kernel/credits.ts'
import { ceil, ratioOf } from '../kernel/ratio.ts'
import type { Instant } from '../kernel/time.ts'
import { type ExchangeRate, inForce, type PriceBook, rateKey } from '../pricing/prices.ts'
import { costOf, quoteAgain } from '../pricing/quote.ts'
import { creditsFor, creditsPerUsd } from '../pricing/terms.ts'
import type { Charge } from './charge.ts'

/** What people usually pay at once, in units of the currency. */
const PURCHASES = ['5', '10', '25', '50', '100'] as const

export interface Preview {
  readonly present: string | null
  readonly purchases: readonly { readonly amount: string; readonly before: Micro | null; readonly after: Micro | null }[]
  readonly charges: readonly { readonly charge: Charge; readonly before: Micro; readonly after: Micro }[]
}

/**
 * What an exchange rate would do before it is set. A purchase rate changes what money buys, a consumption rate what the same usage
 * costs: the charges are priced anew from what they consumed, at their own prices and markups.
 */
export function previewRate(
  book: PriceBook,
  at: Instant,
  rate: Omit<ExchangeRate, 'id' | 'effectiveFrom'>,
  charges: readonly Charge[],
): Preview {
  const { currency, purpose } = rate
  const present = inForce(book.exchangeRates.get(rateKey(currency, purpose)), at)
  const purchaseNow = inForce(book.exchangeRates.get(rateKey(currency, 'purchase')), at)
  const purchaseThen = purpose === 'purchase' ? rate : purchaseNow
  const bought = (amount: string, of: Pick<ExchangeRate, 'creditsPerUnit'> | undefined) => (of ? creditsFor(amount, of) : null)
  const consumes = purpose === 'consumption' && currency === 'USD'
  return {
    present: present?.creditsPerUnit ?? null,
    purchases: PURCHASES.map((amount) => ({ amount, before: bought(amount, purchaseNow), after: bought(amount, purchaseThen) })),
    charges: charges.map((charge) => ({
      charge,
      // The present rate may not be the one that the charge was made at.
      before: consumes && present ? costAt(book, charge, present) : charge.cost,
      after: consumes ? costAt(book, charge, rate) : charge.cost,
    })),
  }
}

/** The cost of the same work under another rate. A charge that used nothing of a model costs what it did. */
function costAt(book: PriceBook, { quote, cost }: Charge, rate: Pick<ExchangeRate, 'creditsPerUnit'>): Micro {
  const { model } = quote.terms
  if (!model || !quote.usage) return cost
  const markup = [...book.markups.values()].flat().find(({ id }) => id === model.markup)
  const again = quoteAgain(quote, { ...quote.terms, model: { ...model, credits_per_usd: creditsPerUsd(markup, rate) } })
  return again.ok ? costOf(again.value) : cost
}

/** By how many percent one rate differs from another, with one decimal, rounded up in size: "+20.0", "-33.4". */
export function changePercent(present: string, proposed: string): string {
  const [a, b] = [ratioOf(present), ratioOf(proposed)]
  const difference = b.n * a.d - a.n * b.d
  const tenths = ceil({ n: (difference < 0n ? -difference : difference) * 1_000n, d: a.n * b.d })
  return `${difference < 0n ? '-' : '+'}${tenths / 10n}.${tenths % 10n}`
}
