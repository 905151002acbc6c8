import type { Speaker } from '../../ledger/book.ts'
import type { PriceBook } from '../prices.ts'
import { inForce } from '../prices.ts'
import type { PriceStore } from '../store.ts'
import { canonical } from './canonical.ts'
import { readGenaiPrices } from './genai-prices.ts'
import type { PriceList } from './listing.ts'
import { readLitellm } from './litellm.ts'
import { readModelsDev } from './models-dev.ts'
import { readOpenrouter } from './openrouter.ts'
import { type ImportPlan, planImport } from './plan.ts'

const READERS = {
  litellm: readLitellm,
  'genai-prices': readGenaiPrices,
  openrouter: readOpenrouter,
  'models-dev': readModelsDev,
} as const

export type ListFormat = keyof typeof READERS
export const LIST_FORMATS = Object.keys(READERS) as [ListFormat, ...ListFormat[]]

/** What importing a document would do, and what was left out of it. */
export interface PlannedImport {
  readonly plan: ImportPlan
  readonly list: PriceList
  /** Undecided proposals of earlier imports that this document does not make any more. */
  readonly supersede: readonly string[]
}

/**
 * Reads a price list and compares it with the prices there are. Nothing is changed.
 * @param bandPercent by how much a price may change without a person looking
 * @throws FareboxError `invalid_json`, `price_list_invalid`
 */
export async function prepareImport(
  store: Pick<PriceStore, 'decided'>,
  book: PriceBook,
  format: ListFormat,
  document: string,
  bandPercent: number,
): Promise<PlannedImport> {
  const list = READERS[format](document)
  const now = Date.now()
  const earlier = await store.decided(format)
  const sourceModels = new Set([...book.models].flatMap(([model, versions]) => (inForce(versions, now)?.source === format ? [model] : [])))
  const plan = planImport(book.models, list.listed, {
    source: format,
    now,
    bandPercent,
    sourceModels,
    decided: earlier.map(({ proposal, effectiveFrom, status }) => ({
      listing: proposal,
      effectiveFrom,
      state: status === 'rejected' ? 'rejected' : 'pending',
    })),
  })
  const stillProposed = new Set(plan.pending.map(({ listing, effectiveFrom }) => `${effectiveFrom} ${canonical(listing)}`))
  const supersede = earlier
    .filter(({ status, effectiveFrom, proposal }) => status === 'pending' && !stillProposed.has(`${effectiveFrom} ${canonical(proposal)}`))
    .map(({ id }) => id)
  return { plan, list, supersede }
}

/** Whether applying would change anything. */
export function isIdle({ plan, supersede }: PlannedImport): boolean {
  return plan.insert.length === 0 && plan.quarantine.length === 0 && supersede.length === 0
}

/** Applies what was planned, all or nothing. @throws FareboxError `version_exists` when somebody else was faster */
export function applyImport(
  store: Pick<PriceStore, 'applyImport'>,
  { plan, list, supersede }: PlannedImport,
  reason: string,
  speaker: Speaker,
): Promise<{ id: string }> {
  return store.applyImport(
    {
      source: plan.source,
      insert: plan.insert,
      quarantine: plan.quarantine,
      supersede,
      unchanged: plan.unchanged.length,
      skipped: list.skipped.length + plan.skipped.length,
    },
    reason,
    speaker,
  )
}
