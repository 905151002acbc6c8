import t from 'tap'
import { Bench, START, taken } from '../helpers/decide.ts'

t.test('ends a hold at its deadline, not before, and only once', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 100n)
  const hold = bench.hold(wallet, 60n)
  taken(bench.capture(hold, 10n))
  bench.now = START + 59_999
  t.notOk(bench.expire(hold))
  bench.now = START + 60_000
  t.ok(bench.expire(hold))
  t.match(bench.stored(hold), { status: 'expired', captured: 10n, released: 50n, finalizedAt: START + 60_000 })
  t.equal(bench.state(wallet), 'balance 90, held 0, debt 0')
  const { version } = bench.figures(wallet)
  t.notOk(bench.expire(hold))
  t.equal(bench.figures(wallet).version, version)
})

t.test('leaves what was settled or extended meanwhile as it is', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 100n)
  const [committed, released, extended] = [bench.hold(wallet, 1n), bench.hold(wallet, 1n), bench.hold(wallet, 1n)]
  taken(bench.commit(committed, 1n))
  taken(bench.release(released))
  taken(bench.extend(extended, 600))
  bench.now = START + 60_000
  for (const hold of [committed, released, extended]) t.notOk(bench.expire(hold))
})

t.test('what it frees repays debt', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet({ overdraftLimit: 30n })
  bench.grant(wallet, 20n)
  const hold = bench.hold(wallet, 20n)
  taken(bench.charge(wallet, 12n))
  bench.now = START + 60_000
  t.ok(bench.expire(hold))
  t.equal(bench.state(wallet), 'balance 8, held 0, debt 0')
})

// Found by the oracle (seed 2, list 499): the scheduled grant that fell due in the same sweep made the freed, expired credits repay debt.
t.test('credits that have expired under the hold repay nothing, even when a scheduled grant falls due with the sweep', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet({ overdraftLimit: 300n })
  bench.grant(wallet, 800n, { kind: 'bonus', expiresAt: START + 2_000 })
  const hold = bench.hold(wallet, 800n, { ttlSeconds: 3 })
  taken(bench.charge(wallet, 300n))
  bench.grant(wallet, 1n, { effectiveAt: START + 3_000 })
  bench.now = START + 3_000
  t.ok(bench.expire(hold))
  t.equal(bench.state(wallet), 'balance -299, held 0, debt 299')
  t.same(bench.ledger(wallet, 2), ['expire expired -800', 'grant purchases 1'])
})
