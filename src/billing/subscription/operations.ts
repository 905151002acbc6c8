import type { z } from 'zod'
import { refusal } from '../../kernel/errors.ts'
import { type Outcome, refuse } from '../../ledger/command.ts'
import { decided, type Operation, operation, walletRef } from '../../ledger/operation.ts'
import { walletParams } from '../../wallets/schemas.ts'
import type { Provider } from '../payment.ts'
import { placeSubscription } from './place-subscription.ts'
import type { Plan } from './plan.ts'
import { subscribeBody, subscriptionObject, subscriptionToWire } from './schemas.ts'
import { subscriptions } from './subscription.ts'

/** What is asked for, with what is looked up before the lane: the plan as it is on sale, and the wallet's id. */
export interface PreparedSubscription extends z.output<typeof subscribeBody> {
  readonly offered?: Outcome<Plan>
  readonly walletId?: string
}

/** Subscriptions begin in the lane for their keys' sake, and because a wallet has one at most. */
export function subscribeOperation(gateway: { readonly provider: Provider; readonly livemode: boolean } | null): Operation {
  return operation({
    name: 'subscribe',
    path: '/v1/wallets/:wallet/subscription',
    scope: 'payments:write',
    tag: 'Payments',
    summary: 'Subscribe to a plan',
    description:
      'Opens the page of the payment provider on which it begins. Credits come with every paid period and expire a little after it. A subscription whose page nobody has paid on gives way to a new one.',
    status: 201,
    needsCredits: false,
    params: walletParams,
    body: subscribeBody as z.ZodType<PreparedSubscription>,
    answer: subscriptionObject,
    plan(_caller, params, body) {
      return {
        wallets: [walletRef(params.wallet)],
        rows: body.walletId === undefined ? [] : [{ table: subscriptions, id: body.walletId }],
        decide: (draft, { wallets: [walletId] }) => {
          if (!gateway) return refuse(refusal('payments_not_configured', 'No payment provider is configured.'))
          const plan = body.offered ?? refuse(refusal('plan_not_sold', 'The plan was not looked up.'))
          const { provider, livemode } = gateway
          return decided(placeSubscription(draft, { walletId, plan, provider, livemode }), 201, (placed) => ({
            effectId: placed.subscription.id,
            walletId: placed.wallet.id,
            body: subscriptionToWire(placed.subscription, placed.plan),
          }))
        },
      }
    },
  })
}
