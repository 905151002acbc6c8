import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import Stripe from 'stripe'
import t, { type Test } from 'tap'
import {
  declining,
  signWebhook,
  startTestStripe,
  type TestStripe,
  type TestStripeOptions,
  webhookPayload,
} from '../helpers/stripe/index.ts'

/** The test Stripe as the real library sees it. What billing proves against it is worth what is proved here. */

const SECRET = 'whsec_test'
const DAY = 86_400

async function open(
  t: Test,
  options?: TestStripeOptions,
): Promise<{ server: TestStripe; stripe: Stripe; controls: TestStripe['controls'] }> {
  const server = await startTestStripe(options)
  t.teardown(() => server.close())
  return { server, stripe: client(server), controls: server.controls }
}

function client(server: TestStripe, config: Partial<ConstructorParameters<typeof Stripe>[1]> = {}): Stripe {
  const { host, port, protocol } = server
  return new Stripe(server.apiKey, { host, port, protocol, maxNetworkRetries: 0, ...config })
}

async function failure(promise: Promise<unknown>): Promise<InstanceType<typeof Stripe.errors.StripeError>> {
  const outcome = await promise.then(
    () => new Error('it did not fail'),
    (error) => error,
  )
  if (!(outcome instanceof Stripe.errors.StripeError)) throw outcome
  return outcome
}

const line = (amount: number) => ({
  quantity: 1,
  price_data: { currency: 'usd', unit_amount: amount, product_data: { name: '5,000 credits' } },
})
const urls = { success_url: 'https://shop.test/done', cancel_url: 'https://shop.test/' }

async function paid(stripe: Stripe, controls: TestStripe['controls'], amount = 4500): Promise<Stripe.PaymentIntent> {
  const session = await stripe.checkout.sessions.create({ mode: 'payment', line_items: [line(amount)], ...urls })
  const { payment_intent: id } = controls.payCheckout(session.id).session
  return stripe.paymentIntents.retrieve(String(id))
}

const typesSince = (controls: TestStripe['controls'], from: number) => controls.events.slice(from).map((event) => event.type)

