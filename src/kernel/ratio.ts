/** Exact rational numbers over `bigint`. Prices, rates and markups are ratios until the one rounding of a charge. */
export interface Ratio {
  readonly n: bigint
  /** Always positive. */
  readonly d: bigint
}

export const ZERO: Ratio = { n: 0n, d: 1n }
export const ONE: Ratio = { n: 1n, d: 1n }

const DECIMAL = /^(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$/

/**
 * The exact ratio of a plain, non-negative decimal string: "1.25" → 125/100.
 * @throws RangeError when the text is not one; the text comes from a column or a validated request, so this is our mistake.
 */
export function ratioOf(decimal: string): Ratio {
  if (!DECIMAL.test(decimal)) throw new RangeError(`not a plain decimal: ${decimal}`)
  const [whole = '0', fraction = ''] = decimal.split('.')
  return reduce({ n: BigInt(whole + fraction), d: 10n ** BigInt(fraction.length) })
}

export function add(a: Ratio, b: Ratio): Ratio {
  return { n: a.n * b.d + b.n * a.d, d: a.d * b.d }
}

export function multiply(a: Ratio, b: Ratio): Ratio {
  return { n: a.n * b.n, d: a.d * b.d }
}

export function scale(a: Ratio, factor: bigint): Ratio {
  return { n: a.n * factor, d: a.d }
}

/** ⌈n/d⌉ of a non-negative ratio. */
export function ceil(a: Ratio): bigint {
  return (a.n + a.d - 1n) / a.d
}

/** ⌊n/d⌋ of a non-negative ratio. */
export function floor(a: Ratio): bigint {
  return a.n / a.d
}

/** The same value in lowest terms. */
export function reduce(a: Ratio): Ratio {
  let [x, y] = [a.n < 0n ? -a.n : a.n, a.d]
  while (y > 0n) [x, y] = [y, x % y]
  return x > 1n ? { n: a.n / x, d: a.d / x } : a
}

/** The plain decimal string of a non-negative ratio that has one: 125/100 → "1.25". @throws RangeError when its decimals never end */
export function decimalOf(ratio: Ratio): string {
  const { n, d } = reduce(ratio)
  let rest = d
  let decimals = 0
  while (rest % 10n === 0n) [rest, decimals] = [rest / 10n, decimals + 1]
  while (rest % 5n === 0n) [rest, decimals] = [rest / 5n, decimals + 1]
  while (rest % 2n === 0n) [rest, decimals] = [rest / 2n, decimals + 1]
  if (rest !== 1n) throw new RangeError(`not a finite decimal: ${n}/${d}`)
  const digits = ((n * 10n ** BigInt(decimals)) / d).toString().padStart(decimals + 1, '0')
  const point = digits.length - decimals
  const fraction = digits.slice(point).replace(/0+$/, '')
  return fraction === '' ? digits.slice(0, point) : `${digits.slice(0, point)}.${fraction}`
}

/** Less than 0, 0 or more than 0, as the first is smaller than, equal to or larger than the second. */
export function compare(a: Ratio, b: Ratio): number {
  const difference = a.n * b.d - b.n * a.d
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}
