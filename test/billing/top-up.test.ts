import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Gateway } from '../../src/billing/gateway.ts'
import { addDecline, failuresOf } from '../../src/billing/top-up/decline.ts'
import type { TopUpPorts } from '../../src/billing/top-up/ports.ts'
import { runTopUps } from '../../src/billing/top-up/run-top-ups.ts'
import { fail } from '../../src/kernel/errors.ts'
import { createBilling, type TestBilling } from '../helpers/billing.ts'
import type { Body } from '../helpers/service.ts'
import { openSocket } from '../helpers/socket.ts'
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
const patch = async ({ service }: TestBilling, wallet: string, enabled: boolean): Promise<Body> => {
  const answer = await service.send('PATCH', `/v1/wallets/${wallet}/top-up`, { enabled })
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.body
}
/** Makes waiting events due. */
const due = ({ service }: TestBilling) => service.query('update outbox set next_attempt_at = now() where published_at is null')
/** Lets the hours pass for which a declined card is left alone. */
const rest = ({ service }: TestBilling) =>
  service.query(`update top_ups set declines = (
    select json_agg(json_build_object('fingerprint', d ->> 'fingerprint', 'failures', (d -> 'failures')::text::int, 'at', (d -> 'at')::text::bigint - 10800000))
    from json_array_elements(declines) as d
  ) where json_array_length(declines) > 0`)
/** Both: nobody waits an hour for the next attempt. */
const hurry = async (billing: TestBilling) => {
  await rest(billing)
  await due(billing)
}
/** Makes the order of an attempt older. */
const age = ({ service }: TestBilling, interval: string) =>
  service.query(`update payments set created_at = created_at - $1::interval where status = 'pending'`, [interval])
const told = async (billing: TestBilling) => {
  for (const event of [...billing.stripe.controls.events]) await billing.deliver(event)
  await billing.workedOff()
}
/** Asks Stripe for something, as somebody else. */
async function atStripe({ stripe }: TestBilling, path: string, form: Record<string, string> = {}): Promise<Body> {
  const headers = { authorization: `Bearer ${stripe.apiKey}` }
  const answer = await fetch(`${stripe.url}/v1/${path}`, { method: 'POST', headers, body: new URLSearchParams(form) })
  return answer.json() as Promise<Body>
}
function gatewayOf({ service }: TestBilling): Gateway {
  const { gateway } = service.rooms.billing
  if (!gateway) throw new Error('no payment provider')
  return gateway
}
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
  const socket = await openSocket(t, (await service.listen()).port, { key: service.client.key })
  await socket.follow([wallet])
  await set(billing, wallet)
  await service.rooms.billing.runTopUps()
  const { action, ...stopped } = await read(billing, wallet)
  t.match(stopped, { status: 'stopped', stopped_reason: 'authentication_required', payment_in_flight: null })
  t.match(action.url, /^https?:/)
  const { params } = await socket.until(({ params }) => params.cause?.type === 'top_up_action')
  t.match(params, { wallet_id: wallet, balance: '50', cause: { id: action.payment_id } }, 'whoever follows the wallet is told')
  const session = stripe.controls.rows('sessions').find((one) => one.metadata?.farebox_payment === action.payment_id)
  stripe.controls.payCheckout(session?.id ?? '')
  const other = await service.another()
  for (const event of stripe.controls.events) await billing.deliver(event, other)
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

t.test('the same amount of another currency that is set meanwhile is bought in that one', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const rate = { currency: 'EUR', purpose: 'purchase', credits_per_unit: '120', reason: 'x' }
  await service.made('/v1/admin/exchange-rates', rate, { key: service.adminKey })
  const wallet = await walletWithCard(billing, '50')
  const settings = { threshold: '100', amount: '25.00', cap: { amount: '100', days: 30 } }
  await set(billing, wallet, { ...settings, currency: 'USD' })
  const { packages } = service.rooms.billing
  const { inForce } = packages
  let once = true
  t.intercept(packages, 'inForce', {
    async value(at: Date) {
      const onSale = await inForce(at)
      if (once) {
        once = false
        await set(billing, wallet, { ...settings, currency: 'EUR' })
      }
      return onSale
    },
  })
  for (let i = 0; i < 2; i += 1) await service.rooms.billing.runTopUps()
  t.match((await service.get(`/v1/wallets/${wallet}/payments`)).body.data, [{ amount: '25.00', currency: 'EUR', status: 'paid' }])
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

t.test('a charge that Stripe refuses is a declined one', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe } = billing
  const wallet = await walletWithCard(billing, '50')
  const { card } = await set(billing, wallet)
  await atStripe(billing, `payment_methods/${card.payment_method_id}/detach`)
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'active', failures: 1, payment_in_flight: null, cap: { spent: '0.00' } })
  t.match((await service.get(`/v1/wallets/${wallet}/payments`)).body.data, [
    { status: 'failed', failure: /does not have a payment method/ },
  ])
  for (let i = 0; i < 3; i += 1) {
    await hurry(billing)
    await service.rooms.billing.runTopUps()
  }
  t.match(await read(billing, wallet), { status: 'stopped', stopped_reason: 'card_declined' })
  t.equal(stripe.controls.rows('paymentIntents').length, 0)
  await sound(t, billing)
})

