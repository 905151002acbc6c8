import { randomUUID } from 'node:crypto'
import Stripe from 'stripe'
import t from 'tap'
import type { Gateway } from '../../src/billing/gateway.ts'
import { sync } from '../../src/billing/sync.ts'
import { createBilling, RETURN_URL, type TestBilling, WEBHOOK_SECRET } from '../helpers/billing.ts'
import { startProcess } from '../helpers/process.ts'
import { type Answer, type Body, callerAt, JWT_SECRET, tally, times } from '../helpers/service.ts'

/** The same money from many sides at once: it is credited once, taken back once, given back once. */

const apiOf = ({ stripe }: TestBilling) =>
  new Stripe(stripe.apiKey, { host: stripe.host, port: stripe.port, protocol: stripe.protocol, maxNetworkRetries: 0 })

async function balanceOf({ service }: TestBilling, wallet: string): Promise<string> {
  return (await service.get(`/v1/wallets/${wallet}/balance`)).body.balance
}

async function grantsOf({ service }: TestBilling, wallet: string): Promise<number> {
  const [row] = await service.query('select count(*)::int as n from grants where wallet_id = $1', [uuidOf(wallet)])
  return row.n
}

const uuidOf = (wireId: string) => wireId.slice(4)
const eventOf = ({ stripe }: TestBilling, intent: string, type: string) =>
  stripe.controls.events.findLast((event) => event.type === type && JSON.stringify(event.data).includes(intent)) as Stripe.Event

// A busy machine takes its time to start processes and to wait for Stripe.
t.setTimeout(300_000)

t.test('one event a hundred times at once is one grant', async (t) => {
  const billing = await createBilling(t)
  const { service, buy, pay, deliver } = billing
  const second = await service.another()
  const wallet = await service.wallet()
  const intent = pay(await buy(wallet))
  const event = eventOf(billing, intent, 'payment_intent.succeeded')
  const statuses = await Promise.all(times(100, (n) => deliver(event, n % 2 ? service : second)))
  t.same(new Set(statuses), new Set([200]))
  await Promise.all([billing.workedOff(), billing.workedOff(second)])
  t.equal(await balanceOf(billing, wallet), '5500')
  t.equal(await grantsOf(billing, wallet), 2)
  const [row] = await service.query('select count(*)::int as n, max(attempts) as attempts from provider_events')
  t.same(row, { n: 1, attempts: 1 }, 'stored once and worked off once')
  t.same(await service.unsound(), [])
})

t.test('payment_intent.succeeded beside checkout.session.completed is one grant', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay, deliver } = billing
  const second = await service.another()
  const rounds = 20
  for (let round = 0; round < rounds; round += 1) {
    const wallet = await service.wallet()
    const intent = pay(await buy(wallet))
    const both = ['payment_intent.succeeded', 'checkout.session.completed'].map((type) => eventOf(billing, intent, type))
    await Promise.all(both.map((event, n) => deliver(event, n === round % 2 ? service : second)))
    // Beside the events, those who look by themselves.
    await Promise.all([
      ...times(4, (n) => (n % 2 ? service : second).rooms.billing.sync(intent, 'a race')),
      billing.workedOff(),
      billing.workedOff(second),
    ])
    t.equal(await balanceOf(billing, wallet), '5500')
    t.equal(await grantsOf(billing, wallet), 2)
  }
  t.comment(`${rounds} rounds, ${stripe.controls.requests.length} requests to Stripe`)
  t.same(await service.unsound(), [])
})

