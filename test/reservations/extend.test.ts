import t from 'tap'
import { Bench, figuresOfRefusal, NOWHERE, refused, START, taken } from '../helpers/decide.ts'

const WEEK_SECONDS = 7 * 86_400

function held(amount = 10n, credits = 100n) {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, credits)
  return { bench, wallet, hold: bench.hold(wallet, amount) }
}

t.test('moves the deadline, counted from now, and never forward to an earlier one', async (t) => {
  const { bench, wallet, hold } = held()
  bench.now = START + 30_000
  const { version } = bench.figures(wallet)
  t.equal(taken(bench.extend(hold, 60)).reservation.expiresAt, START + 90_000)
  t.equal(taken(bench.extend(hold, 1)).reservation.expiresAt, START + 90_000)
  t.equal(taken(bench.extend(hold, null)).reservation.expiresAt, START + 90_000)
  t.equal(bench.figures(wallet).version, version, 'no figure of the wallet has changed')
})

t.test('grows the hold like a new hold: pins in burn order, up to what is available', async (t) => {
  const { bench, wallet, hold } = held()
  const bonus = bench.grant(wallet, 5n, { kind: 'bonus' })
  const { reservation } = taken(bench.extend(hold, null, 7n))
  t.match(reservation, { amount: 17n, requested: 17n })
  t.match(reservation.pins.slice(1), [{ grantId: bonus.id, amount: 5n }, { amount: 2n }])
  t.equal(bench.state(wallet), 'balance 105, held 17, debt 0')
  const short = bench.extend(hold, null, 89n)
  t.equal(refused(short), 'insufficient_credits')
  t.match(figuresOfRefusal(short), { required: '0.000089', available: '0.000088' })
  t.equal(refused(bench.extend(hold, null, 88n)), 'accepted')
})

t.test('what was asked for grows with it, and so does the factor of a commit', async (t) => {
  const { bench, hold } = held(1n)
  t.equal(refused(bench.capture(hold, 11n)), 'commit_exceeds_hold_factor')
  taken(bench.extend(hold, null, 1n))
  t.equal(refused(bench.capture(hold, 11n)), 'accepted')
})

t.test('ends within seven days of the creation', async (t) => {
  const { bench, hold } = held()
  t.equal(refused(bench.extend(hold, WEEK_SECONDS + 1)), 'reservation_deadline_too_far')
  t.equal(taken(bench.extend(hold, WEEK_SECONDS)).reservation.expiresAt, START + WEEK_SECONDS * 1_000)
  bench.now += 1_000
  t.equal(refused(bench.extend(hold, WEEK_SECONDS)), 'reservation_deadline_too_far')
})

t.test('does not grow beyond the largest charge of the frozen policy', async (t) => {
  const { bench, hold } = held(1_500n, 10_000n)
  t.equal(refused(bench.extend(hold, null, 501n)), 'charge_exceeds_maximum')
  t.equal(refused(bench.extend(hold, null, 500n)), 'accepted')
})

t.test('a frozen wallet may keep its holds longer but not grow them', async (t) => {
  const { bench, wallet, hold } = held()
  taken(bench.setStatus(wallet, 'frozen'))
  t.equal(refused(bench.extend(hold, 120)), 'accepted')
  t.equal(refused(bench.extend(hold, 120, 1n)), 'wallet_frozen')
})

t.test('only open holds are extended, and at the deadline it is too late', async (t) => {
  const { bench, wallet, hold } = held()
  const [committed, released] = [bench.hold(wallet, 1n), bench.hold(wallet, 1n)]
  taken(bench.commit(committed, 1n))
  taken(bench.release(released))
  t.equal(refused(bench.extend(committed, 60)), 'reservation_committed')
  t.equal(refused(bench.extend(released, 60)), 'reservation_released')
  t.equal(refused(bench.extend({ id: NOWHERE }, 60)), 'reservation_not_found')
  bench.now = hold.expiresAt
  t.equal(refused(bench.extend(hold, 60)), 'reservation_expired')
})
