import { createHmac, randomUUID } from 'node:crypto'
import Stripe from 'stripe'
import t, { type Test } from 'tap'
import { ConfigError, readConfig } from '../../src/config.ts'
import { createBilling, type TestBilling, WEBHOOK_SECRET } from '../helpers/billing.ts'
import type { Body } from '../helpers/service.ts'
import { signWebhook, webhookPayload } from '../helpers/stripe/index.ts'

/** What arrives at the webhook: only what Stripe signed counts, and of that nothing is believed but that there is something to read. */

const PATH = '/v1/stripe/webhook'
const JSON_TYPE = 'application/json; charset=utf-8'

interface Told {
  readonly status: number
  readonly type: string
  readonly body: Body
}

async function post({ service }: TestBilling, payload: string | Buffer, headers: Record<string, string>): Promise<Told> {
  const answer = await service.app.inject({ method: 'POST', url: PATH, payload, headers })
  const type = String(answer.headers['content-type'])
  return { status: answer.statusCode, type, body: type.includes('json') ? answer.json() : answer.payload }
}

/** Sends what Stripe might have signed. */
function send(billing: TestBilling, event: object | string, secret = WEBHOOK_SECRET, at?: number): Promise<Told> {
  const payload = typeof event === 'string' ? event : JSON.stringify(event)
  const signature = signWebhook(payload, secret, at === undefined ? {} : { timestamp: at })
  return post(billing, payload, { 'content-type': JSON_TYPE, 'stripe-signature': signature })
}

let told = 0
/** An event as Stripe would write it, about anything. */
function eventOf(type: string, object: unknown, more: object = {}): Body {
  told += 1
  return {
    id: `evt_made_up_${told}`,
    object: 'event',
    created: Math.floor(Date.now() / 1_000),
    livemode: false,
    type,
    data: { object },
    ...more,
  }
}

const about = (intent: string, type = 'payment_intent.succeeded') => eventOf(type, { object: 'payment_intent', id: intent })

async function stored({ service }: TestBilling): Promise<number> {
  const [row] = await service.query('select count(*)::int as n from provider_events')
  return row.n
}

async function rowOf({ service }: TestBilling, event: { id: string }): Promise<Body> {
  const [row] = await service.query(
    `select status, reason, attempts, processed_at is not null as done,
      extract(epoch from next_attempt_at - clock_timestamp())::float as wait from provider_events where id = $1`,
    [event.id],
  )
  return row
}

async function balanceOf({ service }: TestBilling, wallet: string): Promise<string> {
  return (await service.get(`/v1/wallets/${wallet}/balance`)).body.balance
}

/** The whole second that it is, after the first tenths of it: the bound of 300 s is to the millisecond. */
const now = () => Math.floor(Date.now() / 1_000)

// A busy machine takes its time to start processes and to wait for Stripe.
t.setTimeout(300_000)

