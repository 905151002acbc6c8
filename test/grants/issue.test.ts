import t from 'tap'
import { LIVE_GRANTS_MAX } from '../../src/grants/grant.ts'
import { BALANCE_MICRO_MAX } from '../../src/kernel/credits.ts'
import { Bench, CLIENT, NOWHERE, OTHER_CLIENT, refused, START, taken } from '../helpers/decide.ts'

t.test('puts credits into the wallet, from the account of their kind', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const { grant } = taken(bench.issue(wallet, 10n, { kind: 'bonus' }))
  bench.grant(wallet, 20n, { kind: 'purchase' })
  bench.grant(wallet, 30n, { kind: 'adjustment' })
  t.match(grant, { amount: 10n, remaining: 10n, held: 0n, postedAt: START, voidedAt: null, spentAt: null, clientId: CLIENT })
  t.equal(bench.state(wallet), 'balance 60, held 0, debt 0')
  t.same(bench.ledger(wallet), ['grant promotions 10', 'grant purchases 20', 'grant adjustments 30'])
})

t.test('burns first what has to: bonus, what expires, adjustments, and last what was bought', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const priorities = [
    bench.grant(wallet, 1n, { kind: 'bonus' }),
    bench.grant(wallet, 1n, { kind: 'bonus', expiresAt: START + 1 }),
    bench.grant(wallet, 1n, { expiresAt: START + 1 }),
    bench.grant(wallet, 1n, { kind: 'adjustment' }),
    bench.grant(wallet, 1n),
    bench.grant(wallet, 1n, { priority: 7 }),
  ].map((grant) => grant.priority)
  t.same(priorities, [10, 10, 20, 30, 50, 7])
})

t.test('repays debt first', async (t) => {
  const bench = new Bench()
  const wallet = bench.owing(30n)
  t.equal(taken(bench.issue(wallet, 20n)).grant.remaining, 0n)
  t.equal(bench.state(wallet), 'balance -10, held 0, debt 10')
  t.equal(taken(bench.issue(wallet, 20n)).grant.remaining, 10n)
  t.equal(bench.state(wallet), 'balance 10, held 0, debt 0')
})

t.test('a scheduled grant is in no figure before its time, and is posted by whatever comes first then', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const { version } = bench.figures(wallet)
  const { grant } = taken(bench.issue(wallet, 10n, { effectiveAt: START + 1_000, expiresAt: START + 2_000 }))
  t.match(grant, { remaining: 0n, postedAt: null })
  t.same(bench.ledger(wallet), [])
  t.equal(bench.figures(wallet).version, version)
  bench.now = START + 1_000
  bench.grant(wallet, 1n)
  t.equal(bench.state(wallet), 'balance 11, held 0, debt 0')
  t.match(bench.book(wallet).transactions[0], {
    kind: 'grant',
    amount: 10n,
    actor: 'system:time',
    clientId: null,
    occurredAt: START + 1_000,
  })
})

t.test('a scheduled grant that is over before anybody looks comes and goes, but has repaid debt', async (t) => {
  const bench = new Bench()
  const wallet = bench.owing(4n)
  bench.grant(wallet, 10n, { effectiveAt: START + 1_000, expiresAt: START + 2_000 })
  bench.now = START + 5_000
  bench.grant(wallet, 1n)
  t.equal(bench.state(wallet), 'balance 1, held 0, debt 0')
  t.same(bench.ledger(wallet, 1), ['grant purchases 10', 'expire expired -6', 'grant purchases 1'])
})

t.test('its times must leave it some life', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  t.equal(refused(bench.issue(wallet, 1n, { expiresAt: START })), 'grant_times_invalid')
  t.equal(refused(bench.issue(wallet, 1n, { expiresAt: START + 1 })), 'accepted')
  t.equal(refused(bench.issue(wallet, 1n, { effectiveAt: START - 5_000, expiresAt: START - 1 })), 'grant_times_invalid')
  t.equal(refused(bench.issue(wallet, 1n, { effectiveAt: START + 9, expiresAt: START + 9 })), 'grant_times_invalid')
  t.equal(refused(bench.issue(wallet, 1n, { effectiveAt: START + 9, expiresAt: START + 10 })), 'accepted')
})

t.test('a wallet takes a thousand live grants, and more once some are spent', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  for (let i = 0; i < LIVE_GRANTS_MAX; i += 1) bench.grant(wallet, 1n)
  t.equal(refused(bench.issue(wallet, 1n)), 'too_many_grants')
  t.equal(refused(bench.adjust(wallet, 1n)), 'too_many_grants')
  taken(bench.charge(wallet, 1n))
  t.equal(refused(bench.issue(wallet, 1n)), 'accepted')
})

t.test('a wallet holds no more than the largest balance, scheduled credits counted', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, BALANCE_MICRO_MAX - 10n)
  bench.grant(wallet, 4n, { effectiveAt: START + 1_000 })
  t.equal(refused(bench.issue(wallet, 7n)), 'balance_limit_exceeded')
  t.equal(refused(bench.issue(wallet, 7n, { effectiveAt: START + 1_000 })), 'balance_limit_exceeded')
  t.equal(refused(bench.adjust(wallet, 7n)), 'balance_limit_exceeded')
  t.equal(refused(bench.issue(wallet, 6n)), 'accepted')
  bench.now = START + 1_000
  taken(bench.charge(wallet, 1n))
  t.equal(bench.figures(wallet).balance, BALANCE_MICRO_MAX - 1n)
})

t.test('closed wallets take none, frozen ones do, and what is not yours is not there', async (t) => {
  const bench = new Bench()
  t.equal(refused(bench.issue(bench.wallet({ status: 'closed' }), 1n)), 'wallet_closed')
  t.equal(refused(bench.issue(bench.wallet({ status: 'frozen' }), 1n)), 'accepted')
  t.equal(refused(bench.issue(undefined, 1n)), 'wallet_not_found')
  t.equal(refused(bench.issue(NOWHERE, 1n)), 'wallet_not_found')
  t.equal(refused(bench.issue(bench.wallet(), 1n, {}, OTHER_CLIENT)), 'wallet_not_found')
})
