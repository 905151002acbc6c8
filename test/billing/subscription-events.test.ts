import t, { type Test } from 'tap'
import { syncSubscription } from '../../src/billing/subscription/sync-subscription.ts'
import type { TestBilling } from '../helpers/billing.ts'
import type { Body } from '../helpers/service.ts'
import { askStripe, createSubscribing } from '../helpers/subscribing.ts'

/** What Stripe tells of subscriptions, in whatever order and number, and what becomes of their money. */

async function sound(t: Test, { service }: TestBilling): Promise<void> {
  t.same(await service.unsound(), [])
}

t.test('events in any order, repeated or lost, come to the same', async (t) => {
  for (const seed of [1, 2]) {
    const billing = await createSubscribing(t)
    const { service, stripe, balance } = billing
    const random = mulberry(seed)
    const other = await service.another({ env: billing.env })
    const wallets = [await service.wallet(), await service.wallet(), await service.wallet()]
    const objects = new Map<string, string>()
    for (const wallet of wallets) objects.set(wallet, billing.payPage(await billing.begin(wallet)))
    for (const objectId of objects.values()) {
      stripe.controls.advanceSubscription(objectId)
      stripe.controls.advanceSubscription(objectId)
    }
    const sent = stripe.controls.events.filter(() => random() >= 0.05).flatMap((event) => Array(1 + Math.floor(random() * 5)).fill(event))
    const shuffled = sent.map((event) => ({ event, at: random() })).sort((a, b) => a.at - b.at)
    for (let i = 0; i < shuffled.length; i += 8) {
      const some = shuffled.slice(i, i + 8)
      await Promise.all(some.map(({ event }, n) => billing.deliver(event, n % 2 === 0 ? service : other)))
    }
    await Promise.all([billing.workedOff(), billing.workedOff(other)])
    await service.rooms.billing.reconcile(new Date(Date.now() - 3_600_000), new Date(Date.now() + 3_600_000))
    for (const wallet of wallets) {
      t.equal(await balance(wallet), '1200', 'three periods, and what may go over')
      t.match(await billing.read(wallet), { status: 'active', provider_subscription_id: objects.get(wallet) })
      const { data } = (await service.get(`/v1/wallets/${wallet}/payments`)).body
      t.equal(data.length, 3)
      t.equal(new Set(data.map((payment: Body) => payment.provider_invoice_id)).size, 3)
    }
    const parked = await service.query(`select type, reason from provider_events where status = 'parked'`)
    t.same(parked, [])
    const again = await service.rooms.billing.reconcile(new Date(Date.now() - 3_600_000), new Date(Date.now() + 3_600_000))
    t.match(again, { repaired: [], disagreeing: [], failed: [] })
    await sound(t, billing)
    await service.close()
  }
})

t.test('an old invoice that is learned of late fills up what may go over', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe, balance } = billing
  const wallet = await service.wallet()
  const objectId = billing.payPage(await billing.begin(wallet))
  stripe.controls.advanceSubscription(objectId)
  stripe.controls.advanceSubscription(objectId)
  const invoices = stripe.controls.rows('invoices').map(({ id }) => id)
  const sync = (id: string | undefined) => service.rooms.billing.sync(id ?? '', 'test')
  await sync(invoices[2])
  t.equal(await balance(wallet), '1000')
  await sync(invoices[0])
  t.equal(await balance(wallet), '1200')
  await sync(invoices[1])
  t.equal(await balance(wallet), '1200')
  t.match(await billing.read(wallet), { status: 'pending', provider_subscription_id: objectId }, 'its own state was not told yet')
  await sync(objectId)
  t.match(await billing.read(wallet), { status: 'active', credits_rolled_over: '200' })
  await sound(t, billing)
})