t.test('a checkout', async (t) => {
  const { stripe, controls } = await open(t)
  const customer = await stripe.customers.create({ email: 'ada@example.com', name: 'Ada', metadata: { user: 'u_1' } })

  t.test('that is paid has an intent with its metadata and one story of events', async (t) => {
    const from = controls.events.length
    const session = await stripe.checkout.sessions.create({
      mode: 'payment',
      customer: customer.id,
      client_reference_id: 'w_1',
      metadata: { purchase: 'p_1' },
      line_items: [line(4500), { ...line(500), quantity: 2 }],
      payment_intent_data: { metadata: { purchase: 'p_1' }, setup_future_usage: 'off_session' },
      ...urls,
    })
    t.match(session, { status: 'open', payment_status: 'unpaid', amount_total: 5500, currency: 'usd', payment_intent: null })
    t.match(session.url, /^https:/)
    t.match(controls.payCheckout(session.id, { customerDetails: { name: 'Ada L.' } }), { declineCode: null })

    const done = await stripe.checkout.sessions.retrieve(session.id, { expand: ['payment_intent.latest_charge', 'line_items'] })
    t.match(done, { status: 'complete', payment_status: 'paid', customer_details: { email: 'ada@example.com', name: 'Ada L.' } })
    const intent = done.payment_intent as Stripe.PaymentIntent
    t.match(intent, { status: 'succeeded', amount_received: 5500, metadata: { purchase: 'p_1' }, customer: customer.id })
    const charge = intent.latest_charge as Stripe.Charge
    t.match(charge, {
      paid: true,
      amount: 5500,
      amount_refunded: 0,
      metadata: { purchase: 'p_1' },
      payment_method_details: { card: { last4: '4242' } },
    })
    t.equal(done.line_items?.data.length, 2)
    t.strictSame(
      typesSince(controls, from).filter((type) => !/^(product|price)\./.test(type)),
      [
        'payment_intent.created',
        'charge.succeeded',
        'payment_intent.succeeded',
        'payment_method.attached',
        'charge.updated',
        'checkout.session.completed',
      ],
    )
    t.equal((await stripe.checkout.sessions.list({ payment_intent: intent.id })).data[0]?.id, session.id)
    t.equal((await stripe.customers.listPaymentMethods(customer.id)).data[0]?.id, intent.payment_method, 'the card was kept')
  })

  t.test('that is declined stays open, and may be paid with another card', async (t) => {
    const session = await stripe.checkout.sessions.create({ mode: 'payment', line_items: [line(1000)], ...urls })
    t.equal(controls.payCheckout(session.id, { card: 'insufficientFunds' }).declineCode, 'insufficient_funds')
    const open = await stripe.checkout.sessions.retrieve(session.id, { expand: ['payment_intent'] })
    t.match(open, {
      status: 'open',
      payment_intent: { status: 'requires_payment_method', last_payment_error: { decline_code: 'insufficient_funds' } },
    })
    controls.payCheckout(session.id, { card: 'authenticate' })
    t.match(await stripe.checkout.sessions.retrieve(session.id), {
      payment_status: 'paid',
      payment_intent: (open.payment_intent as Stripe.PaymentIntent).id,
    })
  })

  for (const ok of [true, false])
    t.test(`with a debit completes unpaid, and ${ok ? 'succeeds' : 'fails'} later`, async (t) => {
      const session = await stripe.checkout.sessions.create({ mode: 'payment', line_items: [line(1000)], ...urls })
      t.match(controls.payCheckout(session.id, { card: 'delayed' }).session, { status: 'complete', payment_status: 'unpaid' })
      const from = controls.events.length
      t.equal(controls.settleDelayed(session.id, ok).payment_status, ok ? 'paid' : 'unpaid')
      t.equal(typesSince(controls, from).at(-1), `checkout.session.async_payment_${ok ? 'succeeded' : 'failed'}`)
      const { payment_intent } = await stripe.checkout.sessions.retrieve(session.id, { expand: ['payment_intent'] })
      t.equal((payment_intent as Stripe.PaymentIntent).status, ok ? 'succeeded' : 'requires_payment_method')
    })

  t.test('that is expired cannot be paid', async (t) => {
    const session = await stripe.checkout.sessions.create({ mode: 'payment', line_items: [line(1000)], ...urls })
    t.equal((await stripe.checkout.sessions.expire(session.id)).status, 'expired')
    t.equal(controls.events.at(-1)?.type, 'checkout.session.expired')
    t.throws(() => controls.payCheckout(session.id), /expired/)
    t.match(await failure(stripe.checkout.sessions.expire(session.id)), { statusCode: 400 })
  })

  t.test('in setup mode keeps a card', async (t) => {
    const session = await stripe.checkout.sessions.create({ mode: 'setup', customer: customer.id, currency: 'usd', ...urls })
    controls.payCheckout(session.id, { card: 'mastercard' })
    const done = await stripe.checkout.sessions.retrieve(session.id, { expand: ['setup_intent.payment_method'] })
    t.match(done, {
      payment_status: 'no_payment_required',
      setup_intent: { status: 'succeeded', payment_method: { card: { brand: 'mastercard' } } },
    })
  })
})

