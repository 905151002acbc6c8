import t, { type Test } from 'tap'
import type { TestBilling } from '../helpers/billing.ts'
import { type Body, createService } from '../helpers/service.ts'
import { createSubscribing } from '../helpers/subscribing.ts'

const DAY = 86_400

async function sound(t: Test, { service }: TestBilling): Promise<void> {
  t.same(await service.unsound(), [])
}

t.test('each paid period brings its credits, and what is left goes over up to the cap', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, renew, ledger } = billing
  const wallet = await service.wallet()
  const begun = await billing.begin(wallet)
  t.match(begun, { status: 'pending', plan: { id: 'basic', price: '30.00' }, checkout: { url: /^https:/ }, provider_subscription_id: null })
  t.equal(await balance(wallet), '0', 'nothing before anybody paid')
  const objectId = billing.payPage(begun)
  await billing.told()
  const mode = billing.stripe.controls.rows('subscriptions')[0]?.billing_mode
  t.match(mode, { type: 'flexible', flexible: { proration_discounts: 'itemized' } }, 'coupons are no part of what prorations buy')
  t.equal(await balance(wallet), '1000')
  const first = await billing.read(wallet)
  t.match(first, { status: 'active', provider_subscription_id: objectId, cancels_at: null, credits_rolled_over: '0' })
  t.equal(first.credited_until, first.period_end)

  await service.made('/v1/charges', { wallet, amount: '300' })
  await renew(objectId)
  t.equal(await balance(wallet), '1200', '700 were left, and 200 may go over')
  t.match(await billing.read(wallet), { credits_rolled_over: '200' })
  await service.made('/v1/charges', { wallet, amount: '1150' })
  await renew(objectId)
  t.equal(await balance(wallet), '1050', 'all of 50')
  t.same(await ledger(wallet), [
    'grant 1000 purchases',
    'charge -300 revenue',
    'expire -700 expired',
    'grant 200 expired',
    'grant 1000 purchases',
    'charge -1150 revenue',
    'expire -50 expired',
    'grant 50 expired',
    'grant 1000 purchases',
  ])
  const { data: grants } = (await service.get(`/v1/wallets/${wallet}/grants`)).body
  const third = await billing.read(wallet)
  const open = grants.filter((grant: Body) => grant.remaining !== '0')
  t.same(open.map((grant: Body) => `${grant.kind} ${grant.remaining}`).sort(), ['purchase 1000', 'rollover 50'])
  for (const grant of open) t.equal(Date.parse(grant.expires_at) - Date.parse(third.period_end), 3 * DAY * 1000, 'a grace for dunning')
  const { data: payments } = (await service.get(`/v1/wallets/${wallet}/payments`)).body
  t.equal(payments.length, 3)
  for (const payment of payments)
    t.match(payment, {
      kind: 'plan',
      status: 'paid',
      amount: '30.00',
      credits: '1000',
      subscription_id: begun.id,
      provider_invoice_id: /^in_/,
    })
  await sound(t, billing)
})

t.test('what is held when a period ends stays with its reservation', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, renew } = billing
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet)
  const hold = await service.made('/v1/reservations', { wallet, amount: '600' })
  await renew(objectId)
  t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '1800', held: '600', available: '1200' })
  await service.made(`/v1/reservations/${hold.id}/commit`, { amount: '100' })
  t.equal(await balance(wallet), '1200', 'what it released had expired')
  await sound(t, billing)
})

t.test('ends with its period, unless it is let go on', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, act, stripe } = billing
  // Its second period ends about now.
  stripe.controls.clock.advance(-62 * DAY)
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet)
  const ending = await act(wallet, 'cancel')
  t.match(ending, { status: 'active', cancels_at: ending.period_end })
  t.match(await act(wallet, 'resume'), { status: 'active', cancels_at: null })
  t.match((await service.post(`/v1/wallets/${wallet}/subscription/resume`)).body, { cancels_at: null }, 'again, without a body')
  await billing.renew(objectId)
  t.equal((await billing.read(wallet)).status, 'active')
  await act(wallet, 'cancel', { at_period_end: true })
  await billing.cameInTime(wallet)
  t.not(await balance(wallet), '0')
  await billing.renew(objectId)
  t.match(await billing.read(wallet), { status: 'canceled', ended_at: /^2/ })
  t.equal(await balance(wallet), '0', 'its credits ended with it')
  t.match(await act(wallet, 'cancel'), { code: 'subscription_ended', status: 409 })
  t.match(await act(wallet, 'resume'), { code: 'subscription_ended' })
  t.match(await act(wallet, 'change', { plan: 'pro' }), { code: 'subscription_ended' })
  // And another one may begin.
  stripe.controls.clock.advance(-stripe.controls.clock.offsetSeconds)
  await billing.subscribed(wallet, 'pro')
  t.equal(await balance(wallet), '4000')
  t.match(await billing.read(wallet), { status: 'active', plan: { id: 'pro' } })
  await sound(t, billing)
})