t.test('what a card did is remembered of that card', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50', 'declined')
  const a = (await set(billing, wallet)).card.payment_method_id
  await service.rooms.billing.runTopUps()
  saveCard(billing, wallet, 'insufficientFunds')
  const b = (await set(billing, wallet)).card.payment_method_id
  t.not(a, b)
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { failures: 1 })
  t.equal(attempts(billing).length, 2, 'the other card is tried at once')
  t.match(await set(billing, wallet, { ...TOP_UP, payment_method_id: a }), { failures: 1 }, 'the first one is still declined')

  // The hour is waited for, whatever happens meanwhile.
  await service.rooms.billing.runTopUps()
  await service.made('/v1/grants', { wallet, kind: 'bonus', amount: '100' })
  await service.made('/v1/charges', { wallet, amount: '100' })
  await service.rooms.billing.runTopUps()
  await due(billing)
  await service.rooms.billing.runTopUps()
  for (const enabled of [false, true]) await patch(billing, wallet, enabled)
  await service.rooms.billing.runTopUps()
  t.equal(attempts(billing).length, 2, 'not at once')
  await hurry(billing)
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { failures: 2 })
  await set(billing, wallet, { ...TOP_UP, payment_method_id: b })
  t.match(await set(billing, wallet, { ...TOP_UP, payment_method_id: a }), { failures: 2 })
  await hurry(billing)
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'stopped', stopped_reason: 'card_declined', failures: 3 })
  t.match(await set(billing, wallet, { ...TOP_UP, payment_method_id: b }), { status: 'active', failures: 1 })
  t.match(await set(billing, wallet, { ...TOP_UP, payment_method_id: a }), { status: 'stopped', failures: 3 })
  await sound(t, billing)
})

t.test('while a declined card is left alone, falling credits tell nobody', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50', 'declined')
  await set(billing, wallet)
  await service.rooms.billing.runTopUps()
  const waiting = async () => (await service.query('select id from outbox where published_at is null')).length
  t.equal(await waiting(), 1)
  for (let i = 0; i < 3; i += 1) {
    await service.made('/v1/grants', { wallet, kind: 'bonus', amount: '100' })
    await service.made('/v1/charges', { wallet, amount: '100' })
  }
  await service.made('/v1/grants', { wallet, kind: 'bonus', amount: '100' })
  t.equal(await waiting(), 1)

  // There is enough when the card may be tried again: it is tried when there is not.
  await hurry(billing)
  await service.rooms.billing.runTopUps()
  t.equal(await waiting(), 0)
  t.equal(attempts(billing).length, 1)
  await service.made('/v1/charges', { wallet, amount: '100' })
  await service.rooms.billing.runTopUps()
  t.equal(attempts(billing).length, 2)
  t.match(await read(billing, wallet), { status: 'active', failures: 2 })
  await sound(t, billing)
})

t.test('a card that is declined after another one was set counts against itself', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50', 'declined')
  await set(billing, wallet)
  const gateway = gatewayOf(billing)
  const { chargeCard } = gateway
  let once = true
  t.intercept(gateway, 'chargeCard', {
    async value(order: Parameters<Gateway['chargeCard']>[0]) {
      if (once) {
        once = false
        saveCard(billing, wallet, 'mastercard')
        await set(billing, wallet)
      }
      return chargeCard(order)
    },
  })
  await service.rooms.billing.runTopUps()
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'active', failures: 0, card: { label: 'mastercard 4444' } })
  t.equal(await balanceOf(billing, wallet), '5550', 'and the other one is tried at once')
  await sound(t, billing)
})

