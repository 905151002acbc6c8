import t from 'tap'
import type { ModelPrice, PriceVariant } from '../../src/pricing/prices.ts'
import { costOf, quoteWhole } from '../../src/pricing/quote.ts'
import { creditsPerUsd, isExempt, markupAt, NO_SUBJECT, type Subject, type Terms, termsAt } from '../../src/pricing/terms.ts'
import { bookOf, MARKUP, modelPrice, operationPrice, POLICY, PRICES, pricesWith, RATE, START, work } from '../helpers/decide.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** Midnight in UTC. */
const MIDNIGHT = START - (START % DAY)

function termsOf(book: Parameters<typeof termsAt>[0], at: number, subject: Partial<Subject>): Terms {
  const terms = termsAt(book, at, { ...NO_SUBJECT, ...subject })
  if (!terms.ok) throw new Error(terms.refusal.detail)
  return terms.value
}

function bookWith(price: ModelPrice) {
  return bookOf({ models: [price], rates: [{ ...RATE, creditsPerUnit: '1' }], policies: [{ ...POLICY, minimumCharge: 0n }] })
}

/** What a million tokens of the prompt cost at a time, in dollars, where a credit is one. */
function perMillion(price: ModelPrice, at: number, said: { readonly tokens?: number; readonly tier?: 'batch' } = {}): number {
  const { tokens = 1, tier = 'standard' } = said
  const request = work({ model: price.model, usage: { input_tokens: tokens }, serviceTier: tier })
  const quote = quoteWhole(termsOf(bookWith(price), at, request), request, false)
  if (!quote.ok) throw new Error(quote.refusal.detail)
  return Number(quote.value.n) / Number(quote.value.d) / tokens
}

function timed(from: string, to: string, others: readonly PriceVariant[] = []): ModelPrice {
  return modelPrice('timed', {
    effectiveFrom: 0,
    rates: { input_tokens: '9' },
    variants: [{ hours: { from, to }, rates: { input_tokens: '2' } }, ...others],
  })
}

t.test('prices of an hour hold from its first minute to before its last, over midnight too', async (t) => {
  const cases: readonly (readonly [from: string, to: string, inside: readonly string[], outside: readonly string[]])[] = [
    ['16:30', '18:00', ['16:30:00.000', '16:30:59.999', '17:59:59.999'], ['16:29:59.999', '18:00:00.000', '00:00:00.000', '04:30:00.000']],
    ['00:00', '00:01', ['00:00:00.000', '00:00:59.999'], ['23:59:59.999', '00:01:00.000', '12:00:00.000']],
    ['16:30', '00:30', ['16:30:00.000', '23:59:59.999', '00:00:00.000', '00:29:59.999'], ['16:29:59.999', '00:30:00.000', '12:00:00.000']],
    ['23:59', '00:00', ['23:59:00.000', '23:59:59.999'], ['23:58:59.999', '00:00:00.000']],
    ['00:00', '23:59', ['00:00:00.000', '23:58:59.999'], ['23:59:00.000', '23:59:59.999']],
    ['10:00', '09:59', ['10:00:00.000', '09:58:59.999', '00:00:00.000'], ['09:59:00.000', '09:59:59.999']],
    ['08:00', '08:00', [], ['07:59:59.999', '08:00:00.000', '08:00:59.999', '20:00:00.000']],
  ]
  for (const day of [MIDNIGHT, MIDNIGHT + 200 * DAY, 0, -DAY]) {
    for (const [from, to, inside, outside] of cases) {
      const price = { ...timed(from, to), effectiveFrom: Number.MIN_SAFE_INTEGER }
      const book = bookOf({ models: [price], rates: [{ ...RATE, effectiveFrom: Number.MIN_SAFE_INTEGER }] })
      const inputAt = (time: string) => {
        const [hours, minutes, seconds] = time.split(':').map(Number) as [number, number, number]
        const at = day + hours * HOUR + minutes * MINUTE + Math.round(seconds * 1000)
        return termsOf(book, at, { model: 'timed' }).model?.rates.input_tokens
      }
      for (const time of inside) t.equal(inputAt(time), '2', `${time} is in ${from}–${to}`)
      for (const time of outside) t.equal(inputAt(time), '9', `${time} is not in ${from}–${to}`)
    }
  }
})

