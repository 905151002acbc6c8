import type Stripe from 'stripe'
import { z } from 'zod'
import { invalid, StripeFailure } from '../failure.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, within } from '../table.ts'
import { find } from '../world.ts'
import { collect, methodOf, subscriptionOf, voidInvoice } from './invoice-payments.ts'
import { finalizeInvoice } from './invoices.ts'
import { methodNamed } from './payment-methods.ts'

const subscriptionId = (invoice: Stripe.Invoice) => invoice.parent?.subscription_details?.subscription

export const invoiceRoutes = [
  route(
    'GET',
    '/v1/invoices',
    {
      ...p.page,
      subscription: p.text.optional(),
      customer: p.text.optional(),
      status: z.enum(['draft', 'open', 'paid', 'uncollectible', 'void']).optional(),
      created: p.created.optional(),
    },
    (world, params, { url }) =>
      pageOf(
        world.tables.invoices,
        url,
        params,
        (row) =>
          (params.subscription === undefined || subscriptionId(row) === params.subscription) &&
          (params.customer === undefined || row.customer === params.customer) &&
          (params.status === undefined || row.status === params.status) &&
          within(row.created, params.created),
      ),
  ),
  route('GET', '/v1/invoices/:id', {}, (world, _, { id }) => find(world, 'invoices', id)),
  route('POST', '/v1/invoices/:id/finalize', { auto_advance: p.ignored.optional() }, (world, _, { id }) => {
    const invoice = find(world, 'invoices', id)
    if (invoice.status !== 'draft') throw invalid('This invoice is already finalized.', { code: 'invoice_not_editable' })
    finalizeInvoice(world, invoice)
    return invoice
  }),
  route(
    'POST',
    '/v1/invoices/:id/pay',
    { payment_method: p.text.optional(), off_session: p.boolean.default(true) },
    (world, params, { id }) => {
      const invoice = find(world, 'invoices', id)
      if (invoice.status === 'paid') throw invalid('Invoice is already paid')
      if (invoice.status === 'draft') finalizeInvoice(world, invoice)
      if (invoice.status !== 'open')
        throw invalid(`This invoice can no longer be paid: it is ${invoice.status}.`, { code: 'invoice_not_editable' })
      const subscription = subscriptionOf(world, invoice)
      const given = params.payment_method === undefined ? undefined : methodNamed(world, params.payment_method, 'payment_method')
      const method = given ?? (subscription && methodOf(world, subscription))
      const outcome = collect(world, invoice, method, { offSession: params.off_session })
      if (outcome?.status === 'failed') throw new StripeFailure(402, outcome.error)
      if (outcome?.status === 'requires_action')
        throw new StripeFailure(402, {
          type: 'invalid_request_error',
          code: 'invoice_payment_intent_requires_action',
          message: 'This invoice requires an additional user action before it can be paid.',
        })
      return invoice
    },
  ),
  route('POST', '/v1/invoices/:id/void', {}, (world, _, { id }) => {
    const invoice = find(world, 'invoices', id)
    if (invoice.status !== 'open' && invoice.status !== 'uncollectible')
      throw invalid(`You can only pass in open or uncollectible invoices. This invoice is ${invoice.status}.`)
    voidInvoice(world, invoice)
    return invoice
  }),
  route(
    'GET',
    '/v1/invoice_payments',
    {
      ...p.page,
      invoice: p.text.optional(),
      payment: z.strictObject({ type: z.enum(['payment_intent']), payment_intent: p.text.optional() }).optional(),
      status: z.enum(['canceled', 'open', 'paid']).optional(),
      created: p.created.optional(),
    },
    (world, params, { url }) =>
      pageOf(
        world.tables.invoicePayments,
        url,
        params,
        (row) =>
          (params.invoice === undefined || row.invoice === params.invoice) &&
          (params.payment?.payment_intent === undefined || row.payment.payment_intent === params.payment.payment_intent) &&
          (params.status === undefined || row.status === params.status) &&
          within(row.created, params.created),
      ),
  ),
  route('GET', '/v1/invoice_payments/:id', {}, (world, _, { id }) => find(world, 'invoicePayments', id)),
]
