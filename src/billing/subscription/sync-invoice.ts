import { idOfName, toWireId } from '../../kernel/ids.ts'
import { type Payment, payments } from '../payment.ts'
import type { SyncOutcome } from '../sync.ts'
import { applyInvoice } from './apply-invoice.ts'
import { boughtBy } from './invoice.ts'
import { findSubscription, misfit, nobodys, type SubscriptionSyncPorts, submit } from './sync-subscription.ts'

export interface InvoiceSyncPorts extends SubscriptionSyncPorts {
  readonly orders: SubscriptionSyncPorts['orders'] & {
    findByInvoice(provider: string, invoiceId: string): Promise<Payment | null>
  }
}

/**
 * Grants what an invoice bought once it is paid. A paid invoice changes no more, so there is nothing to number: whoever reads it first
 * grants, and everybody after finds the payment that has its id. Money that buys no credits is for a person to look at.
 * @returns with the payment behind it, when there is something new to say of that
 */
export async function syncInvoice(
  ports: InvoiceSyncPorts,
  invoiceId: string,
  cause: string,
): Promise<{ outcome: SyncOutcome; objectId: string | null }> {
  const { gateway } = ports
  const end = (outcome: SyncOutcome) => ({ outcome, objectId: null })
  const known = await ports.orders.findByInvoice(gateway.provider, invoiceId)
  if (known && known.objectId !== null) return end({ outcome: 'applied', changed: false, id: toWireId('payment', known.id) })
  const invoice = (await gateway.subscriptions?.readInvoice(invoiceId)) ?? null
  if (!invoice) return end({ outcome: 'ignored', reason: 'the provider does not know this invoice' })
  const { subscriptionObjectId } = invoice
  if (subscriptionObjectId === null) return end({ outcome: 'ignored', reason: 'an invoice of somebody else' })
  const subscription = await findSubscription(ports, subscriptionObjectId, invoice.subscriptionId)
  if (!subscription) return end(nobodys(invoice.subscriptionId))
  const { walletId, id: subscriptionId } = subscription
  const wrong = misfit(subscription, { ...invoice, objectId: subscriptionObjectId, provider: gateway.provider })
  if (wrong) return end({ outcome: 'parked', reason: wrong, id: toWireId('subscription', subscriptionId) })
  if (!invoice.isPaid) return end({ outcome: 'ignored', reason: 'the invoice is not paid' })
  const priceIds = invoice.lines.flatMap(({ priceId }) => priceId ?? [])
  const bought = boughtBy(invoice.lines, await ports.plans.ofPrices(gateway.provider, priceIds))
  if (!bought && invoice.amountPaid > 0n)
    return end({ outcome: 'parked', reason: 'money for nothing that is sold here', id: toWireId('subscription', subscriptionId) })
  if (!bought) return end({ outcome: 'ignored', reason: 'the invoice buys no credits' })

  const paymentId = idOfName(`${gateway.provider} ${invoiceId}`, invoice.createdAt)
  const answer = await submit(
    ports,
    subscription,
    cause,
    (draft) => {
      const applied = applyInvoice(draft, { walletId, subscriptionId, paymentId, invoice, bought })
      return applied.ok ? { ok: true, value: { changed: applied.value.changed } } : applied
    },
    [{ table: payments, id: paymentId }],
  )
  const body = JSON.parse(answer.body) as { changed: boolean; detail: string }
  const wireId = toWireId('payment', paymentId)
  if (answer.status >= 400) return end({ outcome: 'parked', reason: body.detail, id: wireId })
  return { outcome: { outcome: 'applied', changed: body.changed, id: wireId }, objectId: body.changed ? invoice.objectId : null }
}
