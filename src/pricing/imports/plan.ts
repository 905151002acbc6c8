import type { Instant } from '../../kernel/time.ts'
import { inForce, type ModelListing, type ModelPrice } from '../prices.ts'
import { canonical, isSame } from './canonical.ts'
import type { Listed, Skipped } from './listing.ts'
import { implausible } from './sanity.ts'

/** A version to add. */
export interface PlannedVersion {
  readonly listing: ModelListing
  /** Now, or later where the list says so: no version takes effect in the past. */
  readonly effectiveFrom: Instant
  /** What holds until then. */
  readonly current: ModelListing | null
}

/** A version that a person has to look at first. */
export interface Quarantined {
  readonly listing: ModelListing
  /** Null for one that takes effect when it is approved. */
  readonly effectiveFrom: Instant | null
  readonly reasons: readonly string[]
  readonly current: ModelListing | null
}

/** A version that was quarantined before, and what became of it. */
export interface Decided {
  readonly listing: ModelListing
  readonly effectiveFrom: Instant | null
  readonly state: 'pending' | 'rejected'
}

export interface ImportOptions {
  /** The list's name. */
  readonly source: string
  readonly now: Instant
  /** Percent by which a price may change without anybody looking. */
  readonly bandPercent: number
  readonly decided: readonly Decided[]
  /** Models whose version in force came from this list. */
  readonly sourceModels: ReadonlySet<string>
}

/** What importing a list would do. All lists are ordered by model, so that the same list always makes the same plan. */
export interface ImportPlan {
  readonly source: string
  readonly now: Instant
  readonly insert: readonly PlannedVersion[]
  /** Held back, the old prices stay. What is here for the first time, vanished models included. */
  readonly quarantine: readonly Quarantined[]
  /** Models of which the book says all that the list says. */
  readonly unchanged: readonly string[]
  /** Models of this list that it does not have any more. Their prices stay. */
  readonly vanished: readonly ModelPrice[]
  /** Held back by an earlier import already, and not decided; with the time that it was held back with. */
  readonly pending: readonly Quarantined[]
  /** Held back by an earlier import and rejected. */
  readonly rejected: readonly Quarantined[]
  readonly skipped: readonly Skipped[]
}

/** The reason of a model that its list does not have any more. */
export const VANISHED = 'vanished'

/**
 * The plan of an import: pure, and empty when the list was imported before.
 * @param current all versions of each model, newest first
 */
export function planImport(
  current: ReadonlyMap<string, readonly ModelPrice[]>,
  listed: readonly Listed[],
  options: ImportOptions,
): ImportPlan {
  const planner = new Planner(current, options)
  const byModel = Map.groupBy(listed, ({ listing }) => listing.model)
  const vanished = [...options.sourceModels].filter((model) => !byModel.has(model))
  for (const model of [...byModel.keys(), ...vanished].sort(byCodeUnit)) {
    const versions = byModel.get(model)
    if (versions) planner.planModel(model, versions)
    else planner.planVanished(model)
  }
  return planner.done()
}

class Planner {
  readonly #current: ReadonlyMap<string, readonly ModelPrice[]>
  readonly #options: ImportOptions
  readonly #decided: ReadonlyMap<string, readonly Decided[]>
  readonly #insert: PlannedVersion[] = []
  readonly #quarantine: Quarantined[] = []
  readonly #unchanged: string[] = []
  readonly #vanished: ModelPrice[] = []
  readonly #pending: Quarantined[] = []
  readonly #rejected: Quarantined[] = []
  readonly #skipped: Skipped[] = []

  constructor(current: ReadonlyMap<string, readonly ModelPrice[]>, options: ImportOptions) {
    this.#current = current
    this.#options = options
    this.#decided = Map.groupBy(options.decided, ({ listing }) => canonical(listing))
  }