t.test('an off-session payment', async (t) => {
  const { stripe, controls } = await open(t)
  const customer = await stripe.customers.create({ email: 'bo@example.com' })
  const charge = (payment_method: string) =>
    stripe.paymentIntents.create({ amount: 2000, currency: 'usd', customer: customer.id, payment_method, confirm: true, off_session: true })

  t.test('of a good card succeeds', async (t) => {
    t.match(await charge(controls.saveCard(customer.id).id), { status: 'succeeded', latest_charge: /^ch_/ })
  })

  t.test('of a card that declines is a 402 with its reason and its intent', async (t) => {
    const error = await failure(charge(controls.saveCard(customer.id, declining('lost_card')).id))
    t.match(error, { statusCode: 402, type: 'StripeCardError', code: 'card_declined', decline_code: 'lost_card', charge: /^ch_/ })
    t.match(error.payment_intent, {
      status: 'requires_payment_method',
      payment_method: null,
      last_payment_error: { decline_code: 'lost_card' },
    })
    t.strictSame(typesSince(controls, -3), ['payment_intent.created', 'charge.failed', 'payment_intent.payment_failed'])
  })

  t.test('of a card that wants its customer fails, and goes on when the customer is there', async (t) => {
    const method = controls.saveCard(customer.id, 'authenticateOffSession')
    const error = await failure(charge(method.id))
    t.match(error, { statusCode: 402, code: 'authentication_required', payment_intent: { status: 'requires_payment_method' } })
    const id = error.payment_intent?.id ?? ''
    controls.changeCard(method.id, 'authenticate')
    t.equal((await stripe.paymentIntents.confirm(id, { payment_method: method.id })).status, 'requires_action')
    t.equal(controls.events.at(-1)?.type, 'payment_intent.requires_action')
    t.equal(controls.authenticate(id, true).status, 'succeeded')
  })

  t.test('of another one’s card, or of a card that was taken away, is refused', async (t) => {
    const other = await stripe.customers.create({})
    t.match(await failure(charge(controls.saveCard(other.id).id)), { statusCode: 400, param: 'payment_method' })
    const method = await stripe.paymentMethods.attach('pm_card_visa', { customer: customer.id })
    await stripe.paymentMethods.detach(method.id)
    t.match(await failure(charge(method.id)), { statusCode: 400, param: 'payment_method' })
  })

  t.test('that nobody finished can be cancelled, once', async (t) => {
    const intent = await stripe.paymentIntents.create({ amount: 2000, currency: 'usd', automatic_payment_methods: { enabled: true } })
    t.match(await stripe.paymentIntents.cancel(intent.id, { cancellation_reason: 'abandoned' }), { status: 'canceled' })
    t.match(await failure(stripe.paymentIntents.cancel(intent.id)), { code: 'payment_intent_unexpected_state' })
  })
})

t.test('refunds', async (t) => {
  const { stripe, controls } = await open(t)

  t.test('in two parts end with the whole', async (t) => {
    const intent = await paid(stripe, controls)
    const from = controls.events.length
    await stripe.refunds.create({ payment_intent: intent.id, amount: 1500, metadata: { reason: 'unused' } })
    t.strictSame(typesSince(controls, from), ['refund.created', 'charge.refunded', 'refund.updated', 'charge.refund.updated'])
    t.match(await failure(stripe.refunds.create({ payment_intent: intent.id, amount: 3001 })), {
      statusCode: 400,
      code: 'amount_too_large',
      param: 'amount',
    })
    controls.refund(intent.id)
    const charge = await stripe.charges.retrieve(String(intent.latest_charge), { expand: ['refunds'] })
    t.match(charge, { amount_refunded: 4500, refunded: true })
    t.strictSame(
      charge.refunds?.data.map(({ amount }) => amount),
      [3000, 1500],
    )
    t.match(await failure(stripe.refunds.create({ payment_intent: intent.id })), { code: 'charge_already_refunded' })
    t.equal((await stripe.refunds.list({ payment_intent: intent.id })).data.length, 2)
  })

  t.test('that fail are no longer part of what was refunded', async (t) => {
    const intent = await paid(stripe, controls)
    const refund = await stripe.refunds.create({ charge: String(intent.latest_charge) })
    const from = controls.events.length
    t.equal(controls.failRefund(refund.id).status, 'failed')
    t.strictSame(typesSince(controls, from), ['refund.failed', 'refund.updated', 'charge.refund.updated'])
    t.match(await stripe.charges.retrieve(String(intent.latest_charge)), { amount_refunded: 0, refunded: false })
  })
})

