import { refusal } from '../../kernel/errors.ts'
import { toWireId } from '../../kernel/ids.ts'
import type { CloseGuard } from '../../wallets/configure.ts'
import { liveOf, subscriptions } from './subscription.ts'

/** A wallet stays open while it is subscribed: the provider would go on collecting money for credits that nobody takes. */
export const subscriptionGuard: CloseGuard = {
  table: subscriptions,
  objection(draft, walletId) {
    const live = liveOf(draft, walletId)
    if (!live) return null
    const extra = { subscription_id: toWireId('subscription', live.id) }
    return refusal('wallet_subscribed', 'The subscription of the wallet is not over: cancel it first.', extra)
  },
}
