import t, { type Test } from 'tap'
import { changePlan } from '../../src/billing/subscription/change-plan.ts'
import type { PriceChange } from '../../src/billing/subscription/gateway.ts'
import type { Plan } from '../../src/billing/subscription/plan.ts'
import type { Subscription } from '../../src/billing/subscription/subscription.ts'
import { fail } from '../../src/kernel/errors.ts'
import type { TestBilling } from '../helpers/billing.ts'
import { createSubscribing, halfway } from '../helpers/subscribing.ts'

async function sound(t: Test, { service }: TestBilling): Promise<void> {
  t.same(await service.unsound(), [])
}

async function sellMax({ service }: Awaited<ReturnType<typeof createSubscribing>>): Promise<void> {
  const plan = { plan: 'max', name: 'Max', price: '150.00', currency: 'USD', credits: '8000', reason: 'a test' }
  await service.made('/v1/admin/plans', plan, { key: service.adminKey })
}

t.test('an upgrade is paid for at once and brings its part of the credits', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, renew, act } = billing
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet)
  await service.made('/v1/charges', { wallet, amount: '900' })
  halfway(billing, objectId)
  t.match(await act(wallet, 'change', { plan: 'pro' }), { status: 'active', plan: { id: 'pro' } })
  t.equal(await balance(wallet), '1600', 'half a month of 4000 less half a month of 1000, and nothing expired')
  await billing.told()
  t.equal(await balance(wallet), '1600')
  t.match(await act(wallet, 'change', { plan: 'pro' }), { plan: { id: 'pro' } }, 'again')
  await billing.told()
  t.equal(await balance(wallet), '1600')
  await renew(objectId)
  t.equal(await balance(wallet), '4500', 'the cap of the new plan')

  // Down, back and down again: nothing is charged, nothing taken.
  const invoices = () => billing.stripe.controls.rows('invoices').length
  const before = invoices()
  t.match(await act(wallet, 'change', { plan: 'basic' }), { plan: { id: 'basic' } })
  t.match(await act(wallet, 'change', { plan: 'pro' }), { plan: { id: 'pro' } })
  t.match(await act(wallet, 'change', { plan: 'basic' }), { plan: { id: 'basic' } })
  await billing.told()
  t.equal(invoices(), before)
  t.equal(await balance(wallet), '4500')
  await renew(objectId)
  t.equal(await balance(wallet), '1200', 'the next period is the smaller plan’s, with its cap')
  await sound(t, billing)
})

t.test('an upgrade after a downgrade pays from what the period was paid for', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, act, stripe } = billing
  await sellMax(billing)
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet, 'pro')
  await act(wallet, 'change', { plan: 'basic' })
  halfway(billing, objectId)
  t.match(await act(wallet, 'change', { plan: 'max' }), { plan: { id: 'max' } })
  t.equal(await balance(wallet), '6000')
  t.equal(stripe.controls.rows('invoices').at(-1)?.amount_paid, 3000, 'half of 60, not of 120')
  await sound(t, billing)
})

t.test('from a month to a year at once, and not back', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, act } = billing
  await service.made(
    '/v1/admin/plans',
    { plan: 'year', name: 'Year', price: '300.00', currency: 'USD', interval: 'year', credits: '12000', reason: 'a test' },
    { key: service.adminKey },
  )
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet)
  halfway(billing, objectId)
  t.match(await act(wallet, 'change', { plan: 'year' }), { plan: { id: 'year', interval: 'year' } })
  await billing.told()
  t.equal(await balance(wallet), '12500', 'a year less the half month that was given back; what there was stays')
  t.match(await act(wallet, 'change', { plan: 'basic' }), { code: 'plan_not_changeable', status: 422, errors: [{ pointer: '/plan' }] })
  t.match(await act(wallet, 'change', { plan: 'gold' }), { code: 'plan_not_sold', errors: [{ pointer: '/plan' }] })
  await sound(t, billing)
})