t.test('a dispute', async (t) => {
  const { stripe, controls } = await open(t)

  t.test('that is won gives the money back', async (t) => {
    const intent = await paid(stripe, controls)
    const from = controls.events.length
    const { id } = controls.openDispute(intent.id, { amount: 4000 })
    t.match(await failure(stripe.refunds.create({ payment_intent: intent.id })), { code: 'charge_disputed' })
    controls.withdrawFunds(id)
    controls.winDispute(id)
    controls.reinstateFunds(id)
    t.strictSame(
      typesSince(controls, from),
      ['created', 'funds_withdrawn', 'closed', 'funds_reinstated'].map((name) => `charge.dispute.${name}`),
    )
    const dispute = await stripe.disputes.retrieve(id, { expand: ['charge'] })
    t.match(dispute, { status: 'won', amount: 4000, payment_intent: intent.id, charge: { disputed: true } })
    t.strictSame(
      dispute.balance_transactions.map(({ amount }) => amount),
      [-4000, 4000],
    )
  })

  t.test('that began as an inquiry moves no money until it is one', async (t) => {
    const intent = await paid(stripe, controls)
    const { id, status } = controls.openDispute(intent.id, { inquiry: true })
    t.equal(status, 'warning_needs_response')
    t.ok(await stripe.refunds.create({ payment_intent: intent.id, amount: 100 }), 'and can be answered with a refund')
    t.equal(controls.escalateInquiry(id).status, 'needs_response')
    t.equal((await stripe.disputes.close(id)).status, 'lost')
    t.equal((await stripe.disputes.list({ payment_intent: intent.id })).data[0]?.status, 'lost')
  })
})

t.test('an idempotency key', async (t) => {
  const { server, stripe, controls } = await open(t)

  t.test('has one answer for the same request, and none for another', async (t) => {
    const options = { idempotencyKey: 'key_1' }
    const first = await stripe.customers.create({ email: 'c@example.com' }, options)
    const again = await stripe.customers.create({ email: 'c@example.com' }, options)
    t.equal(again.id, first.id)
    t.equal(again.lastResponse.headers['idempotent-replayed'], 'true')
    t.match(await failure(stripe.customers.create({ email: 'd@example.com' }, options)), {
      statusCode: 400,
      type: 'StripeIdempotencyError',
    })
    t.equal(controls.rows('customers').length, 1)
  })

  t.test('keeps a refusal of the bank, but not a request that made no sense', async (t) => {
    const customer = await stripe.customers.create({})
    const method = controls.saveCard(customer.id, 'declined')
    const pay = (amount: number) =>
      stripe.paymentIntents.create(
        { amount, currency: 'usd', customer: customer.id, payment_method: method.id, confirm: true, off_session: true },
        { idempotencyKey: `key_${amount}` },
      )
    t.equal((await failure(pay(2000))).code, 'card_declined')
    controls.changeCard(method.id, 'good')
    t.equal((await failure(pay(2000))).code, 'card_declined', 'the same again')
    const wrong = { email: 'x', nmae: 'typo' } as Stripe.CustomerCreateParams
    t.match(await failure(stripe.customers.create(wrong, { idempotencyKey: 'key_w' })), { code: 'parameter_unknown', param: 'nmae' })
    t.ok(await stripe.customers.create({ email: 'x' }, { idempotencyKey: 'key_w' }))
  })

  t.test('is taken while its request is under way', async (t) => {
    controls.fail({ match: { method: 'POST', path: /customers$/ }, how: 'delay', delayMs: 200, times: 1 })
    const options = { idempotencyKey: 'key_busy' }
    const first = stripe.customers.create({}, options)
    const second = await failure(client(server).customers.create({}, options))
    t.match(second, { statusCode: 409, code: 'idempotency_key_in_use' })
    t.ok(await first)
  })
})

