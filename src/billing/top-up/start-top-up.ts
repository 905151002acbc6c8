import { settle } from '../../grants/settle.ts'
import { DAY_MS } from '../../kernel/time.ts'
import { type Draft, TOP_UP_TOPIC } from '../../ledger/book.ts'
import type { Outcome } from '../../ledger/command.ts'
import type { Payment, Provider } from '../payment.ts'
import { payments } from '../payment.ts'
import { addOrder, type Order } from '../place-order.ts'
import { addDecline, FAILURES_MAX, failuresOf, forgive } from './decline.ts'
import { isResting, isWanted, needsTopUp, putTopUp, spentIn, stopped, type TopUp, tellWhenReady, topUps } from './top-up.ts'

export interface StartInput {
  readonly walletId: string
  /** As it was when its order was priced. */
  readonly priced: Pick<TopUp, 'package' | 'amount' | 'currency'>
  /** What its package or amount comes to now; a refusal where that is not sold. */
  readonly order: Outcome<Order>
  readonly provider: Provider
  readonly livemode: boolean
}

/** The attempt that is under way. */
export interface Attempt {
  readonly paymentId: string
  /** Whether somebody still wants it; not once the top-up was switched off or stopped, or its wallet frozen. */
  readonly isWanted: boolean
}

/** The card of an attempt, written down with its order: so it stays the same one whatever is set meanwhile, as it is at the provider. */
interface AttemptCard {
  readonly payment_method: string
  readonly fingerprint: string
}

export function cardOf({ metadata }: Pick<Payment, 'metadata'>): Partial<AttemptCard> {
  return JSON.parse(metadata ?? '{}') as Partial<AttemptCard>
}

/** Whether somebody pays an order on a page or form, and not a saved card while nobody is there, nor an invoice. */
export function isPaidInPerson({ origin, metadata }: Pick<Payment, 'origin' | 'metadata'>): boolean {
  return origin === 'purchase' || (origin === 'top_up' && cardOf({ metadata }).payment_method === undefined)
}

/** Begins an attempt where the wallet needs one. @returns it, or the one that is under way; null where there is nothing to do */
export function startTopUp(draft: Draft, input: StartInput): Attempt | null {
  const { walletId } = input
  const topUp = draft.get(topUps, walletId, walletId)
  if (!topUp) return null
  if (topUp.inFlightId !== null) return { paymentId: topUp.inFlightId, isWanted: isWanted(topUp, draft.wallet(walletId)) }
  settle(draft, walletId)
  const wallet = draft.wallet(walletId)
  // However it came to be told: a card that was declined is left alone for as long as it has to be.
  if (isResting(topUp, draft.now)) {
    if (topUp.status === 'active') tellWhenReady(draft, topUp)
    return null
  }
  if (!needsTopUp(topUp, wallet)) {
    // Its card may be tried again, so the wallet is armed again.
    if (topUp.status === 'active' && wallet.topUpThreshold === null) putTopUp(draft, topUp)
    return null
  }
  // It was set anew since: what is not wanted any more is not bought.
  const { priced } = input
  if (topUp.package !== priced.package || topUp.amount !== priced.amount || topUp.currency !== priced.currency) {
    draft.tell({ topic: TOP_UP_TOPIC, walletId, payload: {} })
    return null
  }
  const order = input.order.ok ? input.order.value : null
  // A package has the price of the moment. One that a whole period could not pay for would wait for ever.
  if (order === null || order.currency !== topUp.currency || order.amount > topUp.capAmount) {
    putTopUp(draft, stopped(topUp, 'not_for_sale'))
    return null
  }
  const { start, spent } = spentIn(topUp, draft.now)
  if (spent + order.amount > topUp.capAmount) {
    putTopUp(draft, { ...topUp, status: 'capped', periodStart: start, periodSpent: spent })
    return null
  }
  const card: AttemptCard = { payment_method: topUp.methodId, fingerprint: topUp.fingerprint }
  const metadata = JSON.stringify(card)
  const details = { origin: 'top_up', provider: input.provider, livemode: input.livemode, reference: null, metadata } as const
  const payment = addOrder(draft, wallet, order, details)
  putTopUp(draft, { ...topUp, inFlightId: payment.id, periodStart: start, periodSpent: spent + order.amount })
  return { paymentId: payment.id, isWanted: true }
}

/** Takes a top-up that reached its cap up again when the next period has begun. */
export function resumeTopUp(draft: Draft, walletId: string): void {
  const topUp = draft.get(topUps, walletId, walletId)
  if (topUp?.status !== 'capped' || topUp.periodStart === null || draft.now < topUp.periodStart + topUp.capDays * DAY_MS) return
  putTopUp(draft, { ...topUp, status: 'active', periodStart: null, periodSpent: 0n })
}

