import type { Test } from 'tap'
import { type AppOfService, type AppOptions, type Body, createService, type TestService } from './service.ts'
import { startTestStripe, type TestStripe, type TestStripeOptions } from './stripe/index.ts'

/** A service that takes payments at a test Stripe, and the ways of the outside world. */

export const WEBHOOK_SECRET = 'whsec_a_secret_for_tests_only'
export const RETURN_URL = 'https://app.example.com/credits'

export interface TestBilling {
  readonly stripe: TestStripe
  readonly service: TestService
  /** The environment of a service that takes payments here. */
  readonly env: Readonly<Record<string, string>>
  /** Places an order. */
  buy(wallet: string, what?: object): Promise<Body>
  /** The order's page at Stripe. */
  sessionOf(payment: Body): string
  /** Pays an order on its page, without telling anybody. @returns the PaymentIntent */
  pay(payment: Body): string
  /** Sends an event to a service, as Stripe would; the answer's status. */
  deliver(event: { readonly id: string }, to?: AppOfService): Promise<number>
  /** Waits until every event that was received is worked off. */
  workedOff(app?: AppOfService): Promise<void>
}

export async function createBilling(t: Test, options: AppOptions & { readonly stripe?: TestStripeOptions } = {}): Promise<TestBilling> {
  const stripe = await startTestStripe(options.stripe)
  t.teardown(() => stripe.close())
  const env = {
    STRIPE_SECRET_KEY: stripe.apiKey,
    STRIPE_API_URL: stripe.url,
    STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
    CHECKOUT_RETURN_URL: RETURN_URL,
    ...options.env,
  }
  const service = await createService(t, { ...options, env })
  const bases = new Map<AppOfService, Promise<string>>()
  const baseOf = (app: AppOfService) => {
    const known = bases.get(app) ?? app.listen().then(({ base }) => base)
    bases.set(app, known)
    return known
  }
  const sessionOf = (payment: Body): string => {
    const session = stripe.controls.rows('sessions').find((one) => one.metadata?.farebox_payment === payment.id)
    if (!session) throw new Error(`no page for ${payment.id}`)
    return session.id
  }
  return {
    stripe,
    service,
    env,
    buy: (wallet, what = { package: 'basic' }) => service.made('/v1/purchases', { wallet, ...what }),
    sessionOf,
    pay(payment) {
      const { session } = stripe.controls.payCheckout(sessionOf(payment))
      return session.payment_intent as string
    },
    async deliver(event, to = service) {
      return stripe.controls.deliver(event.id, `${await baseOf(to)}/v1/stripe/webhook`, { secret: WEBHOOK_SECRET })
    },
    async workedOff(app = service) {
      for (;;) {
        await app.rooms.billing.processEvents()
        const [row] = await service.query<{ n: number }>(`select count(*)::int as n from provider_events where status = 'received'`)
        if (row?.n === 0) return
      }
    },
  }
}
