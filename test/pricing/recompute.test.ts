import { parseArgs } from 'node:util'
import t from 'tap'
import type { Usage } from '../../src/pricing/pools.ts'
import type { ModelPrice, PriceBook, Version } from '../../src/pricing/prices.ts'
import { costOf, type Quote, quoteAmount, quoteWhole, quoteWork, withMinimum } from '../../src/pricing/quote.ts'
import { recompute } from '../../src/pricing/recompute.ts'
import { isExempt, NO_SUBJECT, termsAt } from '../../src/pricing/terms.ts'
import {
  Bench,
  type MARKUP,
  modelPrice,
  operationPrice,
  POLICY,
  PRICES,
  pricesWith,
  type RATE,
  START,
  taken,
  tokens,
  used,
  work,
} from '../helpers/decide.ts'
import { priceBook, SAME_CLOCK } from '../properties/drive.ts'
import { Dice, LIST_START, randomName, randomPrices, randomTier, randomTime, randomUsage } from '../properties/price-lists.ts'
import type { OPrices } from '../properties/price-oracle.ts'

/** Quotes worked out again from the stored versions: the same figure from the same versions, and another one from others. */

const { values } = parseArgs({ options: { runs: { type: 'string' }, seed: { type: 'string' } }, strict: false })
const RUNS = Number(values.runs ?? 1_000)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)

function quoteFrom(book: PriceBook, at: number, request: ReturnType<typeof work>, exempt = false): Quote | null {
  const terms = termsAt(book, at, request)
  if (!terms.ok) return null
  const quote = quoteWhole(terms.value, request, exempt)
  // As the database gives it back.
  return quote.ok ? (JSON.parse(JSON.stringify(quote.value)) as Quote) : null
}

/** A book in which one version is another one, or gone where `change` gives none. */
function changed<V extends Version>(book: PriceBook, id: string, change: (version: V) => V | null): PriceBook {
  const list = <L extends Version>(versions: readonly L[]): L[] =>
    versions.flatMap((version) => (version.id === id ? ((change(version as unknown as V) as unknown as L | null) ?? []) : [version]))
  const lists = <L extends Version>(all: ReadonlyMap<string, readonly L[]>) =>
    new Map([...all].map(([name, versions]) => [name, list(versions)]))
  return {
    models: lists(book.models),
    operations: lists(book.operations),
    markups: lists(book.markups),
    exchangeRates: lists(book.exchangeRates),
    policies: list(book.policies),
  }
}

/** A decimal with one digit changed. */
function typo(dice: Dice, decimal: string): string {
  const places = [...decimal].flatMap((character, place) => (character === '.' ? [] : [place]))
  const place = dice.oneOf(places)
  const digit = (Number(decimal[place]) + 1 + dice.below(9)) % 10
  // No decimal begins with a zero that says nothing.
  const isFirst = place === 0 && /^\d\d/.test(decimal)
  return decimal.slice(0, place) + (isFirst && digit === 0 ? (decimal[0] === '9' ? 8 : 9) : digit) + decimal.slice(place + 1)
}

/** Every book that has a typo in one of the figures of the rates of a version. */
function typosOfRates(dice: Dice, book: PriceBook, id: string, pool: string): PriceBook[] {
  const price = [...book.models.values()].flat().find((version) => version.id === id) as ModelPrice
  const wrong = (rates: Readonly<Record<string, string>>) => ({ ...rates, [pool]: typo(dice, rates[pool] as string) })
  const books: PriceBook[] = []
  if (pool in price.rates) books.push(changed(book, id, (version: ModelPrice) => ({ ...version, rates: wrong(version.rates) })))
  for (const [index, variant] of price.variants.entries()) {
    if (!(pool in variant.rates)) continue
    const variants = price.variants.with(index, { ...variant, rates: wrong(variant.rates) })
    books.push(changed(book, id, (version: ModelPrice) => ({ ...version, variants })))
  }
  return books
}

