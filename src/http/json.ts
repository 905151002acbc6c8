import { isUtf8 } from 'node:buffer'
import { type ErrorCode, FareboxError } from '../kernel/errors.ts'
import { findDuplicateKey } from './json-duplicate.ts'
import { fieldError } from './pointer.ts'

/**
 * Reading JSON without the surprises of `JSON.parse`: no duplicate keys (the last would win silently), no text that PostgreSQL
 * cannot store or UTF-8 cannot spell, no numbers that lose digits, no prototype poisoning, bounded depth.
 *
 * The good case is one parse, one count of quotes and one walk. Only when they find something does a second walk look for the
 * place.
 */

export const JSON_DEPTH_MAX = 32

const QUOTE = 0x22
const BACKSLASH = 0x5c
const WRONG = -1

/** The value of a JSON text in UTF-8. @throws FareboxError with the pointer to what is wrong */
export function parseJson(bytes: Buffer): unknown {
  if (bytes.length === 0) throw notJson('The body is empty.')
  if (!isUtf8(bytes)) throw notJson('The body is not valid UTF-8.')
  const text = bytes.toString('utf8')
  const escapes = text.includes('\\')
  let value: unknown
  try {
    value = JSON.parse(text)
    if (escapes) value = withEscapedNames(text, value)
  } catch (error) {
    throw notJson('The body is not one valid JSON text.', error)
  }
  // Only an escape can bring in a lone surrogate or a NUL: valid UTF-8 has no surrogates, and JSON no raw control characters.
  const strings = countStrings(value, escapes, 1)
  if (strings === WRONG) throw locateFault(value, [])
  // In valid JSON every quote that no backslash precedes opens or closes a string. A duplicate key is gone from the value.
  if (strings * 2 !== countQuotes(text)) throw duplicateKey(text)
  return value
}

/** Every string of a valid JSON text, with the colon where it is a name. */
const STRINGS = /"(?:[^"\\]|\\.)*"(\s*:)?/gs

/**
 * The value of a valid text some of whose names may have escapes. V8 compares the next name with the one that objects of this shape
 * had before, and takes `"\""` for the name `\` where an earlier text, of anybody, had that one (Node 24.21). So names with escapes
 * are replaced by others while the text is parsed, and put back.
 * @param value what JSON.parse made of the text
 */
function withEscapedNames(text: string, value: unknown): unknown {
  const names: string[] = []
  let stem = 'name'
  while (text.includes(stem)) stem += '_'
  const plain = text.replace(STRINGS, (string, colon: string | undefined) => {
    if (colon === undefined || !string.includes('\\')) return string
    names.push(JSON.parse(string.slice(0, string.lastIndexOf('"') + 1)) as string)
    return `"${stem}${names.length - 1}"${colon}`
  })
  return names.length === 0 ? value : named(JSON.parse(plain), stem, names)
}

/** A name that is there twice once it is put back is gone from the value, like any duplicate. */
function named(value: unknown, stem: string, names: readonly string[]): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => named(item, stem, names))
  const result: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(value)) {
    const key = name.startsWith(stem) ? (names[Number(name.slice(stem.length))] as string) : name
    // Not by assignment: that would set a prototype.
    Object.defineProperty(result, key, { value: named(field, stem, names), enumerable: true, writable: true, configurable: true })
  }
  return result
}

/** Keys and string values below a value, or WRONG where it holds something that is refused. */
function countStrings(value: unknown, escapes: boolean, depth: number): number {
  if (typeof value === 'string') return escapes && isUnstorable(value) ? WRONG : 1
  if (typeof value === 'number') return isLossy(value) ? WRONG : 0
  if (typeof value !== 'object' || value === null) return 0
  if (depth > JSON_DEPTH_MAX) return WRONG
  let count = 0
  if (Array.isArray(value)) {
    for (const item of value) {
      const inner = countStrings(item, escapes, depth + 1)
      if (inner === WRONG) return WRONG
      count += inner
    }
    return count
  }
  for (const key in value) {
    const field = (value as Record<string, unknown>)[key]
    if (isPoison(key, field) || (escapes && isUnstorable(key))) return WRONG
    const inner = countStrings(field, escapes, depth + 1)
    if (inner === WRONG) return WRONG
    count += inner + 1
  }
  return count
}

/** Quotes that are not escaped: two for each string in a valid JSON text, since backslashes occur inside strings only. */
function countQuotes(text: string): number {
  let count = 0
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i)
    if (unit === QUOTE) count += 1
    else if (unit === BACKSLASH) i += 1
  }
  return count
}

function isUnstorable(text: string): boolean {
  return text.includes('\0') || !text.isWellFormed()
}

/** Infinity from `1e999`, or an integer that a double cannot hold: JSON.parse has already changed it. */
function isLossy(value: number): boolean {
  return !Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))
}

function isPoison(key: string, value: unknown): boolean {
  if (key === '__proto__') return true
  return key === 'constructor' && typeof value === 'object' && value !== null && Object.hasOwn(value, 'prototype')
}

/** The error for the first fault in a value that has one. */
function locateFault(value: unknown, path: PropertyKey[]): FareboxError {
  const fault = faultAt(value, path)
  return fault ?? notJson('The body is not acceptable JSON.')
}

function faultAt(value: unknown, path: PropertyKey[]): FareboxError | null {
  if (typeof value === 'string') return isUnstorable(value) ? wrong('invalid_request', path, UNSTORABLE) : null
  if (typeof value === 'number') return isLossy(value) ? wrong('invalid_request', path, 'is a number that would lose digits') : null
  if (typeof value !== 'object' || value === null) return null
  if (path.length >= JSON_DEPTH_MAX) return wrong('invalid_request', path, `is nested deeper than ${JSON_DEPTH_MAX} levels`)
  for (const [key, field] of Object.entries(value)) {
    const inner = [...path, key]
    if (isPoison(key, field)) return wrong('invalid_request', inner, 'is not an acceptable name')
    if (isUnstorable(key)) return wrong('invalid_request', inner, UNSTORABLE)
    const fault = faultAt(field, inner)
    if (fault) return fault
  }
  return null
}

const UNSTORABLE = 'holds U+0000 or half of a surrogate pair'

function duplicateKey(text: string): FareboxError {
  const path = findDuplicateKey(text)
  return path ? wrong('duplicate_json_key', path, 'is named twice') : notJson('The body names a key twice.')
}

function wrong(code: ErrorCode, path: readonly PropertyKey[], message: string): FareboxError {
  const error = fieldError(path, message)
  // A NUL or a lone surrogate in a key must not come back in the pointer that names it.
  const pointer = error.pointer.toWellFormed().replaceAll('\0', '\uFFFD')
  return new FareboxError({ code, detail: `${pointer || 'The body'} ${message}.`, errors: [{ pointer, message }] })
}

function notJson(detail: string, cause?: unknown): FareboxError {
  return new FareboxError({ code: 'invalid_json', detail, errors: [{ pointer: '', message: 'is not one valid JSON text' }] }, cause)
}
