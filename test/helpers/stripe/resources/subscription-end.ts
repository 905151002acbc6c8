import type Stripe from 'stripe'
import { cancellation } from '../blank.ts'
import { emit, patch } from '../events.ts'
import type { World } from '../world.ts'

/** The last that is heard of a subscription. */
export function endSubscription(
  world: World,
  subscription: Stripe.Subscription,
  reason: 'cancellation_requested' | 'payment_failed',
  details: { comment?: string | null; feedback?: string | null } = {},
): void {
  const at = world.clock.now()
  patch(subscription, {
    status: 'canceled',
    canceled_at: subscription.canceled_at ?? at,
    ended_at: at,
    cancellation_details: cancellation(reason, details),
  })
  world.pendingLines.delete(subscription.id)
  emit(world, 'customer.subscription.deleted', subscription)
}
