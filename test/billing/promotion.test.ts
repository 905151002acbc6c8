import t, { type Test } from 'tap'
import { createBilling, type TestBilling } from '../helpers/billing.ts'
import { type Body, times } from '../helpers/service.ts'

const admin = ({ service }: TestBilling, path: string, body: object): Promise<Body> =>
  service.made(`/v1/admin/${path}`, { reason: 'Test', ...body }, { key: service.adminKey })

async function paid(billing: TestBilling, order: Body): Promise<Body> {
  billing.pay(order)
  for (const event of billing.stripe.controls.events) await billing.deliver(event)
  await billing.workedOff()
  return (await billing.service.get(`/v1/payments/${order.id}`)).body
}

const balanceOf = async ({ service }: TestBilling, wallet: string) => (await service.get(`/v1/wallets/${wallet}/balance`)).body.balance
const grantsOf = async ({ service }: TestBilling, wallet: string) => (await service.get(`/v1/wallets/${wallet}/grants`)).body.data

async function sound(t: Test, { service }: TestBilling): Promise<void> {
  t.same(await service.unsound(), [])
}

t.test('large orders and first ones get more', async (t) => {
  const billing = await createBilling(t)
  const { service, buy } = billing
  const volume = { kind: 'volume', currency: 'USD' }
  await admin(billing, 'bonus-rules', { ...volume, rule: 'volume_50', from_amount: '50', percent: '5' })
  await admin(billing, 'bonus-rules', { ...volume, rule: 'volume_100', from_amount: '100', percent: '12.5' })
  await admin(billing, 'bonus-rules', { kind: 'first_purchase', currency: 'USD', rule: 'welcome', percent: '50', most_credits: '300' })
  t.equal((await service.get('/v1/bonus-rules')).body.data.length, 3)
  const wallet = await service.wallet()
  const order = await buy(wallet, { amount: '100', currency: 'USD' })
  t.match(order, { credits: '10000', bonus: '1250', first_purchase_bonus: '300' })
  const second = await buy(wallet, { amount: '50', currency: 'USD' })
  t.match(second, { credits: '5000', bonus: '250', first_purchase_bonus: '300' }, 'it may be paid first')
  t.match(await paid(billing, order), { bonus: '1550', credits_reversed: '0' })
  t.match(await paid(billing, second), { bonus: '250' })
  t.equal(await balanceOf(billing, wallet), '16800')
  await admin(billing, 'bonus-rules', { ...volume, rule: 'volume_100', from_amount: '100', percent: '12.5', enabled: false })
  t.match(await buy(wallet, { amount: '100', currency: 'USD' }), { bonus: '500' })
  await sound(t, billing)
})

t.test('a code gives its credits once to a wallet, as a grant of its own', async (t) => {
  const billing = await createBilling(t)
  const { service, buy, stripe } = billing
  await admin(billing, 'promotions', { code: 'Spring-26', percent: '10', grant_days: 30 })
  const wallet = await service.wallet()
  const first = await buy(wallet, { package: 'basic', promotion_code: 'SPRING-26' })
  t.match(first, { bonus: '1000', promotion: '500' })
  const second = await buy(wallet, { package: 'basic', promotion_code: 'spring-26' })
  t.match(second, { promotion: '500' }, 'not used yet')
  t.match(await paid(billing, second), { bonus: '1000', promotion: '500' })
  t.match(await paid(billing, first), { bonus: '500', promotion: '0' }, 'the other order was quicker')
  t.equal(await balanceOf(billing, wallet), '11500')
  const [grant, ...others] = (await grantsOf(billing, wallet)).filter((one: Body) => one.kind === 'promotion')
  t.match(grant, { amount: '500', expires_at: /^20/ })
  t.same(others, [])
  t.match(await service.post('/v1/purchases', { wallet, package: 'basic', promotion_code: 'SPRING-26' }), {
    status: 409,
    body: { code: 'promotion_used' },
  })
  t.match(await service.post('/v1/purchases', { wallet, package: 'basic', promotion_code: 'AUTUMN' }), {
    status: 404,
    body: { code: 'promotion_not_found' },
  })

  const intent = (await service.get(`/v1/payments/${second.id}`)).body.provider_payment_id
  stripe.controls.refund(intent)
  for (const event of stripe.controls.events) await billing.deliver(event)
  await billing.workedOff()
  t.equal(await balanceOf(billing, wallet), '5500', 'what a promotion gave goes back with the money')
  await sound(t, billing)
})

