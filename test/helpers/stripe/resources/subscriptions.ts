import type Stripe from 'stripe'
import { z } from 'zod'
import { change } from '../events.ts'
import { invalid, StripeFailure } from '../failure.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, within } from '../table.ts'
import { find, refer } from '../world.ts'
import { collect, methodOf, voidInvoice } from './invoice-payments.ts'
import { priceNamed } from './prices.ts'
import { changePlan } from './subscription-change.ts'
import { endSubscription } from './subscription-end.ts'
import { ownMethod, plainChanges, shared } from './subscription-fields.ts'
import { changedItem, newItem, recurringOf } from './subscription-items.ts'
import { startSubscription } from './subscription-start.ts'

export const subscriptionRoutes = [
  route(
    'POST',
    '/v1/subscriptions',
    {
      ...shared,
      customer: p.text,
      items: z.array(newItem).min(1),
      payment_settings: z
        .strictObject({
          save_default_payment_method: z.enum(['off', 'on_subscription']).optional(),
          payment_method_types: p.ignored.optional(),
        })
        .optional(),
    },
    (world, params) => {
      const customer = refer(world, 'customers', params.customer, 'customer').id
      const items = params.items.map((item, index) => {
        const price = priceNamed(world, item, `items[${index}]`)
        recurringOf(price)
        return { price, quantity: item.quantity ?? 1, metadata: p.mergeMetadata(null, item.metadata) }
      })
      const { payment_behavior: behavior = 'allow_incomplete' } = params
      const defaultMethod = ownMethod(world, params.default_payment_method, customer)
      const fallback = refer(world, 'customers', customer, 'customer').invoice_settings.default_payment_method
      if (behavior !== 'default_incomplete' && defaultMethod === null && fallback === null)
        throw invalid(
          'This customer has no attached payment source or default payment method. Please consider adding a default payment method.',
          { code: 'resource_missing' },
        )
      const { subscription, invoice } = startSubscription(world, {
        customer,
        items,
        defaultMethod,
        metadata: p.mergeMetadata(null, params.metadata),
        description: params.description ?? null,
        cancelAtPeriodEnd: params.cancel_at_period_end ?? false,
        saveDefaultMethod: params.payment_settings?.save_default_payment_method ?? 'off',
      })
      if (behavior === 'default_incomplete' && invoice.amount_due > 0) return subscription
      const outcome = collect(world, invoice, methodOf(world, subscription), { offSession: params.off_session ?? false })
      if (behavior === 'error_if_incomplete' && outcome?.status === 'failed') {
        voidInvoice(world, invoice)
        endSubscription(world, subscription, 'payment_failed')
        throw new StripeFailure(402, outcome.error)
      }
      return subscription
    },
  ),
  route(
    'GET',
    '/v1/subscriptions',
    {
      ...p.page,
      customer: p.text.optional(),
      price: p.text.optional(),
      status: z
        .enum(['active', 'all', 'canceled', 'ended', 'incomplete', 'incomplete_expired', 'past_due', 'paused', 'trialing', 'unpaid'])
        .optional(),
      created: p.created.optional(),
    },
    (world, params, { url }) =>
      pageOf(
        world.tables.subscriptions,
        url,
        params,
        (row) =>
          (params.customer === undefined || row.customer === params.customer) &&
          (params.price === undefined || row.items.data.some((item) => item.price.id === params.price)) &&
          hasStatus(row, params.status) &&
          within(row.created, params.created),
      ),
  ),
  route('GET', '/v1/subscriptions/:id', {}, (world, _, { id }) => find(world, 'subscriptions', id)),
  route(
    'POST',
    '/v1/subscriptions/:id',
    { ...shared, items: z.array(changedItem).min(1).optional(), billing_cycle_anchor: z.enum(['now', 'unchanged']).optional() },
    (world, params, { id }) => {
      const subscription = find(world, 'subscriptions', id)
      if (subscription.status === 'canceled')
        throw invalid('A canceled subscription can only update its cancellation_details and metadata.', {
          code: 'invalid_canceled_subscription_fields',
        })
      const rest = plainChanges(world, subscription, params)
      const resetCycle = params.billing_cycle_anchor === 'now'
      if (params.items === undefined && !resetCycle) change(world, 'customer.subscription.updated', subscription, rest)
      else
        changePlan(
          world,
          subscription,
          {
            items: params.items ?? [],
            prorations: params.proration_behavior ?? 'create_prorations',
            resetCycle,
            mustPay: params.payment_behavior === 'error_if_incomplete',
          },
          rest,
        )
      return subscription
    },
  ),
  route(
    'DELETE',
    '/v1/subscriptions/:id',
    {
      invoice_now: z.literal('false').optional(),
      prorate: z.literal('false').optional(),
      cancellation_details: z.strictObject({ comment: p.clearable.optional(), feedback: p.clearable.optional() }).optional(),
    },
    (world, params, { id }) => {
      const subscription = find(world, 'subscriptions', id)
      if (subscription.status === 'canceled') throw invalid(`No such subscription: '${id}'`, { code: 'resource_missing', param: 'id' })
      const { comment, feedback } = params.cancellation_details ?? {}
      endSubscription(world, subscription, 'cancellation_requested', { comment: comment ?? null, feedback: feedback ?? null })
      return subscription
    },
  ),
]

function hasStatus(subscription: Stripe.Subscription, status: string | undefined): boolean {
  if (status === 'all') return true
  if (status === undefined) return subscription.status !== 'canceled'
  return subscription.status === (status === 'ended' ? 'canceled' : status)
}
