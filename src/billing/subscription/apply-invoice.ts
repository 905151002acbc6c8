import { grants } from '../../grants/grant.ts'
import { giveGrant, roomFor } from '../../grants/issue.ts'
import { settle } from '../../grants/settle.ts'
import { refusal } from '../../kernel/errors.ts'
import { toWireId } from '../../kernel/ids.ts'
import type { Instant } from '../../kernel/time.ts'
import type { Draft } from '../../ledger/book.ts'
import { done, type Outcome, refuse } from '../../ledger/command.ts'
import { formatMoney } from '../money.ts'
import { type Payment, payments } from '../payment.ts'
import type { Bought, Period, ProviderInvoice } from './invoice.ts'
import { cameLate, grantsOf, rollOver } from './roll-over.ts'
import { GRACE_MS, type Subscription, sourceOf, subscriptions } from './subscription.ts'

export interface ApplyInvoiceInput {
  readonly walletId: string
  readonly subscriptionId: string
  /** The invoice's own, the same whoever reads it. */
  readonly paymentId: string
  /** Paid, and the subscription's. */
  readonly invoice: ProviderInvoice
  readonly bought: Bought
}

/**
 * Grants what a paid invoice bought, once. Invoices may come late and in any order. Credits of a period that is over, or nearly, stand by
 * themselves: they take over nothing, go over into nothing, and no other invoice ends them, so it does not matter which came first.
 */
export function applyInvoice(draft: Draft, input: ApplyInvoiceInput): Outcome<{ payment: Payment; changed: boolean }> {
  const { walletId, paymentId, invoice, bought } = input
  const known = draft.get(payments, walletId, paymentId)
  if (known) return done(withObject(draft, known, invoice.objectId))
  const subscription = draft.get(subscriptions, walletId, input.subscriptionId)
  if (!subscription) return refuse(refusal('subscription_not_found', 'There is no such subscription.'))
  if (draft.wallet(walletId).status === 'closed')
    return refuse(refusal('wallet_closed', 'The wallet was closed before its invoice was paid.'))
  settle(draft, walletId)
  const room = roomFor(draft, walletId, bought.credits)
  if (!room.ok) return room

  const place = placeOf(subscription, bought.period)
  const isLate = bought.period.end < draft.now + GRACE_MS
  const reference = toWireId('payment', paymentId)
  let after: Subscription = { ...subscription, objectId: subscription.objectId ?? invoice.subscriptionObjectId, updatedAt: draft.now }
  if (place === 'next') {
    const how = { room: bought.plan.rolloverCap, expiresAt: expiryOf(draft, subscription, bought.period.end), reference }
    const old = isLate ? [] : grantsOf(draft, subscription).filter((grant) => !cameLate(grant))
    after = { ...after, rolledOver: rollOver(draft, subscription, old, how) }
  }
  if (place === 'next' || (place === 'present' && bought.period.start >= (subscription.creditedFrom ?? 0))) {
    const { start, end } = bought.period
    after = { ...after, creditedPlanId: bought.plan.id, creditedFrom: start, creditedUntil: end }
  }

  const grantId = draft.nextId()
  const payment = paymentOf(draft, input, subscription, grantId)
  issue(draft, payment, subscription, bought)
  draft.put(payments, payment)
  settle(draft, walletId)
  if (place === 'past' && !isLate) after = { ...after, rolledOver: after.rolledOver + passOn(draft, after, payment, bought) }
  draft.put(subscriptions, after)
  return done({ payment, changed: true })
}

/**
 * Where a period lies to the newest that was credited: it follows on it, it is a part of it (an upgrade) or overlaps it, or it was over
 * before that began.
 */
export function placeOf(
  { creditedFrom, creditedUntil }: Pick<Subscription, 'creditedFrom' | 'creditedUntil'>,
  { start, end }: Period,
): 'next' | 'present' | 'past' {
  if (creditedFrom === null || creditedUntil === null || start >= creditedUntil) return 'next'
  return end <= creditedFrom ? 'past' : 'present'
}

/**
 * When credits for a period end: a while after it, for the next one is paid a little late; with it where there will be none. Whenever
 * they come, there is that while to spend them in.
 */
function expiryOf(draft: Draft, { status }: Subscription, periodEnd: Instant): Instant {
  return Math.max(status === 'canceled' ? periodEnd : periodEnd + GRACE_MS, draft.now + GRACE_MS)
}

function issue(draft: Draft, payment: Payment, subscription: Subscription, { credits: amount, period }: Bought): void {
  const { walletId, currency } = payment
  giveGrant(draft, {
    id: payment.grantId ?? '',
    walletId,
    kind: 'purchase',
    amount,
    expiresAt: expiryOf(draft, subscription, period.end),
    costBasis: JSON.stringify({ amount: formatMoney(payment.amount, currency), currency }),
    source: sourceOf(subscription),
    reference: toWireId('payment', payment.id),
  })
}

/** Hands on what is left of a grant for a period before the newest, as far as that has room for more. */
function passOn(draft: Draft, subscription: Subscription, payment: Payment, bought: Bought): bigint {
  const { rolloverCap } = bought.plan
  const grant = draft.get(grants, payment.walletId, payment.grantId ?? '')
  if (!grant || grant.remaining === 0n || subscription.creditedUntil === null) return 0n
  return rollOver(draft, subscription, [grant], {
    room: rolloverCap > subscription.rolledOver ? rolloverCap - subscription.rolledOver : 0n,
    expiresAt: expiryOf(draft, subscription, subscription.creditedUntil),
    reference: toWireId('payment', payment.id),
  })
}

function paymentOf(draft: Draft, { walletId, paymentId, invoice, bought }: ApplyInvoiceInput, of: Subscription, grantId: string): Payment {
  return {
    walletId,
    id: paymentId,
    clientId: of.clientId,
    kind: 'plan',
    origin: 'subscription',
    packageVersionId: null,
    subscriptionId: of.id,
    invoiceId: invoice.invoiceId,
    currency: invoice.currency,
    amount: invoice.amountPaid,
    credits: bought.credits,
    bonus: 0n,
    firstBonus: 0n,
    promotion: 0n,
    redemptionId: null,
    promotionGrantId: null,
    provider: of.provider,
    livemode: invoice.livemode,
    status: 'paid',
    failure: null,
    objectId: invoice.objectId,
    checkoutId: null,
    refunded: 0n,
    withdrawn: 0n,
    disputed: false,
    reversed: 0n,
    taken: [],
    grantId,
    bonusGrantId: null,
    appliedRead: 0n,
    reference: null,
    metadata: null,
    createdAt: draft.now,
    updatedAt: draft.now,
    paidAt: invoice.paidAt ?? draft.now,
  }
}

/** The payment behind an invoice may be learned of after the invoice. */
function withObject(draft: Draft, known: Payment, objectId: string | null): { payment: Payment; changed: boolean } {
  if (objectId === null || known.objectId !== null) return { payment: known, changed: false }
  const payment = { ...known, objectId, updatedAt: draft.now }
  draft.put(payments, payment)
  return { payment, changed: true }
}
