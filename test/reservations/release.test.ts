import t from 'tap'
import { Bench, NOWHERE, OTHER_CLIENT, refused, START, taken, tokens } from '../helpers/decide.ts'

t.test('gives the hold back to the grants it came from', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 10n)
  bench.grant(wallet, 10n, { kind: 'bonus' })
  const hold = bench.hold(wallet, 15n)
  const { reservation } = taken(bench.release(hold))
  t.match(reservation, { status: 'released', captured: 0n, released: 15n, pins: [], finalizedAt: START })
  t.equal(bench.state(wallet), 'balance 20, held 0, debt 0')
  t.same(bench.remaining(wallet), [10n, 10n])
  t.same(bench.ledger(wallet).length, 2, 'nothing moved')
})

t.test('after captures gives back what is left', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 20n)
  const hold = bench.hold(wallet, 15n)
  taken(bench.capture(hold, 6n))
  t.match(taken(bench.release(hold)).reservation, { captured: 6n, released: 9n })
  t.equal(bench.state(wallet), 'balance 14, held 0, debt 0')
})

t.test('what it frees repays debt first', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet({ overdraftLimit: 30n })
  bench.grant(wallet, 20n)
  const hold = bench.hold(wallet, 20n)
  taken(bench.charge(wallet, 12n))
  t.equal(bench.state(wallet), 'balance 8, held 20, debt 12')
  taken(bench.release(hold))
  t.equal(bench.state(wallet), 'balance 8, held 0, debt 0')
})

t.test('a part of a grant that expired meanwhile expires at once and repays nothing', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet({ overdraftLimit: 30n })
  bench.grant(wallet, 20n, { expiresAt: START + 10_000 })
  const hold = bench.hold(wallet, 20n)
  taken(bench.charge(wallet, 5n))
  bench.now = START + 10_000
  taken(bench.release(hold))
  t.equal(bench.state(wallet), 'balance -5, held 0, debt 5')
  t.same(bench.ledger(wallet, 2), ['expire expired -20'])
})

t.test('a part of a grant that was voided meanwhile goes back where it came from', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const grant = bench.grant(wallet, 20n, { kind: 'bonus' })
  const hold = bench.hold(wallet, 15n)
  taken(bench.voidGrant(grant.id))
  t.equal(bench.state(wallet), 'balance 15, held 15, debt 0')
  taken(bench.release(hold))
  t.equal(bench.state(wallet), 'balance 0, held 0, debt 0')
  t.same(bench.ledger(wallet, 1), ['void promotions -5', 'void promotions -15'])
})

t.test('only open holds are released; the others say why not', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 100n)
  const [released, committed, expired, overdue] = [
    bench.hold(wallet, 1n),
    bench.hold(wallet, 1n),
    bench.hold(wallet, 1n),
    bench.hold(wallet, 1n),
  ]
  taken(bench.release(released))
  taken(bench.commit(committed, 1n))
  t.equal(refused(bench.release(released)), 'reservation_released')
  t.equal(refused(bench.release(committed)), 'reservation_committed')
  bench.now = START + 60_000
  t.ok(bench.expire(expired))
  t.equal(refused(bench.release(expired)), 'reservation_expired')
  t.equal(refused(bench.release(overdue)), 'reservation_expired', 'whether it was swept or not')
  t.equal(refused(bench.release({ id: NOWHERE })), 'reservation_not_found')
  t.equal(refused(bench.release(overdue, OTHER_CLIENT)), 'reservation_not_found')
})

t.test('goes on in a frozen wallet, and with a hold of nothing', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const hold = bench.hold(wallet, tokens(0))
  taken(bench.setStatus(wallet, 'frozen'))
  const { version } = bench.figures(wallet)
  t.equal(refused(bench.release(hold)), 'accepted')
  t.equal(bench.figures(wallet).version, version, 'nobody can see the difference')
})
