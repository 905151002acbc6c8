import { z } from 'zod'
import { refusal } from '../kernel/errors.ts'
import { fromWireId } from '../kernel/ids.ts'
import { type Outcome, refuse } from '../ledger/command.ts'
import { decided, type Operation, operation, walletRef } from '../ledger/operation.ts'
import { askRefund } from './ask-refund.ts'
import { type Provider, payments } from './payment.ts'
import { type Order, placeOrder } from './place-order.ts'
import { paymentObject, paymentParams, paymentToWire, purchaseBody, refundBody } from './schemas.ts'

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

/** A request to give money back, with its amount in the currency's smallest unit. */
export interface CountedRefund extends z.output<typeof refundBody> {
  readonly units?: bigint | null
}

const askedRefund = z.object({ refund_id: z.string(), provider_payment_id: z.string() })
/** What the lane remembers of a request: with this the provider is asked, however often it is repeated. */
export type AskedRefundBody = z.output<typeof askedRefund>

/** Refunds go through the lane for their keys' sake: a request that is repeated, even days later, asks for the same refund. */
export const refundOperation: Operation = operation({
  name: 'payment_refund',
  path: '/v1/admin/payments/:payment_id/refund',
  scope: 'admin',
  tag: 'Payments',
  summary: 'Give money back',
  description:
    'Asks the payment provider. The credits are taken back as soon as it says that the money is on its way; those that were spent become debt. The same key asks for the same refund.',
  status: 200,
  needsCredits: false,
  params: paymentParams,
  body: refundBody as z.ZodType<CountedRefund>,
  answer: askedRefund,
  plan(_caller, params, body) {
    const paymentId = fromWireId('payment', params.payment_id) as string
    return {
      wallets: [],
      rows: [{ table: payments, id: paymentId }],
      decide: (draft, { rows: [walletId] }) => {
        const asked = askRefund(draft, { walletId, paymentId, amount: body.units ?? null, reason: body.reason })
        return decided(asked, 200, ({ id, payment, objectId }) => ({
          effectId: id,
          walletId: payment.walletId,
          body: { refund_id: id, provider_payment_id: objectId } satisfies AskedRefundBody,
        }))
      },
    }
  },
})