t.test('of the cards that were declined the last ten are remembered', async (t) => {
  let declines = addDecline([], 'a', 1)
  for (let i = 0; i < 9; i += 1) declines = addDecline(declines, `card ${i}`, 2)
  declines = addDecline(declines, 'a', 3)
  declines = addDecline(declines, 'b', 4)
  t.equal(declines.length, 10)
  t.same(
    ['a', 'b', 'card 0', 'card 1'].map((card) => failuresOf(declines, card, 5)),
    [2, 1, 0, 1],
  )
})

t.test('what is not the card’s doing rests it and never bars it, and a month forgives', async (t) => {
  const DAY = 86_400_000
  let declines = addDecline([], 'a', 1)
  for (let at = 2; at < 20; at += 1) declines = addDecline(declines, 'a', at, false)
  t.equal(failuresOf(declines, 'a', 20), 2)
  declines = addDecline(declines, 'a', 20)
  t.equal(failuresOf(declines, 'a', 21), 3)
  t.equal(failuresOf(addDecline(declines, 'a', 22, false), 'a', 23), 3, 'and takes nothing back')
  t.equal(failuresOf(declines, 'a', 19 + 30 * DAY), 3)
  t.equal(failuresOf(declines, 'a', 20 + 30 * DAY), 0)
})

t.test('a card that the provider does not know ends its attempts, and stops', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe } = billing
  const wallet = await walletWithCard(billing, '150')
  await set(billing, wallet)
  // As it is for an installation that goes live with what was set in a test.
  await service.query('delete from payment_customers')
  await service.made('/v1/charges', { wallet, amount: '100' })
  for (const failures of [1, 2, 3]) {
    await hurry(billing)
    await service.rooms.billing.runTopUps()
    t.match(await read(billing, wallet), { failures, payment_in_flight: null, cap: { spent: '0.00' } })
  }
  t.match(await read(billing, wallet), { status: 'stopped', stopped_reason: 'card_declined' })
  t.same(stripe.controls.rows('paymentIntents'), [])
  await sound(t, billing)
})

t.test('money of a top-up that goes back stops it until somebody sets it again', async (t) => {
  for (const takeBack of ['refund', 'dispute'] as const) {
    const billing = await createBilling(t)
    const { service, stripe } = billing
    const wallet = await walletWithCard(billing, '50')
    await set(billing, wallet)
    await service.rooms.billing.runTopUps()
    await told(billing)
    const [intent] = stripe.controls.rows('paymentIntents')
    const { controls } = stripe
    if (takeBack === 'refund') controls.refund(intent?.id ?? '')
    else controls.withdrawFunds(controls.openDispute(intent?.id ?? '').id)
    await told(billing)
    await service.rooms.billing.runTopUps()
    t.match(await read(billing, wallet), { status: 'stopped', stopped_reason: 'payment_reversed', failures: 0 }, takeBack)
    t.equal(await balanceOf(billing, wallet), '50')
    await service.made('/v1/charges', { wallet, amount: '1' })
    await service.rooms.billing.runTopUps()
    t.equal(attempts(billing).length, 1, 'the card is not charged again')
    if (takeBack === 'refund') t.match(await patch(billing, wallet, true), { status: 'active', stopped_reason: null })
    else t.match(await set(billing, wallet), { status: 'active', stopped_reason: null })
    await service.rooms.billing.runTopUps()
    t.equal(await balanceOf(billing, wallet), '5549')
    await sound(t, billing)
  }
})

t.test('a purchase that goes back does not stop a top-up, nor one that is switched off', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe } = billing
  const wallet = await walletWithCard(billing, '50')
  await set(billing, wallet)
  await service.rooms.billing.runTopUps()
  const bought = billing.pay(await billing.buy(wallet))
  await told(billing)
  stripe.controls.refund(bought)
  await told(billing)
  t.match(await read(billing, wallet), { status: 'active' })
  await patch(billing, wallet, false)
  stripe.controls.refund(stripe.controls.rows('paymentIntents')[0]?.id ?? '')
  await told(billing)
  t.match(await read(billing, wallet), { status: 'off', stopped_reason: null })
  await sound(t, billing)
})

