import t from 'tap'
import { Bench, NOWHERE, refused, START, taken } from '../helpers/decide.ts'

t.test('freezes and unfreezes, each time with an audit row', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  t.match(taken(bench.setStatus(wallet, 'frozen')), { status: 'frozen', version: 2n })
  t.match(taken(bench.setStatus(wallet, 'active')), { status: 'active', version: 3n })
  t.match(bench.store.audit, [{ action: 'wallet.freeze' }, { action: 'wallet.unfreeze' }])
})

t.test('a status that it has already changes nothing', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet({ status: 'frozen' })
  t.match(taken(bench.setStatus(wallet, 'frozen')), { version: 1n })
  t.match(taken(bench.setStatus(bench.wallet({ status: 'closed' }), 'closed')), { version: 1n })
  t.same(bench.store.audit, [])
})

t.test('closes only what is empty: no credits, holds, debt or scheduled grants', async (t) => {
  const bench = new Bench()
  const rich = bench.wallet()
  bench.grant(rich, 1n)
  t.equal(refused(bench.setStatus(rich, 'closed')), 'wallet_not_empty')
  t.equal(refused(bench.setStatus(bench.owing(1n), 'closed')), 'wallet_not_empty')
  const even = bench.wallet({ overdraftLimit: 5n })
  bench.grant(even, 5n)
  bench.hold(even, 5n)
  taken(bench.charge(even, 5n))
  t.equal(bench.state(even), 'balance 0, held 5, debt 5')
  t.equal(refused(bench.setStatus(even, 'closed')), 'wallet_not_empty')
  const promised = bench.wallet()
  const grant = bench.grant(promised, 1n, { effectiveAt: START + 1_000 })
  t.equal(refused(bench.setStatus(promised, 'closed')), 'wallet_not_empty')
  taken(bench.voidGrant(grant.id))
  t.equal(refused(bench.setStatus(promised, 'closed')), 'accepted')
})

t.test('closes a wallet whose credits are over by now', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 5n, { expiresAt: START + 1_000 })
  bench.now = START + 1_000
  t.match(taken(bench.setStatus(wallet, 'closed')), { status: 'closed', balance: 0n })
})

t.test('closed is for good', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet({ status: 'closed' })
  t.equal(refused(bench.setStatus(wallet, 'active')), 'wallet_closed')
  t.equal(refused(bench.setStatus(wallet, 'frozen')), 'wallet_closed')
  t.equal(refused(bench.setStatus(NOWHERE, 'frozen')), 'wallet_not_found')
})
