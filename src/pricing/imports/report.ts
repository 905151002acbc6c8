import { type Instant, toWireTime } from '../../kernel/time.ts'
import { POOLS, type Rates } from '../pools.ts'
import type { ModelListing } from '../prices.ts'
import { haveSameAliases } from './canonical.ts'
import type { PriceList } from './listing.ts'
import type { ImportPlan, PlannedVersion, Quarantined } from './plan.ts'
import { type Condition, conditionsOf, describe, percentText, ratesAt } from './sanity.ts'
import { decimalTimes } from './source.ts'

/** Lines of a section, and names after a reason, unless everything is asked for. */
const LINES_MAX = 40
const NAMES_MAX = 5
/** Names and reasons come from somebody else's document. */
const LINE_CHARACTERS_MAX = 400

/**
 * What an import would do, for a terminal.
 * @param read what the reader left out
 */
export function reportOf(plan: ImportPlan, read: Pick<PriceList, 'skipped' | 'notes'>, { all }: { readonly all: boolean }): string {
  const added = plan.insert.filter(({ current }) => current === null)
  const changed = plan.insert.filter(({ current }) => current !== null)
  const changes = changed.flatMap((version) => changeLines(version, plan.now))
  const skipped = [...read.skipped, ...plan.skipped].map(({ model, reason }) => ({ model, text: reason }))
  const notes = read.notes.map(({ model, note }) => ({ model, text: note }))
  const lines = [
    `${plan.source}: ${count(added, 'new version')}, ${count(changed, 'changed version')}, ${plan.unchanged.length} unchanged, ` +
      `${plan.quarantine.length} held back (${plan.pending.length} more since earlier, ${plan.rejected.length} rejected earlier), ` +
      `${plan.vanished.length} vanished, ${skipped.length} skipped`,
    ...section('New', added.map(newLine), all),
    ...section('Changed', changes, all),
    ...section('Held back', plan.quarantine.flatMap(heldLines), all),
    ...section('Skipped', groupLines(skipped, all), all),
    ...section('Notes', groupLines(notes, all), all),
  ]
  return `${lines.map((line) => printable(line, all)).join('\n')}\n`
}

function count(items: readonly unknown[], name: string): string {
  return `${items.length} ${name}${items.length === 1 ? '' : 's'}`
}

function section(title: string, lines: readonly string[], all: boolean): string[] {
  if (lines.length === 0) return []
  const shown = all ? lines : lines.slice(0, LINES_MAX)
  const more = lines.length - shown.length
  return ['', `${title}:`, ...shown.map((line) => `  ${line}`), ...(more > 0 ? [`  … and ${more} more`] : [])]
}

function newLine({ listing }: PlannedVersion): string {
  const variants = listing.variants.map((variant) => `${describe(variant)}: ${ratesText(variant.rates)}`)
  return `${listing.model}  ${[ratesText(listing.rates), ...variants].join('; ')}`
}

function ratesText(rates: Rates): string {
  return POOLS.flatMap((pool) => (rates[pool] === undefined ? [] : [`${pool} ${rates[pool]}`])).join(', ')
}

function changeLines({ listing, current, effectiveFrom }: PlannedVersion, now: Instant): string[] {
  const from = effectiveFrom > now ? `, from ${toWireTime(effectiveFrom)}` : ''
  return current === null ? [] : changesOf(current, listing).map((change) => `${listing.model}  ${change}${from}`)
}

/** What another listing of the same model says differently: one text a price, then one for everything else. */
export function changesOf(current: ModelListing, next: ModelListing): string[] {
  const conditions: (Condition | null)[] = [null, ...conditionsOf(current.variants, next.variants)]
  const prices = conditions.flatMap((condition) => {
    const before = condition ? (ratesAt(current.variants, condition) ?? {}) : current.rates
    const after = condition ? (ratesAt(next.variants, condition) ?? {}) : next.rates
    const where = condition ? `${describe(condition)}: ` : ''
    return POOLS.flatMap((pool) => {
      const [was, is] = [before[pool], after[pool]].map((rate) => rate && decimalTimes(rate, 0))
      if (was === is) return []
      const percent = was === undefined || is === undefined || was === '0' ? '' : ` (${percentText(was, is)})`
      return [`${where}${pool}  ${was ?? 'no price'} → ${is ?? 'no price'}${percent}`]
    })
  })
  const others = otherChanges(current, next)
  return others.length > 0 ? [...prices, others.join(', ')] : prices
}

function otherChanges(current: ModelListing, next: ModelListing): string[] {
  const text = (value: unknown) => String(value ?? 'unknown')
  const changed = (name: string, was: unknown, is: unknown) => (was === is ? [] : [`${name} ${text(was)} → ${text(is)}`])
  return [
    ...changed('provider', current.provider, next.provider),
    ...(haveSameAliases(current, next) ? [] : ['other aliases']),
    ...changed('context window', current.contextWindow, next.contextWindow),
    ...changed('longest answer', current.maxOutputTokens, next.maxOutputTokens),
    ...changed('capabilities', [...current.capabilities].sort().join(' '), [...next.capabilities].sort().join(' ')),
    ...changed('cost tier', current.costTier, next.costTier),
    ...changed('enabled', current.enabled, next.enabled),
  ]
}

function heldLines({ listing, effectiveFrom, reasons }: Quarantined): string[] {
  const from = effectiveFrom === null ? '' : ` from ${toWireTime(effectiveFrom)}`
  return reasons.map((reason) => `${listing.model}${from}  ${reason}`)
}

/** One line a reason, the commonest first, with the first names that it holds for. */
function groupLines(items: readonly { readonly model: string; readonly text: string }[], all: boolean): string[] {
  const groups = [...Map.groupBy(items, ({ text }) => text)].sort(([, a], [, b]) => b.length - a.length)
  return groups.map(([text, members]) => {
    const names = members.map(({ model }) => model)
    const shown = all ? names : names.slice(0, NAMES_MAX)
    const more = names.length - shown.length
    return `${names.length} × ${text}: ${shown.join(', ')}${more > 0 ? ` … and ${more} more` : ''}`
  })
}

/** Without what would move a terminal's cursor. */
function printable(line: string, all: boolean): string {
  const clean = line.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\uFFFD')
  return all || clean.length <= LINE_CHARACTERS_MAX ? clean : `${clean.slice(0, LINE_CHARACTERS_MAX)}…`
}