t.test('an old attempt is looked for before it is sent again', async (t) => {
  const PATH = /payment_intents$/
  const begin = async (how: 'drop' | 'drop-after') => {
    const billing = await createBilling(t)
    const wallet = await walletWithCard(billing, '50')
    await set(billing, wallet)
    const fault = billing.stripe.controls.fail({ match: { method: 'POST', path: PATH }, how })
    await billing.service.rooms.billing.runTopUps()
    fault.stop()
    t.match(await read(billing, wallet), { payment_in_flight: /^pay_/, cap: { spent: '45.00' } })
    const sent = attempts(billing).length
    const run = async () => {
      await hurry(billing)
      await billing.service.rooms.billing.runTopUps()
    }
    return { billing, wallet, sent, run, admin: { key: billing.service.adminKey } }
  }

  await t.test('what Stripe made of it is found', async (t) => {
    const { billing, wallet, sent, run } = await begin('drop-after')
    await age(billing, '25 hours')
    await run()
    t.equal(await balanceOf(billing, wallet), '5550')
    t.equal(attempts(billing).length, sent, 'nothing was sent again')
    t.match(await read(billing, wallet), { status: 'active', payment_in_flight: null, cap: { spent: '45.00' } })
    await sound(t, billing)
  })
  await t.test('what Stripe has nothing of is sent again with its key', async (t) => {
    const { billing, wallet, sent, run } = await begin('drop')
    await age(billing, '10 minutes')
    await run()
    t.equal(await balanceOf(billing, wallet), '5550')
    t.equal(attempts(billing).length, sent + 1)
    t.equal(new Set(attempts(billing).map(({ idempotencyKey }) => idempotencyKey)).size, 1)
    await sound(t, billing)
  })
  await t.test('what Stripe has nothing of and may have forgotten the key of is given up, and another one begins', async (t) => {
    const { billing, wallet, run } = await begin('drop')
    await age(billing, '24 hours')
    await run()
    t.match(await read(billing, wallet), { status: 'active', failures: 0, payment_in_flight: null })
    await run()
    t.equal(await balanceOf(billing, wallet), '5550')
    t.equal(new Set(attempts(billing).map(({ idempotencyKey }) => idempotencyKey)).size, 2)
    t.match((await billing.service.get(`/v1/wallets/${wallet}/payments`)).body.data, [{ status: 'paid' }, { status: 'failed' }])
    await sound(t, billing)
  })
  await t.test('what was given up and is charged all the same counts for the cap', async (t) => {
    const { billing, wallet, run } = await begin('drop')
    await age(billing, '24 hours')
    await run()
    await run()
    const { data } = (await billing.service.get(`/v1/wallets/${wallet}/payments?status=failed`)).body
    const [customer] = billing.stripe.controls.rows('customers')
    const { card } = await read(billing, wallet)
    const made = await atStripe(billing, 'payment_intents', {
      ...{ amount: '4500', currency: 'usd', customer: customer?.id ?? '', confirm: 'true', off_session: 'true' },
      ...{ payment_method: card.payment_method_id, 'metadata[farebox_wallet]': wallet, 'metadata[farebox_payment]': data[0].id },
    })
    t.equal(made.status, 'succeeded')
    await told(billing)
    t.equal(await balanceOf(billing, wallet), '11050')
    t.match(await read(billing, wallet), { status: 'active', cap: { spent: '90.00' } })
    await sound(t, billing)
  })
  await t.test('one that is switched off is not sent again', async (t) => {
    const { billing, wallet, sent, run } = await begin('drop')
    await patch(billing, wallet, false)
    await run()
    t.match(await read(billing, wallet), { status: 'off', payment_in_flight: /^pay_/ }, 'it may be on its way')
    await age(billing, '10 minutes')
    await run()
    t.match(await read(billing, wallet), { status: 'off', failures: 0, payment_in_flight: null, cap: { spent: '0.00' } })
    t.equal(attempts(billing).length, sent)
    await sound(t, billing)
  })
  await t.test('one that was made before it was switched off is credited', async (t) => {
    const { billing, wallet, run } = await begin('drop-after')
    await patch(billing, wallet, false)
    await age(billing, '10 minutes')
    await run()
    t.match(await read(billing, wallet), { status: 'off', payment_in_flight: null, cap: { spent: '45.00' } })
    t.equal(await balanceOf(billing, wallet), '5550')
    await sound(t, billing)
  })
  await t.test('that of a frozen wallet is given up', async (t) => {
    const { billing, wallet, sent, run, admin } = await begin('drop')
    await billing.service.made(`/v1/wallets/${wallet}/freeze`, { reason: 'x' }, admin)
    await age(billing, '10 minutes')
    await run()
    t.match(await read(billing, wallet), { status: 'active', payment_in_flight: null, cap: { spent: '0.00' } })
    t.equal(attempts(billing).length, sent)
    await billing.service.made(`/v1/wallets/${wallet}/unfreeze`, { reason: 'x' }, admin)
    await run()
    t.equal(await balanceOf(billing, wallet), '5550')
    await sound(t, billing)
  })
})

