import type { Test } from 'tap'
import { fromWireId } from '../../src/kernel/ids.ts'
import { createBilling, type TestBilling } from './billing.ts'
import type { AppOptions, Body } from './service.ts'
import type { CardName, TestStripeOptions } from './stripe/index.ts'

/** A service with two plans, and the ways of those who subscribe to them. */

export interface Subscribing extends TestBilling {
  /** What the wallet has. */
  balance(wallet: string): Promise<string>
  read(wallet: string): Promise<Body>
  /** Begins a subscription; nobody has paid on its page. */
  begin(wallet: string, plan?: string): Promise<Body>
  /** Pays on the page of a subscription. @returns Stripe's id of it */
  payPage(subscription: Body, card?: CardName): string
  /** Begins and pays, and works off what Stripe tells. @returns Stripe's id of it */
  subscribed(wallet: string, plan?: string, card?: CardName): Promise<string>
  /** Sends what Stripe told since the last time, and works it off. */
  told(): Promise<void>
  /** The next period begins. @returns its invoice */
  renew(objectId: string): Promise<string>
  /** The wallet's credits are as if they had come when the present period began, and not a moment ago. */
  cameInTime(wallet: string): Promise<void>
  act(wallet: string, what: string, body?: object): Promise<Body>
  /** What the ledger says, oldest first: kind, amount and account. */
  ledger(wallet: string): Promise<string[]>
}

export async function createSubscribing(t: Test, options: AppOptions & { stripe?: TestStripeOptions } = {}): Promise<Subscribing> {
  const billing = await createBilling(t, options)
  const { service, stripe } = billing
  const plan = (body: object) => service.made('/v1/admin/plans', { reason: 'a test', currency: 'USD', ...body }, { key: service.adminKey })
  await plan({ plan: 'basic', name: 'Basic', price: '30.00', credits: '1000', rollover_cap: '200' })
  await plan({ plan: 'pro', name: 'Pro', price: '90.00', credits: '4000', rollover_cap: '500' })
  let sent = 0
  const self: Subscribing = {
    ...billing,
    balance: async (wallet) => (await service.get(`/v1/wallets/${wallet}/balance`)).body.balance,
    read: async (wallet) => (await service.get(`/v1/wallets/${wallet}/subscription`)).body,
    begin: (wallet, named = 'basic') => service.made(`/v1/wallets/${wallet}/subscription`, { plan: named }),
    payPage(subscription, card = 'good') {
      const session = stripe.controls.rows('sessions').find((one) => one.metadata?.farebox_subscription === subscription.id)
      return String(stripe.controls.payCheckout(session?.id ?? '', { card }).session.subscription)
    },
    async subscribed(wallet, named, card) {
      const objectId = self.payPage(await self.begin(wallet, named), card)
      await self.told()
      return objectId
    },
    async told() {
      const { events } = stripe.controls
      while (sent < events.length) await billing.deliver(events[sent++] as (typeof events)[number])
      await billing.workedOff()
    },
    async renew(objectId) {
      const invoice = stripe.controls.advanceSubscription(objectId, { moveClock: true })
      await self.told()
      return invoice?.id ?? ''
    },
    async cameInTime(wallet) {
      const { period_start: start, period_end: end } = await self.read(wallet)
      const times = `created_at = $1, effective_at = $1, expires_at = $2::timestamptz + interval '3 days'`
      await service.query(`update grants set ${times} where wallet_id = $3`, [start, end, fromWireId('wallet', wallet)])
    },
    async act(wallet, what, body = {}) {
      return (await service.post(`/v1/wallets/${wallet}/subscription/${what}`, body)).body
    },
    async ledger(wallet) {
      const { data } = (await service.get(`/v1/wallets/${wallet}/transactions?limit=100`)).body
      return data.map((row: Body) => `${row.kind} ${row.amount} ${row.counter_account}`).reverse()
    },
  }
  return self
}

/** Half of the present period goes by at Stripe. */
export function halfway({ stripe }: TestBilling, objectId: string): void {
  const item = stripe.controls.rows('subscriptions').find(({ id }) => id === objectId)?.items.data[0]
  const { current_period_start: start = 0, current_period_end: end = 0 } = item ?? {}
  stripe.controls.clock.advance(start + Math.floor((end - start) / 2) - stripe.controls.clock.now())
}

/** Asks the test Stripe as somebody in its console would. */
export async function askStripe({ stripe }: TestBilling, path: string, form: Record<string, string>, method = 'POST'): Promise<void> {
  const answer = await fetch(stripe.url + path, {
    method,
    headers: { authorization: `Bearer ${stripe.apiKey}`, 'content-type': 'application/x-www-form-urlencoded' },
    ...(method === 'POST' && { body: new URLSearchParams(form) }),
  })
  if (!answer.ok) throw new Error(await answer.text())
}