t.test('invoices of periods that are over buy as much in any order, whatever may go over', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe, balance } = billing
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ]
  // The last period goes on in the one case, and is over like the others in the other.
  for (const days of [70, 100]) {
    stripe.controls.clock.advance(-days * 86_400 - stripe.controls.clock.offsetSeconds)
    for (const order of orders) {
      const wallet = await service.wallet()
      const objectId = billing.payPage(await billing.begin(wallet))
      const invoices = [stripe.controls.rows('invoices').at(-1)?.id]
      for (let n = 1; n < 3; n += 1) invoices.push(stripe.controls.advanceSubscription(objectId)?.id)
      for (const n of order) {
        const before = Number(await balance(wallet))
        await service.rooms.billing.sync(invoices[n] ?? '', 'test')
        t.equal(Number(await balance(wallet)), before + 1000, 'what was paid for is there')
      }
      await service.rooms.billing.sync(objectId, 'test')
      await service.sweep()
      t.equal(await balance(wallet), '3000', order.join())
      const { credited_until: until, period_end: end, credits_rolled_over: over } = await billing.read(wallet)
      t.same({ until, over }, { until: end, over: '0' })
      const { data: grants } = (await service.get(`/v1/wallets/${wallet}/grants`)).body
      for (const { expires_at: at } of grants) t.ok(Date.parse(at) > Date.now() + 3 * 86_400_000 - 60_000, at)
      await service.made('/v1/charges', { wallet, amount: '3000' })
    }
  }
  await sound(t, billing)
})

t.test('credits of the last days of a period are not ended by the next', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe, balance } = billing
  // A day and a little is left of the first period.
  stripe.controls.clock.advance(-29 * 86_400)
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet)
  await billing.renew(objectId)
  t.equal(await balance(wallet), '2000')
  t.match(await billing.read(wallet), { credits_rolled_over: '0' })
  await billing.renew(objectId)
  t.equal(await balance(wallet), '2200', 'what came in time goes over')
  await sound(t, billing)
})

t.test('one invoice is one grant, whoever reads it and however often', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe, balance } = billing
  const other = await service.another({ env: billing.env })
  const wallet = await service.wallet()
  billing.payPage(await billing.begin(wallet))
  const [invoice] = stripe.controls.rows('invoices')
  const [intent] = stripe.controls.rows('paymentIntents')
  const subjects = [invoice?.id, intent?.id, invoice?.id, intent?.id].map(String)
  await Promise.all([service, other].flatMap((app) => subjects.map((subject) => app.rooms.billing.sync(subject, 'test'))))
  t.equal(await balance(wallet), '1000')
  t.equal((await service.get(`/v1/wallets/${wallet}/payments`)).body.data.length, 1)
  await sound(t, billing)
})

t.test('money that goes back takes its credits along, also when that is heard of first', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe, balance } = billing
  const wallet = await service.wallet()
  billing.payPage(await billing.begin(wallet))
  const intent = String(stripe.controls.rows('paymentIntents')[0]?.id)
  stripe.controls.refund(intent, 1000)
  const refund = stripe.controls.events.find(({ type }) => type === 'charge.refunded')
  await billing.deliver(refund ?? { id: '' })
  await billing.workedOff()
  t.equal(await balance(wallet), '666.666667')
  await billing.told()
  t.equal(await balance(wallet), '666.666667')

  const [payment] = (await service.get(`/v1/wallets/${wallet}/payments`)).body.data
  t.match(payment, { status: 'partially_refunded', amount_refunded: '10.00', provider_payment_id: intent })
  const answer = await service.post(`/v1/admin/payments/${payment.id}/refund`, { reason: 'a test' }, { key: service.adminKey })
  t.match(answer, { status: 200, body: { amount: '20.00', payment: { status: 'refunded', credits_reversed: '1000' } } })
  t.equal(await balance(wallet), '0')
  await sound(t, billing)
})

t.test('a dispute takes the credits of its period, and gives them back when it is won', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe, balance } = billing
  const wallet = await service.wallet()
  await billing.subscribed(wallet)
  const dispute = stripe.controls.openDispute(String(stripe.controls.rows('paymentIntents')[0]?.id))
  stripe.controls.withdrawFunds(dispute.id)
  await billing.told()
  t.equal(await balance(wallet), '0')
  stripe.controls.winDispute(dispute.id)
  await billing.told()
  t.equal(await balance(wallet), '1000')
  await sound(t, billing)
})