t.test('ended now, its credits stay for the period that was paid for, without the grace', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, act } = billing
  const wallet = await service.wallet()
  await billing.subscribed(wallet)
  const { period_end: end } = await billing.read(wallet)
  t.match(await act(wallet, 'cancel', { at_period_end: false }), { status: 'canceled' })
  await billing.told()
  t.equal(await balance(wallet), '1000')
  const { data: grants } = (await service.get(`/v1/wallets/${wallet}/grants`)).body
  t.equal(grants[0].expires_at, end)
  await service.query(`update grants set effective_at = now() - interval '2 days', expires_at = now() - interval '1 second'`)
  await service.sweep()
  t.equal(await balance(wallet), '0')
  await sound(t, billing)
})

t.test('a failing card is past due and brings nothing, until it is paid', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, renew, act, stripe } = billing
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet, 'basic', 'declinedOffSession')
  await service.made('/v1/charges', { wallet, amount: '400' })
  const invoice = await renew(objectId)
  t.match(await billing.read(wallet), { status: 'past_due', invoice_url: `https://invoice.stripe.com/i/${invoice}` })
  t.equal(await balance(wallet), '600', 'the old credits have a grace')
  t.match(await act(wallet, 'change', { plan: 'pro' }), { code: 'subscription_not_active', status: 409 })
  const method = stripe.controls.rows('subscriptions')[0]?.default_payment_method
  stripe.controls.changeCard(String(method), 'good')
  stripe.controls.retryInvoice(invoice)
  await billing.told()
  t.match(await billing.read(wallet), { status: 'active', credits_rolled_over: '200', invoice_url: null })
  t.equal(await balance(wallet), '1200')
  await sound(t, billing)
})

t.test('a subscription that ends leaves credits that were paid for late three days', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, act, stripe } = billing
  stripe.controls.clock.advance(-32 * DAY)
  const [wallet, other] = [await service.wallet(), await service.wallet()]
  const paid = Date.now()
  await billing.subscribed(wallet)
  billing.payPage(await billing.begin(other))
  t.equal(await balance(wallet), '1000')
  // Of the end and the invoice of the other one, the end is heard of first.
  const [, last] = stripe.controls.rows('subscriptions')
  await service.rooms.billing.sync(last?.id ?? '', 'test')
  for (const each of [wallet, other]) t.match(await act(each, 'cancel', { at_period_end: false }), { status: 'canceled' })
  await billing.told()
  for (const each of [wallet, other]) {
    t.equal(await balance(each), '1000')
    const [grant] = (await service.get(`/v1/wallets/${each}/grants`)).body.data
    t.ok(Math.abs(Date.parse(grant.expires_at) - paid - 3 * DAY * 1000) < 60_000, grant.expires_at)
  }
  await sound(t, billing)
})

for (const endsAs of ['canceled', 'unpaid'] as const) {
  t.test(`a card that goes on failing ends ${endsAs}, and the old credits expire`, async (t) => {
    const billing = await createSubscribing(t, { stripe: { dunning: { attemptsMax: 2, endsAs } } })
    const { service, balance, renew, stripe } = billing
    // The first period ended before the grace: its credits are over as soon as anybody looks.
    stripe.controls.clock.advance(-32 * DAY)
    const wallet = await service.wallet()
    const objectId = await billing.subscribed(wallet, 'basic', 'declinedOffSession')
    await billing.cameInTime(wallet)
    t.equal(await balance(wallet), '1000')
    stripe.controls.retryInvoice(await renew(objectId))
    await billing.told()
    t.match(await billing.read(wallet), { status: endsAs, invoice_url: endsAs === 'unpaid' ? /^https:/ : null })
    if (endsAs === 'unpaid') {
      t.equal(await balance(wallet), '1000', 'within the grace')
      await service.query(`update grants set effective_at = now() - interval '40 days', expires_at = now() - interval '1 second'`)
      await service.sweep()
    }
    t.equal(await balance(wallet), '0')
    t.equal((await service.get(`/v1/wallets/${wallet}/payments`)).body.data.length, 1)
    await sound(t, billing)
  })
}