t.test('what Stripe did not sign, or not just now, is refused and leaves nothing', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay } = billing
  const wallet = await service.wallet()
  pay(await buy(wallet))
  const event = stripe.controls.events.find(({ type }) => type === 'payment_intent.succeeded') as Stripe.Event
  const payload = webhookPayload(event)
  const good = signWebhook(payload, WEBHOOK_SECRET)
  const [time, v1] = good.split(',') as [string, string]
  const json = { 'content-type': JSON_TYPE }
  const signed = (signature: string) => ({ ...json, 'stripe-signature': signature })
  const at = (offset: number, scheme = 'v1') => signWebhook(payload, WEBHOOK_SECRET, { timestamp: now() + offset, scheme })
  const old = at(-3_600)
  const future = at(3_600)

  const cases: [name: string, body: string | Buffer, headers: Record<string, string>][] = [
    ['unsigned', payload, json],
    ['an empty signature', payload, signed('')],
    ['a signature that is none', payload, signed('nonsense')],
    ['a time alone', payload, signed(time)],
    ['a signature without a time', payload, signed(v1)],
    ['another secret', payload, signed(signWebhook(payload, 'whsec_a_secret_of_somebody_else'))],
    ['an empty secret', payload, signed(signWebhook(payload, ''))],
    ['a byte altered', payload.replace('"amount_received": 4500', '"amount_received": 4501'), signed(good)],
    ['a byte more', `${payload}\n`, signed(good)],
    ['a body that was parsed and written again', JSON.stringify(JSON.parse(payload)), signed(good)],
    ['an empty body', '', signed(good)],
    ['an empty body that is signed', '', signed(signWebhook('', WEBHOOK_SECRET))],
    ['301 seconds ago', payload, signed(at(-301))],
    ['in 301 seconds', payload, signed(at(302))],
    ['in an hour', payload, signed(future)],
    ['an hour ago', payload, signed(old)],
    ['the scheme v0 alone', payload, signed(at(0, 'v0'))],
    ['a time that is not the one signed', payload, signed(`t=${now() - 5},${v1}`)],
    ['two times, the signed one in an hour', payload, signed(`t=${now()},${future}`)],
    ['two times, the signed one first', payload, signed(`${future},t=${now()}`)],
    ['two times, the signed one an hour ago', payload, signed(`t=${now()},${old}`)],
    ['a time in words', payload, signed(`t=now,${v1}`)],
    ['a negative time', payload, signed(`t=-${now()},${v1}`)],
    ['hexadecimal in capitals', payload, signed(good.replace(v1, v1.slice(0, 3) + v1.slice(3).toUpperCase()))],
    ['half of a signature', payload, signed(good.slice(0, -32))],
  ]
  for (const [name, body, headers] of cases) {
    const answer = await post(billing, body, headers)
    t.equal(answer.status, 400, name)
    t.match(answer.type, /^application\/problem\+json/, name)
    t.match(answer.body, { code: 'webhook_invalid', status: 400, retryable: false }, name)
    t.notMatch(answer.body.detail, /whsec/)
  }
  const others: [name: string, body: string | Buffer, type: string | null, status: number, code: string][] = [
    ['a form', payload, 'application/x-www-form-urlencoded', 415, 'unsupported_media_type'],
    ['text', payload, 'text/plain', 415, 'unsupported_media_type'],
    ['no type', payload, null, 415, 'unsupported_media_type'],
    ['more than a megabyte', Buffer.alloc(1024 * 1024 + 1, 0x20), JSON_TYPE, 413, 'payload_too_large'],
  ]
  for (const [name, body, type, status, code] of others) {
    const signature = signWebhook(body.toString(), WEBHOOK_SECRET)
    const answer = await post(billing, body, { 'stripe-signature': signature, ...(type !== null && { 'content-type': type }) })
    t.match(answer, { status, body: { code } }, name)
    t.match(answer.type, /^application\/problem\+json/)
  }
  t.equal((await service.app.inject({ method: 'GET', url: PATH })).statusCode, 405)
  t.equal(await stored(billing), 0, 'nothing was stored')
  await billing.workedOff()
  t.equal(await balanceOf(billing, wallet), '0')

  await t.test('and the same event, as it should be, is taken', async (t) => {
    const many = `${good},v0=${'0'.repeat(64)},v1=${'1'.repeat(64)}`
    t.match(await post(billing, payload, signed(many)), { status: 200, body: { received: true } })
    const [hour, first] = good.split(',') as [string, string]
    t.equal((await post(billing, payload, signed(`${hour},v1=${'2'.repeat(64)},${first}`))).status, 200, 'the second of two signatures')
    for (const offset of [-298, 298]) t.equal((await post(billing, payload, signed(at(offset)))).status, 200, `${offset} s`)
    t.equal(await stored(billing), 1, 'once')
    await billing.workedOff()
    t.equal(await balanceOf(billing, wallet), '5500')
  })
  t.same(await service.unsound(), [])
})

t.test('while its secret is changed, an endpoint takes both', async (t) => {
  const [older, newer] = ['whsec_the_older_one_of_two', 'whsec_the_newer_one_of_two']
  const billing = await createBilling(t, { env: { STRIPE_WEBHOOK_SECRET: `${older}, ${newer}` } })
  for (const secret of [older, newer]) t.equal((await send(billing, about('pi_1'), secret)).status, 200)
  t.equal((await send(billing, about('pi_1'), WEBHOOK_SECRET)).status, 400)
  // Stripe signs with both for a day.
  const payload = JSON.stringify(about('pi_1'))
  const at = now()
  const sign = (secret: string) => `v1=${createHmac('sha256', secret).update(`${at}.${payload}`).digest('hex')}`
  const both = `t=${at},${sign(older)},${sign(newer)}`
  t.equal((await post(billing, payload, { 'content-type': JSON_TYPE, 'stripe-signature': both })).status, 200)
})

