import { parseArgs } from 'node:util'
import t from 'tap'
import { POOLS, type Pool, type Rates, type Usage } from '../../src/pricing/pools.ts'
import type { PriceVariant, ServiceTier } from '../../src/pricing/prices.ts'
import {
  affordable,
  costOf,
  exactCredits,
  exceedsMaximum,
  linesOf,
  type Quote,
  type QuoteLine,
  quoteAmount,
  quoteWhole,
  quoteWork,
  residueOf,
  withMinimum,
} from '../../src/pricing/quote.ts'
import { recompute } from '../../src/pricing/recompute.ts'
import { isExempt, NO_SUBJECT, type Terms, termsAt } from '../../src/pricing/terms.ts'
import { bookOf, MARKUP, modelPrice, operationPrice, POLICY, RATE, START, work } from '../helpers/decide.ts'
import { priceBook, SAME_CLOCK } from '../properties/drive.ts'
import { ALL_POOLS, Dice, randomName, randomPrices, randomTier, randomTime, randomUsage } from '../properties/price-lists.ts'
import {
  EXACT,
  exactCost,
  modelTerms,
  type OPrices,
  type OTerms,
  type OUsage,
  operationTerms,
  policyOf,
  rounded,
  Unpriced,
} from '../properties/price-oracle.ts'

/**
 * Quotes against figures worked out by hand, and against an oracle that shares no code with ours, over random prices and work.
 * By hand: `node test/pricing/quote.test.ts --runs=1000000 --seed=7`.
 */

const { values } = parseArgs({ options: { runs: { type: 'string' }, seed: { type: 'string' } }, strict: false })
/** Quotes that are compared; requests that are refused come on top. */
const RUNS = Number(values.runs ?? 5_000)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)

interface Case {
  readonly of: string
  readonly rates?: Rates
  readonly variants?: readonly PriceVariant[]
  readonly usage?: Usage
  readonly tier?: ServiceTier
  readonly operation?: { readonly flat: bigint; readonly unit: bigint }
  readonly units?: number
  readonly percent?: string
  readonly creditsPerUsd?: string
  readonly minimum?: bigint
  readonly roundTo?: bigint
  readonly exempt?: boolean
  /** Credits before the rounding. */
  readonly exact: string
  /** Micro-credits. */
  readonly cost: bigint
}

/** Unless a case says otherwise a dollar is 100 credits and the markup 20 %: a token at 1 dollar per million costs 120 micro-credits. */
const GPT: Rates = { input_tokens: '2.5', cache_read_tokens: '1.25', output_tokens: '10' }
const LONG: readonly PriceVariant[] = [
  { abovePromptTokens: 200_000, rates: { input_tokens: '2.5', cache_read_tokens: '0.25', output_tokens: '15' } },
]
const PRO: Rates = { input_tokens: '1.25', cache_read_tokens: '0.125', output_tokens: '10' }
const BATCH: readonly PriceVariant[] = [{ serviceTier: 'batch', rates: { input_tokens: '1.25', output_tokens: '5' } }]

