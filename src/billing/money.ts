/** Money as payment providers count it: a `bigint` of the currency's smallest unit. On the wire it is a decimal string, "45.00". */

/** Currencies whose smallest unit is not a hundredth (docs.stripe.com/currencies): yen have no cents. */
const DECIMALS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(
    ['BIF', 'CLP', 'DJF', 'GNF', 'JPY', 'KMF', 'KRW', 'MGA', 'PYG', 'RWF', 'VND', 'VUV', 'XAF', 'XOF', 'XPF'].map((code) => [code, 0]),
  ),
  ...Object.fromEntries(['BHD', 'JOD', 'KWD', 'OMR', 'TND'].map((code) => [code, 3])),
}
const DECIMALS_USUAL = 2

function decimalsOf(currency: string): number {
  return DECIMALS[currency] ?? DECIMALS_USUAL
}

/**
 * Currencies that are paid in steps of more than their smallest unit (docs.stripe.com/currencies): the third decimal is always 0, and
 * so are the decimals of those that have none any more.
 */
const STEP: Readonly<Record<string, bigint>> = { BHD: 10n, JOD: 10n, KWD: 10n, OMR: 10n, TND: 10n, ISK: 100n, UGX: 100n }

/** What is wrong with an amount that `parseMoney` does not take. */
export function tooManyDecimals(currency: string): string {
  const decimals = decimalsOf(currency) - ((STEP[currency] ?? 1n).toString().length - 1)
  return `must not have more than ${decimals} decimals in ${currency}`
}

/** Currencies of which a dollar is tens, hundreds or thousands, by the power of ten that is nearest to a dollar or a euro. */
const UNITS_OF: Readonly<Record<string, bigint>> = Object.fromEntries(
  (
    [
      [
        100n,
        'AFN ALL BDT DJF DOP DZD ETB GMD GYD HTG INR ISK JMD JPY KES KGS LKR LRD MKD MUR MZN NIO NPR PHP PKR RSD RUB THB TRY UYU VUV XPF',
      ],
      [1_000n, 'AMD AOA ARS BIF CLP CRC HUF KMF KRW KZT MMK MWK NGN RWF TZS XAF XOF YER'],
      [10_000n, 'COP GNF IDR KHR LAK MGA MNT PYG UGX UZS VND'],
      [100_000n, 'LBP'],
    ] as const
  ).flatMap(([units, codes]) => codes.split(' ').map((code) => [code, units])),
)

/** About what a dollar or a euro is, of the currency's smallest unit: for bounds that mean the same everywhere. */
export function aboutADollar(currency: string): bigint {
  return (UNITS_OF[currency] ?? 1n) * 10n ** BigInt(decimalsOf(currency))
}

/**
 * Smallest units of a plain decimal string.
 * @returns null where it has more decimals than can be paid in the currency; nothing is ever rounded
 */
export function parseMoney(text: string, currency: string): bigint | null {
  const decimals = decimalsOf(currency)
  const [whole = '', fraction = ''] = text.split('.')
  if (!/^[0-9]{1,15}$/.test(whole) || !/^[0-9]*$/.test(fraction) || fraction.length > decimals) return null
  const amount = BigInt(whole + fraction.padEnd(decimals, '0'))
  return amount % (STEP[currency] ?? 1n) === 0n ? amount : null
}

/** The decimal string of an amount, with all its decimals: 4500n USD → "45.00". */
export function formatMoney(amount: bigint, currency: string): string {
  const decimals = decimalsOf(currency)
  const digits = amount.toString().padStart(decimals + 1, '0')
  return decimals === 0 ? digits : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`
}
