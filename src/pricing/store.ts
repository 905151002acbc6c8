import type { Instant } from '../kernel/time.ts'
import type { Speaker } from '../ledger/book.ts'
import type { ChargePolicy, ExchangeRate, Markup, ModelListing, ModelPrice, OperationPrice, PriceBook, Version } from './prices.ts'

type New<V extends Version> = Omit<V, keyof Version>

/** A version to be added. */
export type NewVersion =
  | { readonly kind: 'model'; readonly version: New<ModelPrice> }
  | { readonly kind: 'operation'; readonly version: New<OperationPrice> }
  | { readonly kind: 'markup'; readonly version: New<Markup> }
  | { readonly kind: 'rate'; readonly version: New<ExchangeRate> }
  | { readonly kind: 'policy'; readonly version: New<ChargePolicy> }

export type VersionKind = NewVersion['kind']

/** A version with who added it, when and why. */
export interface Recorded<V extends Version = Version> {
  readonly version: V
  readonly createdBy: string
  readonly createdAt: Instant
  /** Null for the first price list, which nobody gave a reason for. */
  readonly reason: string | null
}

export interface HistoryFilter {
  readonly model?: string | undefined
  readonly provider?: string | undefined
  readonly operation?: string | undefined
  readonly scope?: string | undefined
  readonly currency?: string | undefined
  readonly purpose?: string | undefined
}

/** A version of a model's price that an import proposes. */
export interface ProposedPrice {
  readonly listing: ModelListing
  /** Null for as soon as it is applied or accepted. */
  readonly effectiveFrom: Instant | null
}

export interface ImportToApply {
  readonly source: string
  readonly insert: readonly ProposedPrice[]
  /** What a person has to look at. */
  readonly quarantine: readonly (ProposedPrice & { readonly reasons: readonly string[] })[]
  /** Undecided proposals of earlier imports that the list does not make any more. */
  readonly supersede: readonly string[]
  readonly unchanged: number
  readonly skipped: number
}

/** An import that was applied. */
export interface PriceImport {
  readonly id: string
  readonly source: string
  readonly inserted: number
  readonly quarantined: number
  readonly unchanged: number
  readonly skipped: number
  readonly reason: string
  readonly createdBy: string
  readonly createdAt: Instant
}

export const QUARANTINE_STATUSES = ['pending', 'accepted', 'rejected', 'superseded'] as const
export type QuarantineStatus = (typeof QUARANTINE_STATUSES)[number]

export interface Quarantined {
  readonly id: string
  readonly importId: string
  readonly source: string
  readonly model: string
  readonly provider: string
  readonly proposal: ModelListing
  readonly effectiveFrom: Instant | null
  readonly currentId: string | null
  readonly reasons: readonly string[]
  readonly status: QuarantineStatus
  /** The version that accepting it added. */
  readonly versionId: string | null
  readonly decidedBy: string | null
  readonly decidedReason: string | null
  readonly decidedAt: Instant | null
  readonly createdAt: Instant
}

export interface PriceStore {
  readBook(): Promise<PriceBook>
  /** Adds a version with its audit row; `effectiveFrom` null is now. @throws FareboxError `effective_from_past`, `version_exists` */
  add(added: NewVersion, effectiveFrom: Instant | null, reason: string, speaker: Speaker): Promise<{ id: string; effectiveFrom: Instant }>
  /** Adds those of the first price list whose model, operation, scope or currency has no version yet. @returns how many */
  seed(versions: readonly NewVersion[], effectiveFrom: Instant): Promise<number>
  /** Versions of one kind, the last added first, those before an id only. */
  history(kind: VersionKind, filter: HistoryFilter, before: string | null, limit: number): Promise<Recorded[]>
  /** Adds what an import brings and quarantines what it doubts, with audit rows, all or nothing. @throws FareboxError `version_exists` */
  applyImport(plan: ImportToApply, reason: string, speaker: Speaker): Promise<{ id: string }>
  /** Imports that were applied, the newest first, those before an id only. */
  imports(before: string | null, limit: number): Promise<PriceImport[]>
  /** Quarantined proposals, the newest first, those before an id only. */
  quarantine(
    filter: { readonly status?: QuarantineStatus | undefined; readonly source?: string | undefined },
    before: string | null,
    limit: number,
  ): Promise<Quarantined[]>
  /** What was proposed by a list and is undecided or was rejected. */
  decided(source: string): Promise<Quarantined[]>
  /** Ends the quarantine of a proposal. @throws FareboxError `quarantine_not_found`, `quarantine_decided`, `version_exists` */
  decide(id: string, accept: boolean, reason: string, speaker: Speaker): Promise<Quarantined>
}
