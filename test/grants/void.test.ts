import t from 'tap'
import { Bench, NOWHERE, OTHER_CLIENT, refused, START, taken } from '../helpers/decide.ts'

t.test('takes what is free of a grant back to where it came from', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const grant = bench.grant(wallet, 50n, { kind: 'bonus' })
  bench.grant(wallet, 5n)
  taken(bench.charge(wallet, 20n))
  t.match(taken(bench.voidGrant(grant.id)).grant, { remaining: 0n, voidedAt: START, spentAt: START })
  t.equal(bench.state(wallet), 'balance 5, held 0, debt 0')
  t.same(bench.ledger(wallet, 3), ['void promotions -30'])
  t.match(bench.store.audit, [{ action: 'grant.void', reason: 'a mistake' }])
})

t.test('the pinned part stays with its holds', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const grant = bench.grant(wallet, 50n)
  const hold = bench.hold(wallet, 30n)
  t.match(taken(bench.voidGrant(grant.id)).grant, { remaining: 30n, held: 30n, spentAt: null })
  t.equal(refused(bench.reserve(wallet, 1n)), 'insufficient_credits')
  t.match(taken(bench.commit(hold, 30n)).charge, { captured: 30n })
  t.equal(bench.state(wallet), 'balance 0, held 0, debt 0')
})

t.test('a wholly pinned grant loses nothing for now, and there is no row', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const grant = bench.grant(wallet, 30n)
  bench.hold(wallet, 30n)
  taken(bench.voidGrant(grant.id))
  t.same(bench.ledger(wallet, 1), [])
})

t.test('a scheduled grant is void before it was ever there', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const grant = bench.grant(wallet, 30n, { effectiveAt: START + 1_000 })
  taken(bench.voidGrant(grant.id))
  bench.now = START + 1_000
  bench.grant(wallet, 1n)
  t.equal(bench.state(wallet), 'balance 1, held 0, debt 0')
  t.same(bench.ledger(wallet), ['grant purchases 1'])
})

t.test('void, spent and expired grants refuse, and what is not yours is not there', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const [voided, spent, expired, live] = [
    bench.grant(wallet, 1n),
    bench.grant(wallet, 2n),
    bench.grant(wallet, 1n, { expiresAt: START + 1_000 }),
    bench.grant(wallet, 1n),
  ]
  taken(bench.voidGrant(voided.id))
  t.equal(refused(bench.voidGrant(voided.id)), 'grant_voided')
  taken(bench.charge(wallet, 3n))
  t.equal(refused(bench.voidGrant(spent.id)), 'grant_spent')
  bench.now = START + 1_000
  t.equal(refused(bench.voidGrant(expired.id)), 'grant_spent')
  t.equal(refused(bench.voidGrant(NOWHERE)), 'grant_not_found')
  t.equal(refused(bench.voidGrant(live.id, OTHER_CLIENT)), 'grant_not_found')
})

// `clearing` nets to zero per command (I03): found by `verify` after a run of the lane.
t.test('void earnings fall to the house, not back to clearing', async (t) => {
  const bench = new Bench()
  const [payer, author] = [bench.wallet(), bench.wallet()]
  bench.grant(payer, 100n)
  taken(bench.charge(payer, 100n, { payees: [{ walletId: author, sharePpm: 500_000n }] }))
  const [earning] = bench.book(author).grants
  taken(bench.voidGrant(earning?.id ?? ''))
  t.equal(bench.state(author), 'balance 0, held 0, debt 0')
  t.same(bench.ledger(author, 1), ['void revenue -50'])
  const rows = [...bench.book(payer).transactions, ...bench.book(author).transactions].filter((row) => row.counterAccount === 'clearing')
  t.equal(
    rows.reduce((sum, row) => sum + row.amount, 0n),
    0n,
  )
})
