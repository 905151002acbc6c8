import type { Alias } from '../prices.ts'
import { type Fields, fieldsOf } from './source.ts'

/** Names that one model may go by. */
const ALIASES_MAX = 200

/**
 * Patterns that can be matched in one pass over a name: literals, escaped punctuation, digits and character classes, each at most
 * repeated a fixed number of times, between optional anchors. Anything else may take time without bound, or mean something else in
 * another language's expressions.
 */
const LINEAR = /^\^?(?:[A-Za-z0-9_/:@-]|\\[.\-/+]|(?:\\d|\[[A-Za-z0-9_.:@/-]+\])(?:\{[0-9]{1,2}\})?)+\$?$/

export function isLinearPattern(pattern: string): boolean {
  if (pattern.length > 200 || !LINEAR.test(pattern)) return false
  try {
    new RegExp(pattern)
    return true
  } catch {
    return false
  }
}

/** What a match clause says in our words, and the parts of it that cannot be said. */
export interface Translated {
  readonly aliases: readonly Alias[]
  readonly untranslated: readonly string[]
}

/**
 * The aliases of a match clause of genai-prices: `or` becomes several of them, `and` becomes `all`.
 * @param own the model's own name, which needs no alias
 */
export function aliasesOf(clause: unknown, own: string): Translated {
  const untranslated: string[] = []
  const alternatives = alternativesOf(clause, untranslated)
  const aliases = new Map<string, Alias>()
  for (const parts of alternatives) {
    const [first] = parts
    if (first === undefined || (parts.length === 1 && 'equals' in first && first.equals === own)) continue
    const alias = parts.length === 1 ? first : { all: parts }
    aliases.set(JSON.stringify(alias), alias)
  }
  if (aliases.size > ALIASES_MAX) return { aliases: [], untranslated: [`${aliases.size} names, more than ${ALIASES_MAX}`] }
  return { aliases: [...aliases.values()], untranslated }
}

/** Alternatives, each of parts that must all match. What cannot be said takes its alternative with it: fewer names, never more. */
function alternativesOf(clause: unknown, untranslated: string[]): Alias[][] {
  const fields = fieldsOf(clause) ?? {}
  const alias = simpleAlias(fields)
  if (alias) return [[alias]]
  if (Array.isArray(fields.or)) return fields.or.flatMap((one: unknown) => alternativesOf(one, untranslated))
  if (Array.isArray(fields.and)) {
    let product: Alias[][] = [[]]
    for (const one of fields.and) {
      const alternatives = alternativesOf(one, untranslated)
      product = product.flatMap((parts) => alternatives.map((more) => [...parts, ...more]))
      if (product.length > ALIASES_MAX) break
    }
    if (product.length <= ALIASES_MAX) return product
  }
  untranslated.push(JSON.stringify(clause) ?? 'nothing')
  return []
}

function simpleAlias(fields: Fields): Alias | null {
  if (isName(fields.equals)) return { equals: fields.equals }
  if (isName(fields.starts_with)) return { startsWith: fields.starts_with }
  if (isName(fields.ends_with)) return { endsWith: fields.ends_with }
  if (isName(fields.contains)) return { contains: fields.contains }
  if (isName(fields.regex) && isLinearPattern(fields.regex)) return { regex: fields.regex }
  return null
}

/** An empty text would begin, end and lie within every name. */
function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 200
}
