import t, { type Test } from 'tap'
import { createBilling, type TestBilling } from '../helpers/billing.ts'
import type { Body } from '../helpers/service.ts'
import type { CardName } from '../helpers/stripe/index.ts'

const TOP_UP = { threshold: '100', package: 'basic', cap: { amount: '100', days: 30 } }

/** A wallet with so many credits and a saved card. */
async function walletWithCard({ service, stripe }: TestBilling, credits: string, card: CardName = 'good'): Promise<string> {
  const wallet = await service.wallet(credits)
  await service.made(`/v1/wallets/${wallet}/cards`, {})
  saveCard({ stripe }, wallet, card)
  return wallet
}

function saveCard({ stripe }: Pick<TestBilling, 'stripe'>, wallet: string, card: CardName): void {
  const customer = stripe.controls.rows('customers').find((one) => one.metadata.farebox_wallet === wallet)
  stripe.controls.saveCard(customer?.id ?? '', card)
}

const set = async ({ service }: TestBilling, wallet: string, body: object = TOP_UP): Promise<Body> => {
  const answer = await service.send('PUT', `/v1/wallets/${wallet}/top-up`, body)
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.body
}

const balanceOf = async ({ service }: TestBilling, wallet: string) => (await service.get(`/v1/wallets/${wallet}/balance`)).body.balance
const read = async ({ service }: TestBilling, wallet: string) => (await service.get(`/v1/wallets/${wallet}/top-up`)).body
/** Makes waiting events due: nobody waits an hour for the next attempt. */
const hurry = ({ service }: TestBilling) => service.query('update outbox set next_attempt_at = now() where published_at is null')
const attempts = ({ stripe }: TestBilling) =>
  stripe.controls.requests.filter(({ method, path }) => method === 'POST' && path === '/v1/payment_intents')

async function sound(t: Test, { service }: TestBilling): Promise<void> {
  t.same(await service.unsound(), [])
}

t.test('credits that run low buy themselves, once', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '150')
  t.match(await set(billing, wallet), { status: 'active', card: { label: 'visa 4242' }, cap: { spent: '0.00' } })
  await service.rooms.billing.runTopUps()
  t.equal(await balanceOf(billing, wallet), '150', 'nothing while there is enough')
  // A hold counts: what is held is not available.
  const hold = await service.made('/v1/reservations', { wallet, amount: '60' })
  await service.made(`/v1/reservations/${hold.id}/commit`, { amount: '10' })
  await Promise.all([service.rooms.billing.runTopUps(), service.rooms.billing.runTopUps()])
  t.equal(await balanceOf(billing, wallet), '140', 'it rose again before anybody looked')
  await service.made('/v1/charges', { wallet, amount: '45' })
  const other = await service.another()
  await Promise.all([service.rooms.billing.runTopUps(), other.rooms.billing.runTopUps(), service.rooms.billing.runTopUps()])
  t.equal(await balanceOf(billing, wallet), '5595')
  t.equal(attempts(billing).length, 1)
  t.match(await read(billing, wallet), { status: 'active', payment_in_flight: null, cap: { spent: '45.00' } })
  const { data } = (await service.get(`/v1/wallets/${wallet}/payments`)).body
  t.match(data, [{ status: 'paid', credits: '5000', bonus: '500' }])
  await sound(t, billing)
})

t.test('the cap of a period holds, and the next period begins anew', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50')
  await set(billing, wallet, { ...TOP_UP, threshold: '20000' })
  for (let i = 0; i < 5; i += 1) await service.rooms.billing.runTopUps()
  t.equal(attempts(billing).length, 2, 'two of 45 fit into 100')
  t.match(await read(billing, wallet), { status: 'capped', cap: { spent: '90.00' } })
  await service.query(`update top_ups set period_start = period_start - interval '31 days'`)
  for (let i = 0; i < 5; i += 1) await service.rooms.billing.runTopUps()
  t.equal(attempts(billing).length, 4)
  await sound(t, billing)
})

t.test('what was spent of a cap stays spent, whatever the cap becomes', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50')
  const settings = { ...TOP_UP, threshold: '20000' }
  await set(billing, wallet, settings)
  const run = async () => {
    for (let i = 0; i < 4; i += 1) await service.rooms.billing.runTopUps()
  }
  await run()
  t.equal(attempts(billing).length, 2)
  await set(billing, wallet, { ...settings, cap: { amount: '50', days: 30 } })
  await run()
  t.match(await read(billing, wallet), { status: 'capped', cap: { amount: '50.00', spent: '90.00' } })
  await set(billing, wallet, settings)
  await run()
  t.equal(attempts(billing).length, 2, 'lowered and raised again, it is no more than it was')
  await sound(t, billing)
})

t.test('a declining card is tried three times and no more, until there is another', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50', 'declined')
  await set(billing, wallet)
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'active', failures: 1, cap: { spent: '0.00' } })
  await service.rooms.billing.runTopUps()
  t.equal(attempts(billing).length, 1, 'not at once')
  for (let i = 0; i < 6; i += 1) {
    await hurry(billing)
    await service.rooms.billing.runTopUps()
  }
  t.equal(attempts(billing).length, 3)
  t.match(await read(billing, wallet), { status: 'stopped', stopped_reason: 'card_declined', failures: 3 })
  saveCard(billing, wallet, 'declined')
  t.match(await set(billing, wallet), { status: 'stopped' }, 'the same card, saved again')
  saveCard(billing, wallet, 'mastercard')
  t.match(await set(billing, wallet), { status: 'active', failures: 0 })
  await service.rooms.billing.runTopUps()
  t.equal(await balanceOf(billing, wallet), '5550')
  await sound(t, billing)
})