/** How an attempt came to nothing: the card was declined, something else was in the way, it wants its owner, or nothing was ever asked of it. */
export type Ending = 'declined' | 'refused' | 'authentication_required' | 'abandoned'

/** Ends the attempt of an order: it was paid, or it came to nothing and leaves the cap as it was. */
export function endAttempt(draft: Draft, payment: Payment, ending: Ending): void {
  const topUp = draft.get(topUps, payment.walletId, payment.walletId)
  if (!topUp) return
  const isAwaited = topUp.inFlightId === payment.id || topUp.actionId === payment.id
  if (payment.status === 'paid' && isAwaited) putPaid(draft, topUp, payment)
  else if (payment.status === 'paid') countLate(draft, topUp, payment)
  else if (topUp.inFlightId === payment.id) putFailed(draft, topUp, payment, ending)
  else if (topUp.actionId === payment.id) putTopUp(draft, { ...topUp, actionId: null, actionUrl: null })
}

function putPaid(draft: Draft, topUp: TopUp, payment: Payment): void {
  // Whoever paid in person has shown that the card is theirs.
  const isAction = topUp.actionId === payment.id
  const fingerprint = cardOf(payment).fingerprint ?? topUp.fingerprint
  const declines = forgive(topUp.declines, fingerprint)
  const inFlightId = isAction ? topUp.inFlightId : null
  const isCardsFault = topUp.stoppedReason === 'card_declined' || topUp.stoppedReason === 'authentication_required'
  const isRevived = isCardsFault && fingerprint === topUp.fingerprint
  const action = isAction || isRevived ? { actionId: null, actionUrl: null } : {}
  putTopUp(draft, { ...topUp, ...action, ...(isRevived && { status: 'active', stoppedReason: null }), declines, inFlightId })
}

/** An attempt that was given up and has been charged all the same counts for the cap. */
function countLate(draft: Draft, topUp: TopUp, { origin, currency, amount, metadata }: Payment): void {
  const isAttempt = origin === 'top_up' && !isPaidInPerson({ origin, metadata })
  if (!isAttempt || currency !== topUp.currency) return
  const { start, spent } = spentIn(topUp, draft.now)
  putTopUp(draft, { ...topUp, periodStart: start, periodSpent: spent + amount })
}

/** What a card did counts against that card, and stops the top-up only where it is still the one. */
function putFailed(draft: Draft, before: TopUp, payment: Payment, ending: Ending): void {
  const fingerprint = cardOf(payment).fingerprint ?? before.fingerprint
  const stands = ending === 'declined' || ending === 'refused'
  const declines = stands ? addDecline(before.declines, fingerprint, draft.now, ending === 'declined') : before.declines
  const periodSpent = before.periodSpent > payment.amount ? before.periodSpent - payment.amount : 0n
  const topUp: TopUp = { ...before, declines, inFlightId: null, periodSpent }
  const isOut = ending === 'declined' && failuresOf(declines, fingerprint, draft.now) >= FAILURES_MAX
  const reason = ending === 'authentication_required' ? ending : isOut ? 'card_declined' : null
  putTopUp(draft, reason !== null && fingerprint === topUp.fingerprint ? stopped(topUp, reason) : topUp)
}

/** Gives an attempt up: the provider made no payment, and never will. */
export function failAttempt(draft: Draft, walletId: string, paymentId: string, failure: string, ending: Ending): void {
  const payment = draft.get(payments, walletId, paymentId)
  if (payment?.status !== 'pending') return
  const failed: Payment = { ...payment, status: 'failed', failure, updatedAt: draft.now }
  draft.put(payments, failed)
  endAttempt(draft, failed, ending)
}

/** Stops a top-up whose money went back: whoever took it back is not charged again before somebody said so. */
export function stopReversed(draft: Draft, { walletId, origin }: Payment): void {
  const topUp = origin === 'top_up' ? draft.get(topUps, walletId, walletId) : undefined
  if (topUp && topUp.status !== 'off') putTopUp(draft, stopped(topUp, 'payment_reversed'))
}

/** So long a charge may still be under way that has just been declined: whoever made it ends its attempt. Milliseconds. */
const OWN_ENDING_MS = 300_000

/** Tells of an attempt that was under way for a while and fell back: nobody will pay it any more. */
export function tellFallen(draft: Draft, payment: Payment): void {
  const topUp = draft.get(topUps, payment.walletId, payment.walletId)
  if (payment.status !== 'pending' || payment.failure === null || topUp?.inFlightId !== payment.id) return
  draft.tell({ topic: TOP_UP_TOPIC, walletId: payment.walletId, payload: {}, notBefore: draft.now + OWN_ENDING_MS })
}
