import type { Micro } from '../kernel/credits.ts'
import { DEFAULT_POLICY, type PriceBook, type Version } from './prices.ts'
import { costOf, type Quote, quoteAgain } from './quote.ts'
import { freeze, freezeOperation, freezePolicy, type Terms } from './terms.ts'

/** A charge as the versions of prices that it names say it should be. */
export interface Recomputed {
  /** Micro-credits, or null where a version is not there. */
  readonly cost: Micro | null
  readonly quote: Quote | null
  /** Versions that the quote names and the book does not have. */
  readonly missing: readonly string[]
}

/**
 * Works a quote out again from the stored versions alone: of the quote itself it takes what was consumed and by whom, which versions
 * applied and how much of the minimum had been paid before, and none of the frozen figures.
 */
export function recompute(book: PriceBook, quote: Quote): Recomputed {
  const { terms } = quote
  const missing: string[] = []
  const found = <V extends Version>(lists: Iterable<readonly V[]>, id: string | null | undefined): V | undefined => {
    if (id === null || id === undefined) return undefined
    for (const list of lists) for (const version of list) if (version.id === id) return version
    missing.push(id)
    return undefined
  }
  const policy = found([book.policies], terms.policy)
  const price = found([book.models.get(terms.model?.id ?? '') ?? []], terms.model?.price)
  const markup = found(book.markups.values(), terms.model?.markup)
  const rate = found(book.exchangeRates.values(), terms.model?.rate)
  const operation = found([book.operations.get(terms.operation?.id ?? '') ?? []], terms.operation?.price)
  if (missing.length > 0) return { cost: null, quote: null, missing }

  const rebuilt: Terms = {
    ...freezePolicy(policy ?? { id: null, ...DEFAULT_POLICY }),
    ...(price && rate && { model: freeze(price, terms.model?.at ?? 0, markup, rate) }),
    ...(operation && { operation: freezeOperation(operation) }),
  }
  const exempt = quote.exempt && (policy ?? DEFAULT_POLICY).ownerExempt
  const again = quoteAgain({ ...quote, exempt }, rebuilt)
  return again.ok ? { cost: costOf(again.value), quote: again.value, missing } : { cost: null, quote: null, missing }
}
