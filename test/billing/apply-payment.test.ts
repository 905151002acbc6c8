import t from 'tap'
import { boughtPart, disagreement, reversedTarget } from '../../src/billing/payment.ts'
import { LIVE_GRANTS_MAX } from '../../src/grants/grant.ts'
import { BALANCE_MICRO_MAX } from '../../src/kernel/credits.ts'
import { toWireId } from '../../src/kernel/ids.ts'
import { NOWHERE, refused, START, taken } from '../helpers/decide.ts'
import { Till } from '../helpers/till.ts'

/** What becomes of a wallet as the provider's payment changes, in memory. Amounts are cents and micro-credits. */

t.test('a paid order is two grants that say what was paid for them', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const order = till.order(wallet)
  t.equal(till.state(wallet), 'balance 0, held 0, debt 0', 'an order alone moves nothing')
  const { payment, changed } = taken(till.apply(order))
  t.ok(changed)
  const reference = toWireId('payment', order.id)
  const [bought, bonus, ...others] = till.book(wallet).grants
  t.same(others, [])
  const common = { source: payment.objectId, reference, clientId: null, expiresAt: null, postedAt: START }
  t.match(bought, { ...common, kind: 'purchase', amount: 5_000n, priority: 50, costBasis: '{"amount":"45.00","currency":"USD"}' })
  t.match(bonus, { ...common, kind: 'bonus', amount: 500n, priority: 10, costBasis: null })
  t.same(till.ledger(wallet), ['grant purchases 5000', 'grant promotions 500'])
  t.match(payment, { status: 'paid', grantId: bought?.id, bonusGrantId: bonus?.id, paidAt: START - 5_000, reversed: 0n, failure: null })
  t.same(
    till.book(wallet).transactions.map((row) => [row.clientId, row.reference]),
    [
      [null, reference],
      [null, reference],
    ],
  )
})

t.test('an order without a bonus is one grant', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const payment = till.sold(wallet, { packageVersionId: null, bonus: 0n })
  t.equal(till.book(wallet).grants.length, 1)
  t.match(payment, { kind: 'amount', bonusGrantId: null })
})

t.test('a payment without a time of its own is paid now', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  t.equal(taken(till.apply(till.order(wallet), { paidAt: null })).payment.paidAt, START)
})

t.test('what is not paid moves nothing, whatever it is called meanwhile', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const order = till.order(wallet)
  t.notOk(taken(till.apply(order, { status: 'open' })).changed)
  t.match(till.paid(order), { status: 'pending', objectId: `pi_${order.id.slice(0, 8)}` })
  t.ok(taken(till.apply(order, { status: 'failed', failure: 'Your card was declined.' })).changed)
  t.match(till.paid(order), { status: 'failed', failure: 'Your card was declined.' })
  t.notOk(taken(till.apply(order, { status: 'failed', failure: 'Your card was declined.' })).changed)
  t.ok(taken(till.apply(order, { status: 'open' })).changed, 'open again')
  t.match(till.paid(order), { status: 'pending', failure: null })
  t.equal(till.state(wallet), 'balance 0, held 0, debt 0')
  t.same(till.book(wallet).transactions, [])
})

t.test('an order that had failed is paid after all', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const order = till.order(wallet)
  taken(till.apply(order, { status: 'failed', failure: 'it was not paid in time', objectId: null }))
  t.match(till.paid(order), { status: 'failed', objectId: null })
  taken(till.apply(order))
  t.match(till.paid(order), { status: 'paid', failure: null })
  t.equal(till.state(wallet), 'balance 5500, held 0, debt 0')
})

t.test('a page that expired does not take away which payment an order has', async (t) => {
  const till = new Till()
  const order = till.order(till.wallet())
  taken(till.apply(order, { status: 'open' }))
  taken(till.apply(order, { status: 'failed', objectId: null }))
  t.equal(till.paid(order).objectId, `pi_${order.id.slice(0, 8)}`)
})

t.test('a wallet pays its debt with what it buys', async (t) => {
  const till = new Till()
  const wallet = till.owing(700n)
  till.sold(wallet)
  t.equal(till.state(wallet), 'balance 4800, held 0, debt 0')
  t.same(till.remaining(wallet), [4_800n, 0n], 'the bonus burns first')
})

