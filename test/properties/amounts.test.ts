import fc from 'fast-check'
import t from 'tap'
import { AMOUNT_MICRO_MAX, formatCredits, parseCredits } from '../../src/kernel/credits.ts'
import { add, ceil, floor, multiply, type Ratio, ratioOf, reduce, scale } from '../../src/kernel/ratio.ts'

/** Laws of amounts and ratios. Each prints its seed where it fails; `fc.assert` gives the shrunk counterexample. */

const SEED = Date.now() % 2 ** 31
const check = (property: fc.IProperty<never[]> | fc.IProperty<unknown[]>, numRuns = 5_000) =>
  fc.assert(property as fc.IProperty<unknown[]>, { seed: SEED, numRuns })
t.comment(`seed ${SEED}`)

const anyMicro = fc.bigInt({ min: -AMOUNT_MICRO_MAX, max: AMOUNT_MICRO_MAX })
const smallMicro = fc.bigInt({ min: -3_000_000n, max: 3_000_000n })
const micro = fc.oneof(anyMicro, smallMicro, fc.constantFrom(0n, 1n, -1n, 999_999n, 1_000_000n, AMOUNT_MICRO_MAX, -AMOUNT_MICRO_MAX))

t.test('an amount printed and read again is the same amount', async () => {
  check(fc.property(micro, (amount) => parseCredits(formatCredits(amount)) === amount))
})

t.test('a text that is read prints as the same number, in its shortest form', async () => {
  const text = fc
    .tuple(fc.boolean(), fc.bigInt({ min: 0n, max: 999_999_999_999n }), fc.string({ unit: fc.constantFrom(...'0123456789'), maxLength: 6 }))
    .map(([minus, whole, decimals]) => `${minus ? '-' : ''}${whole}${decimals === '' ? '' : `.${decimals}`}`)
  check(
    fc.property(text, (written) => {
      const amount = parseCredits(written)
      if (amount === null) return false
      const printed = formatCredits(amount)
      return printed.length <= written.length && parseCredits(printed) === amount && !/\.\d*0$/.test(printed)
    }),
  )
})

t.test('prints never show an exponent, a lone point or seven decimals', async () => {
  check(fc.property(micro, (amount) => /^-?(0|[1-9]\d*)(\.\d{1,6})?$/.test(formatCredits(amount))))
})

t.test('greater amounts print as greater numbers', async () => {
  check(fc.property(smallMicro, smallMicro, (a, b) => a < b === Number(formatCredits(a)) < Number(formatCredits(b))))
})

t.test('whatever is not a plain decimal of credits is refused', async (t) => {
  const wrong = [
    '',
    ' 1',
    '1 ',
    '+1',
    '--1',
    '-',
    '.',
    '.5',
    '1.',
    '01',
    '00',
    '-01',
    '1e3',
    '1E3',
    '0x10',
    '1_000',
    '1,000',
    '1.0000001',
    '٣',
    '１',
    'NaN',
    'Infinity',
    '1\n',
    '1.5.',
    '10000000000000',
    '-10000000000000',
    '1000000000000.000001',
    '9223372036854775808',
  ]
  for (const text of wrong) t.equal(parseCredits(text), null, JSON.stringify(text))
  t.equal(parseCredits('1000000000000'), AMOUNT_MICRO_MAX)
  t.equal(parseCredits('-0'), 0n)
  check(
    fc.property(fc.string(), (text) => {
      const amount = parseCredits(text)
      return amount === null || /^-?\d+(\.\d+)?$/.test(text)
    }),
  )
})

const whole = fc.bigInt({ min: 0n, max: 10n ** 24n })
const ratio = fc.tuple(whole, fc.bigInt({ min: 1n, max: 10n ** 24n })).map(([n, d]): Ratio => ({ n, d }))
const same = (a: Ratio, b: Ratio) => a.n * b.d === b.n * a.d

t.test('sums and products of ratios are exact, whatever the order', async () => {
  check(fc.property(ratio, ratio, (a, b) => same(add(a, b), add(b, a)) && same(multiply(a, b), multiply(b, a))))
  check(fc.property(ratio, ratio, ratio, (a, b, c) => same(multiply(a, add(b, c)), add(multiply(a, b), multiply(a, c)))))
  check(fc.property(ratio, fc.bigInt({ min: 0n, max: 10n ** 9n }), (a, k) => same(scale(a, k), multiply(a, { n: k, d: 1n }))))
})

t.test('rounding up and down differ by one unless the ratio is whole', async () => {
  check(
    fc.property(ratio, (a) => {
      const [up, down] = [ceil(a), floor(a)]
      return up * a.d >= a.n && down * a.d <= a.n && up - down === (a.n % a.d === 0n ? 0n : 1n)
    }),
  )
})

t.test('lowest terms are the same value and have no common factor', async () => {
  const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b))
  check(
    fc.property(ratio, (a) => {
      const least = reduce(a)
      return same(least, a) && least.d > 0n && gcd(least.n, least.d) === 1n
    }),
  )
})

t.test('a decimal is the ratio that it says', async (t) => {
  const digits = (maxLength: number) => fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength })
  check(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 15n }), digits(18), (units, decimals) => {
      const { n, d } = ratioOf(`${units}.${decimals}`)
      return n * 10n ** BigInt(decimals.length) === BigInt(`${units}${decimals}`) * d
    }),
  )
  for (const text of ['', '-1', '1e3', '.5', '1.', '01', ' 1', '1,5', 'NaN'])
    t.throws(() => ratioOf(text), RangeError, JSON.stringify(text))
})