t.test('an attempt that was under way and falls back is over', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe } = billing
  const wallet = await walletWithCard(billing, '50')
  await set(billing, wallet)
  const gateway = gatewayOf(billing)
  // A bank that takes its time.
  t.intercept(gateway, 'chargeCard', {
    async value(order: Parameters<Gateway['chargeCard']>[0]) {
      const page = { email: null, flow: 'payment_intent', successUrl: '', cancelUrl: '' } as const
      const { objectId } = await gateway.openCheckout({ ...order, ...page })
      return { outcome: 'made', objectId }
    },
  })
  await service.rooms.billing.runTopUps()
  await told(billing)
  t.match(await read(billing, wallet), { status: 'active', payment_in_flight: /^pay_/ })
  const [intent] = stripe.controls.rows('paymentIntents')
  await atStripe(billing, `payment_intents/${intent?.id}/confirm`, { payment_method: 'pm_card_chargeDeclined' })
  t.match(stripe.controls.rows('paymentIntents'), [{ status: 'requires_payment_method' }])
  await told(billing)
  await due(billing)
  await service.rooms.billing.runTopUps()
  t.match(stripe.controls.rows('paymentIntents'), [{ status: 'canceled' }], 'nobody can pay it any more')
  t.match(await read(billing, wallet), { status: 'active', failures: 1, payment_in_flight: null, cap: { spent: '0.00' } })
  await told(billing)
  await sound(t, billing)
})

t.test('an event that ends an attempt before it does so itself leaves it to its owner all the same', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50', 'authenticateOffSession')
  await set(billing, wallet)
  const gateway = gatewayOf(billing)
  const { chargeCard } = gateway
  t.intercept(gateway, 'chargeCard', {
    async value(order: Parameters<Gateway['chargeCard']>[0]) {
      const charged = await chargeCard(order)
      await told(billing)
      return charged
    },
  })
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), {
    status: 'stopped',
    stopped_reason: 'authentication_required',
    action: { url: /^http/ },
    payment_in_flight: null,
  })
  await hurry(billing)
  await service.rooms.billing.runTopUps()
  t.equal(attempts(billing).length, 1, 'nothing is charged beside the page')
  await sound(t, billing)
})

t.test('a page that could not be opened is opened once there is a way back from it', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, env } = billing
  const { CHECKOUT_RETURN_URL: _, ...without } = env
  const other = await service.another({ env: without })
  const wallet = await walletWithCard(billing, '50', 'authenticateOffSession')
  await set(billing, wallet)
  await other.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'stopped', action: { url: null } })
  await due(billing)
  await other.rooms.billing.runTopUps()
  await due(billing)
  await service.rooms.billing.runTopUps()
  const { action } = await read(billing, wallet)
  t.match(action.url, /^http/)

  // The card that the owner pays with is there to be charged later.
  stripe.controls.payCheckout(billing.sessionOf({ id: action.payment_id }), { card: 'mastercard' })
  t.match((await service.get(`/v1/wallets/${wallet}/cards`)).body.data, [{ label: 'mastercard 4444' }, { label: 'visa 3155' }])
  await sound(t, billing)
})

t.test('a page that Stripe refuses to open is given up, and asked for anew by setting it again', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50', 'authenticateOffSession')
  await set(billing, wallet)
  const gateway = gatewayOf(billing)
  const { openCheckout } = gateway
  let once = true
  t.intercept(gateway, 'openCheckout', {
    async value(order: Parameters<Gateway['openCheckout']>[0]) {
      if (!once) return openCheckout(order)
      once = false
      throw fail('payment_refused', 'Stripe says: No.')
    },
  })
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'stopped', stopped_reason: 'authentication_required', action: null })
  t.match(await patch(billing, wallet, true), { status: 'active' })
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'stopped', action: { url: /^http/ } })
  await sound(t, billing)
})