const CASES: readonly Case[] = [
  {
    of: 'each token once, cached ones at their own price: 1000 × 2.5 + 500 × 1.25 + 200 × 10 = 5125',
    rates: GPT,
    usage: { input_tokens: 1_000, cache_read_tokens: 500, output_tokens: 200 },
    exact: '0.615',
    cost: 615_000n,
  },
  {
    of: 'cached tokens without a price cost what fresh ones do: (1000 + 500) × 2.5',
    rates: { input_tokens: '2.5', output_tokens: '10' },
    usage: { input_tokens: 1_000, cache_read_tokens: 500 },
    exact: '0.45',
    cost: 450_000n,
  },
  {
    of: 'a cached token that is free is free',
    rates: { input_tokens: '2.5', cache_read_tokens: '0' },
    usage: { input_tokens: 1, cache_read_tokens: 1_000_000 },
    exact: '0.0003',
    cost: 300n,
  },
  {
    of: 'cached audio and images without a price cost what fresh ones do, not what text does',
    rates: { input_tokens: '1', cache_read_tokens: '0.1', input_audio_tokens: '7', input_image_tokens: '3' },
    usage: { cache_read_audio_tokens: 10, cache_read_image_tokens: 100 },
    exact: '0.0444',
    cost: 44_400n,
  },
  {
    of: 'reasoning and citations without a price are output: 3 + 4 + 5 tokens at 10',
    rates: GPT,
    usage: { output_tokens: 3, reasoning_tokens: 4, citation_tokens: 5 },
    exact: '0.0144',
    cost: 14_400n,
  },
  {
    of: 'reasoning with a price of its own has that: 3 × 10 + 4 × 40',
    rates: { ...GPT, reasoning_tokens: '40' },
    usage: { output_tokens: 3, reasoning_tokens: 4 },
    exact: '0.0228',
    cost: 22_800n,
  },
  {
    of: 'cache writes of both lifetimes, as Anthropic has them: 10 × 3 + 100 × 3.75 + 1000 × 6 + 10,000 × 0.3 + 7 × 15 = 9510',
    rates: { input_tokens: '3', cache_read_tokens: '0.3', cache_write_5m_tokens: '3.75', cache_write_1h_tokens: '6', output_tokens: '15' },
    usage: { input_tokens: 10, cache_write_5m_tokens: 100, cache_write_1h_tokens: 1_000, cache_read_tokens: 10_000, output_tokens: 7 },
    exact: '1.1412',
    cost: 1_141_200n,
  },
  {
    of: 'a prompt of exactly the threshold is not a long one: 200,000 × 1.25 + 10',
    rates: PRO,
    variants: LONG,
    usage: { input_tokens: 200_000, output_tokens: 1 },
    exact: '30.0012',
    cost: 30_001_200n,
  },
  {
    of: 'one token more and the whole request is dearer, the answer too: 200,001 × 2.5 + 15',
    rates: PRO,
    variants: LONG,
    usage: { input_tokens: 200_001, output_tokens: 1 },
    exact: '60.0021',
    cost: 60_002_100n,
  },
  {
    of: 'cached tokens are part of the prompt: 150,000 × 2.5 + 50,001 × 0.25',
    rates: PRO,
    variants: LONG,
    usage: { input_tokens: 150_000, cache_read_tokens: 50_001 },
    exact: '46.50003',
    cost: 46_500_030n,
  },
  {
    of: 'so are cache writes, images, audio and video: 199,996 + 1 + 1 + 1 + 1 is the threshold, at base prices',
    rates: { ...PRO, cache_write_5m_tokens: '2', input_image_tokens: '1', input_audio_tokens: '1', input_video_tokens: '1' },
    variants: LONG,
    usage: { input_tokens: 199_996, cache_write_5m_tokens: 1, input_image_tokens: 1, input_audio_tokens: 1, input_video_tokens: 1 },
    exact: '30',
    cost: 30_000_000n,
  },
  {
    of: 'and with one more cached image: 199,996 × 2.5 + 2 + 1 + 1 + 1 + 1 = 499,996',
    rates: { ...PRO, cache_write_5m_tokens: '2', input_image_tokens: '1', input_audio_tokens: '1', input_video_tokens: '1' },
    variants: LONG,
    usage: {
      input_tokens: 199_996,
      cache_write_5m_tokens: 1,
      input_image_tokens: 1,
      cache_read_image_tokens: 1,
      input_audio_tokens: 1,
      input_video_tokens: 1,
    },
    exact: '59.99952',
    cost: 59_999_520n,
  },
  {
    of: 'the answer is no part of the prompt',
    rates: PRO,
    variants: LONG,
    usage: { input_tokens: 1, output_tokens: 200_000, reasoning_tokens: 200_000 },
    exact: '480.00015',
    cost: 480_000_150n,
  },
  {
    of: 'of two thresholds the higher one wins, also over what it does not say: 301 × 3 at the second, output of the first',
    rates: { input_tokens: '1', output_tokens: '1' },
    variants: [
      { abovePromptTokens: 100, rates: { input_tokens: '2', output_tokens: '2' } },
      { abovePromptTokens: 300, rates: { input_tokens: '3' } },
    ],
    usage: { input_tokens: 301, output_tokens: 10 },
    exact: '0.11076',
    cost: 110_760n,
  },
  {
    of: 'batch at half the price, cached tokens as before: 1000 × 1.25 + 100 × 1.25 + 10 × 5',
    rates: GPT,
    variants: BATCH,
    usage: { input_tokens: 1_000, cache_read_tokens: 100, output_tokens: 10 },
    tier: 'batch',
    exact: '0.171',
    cost: 171_000n,
  },
  {
    of: 'standard is not batch',
    rates: GPT,
    variants: BATCH,
    usage: { input_tokens: 1_000 },
    exact: '0.3',
    cost: 300_000n,
  },
  {
    of: 'of variants that all apply the last one wins',
    rates: GPT,
    variants: [...BATCH, ...LONG, { serviceTier: 'batch', abovePromptTokens: 200_000, rates: { output_tokens: '7.5' } }],
    usage: { input_tokens: 200_001, output_tokens: 2 },
    tier: 'batch',
    exact: '60.0021',
    cost: 60_002_100n,
  },
  {
    of: 'a price per request is due once, though nobody counted: 0.005 dollars beside 100 × 1',
    rates: { input_tokens: '1', requests: '0.005' },
    usage: { input_tokens: 100 },
    exact: '0.612',
    cost: 612_000n,
  },
  {
    of: 'whoever counts requests says how many, none too',
    rates: { input_tokens: '1', requests: '0.005' },
    usage: { input_tokens: 100, requests: 0 },
    exact: '0.012',
    cost: 12_000n,
  },
  {
    of: 'three requests are three',
    rates: { input_tokens: '1', requests: '0.005' },
    usage: { requests: 3 },
    exact: '1.8',
    cost: 1_800_000n,
  },
  {
    of: 'a request that only costs something with priority is free otherwise',
    rates: { input_tokens: '1' },
    variants: [{ serviceTier: 'priority', rates: { requests: '0.005' } }],
    usage: { input_tokens: 100 },
    exact: '0.012',
    cost: 12_000n,
  },
  {
    of: 'and costs it with priority',
    rates: { input_tokens: '1' },
    variants: [{ serviceTier: 'priority', rates: { requests: '0.005' } }],
    usage: { input_tokens: 100 },
    tier: 'priority',
    exact: '0.612',
    cost: 612_000n,
  },
  {
    of: 'what is not counted in tokens has its price for one: 3 × 0.01 + 7.5 × … of pages, seconds, characters and images',
    rates: { searches: '0.01', pages: '0.0015', input_seconds: '0.0001', output_characters: '0.000015', output_images: '0.04' },
    usage: { searches: 3, pages: 2, input_seconds: 90, output_characters: 1_000, output_images: 1 },
    // 0.03 + 0.003 + 0.009 + 0.015 + 0.04 = 0.097 dollars
    exact: '11.64',
    cost: 11_640_000n,
  },
  {
    of: 'nothing of a pool without a price is no use of it',
    rates: { input_tokens: '1' },
    usage: { input_tokens: 5, output_audio_tokens: 0, searches: 0 },
    exact: '0.0006',
    cost: 600n,
  },
  {
    of: 'a price of nearly nothing is not nothing',
    rates: { input_tokens: '0.000000000001' },
    usage: { input_tokens: 1 },
    percent: '0',
    creditsPerUsd: '0.000000000001',
    exact: '0.000000000000000000000000000001',
    cost: 1n,
  },
  {
    of: 'a billion tokens at 75 dollars, to the micro-credit',
    rates: { input_tokens: '75.000000000001' },
    usage: { input_tokens: 1_000_000_000 },
    exact: '9000000.00000012',
    cost: 9_000_000_000_001n,
  },
  {
    of: 'a million of them in every pool of tokens is the sum of all prices',
    rates: Object.fromEntries(POOLS.filter((pool) => pool.endsWith('_tokens')).map((pool, index) => [pool, `${index + 1}`])),
    usage: Object.fromEntries(POOLS.filter((pool) => pool.endsWith('_tokens')).map((pool) => [pool, 1_000_000])),
    // 1 + 2 + … + 15 dollars
    exact: '14400',
    cost: 14_400_000_000n,
  },
  {
    of: 'sums are rounded once: three times a third of a micro-credit is one',
    rates: { input_tokens: '0.333', output_tokens: '0.333', searches: '0.000000334' },
    usage: { input_tokens: 1, output_tokens: 1, searches: 1 },
    percent: '0',
    creditsPerUsd: '1',
    exact: '0.000001',
    cost: 1n,
  },
  {
    of: 'and a trifle above that is two',
    rates: { input_tokens: '0.333', output_tokens: '0.333', searches: '0.000000334000' },
    usage: { input_tokens: 1, output_tokens: 1, searches: 1 },
    percent: '0.000000000001',
    creditsPerUsd: '1',
    exact: '0.00000100000000000001',
    cost: 2n,
  },
  {
    of: 'a markup of 33.3 % on 0.1: 0.1333 micro-credits',
    rates: { input_tokens: '0.1' },
    usage: { input_tokens: 1 },
    percent: '33.3',
    creditsPerUsd: '1',
    exact: '0.0000001333',
    cost: 1n,
  },
  {
    of: 'a markup of 1.125 and 80 credits to the dollar: 7 × 3 × 90',
    rates: { input_tokens: '3.00' },
    usage: { input_tokens: 7 },
    percent: '12.5',
    creditsPerUsd: '80.0',
    exact: '0.00189',
    cost: 1_890n,
  },
  { of: 'units of an operation, and once its flat cost', operation: { flat: 500n, unit: 7n }, units: 9, exact: '0.000563', cost: 563n },
  { of: 'the flat cost whatever the units', operation: { flat: 500n, unit: 7n }, units: 0, exact: '0.0005', cost: 500n },
  {
    of: 'an operation on top of a model: 101 × 0.6 + 1.8 + 2 × 7 + 5 = 81.4',
    rates: { input_tokens: '0.5', output_tokens: '1.5' },
    usage: { input_tokens: 101, output_tokens: 1 },
    operation: { flat: 5n, unit: 7n },
    units: 2,
    creditsPerUsd: '1',
    exact: '0.0000814',
    cost: 82n,
  },
  {
    of: 'small work costs the minimum',
    rates: { input_tokens: '1' },
    usage: { input_tokens: 1 },
    minimum: 10_000n,
    exact: '0.00012',
    cost: 10_000n,
  },
  { of: 'no work costs nothing', rates: { input_tokens: '1' }, usage: { input_tokens: 0 }, minimum: 10_000n, exact: '0', cost: 0n },
  {
    of: 'up to the next multiple: 615,000 to 620,000',
    rates: GPT,
    usage: { input_tokens: 1_000, cache_read_tokens: 500, output_tokens: 200 },
    roundTo: 10_000n,
    exact: '0.615',
    cost: 620_000n,
  },
  { of: 'a multiple stays', operation: { flat: 0n, unit: 10_000n }, units: 3, roundTo: 10_000n, exact: '0.03', cost: 30_000n },
  {
    of: 'from a trifle above a multiple to the next',
    rates: { input_tokens: '0.000000000001' },
    usage: { input_tokens: 1 },
    operation: { flat: 0n, unit: 30_000n },
    units: 1,
    roundTo: 10_000n,
    exact: '0.03000000000000012',
    cost: 40_000n,
  },
  {
    of: 'the minimum is no multiple and need not be one',
    rates: { input_tokens: '1' },
    usage: { input_tokens: 1 },
    minimum: 10_001n,
    roundTo: 1_000n,
    exact: '0.00012',
    cost: 10_001n,
  },
  {
    of: 'an owner pays nothing and learns what it would have been',
    rates: GPT,
    usage: { input_tokens: 1_000 },
    minimum: 20n,
    exempt: true,
    exact: '0.3',
    cost: 0n,
  },
]