t.test('partial refunds take their share, rounded for the customer, and the last one takes the rest', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const payment = till.sold(wallet)
  // refunded, reversed, of it bought; 5500 · r / 4500 and r · 5000 / 5500, both rounded down
  const steps: [bigint, bigint, bigint][] = [
    [1n, 1n, 0n],
    [2n, 2n, 1n],
    [1_500n, 1_833n, 1_666n],
    [3_000n, 3_666n, 3_332n],
    [4_499n, 5_498n, 4_998n],
    [4_500n, 5_500n, 5_000n],
  ]
  for (const [refunded, reversed, bought] of steps) {
    const { payment: after, changed } = taken(till.apply(payment, { refunded }))
    t.ok(changed)
    t.match(after, { reversed, refunded })
    t.same(till.takenFor(payment), { bought, bonus: reversed - bought }, `${refunded} of 4500`)
    t.equal(till.figures(wallet).balance, 5_500n - reversed)
  }
  t.same(till.remaining(wallet), [0n, 0n])
  t.equal(till.state(wallet), 'balance 0, held 0, debt 0')
})

t.test('a refund of so little that it is no credit takes nothing', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const payment = till.sold(wallet, { credits: 3n, bonus: 0n })
  const { payment: after, changed } = taken(till.apply(payment, { refunded: 1_499n }))
  t.notOk(changed)
  t.match(after, { refunded: 1_499n, reversed: 0n, taken: [] })
  t.same(till.ledger(wallet, 1), [])
})

t.test('a payment that was refunded before anybody read it is granted and taken at once', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const order = till.order(wallet)
  t.match(taken(till.apply(order, { refunded: 1_500n })).payment, { status: 'paid', reversed: 1_833n })
  t.same(till.ledger(wallet), ['grant purchases 5000', 'grant promotions 500', 'clawback purchases -1666', 'clawback promotions -167'])
  t.same(till.remaining(wallet), [3_667n, 0n], 'the bonus goes first')
})

t.test("a payment's own grants go before others, and others in burn order", async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  till.grant(wallet, 100n, { kind: 'bonus' })
  till.grant(wallet, 50n, { expiresAt: START + 1_000 })
  const payment = till.sold(wallet)
  taken(till.charge(wallet, 4_600n)) // the bonus of both, the dated one, 3950 of the purchase
  t.same(till.remaining(wallet), [0n, 0n, 1_050n, 0n])
  const [bought, gift] = [till.grant(wallet, 40n), till.grant(wallet, 30n, { kind: 'bonus' })]
  taken(till.apply(payment, { refunded: 900n })) // 1100 credits
  t.same(till.paid(payment).taken, [
    { grantId: payment.grantId, amount: 1_050n },
    { grantId: gift.id, amount: 30n },
    { grantId: bought.id, amount: 20n },
  ])
  t.equal(till.state(wallet), 'balance 20, held 0, debt 0')
  taken(till.apply(payment, { refunded: 1_800n }))
  t.same(till.paid(payment).taken.slice(3), [
    { grantId: bought.id, amount: 20n },
    { grantId: null, amount: 1_080n },
  ])
})

t.test('credits that are over pay for nothing, also where nobody has noticed yet', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const payment = till.sold(wallet)
  taken(till.charge(wallet, 5_500n))
  till.grant(wallet, 900n, { expiresAt: START + 1_000 })
  till.now = START + 1_000
  taken(till.apply(payment, { refunded: 4_500n }))
  t.same(till.paid(payment).taken, [{ grantId: null, amount: 5_500n }])
  t.same(till.ledger(wallet, 3), ['grant purchases 900', 'expire expired -900', 'clawback purchases -5000', 'clawback promotions -500'])
})

t.test('what was spent becomes debt, whatever the overdraft limit, and further work is refused until it is paid', async (t) => {
  for (const overdraftLimit of [0n, 300n]) {
    const till = new Till()
    const wallet = till.wallet({ overdraftLimit })
    const payment = till.sold(wallet)
    taken(till.charge(wallet, 5_000n))
    t.match(taken(till.apply(payment, { refunded: 4_500n })).payment, { reversed: 5_500n })
    t.equal(till.state(wallet), 'balance -5000, held 0, debt 5000')
    t.same(till.paid(payment).taken.at(-1), { grantId: null, amount: 5_000n })
    t.equal(refused(till.reserve(wallet, 1n)), 'insufficient_credits')
    t.equal(refused(till.charge(wallet, 1n)), 'insufficient_credits')
    till.grant(wallet, 4_000n)
    t.equal(till.state(wallet), 'balance -1000, held 0, debt 1000')
    till.grant(wallet, 1_001n)
    t.equal(till.state(wallet), 'balance 1, held 0, debt 0')
  }
})

