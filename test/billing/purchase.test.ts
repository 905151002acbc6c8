import t from 'tap'
import { createBilling } from '../helpers/billing.ts'

t.test('an order becomes credits once it is paid, and loses them as the money goes back', async (t) => {
  const { service, stripe, buy, pay, deliver, workedOff } = await createBilling(t)
  const wallet = await service.wallet('0.5')
  const balance = async () => (await service.get(`/v1/wallets/${wallet}/balance`)).body
  const order = await buy(wallet)
  t.match(order, { status: 'pending', amount: '45.00', currency: 'USD', credits: '5000', bonus: '500', livemode: false })
  t.match(order.checkout.url, /^https?:/)
  const intent = pay(order)
  t.equal((await balance()).balance, '0.5', 'nothing before anybody told')
  for (const event of stripe.controls.events) t.equal(await deliver(event), 200)
  await workedOff()
  t.equal((await balance()).balance, '5500.5')
  const paid = (await service.get(`/v1/payments/${order.id}`)).body
  t.match(paid, { status: 'paid', provider_payment_id: intent })
  for (const grant of (await service.get(`/v1/wallets/${wallet}/grants`)).body.data) {
    if (grant.source !== intent) continue
    const voided = await service.post(`/v1/grants/${grant.id}/void`, { reason: 'Test' }, { key: service.adminKey })
    t.match(voided, { status: 409, body: { code: 'grant_of_payment', payment_id: order.id } }, 'it would be taken back twice')
  }
  for (const event of stripe.controls.events) t.equal(await deliver(event), 200, 'again')
  await workedOff()
  t.equal((await balance()).balance, '5500.5')

  stripe.controls.refund(intent, 1500)
  for (const event of stripe.controls.events) await deliver(event)
  await workedOff()
  t.equal((await balance()).balance, '3667.166667', 'a third went back, rounded for the customer')
  t.match((await service.get(`/v1/payments/${order.id}`)).body, {
    status: 'partially_refunded',
    amount_refunded: '15.00',
    credits_reversed: '1833.333333',
  })
  stripe.controls.refund(intent)
  for (const event of stripe.controls.events) await deliver(event)
  await workedOff()
  t.equal((await balance()).balance, '0.5')
  t.same(await service.unsound(), [])
})