function bookFor({ rates, variants = [], operation, percent = '20', creditsPerUsd = '100', minimum = 0n, roundTo = 1n }: Partial<Case>) {
  return bookOf({
    models: rates ? [modelPrice('m', { rates, variants })] : [],
    operations: operation ? [operationPrice('o', { flatCost: operation.flat, unitCost: operation.unit })] : [],
    markups: [{ ...MARKUP, percent }],
    rates: [{ ...RATE, creditsPerUnit: creditsPerUsd }],
    policies: [{ ...POLICY, minimumCharge: minimum, maximumCharge: 10n ** 18n, roundTo }],
  })
}

function requestOf({ rates, usage, tier, operation, units }: Partial<Case>) {
  return work({
    ...(rates && { model: 'm' }),
    usage: usage ?? null,
    serviceTier: tier ?? 'standard',
    ...(operation && { operation: 'o' }),
    units: units ?? null,
  })
}

function quoteOf(given: Partial<Case>): Quote | string {
  const request = requestOf(given)
  const terms = termsAt(bookFor(given), START, request)
  if (!terms.ok) return terms.refusal.code
  const quote = quoteWhole(terms.value, request, given.exempt === true)
  return quote.ok ? quote.value : quote.refusal.code
}

interface Fraction {
  readonly n: bigint
  readonly d: bigint
}