t.test('an invoice that costs nothing brings its credits all the same', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe, balance } = billing
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet, 'pro')
  // Stripe's own console: down at once, what is left of the month becomes credit there, and pays the next two.
  const subscription = stripe.controls.rows('subscriptions')[0]
  const { openPrice } = service.rooms.billing.gateway?.subscriptions ?? {}
  const basic = await service.rooms.billing.plans.inForce(new Date()).then((plans) => plans.find(({ plan }) => plan === 'basic'))
  if (!basic || !openPrice) throw new Error('no plan')
  const made = await openPrice(basic)
  await service.rooms.billing.plans.keepPrice(basic.id, 'stripe', false, made)
  await askStripe(billing, `/v1/subscriptions/${objectId}`, {
    'items[0][id]': subscription?.items.data[0]?.id ?? '',
    'items[0][price]': made.priceId,
    proration_behavior: 'always_invoice',
  })
  await billing.told()
  t.equal(await balance(wallet), '4000', 'nothing is taken')
  await billing.renew(objectId)
  t.equal(await balance(wallet), '1200')
  const [payment] = (await service.get(`/v1/wallets/${wallet}/payments`)).body.data
  t.match(payment, { amount: '0.00', credits: '1000', status: 'paid', provider_payment_id: null })
  const { invoice_id: invoiceId } = (await service.query(`select invoice_id from payments where amount = 0`))[0]
  t.match(await service.rooms.billing.sync(invoiceId, 'again'), { outcome: 'applied', changed: false })
  const refund = await service.post(`/v1/admin/payments/${payment.id}/refund`, { reason: 'a test' }, { key: service.adminKey })
  t.match(refund.body, { code: 'payment_not_paid' })
  await sound(t, billing)
})

t.test('money for what is no plan waits for a person', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe, balance } = billing
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet)
  const [subscription] = stripe.controls.rows('subscriptions')
  const item = subscription?.items.data[0]
  // Stripe's own console: to a price that was made there.
  const product = String(item?.price.product)
  await askStripe(billing, '/v1/prices', { product, currency: 'usd', unit_amount: '2000', 'recurring[interval]': 'month' })
  const price = stripe.controls.rows('prices').at(-1)?.id ?? ''
  await askStripe(billing, `/v1/subscriptions/${objectId}`, {
    'items[0][id]': item?.id ?? '',
    'items[0][price]': price,
    proration_behavior: 'none',
  })
  await billing.renew(objectId)
  t.equal(await balance(wallet), '1000')
  const parked = await service.query(`select type, reason from provider_events where status = 'parked' order by type`)
  t.match(parked[0], { type: 'invoice.paid', reason: /money for nothing/ })
  const found = await service.rooms.billing.reconcile(new Date(Date.now() - 3_600_000), new Date(Date.now() + 40 * 86_400_000))
  t.match(found.disagreeing, [{ reason: /money for nothing/ }], 'and is told of again')
  const intent = stripe.controls.rows('paymentIntents').at(-1)?.id ?? ''
  stripe.controls.refund(intent)
  await billing.told()
  t.same(await service.query(`select id, reason from provider_events where status = 'parked'`), [], 'until all of it was given back')
  await sound(t, billing)
})

t.test('a page that was paid on after it had given way goes first', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe, balance } = billing
  const wallet = await service.wallet()
  const first = await billing.begin(wallet)
  // The customer pays at the very moment in which the other page is opened.
  const fault = stripe.controls.fail({ match: { method: 'POST', path: /expire$/ }, how: 'error500', shouldRetry: false })
  const path = `/v1/wallets/${wallet}/subscription`
  t.equal((await service.post(path, { plan: 'pro' }, { idempotencyKey: 'two' })).status, 503)
  fault.stop()
  const objectId = billing.payPage(first)
  const second = (await service.post(path, { plan: 'pro' }, { idempotencyKey: 'two' })).body
  t.match(second.checkout.url, /^https:/)
  await billing.told()
  t.match(await billing.read(wallet), { id: first.id, status: 'active', provider_subscription_id: objectId })
  t.equal(await balance(wallet), '1000')
  const open = stripe.controls.rows('sessions').filter(({ status }) => status === 'open')
  t.same(open, [], 'nobody can subscribe a second time')
  await sound(t, billing)
})

