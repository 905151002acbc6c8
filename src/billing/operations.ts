import { z } from 'zod'
import { refusal } from '../kernel/errors.ts'
import { type Outcome, refuse } from '../ledger/command.ts'
import { decided, type Operation, operation, walletRef } from '../ledger/operation.ts'
import type { Provider } from './payment.ts'
import { type Order, placeOrder } from './place-order.ts'
import { paymentObject, paymentToWire, purchaseBody } from './schemas.ts'

export type Purchase = z.output<typeof purchaseBody>

/** A purchase with what it comes to, which is looked up before the lane. */
export interface PricedPurchase extends Purchase {
  readonly order?: Outcome<Order>
}

/** Orders go through the lane for their keys' sake: a purchase that is repeated is the same order. */
export function purchaseOperation(gateway: { readonly provider: Provider; readonly livemode: boolean } | null): Operation {
  return operation({
    name: 'purchase',
    path: '/v1/purchases',
    scope: 'payments:write',
    tag: 'Payments',
    summary: 'Buy credits',
    description:
      'Places an order for a package, or for an amount of money at the purchase rate, and opens the way to pay it. Credits come once it is paid. The same key yields the same order, with the way to pay it as it is by then. A person buys for a wallet of its own.',
    status: 201,
    needsCredits: false,
    params: z.strictObject({}),
    body: purchaseBody as z.ZodType<PricedPurchase>,
    answer: paymentObject,
    plan(_caller, _params, body) {
      return {
        wallets: [walletRef(body.wallet)],
        rows: [],
        decide: (draft, { wallets: [walletId] }) => {
          if (!gateway) return refuse(refusal('payments_not_configured', 'No payment provider is configured.'))
          const order = body.order ?? refuse(refusal('payments_not_configured', 'The order was not priced.'))
          const { provider, livemode } = gateway
          const metadata = body.metadata ? JSON.stringify(body.metadata) : null
          const input = { walletId, order, provider, livemode, reference: body.reference ?? null, metadata }
          return decided(placeOrder(draft, input), 201, ({ payment, wallet }) => ({
            effectId: payment.id,
            walletId: wallet.id,
            body: paymentToWire(payment),
          }))
        },
      }
    },
  })
}