/** Whether two fractions are the same number. */
function same(a: Fraction, b: Fraction): boolean {
  return a.n * b.d === b.n * a.d
}

function plus(a: Fraction, b: Fraction): Fraction {
  return { n: a.n * b.d + b.n * a.d, d: a.d * b.d }
}

function sumOf(lines: readonly QuoteLine[]): Fraction {
  return lines.reduce<Fraction>((sum, line) => plus(sum, line.micro), { n: 0n, d: 1n })
}

function exactOf(quote: Quote): Fraction {
  return { n: BigInt(quote.n), d: BigInt(quote.d) }
}

/** The lines and the residue of a quote come to its exact cost and to its cost. */
function brokenLines(quote: Quote): string | null {
  const isStated = quote.usage === undefined && quote.units === undefined
  const ofModel = (item: string) => item === 'usage' || item === 'charged_before'
  const model = sumOf(linesOf(quote).filter((line) => ofModel(line.item)))
  // A total that is cheaper than what was charged before costs nothing, and its lines come to less than that.
  if (model.n < 0n && quote.since === undefined) return `lines come to ${model.n}/${model.d}`
  const others = sumOf(linesOf(quote).filter((line) => !ofModel(line.item)))
  const sum = model.n < 0n ? others : plus(model, others)
  const exact = exactOf(quote)
  if (!same(sum, exact) && !isStated) return `lines come to ${sum.n}/${sum.d}, exact is ${exact.n}/${exact.d}`
  const residue = residueOf(quote)
  const cost = { n: costOf(quote), d: 1n }
  const whole = plus(exact, residue)
  if (!quote.exempt && (!same(whole, cost) || residue.n < 0n)) return `exact and residue come to ${whole.n}/${whole.d}, cost is ${cost.n}`
  return null
}

