import { parseArgs } from 'node:util'
import fc from 'fast-check'
import type Stripe from 'stripe'
import t from 'tap'
import { boughtPart, type Payment, type ProviderPayment } from '../../src/billing/payment.ts'
import { fromStripe } from '../../src/billing/stripe/from-stripe.ts'
import type { Reservation } from '../../src/reservations/reservation.ts'
import { START, taken } from '../helpers/decide.ts'
import { Till } from '../helpers/till.ts'

/**
 * Whatever a payment went through, in whatever order it was told and whatever the wallet did meanwhile: what is taken back is a function
 * of the payment's last state alone. The invariants of the wallet hold after every step (the bench looks at them).
 * By hand: `node test/billing/any-order.test.ts --runs=20000`, `--seed=…` for the same lists again.
 */

const { values } = parseArgs({ options: { runs: { type: 'string' }, seed: { type: 'string' } }, strict: false })
const RUNS = Number(values.runs ?? 400)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)

t.setTimeout(0)

/** A state as its figures, in cents of 4,500 or of what else was ordered. */
interface Said {
  readonly refunded: bigint
  readonly withdrawn: bigint
}

type Step =
  /** The provider's payment changes; what it says is read later, or at once. */
  | { readonly kind: 'change'; readonly of: number; readonly said: Said; readonly applied: boolean }
  /** Some reading so far is applied, again or late. */
  | { readonly kind: 'replay'; readonly of: number; readonly pick: number }
  | { readonly kind: 'charge' | 'hold'; readonly amount: bigint }
  | { readonly kind: 'release' | 'commit'; readonly pick: number }
  | { readonly kind: 'grant'; readonly amount: bigint; readonly bonus: boolean; readonly seconds: number | null }
  | { readonly kind: 'wait'; readonly seconds: number }

const share = fc.oneof(fc.constantFrom(0n, 1n, 1_500n, 4_499n, 4_500n, 9_000n), fc.bigInt({ min: 0n, max: 5_000n }))
const said = fc.record({ refunded: share, withdrawn: share })
const amount = fc.oneof(fc.constantFrom(1n, 500n, 5_000n, 5_500n), fc.bigInt({ min: 1n, max: 7_000n }))
const pick = fc.nat(999)
const of = fc.nat(1)
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('change' as const), of, said, applied: fc.boolean() }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('replay' as const), of, pick }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('charge' as const, 'hold' as const), amount }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('release' as const, 'commit' as const), pick }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('grant' as const),
        amount,
        bonus: fc.boolean(),
        seconds: fc.option(fc.integer({ min: 1, max: 60 })),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), seconds: fc.integer({ min: 1, max: 90 }) }) },
  ),
  { minLength: 1, maxLength: 60, size: 'max' },
)
const orders = fc.tuple(
  fc.constantFrom({}, { bonus: 0n }, { credits: 3n, bonus: 2n }, { credits: 4_999n, bonus: 1n }),
  fc.constantFrom({}, { amount: 7n, credits: 1_000_003n, bonus: 17n }, { amount: 4_500n, credits: 1n, bonus: 0n }),
)

interface Reading {
  readonly read: bigint
  readonly said: Said
}

function targetOf({ amount, credits, bonus }: Payment, { refunded, withdrawn }: Said): bigint {
  const gone = refunded + withdrawn < amount ? refunded + withdrawn : amount
  return ((credits + bonus) * gone) / amount
}