t.test('the later of the variants that apply wins, whatever its conditions are', async (t) => {
  const at = MIDNIGHT + 12 * HOUR
  const hours = { from: '12:00', to: '13:00' }
  const cases: readonly { of: string; variants: readonly PriceVariant[]; usd: readonly [few: number, many: number, batch: number] }[] = [
    { of: 'none', variants: [], usd: [9, 9, Number.NaN] },
    {
      of: 'the hour after the long prompt',
      variants: [
        { abovePromptTokens: 100, rates: { input_tokens: '5' } },
        { hours, rates: { input_tokens: '2' } },
      ],
      usd: [2, 2, Number.NaN],
    },
    {
      of: 'the hour before the long prompt',
      variants: [
        { hours, rates: { input_tokens: '2' } },
        { abovePromptTokens: 100, rates: { input_tokens: '5' } },
      ],
      usd: [2, 5, Number.NaN],
    },
    {
      of: 'the hour between the tier and the long prompt of the hour',
      variants: [
        { serviceTier: 'batch', rates: { input_tokens: '4' } },
        { hours, rates: { input_tokens: '2' } },
        { hours, abovePromptTokens: 100, rates: { input_tokens: '3' } },
      ],
      usd: [2, 3, 2],
    },
    {
      of: 'the tier last',
      variants: [
        { hours, rates: { input_tokens: '2' } },
        { serviceTier: 'batch', rates: { input_tokens: '4' } },
      ],
      usd: [2, 2, 4],
    },
    {
      of: 'another hour',
      variants: [
        { serviceTier: 'batch', rates: { input_tokens: '4' } },
        { hours: { from: '13:00', to: '14:00' }, rates: { input_tokens: '2' } },
      ],
      usd: [9, 9, 4],
    },
  ]
  for (const { of, variants, usd } of cases) {
    const price = modelPrice('m', { rates: { input_tokens: '9' }, variants })
    t.equal(perMillion(price, at), usd[0], of)
    t.equal(perMillion(price, at, { tokens: 101 }), usd[1], `${of}, long`)
    if (Number.isNaN(usd[2])) t.throws(() => perMillion(price, at, { tier: 'batch' }), /service tier/, `${of}, batch`)
    else t.equal(perMillion(price, at, { tier: 'batch' }), usd[2], `${of}, batch`)
  }
})

t.test('the time of day is only kept where it matters', async (t) => {
  t.equal(termsOf(PRICES, START, { model: 'small' }).model?.at, undefined)
  t.equal(termsOf(bookWith(timed('00:00', '12:00')), START, { model: 'timed' }).model?.at, START)
  t.equal(termsOf(bookWith(timed('00:00', '00:01')), START, { model: 'timed' }).model?.at, START, 'also where it does not apply')
})

t.test('the markup of a model is its own, else its provider’s, else the default one', async (t) => {
  const later = START + 1_000
  const markups = [
    { ...MARKUP, id: 'default', scope: 'default', percent: '20' },
    { ...MARKUP, id: 'of acme', scope: 'provider:acme', percent: '10', effectiveFrom: START },
    { ...MARKUP, id: 'of small', scope: 'model:small', percent: '0', effectiveFrom: later },
    { ...MARKUP, id: 'of bolt', scope: 'provider:bolt', percent: '99' },
    { ...MARKUP, id: 'of a model called acme', scope: 'model:acme', percent: '98' },
  ]
  const book = bookOf({ models: [modelPrice('small'), modelPrice('large')], rates: [RATE], markups })
  const markup = (at: number, model: string) => {
    const terms = termsOf(book, at, { model }).model
    return `${terms?.markup} ${terms?.credits_per_usd}`
  }
  t.equal(markup(START - 1, 'small'), 'default 1.2')
  t.equal(markup(START, 'small'), 'of acme 1.1')
  t.equal(markup(later - 1, 'small'), 'of acme 1.1')
  t.equal(markup(later, 'small'), 'of small 1', 'none of its own is a markup of its own')
  t.equal(markup(later, 'large'), 'of acme 1.1')
  t.equal(markupAt(bookOf({}), START, { model: 'small', provider: 'acme' }), undefined)
  t.equal(termsOf(bookOf({ models: [modelPrice('small')], rates: [RATE] }), START, { model: 'small' }).model?.credits_per_usd, '1')
})

