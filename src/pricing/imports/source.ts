import { findDuplicateKey } from '../../http/json-duplicate.ts'
import { fail } from '../../kernel/errors.ts'

/**
 * Reading a public price list without losing a digit: a number keeps the text that it has in the document, and arithmetic moves the
 * decimal point of that text. No price is ever a float.
 */

/** Characters of a document. The largest list known has about two million. */
export const SOURCE_CHARACTERS_MAX = 64_000_000

/** What a price column holds: below 10⁹, at most 20 decimals. */
const WHOLE_DIGITS_MAX = 9
const DECIMALS_MAX = 20

/** An exponent or a run of digits beyond this is no price, and writing it out would cost memory. */
const EXPONENT_MAX = 400
const NUMBER_CHARACTERS_MAX = 100

const NUMBER = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,4}))?$/

/** Why one model of a list is left out. Thrown while it is read and caught by the loop over the models: the others are listed. */
export class Skip extends Error {
  override readonly name = 'Skip'
}

/** A JSON object whose numbers are texts. */
export type Fields = Readonly<Record<string, unknown>>

type SourceReviver = (key: string, value: unknown, context: { readonly source: string }) => unknown
const parseWithSource = JSON.parse as (text: string, reviver: SourceReviver) => unknown

/**
 * The value of a JSON text, each number as the string that it is written as.
 * @param list the list's name, for the message
 * @throws FareboxError `invalid_json` when the text is not JSON, or too long; `duplicate_json_key`
 */
export function parseSource(text: string, list: string): unknown {
  if (text.length > SOURCE_CHARACTERS_MAX)
    throw fail('invalid_json', `The ${list} price list is longer than ${SOURCE_CHARACTERS_MAX} characters.`)
  let value: unknown
  try {
    value = parseWithSource(text, (_, value, context) => (typeof value === 'number' ? context.source : value))
  } catch (error) {
    const detail = error instanceof Error ? error.message : 'it cannot be parsed'
    throw fail('invalid_json', `The ${list} price list is not valid JSON: ${detail}`, undefined, error)
  }
  // JSON.parse would take the last of two prices and say nothing.
  const duplicate = findDuplicateKey(text)
  if (duplicate !== null) throw fail('duplicate_json_key', `The ${list} price list has this twice: ${duplicate.map(String).join(' / ')}.`)
  return value
}

/** The error `price_list_invalid` for a document that is JSON, but not this list. */
export function notThisList(list: string, expected: string): Error {
  return fail('price_list_invalid', `This is not a ${list} price list: ${expected}.`)
}

/**
 * The canonical plain decimal of a JSON number or numeric string, times a power of ten: no exponent, no trailing zeros, "0" for zero.
 * `decimalTimes('1.25e-06', 6)` is "1.25".
 * @throws Skip when it is no number, negative, or not exactly representable as a price
 */
export function decimalTimes(value: unknown, powerOfTen: number): string {
  const match = typeof value === 'string' && value.length <= NUMBER_CHARACTERS_MAX ? NUMBER.exec(value) : null
  if (!match) throw new Skip('a price is not a number')
  const [, sign, whole = '', fraction = '', exponentText = '0'] = match
  const digits = (whole + fraction).replace(/^0+/, '')
  if (digits === '') return '0'
  if (sign === '-') throw new Skip('a price is negative: it varies')
  const exponent = Number(exponentText) - fraction.length + powerOfTen
  if (Math.abs(exponent) > EXPONENT_MAX) throw new Skip('a price is not representable: it has an extreme exponent')
  return plain(digits, exponent)
}

/** Digits times a power of ten as a plain decimal. */
function plain(digits: string, exponent: number): string {
  const significant = digits.replace(/0+$/, '')
  const power = exponent + digits.length - significant.length
  const padded = power >= 0 ? significant + '0'.repeat(power) : significant.padStart(1 - power, '0')
  const decimals = Math.max(0, -power)
  const whole = padded.slice(0, padded.length - decimals)
  if (whole.length > WHOLE_DIGITS_MAX) throw new Skip('a price is not representable: it is 10^9 or more')
  if (decimals > DECIMALS_MAX) throw new Skip(`a price is not representable: it has more than ${DECIMALS_MAX} decimals`)
  return decimals === 0 ? whole : `${whole}.${padded.slice(padded.length - decimals)}`
}

/** A positive whole number of tokens, or null where the list has none or something else. */
export function countOrNull(value: unknown): number | null {
  if (typeof value !== 'string') return null
  try {
    const text = decimalTimes(value, 0)
    return text === '0' || text.includes('.') ? null : Number(text)
  } catch (error) {
    if (error instanceof Skip) return null
    throw error
  }
}

export function fieldsOf(value: unknown): Fields | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : null
}

/** The texts of a JSON array of texts; empty for anything else. */
export function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}