t.test('a wallet has one subscription, and a page that nobody paid on gives way', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe } = billing
  const wallet = await service.wallet()
  const path = `/v1/wallets/${wallet}/subscription`
  const first = await service.post(path, { plan: 'basic' }, { idempotencyKey: 'one' })
  const replay = await service.post(path, { plan: 'basic' }, { idempotencyKey: 'one' })
  t.equal(replay.body.checkout.url, first.body.checkout.url, 'repeated, it is the same page')
  t.equal(replay.headers['idempotent-replayed'], 'true')
  t.match((await service.post(path, { plan: 'pro' }, { idempotencyKey: 'one' })).body, { code: 'idempotency_key_reused' })
  const second = await billing.begin(wallet, 'pro')
  t.same(
    stripe.controls.rows('sessions').map(({ status }) => status),
    ['expired', 'open'],
  )
  t.equal((await service.post(path, { plan: 'basic' }, { idempotencyKey: 'one' })).body.checkout, null, 'it has given way')
  billing.payPage(second)
  await billing.told()
  t.match(await service.post(path, { plan: 'basic' }), { status: 409, body: { code: 'subscription_exists', subscription_id: second.id } })
  const races = await Promise.all(Array.from({ length: 5 }, () => service.post(path, { plan: 'basic' })))
  t.same([...new Set(races.map(({ status }) => status))], [409])
  await sound(t, billing)
})

t.test('a page that is left unpaid expires, and one may be ended', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe, act } = billing
  const wallet = await service.wallet()
  await billing.begin(wallet)
  stripe.controls.expireCheckout(stripe.controls.rows('sessions')[0]?.id ?? '')
  await billing.told()
  t.match(await billing.read(wallet), { status: 404, code: 'subscription_not_found' })
  await billing.begin(wallet)
  t.match(await act(wallet, 'cancel', { at_period_end: false }), { status: 'expired' })
  t.equal(stripe.controls.rows('sessions')[1]?.status, 'expired')
  await sound(t, billing)
})

t.test('a wallet stays open while it is subscribed', async (t) => {
  const billing = await createSubscribing(t)
  const { service, act, stripe } = billing
  const close = (wallet: string) => service.post(`/v1/wallets/${wallet}/close`, { reason: 'a test' }, { key: service.adminKey })
  const wallet = await service.wallet()
  const begun = await billing.begin(wallet)
  t.match(await close(wallet), { status: 409, body: { code: 'wallet_subscribed', subscription_id: begun.id } }, 'its page may be paid on')
  const objectId = billing.payPage(begun)
  await billing.told()
  await service.made('/v1/charges', { wallet, amount: '1000' })
  t.match(await close(wallet), { status: 409, body: { code: 'wallet_subscribed' } })
  await billing.act(wallet, 'cancel')
  t.match(await close(wallet), { body: { code: 'wallet_subscribed' } }, 'until its period is over it may go on')
  await billing.renew(objectId)
  t.match(await close(wallet), { status: 200, body: { status: 'closed' } })

  const left = await service.wallet(undefined, { owner: 'user:left' })
  await billing.begin(left)
  await act(left, 'cancel', { at_period_end: false })
  t.match(await close(left), { status: 200 })
  t.match((await service.post(`/v1/wallets/${left}/subscription`, { plan: 'basic' })).body, { code: 'wallet_closed' })
  t.equal(stripe.controls.rows('sessions').filter(({ status }) => status === 'open').length, 0)

  const tested = await service.wallet(undefined, { owner: 'user:tested' })
  await billing.begin(tested)
  const live = await service.another({ env: { ...billing.env, STRIPE_SECRET_KEY: 'sk_live_farebox' } })
  const ended = await live.post(`/v1/wallets/${tested}/close`, { reason: 'a test' }, { key: service.adminKey })
  t.match(ended, { status: 200 }, 'nobody could cancel what was begun with a key for tests')

  // Of subscribing and closing at once, one comes first.
  for (const racing of await Promise.all([service.wallet(), service.wallet(), service.wallet()])) {
    const [closed, subscribed] = await Promise.all([close(racing), service.post(`/v1/wallets/${racing}/subscription`, { plan: 'basic' })])
    t.not(closed.status === 200, subscribed.status === 201, `${closed.status} ${subscribed.status}`)
  }
  await sound(t, billing)
})