const FALLBACK: Readonly<Record<string, string>> = {
  cache_read_tokens: 'input_tokens',
  cache_read_audio_tokens: 'input_audio_tokens',
  cache_read_image_tokens: 'input_image_tokens',
  reasoning_tokens: 'output_tokens',
  citation_tokens: 'output_tokens',
}

function isSameExact(a: Quote | null, b: Quote): boolean {
  return a !== null && BigInt(a.n) * BigInt(b.d) === BigInt(b.n) * BigInt(a.d)
}

/** Everything that may be set later: other figures for all there is, from now on and in the future. */
function withLaterVersions(dice: Dice, prices: OPrices, at: number): OPrices {
  const from = () => at + 1 + dice.below(1_000)
  const other = randomPrices(dice)
  return {
    models: [...prices.models, ...other.models.map((version) => ({ ...version, from: from() }))],
    operations: [...prices.operations, ...other.operations.map((version) => ({ ...version, from: from() }))],
    markups: [...prices.markups, ...other.markups.map((version) => ({ ...version, from: from() }))],
    rates: [...prices.rates, ...other.rates.map((version) => ({ ...version, from: from() }))],
    policies: [...prices.policies, ...other.policies.map((version) => ({ ...version, from: from() }))],
  }
}

t.test('every quote is the same again, also when there are later versions, and a typo in any figure shows', { timeout: 0 }, async (t) => {
  const dice = new Dice(SEED)
  const wrong: string[] = []
  const seen = new Map<string, number>()
  const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1)
  let quotes = 0
  while (quotes < RUNS && wrong.length === 0) {
    const prices = randomPrices(dice)
    const book = priceBook(prices, SAME_CLOCK)
    for (let n = 0; n < 10 && quotes < RUNS; n += 1) {
      const at = randomTime(dice)
      const [model, provider] = dice.once(5) ? [null, null] : randomName(dice)
      const operation = model === null || dice.once(2) ? dice.oneOf(['scan', 'render']) : null
      const usage = model === null ? null : (randomUsage(dice) as Usage)
      const units = operation === null ? null : dice.oneOf([0, 1, 3, 999])
      const serviceTier = model === null ? 'standard' : randomTier(dice)
      const quote = quoteFrom(
        book,
        at,
        work({ model, provider, operation, usage, units, serviceTier }),
        dice.once(8) && isExempt(book, at, 'a', 'a'),
      )
      if (!quote) continue
      quotes += 1
      const where = `--seed=${SEED} --runs=${quotes}: ${JSON.stringify(quote)}`
      const cost = costOf(quote)

      for (const later of [book, priceBook(withLaterVersions(dice, prices, Math.max(at, LIST_START + 36_000_000)), SAME_CLOCK)]) {
        const again = recompute(later, quote)
        if (again.cost !== cost || again.missing.length > 0) wrong.push(`${where}\n  comes to ${again.cost}, was ${cost}`)
        if (JSON.stringify(again.quote) !== JSON.stringify(quote))
          wrong.push(`${where}\n  is another quote: ${JSON.stringify(again.quote)}`)
      }

      const { terms } = quote
      const differs = (what: string, other: PriceBook, is: (again: Quote) => boolean) => {
        count(what)
        const again = recompute(other, quote)
        if (!again.quote || is(again.quote)) return
        wrong.push(`${where}\n  a typo in the ${what} does not show`)
      }
      const exactDiffers = (again: Quote) => !isSameExact(again, quote)
      if (terms.model) {
        const { price, markup, rate } = terms.model
        for (const pool of Object.keys(quote.usage ?? {})) {
          if ((quote.usage as Record<string, number>)[pool] === 0) continue
          // One of the places where the list has a price for this pool is the one that counted.
          const own = typosOfRates(dice, book, price, pool)
          const books = [...own, ...typosOfRates(dice, book, price, FALLBACK[pool] ?? pool)]
          const shows = books.filter((other) => exactDiffers(recompute(other, quote).quote ?? quote))
          count('rate of a pool')
          if (shows.length === 0) wrong.push(`${where}\n  no typo in a price of ${pool} shows`)
        }
        const ofModel = quoteWork(terms, { units: null, usage: quote.usage ?? null, serviceTier }, false)
        if (ofModel.ok && ofModel.value.n !== '0') {
          if (markup !== null)
            differs(
              'markup',
              changed(book, markup, (version: typeof MARKUP) => ({ ...version, percent: typo(dice, version.percent) })),
              exactDiffers,
            )
          const wrongRate = changed(book, rate, (version: typeof RATE) => ({
            ...version,
            creditsPerUnit: typo(dice, version.creditsPerUnit),
          }))
          differs('exchange rate', wrongRate, exactDiffers)
        }
      }
      if (terms.operation && quote.units !== undefined) {
        const { price } = terms.operation
        type Operation = ReturnType<typeof operationPrice>
        if (quote.units > 0)
          differs(
            'unit cost',
            changed(book, price, (version: Operation) => ({ ...version, unitCost: version.unitCost + 1n })),
            exactDiffers,
          )
        if (quote.flat)
          differs(
            'flat cost',
            changed(book, price, (version: Operation) => ({ ...version, flatCost: version.flatCost + 1n })),
            exactDiffers,
          )
      }
      if (terms.policy !== null) {
        const { policy } = terms
        type Policy = typeof POLICY
        const costDiffers = (again: Quote) => costOf(again) !== cost
        const more = 10n ** 40n
        const minimum = changed(book, policy, (version: Policy) => ({ ...version, minimumCharge: version.minimumCharge + more }))
        const roundTo = changed(book, policy, (version: Policy) => ({ ...version, roundTo: version.roundTo * more }))
        if (!quote.exempt && quote.n !== '0') {
          if (quote.min !== '0') differs('minimum', minimum, costDiffers)
          differs('round_to', roundTo, costDiffers)
        }
        if (quote.exempt && quote.n !== '0')
          differs(
            'exemption',
            changed(book, policy, (version: Policy) => ({ ...version, ownerExempt: !version.ownerExempt })),
            costDiffers,
          )
        const maximum = changed(book, policy, (version: Policy) => ({ ...version, maximumCharge: version.maximumCharge + 1n }))
        differs('maximum', maximum, (again) => again.terms.maximum !== terms.maximum)
      }
      for (const id of [terms.policy, terms.model?.price, terms.model?.markup, terms.model?.rate, terms.operation?.price]) {
        if (id === null || id === undefined) continue
        count('missing version')
        const { cost, missing } = recompute(
          changed(book, id, () => null),
          quote,
        )
        if (cost !== null || missing.join() !== id) wrong.push(`${where}\n  without ${id} it is ${cost}, missing ${missing}`)
      }
    }
  }
  t.comment(
    `recompute: seed ${SEED}: ${quotes} quotes, each again and beside later versions; wrong versions tried: ${[...seen].map(([what, n]) => `${what} ${n}`).join(', ')}; not noticed: ${wrong.length}`,
  )
  t.same(wrong.slice(0, 3), [])
  if (RUNS >= 1_000) t.equal(seen.size, 10, 'every kind of figure was wrong once')
})

