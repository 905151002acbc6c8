import { newId, toWireId } from '../../kernel/ids.ts'
import type { Draft } from '../../ledger/book.ts'
import type { Answer, RowRef } from '../../ledger/command.ts'
import type { Lane } from '../../ledger/lane.ts'
import type { Gateway } from '../gateway.ts'
import type { SyncOutcome } from '../sync.ts'
import { applySubscription, endPending } from './apply-subscription.ts'
import type { PlanStore } from './plans-prisma.ts'
import type { SubscriptionReads } from './reads-prisma.ts'
import { isLive, type ProviderSubscription, type Subscription, subscriptions } from './subscription.ts'

export interface SubscriptionSyncPorts {
  readonly gateway: Gateway
  readonly lane: Pick<Lane, 'submit'>
  readonly subscriptions: Pick<SubscriptionReads, 'find' | 'findByObject'>
  readonly plans: Pick<PlanStore, 'ofPrices'>
  readonly orders: { nextRead(): Promise<bigint> }
}

/** Brings a subscription to what the provider says of it now. */
export async function syncSubscription(ports: SubscriptionSyncPorts, objectId: string, cause: string): Promise<SyncOutcome> {
  const { gateway } = ports
  const read = await ports.orders.nextRead()
  const state = (await gateway.subscriptions?.readSubscription(objectId)) ?? null
  if (!state) return { outcome: 'ignored', reason: 'the provider does not know this subscription' }
  const subscription = await findSubscription(ports, objectId, state.subscriptionId)
  if (!subscription) return nobodys(state.subscriptionId)
  const wrong = misfit(subscription, { ...state, provider: gateway.provider })
  if (wrong) return { outcome: 'parked', reason: wrong, id: toWireId('subscription', subscription.id) }
  // It had given way to another one, and was paid on all the same. The page of that one must not become a second subscription: it is
  // closed before anything is decided, so that nobody forgets to when this has to be tried again.
  const closePages = async () => {
    if (state.customerId !== null) await gateway.subscriptions?.closePages(state.customerId, null)
  }
  if (!isLive(subscription) && isLive(state)) await closePages()
  const plans = await ports.plans.ofPrices(gateway.provider, state.priceIds)
  const plan = plans.values().next().value
  const { walletId, id: subscriptionId } = subscription
  const answer = await submit(ports, subscription, cause, (draft) => {
    const applied = applySubscription(draft, { walletId, subscriptionId, read, state, plan })
    return applied.ok ? { ok: true, value: { changed: applied.value.changed, replaced: applied.value.replaced } } : applied
  })
  const wireId = toWireId('subscription', subscriptionId)
  const body = JSON.parse(answer.body) as { changed: boolean; replaced: boolean; detail: string }
  if (answer.status >= 400) return { outcome: 'parked', reason: body.detail, id: wireId }
  if (body.replaced) await closePages()
  return { outcome: 'applied', changed: body.changed, id: wireId }
}

/** Ends a subscription whose page nobody paid on. @param checkoutId the page; null ends it whatever its page is */
export async function syncUnpaidPage(
  ports: Pick<SubscriptionSyncPorts, 'lane' | 'subscriptions'>,
  subscriptionId: string | null,
  checkoutId: string | null,
  cause: string,
): Promise<SyncOutcome> {
  const subscription = subscriptionId === null ? null : await ports.subscriptions.find(subscriptionId)
  if (!subscription) return { outcome: 'ignored', reason: 'a page of somebody else' }
  const { id, walletId, status } = subscription
  const superseded = checkoutId !== null && subscription.checkoutId !== null && subscription.checkoutId !== checkoutId
  if (superseded || status !== 'pending') return { outcome: 'applied', changed: false, id: toWireId('subscription', id) }
  const answer = await submit(ports, subscription, cause, (draft) => ({ ok: true, value: { changed: endPending(draft, walletId, id) } }))
  return { outcome: 'applied', changed: (JSON.parse(answer.body) as { changed: boolean }).changed, id: toWireId('subscription', id) }
}

/** The subscription that the provider names, by its own id or by the mark that we left. */
export async function findSubscription(
  { gateway, subscriptions: reads }: Pick<SubscriptionSyncPorts, 'gateway' | 'subscriptions'>,
  objectId: string,
  mark: string | null,
): Promise<Subscription | null> {
  return (await reads.findByObject(gateway.provider, objectId)) ?? (mark === null ? null : reads.find(mark))
}

export function nobodys(mark: string | null): SyncOutcome {
  if (mark === null) return { outcome: 'ignored', reason: 'a subscription of somebody else' }
  return { outcome: 'parked', reason: 'a subscription that is not in this database', id: null }
}

/** Why something at the provider cannot be of this subscription, or null. */
export function misfit(
  subscription: Subscription,
  state: Pick<ProviderSubscription, 'walletId' | 'livemode' | 'objectId'> & Pick<Subscription, 'provider'>,
): string | null {
  if (state.provider !== subscription.provider) return 'a subscription at another provider'
  if (state.walletId !== null && state.walletId !== subscription.walletId) return 'it names another wallet than the subscription'
  if (state.livemode !== subscription.livemode) return 'test money for a real subscription, or the reverse'
  if (subscription.objectId !== null && subscription.objectId !== state.objectId)
    return `the subscription is ${subscription.objectId} at the provider`
  return null
}

/** Decides something about a subscription under its wallet's lock. */
export function submit(
  { lane }: Pick<SubscriptionSyncPorts, 'lane'>,
  { id, walletId, provider }: Subscription,
  cause: string,
  decide: (draft: Draft) => Extract<ReturnType<typeof applySubscription>, { ok: false }> | { readonly ok: true; readonly value: object },
  more: readonly RowRef[] = [],
): Promise<Answer> {
  return lane.submit({
    name: 'subscription',
    id: newId(),
    speaker: { clientId: null, everyClient: true, actor: `provider:${provider}`, requestId: cause },
    wallets: [{ id: walletId }],
    rows: [{ table: subscriptions, id }, { table: subscriptions, id: walletId }, ...more],
    idempotency: null,
    decide(draft) {
      const decided = decide(draft)
      if (!decided.ok) return decided
      const body = { ...decided.value, subscription: toWireId('subscription', id) }
      return { ok: true, status: 200, effectId: id, walletId, body }
    },
  })
}
