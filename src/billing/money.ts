/** Money as payment providers count it: a `bigint` of the currency's smallest unit. On the wire it is a decimal string, "45.00". */

/** Currencies whose smallest unit is not a hundredth (docs.stripe.com/currencies): yen have no cents. */
const DECIMALS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(
    ['BIF', 'CLP', 'DJF', 'GNF', 'JPY', 'KMF', 'KRW', 'MGA', 'PYG', 'RWF', 'VND', 'VUV', 'XAF', 'XOF', 'XPF'].map((code) => [code, 0]),
  ),
  ...Object.fromEntries(['BHD', 'JOD', 'KWD', 'OMR', 'TND'].map((code) => [code, 3])),
}
const DECIMALS_USUAL = 2

export function decimalsOf(currency: string): number {
  return DECIMALS[currency] ?? DECIMALS_USUAL
}

/**
 * Smallest units of a plain decimal string.
 * @returns null where it has more decimals than the currency; nothing is ever rounded
 */
export function parseMoney(text: string, currency: string): bigint | null {
  const decimals = decimalsOf(currency)
  const [whole = '', fraction = ''] = text.split('.')
  if (!/^[0-9]{1,15}$/.test(whole) || !/^[0-9]*$/.test(fraction) || fraction.length > decimals) return null
  return BigInt(whole + fraction.padEnd(decimals, '0'))
}

/** The decimal string of an amount, with all its decimals: 4500n USD → "45.00". */
export function formatMoney(amount: bigint, currency: string): string {
  const decimals = decimalsOf(currency)
  const digits = amount.toString().padStart(decimals + 1, '0')
  return decimals === 0 ? digits : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`
}