t.test('what is taken back for a payment follows from its last state alone', async (t) => {
  const seen = { steps: 0, clawbacks: 0, reinstatements: 0, debts: 0, stale: 0, fresh: 0 }
  const property = fc.property(orders, steps, fc.bigInt({ min: 0n, max: 2_000n }), (what, list, overdraftLimit) => {
    const till = new Till()
    const wallet = till.wallet({ overdraftLimit })
    const payments = what.map((order) => till.order(wallet, order))
    const readings: Reading[][] = payments.map(() => [])
    const holds: Reservation[] = []
    /** The state that a reader would see now. */
    const current: Said[] = payments.map(() => ({ refunded: 0n, withdrawn: 0n }))
    const apply = (n: number, { read, said }: Reading) => {
      const payment = payments[n] as Payment
      const before = till.paid(payment)
      const { payment: after } = taken(till.apply(payment, said, read))
      if (read <= before.appliedRead) seen.stale += 1
      const applied = read > before.appliedRead ? said : null
      // What was applied is what counts, already in between.
      if (applied && after.reversed !== targetOf(payment, applied)) throw new Error(`reversed ${after.reversed}`)
      if (!applied && after.reversed !== before.reversed) throw new Error('an old reading changed something')
    }
    const readNow = (n: number): Reading => {
      const reading = { read: till.nextRead(), said: current[n] as Said }
      readings[n]?.push(reading)
      return reading
    }
    payments.forEach((_, n) => {
      apply(n, readNow(n))
    })
    for (const step of list) {
      seen.steps += 1
      switch (step.kind) {
        case 'change': {
          current[step.of] = step.said
          const reading = readNow(step.of)
          if (step.applied) apply(step.of, reading)
          break
        }
        case 'replay': {
          const all = readings[step.of] as Reading[]
          apply(step.of, all[step.pick % all.length] as Reading)
          break
        }
        case 'charge':
          till.charge(wallet, step.amount)
          break
        case 'hold': {
          const held = till.reserve(wallet, step.amount)
          if (held.ok) holds.push(held.value.reservation)
          break
        }
        case 'release':
        case 'commit': {
          const hold = holds.splice(step.pick % Math.max(1, holds.length), 1)[0]
          if (hold) step.kind === 'release' ? till.release(hold) : till.commit(hold, hold.amount)
          break
        }
        case 'grant':
          till.grant(wallet, step.amount, {
            kind: step.bonus ? 'bonus' : 'purchase',
            expiresAt: step.seconds === null ? null : till.now + step.seconds * 1_000,
          })
          break
        case 'wait':
          till.now += step.seconds * 1_000
      }
      if (till.figures(wallet).debt > overdraftLimit) seen.debts += 1
    }
    // The last tidings arrive, in any order.
    for (const n of list.length % 2 ? [0, 1] : [1, 0]) apply(n, readNow(n))
    payments.forEach((payment, n) => {
      const { reversed, taken: parts } = till.paid(payment)
      const wanted = targetOf(payment, current[n] as Said)
      if (reversed !== wanted) throw new Error(`in the end ${reversed} is taken, not ${wanted}`)
      const rows = till.takenFor(payment)
      const bought = boughtPart(payment, reversed)
      if (rows.bought !== bought || rows.bonus !== reversed - bought) throw new Error(`the ledger says ${rows.bought} and ${rows.bonus}`)
      if (parts.reduce((sum, part) => sum + part.amount, 0n) !== reversed) throw new Error('where it came from does not add up')
      if (parts.some((part) => part.amount <= 0n)) throw new Error('an empty part')
    })
    // And all of it undone.
    payments.forEach((payment, n) => {
      current[n] = { refunded: 0n, withdrawn: 0n }
      apply(n, readNow(n))
      const after = till.paid(payment)
      const rows = till.takenFor(payment)
      if (after.reversed !== 0n || after.taken.length > 0 || rows.bought !== 0n || rows.bonus !== 0n)
        throw new Error('something stays taken')
    })
    const book = till.book(wallet)
    for (const { kind } of book.transactions) {
      if (kind === 'clawback') seen.clawbacks += 1
      if (kind === 'reinstatement') seen.reinstatements += 1
    }
    seen.fresh += book.grants.filter(({ kind }) => kind === 'refund').length
    // Credits come from nowhere else: the balance is what was granted and what was used, as if nobody had ever disputed anything.
    let others = 0n
    for (const row of book.transactions) if (row.kind !== 'clawback' && row.kind !== 'reinstatement') others += row.amount
    if (book.wallet.balance !== others) throw new Error(`balance ${book.wallet.balance}, without disputes ${others}`)
    if (book.wallet.debt > overdraftLimit) throw new Error('debt of a dispute outlives it')
  })
  const result = fc.check(property, { seed: SEED, numRuns: RUNS })
  t.comment(`any-order: seed ${SEED}: ${RUNS} lists, ${JSON.stringify(seen)}`)
  t.notOk(result.failed, result.failed ? String(fc.defaultReportMessage(result)) : `seed ${SEED}: no list goes wrong`)
  for (const [name, count] of Object.entries(seen)) t.ok(count > 0, `${name} were among it`)
})

