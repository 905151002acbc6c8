/** What can be said of a subscription besides its items. */
import type Stripe from 'stripe'
import { z } from 'zod'
import { cancellation } from '../blank.ts'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { refer, type World } from '../world.ts'
import { periodOf } from './subscription-items.ts'

export const shared = {
  default_payment_method: p.text.optional(),
  metadata: p.metadata.optional(),
  description: p.clearable.optional(),
  cancel_at_period_end: p.boolean.optional(),
  proration_behavior: z.enum(['create_prorations', 'always_invoice', 'none']).optional(),
  payment_behavior: z.enum(['allow_incomplete', 'default_incomplete', 'error_if_incomplete']).optional(),
  off_session: p.boolean.optional(),
}

export function ownMethod(world: World, id: string | undefined, customer: string): string | null {
  if (id === undefined) return null
  const method = refer(world, 'paymentMethods', id, 'default_payment_method')
  if (method.customer !== customer)
    throw invalid(`The customer does not have a payment method with the ID ${id}. The payment method must be attached to the customer.`, {
      code: 'resource_missing',
      param: 'default_payment_method',
    })
  return method.id
}

type Plain = Pick<z.output<z.ZodObject<typeof shared>>, 'default_payment_method' | 'metadata' | 'description' | 'cancel_at_period_end'>

export function plainChanges(world: World, subscription: Stripe.Subscription, params: Plain): Partial<Stripe.Subscription> {
  const changes: Partial<Stripe.Subscription> = {}
  if (params.metadata !== undefined) changes.metadata = p.mergeMetadata(subscription.metadata, params.metadata)
  if (params.description !== undefined) changes.description = params.description
  if (params.default_payment_method !== undefined)
    changes.default_payment_method = ownMethod(world, params.default_payment_method, subscription.customer as string)
  if (params.cancel_at_period_end === true) {
    changes.cancel_at_period_end = true
    changes.cancel_at = periodOf(subscription).end
    changes.canceled_at = world.clock.now()
    changes.cancellation_details = cancellation('cancellation_requested')
  } else if (params.cancel_at_period_end === false) {
    changes.cancel_at_period_end = false
    changes.cancel_at = null
    changes.canceled_at = null
    changes.cancellation_details = cancellation(null)
  }
  return changes
}