t.test('changes of a payment, read by many at once, end as the last one says', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay } = billing
  const second = await service.another()
  const wallet = await service.wallet()
  const order = await buy(wallet)
  const intent = pay(order)
  // Slow answers, so that readings overtake each other.
  const slow = stripe.controls.fail({ match: { method: 'GET' }, how: 'delay', delayMs: 25, probability: 0.4, seed: 7 })
  const reading: Promise<unknown>[] = []
  const look = () => reading.push(...times(6, (n) => (n % 2 ? service : second).rooms.billing.sync(intent, 'a race')))
  for (const change of [
    () => stripe.controls.refund(intent, 1_000),
    () => stripe.controls.refund(intent, 500),
    () => stripe.controls.failRefund(stripe.controls.rows('refunds')[0]?.id as string),
    () => stripe.controls.withdrawFunds(stripe.controls.openDispute(intent, { amount: 3_000 }).id),
    () => stripe.controls.reinstateFunds(stripe.controls.rows('disputes')[0]?.id as string),
    () => stripe.controls.winDispute(stripe.controls.rows('disputes')[0]?.id as string),
  ]) {
    look()
    change()
    look()
  }
  slow.stop()
  await Promise.all(reading)
  const { credits_reversed, amount_refunded, amount_withdrawn } = (await service.get(`/v1/payments/${order.id}`)).body
  t.same(
    { credits_reversed, amount_refunded, amount_withdrawn },
    { credits_reversed: '611.111111', amount_refunded: '5.00', amount_withdrawn: '0.00' },
  )
  t.equal(await balanceOf(billing, wallet), '4888.888889')
  t.same(await service.unsound(), [])
})

t.test('a reading that took its time is not taken for the newer one', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay } = billing
  const { lane, billing: room } = service.rooms
  const gateway = room.gateway as Gateway
  const wallet = await service.wallet()
  const intent = pay(await buy(wallet))
  await room.sync(intent, 'a race')
  const [hasRead, mayGoOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const slow: Gateway = {
    ...gateway,
    async readPayment(id) {
      const state = await gateway.readPayment(id)
      hasRead.resolve()
      await mayGoOn.promise
      return state
    },
  }
  const late = sync({ ...room, gateway: slow, lane }, intent, 'a slow reader')
  await hasRead.promise
  stripe.controls.refund(intent)
  t.match(await room.sync(intent, 'a quick reader'), { outcome: 'applied', changed: true })
  mayGoOn.resolve()
  t.match(await late, { outcome: 'applied', changed: false })
  t.equal(await balanceOf(billing, wallet), '0', 'the refund stands')
})

t.test('the same events to two processes', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay, env } = billing
  const common = { ...env, DATABASE_URL: service.url, JWT_SECRET, PORT: '0', DATA_DIR: t.testdir(), DOCS: 'false' }
  const processes = await Promise.all([startProcess(t, common, 'api'), startProcess(t, common, 'api')])
  const wallets = await Promise.all(times(20, () => service.wallet()))
  const orders = await Promise.all(wallets.map((wallet) => buy(wallet)))
  for (const order of orders) pay(order)
  const events = [...stripe.controls.events]
  const sent = events.flatMap((event) =>
    processes.map(({ url }) => stripe.controls.deliver(event.id, `${url}/v1/stripe/webhook`, { secret: WEBHOOK_SECRET })),
  )
  t.same(new Set(await Promise.all(sent)), new Set([200]))
  await billing.workedOff()
  for (const wallet of wallets) t.equal(await balanceOf(billing, wallet), '5500')
  const [row] = await service.query('select count(*)::int as events, (select count(*)::int from grants) as grants from provider_events')
  t.same(row, { events: events.length, grants: 40 })
  t.same(await service.unsound(), [])
})

/** All that Stripe has of an order. */
function atStripe({ stripe }: TestBilling, order: Body) {
  const isOf = ({ metadata }: { metadata: Stripe.Metadata | null }) => metadata?.farebox_payment === order.id
  return { sessions: stripe.controls.rows('sessions').filter(isOf), intents: stripe.controls.rows('paymentIntents').filter(isOf) }
}

