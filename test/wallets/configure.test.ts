import t from 'tap'
import { Bench, NOWHERE, refused, START, taken } from '../helpers/decide.ts'

t.test('changes what is named and leaves the rest, with an audit row', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet({ label: 'Ann' })
  const changed = taken(bench.configure(wallet, { overdraftLimit: 50n, lowBalanceThreshold: 5n }))
  t.match(changed, { label: 'Ann', overdraftLimit: 50n, lowBalanceThreshold: 5n, timeZone: 'UTC', version: 2n })
  t.match(bench.store.audit, [
    { action: 'wallet.configure', reason: 'as agreed', before: { overdraft_limit: '0' }, after: { overdraft_limit: '0.00005' } },
  ])
})

t.test('what is as it should be raises no version and leaves no trace', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet({ overdraftLimit: 50n })
  t.equal(taken(bench.configure(wallet, { overdraftLimit: 50n })).version, 1n)
  t.same(bench.store.audit, [])
})

t.test('the overdraft limit never goes below the present debt', async (t) => {
  const bench = new Bench()
  const wallet = bench.owing(30n, 50n)
  t.equal(refused(bench.configure(wallet, { overdraftLimit: 29n })), 'overdraft_limit_below_debt')
  t.equal(refused(bench.configure(wallet, { overdraftLimit: 30n })), 'accepted')
})

// Found by the oracle: the debt was judged as it had last been written.
t.test('a debt that a grant has repaid by now is no debt any more', async (t) => {
  const bench = new Bench()
  const wallet = bench.owing(30n)
  bench.grant(wallet, 40n, { effectiveAt: START + 1_000 })
  bench.now = START + 1_000
  t.equal(refused(bench.configure(wallet, { overdraftLimit: 0n })), 'accepted')
  t.equal(bench.state(wallet), 'balance 10, held 0, debt 0')
})

t.test('a closed wallet cannot be changed, and what is not there is not there', async (t) => {
  const bench = new Bench()
  t.equal(refused(bench.configure(bench.wallet({ status: 'closed' }), { label: 'Bea' })), 'wallet_closed')
  t.equal(refused(bench.configure(NOWHERE, { label: 'Bea' })), 'wallet_not_found')
})