t.test('a service without a secret for its webhook does not start', async (t) => {
  const env = { NODE_ENV: 'test', JWT_SECRET: 'a secret of more than thirty-two bytes, for tests', STRIPE_SECRET_KEY: 'sk_test_1' }
  for (const secret of [
    undefined,
    '',
    ' ',
    ',',
    'whsec_',
    'whsec_short',
    'a_secret_that_is_not_one_of_an_endpoint',
    'whsec_this_one_is_good_enough,',
  ]) {
    const read = () => readConfig({ ...env, ...(secret !== undefined && { STRIPE_WEBHOOK_SECRET: secret }) })
    if (secret === 'whsec_this_one_is_good_enough,') t.same(read().STRIPE_WEBHOOK_SECRET, ['whsec_this_one_is_good_enough'])
    else t.throws(read, ConfigError, JSON.stringify(secret))
  }
})

t.test('what is signed and of no known shape is never a failure of ours', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const strange: [name: string, event: unknown][] = [
    ['no object', 5],
    ['null', null],
    ['an array', []],
    ['no id', { ...about('pi_1'), id: undefined }],
    ['an empty id', { ...about('pi_1'), id: '' }],
    ['an id of 256', { ...about('pi_1'), id: 'e'.repeat(256) }],
    ['an id with a zero', { ...about('pi_1'), id: 'evt_\0' }],
    ['an id that no path can name', { ...about('pi_1'), id: 'evt/1' }],
    ['a number for an id', { ...about('pi_1'), id: 7 }],
    ['no type', { ...about('pi_1'), type: undefined }],
    ['a type with a zero', { ...about('pi_1'), type: 'charge.\0' }],
    ['an endless type', { ...about('pi_1'), type: 'x'.repeat(256) }],
    ['no data', { ...about('pi_1'), data: undefined }],
    ['no object in the data', { ...about('pi_1'), data: {} }],
    ['a thin event', { id: 'evt_1', object: 'v2.core.event', type: 'v1.billing.meter.no_meter_found', related_object: { id: 'x' } }],
  ]
  t.match(await send(billing, '{"id":"evt_1"'), { status: 400, body: { code: 'webhook_invalid', retryable: false } }, 'no JSON')
  t.equal(await stored(billing), 0)
  const key = service.adminKey
  for (const [name, event] of strange) {
    t.match(await send(billing, JSON.stringify(event)), { status: 200 }, `${name}: sent again it would be the same`)
    t.match(await send(billing, JSON.stringify(event)), { status: 200 }, `${name}, again`)
    const { data } = (await service.get('/v1/admin/payment-events?status=parked', { key })).body
    t.equal(data.length, 1, name)
    t.match(data[0], { id: /^unknown_[0-9a-f]{64}$/, type: 'unknown', subject: null, reason: /no event of Stripe/ }, name)
    const dismiss = `/v1/admin/payment-events/${data[0].id}/dismiss`
    const dismissed = await service.post(dismiss, { reason: 'a test' }, { key })
    t.match(dismissed, { status: 200, body: { status: 'dismissed', reason: 'a test', dismissed_by: /\S/ } }, name)
    t.equal((await service.post(dismiss, { reason: 'a test' }, { key })).status, 404, `${name}: once`)
  }
  t.match(service.logText(), /an event cannot be read/)
  await service.query('delete from provider_events')

  const unreadable: [name: string, event: Body][] = [
    ['a payment without an id', eventOf('payment_intent.succeeded', { object: 'payment_intent' })],
    ['a path for an id', eventOf('payment_intent.succeeded', { object: 'payment_intent', id: 'pi_1/../../refunds' })],
    ['a text for an object', eventOf('charge.refunded', 'a text')],
    ['a charge of tomorrow', eventOf('charge.refunded', { object: 'charge', id: 'ch_1', paid_with: 'pi_1' })],
  ]
  for (const [name, event] of unreadable) {
    t.match(await send(billing, event), { status: 200 }, name)
    t.match(await rowOf(billing, event), { status: 'parked', reason: /cannot be read/, done: true }, name)
    t.equal((await service.post(`/v1/admin/payment-events/${event.id}/retry`, undefined, { key })).status, 404, name)
  }
  await service.query('delete from provider_events')

  const ignored: [name: string, event: Body][] = [
    ['a type that moves no credits', eventOf('customer.created', { object: 'customer', id: 'cus_1' })],
    ['a type of tomorrow', eventOf('payment_intent.teleported', { object: 'payment_intent', id: 'pi_1' })],
    ['a charge without a payment', eventOf('charge.refunded', { object: 'charge', id: 'ch_1', payment_intent: null })],
    ['a card that is saved', eventOf('checkout.session.completed', { object: 'checkout.session', mode: 'setup', id: 'cs_1' })],
    ['a zero in the payload', eventOf('customer.created', { object: 'customer', name: 'a\0b' })],
    ['half of a character', `{"id":"evt_half","type":"customer.created","data":{"object":{"name":"\\ud800"}}}`],
  ]
  for (const [name, event] of ignored) {
    t.match(await send(billing, event), { status: 200 }, name)
    const { id } = typeof event === 'string' ? JSON.parse(event) : event
    t.match(await rowOf(billing, { id }), { status: 'ignored', reason: 'nothing that concerns credits', done: true }, name)
    t.equal((await service.post(`/v1/admin/payment-events/${id}/retry`, undefined, { key: service.adminKey })).status, 404, name)
  }
  // Read, and found to be nothing.
  const nothing: [name: string, event: Body, reason: RegExp][] = [
    ['a payment that Stripe does not know', about('pi_unknown'), /does not know this payment/],
    [
      'a page that Stripe does not know',
      eventOf('checkout.session.expired', { object: 'checkout.session', mode: 'payment', id: 'cs_unknown' }),
      /does not know this page/,
    ],
    ['a time beyond all times', { ...about('pi_unknown'), created: Number.MAX_SAFE_INTEGER }, /./],
    ['a time before all times', { ...about('pi_unknown'), created: -1e15 }, /./],
    ['a time that is a text', { ...about('pi_unknown'), created: 'yesterday' }, /./],
  ]
  for (const [name, event] of nothing) t.match(await send(billing, event), { status: 200 }, name)
  await billing.workedOff()
  for (const [name, event, reason] of nothing) t.match(await rowOf(billing, event), { status: 'ignored', reason }, name)
  const listed = await service.get('/v1/admin/payment-events?status=ignored&limit=200', { key: service.adminKey })
  t.equal(listed.status, 200)
  t.equal(listed.body.data.length, ignored.length + nothing.length)
})

