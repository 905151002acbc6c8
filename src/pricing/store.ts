import type { Micro } from '../kernel/credits.ts'
import type { Instant } from '../kernel/time.ts'
import type { Speaker } from '../ledger/book.ts'
import type { ChargePolicy, ExchangeRate, Markup, ModelPrice, OperationPrice, PriceBook } from './prices.ts'

/** A version to be added: it takes effect at `effectiveFrom`, or at once when that is null. */
export type NewVersion =
  | { readonly kind: 'model'; readonly version: Omit<ModelPrice, 'id' | 'effectiveFrom'> }
  | { readonly kind: 'operation'; readonly version: Omit<OperationPrice, 'id' | 'effectiveFrom'> }
  | { readonly kind: 'markup'; readonly version: Omit<Markup, 'id' | 'effectiveFrom'> }
  | { readonly kind: 'rate'; readonly version: Omit<ExchangeRate, 'id' | 'effectiveFrom'> }
  | { readonly kind: 'policy'; readonly version: { readonly minimumCharge: Micro; readonly maximumCharge: Micro } }

export interface PriceStore {
  readBook(): Promise<PriceBook>
  /** Adds a version with its audit row. @throws FareboxError `effective_from_past`, `version_exists` */
  add(added: NewVersion, effectiveFrom: Instant | null, reason: string, speaker: Speaker): Promise<{ id: string; effectiveFrom: Instant }>
  /** Adds those of the first price list whose model, operation, scope or currency has no version yet. @returns how many */
  seed(versions: readonly NewVersion[], effectiveFrom: Instant): Promise<number>
}

/** The versions of a book as the wire shows them. */
export type AnyVersion = ModelPrice | OperationPrice | Markup | ExchangeRate | ChargePolicy