for (const flow of ['checkout', 'payment_intent'] as const) {
  t.test(`the same purchase fifty times at once is one order, ${flow}`, async (t) => {
    const billing = await createBilling(t)
    const { service, stripe, env } = billing
    const common = { ...env, DATABASE_URL: service.url, JWT_SECRET, PORT: '0', DATA_DIR: t.testdir(), DOCS: 'false' }
    const other = callerAt((await startProcess(t, common, 'api')).url, () => service.client.key)
    const wallet = await service.wallet()
    const idempotencyKey = randomUUID()
    const body = { wallet, package: 'basic', flow, email: 'jane@example.com', success_url: RETURN_URL.replace('/credits', '') }
    const { success_url: _own, ...plain } = body
    const send = (n: number) => (n % 2 ? other : service).post('/v1/purchases', plain, { idempotencyKey })
    let answers = await Promise.all(times(50, send))
    // Stripe refuses a key that is in use; whoever was told so asks again.
    for (let round = 0; answers.some(({ status }) => status === 503) && round < 10; round += 1) {
      t.ok(answers.every(({ status, body }) => status === 201 || (body.code === 'payment_provider_unavailable' && body.retryable)))
      answers = await Promise.all(answers.map((answer, n) => (answer.status === 503 ? send(n) : answer)))
    }
    t.same(tally(answers), { 201: 50 })
    t.same([...new Set(answers.map(({ text }) => text))].slice(1), [], 'the same answer for all')
    t.equal(answers.filter(({ headers }) => headers['idempotent-replayed'] === undefined).length, 1)
    const order = answers[0]?.body
    const { sessions, intents } = atStripe(billing, order)
    t.same([sessions.length, intents.length], flow === 'checkout' ? [1, 0] : [0, 1], 'one way to pay at Stripe')
    t.equal(stripe.controls.rows('customers').length, 1)
    t.match(order.checkout, flow === 'checkout' ? { url: sessions[0]?.url, client_secret: null } : { url: null, client_secret: /_secret_/ })
    const [row] = await service.query('select count(*)::int as n from payments')
    t.equal(row.n, 1)
    const changed = await service.post('/v1/purchases', { ...plain, package: 'pro' }, { idempotencyKey })
    t.match(changed, { status: 422, body: { code: 'idempotency_key_reused' } })
    await service.query(`update payments set status = 'failed' where id = $1`, [uuidOf(order.id)])
    const asked = stripe.controls.requests.length
    t.match(await send(0), { status: 201, body: { id: order.id, checkout: null } }, 'what can be paid no more has no page')
    t.equal(stripe.controls.requests.length, asked, 'and nobody asks for one')
    t.same(await service.unsound(), [])
  })

  t.test(`answers of Stripe that are lost while an order is opened, ${flow}`, async (t) => {
    const billing = await createBilling(t)
    const { service, stripe } = billing
    const path = flow === 'checkout' ? /checkout\/sessions/ : /payment_intents/
    for (const [name, match] of [
      ['the customer', { method: 'POST', path: /customers/ }],
      ['the way to pay', { method: 'POST', path }],
    ] as const) {
      for (const times of [1, 3]) {
        const wallet = await service.wallet()
        const idempotencyKey = randomUUID()
        const send = () => service.post('/v1/purchases', { wallet, package: 'starter', flow }, { idempotencyKey })
        const fault = stripe.controls.fail({ match, how: 'drop-after', times })
        let answer: Answer = await send()
        if (times === 3) {
          t.match(
            answer,
            { status: 503, body: { code: 'payment_provider_unavailable', retryable: true } },
            'three lost answers are an answer',
          )
          answer = await send()
        }
        fault.stop()
        t.equal(answer.status, 201, `${name}, lost ${times} times`)
        const { sessions, intents } = atStripe(billing, answer.body)
        t.equal(sessions.length + intents.length, 1, 'one way to pay')
        t.equal((await send()).text, answer.text, 'and the same for whoever asks again')
        t.equal(stripe.controls.rows('customers').filter(({ metadata }) => metadata.farebox_wallet === wallet).length, 1)
      }
    }
  })
}