t.test('a change of a customer', async (t) => {
  const { stripe, controls } = await open(t)
  const { id } = await stripe.customers.create({ email: 'f@example.com', metadata: { user: 'u_1', plan: 'basic' } })

  t.test('merges metadata, and is told with what was before', async (t) => {
    const after = await stripe.customers.update(id, { metadata: { plan: '', wallet: 'w_1' } })
    t.strictSame(after.metadata, { user: 'u_1', wallet: 'w_1' })
    const event = controls.events.at(-1)
    t.equal(event?.type, 'customer.updated')
    t.strictSame(event?.data.previous_attributes, { metadata: { user: 'u_1', plan: 'basic' } })
    t.strictSame((await stripe.customers.update(id, { metadata: '' })).metadata, {})
    const count = controls.events.length
    await stripe.customers.update(id, { email: 'f@example.com' })
    t.equal(controls.events.length, count, 'nothing changed, nothing is told')
  })

  t.test('leaves the events before it as they were', async (t) => {
    const [event] = (await stripe.events.list({ type: 'customer.created' })).data
    t.match(event?.data.object, { id, metadata: { user: 'u_1', plan: 'basic' } })
  })

  t.test('by deletion leaves its id behind', async (t) => {
    t.match(await stripe.customers.del(id), { id, deleted: true })
    t.match(await stripe.customers.retrieve(id), { deleted: true })
    t.match(await failure(stripe.paymentIntents.create({ amount: 500, currency: 'usd', customer: id })), {
      statusCode: 400,
      code: 'resource_missing',
    })
  })
})

t.test('listings', async (t) => {
  const { stripe, controls } = await open(t)
  const ids: string[] = []
  for (let n = 0; n < 25; n += 1) ids.push((await stripe.customers.create({ email: `${n % 5}@example.com` })).id)
  const newest = ids.toReversed()

  t.test('are read to the end by the library itself, newest first', async (t) => {
    const seen: string[] = []
    for await (const customer of stripe.customers.list({ limit: 7 })) seen.push(customer.id)
    t.strictSame(seen, newest)
    const first = await stripe.customers.list({ limit: 10 })
    t.equal(first.has_more, true)
    const back = await stripe.customers.list({ limit: 10, ending_before: newest[15] ?? '' })
    t.strictSame(
      back.data.map(({ id }) => id),
      newest.slice(5, 15),
    )
    t.equal((await stripe.customers.list({ email: '3@example.com' })).data.length, 5)
  })

  t.test('can be cut by time and by type', async (t) => {
    const before = controls.clock.now()
    controls.clock.advance(DAY)
    await stripe.products.create({ name: 'Pro' })
    const { data } = await stripe.events.list({ created: { gt: before + 60 } })
    t.strictSame(
      data.map(({ type }) => type),
      ['product.created'],
    )
    t.equal((await stripe.events.list({ types: ['customer.created', 'product.created'], limit: 100 })).data.length, 26)
    t.equal((await stripe.events.list({ type: 'customer.*', limit: 100 })).data.length, 25)
  })

  t.test('and everything else say what they cannot read', async (t) => {
    t.match(await failure(stripe.customers.list({ limit: 101 })), { statusCode: 400, param: 'limit' })
    t.match(await failure(stripe.customers.retrieve('cus_none')), { statusCode: 404, code: 'resource_missing' })
    t.match(await failure(stripe.coupons.list()), { statusCode: 404, message: /Unrecognized request URL/ })
    t.match(await failure(stripe.refunds.create({})), { code: 'parameter_missing' })
    const { statusCode } = await failure(stripe.paymentIntents.create({ amount: 1.5, currency: 'usd' }))
    t.equal(statusCode, 400)
  })
})