/** Parks an event, sees who is told, mends the cause and asks again. */
async function parked(t: Test, billing: TestBilling, wallet: string, event: Body, reason: RegExp, mend: () => Promise<unknown>) {
  const { service } = billing
  const key = service.adminKey
  t.equal((await send(billing, event)).status, 200, 'taken: to send it again would mend nothing')
  await billing.workedOff()
  const listed = await service.get('/v1/admin/payment-events?status=parked', { key })
  t.match(listed.body.data[0], { id: event.id, status: 'parked', reason, attempts: 1, type: event.type })
  t.equal((await service.get('/v1/admin/payment-events?status=parked')).status, 403, 'for admins only')
  const lines = service
    .logText()
    .split('\n')
    .filter((line) => line.includes(event.id))
  t.ok(
    lines.some((line) => JSON.parse(line).level === 50 || JSON.parse(line).level === 'error'),
    'logged as an error',
  )
  t.equal(await balanceOf(billing, wallet), '0', 'no credit')
  const again = () => service.post(`/v1/admin/payment-events/${event.id}/retry`, undefined, { key })
  t.match(await again(), { status: 202, body: { status: 'received', reason: null } })
  await billing.workedOff()
  t.match(await rowOf(billing, event), { status: 'parked', attempts: 1 }, 'asked again in vain')
  await mend()
  t.equal((await again()).status, 202)
  await billing.workedOff()
  t.match(await rowOf(billing, event), { status: 'processed', reason: null, done: true })
  t.equal(await balanceOf(billing, wallet), '5500', 'mended')
  t.equal((await again()).status, 202, 'harmless at any time')
  await billing.workedOff()
  t.equal(await balanceOf(billing, wallet), '5500')
  t.equal((await service.post(`/v1/admin/payment-events/${event.id}/retry`)).status, 403)
  t.match(await service.post('/v1/admin/payment-events/evt_nowhere/retry', undefined, { key }), {
    status: 404,
    body: { code: 'payment_event_not_found' },
  })
}