  planModel(model: string, listed: readonly Listed[]): void {
    const { now } = this.#options
    const book = this.#current.get(model) ?? []
    const held = inForce(book, now)
    const versions = this.#inOrder(model, listed)
    const past = versions.filter((version) => (version.effectiveFrom ?? now) <= now)
    const present = past.at(-1)
    for (const _ of past.slice(0, -1)) this.#skipped.push({ model, reason: 'superseded by a later version in the same list' })
    let isUnchanged = true
    let last: { listing: ModelListing; effectiveFrom: Instant } | null = held ? { listing: held, effectiveFrom: held.effectiveFrom } : null
    for (const version of present ? [present, ...versions.slice(past.length)] : versions) {
      const effectiveFrom = Math.max(version.effectiveFrom ?? now, now)
      // Somebody else's version that is already planned may come in between.
      const other = inForce(book, effectiveFrom)
      const before = other && other.effectiveFrom >= (last?.effectiveFrom ?? Number.NEGATIVE_INFINITY) ? other : last?.listing
      // Lists do not say whether a model is to be offered: whoever disabled it here meant it.
      const listing = before && !before.enabled ? { ...version.listing, enabled: false } : version.listing
      if (before && isSame(before, listing)) continue
      isUnchanged = false
      if (version === present && held && this.#isOlder(version, held)) {
        this.#skipped.push({ model, reason: `older than the version in force, which did not come from ${this.#options.source}` })
        continue
      }
      const reasons = implausible(before ?? null, listing, this.#options.bandPercent)
      if (book.some((one) => one.effectiveFrom === effectiveFrom)) reasons.push('another version takes effect at the same time')
      if (reasons.length > 0) {
        this.#hold({ listing, effectiveFrom: effectiveFrom > now ? effectiveFrom : null, reasons, current: before ?? null })
      } else {
        this.#insert.push({ listing, effectiveFrom, current: before ?? null })
        last = { listing, effectiveFrom }
      }
    }
    if (isUnchanged) this.#unchanged.push(model)
  }

  /** What would disable the model waits for a person: a list that was cut short must not take models out of service. */
  planVanished(model: string): void {
    const held = inForce(this.#current.get(model), this.#options.now)
    if (!held?.enabled) return
    this.#vanished.push(held)
    this.#hold({ listing: disabled(held), effectiveFrom: null, reasons: [VANISHED], current: held })
  }

  done(): ImportPlan {
    return {
      source: this.#options.source,
      now: this.#options.now,
      insert: this.#insert,
      quarantine: this.#quarantine,
      unchanged: this.#unchanged,
      vanished: this.#vanished,
      pending: this.#pending,
      rejected: this.#rejected,
      skipped: this.#skipped,
    }
  }

  /** A model's versions from the one without a date to the last. */
  #inOrder(model: string, listed: readonly Listed[]): Listed[] {
    const byDate = new Map<Instant | null, Listed>()
    for (const one of listed) {
      if (byDate.has(one.effectiveFrom)) this.#skipped.push({ model, reason: 'listed twice' })
      else byDate.set(one.effectiveFrom, one)
    }
    const timeOf = ({ effectiveFrom }: Listed) => effectiveFrom ?? Number.NEGATIVE_INFINITY
    return [...byDate.values()].sort((a, b) => (timeOf(a) < timeOf(b) ? -1 : 1))
  }

  /** A dated price that somebody replaced since then. Where it was this list, the list has changed its mind about the past. */
  #isOlder({ listing, effectiveFrom }: Listed, held: ModelPrice): boolean {
    return effectiveFrom !== null && held.effectiveFrom > effectiveFrom && !this.#options.sourceModels.has(listing.model)
  }

  #hold(item: Quarantined): void {
    const { now } = this.#options
    const timeOf = ({ effectiveFrom }: Pick<Quarantined, 'effectiveFrom'>) =>
      effectiveFrom !== null && effectiveFrom > now ? effectiveFrom : null
    const known = this.#decided.get(canonical(item.listing))?.filter((one) => timeOf(one) === timeOf(item)) ?? []
    const decision = known.find(({ state }) => state === 'pending') ?? known[0]
    if (decision === undefined) this.#quarantine.push(item)
    else (decision.state === 'pending' ? this.#pending : this.#rejected).push({ ...item, effectiveFrom: decision.effectiveFrom })
  }
}

/** The listing of a version, without its id and time and out of service. */
function disabled(version: ModelPrice): ModelListing {
  const { model, provider, rates, variants, aliases, contextWindow, maxOutputTokens, capabilities, costTier } = version
  return { model, provider, rates, variants, aliases, contextWindow, maxOutputTokens, capabilities, costTier, enabled: false }
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : 1
}
