import { parseArgs } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { burnOrder } from '../../src/grants/burn.ts'
import type { Grant } from '../../src/grants/grant.ts'
import type { Pool, Usage } from '../../src/pricing/pools.ts'
import type { ChargePolicy } from '../../src/pricing/prices.ts'
import {
  actual,
  Bench,
  bookOf,
  modelPrice,
  operationPrice,
  POLICY,
  RATE,
  START,
  taken,
  tokens,
  used,
  usedInAll,
  work,
} from '../helpers/decide.ts'

/** Laws of charging that hold whatever the numbers are. */

const { values } = parseArgs({ options: { runs: { type: 'string' }, seed: { type: 'string' } }, strict: false })
const RUNS = Number(values.runs ?? 300)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
let laws = 0
function check<T extends unknown[]>(property: fc.IProperty<T>): void {
  fc.assert(property, { seed: SEED, numRuns: RUNS })
  laws += 1
}
t.setTimeout(0)

const count = fc.nat(500)
const reports = fc.array(fc.tuple(count, count), { minLength: 1, maxLength: 8 })
const millions = 1_000_000_000n

/** Prices with many digits and no minimum or maximum, so that roundings show. */
const UNEVEN_MARKUP = { id: 'uneven', effectiveFrom: 0, scope: 'default', percent: '33.3' }
const policy = (said: Partial<ChargePolicy> = {}): ChargePolicy => ({
  ...POLICY,
  id: 'none',
  minimumCharge: 0n,
  maximumCharge: millions * millions,
  ...said,
})
const UNEVEN = bookOf({ models: [modelPrice('small')], markups: [UNEVEN_MARKUP], rates: [RATE], policies: [policy()] })

t.test('n captures cost as much as one charge, or less than n micro-credits more', async () => {
  check(
    fc.property(reports, fc.boolean(), (parts, withMinimum) => {
      const bench = new Bench()
      bench.prices = withMinimum ? { ...UNEVEN, policies: [policy({ minimumCharge: 400n, maximumCharge: millions })] } : UNEVEN
      const wallet = bench.wallet()
      bench.grant(wallet, millions)
      const [input, output] = parts.reduce(([i, o], [pi, po]) => [i + pi, o + po], [0, 0] as [number, number])
      const whole = taken(bench.charge(wallet, tokens(input, output))).charge.cost
      const hold = bench.hold(wallet, millions / 10n)
      let sum = 0n
      for (const [index, [i, o]] of parts.entries()) {
        const cost = { ...used(i, o), model: 'small' }
        sum += taken(index === parts.length - 1 ? bench.commit(hold, cost) : bench.capture(hold, cost)).charge.cost
      }
      return sum >= whole && sum - whole < BigInt(parts.length)
    }),
  )
})

const POOLS_OF_WORK = ['input_tokens', 'cache_read_tokens', 'input_image_tokens', 'output_tokens', 'reasoning_tokens', 'searches'] as const
const partOfWork = fc.record(Object.fromEntries(POOLS_OF_WORK.map((pool) => [pool, fc.option(fc.nat(150), { nil: undefined, freq: 1 })])))
const decimal = fc.tuple(fc.nat(20), fc.nat(999_999)).map(([whole, decimals]) => `${whole}.${String(decimals).padStart(6, '0')}`)
const rates = fc.record({
  input_tokens: decimal,
  input_image_tokens: decimal,
  output_tokens: decimal,
  searches: decimal,
  requests: decimal,
})

/** Adds up pool by pool, what is not named staying so. */
function summed(parts: readonly Usage[]): Usage {
  const total: Partial<Record<Pool, number>> = {}
  for (const part of parts)
    for (const [pool, count] of Object.entries(part) as [Pool, number | undefined][])
      if (count !== undefined) total[pool] = (total[pool] ?? 0) + count
  return total
}

function withoutHoles(usage: Usage): Usage {
  return Object.fromEntries(Object.entries(usage).filter(([, count]) => count !== undefined))
}

