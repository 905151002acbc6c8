import { refusal } from '../../kernel/errors.ts'
import { toWireId } from '../../kernel/ids.ts'
import type { Draft } from '../../ledger/book.ts'
import { done, type Outcome, refuse } from '../../ledger/command.ts'
import type { Wallet } from '../../ledger/wallet.ts'
import type { Provider } from '../payment.ts'
import { ended } from './apply-subscription.ts'
import type { Plan } from './plan.ts'
import { liveOf, type Subscription, subscriptions } from './subscription.ts'

export interface PlaceSubscriptionInput {
  readonly walletId: string | undefined
  readonly plan: Outcome<Plan>
  readonly provider: Provider
  readonly livemode: boolean
}

/**
 * Writes down that a wallet is to subscribe; that happens on the provider's page. One whose page nobody has paid on gives way: whoever
 * closed a page may choose another plan.
 */
export function placeSubscription(
  draft: Draft,
  { walletId, plan, provider, livemode }: PlaceSubscriptionInput,
): Outcome<{ subscription: Subscription; wallet: Wallet; plan: Plan }> {
  const wallet = draft.findWallet(walletId)
  if (!wallet) return refuse(refusal('wallet_not_found', 'No wallet of yours has this id or owner.'))
  if (wallet.status === 'closed') return refuse(refusal('wallet_closed', 'A closed wallet buys no credits.'))
  if (!plan.ok) return plan
  const live = liveOf(draft, wallet.id)
  if (live && live.status !== 'pending') {
    const extra = { subscription_id: toWireId('subscription', live.id) }
    return refuse(refusal('subscription_exists', 'The wallet has a subscription: change its plan, or end it first.', extra))
  }
  if (live) draft.put(subscriptions, ended(draft, live))
  const subscription: Subscription = {
    walletId: wallet.id,
    id: draft.commandId,
    clientId: wallet.clientId,
    planVersionId: plan.value.id,
    provider,
    livemode,
    status: 'pending',
    objectId: null,
    checkoutId: null,
    invoiceUrl: null,
    cancelsAt: null,
    periodStart: null,
    periodEnd: null,
    creditedPlanId: null,
    creditedFrom: null,
    creditedUntil: null,
    rolledOver: 0n,
    appliedRead: 0n,
    createdAt: draft.now,
    updatedAt: draft.now,
    endedAt: null,
  }
  draft.put(subscriptions, subscription)
  return done({ subscription, wallet, plan: plan.value })
}
