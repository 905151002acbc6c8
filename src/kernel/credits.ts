/**
 * Credits. Inside Farebox an amount is a `bigint` of micro-credits (10⁻⁶ credit); on the wire it is a decimal string of
 * credits such as "12.5". A JavaScript number never holds an amount.
 */

export type Micro = bigint

export const MICRO_PER_CREDIT = 1_000_000n

/** The largest amount one command may name: 10¹² credits. Nine of them still fit PostgreSQL's BIGINT. */
export const AMOUNT_MICRO_MAX = 1_000_000_000_000n * MICRO_PER_CREDIT

/** The largest balance, hold or debt a wallet may reach: nine times the largest amount, below 2⁶³ − 1. */
export const BALANCE_MICRO_MAX = 9n * AMOUNT_MICRO_MAX

const DIGIT_ZERO = 0x30

/** Plain decimal: no sign, no exponent, no leading zeros, at most six decimals, at most thirteen digits before the point. */
export const CREDITS_PATTERN = /^(?:0|[1-9][0-9]{0,12})(?:\.[0-9]{1,6})?$/
/** The same with an optional leading minus, for adjustments and for balances in debt. */
export const SIGNED_CREDITS_PATTERN = /^-?(?:0|[1-9][0-9]{0,12})(?:\.[0-9]{1,6})?$/

/**
 * Micro-credits of a decimal string of credits.
 * @returns null when the text is not a plain decimal with at most six decimals or exceeds `AMOUNT_MICRO_MAX`; nothing is ever rounded.
 */
export function parseCredits(text: string): Micro | null {
  if (!SIGNED_CREDITS_PATTERN.test(text)) return null
  const negative = text.startsWith('-')
  const unsigned = negative ? text.slice(1) : text
  const point = unsigned.indexOf('.')
  const whole = point < 0 ? unsigned : unsigned.slice(0, point)
  const fraction = point < 0 ? '' : unsigned.slice(point + 1)
  const micro = BigInt(whole) * MICRO_PER_CREDIT + BigInt(fraction.padEnd(6, '0'))
  if (micro > AMOUNT_MICRO_MAX) return null
  return negative ? -micro : micro
}

/** The shortest decimal string of credits for an amount in micro-credits: 12500000n → "12.5", -1n → "-0.000001". */
export function formatCredits(micro: Micro): string {
  if (micro === 0n) return '0'
  const digits = (micro < 0n ? -micro : micro).toString().padStart(7, '0')
  const point = digits.length - 6
  let end = digits.length
  while (end > point && digits.charCodeAt(end - 1) === DIGIT_ZERO) end -= 1
  const sign = micro < 0n ? '-' : ''
  return end === point ? sign + digits.slice(0, point) : `${sign}${digits.slice(0, point)}.${digits.slice(point, end)}`
}

export function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

export function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
