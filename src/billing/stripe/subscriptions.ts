import Stripe from 'stripe'
import { fail } from '../../kernel/errors.ts'
import { toWireId } from '../../kernel/ids.ts'
import type { SubscriptionGateway } from '../subscription/gateway.ts'
import { asked, orNull } from './ask.ts'
import { ofSession, SUBSCRIPTION_MARK, WALLET_MARK } from './from-stripe.ts'
import { idOf } from './subject.ts'
import { invoiceFromStripe, owes, subscriptionFromStripe } from './subscription-from-stripe.ts'

const PAGE = 100
const REFUSED = 'subscription_refused'
/** Amounts of prorations are before coupons, too, as those of whole periods are: credits follow them. */
const BILLING_MODE = { type: 'flexible', flexible: { proration_discounts: 'itemized' } } as const

/** Stripe Billing: it makes the invoices, collects them, and tries again where a card fails. */
export function createStripeSubscriptions(stripe: Stripe): SubscriptionGateway {
  return {
    async openPrice({ id, plan, name, currency, amount, interval }) {
      const metadata = { farebox_plan: toWireId('plan', id), farebox_plan_name: plan }
      const product = await asked(() => stripe.products.create({ name, metadata }, { idempotencyKey: `farebox-product-${id}` }), REFUSED)
      const price = await asked(
        () =>
          stripe.prices.create(
            { product: product.id, currency: currency.toLowerCase(), unit_amount: Number(amount), recurring: { interval }, metadata },
            { idempotencyKey: `farebox-price-${id}` },
          ),
        REFUSED,
      )
      return { productId: product.id, priceId: price.id }
    },

    async openPage({ subscriptionId, walletId, customerId, priceId, title, successUrl, cancelUrl }) {
      const metadata = { [SUBSCRIPTION_MARK]: toWireId('subscription', subscriptionId), [WALLET_MARK]: toWireId('wallet', walletId) }
      const session = await asked(
        () =>
          stripe.checkout.sessions.create(
            {
              mode: 'subscription',
              customer: customerId,
              client_reference_id: metadata[WALLET_MARK] ?? '',
              line_items: [{ quantity: 1, price: priceId }],
              metadata,
              subscription_data: { metadata, description: title, billing_mode: BILLING_MODE },
              success_url: successUrl,
              cancel_url: cancelUrl,
            },
            { idempotencyKey: `farebox-subscription-${subscriptionId}-${customerId}` },
          ),
        REFUSED,
      )
      return ofSession(session)
    },

    async closePages(customerId, except) {
      const stays = except === null ? null : toWireId('subscription', except)
      const open = await asked(() => stripe.checkout.sessions.list({ customer: customerId, status: 'open', limit: PAGE }))
      for (const { id, metadata } of open.data) {
        const mark = metadata?.[SUBSCRIPTION_MARK]
        if (mark === undefined || mark === stays) continue
        try {
          await asked(() => stripe.checkout.sessions.expire(id))
        } catch (error) {
          // Somebody paid on it a moment ago, and its events tell of that.
          const now = await asked(() => orNull(stripe.checkout.sessions.retrieve(id)))
          if (now?.status === 'open') throw error
        }
      }
    },

    async readSubscription(objectId) {
      const subscription = await asked(() => orNull(stripe.subscriptions.retrieve(objectId)))
      if (!subscription) return null
      // Of several the newest: once it is paid the subscription goes on.
      const open = owes(subscription) ? await asked(() => stripe.invoices.list({ subscription: objectId, status: 'open', limit: 1 })) : null
      return subscriptionFromStripe(subscription, open?.data[0] ?? null)
    },

    async readInvoice(invoiceId) {
      const invoice = await asked(() => orNull(stripe.invoices.retrieve(invoiceId)))
      if (!invoice) return null
      const lines: Stripe.InvoiceLineItem[] = []
      if (!invoice.lines.has_more) lines.push(...invoice.lines.data)
      else await asked(async () => void lines.push(...(await stripe.invoices.listLineItems(invoiceId).autoPagingToArray({ limit: 1_000 }))))
      // Nothing was charged where a coupon or credit at Stripe paid.
      const payments =
        invoice.status === 'paid' && invoice.amount_paid > 0
          ? await asked(() => stripe.invoicePayments.list({ invoice: invoiceId, status: 'paid', limit: PAGE }))
          : null
      const intents = payments?.data.flatMap(({ payment }) => idOf(payment.payment_intent) ?? []) ?? []
      return invoiceFromStripe(invoice, lines, intents[0] ?? null)
    },

    async invoiceOf(objectId) {
      const payment = { type: 'payment_intent', payment_intent: objectId } as const
      const payments = await asked(() => stripe.invoicePayments.list({ payment, limit: 1 }))
      return idOf(payments.data[0]?.invoice)
    },

    async changePrice({ objectId, priceId, billed, key }) {
      const subscription = await asked(() => stripe.subscriptions.retrieve(objectId), REFUSED)
      const item = subscription.items.data[0]
      if (!item) throw fail(REFUSED, 'The subscription has nothing that is billed.')
      // Asked again after a lost answer: it would be a proration of nothing.
      if (item.price.id === priceId) return idOf(subscription.latest_invoice)
      const items = [{ id: item.id, price: priceId }]
      const how =
        billed === 'now'
          ? ({ proration_behavior: 'always_invoice', payment_behavior: 'error_if_incomplete' } as const)
          : ({ proration_behavior: 'none' } as const)
      try {
        const changed = await asked(() => stripe.subscriptions.update(objectId, { items, ...how }, { idempotencyKey: key }), REFUSED)
        return idOf(changed.latest_invoice)
      } catch (error) {
        if (error instanceof Stripe.errors.StripeCardError)
          throw fail('payment_declined', `The plan stays as it was. ${error.message}`, undefined, error)
        throw error
      }
    },

    async cancel(objectId, when) {
      if (when === 'period_end') {
        await asked(() => stripe.subscriptions.update(objectId, { cancel_at_period_end: true }), REFUSED)
        return
      }
      await asked(() => orNull(stripe.subscriptions.cancel(objectId)), REFUSED)
    },

    async resume(objectId) {
      const subscription = await asked(() => stripe.subscriptions.retrieve(objectId), REFUSED)
      // A date that somebody set in Stripe's own console is taken back in another way.
      const going = subscription.cancel_at_period_end ? { cancel_at_period_end: false } : { cancel_at: '' as const }
      if (subscription.cancel_at === null) return
      await asked(() => stripe.subscriptions.update(objectId, going), REFUSED)
    },
  }
}