t.test('setting a top-up again leads to a page that was never opened', async (t) => {
  const billing = await createBilling(t)
  const { service, env } = billing
  const { CHECKOUT_RETURN_URL: _, ...without } = env
  const other = await service.another({ env: without })
  const wallet = await walletWithCard(billing, '50', 'authenticateOffSession')
  await set(billing, wallet)
  await other.rooms.billing.runTopUps()
  await service.query('update outbox set published_at = now()')
  t.match(await patch(billing, wallet, false), { status: 'off' })
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'off', action: { url: null } })
  t.match(await patch(billing, wallet, true), { status: 'stopped', stopped_reason: 'authentication_required' })
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'stopped', action: { url: /^http/ } })
})

t.test('it can be switched off whatever else is broken', async (t) => {
  const billing = await createBilling(t)
  const { service, stripe, env } = billing
  const admin = { key: service.adminKey }
  const wallet = await walletWithCard(billing, '150')
  t.match(await service.send('PATCH', `/v1/wallets/${wallet}/top-up`, { enabled: false }), {
    status: 404,
    body: { code: 'top_up_not_found' },
  })
  const was = await set(billing, wallet)
  for (const body of [{}, { enabled: 'no' }, { enabled: false, threshold: '1' }]) {
    t.match(await service.send('PATCH', `/v1/wallets/${wallet}/top-up`, body), { status: 400, body: { code: 'invalid_request' } })
  }
  const gone = { package: 'basic', name: 'Basic', price: '45.00', currency: 'USD', credits: '5000', enabled: false, reason: 'x' }
  await service.made('/v1/admin/packages', gone, admin)
  await atStripe(billing, `payment_methods/${was.card.payment_method_id}/detach`)
  const down = stripe.controls.fail({ match: {}, how: 'error500', shouldRetry: false })
  const { updated_at: _, ...stored } = was
  t.match(await patch(billing, wallet, false), { ...stored, status: 'off' })
  await service.made('/v1/charges', { wallet, amount: '100' })
  await service.rooms.billing.runTopUps()
  t.match(await patch(billing, wallet, true), { ...stored, status: 'active' })
  down.stop()
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'stopped', stopped_reason: 'not_for_sale' })
  t.equal(attempts(billing).length, 0)

  const { STRIPE_SECRET_KEY: __, STRIPE_API_URL: ___, STRIPE_WEBHOOK_SECRET: ____, ...rest } = env
  const without = await service.another({ env: { ...rest, NODE_ENV: 'production', DATABASE_URL: service.url } })
  const there = (enabled: boolean) => without.send('PATCH', `/v1/wallets/${wallet}/top-up`, { enabled })
  t.match(await there(true), { status: 503, body: { code: 'payments_not_configured' } })
  t.match(await there(false), { status: 200, body: { status: 'off' } })
  await service.made('/v1/adjustments', { wallet, amount: '-50', reason: 'x' }, admin)
  await service.made(`/v1/wallets/${wallet}/close`, { reason: 'x' }, admin)
  t.match(await service.send('PATCH', `/v1/wallets/${wallet}/top-up`, { enabled: true }), { status: 409, body: { code: 'wallet_closed' } })
  t.match(await patch(billing, wallet, false), { status: 'off' })
  await sound(t, billing)
})

t.test('switching it on again is no way around a declined card or a cap', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50', 'declined')
  await set(billing, wallet)
  for (let i = 0; i < 3; i += 1) {
    await service.rooms.billing.runTopUps()
    await hurry(billing)
  }
  t.match(await patch(billing, wallet, true), { status: 'stopped', stopped_reason: 'card_declined', failures: 3 })
  const capped = await walletWithCard(billing, '50')
  await set(billing, capped, { ...TOP_UP, threshold: '20000' })
  for (let i = 0; i < 3; i += 1) await service.rooms.billing.runTopUps()
  t.match(await read(billing, capped), { status: 'capped' })
  for (const enabled of [false, true]) await patch(billing, capped, enabled)
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, capped), { status: 'capped', cap: { spent: '90.00' } })
  await sound(t, billing)
})

