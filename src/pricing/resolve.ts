import type { Instant } from '../kernel/time.ts'
import { providerOf } from './imports/names.ts'
import { type Alias, inForce, type ModelPrice, type PriceBook } from './prices.ts'

/**
 * Which priced model a name means. A model's own id comes first, then `provider/name` within that provider, then aliases; of
 * several aliases the most specific one counts. Dates and versions in a name are never dropped: another date is another price.
 */

/** Names whose candidates are remembered; the names come from callers. */
const MEMO_MAX = 10_000

interface Index {
  /** The versions of each model, in the order of their ids, so that equal weights always fall out the same way. */
  readonly models: readonly (readonly ModelPrice[])[]
  readonly providers: ReadonlySet<string>
  /** For each asked name, the models any version of which has a matching alias. */
  readonly memo: Map<string, readonly (readonly ModelPrice[])[]>
}

const indexes = new WeakMap<PriceBook, Index>()

/**
 * The version in force at a time of the model that a name means, or undefined. A disabled model is found: that is not the same as
 * unknown.
 * @param provider who serves the model, where the caller says so
 */
export function resolveModel(book: PriceBook, at: Instant, name: string, provider: string | null): ModelPrice | undefined {
  const exact = inForce(book.models.get(name), at)
  if (exact && (provider === null || isServedBy(exact, provider))) return exact
  const index = indexOf(book)
  for (const text of spellings(name)) {
    const found = resolveSpelling(book, index, at, text, provider)
    if (found) return found
  }
  return undefined
}

function resolveSpelling(book: PriceBook, index: Index, at: Instant, name: string, provider: string | null): ModelPrice | undefined {
  if (provider !== null) return within(book, index, at, name, provider)
  const exact = inForce(book.models.get(name), at)
  if (exact) return exact
  const slash = name.indexOf('/')
  if (slash < 0) return byAlias(index, at, name, isBare)
  const prefix = name.slice(0, slash)
  const served = index.providers.has(providerOf(prefix)) ? within(book, index, at, name.slice(slash + 1), prefix) : undefined
  // Somebody else may serve a model of that name, at another price: only an alias that has the path itself means it.
  return served ?? byAlias(index, at, name, isBare, namesPath)
}

function within(book: PriceBook, index: Index, at: Instant, name: string, provider: string): ModelPrice | undefined {
  for (const id of [`${provider}/${name}`, `${providerOf(provider)}/${name}`, name]) {
    const price = inForce(book.models.get(id), at)
    if (price && isServedBy(price, provider)) return price
  }
  return byAlias(index, at, name, (price) => isServedBy(price, provider))
}

/** Lists spell a provider in one way, callers and whoever sets a price by hand in several. */
function isServedBy(price: ModelPrice, provider: string): boolean {
  return price.provider === provider || providerOf(price.provider) === providerOf(provider)
}

/** Named by its maker's own name, so that a name without a provider can mean it. */
function isBare({ model, provider }: ModelPrice): boolean {
  return !model.startsWith(`${provider}/`)
}

function namesPath(alias: Alias): boolean {
  return 'all' in alias ? alias.all.some(namesPath) : Object.values(alias).some((text) => String(text).includes('/'))
}

function byAlias(
  index: Index,
  at: Instant,
  name: string,
  isMeant: (price: ModelPrice) => boolean,
  counts: (alias: Alias) => boolean = () => true,
): ModelPrice | undefined {
  let best: { price: ModelPrice; weight: number } | undefined
  for (const versions of candidates(index, name)) {
    const price = inForce(versions, at)
    // Asked of the version in force: what a later one says does not hold yet.
    if (!price || !isMeant(price)) continue
    const weight = Math.max(0, ...price.aliases.filter(counts).map((alias) => weightOf(alias, name)))
    if (weight > (best?.weight ?? 0)) best = { price, weight }
  }
  return best?.price
}

/** The name as it came, and without what only says how it was reached ("models/", also after a provider's name). */
function spellings(name: string): string[] {
  const bare = name.replace(/^([^/]*\/)?models\//, '$1')
  return [...new Set([name, bare, bare.toLowerCase()])]
}

function candidates(index: Index, name: string): readonly (readonly ModelPrice[])[] {
  let found = index.memo.get(name)
  if (!found) {
    found = index.models.filter((versions) => versions.some((version) => version.aliases.some((alias) => weightOf(alias, name) > 0)))
    if (index.memo.size >= MEMO_MAX) index.memo.clear()
    index.memo.set(name, found)
  }
  return found
}

function indexOf(book: PriceBook): Index {
  let index = indexes.get(book)
  if (!index) {
    const models = [...book.models].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, versions]) => versions)
    index = {
      models,
      providers: new Set(models.flatMap((versions) => versions.map((version) => providerOf(version.provider)))),
      memo: new Map(),
    }
    indexes.set(book, index)
  }
  return index
}

/** 0 where the alias does not match; the longer the text that it pins down, the more. */
export function weightOf(alias: Alias, name: string): number {
  if ('equals' in alias) return name === alias.equals ? Number.MAX_SAFE_INTEGER : 0
  if ('startsWith' in alias) return name.startsWith(alias.startsWith) ? alias.startsWith.length : 0
  if ('endsWith' in alias) return name.endsWith(alias.endsWith) ? alias.endsWith.length : 0
  if ('contains' in alias) return name.includes(alias.contains) ? alias.contains.length : 0
  if ('regex' in alias) return compiled(alias.regex).test(name) ? alias.regex.length : 0
  const weights = alias.all.map((part) => weightOf(part, name))
  return weights.every((weight) => weight > 0)
    ? Math.min(
        Number.MAX_SAFE_INTEGER - 1,
        weights.reduce((sum, weight) => sum + weight, 0),
      )
    : 0
}

const patterns = new Map<string, RegExp>()

function compiled(pattern: string): RegExp {
  let regex = patterns.get(pattern)
  if (!regex) {
    regex = new RegExp(pattern)
    patterns.set(pattern, regex)
  }
  return regex
}