t.test('a payment that does not fit its order is parked until somebody mends it', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay } = billing
  const api = new Stripe(stripe.apiKey, { host: stripe.host, port: stripe.port, protocol: stripe.protocol })
  const paid = async () => {
    const wallet = await service.wallet()
    const order = await buy(wallet)
    const id = order.id.slice(4)
    return {
      wallet,
      order,
      intent: pay(order),
      set: (column: string, value: unknown) => service.query(`update payments set ${column} = $2 where id = $1`, [id, value]),
    }
  }

  await t.test('another livemode', async (t) => {
    const { wallet, intent, set } = await paid()
    await set('livemode', true)
    await parked(t, billing, wallet, about(intent), /test money for a real order/, () => set('livemode', false))
  })
  await t.test('another currency', async (t) => {
    const { wallet, intent, set } = await paid()
    await set('currency', 'EUR')
    await parked(t, billing, wallet, about(intent), /paid in USD, ordered in EUR/, () => set('currency', 'USD'))
  })
  await t.test('another amount', async (t) => {
    const { wallet, intent, set } = await paid()
    await set('amount', 4_501)
    await parked(t, billing, wallet, about(intent), /paid 4500, ordered 4501/, () => set('amount', 4_500))
  })
  await t.test('another wallet', async (t) => {
    const { wallet, intent } = await paid()
    const mark = (of: string) => api.paymentIntents.update(intent, { metadata: { farebox_wallet: of } })
    await mark(await service.wallet())
    await parked(t, billing, wallet, about(intent), /another wallet/, () => mark(wallet))
  })
  await t.test('an order that is not in this database', async (t) => {
    const { wallet, order, intent } = await paid()
    const mark = (of: string) => api.paymentIntents.update(intent, { metadata: { farebox_payment: of } })
    await mark(`pay_${randomUUID().replaceAll('-', '')}`)
    await parked(t, billing, wallet, about(intent), /not in this database/, () => mark(order.id))
  })
  await t.test('an order at another provider', async (t) => {
    const { wallet, intent, set } = await paid()
    await set('provider', 'sandbox')
    await parked(t, billing, wallet, about(intent), /another provider/, () => set('provider', 'stripe'))
  })
  await t.test("somebody else's payment is ignored", async (t) => {
    const { wallet, intent } = await paid()
    await api.paymentIntents.update(intent, { metadata: { farebox_payment: '', farebox_wallet: '' } })
    const event = about(intent)
    await send(billing, event)
    await billing.workedOff()
    t.match(await rowOf(billing, event), { status: 'ignored', reason: 'a payment of somebody else' })
    t.equal(await balanceOf(billing, wallet), '0')
  })
  await t.test('a closed wallet', async (t) => {
    const { wallet, intent } = await paid()
    t.equal((await service.post(`/v1/wallets/${wallet}/close`, { reason: 'gone' }, { key: service.adminKey })).status, 200)
    const event = about(intent)
    await send(billing, event)
    await billing.workedOff()
    t.match(await rowOf(billing, event), { status: 'parked', reason: /closed before its order was paid/ })
  })
  t.match(await service.get('/v1/admin/payment-events', { key: service.adminKey }), { status: 200 })
  t.same(await service.unsound(), [])
})

t.test('events are listed newest first, page by page', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const events = Array.from({ length: 5 }, () => eventOf('customer.created', { object: 'customer', id: 'cus_1' }))
  for (const event of events) await send(billing, event)
  // Two that came in the same instant have an order as well.
  await service.query('update provider_events set received_at = (select max(received_at) from provider_events) where id = $1', [
    events[3].id,
  ])
  const seen: string[] = []
  for (let cursor = ''; ; ) {
    const page = await service.get(`/v1/admin/payment-events?limit=2${cursor}`, { key: service.adminKey })
    t.equal(page.status, 200)
    seen.push(...page.body.data.map(({ id }: { id: string }) => id))
    if (page.body.next_cursor === null) break
    cursor = `&cursor=${page.body.next_cursor}`
  }
  t.same(seen, events.map(({ id }) => id).toReversed())
})