t.test('a failure that Stripe keeps for a key does not keep a wallet from buying', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe } = billing
  const wallet = await service.wallet()
  stripe.controls.fail({ match: { method: 'POST', path: /customers/ }, how: 'error500-after', times: 1 })
  const idempotencyKey = randomUUID()
  const send = () => service.post('/v1/purchases', { wallet, package: 'starter' }, { idempotencyKey })
  const answer = await send()
  t.equal(answer.status, 201)
  t.equal((await send()).text, answer.text)
})

t.test('a price that changes while an order is opened', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe } = billing
  const wallet = await service.wallet()
  const idempotencyKey = randomUUID()
  const send = () => service.post('/v1/purchases', { wallet, package: 'basic' }, { idempotencyKey })
  stripe.controls.fail({ match: { method: 'POST', path: /checkout/ }, how: 'drop-after', times: 3 })
  t.equal((await send()).status, 503)
  const dearer = {
    package: 'basic',
    name: 'Basic, dearer',
    currency: 'USD',
    price: '49.00',
    credits: '5000',
    reason: 'prices',
  }
  t.equal((await service.post('/v1/admin/packages', dearer, { key: service.adminKey })).status, 201)
  const answer = await send()
  t.match(answer, { status: 201, body: { amount: '45.00', bonus: '500' } }, 'the order is the one that was placed')
  t.equal(atStripe(billing, answer.body).sessions.length, 1)
})

t.test('an order is paid by one payment: a second one that claims it is parked', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay, deliver } = billing
  const api = apiOf(billing)
  const rounds = 5
  for (let round = 0; round < rounds; round += 1) {
    const wallet = await service.wallet()
    const order = await buy(wallet)
    const metadata = { farebox_payment: order.id, farebox_wallet: wallet }
    const copy = await api.paymentIntents.create({ amount: 4500, currency: 'usd', metadata, payment_method: 'pm_card_visa', confirm: true })
    const first = pay(order)
    // Both at once; either may be the first.
    await Promise.all([first, copy.id].map((id) => deliver(eventOf(billing, id, 'payment_intent.succeeded'))))
    await billing.workedOff()
    await Promise.all(times(6, (n) => service.rooms.billing.sync(n % 2 ? first : copy.id, 'a race')))
    t.equal(await balanceOf(billing, wallet), '5500', 'no credit for the second')
    const { provider_payment_id } = (await service.get(`/v1/payments/${order.id}`)).body
    const stranger = provider_payment_id === first ? copy.id : first
    t.match(await service.rooms.billing.sync(stranger, 'asked'), {
      outcome: 'parked',
      reason: `the order belongs to ${provider_payment_id}`,
    })
  }
  t.equal(stripe.controls.rows('paymentIntents').length, rounds * 2)
  const { data } = (await service.get('/v1/admin/payment-events?status=parked', { key: service.adminKey })).body
  t.equal(data.length, rounds, 'a person sees each of them')
  t.same(await service.unsound(), [])
})