t.test('so do captures of every pool and cumulative reports over every threshold, counted in multiples of the rounding', async () => {
  check(
    fc.property(
      fc.array(partOfWork.map(withoutHoles), { minLength: 1, maxLength: 8 }),
      rates,
      fc.array(fc.tuple(fc.integer({ min: 1, max: 1_000 }), decimal), { maxLength: 3 }),
      fc.boolean(),
      fc.constantFrom(1n, 7n, 1_000n),
      fc.constantFrom(0n, 400n, 5_000n),
      fc.nat(3),
      (parts, base, thresholds, cumulative, roundTo, minimumCharge, units) => {
        const bench = new Bench()
        // Each threshold makes the prompt dearer: where a longer one is cheaper, what was charged before is not given back.
        let dearest = base.input_tokens
        const variants = thresholds
          .toSorted(([x], [y]) => x - y)
          .map(([abovePromptTokens, price]) => {
            if (Number(price) > Number(dearest)) dearest = price
            return { abovePromptTokens, rates: { input_tokens: dearest } }
          })
        bench.prices = bookOf({
          models: [modelPrice('small', { rates: base, variants: cumulative ? variants : [] })],
          operations: [operationPrice('scan', { flatCost: 13n })],
          markups: [UNEVEN_MARKUP],
          rates: [RATE],
          policies: [policy({ minimumCharge, roundTo })],
        })
        const wallet = bench.wallet()
        bench.grant(wallet, millions * millions)
        const request = { model: 'small', operation: 'scan', units } as const
        const whole = taken(bench.charge(wallet, work({ ...request, usage: summed(parts) }))).charge.cost
        const hold = bench.hold(wallet, millions * 100n)
        let sum = 0n
        for (const [index, part] of parts.entries()) {
          const final = index === parts.length - 1
          const usage = cumulative ? { usageTotal: summed(parts.slice(0, index + 1)) } : { usage: part }
          sum += taken(bench.commit(hold, actual({ ...request, units: final ? units : 0, ...usage }), { final })).charge.cost
        }
        return sum >= whole && sum - whole < BigInt(parts.length) * roundTo
      },
    ),
  )
})

t.test('any order and repetition of cumulative reports bills the largest totals once', async () => {
  const repeated = reports.chain((totals) =>
    fc.tuple(fc.constant(totals), fc.array(fc.nat(totals.length - 1), { minLength: 0, maxLength: 20 })),
  )
  check(
    fc.property(repeated, ([totals, again]) => {
      const bench = new Bench()
      // Whole micro-credits a token: what remains is which tokens are billed.
      const even = modelPrice('small', { rates: { input_tokens: '1', output_tokens: '3' } })
      bench.prices = bookOf({ models: [even], rates: [RATE], policies: [policy()] })
      const wallet = bench.wallet()
      bench.grant(wallet, millions)
      const hold = bench.hold(wallet, tokens(100_000, 100_000))
      const order = [...totals.keys(), ...again].map((index) => totals[index] as [number, number])
      let sum = 0n
      for (const [input, output] of order) sum += taken(bench.capture(hold, usedInAll(input, output))).charge.cost
      sum += taken(bench.commit(hold, usedInAll(...(order[0] as [number, number])))).charge.cost
      const input = Math.max(...order.map(([i]) => i))
      const output = Math.max(...order.map(([, o]) => o))
      return sum === BigInt(input) + 3n * BigInt(output)
    }),
  )
})

const lots = fc.array(
  fc.record({
    amount: fc.bigInt({ min: 1n, max: 60n }),
    kind: fc.constantFrom('bonus' as const, 'purchase' as const, 'adjustment' as const),
    priority: fc.option(fc.integer({ min: 0, max: 60 })),
    expiresAt: fc.option(fc.integer({ min: START + 1_000, max: START + 1_004 })),
  }),
  { minLength: 1, maxLength: 7 },
)

t.test('credits burn by priority, then expiry, then age: no grant is drawn while one before it has credits', async () => {
  check(
    fc.property(lots, fc.bigInt({ min: 1n, max: 420n }), (issued, wanted) => {
      const bench = new Bench()
      const wallet = bench.wallet()
      for (const lot of issued) bench.grant(wallet, lot.amount, lot)
      const total = issued.reduce((sum, lot) => sum + lot.amount, 0n)
      const cost = wanted < total ? wanted : total
      const { draws } = taken(bench.charge(wallet, cost)).charge
      const ranked = bench
        .book(wallet)
        .grants.toSorted((a, b) => rank(a) - rank(b) || (a.expiresAt ?? Infinity) - (b.expiresAt ?? Infinity) || (a.id < b.id ? -1 : 1))
      let left = cost
      const expected = ranked.flatMap((grant) => {
        const amount = grant.amount < left ? grant.amount : left
        left -= amount
        return amount > 0n ? [{ grantId: grant.id, amount }] : []
      })
      return JSON.stringify(draws, text) === JSON.stringify(expected, text)
    }),
  )
})
const rank = (grant: Grant) => grant.priority
const text = (_: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value)

