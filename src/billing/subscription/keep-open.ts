import { refusal } from '../../kernel/errors.ts'
import { toWireId } from '../../kernel/ids.ts'
import type { CloseGuard } from '../../wallets/configure.ts'
import { liveOf, subscriptions } from './subscription.ts'

/**
 * A wallet stays open while it is subscribed: the provider would go on collecting money for credits that nobody takes.
 * @param isReal whether the installation takes real money by now: then nobody can cancel what was begun in a test, and nobody pays for it
 */
export function subscriptionGuard(isReal: boolean): CloseGuard {
  return {
    table: subscriptions,
    objection(draft, walletId) {
      const live = liveOf(draft, walletId)
      if (!live || (isReal && !live.livemode)) return null
      const extra = { subscription_id: toWireId('subscription', live.id) }
      return refusal('wallet_subscribed', 'The subscription of the wallet is not over: cancel it first.', extra)
    },
  }
}