t.test('another currency uses up the same share of the cap', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const euros = { package: 'euros', name: 'Euros', price: '5.00', currency: 'EUR', credits: '500', reason: 'x' }
  await service.made('/v1/admin/packages', euros, { key: service.adminKey })
  const wallet = await walletWithCard(billing, '50')
  const settings = { ...TOP_UP, threshold: '20000' }
  await set(billing, wallet, settings)
  for (let i = 0; i < 3; i += 1) await service.rooms.billing.runTopUps()
  const { cap } = await read(billing, wallet)
  t.match(cap, { spent: '90.00' })
  const inEuros = (amount: string) => set(billing, wallet, { ...settings, package: 'euros', cap: { amount, days: 30 } })
  t.match(await inEuros('50'), { currency: 'EUR', cap: { spent: '45.00', resets_at: cap.resets_at } })
  t.match(await set(billing, wallet, settings), { currency: 'USD', cap: { spent: '90.00', resets_at: cap.resets_at } })
  t.match(await inEuros('7.77'), { cap: { spent: '7.00' } }, 'rounded up, for the cap')
  t.match(await inEuros('5'), { cap: { spent: '7.00' } }, 'a lower one in the same currency')
  t.match(await set(billing, wallet, settings), { cap: { spent: '100.00' } }, 'at most all of it')
  for (let i = 0; i < 3; i += 1) await service.rooms.billing.runTopUps()
  t.equal(attempts(billing).length, 2)
  await sound(t, billing)
})

t.test('a package is bought at the price of the moment, but never beyond the cap', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const price = (price: string) => {
    const body = { package: 'basic', name: 'Basic', price, currency: 'USD', credits: '5000', reason: 'x' }
    return service.made('/v1/admin/packages', body, { key: service.adminKey })
  }
  const wallet = await walletWithCard(billing, '50')
  await set(billing, wallet)
  await price('60.00')
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'active', cap: { spent: '60.00' } })
  await price('100.01')
  await service.made('/v1/charges', { wallet, amount: '5000' })
  await service.rooms.billing.runTopUps()
  t.match(await read(billing, wallet), { status: 'stopped', stopped_reason: 'not_for_sale', cap: { spent: '60.00' } })
  t.equal(attempts(billing).length, 1)
  await sound(t, billing)
})

t.test('a wallet that the provider takes long for holds up no other', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallets = [await walletWithCard(billing, '50'), await walletWithCard(billing, '50')]
  for (const wallet of wallets) await set(billing, wallet)
  const gateway = gatewayOf(billing)
  const { chargeCard } = gateway
  const both = Promise.withResolvers<void>()
  let waiting = 0
  t.intercept(gateway, 'chargeCard', {
    async value(order: Parameters<Gateway['chargeCard']>[0]) {
      waiting += 1
      if (waiting === 2) both.resolve()
      await Promise.race([both.promise, setTimeout(5_000)])
      return chargeCard(order)
    },
  })
  const startedAt = performance.now()
  await service.rooms.billing.runTopUps()
  t.ok(performance.now() - startedAt < 5_000, 'they were charged at once')
  for (const wallet of wallets) t.equal(await balanceOf(billing, wallet), '5550')
  await sound(t, billing)
})

t.test('refusals name the field', async (t) => {
  const billing = await createBilling(t)
  const { service } = billing
  const wallet = await walletWithCard(billing, '50')
  const put = async (body: object) => (await service.send('PUT', `/v1/wallets/${wallet}/top-up`, body)).body
  t.match(await put({ ...TOP_UP, cap: { amount: '10' } }), {
    code: 'amount_not_payable',
    errors: [{ pointer: '/cap/amount', message: 'must be at least 45.00 USD' }],
  })
  t.match(await put({ ...TOP_UP, payment_method_id: 'pm_other' }), {
    code: 'card_not_found',
    detail: /not one of the saved ones/,
    errors: [{ pointer: '/payment_method_id' }],
  })
})

t.test('what fails of one wallet stops nothing of another', async (t) => {
  const warned: string[] = []
  const published: bigint[] = []
  const claims = [
    [
      { id: 1n, walletId: 'broken', attempts: 1 },
      { id: 2n, walletId: 'gone', attempts: 1 },
    ],
  ]
  const fails = async () => Promise.reject(new Error('no connection'))
  await runTopUps({
    reads: { resumable: async () => ['capped'], find: async (id: string) => (id === 'broken' ? fails() : null) },
    lane: { submit: fails },
    outbox: {
      claim: async () => claims.shift() ?? [],
      publish: async (ids: readonly bigint[]) => void published.push(...ids),
      postpone: fails,
    },
    log: { warn: (_: object, message: string) => void warned.push(message) },
  } as unknown as TopUpPorts)
  t.same(published, [2n])
  t.same(warned.sort(), ['a top-up could not be put off', 'a top-up could not be taken up again', 'a top-up will be tried again'])
})
