import t from 'tap'
import { Bench, figuresOfRefusal, NOWHERE, refused, taken } from '../helpers/decide.ts'

t.test('gives credits in a grant of their own, with the reason in the audit log', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const { transaction } = taken(bench.adjust(wallet, 10n))
  t.match(transaction, { kind: 'adjust', amount: 10n, counterAccount: 'adjustments' })
  t.match(bench.book(wallet).grants, [{ kind: 'adjustment', amount: 10n, priority: 30, expiresAt: null }])
  t.match(bench.store.audit, [{ action: 'wallet.adjust', targetId: transaction.id, reason: 'a correction' }])
})

t.test('repays debt with what it gives', async (t) => {
  const bench = new Bench()
  const wallet = bench.owing(30n)
  taken(bench.adjust(wallet, 40n))
  t.equal(bench.state(wallet), 'balance 10, held 0, debt 0')
})

t.test('takes free credits in burn order, and never into debt', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet({ overdraftLimit: 1_000n })
  bench.grant(wallet, 10n)
  bench.grant(wallet, 10n, { kind: 'bonus' })
  bench.hold(wallet, 5n)
  const refusal = bench.adjust(wallet, -16n)
  t.equal(refused(refusal), 'insufficient_credits')
  t.match(figuresOfRefusal(refusal), { available: '0.000015', required: '0.000016' })
  taken(bench.adjust(wallet, -12n))
  t.same(bench.remaining(wallet), [3n, 5n], 'the pinned part of the bonus stays')
  t.same(bench.ledger(wallet, 2), ['adjust adjustments -12'])
  t.equal(refused(bench.adjust(bench.owing(5n), -1n)), 'insufficient_credits')
})

t.test('closed wallets take none, frozen ones do, and what is not there is not there', async (t) => {
  const bench = new Bench()
  t.equal(refused(bench.adjust(bench.wallet({ status: 'closed' }), 1n)), 'wallet_closed')
  t.equal(refused(bench.adjust(bench.wallet({ status: 'frozen' }), 1n)), 'accepted')
  t.equal(refused(bench.adjust(NOWHERE, 1n)), 'wallet_not_found')
  t.equal(refused(bench.adjust(undefined, 1n)), 'wallet_not_found')
})
