import type Stripe from 'stripe'
import { cancellation, noTax } from '../blank.ts'
import { emit, patch } from '../events.ts'
import { invalid } from '../failure.ts'
import type { World } from '../world.ts'
import { finalizeInvoice, newInvoice } from './invoices.ts'
import { makeItem, nextPeriod } from './subscription-items.ts'
import { lineOf } from './subscription-lines.ts'

export interface SubscriptionInput {
  customer: string
  items: { price: Stripe.Price; quantity: number; metadata: Record<string, string> }[]
  metadata: Record<string, string>
  description?: string | null
  defaultMethod?: string | null
  cancelAtPeriodEnd?: boolean
  saveDefaultMethod?: 'on_subscription' | 'off'
  prorationDiscounts?: 'included' | 'itemized'
}

/** A subscription and its first invoice, finalised and not yet paid: `incomplete` until it is. */
export function startSubscription(world: World, input: SubscriptionInput): { subscription: Stripe.Subscription; invoice: Stripe.Invoice } {
  const first = input.items[0]
  if (first === undefined) throw invalid('Missing required param: items.', { code: 'parameter_missing', param: 'items' })
  const id = world.id('sub')
  const at = world.clock.now()
  const period = nextPeriod(at, at, first.price)
  const items = input.items.map((item) => makeItem(world, id, item, period))
  const subscription: Stripe.Subscription = {
    id,
    object: 'subscription',
    application: null,
    application_fee_percent: null,
    automatic_tax: noTax(),
    billing_cycle_anchor: at,
    billing_cycle_anchor_config: null,
    billing_mode: {
      type: 'flexible',
      flexible: { proration_discounts: input.prorationDiscounts ?? 'included' },
    } as Stripe.Subscription.BillingMode,
    billing_schedules: [],
    billing_thresholds: null,
    cancel_at: input.cancelAtPeriodEnd ? period.end : null,
    cancel_at_period_end: input.cancelAtPeriodEnd ?? false,
    canceled_at: input.cancelAtPeriodEnd ? at : null,
    cancellation_details: cancellation(null),
    collection_method: 'charge_automatically',
    created: at,
    currency: first.price.currency,
    customer: input.customer,
    customer_account: null,
    days_until_due: null,
    default_payment_method: input.defaultMethod ?? null,
    default_source: null,
    default_tax_rates: [],
    description: input.description ?? null,
    discounts: [],
    ended_at: null,
    invoice_settings: { account_tax_ids: null, custom_fields: null, description: null, footer: null, issuer: { type: 'self' } },
    items: { object: 'list', data: items, has_more: false, url: `/v1/subscription_items?subscription=${id}` },
    latest_invoice: null,
    livemode: false,
    managed_payments: null,
    metadata: input.metadata,
    next_pending_invoice_item_invoice: null,
    on_behalf_of: null,
    pause_collection: null,
    payment_settings: {
      payment_method_options: null,
      payment_method_types: null,
      save_default_payment_method: input.saveDefaultMethod ?? 'off',
    },
    pending_invoice_item_interval: null,
    pending_setup_intent: null,
    pending_update: null,
    schedule: null,
    start_date: at,
    status: 'incomplete',
    test_clock: null,
    transfer_data: null,
    trial_end: null,
    trial_settings: { end_behavior: { billing_cycle_anchor: null, missing_payment_method: 'create_invoice' } },
    trial_start: null,
  }
  world.tables.subscriptions.add(subscription)
  const lines = items.map((item) => lineOf(world, item, { period }))
  // The first invoice's own period is the moment it was made; its lines say what is paid for.
  const invoice = newInvoice(world, subscription, { reason: 'subscription_create', lines, period: { start: at, end: at } })
  patch(subscription, { latest_invoice: invoice.id })
  emit(world, 'customer.subscription.created', subscription)
  finalizeInvoice(world, invoice)
  return { subscription, invoice }
}