t.test('while Stripe does not answer, events wait and are tried again, later each time, and none is lost', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay } = billing
  const wallet = await service.wallet()
  const intent = pay(await buy(wallet))
  const event = about(intent)
  /** As if it had come to a process that did not get further. */
  const receive = (id: string) =>
    service.rooms.billing.inbox.receive({
      ...{ provider: 'stripe', id, type: 'charge.refunded', subject: intent, payload: '{}', livemode: false },
      occurredAt: new Date(),
    })
  const due = () => service.query(`update provider_events set next_attempt_at = clock_timestamp() where status = 'received'`)

  for (const how of ['error500', 'error429', 'drop', 'error409'] as const) {
    const fault = stripe.controls.fail({ match: { method: 'GET', path: /payment_intents/ }, how })
    t.equal((await send(billing, event)).status, 200, 'it is taken all the same')
    await due()
    await service.rooms.billing.processEvents()
    t.match(await rowOf(billing, event), { status: 'received', reason: /payment_provider_unavailable/, done: false }, how)
    t.ok(fault.hits > 0)
    fault.stop()
  }
  t.equal(await balanceOf(billing, wallet), '0')

  await t.test('each wait is twice as long, up to an hour', async (t) => {
    const fault = stripe.controls.fail({ match: { method: 'GET', path: /payment_intents/ }, how: 'error500', shouldRetry: false })
    for (const [before, most] of [
      [0, 1],
      [1, 2],
      [4, 16],
      [10, 1_024],
      [30, 3_600],
      [58, 3_600],
    ] as const) {
      await service.query('update provider_events set attempts = $1, next_attempt_at = clock_timestamp()', [before])
      await service.rooms.billing.processEvents()
      const { attempts, wait, status } = await rowOf(billing, event)
      t.equal(status, 'received')
      t.equal(attempts, before + 1)
      t.ok(wait > most * 0.4 - 0.5 && wait <= most, `after ${attempts} attempts ${wait.toFixed(2)} s, at most ${most}`)
    }
    await service.rooms.billing.processEvents()
    t.match(await rowOf(billing, event), { attempts: 59 }, 'nothing is tried before its time')
    await due()
    await service.rooms.billing.processEvents()
    t.match(
      await rowOf(billing, event),
      { status: 'parked', attempts: 60, reason: /payment_provider_unavailable/ },
      'in the end a person looks',
    )
    const lines = service
      .logText()
      .split('\n')
      .filter((line) => line.includes('could not be worked off'))
    t.ok(lines.some((line) => line.includes(event.id)))
    // Whoever asks again has all attempts before them.
    await service.post(`/v1/admin/payment-events/${event.id}/retry`, undefined, { key: service.adminKey })
    await billing.service.rooms.billing.processEvents()
    t.match(await rowOf(billing, event), { status: 'received', attempts: 1 })
    fault.stop()
  })
  await due()
  await billing.workedOff()
  t.match(await rowOf(billing, event), { status: 'processed', reason: null })
  t.equal(await balanceOf(billing, wallet), '5500')

  await t.test('a key that Stripe does not accept keeps events waiting', async (t) => {
    const stranger = await service.another({ env: { ...billing.env, STRIPE_SECRET_KEY: 'sk_test_wrong' } })
    await receive('evt_of_a_stranger')
    await stranger.rooms.billing.processEvents()
    t.match(await rowOf(billing, { id: 'evt_of_a_stranger' }), { status: 'received', reason: /payments_not_configured/, attempts: 1 })
  })

  await t.test('what a process took with it when it died comes back after a minute', async (t) => {
    const { inbox } = service.rooms.billing
    await service.query('delete from provider_events')
    const lost = { id: 'evt_of_the_dead' }
    await receive(lost.id)
    t.equal((await inbox.claim(10, 60_000)).length, 1)
    t.equal((await inbox.claim(10, 60_000)).length, 0, 'nobody else gets it')
    const { wait } = await rowOf(billing, lost)
    t.ok(wait > 55 && wait <= 60, `for ${wait} s`)
    await due()
    t.match(await inbox.claim(10, 60_000), [{ id: lost.id, attempts: 2 }])
  })
  await t.test('of many who ask at once, each gets others, and all together get all', async (t) => {
    const second = await service.another()
    await service.query('delete from provider_events')
    const rounds = 10
    for (let round = 0; round < rounds; round += 1) {
      await service.query(
        `insert into provider_events (provider, id, type, subject, payload, livemode, status, next_attempt_at, occurred_at, received_at)
          select 'stripe', 'evt_' || $1 || '_' || n, 'charge.refunded', 'pi_1', '{}', false, 'received', clock_timestamp(), now(), now()
          from generate_series(1, 60) as n`,
        [round],
      )
      const claims = await Promise.all(
        Array.from({ length: 8 }, (_, n) => (n % 2 ? service : second).rooms.billing.inbox.claim(10, 60_000)),
      )
      const ids = [...claims.flat(), ...(await service.rooms.billing.inbox.claim(60, 60_000))].map(({ id }) => id)
      t.equal(ids.length, 60)
      t.equal(new Set(ids).size, 60)
    }
  })
  t.same(await service.unsound(), [])
})