t.test('what was priced before is priced anew with each version, also back in time', async (t) => {
  const later = START + 1_000
  const book = pricesWith({
    models: [modelPrice('small', { id: 'price 2', effectiveFrom: later, rates: { input_tokens: '7' } })],
    markups: [{ ...MARKUP, id: 'markup 2', percent: '100', effectiveFrom: later + 1 }],
    rates: [{ ...RATE, id: 'rate 2', creditsPerUnit: '3', effectiveFrom: later + 2 }],
    policies: [{ ...POLICY, id: 'policy 2', minimumCharge: 1n, roundTo: 10n, effectiveFrom: later + 3 }],
  })
  const seen = (at: number) => {
    const { policy, minimum, round_to, model } = termsOf(book, at, { model: 'small' })
    return `${model?.price}, ${model?.markup}, ${model?.rate}, ${model?.credits_per_usd}, ${policy} ${minimum} ${round_to}`
  }
  const first = 'price of small, markup, rate, 1.2, policy 20 undefined'
  for (const round of [1, 2]) {
    t.equal(seen(later - 1), first, `round ${round}`)
    t.equal(seen(later), 'price 2, markup, rate, 1.2, policy 20 undefined')
    t.equal(seen(later + 1), 'price 2, markup 2, rate, 2, policy 20 undefined')
    t.equal(seen(later + 2), 'price 2, markup 2, rate 2, 6, policy 20 undefined')
    t.equal(seen(later + 3), 'price 2, markup 2, rate 2, 6, policy 2 1 10')
  }
})

t.test('only the rate for consumption in dollars counts', async (t) => {
  const others = [
    { ...RATE, id: 'purchase', purpose: 'purchase', creditsPerUnit: '9' },
    { ...RATE, id: 'euro', currency: 'EUR', creditsPerUnit: '9' },
  ] as const
  t.equal(termsOf(pricesWith({ rates: others }), START, { model: 'small' }).model?.rate, 'rate')
  const without = termsAt(bookOf({ models: [modelPrice('small')], rates: others }), START, { ...NO_SUBJECT, model: 'small' })
  t.match(without, { ok: false, refusal: { code: 'rate_missing' } })
})

t.test('credits for a dollar are exact', async (t) => {
  const cases: readonly (readonly [percent: string, rate: string, credits: string])[] = [
    ['20', '100', '120'],
    ['0', '1', '1'],
    ['0.0', '1.50', '1.5'],
    ['33.3', '0.7', '0.9331'],
    ['0.000000000001', '0.000000000001', '0.00000000000100000000000001'],
    ['999999999.999999999999', '999999999.999999999999', '10000000999999999.99997999999900000000000001'],
  ]
  for (const [percent, rate, credits] of cases)
    t.equal(creditsPerUsd({ percent }, { creditsPerUnit: rate }), credits, `${percent} % on ${rate}`)
  t.equal(creditsPerUsd(undefined, { creditsPerUnit: '0.5' }), '0.5')
})

t.test('an operation has its flat cost where there is one, and is not there when it is disabled', async (t) => {
  const book = pricesWith({ operations: [operationPrice('flat', { flatCost: 5n, unitCost: 0n })] })
  t.same(termsOf(book, START, { operation: 'flat' }).operation, { id: 'flat', price: 'price of flat', unit: '0', flat: '5' })
  t.same(termsOf(book, START, { operation: 'scan' }).operation, { id: 'scan', price: 'price of scan', unit: '7' })
  for (const operation of ['forgotten', 'imaginary'])
    t.match(termsAt(book, START, { ...NO_SUBJECT, operation }), { ok: false, refusal: { code: 'unknown_operation' } })
  t.same(termsOf(book, START, {}), { policy: 'policy', minimum: '20', maximum: '2000' }, 'a stated amount has only the policy')
})

t.test('owners are exempt where the policy in force says so', async (t) => {
  const book = pricesWith({ policies: [{ ...POLICY, id: 'strict', ownerExempt: false, effectiveFrom: START }] })
  t.equal(isExempt(book, START - 1, 'user:ann', 'user:ann'), true)
  t.equal(isExempt(book, START, 'user:ann', 'user:ann'), false)
  t.equal(isExempt(book, START - 1, 'user:bea', 'user:ann'), false)
  t.equal(isExempt(book, START - 1, null, 'user:ann'), false)
  t.equal(isExempt(bookOf({}), START, 'user:ann', 'user:ann'), true, 'and before there is a policy')
})

t.test('before there is a policy a charge costs 0.01 to 100,000 credits', async (t) => {
  const book = { ...PRICES, policies: [] }
  t.match(termsOf(book, START, { model: 'small' }), { policy: null, minimum: '10000', maximum: '100000000000' })
  const request = work({ model: 'small', usage: { input_tokens: 1 } })
  const quote = quoteWhole(termsOf(book, START, request), request, false)
  t.equal(quote.ok && costOf(quote.value), 10_000n)
})