t.test('costs what it costs by hand', async (t) => {
  for (const given of CASES) {
    await t.test(given.of, async (t) => {
      const quote = quoteOf(given)
      if (typeof quote === 'string') return t.fail(quote)
      t.equal(exactCredits(exactOf(quote)), given.exact)
      t.equal(costOf(quote), given.cost)
      t.equal(brokenLines(quote), null)
      t.equal(recompute(bookFor(given), JSON.parse(JSON.stringify(quote))).cost, given.cost, 'and again from the stored versions')
    })
  }
})

t.test('what has no price is refused by name, never free', async (t) => {
  const cases: readonly (Partial<Case> & { readonly unpriced: readonly Pool[] })[] = [
    { rates: { input_tokens: '1' }, usage: { output_tokens: 1 }, unpriced: ['output_tokens'] },
    { rates: { output_tokens: '1' }, usage: { input_tokens: 1, cache_read_tokens: 2 }, unpriced: ['input_tokens', 'cache_read_tokens'] },
    { rates: { input_tokens: '1' }, usage: { reasoning_tokens: 1 }, unpriced: ['reasoning_tokens'] },
    { rates: { cache_read_tokens: '1' }, usage: { input_tokens: 1 }, unpriced: ['input_tokens'] },
    { rates: { input_tokens: '1' }, usage: { cache_read_audio_tokens: 1 }, unpriced: ['cache_read_audio_tokens'] },
    { rates: { input_tokens: '1' }, usage: { requests: 1 }, unpriced: ['requests'] },
    // Only what is priced as another pool can take its price from there.
    ...POOLS.filter(
      (pool) => !['input_tokens', 'cache_read_tokens', 'output_tokens', 'reasoning_tokens', 'citation_tokens'].includes(pool),
    ).map((pool) => ({ rates: { input_tokens: '1', output_tokens: '1' }, usage: { [pool]: 1 }, unpriced: [pool] })),
    // A variant that prices a pool does so where it applies only.
    {
      rates: { input_tokens: '1' },
      variants: [{ abovePromptTokens: 100, rates: { searches: '1' } }],
      usage: { input_tokens: 100, searches: 1 },
      unpriced: ['searches'],
    },
  ]
  for (const { unpriced, ...given } of cases) {
    const request = requestOf(given)
    const terms = termsAt(bookFor(given), START, request)
    if (!terms.ok) return t.fail(terms.refusal.code)
    for (const exempt of [false, true]) {
      const quote = quoteWhole(terms.value, request, exempt)
      t.match(quote, { ok: false, refusal: { code: 'pool_unpriced', extra: { pools: unpriced } } }, JSON.stringify(given.usage))
    }
  }
})

t.test('a service tier without a price is refused, and one that only long prompts have is there', async (t) => {
  t.equal(quoteOf({ rates: GPT, usage: { input_tokens: 1 }, tier: 'batch' }), 'service_tier_unpriced')
  t.equal(quoteOf({ rates: GPT, variants: BATCH, usage: { input_tokens: 1 }, tier: 'flex' }), 'service_tier_unpriced')
  t.equal(quoteOf({ rates: GPT, variants: BATCH, usage: { input_tokens: 0 }, tier: 'flex' }), 'service_tier_unpriced', 'whatever the usage')
  const long = [{ serviceTier: 'flex', abovePromptTokens: 10, rates: { input_tokens: '1' } }] as const
  t.match(quoteOf({ rates: GPT, variants: long, usage: { input_tokens: 1 }, tier: 'flex' }), {
    service_tier: 'flex',
    terms: { model: Object },
  })
})

t.test('a stated amount costs what it says: no minimum, no rounding, no markup, and no lines', async (t) => {
  const terms = termsAt(bookFor({ minimum: 20n, roundTo: 1_000n }), START, NO_SUBJECT)
  if (!terms.ok) return t.fail(terms.refusal.code)
  for (const amount of [0n, 1n, 19n, 1_001n, 10n ** 18n]) {
    const quote = quoteAmount(terms.value, amount, false)
    t.equal(costOf(quote), amount)
    t.same(linesOf(quote), [])
    t.same(residueOf(quote), { n: 0n, d: 1n })
  }
  t.equal(costOf(quoteAmount(terms.value, 5n, true)), 0n)
  t.notOk(exceedsMaximum(terms.value, 10n ** 18n))
  t.ok(exceedsMaximum(terms.value, 10n ** 18n + 1n))
})

t.test('a quote keeps what it is of: usage, units, how it was served and how it was estimated', async (t) => {
  const given = { rates: GPT, variants: BATCH, operation: { flat: 5n, unit: 7n } }
  const request = { ...requestOf({ ...given, usage: { input_tokens: 5 }, units: 2, tier: 'batch' }), estimate: 'characters' } as const
  const terms = termsAt(bookFor(given), START, request)
  if (!terms.ok) return t.fail(terms.refusal.code)
  const quote = quoteWhole(terms.value, request, false)
  if (!quote.ok) return t.fail(quote.refusal.code)
  const { n: _, d: __, terms: ___, ...kept } = quote.value
  t.same(kept, { min: '0', exempt: false, units: 2, flat: true, usage: { input_tokens: 5 }, estimate: 'characters', service_tier: 'batch' })
  t.equal(
    JSON.stringify(recompute(bookFor(given), quote.value).quote),
    JSON.stringify(quote.value),
    'and so does the one that is worked out again',
  )
})