t.test('codes for the first purchase are for one, however many orders were placed with them', async (t) => {
  const billing = await createBilling(t)
  const { service, buy } = billing
  for (const code of ['FIRST', 'WELCOME']) await admin(billing, 'promotions', { code, credits: '100', first_purchase_only: true })
  await admin(billing, 'promotions', { code: 'ALWAYS', credits: '7' })
  const wallet = await service.wallet()
  const orders = []
  for (const code of ['FIRST', 'WELCOME', 'ALWAYS']) orders.push(await buy(wallet, { package: 'basic', promotion_code: code }))
  const [first, second, third] = orders as [Body, Body, Body]
  t.match(await paid(billing, second), { bonus: '600', promotion: '100' })
  t.match(await paid(billing, first), { bonus: '500', promotion: '0' }, 'another order was the first')
  t.match(await paid(billing, third), { bonus: '507', promotion: '7' })
  t.equal(await balanceOf(billing, wallet), '16607')
  const used = (await service.get('/v1/admin/promotions', { key: service.adminKey })).body.data
  t.match(used, [
    { code: 'ALWAYS', redeemed: 1 },
    { code: 'WELCOME', redeemed: 1 },
    { code: 'FIRST', redeemed: 0 },
  ])
  await sound(t, billing)
})

t.test('a code by itself is redeemed once, whoever hurries', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const { id } = await admin(billing, 'promotions', { code: 'HELLO', credits: '25', needs_purchase: false, most_redemptions: 3 })
  const wallet = await service.wallet()
  const once = await Promise.all(times(10, () => service.post('/v1/redemptions', { wallet, code: 'hello' })))
  t.same(once.map(({ status }) => status).sort(), [201, ...times(9, () => 409)])
  const same = await Promise.all(times(5, () => service.post('/v1/redemptions', { wallet, code: 'hello' }, { idempotencyKey: 'again' })))
  t.same(new Set(same.map(({ status }) => status)), new Set([409]))
  t.equal(await balanceOf(billing, wallet), '25')
  const others = await Promise.all(times(6, () => service.wallet()))
  const answers = await Promise.all(others.map((other) => service.post('/v1/redemptions', { wallet: other, code: 'HELLO' })))
  t.equal(answers.filter(({ status }) => status === 201).length, 2, 'three places, one taken')
  t.match(answers.find(({ status }) => status !== 201)?.body, { code: 'promotion_ended' })
  t.match((await service.get('/v1/admin/promotions', { key: service.adminKey })).body.data, [
    { code: 'HELLO', redeemed: 3, created_by: /^admin:key:/ },
  ])
  await admin(billing, `promotions/${id}/end`, {}).catch(() => {})
  await sound(t, billing)
})

t.test('a redemption that is repeated is the same one', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  await admin(billing, 'promotions', { code: 'HELLO', credits: '25', needs_purchase: false })
  const wallet = await service.wallet()
  const send = () => service.post('/v1/redemptions', { wallet, code: 'HELLO' }, { idempotencyKey: 'mine' })
  const first = await send()
  const second = await send()
  t.equal(first.status, 201)
  t.equal(second.text, first.text)
  t.equal(second.headers['idempotent-replayed'], 'true')
  t.equal(await balanceOf(billing, wallet), '25')
  await sound(t, billing)
})

t.test('codes are refused where they do not apply', async (t) => {
  const billing = await createBilling(t)
  const { service, buy } = billing
  await admin(billing, 'promotions', { code: 'FIRST', credits: '100', first_purchase_only: true })
  await admin(billing, 'promotions', { code: 'LATER', credits: '100', starts_at: '2100-01-01T00:00:00Z' })
  const { id } = await admin(billing, 'promotions', { code: 'OVER', credits: '100' })
  await service.post(`/v1/admin/promotions/${id}/end`, { reason: 'Test' }, { key: service.adminKey })
  const wallet = await service.wallet()
  const refused = async (path: string, body: object) => {
    const send = () => service.post(path, { wallet, ...body }, { idempotencyKey: JSON.stringify([path, body]) })
    const [once, again] = [await send(), await send()]
    const { code, detail, errors } = once.body
    t.same(errors, [{ pointer: path === '/v1/redemptions' ? '/code' : '/promotion_code', message: detail.slice(0, -1) }])
    t.equal(again.text, once.text, 'and so it is when it is repeated')
    return code
  }
  t.equal(await refused('/v1/purchases', { package: 'basic', promotion_code: 'LATER' }), 'promotion_not_found')
  t.equal(await refused('/v1/purchases', { package: 'basic', promotion_code: 'OVER' }), 'promotion_ended')
  t.equal(await refused('/v1/redemptions', { code: 'FIRST' }), 'promotion_not_applicable')
  await paid(billing, await buy(wallet))
  t.equal(await refused('/v1/purchases', { package: 'basic', promotion_code: 'FIRST' }), 'promotion_not_applicable')
  t.equal(
    (await service.post('/v1/admin/promotions', { code: 'over', credits: '1', reason: 'x' }, { key: service.adminKey })).body.code,
    'promotion_exists',
  )
  await sound(t, billing)
})
