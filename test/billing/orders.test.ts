import { randomUUID } from 'node:crypto'
import Stripe from 'stripe'
import t from 'tap'
import { createBilling } from '../helpers/billing.ts'
import type { Body } from '../helpers/service.ts'
import { startTestStripe, type TestStripe } from '../helpers/stripe/index.ts'

/** What becomes of orders that nobody pays, whom they belong to at Stripe, and how they are found. */

/** Stripe's own console. */
const apiOf = ({ apiKey, host, port, protocol }: TestStripe) => new Stripe(apiKey, { host, port, protocol })

t.test('an order that is not paid can be given up, on whatever it was to be paid', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay, sessionOf } = billing
  const wallet = await service.wallet()
  const cancel = (order: Body) => service.post(`/v1/payments/${order.id}/cancel`)
  const read = async (order: Body) => (await service.get(`/v1/payments/${order.id}`)).body

  const page = await buy(wallet)
  t.match(await cancel(page), { status: 200, body: { status: 'failed', failure: 'nobody paid it' } })
  t.match(await cancel(page), { status: 200, body: { status: 'failed' } }, 'again')
  t.equal(stripe.controls.rows('sessions').find(({ id }) => id === sessionOf(page))?.status, 'expired')
  const again = await service.post('/v1/purchases', { wallet, package: 'basic' }, { idempotencyKey: randomUUID() })
  t.match(again, { status: 201, body: { status: 'pending' } }, 'another one is another one')

  const form = await buy(wallet, { package: 'basic', flow: 'payment_intent' })
  t.match(await cancel(form), { status: 200, body: { status: 'failed' } })
  const intents = stripe.controls.rows('paymentIntents').filter(({ metadata }) => metadata.farebox_payment === form.id)
  t.match(intents, [{ status: 'canceled' }])

  const declined = await buy(wallet)
  stripe.controls.payCheckout(sessionOf(declined), { card: 'declined' })
  t.match(await cancel(declined), { status: 200, body: { status: 'failed' } })

  const delayed = await buy(wallet)
  stripe.controls.payCheckout(sessionOf(delayed), { card: 'delayed' })
  t.match(await cancel(delayed), { status: 409, body: { code: 'payment_not_cancellable', detail: /on its way/ } })
  stripe.controls.settleDelayed(sessionOf(delayed), true)
  t.match(await cancel(delayed), { status: 409, body: { code: 'payment_not_cancellable', detail: /paid/ } })
  t.match(await read(delayed), { status: 'paid' }, 'which it found out by asking')

  const paid = await buy(wallet)
  pay(paid)
  t.match(await cancel(paid), { status: 409, body: { code: 'payment_not_cancellable' } })
  t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '11000' })

  const stranger = await service.newClient()
  t.equal((await service.post(`/v1/payments/${paid.id}/cancel`, undefined, { key: stranger.key })).status, 404)
  const fault = stripe.controls.fail({ match: { method: 'POST', path: /expire/ }, how: 'error500', shouldRetry: false })
  const open = await buy(wallet)
  t.match(await cancel(open), { status: 503, body: { code: 'payment_provider_unavailable', retryable: true } })
  t.match(await read(open), { status: 'pending' })
  fault.stop()
  t.same(await service.unsound(), [])
})