t.test('lines tell whose price a pool has, at which price, and what was charged before', async (t) => {
  const given = { rates: PRO, variants: LONG, operation: { flat: 5n, unit: 7n } }
  const terms = termsAt(bookFor(given), START, requestOf({ ...given, usage: {}, units: 1 }))
  if (!terms.ok) return t.fail(terms.refusal.code)
  const usage = { input_tokens: 100_001, reasoning_tokens: 2, searches: 0 }
  const quote = quoteWork(terms.value, { units: 3, usage, serviceTier: 'standard' }, false, {
    flat: true,
    since: { input_tokens: 100_000 },
  })
  if (!quote.ok) return t.fail(quote.refusal.code)
  t.same(
    linesOf(quote.value).map(({ item, pool, pricedAs, quantity, usd, per, micro }) =>
      [item, pool, pricedAs, quantity, usd, per, exactCredits(micro)].map((value) => value ?? '–').join(' '),
    ),
    [
      'usage input_tokens – 200001 2.5 1000000 60.0003',
      'usage reasoning_tokens output_tokens 2 15 1000000 0.0036',
      'charged_before input_tokens – 100000 1.25 1000000 -15',
      'units – – 3 – 1 0.000021',
      'flat – – 1 – 1 0.000005',
    ],
  )
  t.equal(exactCredits(exactOf(quote.value)), '45.003926')
  t.equal(brokenLines(quote.value), null)
})

t.test('a cumulative usage costs what the whole costs less what was charged, and never less than nothing', async (t) => {
  const cheaper: readonly PriceVariant[] = [{ abovePromptTokens: 100, rates: { input_tokens: '0.1' } }]
  const cases = [
    { of: 'up to the threshold', variants: LONG, since: 100_000, more: 100_000, cost: 15_000_000n },
    { of: 'one over: 200,001 × 2.5 less 200,000 × 1.25', variants: LONG, since: 200_000, more: 1, cost: 30_000_300n },
    { of: 'above it: one token more', variants: LONG, since: 200_001, more: 1, cost: 300n },
    { of: 'nothing more', variants: LONG, since: 200_001, more: 0, cost: 0n },
    { of: 'cheaper as a whole: nothing', variants: cheaper, since: 100, more: 1, cost: 0n },
    { of: 'and with no variants each token its price', variants: [], since: 200_000, more: 1, cost: 150n },
  ]
  for (const { of, variants, since, more, cost } of cases) {
    const given = { rates: PRO, variants, usage: { input_tokens: more } }
    const terms = termsAt(bookFor(given), START, requestOf(given))
    if (!terms.ok) return t.fail(terms.refusal.code)
    const request = { units: null, usage: { input_tokens: more }, serviceTier: 'standard' } as const
    const quote = quoteWork(terms.value, request, false, { since: { input_tokens: since } })
    if (!quote.ok) return t.fail(quote.refusal.code)
    t.equal(costOf(quote.value), cost, of)
    t.equal(brokenLines(quote.value), null, of)
    t.equal(recompute(bookFor(given), quote.value).cost, cost, of)
  }
})