t.test('a card that wants its owner stops, and a page is opened on which the owner pays', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe } = billing
  const wallet = await walletWithCard(billing, '50', 'authenticateOffSession')
  await set(billing, wallet)
  await service.rooms.billing.runTopUps()
  const { action, ...stopped } = await read(billing, wallet)
  t.match(stopped, { status: 'stopped', stopped_reason: 'authentication_required', payment_in_flight: null })
  t.match(action.url, /^https?:/)
  const session = stripe.controls.rows('sessions').find((one) => one.metadata?.farebox_payment === action.payment_id)
  stripe.controls.payCheckout(session?.id ?? '')
  for (const event of stripe.controls.events) await billing.deliver(event)
  await billing.workedOff()
  t.equal(await balanceOf(billing, wallet), '5550')
  t.match(await read(billing, wallet), { status: 'active', action: null, failures: 0 })
  await sound(t, billing)
})

t.test('an attempt whose answer was lost goes on and charges once', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe } = billing
  const wallet = await walletWithCard(billing, '50')
  stripe.controls.fail({ match: { method: 'POST', path: /payment_intents$/ }, how: 'drop-after', times: 5 })
  await set(billing, wallet)
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'active', payment_in_flight: /^pay_/ })
  await hurry(billing)
  await service.rooms.billing.runTopUps()
  await hurry(billing)
  await service.rooms.billing.runTopUps()
  t.equal(await balanceOf(billing, wallet), '5550')
  t.equal(stripe.controls.rows('paymentIntents').length, 1)
  await sound(t, billing)
})

t.test('switching it off and on makes no other card of one that was declined', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50', 'declined')
  await set(billing, wallet)
  for (let i = 0; i < 4; i += 1) {
    await service.rooms.billing.runTopUps()
    await hurry(billing)
  }
  t.match(await set(billing, wallet, { ...TOP_UP, enabled: false }), { status: 'off', stopped_reason: null, failures: 3 })
  t.match(await set(billing, wallet), { status: 'stopped', stopped_reason: 'card_declined', failures: 3 })
  await service.rooms.billing.runTopUps()
  t.equal(attempts(billing).length, 3)
  await sound(t, billing)
})

t.test('a page that the owner let expire is asked for anew', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe } = billing
  const wallet = await walletWithCard(billing, '50', 'authenticateOffSession')
  await set(billing, wallet)
  await service.rooms.billing.runTopUps()
  const { action } = await read(billing, wallet)
  for (const enabled of [true, false, true]) await set(billing, wallet, { ...TOP_UP, enabled })
  t.match(await read(billing, wallet), { status: 'stopped', stopped_reason: 'authentication_required', action }, 'not while it is open')
  stripe.controls.expireCheckout(billing.sessionOf({ id: action.payment_id }))
  for (const event of stripe.controls.events) await billing.deliver(event)
  await billing.workedOff()
  t.match(await read(billing, wallet), { status: 'stopped', action: null })
  t.match(await set(billing, wallet), { status: 'active' })
  await service.rooms.billing.runTopUps()
  const after = await read(billing, wallet)
  t.match(after, { status: 'stopped', action: { url: /^http/ } })
  t.not(after.action.payment_id, action.payment_id)
  await sound(t, billing)
})

t.test('a frozen wallet buys nothing until it is unfrozen', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const admin = { key: service.adminKey }
  const wallet = await walletWithCard(billing, '150')
  await set(billing, wallet)
  const hold = await service.made('/v1/reservations', { wallet, amount: '60' })
  await service.made(`/v1/wallets/${wallet}/freeze`, { reason: 'x' }, admin)
  await service.made(`/v1/reservations/${hold.id}/commit`, { amount: '60' })
  await service.rooms.billing.runTopUps()
  t.equal(attempts(billing).length, 0)
  await service.made(`/v1/wallets/${wallet}/unfreeze`, { reason: 'x' }, admin)
  await service.rooms.billing.runTopUps()
  t.equal(await balanceOf(billing, wallet), '5590')
  await sound(t, billing)
})

t.test('what is set anew while an attempt is being priced is what it buys', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50')
  await set(billing, wallet)
  const { packages } = service.rooms.billing
  const { inForce } = packages
  let once = true
  t.intercept(packages, 'inForce', {
    async value(at: Date) {
      if (once) {
        once = false
        await set(billing, wallet, { ...TOP_UP, package: 'starter' })
      }
      return inForce(at)
    },
  })
  for (let i = 0; i < 2; i += 1) await service.rooms.billing.runTopUps()
  t.match((await service.get(`/v1/wallets/${wallet}/payments`)).body.data, [{ amount: '10.00', status: 'paid' }])
  t.equal(attempts(billing).length, 1)
  await sound(t, billing)
})

t.test('what cannot be set is refused', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await service.wallet('50')
  const put = async (body: object) => (await service.send('PUT', `/v1/wallets/${wallet}/top-up`, body)).body
  t.match(await put(TOP_UP), { code: 'card_not_found' })
  t.match(await put({ ...TOP_UP, cap: { amount: '10' } }), { code: 'amount_not_payable' })
  t.match(await put({ ...TOP_UP, package: 'gold' }), { code: 'package_not_sold' })
  t.match(await put({ ...TOP_UP, amount: '5', currency: 'USD' }), { code: 'invalid_request' })
  t.match(await service.get(`/v1/wallets/${wallet}/top-up`), { status: 404, body: { code: 'top_up_not_found' } })
})
