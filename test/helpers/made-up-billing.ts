import { randomUUID } from 'node:crypto'
import type { Gateway } from '../../src/billing/gateway.ts'
import type { ProviderPayment } from '../../src/billing/payment.ts'
import type { SubscriptionGateway } from '../../src/billing/subscription/gateway.ts'
import type { InvoiceLine, ProviderInvoice } from '../../src/billing/subscription/invoice.ts'
import { subscribeOperation } from '../../src/billing/subscription/operations.ts'
import type { ProviderSubscription } from '../../src/billing/subscription/subscription.ts'
import { sync } from '../../src/billing/sync.ts'
import { fromWireId } from '../../src/kernel/ids.ts'
import { done } from '../../src/ledger/command.ts'
import { toCommand } from '../../src/ledger/operation.ts'
import type { TestService } from './service.ts'

/**
 * Subscriptions without a Stripe. The sandbox has none, so what a provider that bills would say is made up here, and taken the road
 * that its events take.
 */
export interface MadeUpSubscription {
  /** Of ours, as a UUID. */
  readonly id: string
  /** The provider says something new of the subscription. */
  is(state: Partial<ProviderSubscription> & Pick<ProviderSubscription, 'status'>): Promise<void>
  /** An invoice over one period of the plan is paid. @param paid what came in, all of it unless a coupon helped @returns its payment's id at the provider */
  pays(period: InvoiceLine['period'], paid?: bigint): Promise<string | null>
  /** Money of a payment goes back. */
  givesBack(objectId: string, refunded: bigint): Promise<void>
}

let made = 0
const next = (kind: 'sub' | 'cs' | 'in' | 'pi') => `${kind}_madeup${++made}`

/** Begins a subscription at a provider that is made up, with a key as everybody's. Nobody has paid on its page. */
export async function subscribe(
  service: TestService,
  wallet: string,
  named: string,
  { id: clientId } = service.client,
): Promise<MadeUpSubscription> {
  const { lane, billing } = service.rooms
  const { plans, orders, subscriptions } = billing
  const offered = (await plans.inForce(new Date())).find(({ plan }) => plan === named)
  const walletId = fromWireId('wallet', wallet)
  if (!offered || walletId === null) throw new Error(`${wallet} cannot subscribe to ${named}`)
  const caller = {
    speaker: { clientId, everyClient: false, actor: 'key:made-up', requestId: 'made-up' },
    isAdmin: false,
  }
  const at = { provider: 'stripe', livemode: false } as const
  const body = { plan: named }
  const prepared = { ...body, walletId, offered: done(offered) }
  const answer = await lane.submit(toCommand(subscribeOperation(at), caller, randomUUID(), { wallet }, body, prepared))
  const id = fromWireId('subscription', JSON.parse(answer.body).id ?? '')
  const begun = id === null ? null : await subscriptions.find(id)
  if (!begun) throw new Error(`nobody subscribed: ${answer.body}`)
  await subscriptions.linkCheckout(begun, next('cs'))
  const priceId = await plans.keepPrice(offered.id, 'stripe', false, { productId: `prod_${named}`, priceId: `price_${named}` })

  const objectId = next('sub')
  const marks = { subscriptionId: begun.id, walletId, livemode: false }
  let state: ProviderSubscription | null = null
  const invoices = new Map<string, ProviderInvoice>()
  const payments = new Map<string, ProviderPayment>()
  const gateway = {
    ...at,
    async resolve(subject: string) {
      if (subject.startsWith('sub_')) return { kind: 'subscription', objectId: subject }
      return subject.startsWith('in_') ? { kind: 'invoice', invoiceId: subject } : { kind: 'payment', objectId: subject }
    },
    readPayment: async (paid: string) => payments.get(paid) ?? null,
    subscriptions: {
      readSubscription: async () => state,
      readInvoice: async (invoiceId: string) => invoices.get(invoiceId) ?? null,
      closePages: async () => {},
    } as Pick<SubscriptionGateway, 'readSubscription' | 'readInvoice' | 'closePages'> as SubscriptionGateway,
  } as Pick<Gateway, 'provider' | 'livemode' | 'resolve' | 'readPayment' | 'subscriptions'> as Gateway

  async function tell(subject: string): Promise<void> {
    const result = await sync({ gateway, lane, orders, plans, subscriptions }, subject, 'made-up')
    if (result.outcome !== 'applied') throw new Error(`${subject} was ${result.outcome}: ${result.reason}`)
  }

  return {
    id: begun.id,
    async is(said) {
      const never = { customerId: null, invoiceUrl: null, cancelsAt: null, periodStart: null, periodEnd: null, endedAt: null }
      state = { objectId, priceIds: [priceId], ...marks, ...never, ...said }
      await tell(objectId)
    },
    async pays(period, paid = offered.amount) {
      const invoiceId = next('in')
      const payment = paid === 0n ? null : next('pi')
      const times = { createdAt: period.start, paidAt: period.start }
      const { currency, amount } = offered
      const what = { invoiceId, subscriptionObjectId: objectId, isPaid: true, currency, amountPaid: paid, objectId: payment }
      invoices.set(invoiceId, { ...marks, ...times, ...what, lines: [{ priceId, amount, period }] })
      if (payment !== null) {
        const kept = { status: 'paid', failure: null, refunded: 0n, withdrawn: 0n, disputed: false } as const
        const nobodys = { paymentId: null, walletId: null, livemode: false }
        payments.set(payment, { objectId: payment, currency, amount: paid, paidAt: period.start, ...kept, ...nobodys })
      }
      await tell(invoiceId)
      return payment
    },
    async givesBack(payment, refunded) {
      const before = payments.get(payment)
      if (!before) throw new Error(`nobody paid ${payment}`)
      payments.set(payment, { ...before, refunded })
      await tell(payment)
    },
  }
}
