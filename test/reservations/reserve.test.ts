import t from 'tap'
import {
  actual,
  Bench,
  CLIENT,
  figuresOfRefusal,
  MARKUP,
  modelPrice,
  NOWHERE,
  OTHER_CLIENT,
  operationPrice,
  POLICY,
  PRICES,
  pricesWith,
  refused,
  START,
  taken,
  tokens,
  units,
  used,
  work,
} from '../helpers/decide.ts'

t.test('holds what is asked for and leaves the balance as it is', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 100n)
  const { reservation } = taken(bench.reserve(wallet, 60n))
  t.match(reservation, { status: 'held', requested: 60n, amount: 60n, captured: 0n, released: 0n, clientId: CLIENT, finalizedAt: null })
  t.equal(reservation.expiresAt, START + 60_000)
  t.equal(bench.state(wallet), 'balance 100, held 60, debt 0')
  t.same(bench.ledger(wallet), ['grant purchases 100'], 'a hold is no ledger row')
  t.equal(bench.figures(wallet).version, 3n, 'but readers of the balance see it')
})

t.test('holds all that is available, and refuses one micro-credit more with the figures', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 100n)
  bench.hold(wallet, 30n)
  const refusal = bench.reserve(wallet, 71n)
  t.equal(refused(refusal), 'insufficient_credits')
  t.match(figuresOfRefusal(refusal), { available: '0.00007', required: '0.000071', held: '0.00003' })
  t.equal(bench.state(wallet), 'balance 100, held 30, debt 0')
  t.equal(refused(bench.reserve(wallet, 70n)), 'accepted')
})

t.test('never draws overdraft', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet({ overdraftLimit: 1_000n })
  t.equal(refused(bench.reserve(wallet, 1n)), 'insufficient_credits')
  t.equal(refused(bench.reserve(wallet, 1n, { partial: true })), 'insufficient_credits')
})

t.test('takes what there is when a partial hold will do, and says what that affords', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 50n)
  const { reservation, affords } = taken(bench.reserve(wallet, tokens(0, 100), { partial: true }))
  t.match(reservation, { requested: 180n, amount: 50n })
  t.match(affords, { output_tokens: 27 }, '27 × 1.8 is 48.6, 28 are more than 50')
  t.equal(refused(bench.reserve(wallet, 1n, { partial: true })), 'insufficient_credits', 'nothing is no hold')
})

t.test('a partial hold is whole where there is enough', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 500n)
  const { reservation, affords } = taken(bench.reserve(wallet, tokens(0, 100), { partial: true }))
  t.match(reservation, { requested: 180n, amount: 180n })
  t.equal(affords, null)
})

t.test('pins grants by priority, then expiry, then age', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  const bought = bench.grant(wallet, 10n)
  const later = bench.grant(wallet, 10n, { expiresAt: START + 9_000 })
  const sooner = bench.grant(wallet, 10n, { expiresAt: START + 5_000 })
  const bonus = bench.grant(wallet, 10n, { kind: 'bonus' })
  const adjustment = bench.grant(wallet, 10n, { kind: 'adjustment' })
  const first = bench.grant(wallet, 10n, { priority: 0 })
  const second = bench.grant(wallet, 10n)
  const { pins } = bench.hold(wallet, 65n)
  t.same(
    pins.map((pin) => [pin.grantId, pin.amount]),
    [
      [first.id, 10n],
      [bonus.id, 10n],
      [sooner.id, 10n],
      [later.id, 10n],
      [adjustment.id, 10n],
      [bought.id, 10n],
      [second.id, 5n],
    ],
  )
})

t.test('work is held at its price, the fraction rounded up once', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 10_000n)
  t.equal(bench.hold(wallet, tokens(101, 1)).amount, 63n, '60.6 + 1.8 = 62.4')
  t.equal(bench.hold(wallet, units(9)).amount, 63n)
  t.equal(bench.hold(wallet, { ...tokens(101, 1), operation: 'scan', units: 2 }).amount, 77n, '62.4 + 14 = 76.4')
})

t.test('small work costs the minimum, no work costs nothing, and a stated amount is what it says', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 100n)
  t.equal(bench.hold(wallet, tokens(1)).amount, 20n)
  t.equal(bench.hold(wallet, tokens(0)).amount, 0n)
  t.equal(bench.hold(wallet, 1n).amount, 1n)
})

t.test('the owner of a resource uses it for nothing, in debt or not', async (t) => {
  const bench = new Bench()
  const wallet = bench.owing(30n)
  const { reservation } = taken(bench.reserve(wallet, tokens(1_000), { resourceOwner: 'user:u1' }))
  t.match(reservation, { requested: 0n, amount: 0n, quote: { exempt: true } })
  t.equal(refused(bench.reserve(wallet, tokens(1_000), { resourceOwner: 'user:u2' })), 'insufficient_credits')
})

t.test('refuses more than the largest charge of the policy', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 10_000n)
  t.equal(refused(bench.reserve(wallet, 2_000n)), 'accepted')
  t.equal(refused(bench.reserve(wallet, 2_001n)), 'charge_exceeds_maximum')
})

t.test('unknown and disabled work is refused, never free', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 100n)
  t.equal(refused(bench.reserve(wallet, tokens(1, 1, 'imaginary'))), 'unknown_model')
  t.equal(refused(bench.reserve(wallet, tokens(1, 1, 'retired'))), 'model_disabled')
  t.equal(refused(bench.reserve(wallet, units(1, 'imaginary'))), 'unknown_operation')
  t.equal(refused(bench.reserve(wallet, units(1, 'forgotten'))), 'unknown_operation')
  bench.prices = { ...PRICES, exchangeRates: new Map() }
  t.equal(refused(bench.reserve(wallet, tokens(1))), 'rate_missing')
})

