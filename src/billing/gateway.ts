import { fail } from '../kernel/errors.ts'
import type { Instant } from '../kernel/time.ts'
import type { Provider, ProviderPayment } from './payment.ts'
import type { SubscriptionGateway } from './subscription/gateway.ts'

/** What Farebox asks of a payment provider. It is called before or after the lane, never within it. */
export interface Gateway {
  readonly provider: Provider
  /** Whether its payments are real money. */
  readonly livemode: boolean
  /** What bills period after period; null where the provider has nothing of the kind. */
  readonly subscriptions: SubscriptionGateway | null

  /**
   * Opens the account that a wallet's payments are kept under, the same one however often it is asked.
   * @param customer.gone the one before, which the provider does not know any more
   * @returns its id
   */
  openCustomer(customer: { readonly walletId: string; readonly owner: string; readonly gone: string | null }): Promise<string>
  /** Opens the way to pay an order, the same one however often it is asked. @throws FareboxError `payment_provider_unavailable` */
  openCheckout(order: CheckoutOrder): Promise<Checkout>
  /** A way to pay that was opened before, and null when it can be paid no more. */
  readCheckout(ids: { readonly checkoutId: string | null; readonly objectId: string | null }): Promise<Checkout | null>

  /**
   * Closes a way to pay that nobody paid on. Where somebody did meanwhile it stays, as `readPayment` then says.
   * @param unlessBegun leaves it open where somebody has begun to pay: a bank transfer takes days
   */
  closeCheckout(ids: { readonly checkoutId: string | null; readonly objectId: string | null }, unlessBegun: boolean): Promise<void>

  /** A payment as it is now; null where there is none with this id. */
  readPayment(objectId: string): Promise<ProviderPayment | null>
  /** What an event or a listing named: the payment, subscription or invoice behind it, what the provider says of a page without one, or nothing of ours. */
  resolve(subject: string): Promise<Subject>
  /**
   * Asks to give money back. The credits follow once it is done.
   * @throws FareboxError `payment_refused`, `payment_provider_unavailable`
   */
  refund(request: RefundRequest): Promise<ProviderRefund>
  /** The cards that were saved under an account, newest first. */
  cards(customerId: string): Promise<Card[]>
  /** Opens a page on which a card is saved without paying. */
  openCardPage(page: CardPage): Promise<{ readonly url: string | null; readonly expiresAt: number | null }>
  /** Charges a saved card while nobody is there, once however often it is asked within a day. @throws FareboxError `payment_provider_unavailable` */
  chargeCard(order: CardOrder): Promise<CardCharge>
  /** The charge that was made for an order, whatever became of it; null where there is none. @throws FareboxError `payment_provider_unavailable` */
  findCharge(order: Pick<CardOrder, 'paymentId' | 'customerId'> & { readonly orderedAt: Instant }): Promise<string | null>
  /** Sees to it that a charge that came to nothing is never paid later. One that is over already stays as it is. */
  cancelCharge(objectId: string): Promise<void>
  /** Subjects that changed between two times, by the provider's clock, in no particular order. */
  changedBetween(from: Date, to: Date): AsyncIterable<string>
}

/** Which provider something began with, and whether with real money. */
export type Account = Pick<Gateway, 'provider' | 'livemode'>

export function isSameAccount(one: Account, other: Account): boolean {
  return one.provider === other.provider && one.livemode === other.livemode
}

/** @throws FareboxError `payments_not_configured` where something began with another provider than is configured now */
export function refuseOthers(gateway: Account, begun: Account): void {
  if (isSameAccount(gateway, begun)) return
  throw fail('payments_not_configured', 'It began with another payment provider than is configured now.')
}

/** A saved card. Its fingerprint is the same however often the card is saved. */
export interface Card {
  readonly methodId: string
  readonly fingerprint: string
  /** "visa 4242" */
  readonly card: string
}

export interface CardPage {
  /** What will be charged, which decides on the ways to pay that are offered. */
  readonly currency: string
  readonly walletId: string
  readonly customerId: string
  readonly successUrl: string
  readonly cancelUrl: string
}

/** What is to be paid, by whom. */
interface OrderAtProvider {
  /** Of ours; the provider keeps them with the payment. */
  readonly paymentId: string
  readonly walletId: string
  readonly customerId: string
  readonly title: string
  readonly currency: string
  readonly amount: bigint
}

export interface CardOrder extends OrderAtProvider {
  readonly methodId: string
}

export type CardCharge =
  | { readonly outcome: 'made'; readonly objectId: string }
  /** It came to nothing, and nothing will come of it. */
  | { readonly outcome: 'declined'; readonly failure: string; readonly because: DeclineCause }

/** Whose doing it was: the card's, that its owner was not there, or something that says nothing of the card. */
export type DeclineCause = 'card' | 'owner' | 'other'

export interface CheckoutOrder extends OrderAtProvider {
  readonly email: string | null
  /** A page of the provider, or the means to build one's own. */
  readonly flow: 'checkout' | 'payment_intent'
  /** Whether the provider's page saves the card, to be charged later while nobody is there. */
  readonly savesCard?: boolean
  readonly successUrl: string
  readonly cancelUrl: string
}

export interface Checkout {
  readonly checkoutId: string | null
  readonly objectId: string | null
  /** Where the customer pays; null where the product shows its own form. */
  readonly url: string | null
  readonly clientSecret: string | null
  readonly expiresAt: number | null
}

export type Subject =
  | { readonly kind: 'payment'; readonly objectId: string }
  | { readonly kind: 'subscription'; readonly objectId: string }
  | { readonly kind: 'invoice'; readonly invoiceId: string }
  /** A page that was left unpaid for good, of an order or of a subscription. */
  | { readonly kind: 'expired'; readonly paymentId: string | null; readonly checkoutId: string }
  | { readonly kind: 'subscription_expired'; readonly subscriptionId: string | null; readonly checkoutId: string }
  | { readonly kind: 'none'; readonly reason: string }

export interface RefundRequest {
  /** Ours: asked for again it is the same refund, however late. The provider keeps it with the refund. */
  readonly refundId: string
  readonly objectId: string
  /** All that is left when null, as the provider counts it. */
  readonly amount: bigint | null
  readonly paymentId: string
  /** Whether it may have been asked for before. */
  readonly isRepeated: boolean
}

export interface ProviderRefund {
  /** The provider's. */
  readonly id: string
  readonly amount: bigint
  /** Banks take days over some, and refuse a few. */
  readonly status: 'pending' | 'succeeded' | 'failed'
}