t.test('a partial hold affords what fits into it, and not one more', async (t) => {
  const cases: readonly (Partial<Case> & { readonly amount: bigint; readonly affords: object | null })[] = [
    { rates: { output_tokens: '1.5' }, usage: { output_tokens: 100 }, amount: 50n, affords: { output_tokens: 27 } },
    {
      rates: { input_tokens: '1', output_tokens: '1.5' },
      usage: { input_tokens: 40, output_tokens: 100 },
      amount: 50n,
      affords: { output_tokens: 1 },
    },
    {
      rates: { input_tokens: '1', output_tokens: '1' },
      usage: { input_tokens: 40, output_tokens: 9 },
      amount: 48n,
      affords: { output_tokens: 0 },
    },
    { rates: { output_tokens: '1' }, usage: { output_tokens: 100 }, amount: 49n, minimum: 50n, affords: { output_tokens: 0 } },
    { rates: { output_tokens: '0', requests: '0.00005' }, usage: { output_tokens: 5 }, amount: 59n, affords: { output_tokens: 0 } },
    { rates: { output_tokens: '0', requests: '0.00005' }, usage: { output_tokens: 5 }, amount: 60n, affords: { output_tokens: 5 } },
    // 150 do not pay for 150 tokens where costs are rounded up to hundreds: 100 do.
    {
      rates: { output_tokens: '1' },
      usage: { output_tokens: 200 },
      percent: '0',
      amount: 150n,
      roundTo: 100n,
      affords: { output_tokens: 100 },
    },
    {
      rates: { output_tokens: '1' },
      usage: { output_tokens: 200 },
      percent: '0',
      amount: 99n,
      roundTo: 100n,
      affords: { output_tokens: 0 },
    },
    { operation: { flat: 0n, unit: 7n }, units: 9, amount: 50n, affords: { units: 7 } },
    { operation: { flat: 5n, unit: 7n }, units: 9, amount: 50n, affords: { units: 6 } },
    { operation: { flat: 5n, unit: 7n }, units: 9, amount: 4n, affords: { units: 0 } },
    { operation: { flat: 50n, unit: 0n }, units: 9, amount: 49n, affords: { units: 0 } },
    { operation: { flat: 0n, unit: 7n }, units: 9, amount: 50n, roundTo: 20n, affords: { units: 5 } },
    { rates: { input_tokens: '1' }, usage: { input_tokens: 9 }, amount: 5n, affords: null },
    {
      rates: PRO,
      variants: LONG,
      usage: { input_tokens: 200_001, output_tokens: 9 },
      amount: 500_002n + 45n,
      percent: '0',
      affords: { output_tokens: 2 },
    },
  ]
  for (const { amount, affords, ...given } of cases) {
    const request = requestOf(given)
    const terms = termsAt(bookFor({ creditsPerUsd: '1', ...given }), START, request)
    if (!terms.ok) return t.fail(terms.refusal.code)
    t.same(
      affordable(terms.value, request, amount),
      affords,
      `${amount} for ${JSON.stringify(given, (_, v) => (typeof v === 'bigint' ? `${v}` : v))}`,
    )
  }
})

/** What the oracle makes of a request. */
interface Expected {
  readonly code: string
  readonly exact: bigint
  readonly cost: bigint
}

function expectedOf(
  prices: OPrices,
  at: number,
  request: ReturnType<typeof work>,
  exempt: boolean,
): Expected & { readonly terms: OTerms | null } {
  try {
    const terms: OTerms = {
      policy: policyOf(prices, at),
      model: request.model === null ? null : modelTerms(prices, at, request.model, request.provider),
      operation: request.operation === null ? null : operationTerms(prices, at, request.operation),
    }
    const { usage, units, serviceTier } = request
    const exact = exactCost(terms, { usage: usage as OUsage | null, units, tier: serviceTier, last: true })
    const cost = exempt ? 0n : rounded(exact, terms.policy.roundTo, exact > 0n ? terms.policy.minimum : 0n)
    return { code: 'ok', exact, cost, terms }
  } catch (error) {
    if (!(error instanceof Unpriced)) throw error
    return { code: error.code, exact: 0n, cost: 0n, terms: null }
  }
}

/** The tokens or units that an amount affords, tried out: they fit and one more does not. */
function brokenAffords(terms: Terms, request: ReturnType<typeof work>, amount: bigint): string | null {
  const affords = affordable(terms, request, amount)
  if (affords === null) return null
  const [name, count] = Object.entries(affords)[0] as ['output_tokens' | 'units', number]
  const wanted = name === 'units' ? (request.units ?? 0) : (request.usage?.output_tokens ?? 0)
  const cost = (n: number): bigint => {
    const other = name === 'units' ? { ...request, units: n } : { ...request, usage: { ...request.usage, output_tokens: n } }
    const quote = quoteWhole(terms, other, false)
    if (!quote.ok) throw new Error(quote.refusal.detail)
    return costOf(quote.value)
  }
  if (count < 0 || count > wanted) return `${count} of ${wanted}`
  if (count > 0 && cost(count) > amount) return `${count} cost ${cost(count)}, more than ${amount}`
  if (count < wanted && cost(count + 1) <= amount) return `${count + 1} cost ${cost(count + 1)}, no more than ${amount}`
  return null
}