t.test('orders that nobody paid within a day are given up', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, sessionOf } = billing
  const wallet = await service.wallet()
  const age = (order: Body) =>
    service.query(`update payments set created_at = now() - interval '26 hours' where id = $1`, [order.id.slice(4)])
  const read = async (order: Body) => (await service.get(`/v1/payments/${order.id}`)).body.status
  const fresh = await buy(wallet)
  const form = await buy(wallet, { package: 'basic', flow: 'payment_intent' })
  const page = await buy(wallet)
  const delayed = await buy(wallet)
  stripe.controls.payCheckout(sessionOf(delayed), { card: 'delayed' })
  // Nobody was ever shown where to pay it.
  const down = stripe.controls.fail({ match: { method: 'POST', path: /checkout/ }, how: 'error500', shouldRetry: false })
  t.equal((await service.post('/v1/purchases', { wallet, package: 'basic' }, { idempotencyKey: randomUUID() })).status, 503)
  down.stop()
  const [unshown] = (await service.get(`/v1/wallets/${wallet}/payments?limit=1`)).body.data
  for (const order of [form, page, delayed, unshown]) await age(order)
  // Somebody has sent a transfer, which takes days.
  const transfer = await buy(wallet, { package: 'basic', flow: 'payment_intent' })
  const intent = stripe.controls.rows('paymentIntents').find(({ metadata }) => metadata.farebox_payment === transfer.id)
  const method = stripe.controls.saveCard(stripe.controls.rows('customers')[0]?.id ?? '', 'authenticate')
  const { status } = await apiOf(stripe).paymentIntents.confirm(intent?.id ?? '', { payment_method: method.id })
  t.equal(status, 'requires_action')
  await age(transfer)
  // One that cannot be asked about holds up no other.
  const busy = stripe.controls.fail({ match: { path: new RegExp(sessionOf(page)) }, how: 'error500', shouldRetry: false })
  await service.rooms.billing.cancelUnpaid()
  t.same(await Promise.all([fresh, form, page, delayed, unshown].map(read)), ['pending', 'failed', 'pending', 'pending', 'failed'])
  busy.stop()
  await service.rooms.billing.cancelUnpaid()
  t.same(await Promise.all([fresh, form, page, delayed].map(read)), ['pending', 'failed', 'failed', 'pending'])
  t.equal(await read(transfer), 'pending')
  t.match(await service.post(`/v1/payments/${transfer.id}/cancel`), { status: 200, body: { status: 'failed' } }, 'unless somebody says so')
  stripe.controls.settleDelayed(sessionOf(delayed), true)
  await service.rooms.billing.cancelUnpaid()
  t.equal(await read(delayed), 'paid', 'its money came meanwhile')
  t.same(await service.unsound(), [])
})

t.test('a customer that somebody deleted at Stripe is opened anew', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay } = billing
  const wallet = await service.wallet()
  const customers = () => stripe.controls.rows('customers').filter((one) => !('deleted' in one))
  await buy(wallet)
  const [first] = customers()
  await apiOf(stripe).customers.del(first?.id ?? '')
  t.same(customers(), [])
  const orders = await Promise.all(Array.from({ length: 5 }, () => buy(wallet)))
  for (const order of orders) pay(order)
  t.equal(customers().length, 1, 'one, also when five ask at once')
  t.same(
    await service.query('select customer_id from payment_customers'),
    customers().map(({ id }) => ({ customer_id: id })),
  )
  t.match(await service.post(`/v1/wallets/${wallet}/cards`, {}), { status: 201 })
  await apiOf(stripe).customers.del(customers()[0]?.id ?? '')
  t.match(await service.get(`/v1/wallets/${wallet}/cards`), { status: 200, body: { data: [] } }, 'its cards are gone with it')
  t.match(await service.post(`/v1/wallets/${wallet}/cards`, {}), { status: 201 })
})

t.test('an installation that goes live has new customers', async (t) => {
  const { service, buy, env: tested } = await createBilling(t)
  const wallet = await service.wallet()
  await buy(wallet)
  const real = await startTestStripe({ apiKey: 'sk_live_farebox' })
  t.teardown(() => real.close())
  const env = { ...tested, STRIPE_SECRET_KEY: real.apiKey, STRIPE_API_URL: real.url }
  const live = await service.another({ env })
  const bought = await live.post('/v1/purchases', { wallet, package: 'basic' }, { idempotencyKey: randomUUID() })
  t.match(bought, { status: 201, body: { livemode: true, checkout: { url: /^http/ } } })
  t.match(await service.query('select livemode from payment_customers order by livemode'), [{ livemode: false }, { livemode: true }])
})