t.test('every charge of a reservation is the same again: captures, cumulative ones, what was missing to the minimum', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 1_000_000n)
  bench.prices = pricesWith({
    models: [
      modelPrice('tiered', {
        rates: { input_tokens: '1', output_tokens: '2', requests: '0.00001' },
        variants: [{ abovePromptTokens: 100, rates: { input_tokens: '3' } }],
      }),
    ],
    operations: [operationPrice('flat', { flatCost: 5n })],
  })
  const total = (input: number) => ({ ...used(0), usage: null, usageTotal: { input_tokens: input } })
  const hold = bench.hold(wallet, work({ model: 'tiered', usage: { input_tokens: 200 }, operation: 'flat', units: 1 }))
  taken(bench.capture(hold, total(90)))
  taken(bench.capture(hold, total(150)))
  taken(bench.commit(hold, { ...total(160), units: 2 }))
  const small = bench.hold(wallet, tokens(100))
  taken(bench.capture(small, used(10)))
  taken(bench.commit(small, used(5)))
  const { charges } = bench.book(wallet)
  const costs = charges.map((charge) => charge.cost)
  // 90 × 1.2; 150 × 3.6 less that; 10 × 3.6, 12 for the request, 2 × 7 and 5 once. Then 6, and what is missing to 20.
  t.same(costs, [108n, 432n, 67n, 6n, 14n])
  t.same(
    charges.map(({ quote }) => recompute(bench.prices, JSON.parse(JSON.stringify(quote))).cost),
    costs,
  )
  const [, , , , last] = charges
  if (!last) return t.fail('no last charge')
  t.equal(last.quote.min, '14')
  const dearer = { ...bench.prices, policies: [{ ...POLICY, minimumCharge: 30n }] }
  t.equal(recompute(dearer, last.quote).cost, 24n, 'of a higher minimum as much more would be missing')
  const cheaper = { ...bench.prices, policies: [{ ...POLICY, minimumCharge: 3n }] }
  t.equal(recompute(cheaper, last.quote).cost, 3n, 'of a lower one nothing: 5 × 0.6')
})

