import type { Checkout } from '../gateway.ts'
import type { ProviderInvoice } from './invoice.ts'
import type { Plan } from './plan.ts'
import type { ProviderSubscription } from './subscription.ts'

/** What Farebox asks of a payment provider that bills by itself, period after period. */
export interface SubscriptionGateway {
  /** Makes what a plan is to the provider, the same however often it is asked. */
  openPrice(plan: Plan): Promise<{ readonly productId: string; readonly priceId: string }>
  /** Opens the page on which somebody subscribes, the same one however often it is asked. */
  openPage(page: SubscriptionPage): Promise<Checkout>
  /** Closes the pages of an account on which somebody could still subscribe. @param except the one that stays, an id of ours */
  closePages(customerId: string, except: string | null): Promise<void>
  /** A subscription as it is now; null where there is none with this id. */
  readSubscription(objectId: string): Promise<ProviderSubscription | null>
  /** An invoice as it is now; null where there is none with this id. */
  readInvoice(invoiceId: string): Promise<ProviderInvoice | null>
  /** The invoice that a payment paid; null where it paid none. */
  invoiceOf(objectId: string): Promise<string | null>
  /**
   * Goes over to another price. @returns the invoice that paid for it
   * @throws FareboxError `payment_declined`: then nothing has changed
   */
  changePrice(change: PriceChange): Promise<string | null>
  /** Ends a subscription, with what was paid for or now. One that is over stays so. */
  cancel(objectId: string, when: 'period_end' | 'now'): Promise<void>
  /** Lets a subscription go on that was to end. */
  resume(objectId: string): Promise<void>
}

export interface SubscriptionPage {
  /** Of ours; the provider keeps them with the subscription. */
  readonly subscriptionId: string
  readonly walletId: string
  readonly customerId: string
  readonly priceId: string
  readonly title: string
  readonly successUrl: string
  readonly cancelUrl: string
}

export interface PriceChange {
  readonly objectId: string
  readonly priceId: string
  /** `now`: the rest of the period is paid for at once. `next_period`: nothing before that. */
  readonly billed: 'now' | 'next_period'
  /** Of the same request, however often it is sent. */
  readonly key: string
}
