/** Invoices of subscriptions as they are made: draft, then finalised with a payment intent of their own. */
import type Stripe from 'stripe'
import { noTax } from '../blank.ts'
import { change, emit, patch } from '../events.ts'
import { idOf, refer, type World } from '../world.ts'
import { newIntent } from './intent-create.ts'

const DESCRIPTIONS = {
  subscription_create: 'Subscription creation',
  subscription_cycle: 'Subscription update',
  subscription_update: 'Subscription update',
} as const

export interface InvoiceInput {
  reason: keyof typeof DESCRIPTIONS
  lines: Stripe.InvoiceLineItem[]
  period: { start: number; end: number }
}

export function newInvoice(world: World, subscription: Stripe.Subscription, { reason, lines, period }: InvoiceInput): Stripe.Invoice {
  const id = world.id('in')
  const customer = refer(world, 'customers', idOf(subscription.customer) ?? '', 'customer')
  const all = [...(world.pendingLines.get(subscription.id) ?? []), ...lines]
  world.pendingLines.delete(subscription.id)
  for (const line of all) line.invoice = id
  const total = all.reduce((sum, line) => sum + line.amount, 0)
  const invoice = {
    id,
    object: 'invoice',
    account_country: 'US',
    account_name: 'Farebox',
    account_tax_ids: null,
    amount_due: Math.max(0, total),
    amount_overpaid: 0,
    amount_paid: 0,
    amount_remaining: Math.max(0, total),
    amount_shipping: 0,
    application: null,
    attempt_count: 0,
    attempted: false,
    auto_advance: true,
    automatic_tax: noTax(),
    automatically_finalizes_at: null,
    billing_reason: reason,
    collection_method: 'charge_automatically',
    created: world.clock.now(),
    currency: subscription.currency,
    custom_fields: null,
    customer: customer.id,
    customer_account: null,
    customer_address: null,
    customer_email: customer.email,
    customer_name: customer.name ?? null,
    customer_phone: customer.phone ?? null,
    customer_shipping: null,
    customer_tax_exempt: 'none',
    customer_tax_ids: [],
    default_payment_method: null,
    default_source: null,
    default_tax_rates: [],
    description: null,
    discounts: [],
    due_date: null,
    effective_at: null,
    ending_balance: null,
    footer: null,
    from_invoice: null,
    hosted_invoice_url: null,
    invoice_pdf: null,
    issuer: { type: 'self' },
    last_finalization_error: null,
    latest_revision: null,
    lines: { object: 'list', data: all, has_more: false, url: `/v1/invoices/${id}/lines` },
    livemode: false,
    metadata: {},
    next_payment_attempt: null,
    number: null,
    on_behalf_of: null,
    parent: {
      type: 'subscription_details',
      quote_details: null,
      subscription_details: { metadata: { ...subscription.metadata }, subscription: subscription.id },
    },
    payment_settings: { default_mandate: null, payment_method_options: null, payment_method_types: null },
    period_end: period.end,
    period_start: period.start,
    post_payment_credit_notes_amount: 0,
    pre_payment_credit_notes_amount: 0,
    receipt_number: null,
    rendering: null,
    shipping_cost: null,
    shipping_details: null,
    starting_balance: 0,
    statement_descriptor: null,
    status: 'draft',
    status_transitions: { finalized_at: null, marked_uncollectible_at: null, paid_at: null, voided_at: null },
    subtotal: total,
    subtotal_excluding_tax: total,
    test_clock: null,
    total,
    total_discount_amounts: [],
    total_excluding_tax: total,
    total_pretax_credit_amounts: [],
    total_taxes: [],
    webhooks_delivered_at: null,
  } as unknown as Stripe.Invoice
  world.tables.invoices.add(invoice)
  emit(world, 'invoice.created', invoice)
  return invoice
}

/** Takes or gives the customer's credit, and asks for the rest. */
export function finalizeInvoice(world: World, invoice: Stripe.Invoice): void {
  const customer = refer(world, 'customers', idOf(invoice.customer) ?? '', 'customer')
  const at = world.clock.now()
  const owed = invoice.total + customer.balance
  const number = customer.next_invoice_sequence ?? 1
  patch(invoice, {
    status: 'open',
    number: `${customer.invoice_prefix}-${String(number).padStart(4, '0')}`,
    effective_at: at,
    starting_balance: customer.balance,
    ending_balance: Math.min(0, owed),
    amount_due: Math.max(0, owed),
    amount_remaining: Math.max(0, owed),
    status_transitions: { ...invoice.status_transitions, finalized_at: at },
    hosted_invoice_url: `https://invoice.stripe.com/i/${invoice.id}`,
    invoice_pdf: `https://pay.stripe.com/invoice/${invoice.id}/pdf`,
  })
  const balance = Math.min(0, owed)
  patch(customer, { next_invoice_sequence: number + 1 })
  if (balance !== customer.balance) change(world, 'customer.updated', customer, { balance })
  if (invoice.amount_due > 0) askForPayment(world, invoice)
  emit(world, 'invoice.finalized', invoice)
}

function askForPayment(world: World, invoice: Stripe.Invoice): void {
  const reason = invoice.billing_reason as keyof typeof DESCRIPTIONS
  const intent = newIntent(world, {
    amount: invoice.amount_due,
    currency: invoice.currency,
    customer: idOf(invoice.customer),
    description: DESCRIPTIONS[reason],
    setupFutureUsage: reason === 'subscription_create' ? 'off_session' : null,
  })
  world.tables.invoicePayments.add({
    id: world.id('inpay'),
    object: 'invoice_payment',
    amount_paid: null,
    amount_requested: invoice.amount_due,
    created: world.clock.now(),
    currency: invoice.currency,
    invoice: invoice.id,
    is_default: true,
    livemode: false,
    payment: { type: 'payment_intent', payment_intent: intent.id },
    status: 'open',
    status_transitions: { canceled_at: null, paid_at: null },
  })
}