t.test('a stated amount has no prices to come from, and needs its policy', async (t) => {
  const terms = termsAt(PRICES, START, NO_SUBJECT)
  if (!terms.ok) return t.fail(terms.refusal.code)
  const quote = quoteAmount(terms.value, 1_234_567n, false)
  t.equal(recompute(PRICES, quote).cost, 1_234_567n)
  t.match(recompute({ ...PRICES, policies: [] }, quote), { cost: null, quote: null, missing: ['policy'] })
  t.equal(recompute(PRICES, quoteAmount(terms.value, 5n, true)).cost, 0n)
})

t.test('without a policy, a markup or an operation nothing is missing', async (t) => {
  const bare = { ...PRICES, policies: [], markups: new Map() }
  const quote = quoteFrom(bare, START, tokens(1_000_000, 0))
  if (!quote) return t.fail('refused')
  t.match(quote.terms, { policy: null, minimum: '10000', model: { markup: null } })
  t.match(recompute(bare, quote), { cost: 500_000n, missing: [] })
  t.match(recompute(PRICES, quote), { cost: 500_000n, missing: [] }, 'a policy or a markup that was set later is none of it')
})

t.test('a version that is found under another model, operation or scope is not the one', async (t) => {
  const quote = quoteFrom(PRICES, START, work({ ...tokens(100), operation: 'scan', units: 1 }))
  if (!quote) return t.fail('refused')
  const [small = []] = [PRICES.models.get('small')]
  t.same(recompute({ ...PRICES, models: new Map([['other', small]]) }, quote).missing, ['price of small'])
  t.same(recompute({ ...PRICES, operations: new Map() }, quote).missing, ['price of scan'])
  t.same(recompute({ ...PRICES, exchangeRates: new Map(), markups: new Map() }, quote).missing, ['markup', 'rate'])
})

t.test('what can no longer be priced with a stored version is no cost', async (t) => {
  const quote = quoteFrom(PRICES, START, tokens(100))
  if (!quote) return t.fail('refused')
  const unpriced = { ...PRICES, models: new Map([['small', [modelPrice('small', { rates: { output_tokens: '1' } })]]]) }
  t.match(recompute(unpriced, quote), { cost: null, quote: null, missing: [] })
})

t.test('hours are those of the time at which prices were frozen', async (t) => {
  const night = modelPrice('owl', { variants: [{ hours: { from: '22:00', to: '06:00' }, rates: { input_tokens: '0.25' } }] })
  const book = pricesWith({ models: [night] })
  const day = START - (START % 86_400_000)
  const costs = [day + 21 * 3_600_000, day + 23 * 3_600_000].map((at) => {
    const quote = quoteFrom(book, at, tokens(1_000, 0, 'owl'))
    return quote && recompute(book, quote).cost
  })
  t.same(costs, [600n, 300n])
  t.equal(withMinimum(quoteFrom(book, day, tokens(1_000, 0, 'owl')) as Quote, 0n).terms.model?.at, day)
})