t.test('the end of a page that nobody paid on ends its order, and only that', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, sessionOf, deliver } = billing
  const wallet = await service.wallet()
  const read = async (order: Body) => (await service.get(`/v1/payments/${order.id}`)).body
  const tell = async () => {
    for (const event of stripe.controls.events) t.equal(await deliver(event), 200)
    await billing.workedOff()
  }
  const left = await buy(wallet)
  stripe.controls.expireCheckout(sessionOf(left))
  await tell()
  t.match(await read(left), { status: 'failed', failure: 'nobody paid it', provider_payment_id: null })

  const declined = await buy(wallet)
  stripe.controls.payCheckout(sessionOf(declined), { card: 'declined' })
  await tell()
  t.match(await read(declined), { status: 'pending', failure: 'Your card was declined.', provider_payment_id: /^pi_/ })
  stripe.controls.expireCheckout(sessionOf(declined))
  await tell()
  t.match(await read(declined), { status: 'failed' })

  const delayed = await buy(wallet)
  stripe.controls.payCheckout(sessionOf(delayed), { card: 'delayed' })
  await tell()
  t.match(await read(delayed), { status: 'pending', provider_payment_id: /^pi_/ })
  t.equal(await balanceOf(billing, wallet), '0', 'nothing before the money is there')
  stripe.controls.settleDelayed(sessionOf(delayed), true)
  await tell()
  t.match(await read(delayed), { status: 'paid' })
  t.equal(await balanceOf(billing, wallet), '5500')

  const bounced = await buy(wallet)
  stripe.controls.payCheckout(sessionOf(bounced), { card: 'delayed' })
  stripe.controls.settleDelayed(sessionOf(bounced), false)
  await tell()
  t.match(await read(bounced), { status: 'failed', failure: 'The payment attempt failed.' }, 'no page leads there any more')

  // A page without an order of ours, and one of an order that has another page.
  const api = new Stripe(stripe.apiKey, { host: stripe.host, port: stripe.port, protocol: stripe.protocol })
  const page = (metadata: Record<string, string>) =>
    api.checkout.sessions.create({
      mode: 'payment',
      line_items: [{ quantity: 1, price_data: { currency: 'usd', unit_amount: 4500, product_data: { name: 'x' } } }],
      metadata,
      success_url: 'https://app.example.com/',
    })
  const current = await buy(wallet)
  const strange = [await page({}), await page({ farebox_payment: current.id })]
  for (const { id } of strange) stripe.controls.expireCheckout(id)
  await tell()
  t.match(await read(current), { status: 'pending' })
  t.equal(await balanceOf(billing, wallet), '5500')
  t.same(await service.unsound(), [])
})

t.test('what was done with long ago is removed, and what waits for somebody is kept', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const names = ['old', 'parked', 'fresh']
  for (const name of names) await send(billing, eventOf('customer.created', { object: 'customer', id: `cus_${name}` }))
  const ids = (await service.query<{ id: string }>('select id from provider_events order by received_at, id')).map(({ id }) => id)
  await service.query(`update provider_events set processed_at = now() - interval '91 days' where id = any($1)`, [ids.slice(0, 2)])
  await service.query(`update provider_events set status = 'parked', reason = 'x' where id = $1`, [ids[1]])
  t.equal(await service.rooms.billing.inbox.clearOld(), 1)
  t.equal(await stored(billing), 2)
})

t.test('events of the other mode are for a person: somebody set an endpoint up wrongly', async (t) => {
  const billing = await createBilling(t)
  const { service, buy, pay } = billing
  const wallet = await service.wallet()
  const event = { ...about(pay(await buy(wallet))), livemode: true }
  t.equal((await send(billing, event)).status, 200)
  await billing.workedOff()
  t.match(await rowOf(billing, event), { status: 'parked', reason: /real money, and the key is for tests/ })
  t.equal(await balanceOf(billing, wallet), '0')
})