t.test('an admin finds payments of all wallets by what is known of them', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay } = billing
  const key = service.adminKey
  const sold = async () => {
    const order = await buy(await service.wallet())
    const intent = pay(order)
    await service.rooms.billing.sync(intent, 'the test')
    return { id: order.id as string, intent }
  }
  const open = await buy(await service.wallet())
  const [paid, part, all, disputed] = [await sold(), await sold(), await sold(), await sold()]
  stripe.controls.refund(part.intent, 1_000)
  stripe.controls.refund(all.intent)
  const dispute = stripe.controls.openDispute(disputed.intent)
  stripe.controls.withdrawFunds(dispute.id)
  for (const { intent } of [part, all, disputed]) await service.rooms.billing.sync(intent, 'the test')
  const found = async (query: string) => {
    const { status, body } = await service.get(`/v1/admin/payments?${query}`, { key })
    t.equal(status, 200, query)
    return body.data.map(({ id, status }: Body) => `${id} ${status}`)
  }
  t.same(await found('status=pending'), [`${open.id} pending`])
  t.same(await found('status=paid'), [`${paid.id} paid`])
  t.same(await found('status=partially_refunded'), [`${part.id} partially_refunded`])
  t.same(await found('status=refunded'), [`${all.id} refunded`])
  t.same(await found('status=disputed'), [`${disputed.id} disputed`])
  t.same(await found('status=failed'), [])
  t.same(await found(`provider_payment_id=${part.intent}`), [`${part.id} partially_refunded`])
  t.same(await found('origin=top_up'), [])
  t.equal((await found('limit=3')).length, 3)
  t.equal((await found('')).length, 5)
  const own = (await service.get(`/v1/payments/${part.id}`)).body
  t.match(own, { origin: 'purchase', package_version_id: /^pkg_/ })
  t.match((await service.get(`/v1/wallets/${own.wallet_id}/payments?status=partially_refunded`)).body.data, [{ id: part.id }])
  t.same((await service.get(`/v1/wallets/${own.wallet_id}/payments?status=paid`)).body.data, [])
  t.equal((await service.get('/v1/admin/payments')).status, 403)
  t.match((await service.get('/v1/admin/payments?status=lost', { key })).body, { errors: [{ pointer: '/status' }] })
})

t.test('amounts in currencies of other sizes and steps', async (t) => {
  const { service } = await createBilling(t)
  const key = service.adminKey
  const rates = { JPY: '0.7', KWD: '300', ISK: '0.7', IDR: '0.006', VND: '0.004' }
  for (const [currency, credits_per_unit] of Object.entries(rates)) {
    const body = { currency, purpose: 'purchase', credits_per_unit, reason: 'x' }
    t.equal((await service.post('/v1/admin/exchange-rates', body, { key })).status, 201, currency)
  }
  const wallet = await service.wallet()
  const buying = async (amount: string, currency: string) => {
    const { status, body } = await service.post('/v1/purchases', { wallet, amount, currency }, { idempotencyKey: randomUUID() })
    return status === 201 ? `${body.amount} for ${body.credits}` : `${body.code}: ${body.detail}`
  }
  t.equal(await buying('500', 'JPY'), '500 for 350')
  t.match(await buying('499', 'JPY'), 'amount_not_payable: An order is for 500 to 1000000 JPY.')
  t.match(await buying('500.0', 'JPY'), /must not have more than 0 decimals in JPY/)
  t.equal(await buying('5.250', 'KWD'), '5.250 for 1575')
  t.match(await buying('5.255', 'KWD'), /must not have more than 2 decimals in KWD/)
  t.equal(await buying('600.00', 'ISK'), '600.00 for 420')
  t.match(await buying('600.50', 'ISK'), /must not have more than 0 decimals in ISK/)
  t.equal(await buying('50000', 'IDR'), '50000.00 for 300')
  t.match(await buying('10000', 'IDR'), /An order is for 50000\.00 to 100000000\.00 IDR/)
  t.equal(await buying('50000', 'VND'), '50000 for 200')
  t.match(await buying('0', 'JPY'), /amount must be more than 0/)
})
