import { settle } from '../../grants/settle.ts'
import { DAY_MS } from '../../kernel/time.ts'
import { type Draft, TOP_UP_TOPIC } from '../../ledger/book.ts'
import type { Outcome } from '../../ledger/command.ts'
import type { Payment, Provider } from '../payment.ts'
import { payments } from '../payment.ts'
import { addOrder, type Order } from '../place-order.ts'
import { FAILURES_MAX, needsTopUp, putTopUp, RETRY_MS, type StopReason, spentIn, type TopUp, topUps } from './top-up.ts'

export interface StartInput {
  readonly walletId: string
  /** As it was when its order was priced. */
  readonly priced: Pick<TopUp, 'package' | 'amount'>
  /** What its package or amount comes to now; a refusal where that is not sold. */
  readonly order: Outcome<Order>
  readonly provider: Provider
  readonly livemode: boolean
}

/** Begins an attempt where the wallet needs one. @returns its order, or the one that is under way; null where there is nothing to do */
export function startTopUp(draft: Draft, input: StartInput): string | null {
  const { walletId } = input
  const topUp = draft.get(topUps, walletId, walletId)
  if (!topUp) return null
  if (topUp.inFlightId !== null) return topUp.inFlightId
  settle(draft, walletId)
  const wallet = draft.wallet(walletId)
  if (!needsTopUp(topUp, wallet)) return null
  // It was set anew since: what is not wanted any more is not bought.
  if (topUp.package !== input.priced.package || topUp.amount !== input.priced.amount) {
    draft.tell({ topic: TOP_UP_TOPIC, walletId, payload: {} })
    return null
  }
  if (!input.order.ok || input.order.value.currency !== topUp.currency) {
    putTopUp(draft, { ...topUp, status: 'stopped', stoppedReason: 'not_for_sale' })
    return null
  }
  const order = input.order.value
  const { start, spent } = spentIn(topUp, draft.now)
  if (spent + order.amount > topUp.capAmount) {
    putTopUp(draft, { ...topUp, status: 'capped', periodStart: start, periodSpent: spent })
    return null
  }
  // Written down, so that the attempt stays with this card whatever is set meanwhile: at the provider it has one key.
  const metadata = JSON.stringify({ payment_method: topUp.methodId })
  const details = { origin: 'top_up', provider: input.provider, livemode: input.livemode, reference: null, metadata } as const
  const payment = addOrder(draft, wallet, order, details)
  putTopUp(draft, { ...topUp, inFlightId: payment.id, periodStart: start, periodSpent: spent + order.amount })
  return payment.id
}

/** Takes a top-up that reached its cap up again when the next period has begun. */
export function resumeTopUp(draft: Draft, walletId: string): void {
  const topUp = draft.get(topUps, walletId, walletId)
  if (topUp?.status !== 'capped' || topUp.periodStart === null || draft.now < topUp.periodStart + topUp.capDays * DAY_MS) return
  putTopUp(draft, { ...topUp, status: 'active', periodStart: null, periodSpent: 0n })
}

/** Ends the attempt of an order: it was paid, or it came to nothing and leaves the cap as it was. */
export function endAttempt(draft: Draft, payment: Payment, stop: StopReason | null): void {
  const topUp = draft.get(topUps, payment.walletId, payment.walletId)
  if (!topUp) return
  if (payment.status === 'paid') {
    // Whoever paid in person has shown that the card is theirs.
    const isAction = topUp.actionId === payment.id
    if (topUp.inFlightId !== payment.id && !isAction) return
    const revived: Partial<TopUp> =
      topUp.status === 'stopped' && topUp.stoppedReason !== 'not_for_sale' ? { status: 'active', stoppedReason: null } : {}
    putTopUp(draft, { ...topUp, ...revived, failures: 0, actionId: null, actionUrl: null, inFlightId: isAction ? topUp.inFlightId : null })
    return
  }
  if (topUp.actionId === payment.id) putTopUp(draft, { ...topUp, actionId: null, actionUrl: null })
  if (topUp.inFlightId !== payment.id) return
  const failures = topUp.failures + 1
  const reason = stop ?? (failures >= FAILURES_MAX ? 'card_declined' : null)
  const stopped: Partial<TopUp> = reason !== null && topUp.status !== 'off' ? { status: 'stopped', stoppedReason: reason } : {}
  const periodSpent = topUp.periodSpent > payment.amount ? topUp.periodSpent - payment.amount : 0n
  putTopUp(draft, { ...topUp, ...stopped, failures, inFlightId: null, periodSpent }, draft.now + failures * RETRY_MS)
}

/** Gives an attempt up: the provider made no payment, and never will. */
export function failAttempt(draft: Draft, walletId: string, paymentId: string, failure: string, stop: StopReason | null): void {
  const payment = draft.get(payments, walletId, paymentId)
  if (payment?.status !== 'pending') return
  const failed: Payment = { ...payment, status: 'failed', failure, updatedAt: draft.now }
  draft.put(payments, failed)
  endAttempt(draft, failed, stop)
}