t.test('a declined upgrade leaves a downgrade that is to come', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, act, stripe } = billing
  await sellMax(billing)
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet, 'pro', 'declinedOffSession')
  await act(wallet, 'change', { plan: 'basic' })
  const upgrade = () => service.post(`/v1/wallets/${wallet}/subscription/change`, { plan: 'max' }, { idempotencyKey: 'once' })
  for (const time of ['once', 'again']) t.match((await upgrade()).body, { status: 402, code: 'payment_declined' }, time)
  await billing.told()
  t.match(await billing.read(wallet), { status: 'active', plan: { id: 'basic' } })
  stripe.controls.changeCard(String(stripe.controls.rows('subscriptions')[0]?.default_payment_method), 'good')
  await billing.renew(objectId)
  t.match(await billing.read(wallet), { status: 'active', plan: { id: 'basic' } })
  t.equal(stripe.controls.rows('invoices').at(-1)?.amount_paid, 3000)
  t.equal(await balance(wallet), '1200')
  await sound(t, billing)
})

t.test('between a renewal and its payment, what is billed counts and not the period before', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, act, stripe } = billing
  const wallet = await service.wallet()
  const objectId = await billing.subscribed(wallet, 'pro')
  t.match(await act(wallet, 'change', { plan: 'basic' }), { plan: { id: 'basic' } })
  await billing.told()
  // The smaller plan's period has begun, and its invoice was not heard of.
  stripe.controls.advanceSubscription(objectId, { moveClock: true })
  await service.rooms.billing.sync(objectId, 'test')
  t.match(await act(wallet, 'change', { plan: 'basic' }), { plan: { id: 'basic' } }, 'it is that already')
  t.equal(stripe.controls.rows('invoices').length, 2)
  t.match(await act(wallet, 'change', { plan: 'pro' }), { plan: { id: 'pro' } })
  t.equal(stripe.controls.rows('invoices').at(-1)?.amount_paid, 6000, 'the difference')
  await billing.told()
  t.equal(await balance(wallet), '4500', 'the period in full, and what went over')
  t.match(await act(wallet, 'change', { plan: 'basic' }), { plan: { id: 'basic' } }, 'and down again with the next')
  t.equal(stripe.controls.rows('invoices').length, 3)
  await sound(t, billing)
})

t.test('what was billed next is put back where the provider said no, and only there', async (t) => {
  const plan = (id: string, amount: bigint): Plan => ({
    ...{
      id,
      plan: id,
      name: id,
      currency: 'USD',
      amount,
      interval: 'month',
      credits: 1n,
      rolloverCap: 0n,
      enabled: true,
      effectiveFrom: 0,
    },
  })
  for (const [code, steps] of [
    ['payment_declined', ['pro next_period', 'max now', 'basic next_period']],
    ['subscription_refused', ['pro next_period', 'max now', 'basic next_period']],
    // It may have been done.
    ['payment_provider_unavailable', ['pro next_period', 'max now']],
  ] as const) {
    const asked: string[] = []
    const keys = new Set<string>()
    const changePrice = async ({ priceId, billed, key }: PriceChange) => {
      asked.push(`${priceId} ${billed}`)
      keys.add(key)
      if (billed === 'now') throw fail(code, 'a test')
      return null
    }
    const ports = {
      gateway: { provider: 'stripe', livemode: false },
      billing: { changePrice },
      plans: { priceOf: async (id: string) => id },
    } as unknown as Parameters<typeof changePlan>[0]
    const subscription = { objectId: 'sub_1', status: 'active' } as Subscription
    const changing = { subscription, billed: plan('basic', 1n), paid: plan('pro', 2n), wanted: plan('max', 3n), key: 'k' }
    await t.rejects(changePlan(ports, changing), { message: `${code}: a test` })
    t.same(asked, steps)
    t.equal(keys.size, steps.length, 'each with a key of its own')
  }
})

t.test('a declined upgrade changes nothing', async (t) => {
  const billing = await createSubscribing(t)
  const { service, balance, act } = billing
  const wallet = await service.wallet()
  await billing.subscribed(wallet, 'basic', 'declinedOffSession')
  t.match(await act(wallet, 'change', { plan: 'pro' }), { status: 402, code: 'payment_declined' })
  await billing.told()
  t.match(await billing.read(wallet), { status: 'active', plan: { id: 'basic' } })
  t.equal(await balance(wallet), '1000')
  await sound(t, billing)
})