t.test('a fault', async (t) => {
  const { server, controls } = await open(t)
  const patient = client(server, { maxNetworkRetries: 3 })
  const creation = { method: 'POST', path: /^\/v1\/customers$/ } as const

  t.test('before the work is survived by the library’s retries, with one key', async (t) => {
    const before = controls.rows('customers').length
    for (const how of ['error500', 'error409', 'drop'] as const) {
      const armed = controls.fail({ match: creation, how, times: 1 })
      t.ok(await patient.customers.create({}), how)
      t.equal(armed.hits, 1)
      const [first, second] = controls.requests.slice(-2)
      t.equal(first?.idempotencyKey, second?.idempotencyKey)
    }
    t.equal(controls.rows('customers').length, before + 3)
  })

  t.test('after the work does not do it twice', async (t) => {
    const before = controls.rows('customers').length
    controls.fail({ match: creation, how: 'drop-after', times: 1 })
    const customer = await patient.customers.create({})
    t.equal(customer.lastResponse.headers['idempotent-replayed'], 'true')
    t.equal(controls.rows('customers').length, before + 1)
    controls.fail({ match: creation, how: 'error500-after', times: 1 })
    t.equal((await failure(patient.customers.create({}, { idempotencyKey: 'lost' }))).statusCode, 500)
    t.equal((await failure(client(server).customers.create({}, { idempotencyKey: 'lost' }))).statusCode, 500, 'and says so for ever')
    t.equal(controls.rows('customers').length, before + 2)
  })

  t.test('of the rate is not tried again, unless Stripe says so', async (t) => {
    controls.fail({ match: creation, how: 'error429', times: 1 })
    t.equal((await failure(patient.customers.create({}))).type, 'StripeRateLimitError')
    controls.fail({ match: creation, how: 'error429', times: 1, shouldRetry: true })
    t.ok(await patient.customers.create({}))
  })

  t.test('of silence ends when the client gives up', async (t) => {
    controls.fail({ match: creation, how: 'timeout', times: 1 })
    const hasty = client(server, { timeout: 100 })
    t.equal((await failure(hasty.customers.create({}))).type, 'StripeConnectionError')
  })

  t.test('by chance strikes the same requests for the same seed', async (t) => {
    const stripe = client(server)
    const run = async () => {
      const armed = controls.fail({ match: { path: /products/ }, how: 'error500', probability: 0.5, seed: 7 })
      const outcomes: boolean[] = []
      for (let n = 0; n < 12; n += 1) outcomes.push(await stripe.products.list().then(Boolean, () => false))
      armed.stop()
      return outcomes
    }
    const first = await run()
    t.ok(first.includes(true) && first.includes(false))
    t.strictSame(await run(), first)
  })

  t.test('of the key is a 401', async (t) => {
    const { host, port, protocol } = server
    const stranger = new Stripe('sk_test_wrong', { host, port, protocol })
    t.match(await failure(stranger.customers.list()), { statusCode: 401, type: 'StripeAuthenticationError' })
  })
})