t.test('pinned credits stay pinned; released, they repay what could not be taken', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const payment = till.sold(wallet)
  const [first, second] = [till.hold(wallet, 3_000n), till.hold(wallet, 2_000n)]
  taken(till.apply(payment, { withdrawn: 4_500n, disputed: true }))
  t.equal(till.state(wallet), 'balance 0, held 5000, debt 5000')
  taken(till.commit(first, 3_000n))
  t.equal(till.state(wallet), 'balance -3000, held 2000, debt 5000', 'work that was promised is done')
  taken(till.release(second))
  t.equal(till.state(wallet), 'balance -3000, held 0, debt 3000')
  taken(till.apply(payment, {}))
  t.equal(till.state(wallet), 'balance 2500, held 0, debt 0', 'as if nothing had been but the work')
})

t.test('a dispute that was won gives back exactly what was taken, where it came from', async (t) => {
  const till = new Till()
  const wallet = till.wallet({ overdraftLimit: 1_000n })
  till.grant(wallet, 700n, { kind: 'adjustment' })
  const payment = till.sold(wallet)
  taken(till.charge(wallet, 5_000n))
  const before = till.remaining(wallet)
  taken(till.apply(payment, { withdrawn: 4_500n, disputed: true }))
  t.equal(till.state(wallet), 'balance -4300, held 0, debt 4300')
  taken(till.apply(payment, {}))
  t.match(till.paid(payment), { reversed: 0n, taken: [], withdrawn: 0n, disputed: false })
  t.equal(till.figures(wallet).debt, 0n)
  t.equal(till.figures(wallet).balance, 1_200n)
  t.same(till.remaining(wallet), before, 'each grant has again what it had, and there is no other')
  t.same(till.takenFor(payment), { bought: 0n, bonus: 0n })
})

t.test('the last that was taken comes back first', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const payment = till.sold(wallet)
  taken(till.charge(wallet, 4_000n))
  const other = till.grant(wallet, 600n)
  taken(till.apply(payment, { refunded: 4_500n })) // 1500 of its own, 600 of the other, 3400 as debt
  t.same(till.paid(payment).taken, [
    { grantId: payment.grantId, amount: 1_500n },
    { grantId: other.id, amount: 600n },
    { grantId: null, amount: 3_400n },
  ])
  taken(till.apply(payment, { refunded: 1_500n })) // 1833 stay taken: 3400 of debt and 267 of the other come back
  t.same(till.paid(payment).taken, [
    { grantId: payment.grantId, amount: 1_500n },
    { grantId: other.id, amount: 333n },
  ])
  t.equal(till.state(wallet), 'balance 267, held 0, debt 0')
})

t.test('what came from a grant that is over meanwhile comes back as credits that stay', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const payment = till.sold(wallet)
  taken(till.charge(wallet, 5_500n))
  till.grant(wallet, 900n, { expiresAt: START + 1_000 })
  taken(till.apply(payment, { withdrawn: 900n, disputed: true })) // 1100: all 900 of the dated one, 200 as debt
  till.now = START + 1_000
  taken(till.apply(payment, {}))
  t.equal(till.state(wallet), 'balance 900, held 0, debt 0')
  // The 200 that had been debt are owed no more.
  const fresh = till.book(wallet).grants.at(-1)
  t.match(fresh, { kind: 'refund', amount: 900n, remaining: 900n, expiresAt: null, reference: toWireId('payment', payment.id) })
})

t.test('what had become debt comes back also after the debt was repaid', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const payment = till.sold(wallet)
  taken(till.charge(wallet, 5_500n))
  taken(till.apply(payment, { withdrawn: 4_500n, disputed: true }))
  t.equal(till.state(wallet), 'balance -5500, held 0, debt 5500')
  till.sold(wallet)
  t.equal(till.state(wallet), 'balance 0, held 0, debt 0', 'the next purchase went into it')
  taken(till.apply(payment, {}))
  t.equal(till.state(wallet), 'balance 5500, held 0, debt 0')
})

t.test('money that was refunded and disputed is gone once', async (t) => {
  const cases: [refunded: bigint, withdrawn: bigint, reversed: bigint][] = [
    [4_500n, 4_500n, 5_500n],
    [1_500n, 4_500n, 5_500n],
    [1_500n, 1_500n, 3_666n],
    [4_500n, 0n, 5_500n],
    [0n, 9_000n, 5_500n],
  ]
  for (const [refunded, withdrawn, reversed] of cases) {
    const till = new Till()
    const wallet = till.wallet()
    const payment = till.sold(wallet)
    taken(till.apply(payment, { refunded }))
    taken(till.apply(payment, { refunded, withdrawn, disputed: true }))
    t.match(till.paid(payment), { reversed })
    t.equal(till.figures(wallet).balance, 5_500n - reversed, `${refunded} refunded, ${withdrawn} withdrawn`)
  }
})

