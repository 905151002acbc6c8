import t from 'tap'
import type { Charge } from '../../src/charges/charge.ts'
import { changePercent, previewRate } from '../../src/charges/preview.ts'
import type { ExchangeRate } from '../../src/pricing/prices.ts'
import { Bench, MARKUP, modelPrice, operationPrice, pricesWith, RATE, START, taken, tokens, units, work } from '../helpers/decide.ts'

/** Charges of every kind at 20 % and a dollar a credit, with the book that they were made under. */
function charged(): { bench: Bench; charges: Record<string, Charge> } {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 1_000_000n)
  bench.prices = pricesWith({
    models: [modelPrice('own', { rates: { input_tokens: '1' } })],
    markups: [{ ...MARKUP, id: 'own markup', scope: 'model:own', percent: '100' }],
    operations: [operationPrice('flat', { flatCost: 100n })],
    rates: [{ ...RATE, id: 'bought', purpose: 'purchase', creditsPerUnit: '100' }],
  })
  const charge = (...[cost, input]: [Parameters<Bench['charge']>[1], Parameters<Bench['charge']>[2]?]) =>
    taken(bench.charge(wallet, cost, input)).charge
  return {
    bench,
    charges: {
      tokens: charge(tokens(1_000, 100)),
      markup: charge(tokens(1_000, 0, 'own')),
      small: charge(tokens(1)),
      both: charge(work({ ...tokens(100), operation: 'flat', units: 2 })),
      units: charge(units(9)),
      amount: charge(77n),
      exempt: charge(tokens(1_000), { resourceOwner: 'user:u1' }),
      nothing: charge(tokens(0)),
    },
  }
}

t.test('a consumption rate prices the same work anew, at its own prices and markups', async (t) => {
  const { bench, charges } = charged()
  const names = Object.keys(charges)
  const then = (creditsPerUnit: string, said: Partial<ExchangeRate> = {}) => {
    const rate = { currency: 'USD', purpose: 'consumption', creditsPerUnit, ...said } as const
    const preview = previewRate(bench.prices, START, rate, Object.values(charges))
    for (const { charge, before } of preview.charges) if (before !== charge.cost) t.fail(`before is ${before}, was ${charge.cost}`)
    return Object.fromEntries(preview.charges.map(({ after }, index) => [names[index], after]))
  }
  // 1000 × 0.6 + 100 × 1.8; 1000 × 2; the minimum; 100 × 0.6 + 100 + 2 × 7; 9 × 7.
  const now = { tokens: 780n, markup: 2_000n, small: 20n, both: 174n, units: 63n, amount: 77n, exempt: 0n, nothing: 0n }
  t.same(then('1'), now, 'the same rate')
  t.same(then('2'), { ...now, tokens: 1_560n, markup: 4_000n, both: 234n })
  t.same(then('0.5'), { ...now, tokens: 390n, markup: 1_000n, both: 144n })
  t.same(then('0.333333333333'), { ...now, tokens: 260n, markup: 667n, both: 134n }, 'rounded up: 259.99…, 666.6…, 19.9… + 114')
  t.same(then('40'), { ...now, tokens: 31_200n, markup: 80_000n, small: 24n, both: 2_514n }, 'the minimum is passed')
  t.same(then('2', { currency: 'EUR' }), now, 'prices are in dollars')
  t.same(then('2', { purpose: 'purchase' }), now)
})

t.test('a purchase rate changes what money buys, never more than was paid for', async (t) => {
  const { bench } = charged()
  const bought = (said: Partial<ExchangeRate>) =>
    previewRate(bench.prices, START, { currency: 'USD', purpose: 'purchase', creditsPerUnit: '100', ...said }, []).purchases.map(
      ({ amount, before, after }) => `${amount}: ${before} to ${after}`,
    )
  t.same(bought({ creditsPerUnit: '120' }), [
    '5: 500000000 to 600000000',
    '10: 1000000000 to 1200000000',
    '25: 2500000000 to 3000000000',
    '50: 5000000000 to 6000000000',
    '100: 10000000000 to 12000000000',
  ])
  t.equal(bought({ creditsPerUnit: '0.000000333333' })[0], '5: 500000000 to 1', 'rounded down: 1.666665 micro-credits')
  t.equal(bought({ purpose: 'consumption', creditsPerUnit: '3' })[0], '5: 500000000 to 500000000', 'consumption buys nothing')
  t.equal(bought({ currency: 'EUR', creditsPerUnit: '110' })[0], '5: null to 550000000', 'a first rate')
  t.equal(bought({ currency: 'EUR', purpose: 'consumption' })[0], '5: null to null')
})

t.test('tells the present rate of the same currency and purpose', async (t) => {
  const { bench } = charged()
  const present = (said: Partial<ExchangeRate>, at = START) =>
    previewRate(bench.prices, at, { currency: 'USD', purpose: 'consumption', creditsPerUnit: '9', ...said }, []).present
  t.equal(present({}), '1')
  t.equal(present({ purpose: 'purchase' }), '100')
  t.equal(present({ currency: 'EUR' }), null)
  t.equal(present({}, RATE.effectiveFrom - 1), null)
})

t.test('a charge whose work could not be priced any more costs what it did', async (t) => {
  const { bench, charges } = charged()
  const broken = { ...(charges.tokens as Charge) }
  const usage = { ...broken.quote.usage, pages: 1 }
  const unpriced = { ...broken, quote: { ...broken.quote, usage } }
  const { charges: shown } = previewRate(bench.prices, START, { currency: 'USD', purpose: 'consumption', creditsPerUnit: '5' }, [unpriced])
  t.match(shown, [{ before: 780n, after: 780n }])
})

t.test('tells by how much a rate differs, the last digit rounded away from zero', async (t) => {
  const cases: readonly (readonly [present: string, proposed: string, change: string])[] = [
    ['100', '120', '+20.0'],
    ['100', '100', '+0.0'],
    ['100.0', '100', '+0.0'],
    ['120', '100', '-16.7'],
    ['100', '0.000000000001', '-100.0'],
    ['3', '2', '-33.4'],
    ['3', '4', '+33.4'],
    ['100', '100.000000000001', '+0.1'],
    ['100', '99.999999999999', '-0.1'],
    ['1', '12345', '+1234400.0'],
    ['0.000000000001', '999999999', '+99999999899999999999900.0'],
  ]
  for (const [present, proposed, change] of cases) t.equal(changePercent(present, proposed), change, `${present} to ${proposed}`)
})
