import t from 'tap'
import { doubtsOf } from '../../src/pricing/plausible.ts'
import type { Rates } from '../../src/pricing/pools.ts'
import type { PriceVariant } from '../../src/pricing/prices.ts'
import { bookOf, modelPrice, operationPrice, POLICY, PRICES, RATE, START } from '../helpers/decide.ts'

/** A model's rates and those that somebody sets. */
interface Change {
  readonly of: string
  readonly before?: Rates
  readonly rates: Rates
  readonly variants?: readonly PriceVariant[]
  readonly enabled?: boolean
  /** What the doubts are about, one after the other. */
  readonly doubts: readonly RegExp[]
}

const leap = (pool: string, how: 'grow' | 'shrink') => `${pool} would ${how} by a factor of 100 or more`

const CHANGES: readonly Change[] = [
  { of: 'a first price', rates: { input_tokens: '2.5' }, doubts: [] },
  { of: 'a first price that nobody has', rates: { input_tokens: '2500000' }, doubts: [/^input_tokens .* dear/] },
  { of: 'a first price of next to nothing', rates: { input_tokens: '0.0000025' }, doubts: [/^input_tokens .* cheap/] },
  { of: 'a first price of nothing', rates: { input_tokens: '0', output_tokens: '0.000' }, doubts: [/zero/] },
  { of: 'a part for nothing', rates: { input_tokens: '0', output_tokens: '1' }, doubts: [] },
  { of: 'the same', before: { input_tokens: '2.5' }, rates: { input_tokens: '2.50' }, doubts: [] },
  { of: 'twice as much: who sets a price means to change it', before: { input_tokens: '2.5' }, rates: { input_tokens: '5' }, doubts: [] },
  { of: 'just below a hundredfold', before: { input_tokens: '2.5' }, rates: { input_tokens: '249.999999999999' }, doubts: [] },
  { of: 'a hundredfold', before: { input_tokens: '2.5' }, rates: { input_tokens: '250' }, doubts: [/^input_tokens would grow/] },
  { of: 'just above a hundredth', before: { input_tokens: '2.5' }, rates: { input_tokens: '0.025000000001' }, doubts: [] },
  { of: 'a hundredth', before: { input_tokens: '2.5' }, rates: { input_tokens: '0.025' }, doubts: [/^input_tokens would shrink/] },
  {
    of: 'per token for per million',
    before: { input_tokens: '2.5', output_tokens: '10' },
    rates: { input_tokens: '0.0000025', output_tokens: '0.00001' },
    doubts: [/^input_tokens would shrink/, /^output_tokens would shrink/],
  },
  {
    of: 'a price that becomes nothing',
    before: { input_tokens: '2.5', output_tokens: '10' },
    rates: { input_tokens: '0', output_tokens: '10' },
    doubts: [/^input_tokens .* free/],
  },
  { of: 'all prices become nothing', before: { input_tokens: '2.5' }, rates: { input_tokens: '0' }, doubts: [/zero/] },
  { of: 'what was nothing costs something', before: { input_tokens: '0' }, rates: { input_tokens: '7' }, doubts: [/was free/] },
  {
    of: 'a price that is gone',
    before: { input_tokens: '1', output_tokens: '2' },
    rates: { input_tokens: '1' },
    doubts: [/^output_tokens has no price/],
  },
  {
    of: 'long prompts at a thousandfold',
    rates: { input_tokens: '2' },
    variants: [{ abovePromptTokens: 10, rates: { input_tokens: '2000' } }],
    doubts: [/input_tokens .* dear/, /input_tokens .*10\^3/],
  },
  {
    of: 'batch at half, and something that only it has',
    rates: { input_tokens: '2' },
    variants: [{ serviceTier: 'batch', rates: { input_tokens: '1', searches: '0.01' } }],
    doubts: [],
  },
  {
    of: 'batch for nothing',
    rates: { input_tokens: '2', output_tokens: '0' },
    variants: [{ serviceTier: 'batch', rates: { input_tokens: '0', output_tokens: '0' } }],
    doubts: [/input_tokens .* free/],
  },
  { of: 'a disabled model at any price', before: { input_tokens: '2' }, rates: { input_tokens: '0' }, enabled: false, doubts: [] },
]