t.test('a dispute that is undone before anything else happens leaves the wallet as it was', async (t) => {
  const before = fc.array(fc.record({ amount, bonus: fc.boolean(), dated: fc.boolean(), hold: fc.boolean() }), { maxLength: 8 })
  const property = fc.property(before, fc.array(said, { minLength: 1, maxLength: 4 }), (list, states) => {
    const till = new Till()
    const wallet = till.wallet({ overdraftLimit: 1_000n })
    const payment = till.sold(wallet)
    for (const { amount, bonus, dated, hold } of list) {
      if (bonus || dated) till.grant(wallet, amount, { kind: bonus ? 'bonus' : 'purchase', expiresAt: dated ? START + 9_000 : null })
      if (hold) till.reserve(wallet, amount)
      else till.charge(wallet, amount)
    }
    const was = { state: till.state(wallet), remaining: till.remaining(wallet) }
    for (const one of [...states, { refunded: 0n, withdrawn: 0n }]) taken(till.apply(payment, one))
    if (till.state(wallet) !== was.state) throw new Error(`${till.state(wallet)}, and it was ${was.state}`)
    const now = till.remaining(wallet)
    if (now.join() !== was.remaining.join()) throw new Error(`${now} are left, and it was ${was.remaining}`)
  })
  const result = fc.check(property, { seed: SEED, numRuns: RUNS })
  t.notOk(result.failed, result.failed ? String(fc.defaultReportMessage(result)) : `seed ${SEED}: nothing is left behind`)
})

/** A dispute as Stripe tells it, step by step. */
function chain(payment: Payment, end: 'won' | 'lost', till: Till): ProviderPayment[] {
  const amount = Number(payment.amount)
  const intent = {
    id: 'pi_1',
    status: 'succeeded',
    currency: 'usd',
    amount_received: amount,
    livemode: false,
    last_payment_error: null,
    cancellation_reason: null,
    metadata: {},
  } as unknown as Stripe.PaymentIntent
  const charge = { amount_refunded: 0, created: START / 1_000 } as Stripe.Charge
  const [minus, plus] = [{ amount: -amount }, { amount }]
  const steps: [status: string, entries: { amount: number }[]][] = [
    ['needs_response', []],
    ['needs_response', [minus]],
    ['under_review', end === 'won' ? [minus, plus] : [minus]],
    [end, end === 'won' ? [minus, plus] : [minus]],
    [end, end === 'won' ? [minus, plus] : [minus]],
  ]
  return steps.map(([status, balance_transactions]) => {
    const dispute = { status, amount, currency: intent.currency, balance_transactions } as unknown as Stripe.Dispute
    return till.said(payment, { ...fromStripe(intent, charge, [dispute], []), walletId: payment.walletId, paymentId: payment.id })
  })
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]]
  return items.flatMap((item, index) => permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]))
}

t.test('the five steps of a dispute, in every order and each told twice, end in one figure', async (t) => {
  for (const end of ['won', 'lost'] as const) {
    const finals = new Set<string>()
    const all = permutations([0, 1, 2, 3, 4])
    for (const order of all) {
      const till = new Till()
      const wallet = till.wallet()
      const payment = till.sold(wallet)
      taken(till.charge(wallet, 2_000n))
      // Each step was read when it happened; the readings come in any order.
      const readings = chain(payment, end, till).map((state) => ({ state, read: till.nextRead() }))
      for (const n of [...order, ...order.toReversed(), ...order]) {
        const reading = readings[n] as (typeof readings)[number]
        taken(till.apply(payment, reading.state, reading.read))
      }
      finals.add(`${till.state(wallet)}, reversed ${till.paid(payment).reversed}, disputed ${till.paid(payment).disputed}`)
    }
    t.same(
      [...finals],
      [
        end === 'won'
          ? 'balance 3500, held 0, debt 0, reversed 0, disputed false'
          : 'balance -2000, held 0, debt 2000, reversed 5500, disputed false',
      ],
      `${all.length} orders of a dispute that is ${end}`,
    )
  }
})
