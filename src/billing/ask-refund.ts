import { FareboxError, fail } from '../kernel/errors.ts'
import type { Gateway, ProviderRefund } from './gateway.ts'
import { formatMoney } from './money.ts'
import type { Payment } from './payment.ts'

export interface AskRefundPorts {
  readonly gateway: Gateway
  /** Writes down what is about to be asked, and by whom: it stays when the asking throws. */
  readonly record: (payment: Payment, amount: bigint) => Promise<void>
}

/**
 * Asks the provider to give money back. The credits follow what the provider then says of the payment, as they do when somebody
 * refunds in the provider's own console.
 * @param amount of the currency's smallest unit; all that is left when null
 * @param key makes a repeated request the same refund
 * @throws FareboxError `payment_not_paid`, `refund_exceeds_payment`, `payment_refused`, `idempotency_key_reused`,
 *   `payment_provider_unavailable`
 */
export async function askRefund(ports: AskRefundPorts, payment: Payment, amount: bigint | null, key: string): Promise<ProviderRefund> {
  if (payment.status !== 'paid' || payment.objectId === null)
    throw fail('payment_not_paid', 'There is nothing to give back: it was not paid.')
  if (payment.provider !== ports.gateway.provider) throw fail('payments_not_configured', 'It was paid at another payment provider.')
  if (amount === 0n || (amount !== null && amount > payment.amount)) throw exceeds(payment)
  const left = payment.amount - payment.refunded
  await ports.record(payment, amount ?? left)
  try {
    // However little is left: only the provider knows whether this request is one that it has carried out before.
    return await ports.gateway.refund({ objectId: payment.objectId, amount, paymentId: payment.id, key })
  } catch (error) {
    const isRefused = error instanceof FareboxError && error.refusal.code === 'payment_refused'
    throw isRefused && (left === 0n || (amount !== null && amount > left)) ? exceeds(payment, error) : error
  }
}

function exceeds({ amount, refunded, currency }: Payment, cause?: unknown): FareboxError {
  const left = formatMoney(amount - refunded, currency)
  return fail('refund_exceeds_payment', `At most ${left} ${currency} of it are left.`, { refundable: left }, cause)
}