t.test('webhooks', async (t) => {
  const { stripe, controls } = await open(t)
  const received: { event: Stripe.Event; status: number }[] = []
  let refusals = 0
  const endpoint = createServer(async (req, res) => {
    const body = await text(req)
    const event = stripe.webhooks.constructEvent(body, String(req.headers['stripe-signature']), SECRET)
    refusals -= 1
    received.push({ event, status: refusals >= 0 ? 503 : 200 })
    res.writeHead(refusals >= 0 ? 503 : 200).end()
  })
  endpoint.listen(0, '127.0.0.1')
  await once(endpoint, 'listening')
  t.teardown(() => endpoint.close())
  const address = endpoint.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/`

  t.test('carry a signature that the library takes, over exactly these bytes', async (t) => {
    await stripe.customers.create({ email: 'e@example.com' })
    const event = controls.events[0]
    if (event === undefined) throw new Error('no event')
    t.equal(await controls.deliver(event, url, { secret: SECRET }), 200)
    t.match(received[0]?.event, { id: event.id, type: 'customer.created', livemode: false, request: { id: /^req_/ } })
    const payload = webhookPayload(event)
    const header = signWebhook(payload, SECRET)
    t.throws(() => stripe.webhooks.constructEvent(JSON.stringify(event), header, SECRET), 'written again, the bytes are others')
    t.throws(() => stripe.webhooks.constructEvent(payload, header, 'whsec_other'))
    const old = signWebhook(payload, SECRET, { timestamp: Math.floor(Date.now() / 1000) - 301 })
    t.throws(() => stripe.webhooks.constructEvent(payload, old, SECRET))
    t.throws(() => stripe.webhooks.constructEvent(payload, signWebhook(payload, SECRET, { scheme: 'v0' }), SECRET))
  })

  t.test('are sent by themselves, again until they are taken', async (t) => {
    received.length = 0
    const delivery = controls.autoDeliver({ url, secret: SECRET, retryMs: 5 })
    refusals = 2
    const intent = await paid(stripe, controls)
    await delivery.settled()
    const taken = received.filter(({ status }) => status === 200).map(({ event }) => event.type)
    t.equal(received.length - taken.length, 2)
    t.ok(taken.includes('payment_intent.succeeded') && taken.includes('checkout.session.completed'))
    t.equal(delivery.failed.length, 0)
    delivery.stop()
    await stripe.refunds.create({ payment_intent: intent.id })
    await delivery.settled()
    t.equal(delivery.delivered, taken.length)
  })
})

t.test('a subscription', async (t) => {
  const { stripe, controls } = await open(t, { dunning: { attemptsMax: 3 } })
  const product = await stripe.products.create({ name: 'Plan' })
  const price = (unit_amount: number) =>
    stripe.prices.create({ product: product.id, currency: 'usd', unit_amount, recurring: { interval: 'month' } })
  const [basic, pro] = [await price(3000), await price(9000)]

  async function subscribed(card?: Parameters<typeof controls.saveCard>[1]): Promise<Stripe.Subscription> {
    const customer = await stripe.customers.create({})
    controls.saveCard(customer.id, card)
    return stripe.subscriptions.create({ customer: customer.id, items: [{ price: basic.id }], metadata: { wallet: 'w_1' } })
  }

  t.test('from a checkout lives three periods, an upgrade and its end', async (t) => {
    const session = await stripe.checkout.sessions.create({
      mode: 'subscription',
      line_items: [{ price: basic.id, quantity: 1 }],
      customer_email: 'sub@example.com',
      subscription_data: { metadata: { wallet: 'w_1' } },
      ...urls,
    })
    controls.payCheckout(session.id)
    const done = await stripe.checkout.sessions.retrieve(session.id, { expand: ['subscription'] })
    const first = done.subscription as Stripe.Subscription
    t.match(first, { status: 'active', metadata: { wallet: 'w_1' } })
    t.match(done, { payment_status: 'paid', payment_intent: null })
    const invoice = await stripe.invoices.retrieve(String(done.invoice), { expand: ['payments'] })
    t.match(invoice, {
      status: 'paid',
      billing_reason: 'subscription_create',
      amount_paid: 3000,
      parent: { subscription_details: { subscription: first.id, metadata: { wallet: 'w_1' } } },
      lines: { data: [{ pricing: { price_details: { price: basic.id } } }] },
    })
    t.match(invoice.payments?.data[0]?.payment, { type: 'payment_intent', payment_intent: /^pi_/ })

    const from = controls.events.length
    t.match(controls.advanceSubscription(first.id, { moveClock: true }), {
      status: 'paid',
      billing_reason: 'subscription_cycle',
      amount_paid: 3000,
    })
    const types = typesSince(controls, from)
    for (const type of [
      'customer.subscription.updated',
      'invoice.created',
      'invoice.finalized',
      'charge.succeeded',
      'invoice.paid',
      'invoice.payment_succeeded',
    ])
      t.ok(types.includes(type as Stripe.Event['type']), type)
    const second = await stripe.subscriptions.retrieve(first.id)
    const item = second.items.data[0]
    t.equal(item?.current_period_start, first.items.data[0]?.current_period_end)

    controls.clock.advance(Math.floor(((item?.current_period_end ?? 0) - (item?.current_period_start ?? 0)) / 2))
    const upgraded = await stripe.subscriptions.update(first.id, {
      items: [{ id: item?.id ?? '', price: pro.id }],
      proration_behavior: 'always_invoice',
      expand: ['latest_invoice'],
    })
    t.match(upgraded.latest_invoice, { billing_reason: 'subscription_update', status: 'paid' })
    const owed = (upgraded.latest_invoice as Stripe.Invoice).amount_paid
    t.ok(Math.abs(owed - 3000) <= 1, `half a month of the difference: ${owed}`)
    t.match(controls.advanceSubscription(first.id, { moveClock: true }), { amount_paid: 9000 })

    const ending = await stripe.subscriptions.update(first.id, { cancel_at_period_end: true })
    t.equal(ending.cancel_at, ending.items.data[0]?.current_period_end)
    t.equal(controls.advanceSubscription(first.id, { moveClock: true }), null)
    t.equal(controls.events.at(-1)?.type, 'customer.subscription.deleted')
    t.equal((await stripe.subscriptions.retrieve(first.id)).status, 'canceled')
    t.equal((await stripe.invoices.list({ subscription: first.id })).data.length, 4)
  })

  t.test('whose card fails is past due, and ends after so many attempts', async (t) => {
    const { id } = await subscribed('declinedOffSession')
    const invoice = controls.advanceSubscription(id)
    t.match(invoice, { status: 'open', attempt_count: 1 })
    t.equal((await stripe.subscriptions.retrieve(id)).status, 'past_due')
    controls.retryInvoice(invoice?.id ?? '')
    t.match(controls.retryInvoice(invoice?.id ?? ''), { attempt_count: 3, next_payment_attempt: null })
    t.match(await stripe.subscriptions.retrieve(id), { status: 'canceled', cancellation_details: { reason: 'payment_failed' } })
  })

  t.test('whose card is replaced in time goes on', async (t) => {
    const { id, customer } = await subscribed('declinedOffSession')
    const invoice = controls.advanceSubscription(id)
    controls.saveCard(String(customer), 'good')
    t.equal((await stripe.invoices.pay(invoice?.id ?? '')).status, 'paid')
    t.equal((await stripe.subscriptions.retrieve(id)).status, 'active')
  })

  t.test('whose card wants its customer waits for them', async (t) => {
    const { id } = await subscribed('authenticateOffSession')
    const from = controls.events.length
    const invoice = controls.advanceSubscription(id)
    t.ok(typesSince(controls, from).includes('invoice.payment_action_required'))
    const payments = await stripe.invoicePayments.list({ invoice: invoice?.id ?? '' })
    controls.authenticate(String(payments.data[0]?.payment.payment_intent), true)
    t.match(await stripe.invoices.retrieve(invoice?.id ?? ''), { status: 'paid' })
    t.equal((await stripe.subscriptions.retrieve(id)).status, 'active')
  })

  t.test('with other prorations pays on the next invoice, or nothing', async (t) => {
    const subscription = await subscribed()
    const items = [{ id: subscription.items.data[0]?.id ?? '', price: pro.id }]
    await stripe.subscriptions.update(subscription.id, { items })
    t.match(controls.advanceSubscription(subscription.id), { amount_paid: 15_000 }, 'the difference, and the next month')
    const other = await subscribed()
    await stripe.subscriptions.update(other.id, {
      items: [{ id: other.items.data[0]?.id ?? '', price: pro.id }],
      proration_behavior: 'none',
    })
    t.match(controls.advanceSubscription(other.id), { amount_paid: 9000 })
    t.match(await stripe.subscriptions.cancel(other.id), { status: 'canceled', cancellation_details: { reason: 'cancellation_requested' } })
  })

  t.test('that is created unpaid is paid with its first intent', async (t) => {
    const customer = await stripe.customers.create({})
    const subscription = await stripe.subscriptions.create({
      customer: customer.id,
      items: [{ price: basic.id }],
      payment_behavior: 'default_incomplete',
      payment_settings: { save_default_payment_method: 'on_subscription' },
      expand: ['latest_invoice.payments', 'latest_invoice.confirmation_secret'],
    })
    t.equal(subscription.status, 'incomplete')
    const invoice = subscription.latest_invoice as Stripe.Invoice
    t.match(invoice.confirmation_secret?.client_secret, /_secret_/)
    await stripe.paymentIntents.confirm(String(invoice.payments?.data[0]?.payment.payment_intent), { payment_method: 'pm_card_visa' })
    t.match(await stripe.subscriptions.retrieve(subscription.id), { status: 'active', default_payment_method: /^pm_/ })
  })

  t.test('has a page for its customer', async (t) => {
    const { customer } = await subscribed()
    t.match(await stripe.billingPortal.sessions.create({ customer: String(customer), return_url: urls.cancel_url }), { url: /^https:/ })
  })
})