t.test('doubts a model’s price that becomes nothing or another order of magnitude', async (t) => {
  for (const { of, before, rates, variants = [], enabled = true, doubts } of CHANGES) {
    const book = bookOf({ models: before ? [modelPrice('m', { rates: before })] : [] })
    const { id: _, effectiveFrom: __, ...version } = modelPrice('m', { rates, variants, enabled })
    const told = doubtsOf(book, { kind: 'model', version }, START)
    t.equal(told.length, doubts.length, `${of}: ${told.join('; ')}`)
    t.match(told, doubts, of)
  }
})

t.test('compares with the version that will be in force then, not with the newest nor with another model', async (t) => {
  const book = bookOf({
    models: [
      modelPrice('m', { rates: { input_tokens: '1' } }),
      modelPrice('m', { id: 'later', rates: { input_tokens: '1000' }, effectiveFrom: START + 10 }),
      modelPrice('other', { rates: { input_tokens: '1000' } }),
    ],
  })
  const { id: _, effectiveFrom: __, ...version } = modelPrice('m', { rates: { input_tokens: '1500' } })
  t.equal(doubtsOf(book, { kind: 'model', version }, START + 9).length, 1)
  t.equal(doubtsOf(book, { kind: 'model', version }, START + 10).length, 0)
})

t.test('doubts an operation that would be free or leap', async (t) => {
  const cases: readonly (readonly [flat: bigint, unit: bigint, enabled: boolean, doubts: readonly string[]])[] = [
    [5n, 7n, true, []],
    [0n, 0n, true, ['scan would be free']],
    [0n, 0n, false, []],
    [5n, 0n, true, []],
    [499n, 699n, true, []],
    [500n, 7n, true, [leap('flat_cost', 'grow')]],
    [5n, 700n, true, [leap('unit_cost', 'grow')]],
    [0n, 7n, true, []],
    [500_000n, 700_000n, true, [leap('flat_cost', 'grow'), leap('unit_cost', 'grow')]],
  ]
  const book = bookOf({ operations: [operationPrice('scan', { flatCost: 5n, unitCost: 7n })] })
  for (const [flatCost, unitCost, enabled, doubts] of cases) {
    const added = { kind: 'operation', version: { operation: 'scan', flatCost, unitCost, enabled } } as const
    t.same(doubtsOf(book, added, START), doubts, `${flatCost} and ${unitCost} a unit`)
  }
  const dear = bookOf({ operations: [operationPrice('scan', { flatCost: 500n, unitCost: 700n })] })
  const cheap = { kind: 'operation', version: { operation: 'scan', flatCost: 5n, unitCost: 7n, enabled: true } } as const
  t.same(doubtsOf(dear, cheap, START), [leap('flat_cost', 'shrink'), leap('unit_cost', 'shrink')])
  t.same(doubtsOf(bookOf({}), cheap, START), [], 'a first one')
})

t.test('doubts a markup above a thousand percent', async (t) => {
  const doubts = (percent: string) => doubtsOf(PRICES, { kind: 'markup', version: { scope: 'default', percent } }, START)
  for (const percent of ['0', '20', '1000', '1000.0']) t.same(doubts(percent), [], percent)
  t.same(doubts('1000.000000000001'), ['a markup of 1000.000000000001 % is more than 1000 %'])
})

t.test('doubts an exchange rate that leaps, of its currency and purpose', async (t) => {
  const doubts = (creditsPerUnit: string, currency = 'USD', purpose: 'purchase' | 'consumption' = 'consumption') =>
    doubtsOf(
      bookOf({ rates: [{ ...RATE, creditsPerUnit: '100' }] }),
      { kind: 'rate', version: { currency, purpose, creditsPerUnit } },
      START,
    )
  for (const rate of ['100', '9999.9', '1.000001']) t.same(doubts(rate), [], rate)
  t.same(doubts('10000'), [leap('credits_per_unit', 'grow')])
  t.same(doubts('1'), [leap('credits_per_unit', 'shrink')])
  t.same(doubts('1', 'EUR'), [], 'a first one')
  t.same(doubts('1', 'USD', 'purchase'), [], 'another one')
})

t.test('takes any policy', async (t) => {
  const { id: _, effectiveFrom: __, ...version } = { ...POLICY, minimumCharge: 0n }
  t.same(doubtsOf(PRICES, { kind: 'policy', version }, START), [])
})