t.test('nobody has to look any more once it fits, or all of its money went back', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay } = billing
  const parkedNow = async () => (await service.get('/v1/admin/payment-events?status=parked', { key: service.adminKey })).body.data.length
  const wallet = await service.wallet()
  const order = await buy(wallet)
  const intent = pay(order)
  await service.query('update payments set amount = amount + 1 where id = $1', [order.id.slice(4)])
  for (const type of ['payment_intent.succeeded', 'charge.refunded']) {
    t.equal((await send(billing, about(intent, type))).status, 200)
    await billing.workedOff()
  }
  t.equal(await parkedNow(), 2)
  await service.query('update payments set amount = amount - 1 where id = $1', [order.id.slice(4)])
  await send(billing, about(intent))
  await billing.workedOff()
  t.equal(await balanceOf(billing, wallet), '5500')
  t.equal(await parkedNow(), 0, 'one that fits is enough')

  // Paid after its wallet was closed.
  const closed = await service.wallet()
  const late = await buy(closed)
  await service.made(`/v1/wallets/${closed}/close`, { reason: 'x' }, { key: service.adminKey }).catch(() => {})
  await service.query(`update wallets set status = 'closed' where id = $1`, [closed.slice(4)])
  const stray = pay(late)
  await send(billing, about(stray))
  await billing.workedOff()
  t.equal(await parkedNow(), 1)
  stripe.controls.refund(stray)
  await send(billing, about(stray, 'charge.refunded'))
  await billing.workedOff()
  t.equal(await parkedNow(), 0, 'the money went back where it came from')
})

t.test('what the reconciler finds waits where events do', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, buy, pay } = billing
  const window = [new Date(Date.now() - 3_600_000), new Date(Date.now() + 3_600_000)] as const
  const row = (intent: string) => rowOf(billing, { id: `reconcile_${intent}` })
  const wallet = await service.wallet()
  const [odd, unread] = [pay(await buy(wallet)), pay(await buy(wallet))]
  await service.query('update payments set amount = amount + 1 where checkout_id = $1', [
    stripe.controls.rows('sessions').find(({ payment_intent }) => payment_intent === odd)?.id,
  ])
  const fault = stripe.controls.fail({ match: { path: new RegExp(`payment_intents/${unread}`) }, how: 'error500', shouldRetry: false })
  const result = await service.rooms.billing.reconcile(...window)
  t.match(result, { repaired: [], disagreeing: [{ subject: odd }], failed: [{ subject: unread }] })
  t.match(await row(odd), { status: 'parked', reason: /ordered/ })
  t.match(await row(unread), { status: 'received', reason: /payment_provider_unavailable/ })
  fault.stop()
  await billing.workedOff()
  t.match(await row(unread), { status: 'processed' }, 'from there it is tried again')
  t.equal(await balanceOf(billing, wallet), '5500')
  const key = service.adminKey
  t.equal((await service.post(`/v1/admin/payment-events/reconcile_${odd}/dismiss`, { reason: 'known' }, { key })).status, 200)
  await service.rooms.billing.reconcile(...window)
  t.match(await row(odd), { status: 'dismissed' }, 'what somebody dismissed stays so')
  const silent = stripe.controls.fail({ match: { path: new RegExp(`payment_intents/${odd}`) }, how: 'error500', shouldRetry: false })
  await service.rooms.billing.reconcile(...window)
  t.match(await row(odd), { status: 'received' }, 'unless it cannot be read any more')
  await service.query(`update provider_events set attempts = 7, next_attempt_at = now() + interval '1 hour' where status = 'received'`)
  await service.rooms.billing.reconcile(...window)
  t.match(await row(odd), { attempts: 7, status: 'received' }, 'which goes on as it was')
  silent.stop()

  // An event of it that is parked says it already, and both are dismissed as one.
  await service.query('delete from provider_events')
  for (const type of ['payment_intent.succeeded', 'charge.refunded']) await send(billing, about(odd, type))
  await billing.workedOff()
  await service.rooms.billing.reconcile(...window)
  const { data } = (await service.get('/v1/admin/payment-events?status=parked', { key })).body
  t.same(
    data.map(({ type }: Body) => type),
    ['charge.refunded', 'payment_intent.succeeded'],
  )
  t.equal((await service.post(`/v1/admin/payment-events/${data[0].id}/dismiss`, { reason: 'known' }, { key })).status, 200)
  t.same((await service.get('/v1/admin/payment-events?status=parked', { key })).body.data, [])
})
