import { refusal } from '../kernel/errors.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { formatMoney } from './money.ts'
import { type Payment, payments } from './payment.ts'

export interface AskRefundInput {
  readonly walletId: string | undefined
  readonly paymentId: string
  /** Of the currency's smallest unit; all that is left when null. */
  readonly amount: bigint | null
  readonly reason: string
}

/** What is to be asked of the provider, the same however often the request is repeated. */
export interface AskedRefund {
  /** Of the request: the provider keeps it with the refund. */
  readonly id: string
  readonly payment: Payment
  readonly objectId: string
}

/**
 * Decides that the provider is asked to give money back, and writes down who asked and why. No credits move: they follow what the
 * provider then says of the payment, as they do when somebody refunds in its own console.
 */
export function askRefund(draft: Draft, input: AskRefundInput): Outcome<AskedRefund> {
  const { walletId, paymentId, amount } = input
  const payment = walletId === undefined ? undefined : draft.get(payments, walletId, paymentId)
  if (!payment) return refuse(refusal('payment_not_found', 'No payment has this id.'))
  const { objectId, currency, refunded } = payment
  if (payment.status !== 'paid' || objectId === null) {
    return refuse(refusal('payment_not_paid', 'There is nothing to give back: it was not paid.'))
  }
  const left = payment.amount - refunded
  if (left <= 0n || (amount !== null && amount > left)) {
    const refundable = formatMoney(left, currency)
    return refuse(refusal('refund_exceeds_payment', `At most ${refundable} ${currency} of it are left.`, { refundable }))
  }
  draft.record({
    action: 'payment.refund',
    targetKind: 'payment',
    targetId: payment.id,
    before: { refunded: formatMoney(refunded, currency) },
    after: { asked: formatMoney(amount ?? left, currency), currency },
    reason: input.reason,
  })
  return done({ id: draft.commandId, payment, objectId })
}