t.test('what is not the caller’s is not there, and people subscribe for themselves', async (t) => {
  const billing = await createSubscribing(t)
  const { service } = billing
  const mine = await service.wallet(undefined, { owner: 'user:alice' })
  const path = `/v1/wallets/${mine}/subscription`
  for (const key of [service.other.key, await service.tokenFor('bob')]) {
    for (const [method, at, body] of [
      ['GET', path, undefined],
      ['POST', path, { plan: 'basic' }],
      ['POST', `${path}/change`, { plan: 'pro' }],
      ['POST', `${path}/cancel`, {}],
      ['POST', `${path}/resume`, {}],
    ] as const) {
      const { status, body: problem } = await service.send(method, at, body, { key })
      t.match({ status, code: problem.code }, { status: 404, code: 'wallet_not_found' }, `${method} ${at}`)
    }
  }
  const key = await service.tokenFor('alice')
  t.match((await service.get('/v1/plans', { key })).body.data, [{ id: 'basic' }, { id: 'pro', credits: '4000', interval: 'month' }])
  const begun = await service.made('/v1/wallets/user:alice/subscription', { plan: 'basic' }, { key })
  billing.payPage(begun)
  await billing.told()
  t.match((await service.get(path, { key })).body, { status: 'active', id: begun.id })
  await sound(t, billing)
})

t.test('what cannot be is refused', async (t) => {
  const billing = await createSubscribing(t)
  const { service, act } = billing
  const wallet = await service.wallet()
  const path = `/v1/wallets/${wallet}/subscription`
  const gold = { code: 'plan_not_sold', errors: [{ pointer: '/plan', message: 'No plan "gold" is on sale' }] }
  t.match((await service.post(path, { plan: 'gold' })).body, gold)
  t.match((await service.post(path, { plan: 'basic' }, { idempotencyKey: null })).body, { code: 'idempotency_key_missing' })
  const stranger = { plan: 'basic', success_url: 'https://evil.example' }
  t.match((await service.post(path, stranger)).body, { code: 'return_url_not_allowed', errors: [{ pointer: '/success_url' }] })
  for (const what of ['change', 'cancel', 'resume'])
    t.match(await act(wallet, what, what === 'change' ? { plan: 'pro' } : {}), { code: 'subscription_not_found', status: 404 })
  t.match((await service.get(path)).body, { code: 'subscription_not_found' })
  const plans = '/v1/admin/plans'
  const body = { plan: 'pro', name: 'Pro', price: '80.00', currency: 'USD', credits: '4000', reason: 'cheaper' }
  t.equal((await service.post(plans, body)).status, 403)
  await service.made(plans, { ...body, enabled: false }, { key: service.adminKey })
  t.same(
    (await service.get('/v1/plans')).body.data.map((plan: Body) => plan.id),
    ['basic'],
  )
  const { data } = (await service.get(`${plans}?plan=pro`, { key: service.adminKey })).body
  t.match(data, [{ price: '80.00', enabled: false }, { price: '90.00' }])
  const audit = await service.query(`select action, reason, before, after from audit_log where action = 'plan.set' order by created_at`)
  t.match(audit.at(-1), { reason: 'cheaper', before: { price: '90.00' }, after: { price: '80.00', enabled: false } })
  await sound(t, billing)
})

t.test('the sandbox has none', async (t) => {
  const service = await createService(t, { rooms: { payments: 'sandbox' } })
  const wallet = await service.wallet()
  const path = `/v1/wallets/${wallet}/subscription`
  t.match(await service.post(path, { plan: 'basic' }), { status: 503, body: { code: 'subscriptions_need_stripe', retryable: false } })
  t.match(await service.get(path), { status: 404 })
  t.same((await service.get('/v1/plans')).body.data, [])
})
