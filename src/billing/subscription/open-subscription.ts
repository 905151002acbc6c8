import { fail } from '../../kernel/errors.ts'
import type { Wallet } from '../../ledger/wallet.ts'
import { withCustomer } from '../customers.ts'
import { type Checkout, type Gateway, refuseOthers } from '../gateway.ts'
import type { PaymentReads } from '../payments-prisma.ts'
import type { SubscriptionGateway } from './gateway.ts'
import type { Plan } from './plan.ts'
import type { PlanStore } from './plans-prisma.ts'
import type { SubscriptionReads } from './reads-prisma.ts'
import type { Subscription } from './subscription.ts'

export interface OpenPorts {
  readonly gateway: Gateway
  readonly billing: SubscriptionGateway
  readonly orders: Pick<PaymentReads, 'findCustomer' | 'keepCustomer'>
  readonly plans: Pick<PlanStore, 'priceOf' | 'keepPrice'>
  readonly subscriptions: Pick<SubscriptionReads, 'linkCheckout'>
}

/** The part of a gateway that bills by itself. @throws FareboxError `subscriptions_need_stripe` */
export function billingOf({ subscriptions }: Gateway): SubscriptionGateway {
  if (!subscriptions) throw fail('subscriptions_need_stripe', 'Subscriptions are billed by Stripe; the sandbox has none.')
  return subscriptions
}

/** What a plan is to the provider; made the first time. */
export async function priceOf({ gateway, billing, plans }: Pick<OpenPorts, 'gateway' | 'billing' | 'plans'>, plan: Plan): Promise<string> {
  const { provider, livemode } = gateway
  const known = await plans.priceOf(plan.id, provider, livemode)
  return known ?? plans.keepPrice(plan.id, provider, livemode, await billing.openPrice(plan))
}

/**
 * Opens the page on which a subscription begins, or finds the one that was opened. Pages of others that gave way to it are closed: two
 * that are paid on would be two subscriptions.
 * @returns null when it can begin no more
 * @throws FareboxError `payment_provider_unavailable`
 */
export async function openSubscription(
  ports: OpenPorts,
  subscription: Subscription,
  plan: Plan,
  wallet: Wallet,
  urls: { readonly successUrl: string; readonly cancelUrl: string },
): Promise<Checkout | null> {
  const { gateway, billing } = ports
  const { id: subscriptionId, walletId, checkoutId } = subscription
  if (subscription.status !== 'pending') return null
  refuseOthers(gateway, subscription)
  if (checkoutId !== null) return gateway.readCheckout({ checkoutId, objectId: null })
  const priceId = await priceOf(ports, plan)
  return withCustomer(ports, wallet, async (customerId) => {
    await billing.closePages(customerId, subscriptionId)
    const page = await billing.openPage({ subscriptionId, walletId, customerId, priceId, title: plan.name, ...urls })
    if (await ports.subscriptions.linkCheckout(subscription, page.checkoutId)) return page
    // It gave way to another one while its page was being opened.
    await billing.closePages(customerId, null)
    return null
  })
}