t.test('random work at random prices costs what the oracle says, exactly', { timeout: 0 }, async (t) => {
  t.same([...POOLS].sort(), [...ALL_POOLS].sort(), 'the oracle knows the same pools')
  const dice = new Dice(SEED)
  const codes = new Map<string, number>()
  const differences: string[] = []
  let asked = 0
  let priced = 0
  let cumulative = 0
  let exempted = 0
  let recomputed = 0
  const started = performance.now()
  while (priced < RUNS && differences.length === 0) {
    const prices = randomPrices(dice)
    const book = priceBook(prices, SAME_CLOCK)
    for (let n = 0; n < 40 && priced < RUNS; n += 1) {
      const at = randomTime(dice)
      const [model, provider] = dice.once(8) ? [null, null] : randomName(dice)
      const operation = model === null || dice.once(3) ? dice.oneOf(['scan', 'render', 'scan', 'render', 'scan', 'render', 'none']) : null
      const usage = model === null ? null : (randomUsage(dice) as Usage)
      const request = work({
        model,
        provider,
        operation,
        usage,
        units: operation === null ? null : dice.oneOf([0, 1, 2, 999_999]),
        serviceTier: model === null ? 'standard' : randomTier(dice),
      })
      const exempt = dice.once(15) && isExempt(book, at, 'user:ann', 'user:ann')
      const where = `--seed=${SEED} --runs=${priced + 1}: ${JSON.stringify({ at, exempt, ...request })}`
      const wrong = (what: string) => differences.push(`${where}\n  ${what}`)
      asked += 1

      if (exempt !== (exempt && policyOf(prices, at).ownerExempt)) wrong('an owner is exempt who ought not to be')
      const expected = expectedOf(prices, at, request, exempt)
      codes.set(expected.code, (codes.get(expected.code) ?? 0) + 1)
      const terms = termsAt(book, at, request)
      const told = terms.ok ? quoteWhole(terms.value, request, exempt) : terms
      const code = told.ok ? 'ok' : told.refusal.code
      if (code !== expected.code) {
        wrong(`${code}, the oracle has ${expected.code}`)
        break
      }
      if (!told.ok || !terms.ok || expected.terms === null) continue
      priced += 1
      const quote = told.value
      if (!same(exactOf(quote), { n: expected.exact, d: EXACT }))
        wrong(`exact ${quote.n}/${quote.d}, the oracle has ${expected.exact} × 10^-60`)
      if (costOf(quote) !== expected.cost) wrong(`cost ${costOf(quote)}, the oracle has ${expected.cost}`)
      if (exempt) exempted += 1
      const fault = brokenLines(quote)
      if (fault) wrong(fault)

      // As a commit does it: with the terms as the database gives them back.
      const frozen = JSON.parse(JSON.stringify(terms.value)) as Terms
      const again = quoteWhole(frozen, request, exempt)
      if (!again.ok || JSON.stringify(again.value) !== JSON.stringify(quote)) wrong('frozen terms give another quote')
      const { cost, missing } = recompute(book, JSON.parse(JSON.stringify(quote)))
      recomputed += 1
      if (cost !== expected.cost || missing.length > 0) wrong(`recomputes to ${cost}, missing ${missing}`)
      if (quote.n !== '0') {
        const poor = brokenAffords(terms.value, request, (costOf({ ...quote, exempt: false }) * BigInt(dice.below(1_000))) / 1_000n)
        if (poor) wrong(`affords ${poor}`)
      }

      // The same usage on top of another one.
      if (usage && dice.once(2)) {
        const since = randomUsage(dice) as Usage
        const last = dice.once(2)
        const extra = { flat: last, since }
        const more =
          last && quote.usage ? { ...usage, ...(quote.usage.requests !== undefined && { requests: quote.usage.requests }) } : usage
        const part = quoteWork(terms.value, { ...request, usage: more }, false, extra)
        let hoped: bigint | string
        try {
          hoped = exactCost(expected.terms, {
            usage: more as OUsage,
            units: request.units,
            tier: request.serviceTier,
            since: since as OUsage,
            last: false,
          })
          if (last && request.units !== null) hoped += (expected.terms.operation?.flat ?? 0n) * EXACT
        } catch (error) {
          hoped = (error as Unpriced).code
        }
        if (!part.ok) {
          if (part.refusal.code !== hoped) wrong(`on top of ${JSON.stringify(since)}: ${part.refusal.code}, the oracle has ${hoped}`)
          continue
        }
        cumulative += 1
        if (typeof hoped === 'string' || !same(exactOf(part.value), { n: hoped, d: EXACT }))
          wrong(`on top of ${JSON.stringify(since)}: ${part.value.n}/${part.value.d}, the oracle has ${hoped}`)
        const broken = brokenLines(withMinimum(part.value, 1_000n))
        if (broken) wrong(`on top of ${JSON.stringify(since)}: ${broken}`)
        if (recompute(book, part.value).cost !== costOf(part.value)) wrong('a cumulative quote recomputes to something else')
      }
    }
  }
  const seconds = (performance.now() - started) / 1000
  const counts = [...codes].sort(([, a], [, b]) => b - a).map(([code, n]) => `${code} ${n}`)
  t.comment(
    `quote: seed ${SEED}: ${asked} requests, ${priced} quotes, ${cumulative} cumulative ones beside, ${exempted} exempt, ${recomputed} worked out again, in ${seconds.toFixed(1)} s`,
  )
  t.comment(`quote: answers: ${counts.join(', ')}; differences: ${differences.length}`)
  t.same(differences, [], 'no differences')
  if (RUNS >= 5_000) {
    t.same(
      [...codes.keys()].sort(),
      ['model_disabled', 'ok', 'pool_unpriced', 'rate_missing', 'service_tier_unpriced', 'unknown_model', 'unknown_operation'],
      'every answer was seen',
    )
  }
})