t.test('of two that were paid on, a person ends one; both bring what was paid for', async (t) => {
  const billing = await createSubscribing(t)
  const { service, stripe, balance } = billing
  const wallet = await service.wallet()
  const first = await billing.begin(wallet)
  // Both pages are open at once, as when closing the one and paying on it cross.
  const [page] = stripe.controls.rows('sessions')
  await service.query(`update subscriptions set status = 'expired', ended_at = now()`)
  const fault = stripe.controls.fail({ match: { method: 'GET', path: /sessions\?/ }, how: 'delay', delayMs: 300 })
  const [second] = await Promise.all([
    billing.begin(wallet, 'pro'),
    Promise.resolve().then(() => stripe.controls.payCheckout(page?.id ?? '')),
  ])
  fault.stop()
  billing.payPage(second)
  await billing.told()
  t.equal(await balance(wallet), '5000')
  const events = await service.query(`select distinct reason from provider_events where status = 'parked'`)
  t.match(events, [{ reason: /another subscription/ }])
  // The second is ended in Stripe's own console; its credits end with the period that was paid for.
  const live = await billing.read(wallet)
  const twin = stripe.controls.rows('subscriptions').find(({ id }) => id !== live.provider_subscription_id)
  await askStripe(billing, `/v1/subscriptions/${twin?.id}`, {}, 'DELETE')
  await billing.told()
  t.match(await billing.read(wallet), { id: live.id, status: 'active' })
  const { data: grants } = (await service.get(`/v1/wallets/${wallet}/grants`)).body
  const ends = grants.map((grant: Body) => Date.parse(grant.expires_at) - Date.parse(live.period_end)).sort()
  t.ok(Math.abs(ends[0]) < 60_000 && ends[1] - ends[0] > 2 * 86_400_000, String(ends))
  t.match(await billing.read(wallet), { status: 'active' })
  t.match(first.status, 'pending')
  await sound(t, billing)
})

t.test('a book in which a period was credited twice, or took over what was not left, is not sound', async (t) => {
  const billing = await createSubscribing(t)
  const { service } = billing
  const wallet = await service.wallet()
  await billing.renew(await billing.subscribed(wallet))
  await sound(t, billing)
  for (const mutant of [
    `update grants set kind = 'purchase' where kind = 'rollover'`,
    `update grants set source = null where kind = 'rollover'`,
    `update grants set reference = null where id = (select grant_id from payments limit 1)`,
    `update payments set grant_id = gen_random_uuid() where id = (select id from payments limit 1)`,
    `update payments set credits = credits + 1 where id = (select id from payments limit 1)`,
  ]) {
    const before = await service.query('select to_jsonb(g) as g from grants g')
    const payments = await service.query('select id, grant_id, credits from payments')
    await service.query(mutant)
    t.match(await service.unsound(), [/^I15/], mutant)
    for (const { g } of before)
      await service.query('update grants set kind = $2, source = $3, reference = $4 where id = $1', [g.id, g.kind, g.source, g.reference])
    for (const p of payments)
      await service.query('update payments set grant_id = $2, credits = $3 where id = $1', [p.id, p.grant_id, p.credits])
  }
  await sound(t, billing)
})

t.test('of two readings the one that began later counts', async (t) => {
  const billing = await createSubscribing(t)
  const { service } = billing
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet)
  const { rooms } = service
  const { gateway, orders, plans, subscriptions } = rooms.billing
  if (!gateway?.subscriptions) throw new Error('no gateway')
  const before = await gateway.subscriptions.readSubscription(objectId)
  // It began before the end, and is slow.
  const slow = { ...gateway, subscriptions: { ...gateway.subscriptions, readSubscription: async () => before } }
  const read = await orders.nextRead()
  await billing.act(wallet, 'cancel', { at_period_end: false })
  const ports = { gateway: slow, lane: rooms.lane, orders: { nextRead: async () => read }, plans, subscriptions }
  t.match(await syncSubscription(ports, objectId, 'test'), { outcome: 'applied', changed: false })
  t.match(await billing.read(wallet), { status: 'canceled' })
  await sound(t, billing)
})

/** Mulberry32: small, and the same everywhere. */
function mulberry(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