t.test('a future price takes effect by itself, at its time and not before', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 1_000n)
  bench.prices = pricesWith({ markups: [{ ...MARKUP, id: 'double', percent: '100', effectiveFrom: START + 1_000 }] })
  bench.now = START + 999
  t.equal(bench.hold(wallet, tokens(100)).amount, 60n)
  bench.now = START + 1_000
  t.equal(bench.hold(wallet, tokens(100)).amount, 100n)
})

t.test('frozen and closed wallets take no holds, and what is not yours is not there', async (t) => {
  const bench = new Bench()
  t.equal(refused(bench.reserve(bench.wallet({ status: 'frozen' }), 1n)), 'wallet_frozen')
  t.equal(refused(bench.reserve(bench.wallet({ status: 'closed' }), 1n)), 'wallet_closed')
  t.equal(refused(bench.reserve(undefined, 1n)), 'wallet_not_found')
  t.equal(refused(bench.reserve(NOWHERE, 1n)), 'wallet_not_found')
  t.equal(refused(bench.reserve(bench.wallet(), 1n, {}, OTHER_CLIENT)), 'wallet_not_found')
})

t.test('credits that are over by now are not held, and a scheduled grant counts from its time', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 10n, { expiresAt: START + 1_000 })
  bench.grant(wallet, 7n, { effectiveAt: START + 1_000 })
  t.equal(refused(bench.reserve(wallet, 11n)), 'insufficient_credits')
  bench.now = START + 1_000
  t.equal(refused(bench.reserve(wallet, 8n)), 'insufficient_credits')
  t.equal(refused(bench.reserve(wallet, 7n)), 'accepted')
  t.same(bench.ledger(wallet), ['grant purchases 10', 'expire expired -10', 'grant purchases 7'])
})

t.test('holds what the whole work may cost: the request, the flat cost and the price of a long prompt', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 10_000n)
  bench.prices = pricesWith({
    models: [
      modelPrice('long', {
        rates: { input_tokens: '1', output_tokens: '10', requests: '0.00001' },
        variants: [
          { abovePromptTokens: 100, rates: { input_tokens: '2' } },
          { serviceTier: 'batch', rates: { output_tokens: '5' } },
        ],
        aliases: [{ equals: 'long-2025' }],
      }),
    ],
    operations: [operationPrice('flat', { flatCost: 50n })],
  })
  const held = (said: Parameters<typeof work>[0]) => taken(bench.reserve(wallet, work({ model: 'long-2025', ...said }))).reservation
  t.equal(held({ usage: { input_tokens: 100, output_tokens: 10 } }).amount, 252n, '120 + 120 + 12')
  t.equal(held({ usage: { input_tokens: 60, cache_read_tokens: 41, reasoning_tokens: 10 } }).amount, 375n, '101 × 2.4 + 120 + 12')
  t.equal(held({ usage: { input_tokens: 100, output_tokens: 10 }, serviceTier: 'batch' }).amount, 192n)
  t.equal(held({ usage: { input_tokens: 10 }, operation: 'flat', units: 2 }).amount, 88n, '12 + 12 + 14 + 50')
  t.match(held({ usage: {} }), { amount: 20n, quote: { usage: { requests: 1 }, terms: { model: { id: 'long', provider: 'acme' } } } })
  t.equal(refused(bench.reserve(wallet, work({ model: 'long', usage: { pages: 1 } }))), 'pool_unpriced')
  t.equal(refused(bench.reserve(wallet, work({ model: 'long', usage: {}, serviceTier: 'flex' }))), 'service_tier_unpriced')
  t.equal(refused(bench.reserve(wallet, work({ model: 'long', provider: 'bolt', usage: {} }))), 'unknown_model')
})

t.test('what a partial hold affords leaves room for what is due once, and for the rounding', async (t) => {
  const asked = modelPrice('asked', { rates: { input_tokens: '1', output_tokens: '10', requests: '0.00001' } })
  const cases = [
    { roundTo: 1n, output_tokens: 9 },
    { roundTo: 100n, output_tokens: 5 },
  ]
  for (const { roundTo, output_tokens } of cases) {
    const bench = new Bench()
    const wallet = bench.wallet()
    bench.grant(wallet, 150n)
    bench.prices = pricesWith({ models: [asked] })
    bench.prices = { ...bench.prices, policies: [{ ...POLICY, roundTo }] }
    const request = work({ model: 'asked', usage: { input_tokens: 20, output_tokens: 100 } })
    const { reservation, affords } = taken(bench.reserve(wallet, request, { partial: true }))
    t.equal(reservation.amount, 150n)
    t.same(affords, { output_tokens }, '24 for the prompt, 12 for the request, 12 a token')
    const cost = taken(bench.commit(reservation, actual({ usage: { input_tokens: 20, output_tokens } }))).charge
    t.match(cost, { overage: 0n, uncollected: 0n }, 'and so much is paid for')
  }
})

t.test('an owner pays where the policy says so', async (t) => {
  const bench = new Bench()
  const wallet = bench.wallet()
  bench.grant(wallet, 100n)
  bench.prices = pricesWith({ policies: [{ ...POLICY, id: 'strict', ownerExempt: false, effectiveFrom: START + 1 }] })
  const free = bench.hold(wallet, tokens(100), { resourceOwner: 'user:u1' })
  t.match(free, { amount: 0n, quote: { exempt: true } })
  bench.now = START + 1
  t.match(bench.hold(wallet, tokens(100), { resourceOwner: 'user:u1' }), { amount: 60n, quote: { exempt: false } })
  t.equal(taken(bench.commit(free, used(100))).charge.cost, 0n, 'what was reserved before stays exempt')
})