t.test('refunds that an admin asks for', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay } = billing
  const second = await service.another()
  const key = service.adminKey
  const sold = async () => {
    const wallet = await service.wallet()
    const order = await buy(wallet)
    const intent = pay(order)
    await service.rooms.billing.sync(intent, 'the test')
    return { wallet, order, intent }
  }
  const asking = (order: Body, body: object, idempotencyKey: string = randomUUID()) => ({
    send: (n = 0) => (n % 2 ? second : service).post(`/v1/admin/payments/${order.id}/refund`, body, { key, idempotencyKey }),
  })
  const refundsOf = (intent: string) => stripe.controls.rows('refunds').filter(({ payment_intent }) => payment_intent === intent)

  await t.test('twenty times with one key are one refund, and everybody is told of it', async (t) => {
    for (const body of [{ reason: 'a mistake' }, { amount: '30.00', reason: 'a mistake' }, { amount: '45.00', reason: 'a mistake' }]) {
      const { wallet, order, intent } = await sold()
      const { send } = asking(order, body)
      let answers = await Promise.all(times(20, send))
      for (let round = 0; answers.some(({ status }) => status === 503) && round < 10; round += 1) {
        t.ok(answers.every(({ status, body }) => status === 200 || body.retryable))
        answers = await Promise.all(answers.map((answer, n) => (answer.status === 503 ? send(n) : answer)))
      }
      t.same(tally(answers), { 200: 20 })
      const [refund, ...others] = refundsOf(intent)
      t.same(others, [], 'one refund at Stripe')
      const said = answers.map(({ body: { provider_refund_id, amount } }) => `${provider_refund_id} ${amount}`)
      t.same([...new Set(said)], [`${refund?.id} ${((refund?.amount ?? 0) / 100).toFixed(2)}`])
      const again = await send()
      t.match(again, { status: 200, body: { provider_refund_id: refund?.id } }, 'also long after')
      t.equal(await balanceOf(billing, wallet), 'amount' in body && body.amount === '30.00' ? '1833.333334' : '0')
    }
  })

  await t.test('a key of one refund is no key of another', async (t) => {
    const { order } = await sold()
    const idempotencyKey = randomUUID()
    t.equal((await asking(order, { amount: '10.00', reason: 'x' }, idempotencyKey).send()).status, 200)
    const other = await asking(order, { amount: '11.00', reason: 'x' }, idempotencyKey).send()
    t.match(other, { status: 422, body: { code: 'idempotency_key_reused', retryable: false } })
    t.match(await asking(order, { reason: 'x' }, idempotencyKey).send(), { status: 422, body: { code: 'idempotency_key_reused' } })
    const { order: another, intent } = await sold()
    t.match(await asking(another, { amount: '10.00', reason: 'x' }, idempotencyKey).send(), {
      status: 422,
      body: { code: 'idempotency_key_reused' },
    })
    t.same(refundsOf(intent), [])
  })

  await t.test('two for more than is left: one is done', async (t) => {
    const rounds = 10
    for (let round = 0; round < rounds; round += 1) {
      const { wallet, order, intent } = await sold()
      const answers = await Promise.all(times(2, (n) => asking(order, { amount: '30.00', reason: 'x' }).send(n)))
      t.same(answers.map(({ status }) => status).sort(), [200, 422])
      t.match(answers.find(({ status }) => status === 422)?.body.code, /^(refund_exceeds_payment|payment_refused)$/)
      t.equal(refundsOf(intent).length, 1)
      t.equal(await balanceOf(billing, wallet), '1833.333334')
    }
  })

  await t.test('many small ones stop at the payment', async (t) => {
    const { wallet, order, intent } = await sold()
    const answers = await Promise.all(times(20, (n) => asking(order, { amount: '4.00', reason: 'x' }).send(n)))
    const counts = tally(answers)
    t.equal(counts['200'], 11, JSON.stringify(counts))
    t.equal(
      refundsOf(intent).reduce((sum, { amount }) => sum + amount, 0),
      4_400,
    )
    t.match(await asking(order, { amount: '1.01', reason: 'x' }).send(), {
      status: 422,
      body: { code: 'refund_exceeds_payment', refundable: '1.00' },
    })
    t.match(await asking(order, { reason: 'x' }).send(), { status: 200, body: { amount: '1.00' } }, 'all that is left')
    t.match(await asking(order, { reason: 'x' }).send(), { status: 422, body: { code: 'refund_exceeds_payment', refundable: '0.00' } })
    t.equal(await balanceOf(billing, wallet), '0')
  })

  await t.test('a request that is repeated days later asks for the same refund', async (t) => {
    for (const body of [{ reason: 'x' }, { amount: '30.00', reason: 'x' }]) {
      const { wallet, order, intent } = await sold()
      const { send } = asking(order, body)
      const first = await send()
      t.match(first, { status: 200, body: { status: 'succeeded' } })
      const balance = await balanceOf(billing, wallet)
      // Stripe has forgotten the key by then.
      stripe.controls.clock.advance(2 * 86_400)
      t.match(await send(1), { status: 200, body: { provider_refund_id: first.body.provider_refund_id, amount: first.body.amount } })
      t.equal(refundsOf(intent).length, 1)
      t.equal(await balanceOf(billing, wallet), balance)
      const [row] = await service.query(`select count(*)::int as n from audit_log where action = 'payment.refund' and target_id = $1`, [
        order.id.slice(4),
      ])
      t.equal(row?.n, 1, 'asked once')
    }
  })

  await t.test('whose payment cannot be read afterwards is told of all the same', async (t) => {
    const { wallet, order, intent } = await sold()
    const fault = stripe.controls.fail({ match: { method: 'GET', path: /payment_intents/ }, how: 'error500', shouldRetry: false })
    t.match(await asking(order, { reason: 'x' }).send(), { status: 200, body: { amount: '45.00', payment: { status: 'paid' } } })
    fault.stop()
    t.equal(refundsOf(intent).length, 1)
    await service.rooms.billing.sync(intent, 'its event')
    t.equal(await balanceOf(billing, wallet), '0')
  })

  await t.test('what cannot be refunded', async (t) => {
    const { order } = await sold()
    t.match(await asking(order, { amount: '0', reason: 'x' }).send(), { status: 400, body: { errors: [{ pointer: '/amount' }] } })
    t.match(await asking(order, { amount: '45.01', reason: 'x' }).send(), {
      status: 422,
      body: { code: 'refund_exceeds_payment', refundable: '45.00' },
    })
    t.match(await asking(order, { amount: '1.001', reason: 'x' }).send(), { status: 400, body: { errors: [{ pointer: '/amount' }] } })
    const unpaid = await buy(await service.wallet())
    t.match(await asking(unpaid, { reason: 'x' }).send(), { status: 409, body: { code: 'payment_not_paid' } })
    const { order: disputed, intent } = await sold()
    stripe.controls.openDispute(intent)
    t.match(await asking(disputed, { reason: 'x' }).send(), {
      status: 422,
      body: { code: 'payment_refused', detail: /charged back/ },
    })
  })

  await t.test('whose answer is lost is the same when it is asked for again', async (t) => {
    const { wallet, order, intent } = await sold()
    const { send } = asking(order, { reason: 'x' })
    const fault = stripe.controls.fail({ match: { method: 'POST', path: /refunds/ }, how: 'drop-after', times: 3 })
    t.match(await send(), { status: 503, body: { code: 'payment_provider_unavailable', retryable: true } })
    fault.stop()
    // Meanwhile an event tells of it.
    await service.rooms.billing.sync(intent, 'the test')
    t.equal(await balanceOf(billing, wallet), '0')
    t.match(await send(), {
      status: 200,
      body: { provider_refund_id: refundsOf(intent)[0]?.id, amount: '45.00', payment: { status: 'refunded' } },
    })
    t.equal(refundsOf(intent).length, 1)
  })

  await t.test('leave their reason and their author, done or not', async (t) => {
    const { order, intent } = await sold()
    stripe.controls.openDispute(intent)
    await asking(order, { amount: '10.00', reason: 'the customer is right' }).send()
    const [row] = await service.query(
      `select actor, reason, before, after from audit_log where action = 'payment.refund' and target_id = $1`,
      [order.id.slice(4)],
    )
    t.match(row, {
      actor: /^admin:|^key:/,
      reason: 'the customer is right',
      before: { refunded: '0.00' },
      after: { asked: '10.00', currency: 'USD' },
    })
  })
  t.same(await service.unsound(), [])
})