t.test('a refund that fails later gives back what it took', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const payment = till.sold(wallet)
  taken(till.apply(payment, { refunded: 2_000n }))
  t.ok(taken(till.apply(payment, { refunded: 500n })).changed)
  t.match(till.paid(payment), { reversed: 611n })
  taken(till.apply(payment, {}))
  t.match(till.paid(payment), { reversed: 0n, status: 'paid' })
  t.same(till.remaining(wallet), [5_000n, 500n])
})

t.test('a reading that began before the one that was applied changes nothing', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const order = till.order(wallet)
  const [older, newer] = [till.nextRead(), till.nextRead()]
  taken(till.apply(order, { refunded: 4_500n }, newer))
  for (const read of [older, newer]) {
    const { payment, changed } = taken(till.apply(order, {}, read))
    t.notOk(changed)
    t.match(payment, { reversed: 5_500n, appliedRead: newer, refunded: 4_500n })
  }
  t.equal(till.figures(wallet).balance, 0n)
})

t.test('nothing is bought for a closed wallet, and what is refunded of one becomes its debt', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const late = till.order(wallet)
  const payment = till.sold(wallet)
  taken(till.charge(wallet, 5_500n))
  taken(till.setStatus(wallet, 'closed'))
  t.equal(refused(till.apply(late)), 'wallet_closed')
  t.match(till.paid(late), { status: 'pending', appliedRead: 0n, objectId: null }, 'as if it had not been read')
  taken(till.apply(payment, { withdrawn: 4_500n, disputed: true }))
  t.equal(till.state(wallet), 'balance -5500, held 0, debt 5500')
  taken(till.apply(payment, {}))
  t.equal(till.state(wallet), 'balance 0, held 0, debt 0')
})

t.test('a frozen wallet gets what it paid for', async (t) => {
  const till = new Till()
  const wallet = till.wallet({ status: 'frozen' })
  till.sold(wallet)
  t.equal(till.state(wallet), 'balance 5500, held 0, debt 0')
})

t.test('what would not fit into the wallet is refused whole', async (t) => {
  const till = new Till()
  const wallet = till.wallet()
  const order = till.order(wallet)
  till.grant(wallet, BALANCE_MICRO_MAX - 5_499n)
  t.equal(refused(till.apply(order)), 'balance_limit_exceeded')
  t.match(till.paid(order), { status: 'pending' })
  taken(till.charge(wallet, 1n))
  taken(till.apply(order))
  taken(till.apply(order, { refunded: 4_500n }))
  till.grant(wallet, 1n)
  t.equal(refused(till.apply(order, {})), 'balance_limit_exceeded')
  t.match(till.paid(order), { reversed: 5_500n })

  const crowded = till.wallet()
  for (let n = 0; n < LIVE_GRANTS_MAX; n += 1) till.grant(crowded, 1n)
  t.equal(refused(till.apply(till.order(crowded))), 'too_many_grants')
})

t.test('an order that is not there is not found', async (t) => {
  const till = new Till()
  const order = till.order(till.wallet())
  t.equal(refused(till.apply({ ...order, id: NOWHERE })), 'payment_not_found')
})

t.test('a payment that is not what was ordered disagrees, and says why', async (t) => {
  const till = new Till()
  const order = till.order(till.wallet())
  const bound = { ...order, objectId: 'pi_1' }
  t.equal(disagreement(order, till.said(order)), null)
  const cases: [Parameters<Till['said']>[1], RegExp][] = [
    [{ walletId: till.wallet() }, /another wallet/],
    [{ walletId: null }, /another wallet/],
    [{ livemode: true }, /test money/],
    [{ currency: 'EUR' }, /paid in EUR, ordered in USD/],
    [{ amount: 4_499n }, /paid 4499, ordered 4500/],
    [{ amount: 4_501n }, /paid 4501, ordered 4500/],
  ]
  for (const [said, why] of cases) t.match(disagreement(order, till.said(order, said)), why)
  t.match(disagreement(bound, till.said(order, { objectId: 'pi_2' })), /belongs to pi_1/)
  t.equal(disagreement(bound, till.said(order, { objectId: 'pi_1' })), null)
  t.equal(disagreement(order, till.said(order, { status: 'open', amount: 0n, currency: 'EUR' })), null, 'nothing came in yet')
})

t.test('shares are exact where money and credits are large', async (t) => {
  const order = { amount: 1_000_000n, credits: 9_000_000_000_000_000_000n, bonus: 1n }
  t.equal(reversedTarget(order, { refunded: 999_999n, withdrawn: 0n }), 8_999_991_000_000_000_000n)
  t.equal(reversedTarget(order, { refunded: 1_000_000n, withdrawn: 0n }), 9_000_000_000_000_000_001n)
  t.equal(boughtPart(order, 9_000_000_000_000_000_001n), 9_000_000_000_000_000_000n)
  t.equal(boughtPart(order, 0n), 0n)
})
