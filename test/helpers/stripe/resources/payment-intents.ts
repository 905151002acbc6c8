import { z } from 'zod'
import { patch } from '../events.ts'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, within } from '../table.ts'
import { find, idOf, refer } from '../world.ts'
import { CONFIRMABLE, checkAmount, confirm, methodFor, unexpected } from './intent-confirm.ts'
import { newIntent } from './intent-create.ts'
import { cancelIntent } from './intents.ts'

const confirmation = {
  payment_method: p.text.optional(),
  off_session: p.boolean.optional(),
  error_on_requires_action: p.boolean.optional(),
  return_url: p.text.optional(),
  setup_future_usage: z.enum(['on_session', 'off_session']).optional(),
  receipt_email: p.clearable.optional(),
}

/** What may be said of the ways to pay, and changes nothing here. */
const ways = {
  payment_method_types: z.array(z.enum(['card', 'sepa_debit', 'link'])).optional(),
  automatic_payment_methods: z.strictObject({ enabled: p.boolean, allow_redirects: z.enum(['always', 'never']).optional() }).optional(),
  payment_method_options: p.ignored.optional(),
  statement_descriptor_suffix: p.text.optional(),
}

export const paymentIntentRoutes = [
  route(
    'POST',
    '/v1/payment_intents',
    {
      ...confirmation,
      ...ways,
      amount: p.integer,
      currency: p.currency,
      customer: p.text.optional(),
      description: p.text.optional(),
      metadata: p.metadata.optional(),
      confirm: p.boolean.optional(),
    },
    (world, params) => {
      checkAmount(params.amount)
      if (params.off_session !== undefined && params.confirm !== true)
        throw invalid('You can only set off_session when confirm is set to true.', { param: 'off_session' })
      if (params.off_session && params.setup_future_usage)
        throw invalid('You cannot set setup_future_usage when off_session is true.', { param: 'setup_future_usage' })
      const customer = params.customer === undefined ? null : refer(world, 'customers', params.customer, 'customer').id
      const method = params.payment_method === undefined ? undefined : methodFor(world, params.payment_method, customer)
      if (params.confirm && method === undefined)
        throw invalid('You cannot confirm a PaymentIntent without a payment method.', {
          code: 'parameter_missing',
          param: 'payment_method',
        })
      const intent = newIntent(world, {
        amount: params.amount,
        currency: params.currency,
        customer,
        description: params.description ?? null,
        metadata: p.mergeMetadata(null, params.metadata),
        receiptEmail: params.receipt_email ?? null,
        setupFutureUsage: params.setup_future_usage ?? null,
      })
      if (params.confirm) confirm(world, intent, method, params)
      else if (method) patch(intent, { payment_method: method.id, status: 'requires_confirmation' })
      return intent
    },
  ),
  route('GET', '/v1/payment_intents', { ...p.page, customer: p.text.optional(), created: p.created.optional() }, (world, params, { url }) =>
    pageOf(
      world.tables.paymentIntents,
      url,
      params,
      (row) => (params.customer === undefined || row.customer === params.customer) && within(row.created, params.created),
    ),
  ),
  route('GET', '/v1/payment_intents/:id', {}, (world, _, { id }) => find(world, 'paymentIntents', id)),
  route(
    'POST',
    '/v1/payment_intents/:id',
    {
      amount: p.integer.optional(),
      currency: p.currency.optional(),
      customer: p.text.optional(),
      description: p.clearable.optional(),
      metadata: p.metadata.optional(),
      payment_method: p.text.optional(),
      receipt_email: p.clearable.optional(),
    },
    (world, { amount, currency, customer, description, metadata, payment_method, receipt_email }, { id }) => {
      const intent = find(world, 'paymentIntents', id)
      if ((amount ?? currency ?? payment_method) !== undefined && !CONFIRMABLE.has(intent.status)) throw unexpected(intent, 'update')
      if (amount !== undefined) checkAmount(amount)
      if (customer !== undefined) refer(world, 'customers', customer, 'customer')
      const owner = customer ?? idOf(intent.customer)
      const method = payment_method === undefined ? undefined : methodFor(world, payment_method, owner)
      // Stripe says nothing of such a change: there is no event for it.
      patch(intent, {
        amount: amount ?? intent.amount,
        currency: currency ?? intent.currency,
        customer: owner,
        description: description === undefined ? intent.description : description,
        metadata: metadata === undefined ? intent.metadata : p.mergeMetadata(intent.metadata, metadata),
        receipt_email: receipt_email === undefined ? intent.receipt_email : receipt_email,
        ...(method ? { payment_method: method.id, status: 'requires_confirmation' } : {}),
      })
      return intent
    },
  ),
  route('POST', '/v1/payment_intents/:id/confirm', { ...confirmation, ...ways }, (world, params, { id }) => {
    const intent = find(world, 'paymentIntents', id)
    if (!CONFIRMABLE.has(intent.status)) throw unexpected(intent, 'confirm')
    const method = params.payment_method === undefined ? undefined : methodFor(world, params.payment_method, idOf(intent.customer))
    if (params.setup_future_usage) patch(intent, { setup_future_usage: params.setup_future_usage })
    confirm(world, intent, method, params)
    return intent
  }),
  route(
    'POST',
    '/v1/payment_intents/:id/cancel',
    { cancellation_reason: z.enum(['abandoned', 'duplicate', 'fraudulent', 'requested_by_customer']).optional() },
    (world, params, { id }) => {
      const intent = find(world, 'paymentIntents', id)
      if (!CONFIRMABLE.has(intent.status)) throw unexpected(intent, 'cancel')
      cancelIntent(world, intent, params.cancellation_reason ?? null)
      return intent
    },
  ),
]
