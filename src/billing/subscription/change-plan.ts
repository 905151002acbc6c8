import { about, FareboxError, fail, refusal } from '../../kernel/errors.ts'
import { type OpenPorts, priceOf } from './open-subscription.ts'
import { changeOf, type Plan } from './plan.ts'
import type { Subscription } from './subscription.ts'

const NOT_CHANGEABLE = 'Another currency, or a shorter interval: end the subscription, and begin anew when it is over.'

export interface Changing {
  readonly subscription: Subscription
  /** What the provider bills next. */
  readonly billed: Plan
  /** What the present period was paid for. It is another one after a downgrade. */
  readonly paid: Plan
  readonly wanted: Plan
  /** Makes a repeated request the same change. */
  readonly key: string
}

/**
 * Goes over to another plan: to a dearer one at once, for what is left of the period; to a cheaper one with the next period, and nothing
 * is taken. Whoever goes back to what the period was paid for, or on from there, does not pay for it again. A change that is declined
 * leaves what is billed next as it was.
 * @returns the invoice that was paid for it
 * @throws FareboxError `subscription_not_active`, `plan_not_changeable`, `payment_declined`, `payment_provider_unavailable`
 */
export async function changePlan(
  ports: Pick<OpenPorts, 'gateway' | 'billing' | 'plans'>,
  { subscription, billed, paid, wanted, key }: Changing,
): Promise<string | null> {
  const { objectId, status } = subscription
  if (objectId === null || (status !== 'active' && status !== 'trialing'))
    throw fail('subscription_not_active', `The subscription is ${status}: its plan can be changed once it is paid.`)
  const change = changeOf(paid, wanted)
  if (change === null) throw new FareboxError(about('/plan', refusal('plan_not_changeable', NOT_CHANGEABLE)))
  const go = async (plan: Plan, when: 'now' | 'next_period', step: string = when) =>
    ports.billing.changePrice({ objectId, priceId: await priceOf(ports, plan), billed: when, key: `${key}-${step}` })
  if (change !== 'upgrade') {
    if (billed.id !== wanted.id) await go(wanted, 'next_period')
    return null
  }
  if (billed.id === paid.id) return go(wanted, 'now')
  await go(paid, 'next_period')
  try {
    return await go(wanted, 'now')
  } catch (error) {
    if (leftAsItWas(error)) await go(billed, 'next_period', 'back')
    throw error
  }
}

/** Whether the provider said no. Where it did not answer, the change may have been made, and is to be asked for again. */
function leftAsItWas(error: unknown): boolean {
  return error instanceof FareboxError && (error.refusal.code === 'payment_declined' || error.refusal.code === 'subscription_refused')
}
