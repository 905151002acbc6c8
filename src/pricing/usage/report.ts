import { type FieldError, type Refusal, refusal } from '../../kernel/errors.ts'
import { done, type Outcome, refuse } from '../../ledger/command.ts'
import type { Counter, Reported } from './counters.ts'
import { FORMATS, type Format, type FormatName, type Mappings } from './formats.ts'
import { isObject, member, place, pointerOf, valuesAt } from './places.ts'

/**
 * The counts of a usage object, bare or in its response body, as counters that contain each other.
 * @returns `invalid_request` where something required is missing, nothing is reported, or a count is not a whole number of zero or more
 */
export function reportedUsage(name: FormatName, usage: unknown): Outcome<Reported> {
  const located = locate(FORMATS[name], usage)
  if ('message' in located) return refuse(wrong(name, '', located))
  const { counters, object, pointer } = located
  const reported: Partial<Record<Counter, number>> = {}
  for (const [counter, texts] of Object.entries(counters) as [Counter, readonly string[]][]) {
    for (const text of texts) {
      const count = countAt(object, text)
      if (count === undefined) continue
      if (typeof count !== 'number') return refuse(wrong(name, pointer, count))
      reported[counter] = (reported[counter] ?? 0) + count
    }
    const sum = reported[counter] ?? 0
    if (!Number.isSafeInteger(sum)) return refuse(wrong(name, pointer, { pointer: '', message: `reports too many ${counter}` }))
  }
  if (Object.keys(reported).length === 0) return refuse(wrong(name, pointer, { pointer: '', message: 'reports nothing' }))
  return done(reported)
}

/** The model that a response body names, if it does. */
export function reportedModel(name: FormatName, body: unknown): string | undefined {
  const found = valuesAt(body, place(FORMATS[name].model))
  const value = 'message' in found ? undefined : found[0]?.value
  return typeof value === 'string' ? value : undefined
}

interface Located {
  readonly object: Readonly<Record<string, unknown>>
  readonly pointer: string
  readonly counters: Mappings
}

function locate(format: Format, usage: unknown): Located | FieldError {
  if (!isObject(usage)) return { pointer: '', message: 'must be an object' }
  for (const root of format.roots) {
    const found = valuesAt(usage, place(root))
    if ('message' in found) return found
    const [first] = found
    if (!first) continue
    const { value: object, pointer } = first
    if (!isObject(object)) return { pointer, message: 'must be an object' }
    const counters = countersFor(format, object)
    // Counts in both places would leave it to chance which of them are billed.
    const twice = topMembers(counters).find((name) => (member(usage, name) ?? null) !== null)
    if (twice) return { pointer: `/${twice}`, message: `must not stand beside ${pointer}` }
    return { object, pointer, counters }
  }
  return { object: usage, pointer: '', counters: countersFor(format, usage) }
}

function countersFor({ counters, nested }: Format, usage: Readonly<Record<string, unknown>>): Mappings {
  return nested && isObject(member(usage, nested.at)) ? nested.counters : counters
}

function topMembers(counters: Mappings): string[] {
  return Object.values(counters).flatMap((texts) => texts.map((text) => place(text).steps[0] as string))
}

/** The count at a place, undefined where it is absent and may be. */
function countAt(usage: unknown, text: string): number | FieldError | undefined {
  const at = place(text)
  const found = valuesAt(usage, at)
  if ('message' in found) return found
  if (found.length === 0) return at.required ? { pointer: pointerOf(at), message: 'is missing' } : undefined
  let sum = 0
  for (const { pointer, value } of found) {
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
      return { pointer, message: 'must be a count, a whole number from 0 to 2^53 - 1' }
    }
    sum += value
  }
  return sum
}

function wrong(format: FormatName, root: string, { pointer, message }: FieldError): Refusal {
  const error = { pointer: root + pointer, message }
  return { ...refusal('invalid_request', `${error.pointer || 'The usage'} ${message} (format ${format}).`), errors: [error] }
}