t.test('the burn order is total: sorted from any order the grants come out the same', async () => {
  check(
    fc.property(lots, fc.infiniteStream(fc.nat(1_000)), (issued, stream) => {
      const bench = new Bench()
      const wallet = bench.wallet()
      for (const lot of issued) bench.grant(wallet, lot.amount, lot)
      const { grants } = bench.book(wallet)
      const shuffled = grants
        .map((grant) => ({ grant, at: stream.next().value }))
        .sort((a, b) => a.at - b.at)
        .map(({ grant }) => grant)
      const ids = (list: Grant[]) =>
        list
          .toSorted(burnOrder)
          .map((grant) => grant.id)
          .join()
      return (
        ids(grants) === ids(shuffled) &&
        grants.every((a) => grants.every((b) => Math.sign(burnOrder(a, b)) === -Math.sign(burnOrder(b, a))))
      )
    }),
  )
})

t.test('a hold that is released leaves every grant as it was; what a commit leaves goes back where it came from', async () => {
  check(
    fc.property(lots, fc.bigInt({ min: 1n, max: 420n }), fc.bigInt({ min: 0n, max: 420n }), (issued, wanted, usedUp) => {
      const bench = new Bench()
      const wallet = bench.wallet()
      for (const lot of issued) bench.grant(wallet, lot.amount, lot)
      const total = issued.reduce((sum, lot) => sum + lot.amount, 0n)
      const before = bench.remaining(wallet).join()
      const { pins, ...hold } = bench.hold(wallet, wanted < total ? wanted : total)
      if (pins.reduce((sum, pin) => sum + pin.amount, 0n) !== hold.amount) return false
      taken(bench.release(hold))
      if (bench.remaining(wallet).join() !== before || bench.book(wallet).grants.some((grant) => grant.held !== 0n)) return false

      // A commit of a hold draws the very grants that a charge of as much would draw.
      const second = bench.hold(wallet, hold.amount)
      const cost = usedUp < second.amount ? usedUp : second.amount
      const { draws } = taken(bench.commit(second, cost)).charge
      const twin = new Bench()
      const other = twin.wallet()
      for (const lot of issued) twin.grant(other, lot.amount, lot)
      taken(twin.charge(other, cost))
      return draws.reduce((sum, draw) => sum + draw.amount, 0n) === cost && bench.remaining(wallet).join() === twin.remaining(other).join()
    }),
  )
})

t.test('a refund of a whole charge, in any parts, leaves the wallet with what it had', async () => {
  check(
    fc.property(
      lots,
      fc.bigInt({ min: 1n, max: 420n }),
      fc.array(fc.bigInt({ min: 1n, max: 100n }), { maxLength: 6 }),
      fc.bigInt({ min: 0n, max: 50n }),
      (issued, cost, parts, limit) => {
        const bench = new Bench()
        const wallet = bench.wallet({ overdraftLimit: limit })
        for (const lot of issued) bench.grant(wallet, lot.amount, lot)
        const before = bench.figures(wallet).balance
        const { charge } = taken(bench.charge(wallet, cost, { shortfall: 'record' }))
        const collected = charge.captured + charge.overage
        let back = 0n
        for (const part of parts) {
          if (back + part >= collected) break
          back += taken(bench.refund(charge, part)).amount
        }
        back += taken(bench.refund(charge)).amount
        const { balance, debt } = bench.figures(wallet)
        return back === collected && balance === before && debt === 0n
      },
    ),
  )
})

t.test('payees together never earn more than was collected, each a micro-credit less than its share at most', async () => {
  const shares = fc
    .array(fc.bigInt({ min: 0n, max: 400_000n }), { minLength: 1, maxLength: 8 })
    .filter((list) => list.reduce((sum, ppm) => sum + ppm, 0n) <= 1_000_000n)
  check(
    fc.property(shares, fc.bigInt({ min: 1n, max: 2_000n }), fc.bigInt({ min: 0n, max: 2_000n }), (list, cost, credits) => {
      const bench = new Bench()
      const wallet = bench.wallet()
      if (credits > 0n) bench.grant(wallet, credits)
      const payees = list.map((sharePpm) => ({ walletId: bench.wallet(), sharePpm }))
      const { charge } = taken(bench.charge(wallet, cost, { payees, shortfall: 'record' }))
      const collected = charge.captured + charge.overage
      const earned = charge.earnings.reduce((sum, earning) => sum + earning.amount, 0n)
      return (
        earned <= collected &&
        charge.earnings.every(
          ({ amount, sharePpm }) => amount * 1_000_000n <= collected * sharePpm && (amount + 1n) * 1_000_000n > collected * sharePpm,
        )
      )
    }),
  )
})

t.test('and that is all of them', async (t) => t.comment(`charging: seed ${SEED}: ${laws} laws held in ${RUNS} cases each`))
