import { newId, toWireId } from '../kernel/ids.ts'
import type { Speaker } from '../ledger/book.ts'
import type { Command } from '../ledger/command.ts'
import type { Lane } from '../ledger/lane.ts'
import { applyPayment } from './apply-payment.ts'
import type { Gateway } from './gateway.ts'
import { disagreement, type Payment, type ProviderPayment, payments } from './payment.ts'
import { firstPayments, redemptions } from './promotion/promotion.ts'
import { type InvoiceSyncPorts, syncInvoice } from './subscription/sync-invoice.ts'
import { syncSubscription, syncUnpaidPage } from './subscription/sync-subscription.ts'
import { topUps } from './top-up/top-up.ts'

export interface SyncPorts extends InvoiceSyncPorts {
  readonly gateway: Gateway
  readonly lane: Pick<Lane, 'submit'>
  readonly orders: InvoiceSyncPorts['orders'] & {
    find(id: string): Promise<Payment | null>
    /** The order that this payment of the provider belongs to. */
    findByObject(provider: string, objectId: string): Promise<Payment | null>
    /** The next reading's number. */
    nextRead(): Promise<bigint>
  }
}

/** `id` is that of the order or subscription on the wire. */
export type SyncOutcome =
  /** The order or subscription is as the provider says, and whether that was news. */
  | { readonly outcome: 'applied'; readonly changed: boolean; readonly id: string }
  /** Not an order of ours, or nothing that concerns credits yet. `settles` is another subject that nobody has to look at any more. */
  | { readonly outcome: 'ignored'; readonly reason: string; readonly settles?: string }
  /** Somebody has to look at it; nothing was credited. */
  | { readonly outcome: 'parked'; readonly reason: string; readonly id: string | null }

/** The subjects that nobody has to look at any more. */
export function settledBy(outcome: SyncOutcome, subject: string): string[] {
  return outcome.outcome === 'ignored' && outcome.settles !== undefined ? [subject, outcome.settles] : [subject]
}

/**
 * Reads what the provider says now about whatever it named, and brings the order to it. What was told is not believed, only that there
 * is something to read: late, repeated and reordered tidings all end in the same state.
 * @throws what the provider or the database says when it cannot be reached; it may then be tried again
 */
export async function sync(ports: SyncPorts, subject: string, cause: string): Promise<SyncOutcome> {
  const resolved = await ports.gateway.resolve(subject)
  switch (resolved.kind) {
    case 'none':
      return { outcome: 'ignored', reason: resolved.reason }
    case 'expired':
      return expired(ports, resolved, cause)
    case 'subscription_expired':
      return syncUnpaidPage(ports, resolved.subscriptionId, resolved.checkoutId, cause)
    case 'subscription':
      return syncSubscription(ports, resolved.objectId, cause)
    case 'invoice':
      return ofInvoice(ports, resolved.invoiceId, cause)
    case 'payment':
      return ofPayment(ports, resolved.objectId, cause)
  }
}

/** An invoice, and what has become of its money since: events of the two come in any order. */
async function ofInvoice(ports: SyncPorts, invoiceId: string, cause: string): Promise<SyncOutcome> {
  const { outcome, objectId } = await syncInvoice(ports, invoiceId, cause)
  if (objectId === null) return outcome
  const payment = await ofPayment(ports, objectId, cause)
  return payment.outcome === 'parked' ? payment : outcome
}

async function ofPayment(ports: SyncPorts, objectId: string, cause: string): Promise<SyncOutcome> {
  const { gateway, orders } = ports
  // Before the reading begins: whoever has the larger number has seen the newer state.
  const read = await orders.nextRead()
  const state = await gateway.readPayment(objectId)
  if (!state) return { outcome: 'ignored', reason: 'the provider does not know this payment' }
  const known = await orders.findByObject(gateway.provider, objectId)
  const payment = known ?? (state.paymentId === null ? null : await orders.find(state.paymentId))
  if (!payment) {
    if (state.paymentId !== null) return unfit(state, 'a payment of an order that is not in this database', null)
    // It may have come before the invoice that it pays.
    const invoiceId = state.status === 'paid' ? await gateway.subscriptions?.invoiceOf(objectId) : null
    if (!invoiceId) return { outcome: 'ignored', reason: 'a payment of somebody else' }
    const outcome = await ofInvoice(ports, invoiceId, cause)
    const given = outcome.outcome === 'parked' ? unfit(state, outcome.reason, outcome.id) : outcome
    return given.outcome === 'ignored' ? { ...given, settles: invoiceId } : given
  }
  if (payment.provider !== gateway.provider)
    return { outcome: 'parked', reason: 'an order at another provider', id: toWireId('payment', payment.id) }
  return apply(ports, payment, (await isBeyondPaying(gateway, payment, state)) ? { ...state, status: 'failed' } : state, read, cause)
}

/** A method that takes days came to nothing, and the page on which another one could be chosen is closed. */
async function isBeyondPaying(gateway: Gateway, payment: Payment, { status, failure }: ProviderPayment): Promise<boolean> {
  if (payment.status === 'paid' || payment.checkoutId === null || status !== 'open' || failure === null) return false
  return (await gateway.readCheckout(payment)) === null
}

/** An order that can be paid on no more, and that nobody has paid. */
export async function leaveUnpaid(ports: SyncPorts, payment: Payment, cause: string): Promise<SyncOutcome> {
  return apply(ports, payment, null, await ports.orders.nextRead(), cause)
}

async function expired(ports: SyncPorts, page: { paymentId: string | null; checkoutId: string }, cause: string): Promise<SyncOutcome> {
  const payment = page.paymentId === null ? null : await ports.orders.find(page.paymentId)
  if (!payment) return { outcome: 'ignored', reason: 'a page of somebody else' }
  const superseded = payment.checkoutId !== null && payment.checkoutId !== page.checkoutId
  if (superseded || !isUntouched(payment)) return { outcome: 'applied', changed: false, id: toWireId('payment', payment.id) }
  return leaveUnpaid(ports, payment, cause)
}

/** Nobody has begun to pay it. */
function isUntouched({ status, objectId }: Payment): boolean {
  return status === 'pending' && objectId === null
}

/** What a command says of itself: whether it was news, or why the payment cannot be the one of this order. */
interface Brought {
  readonly changed: boolean
  readonly wrong: string | null
}

/** @param state null for a page that was left unpaid */
async function apply(ports: SyncPorts, payment: Payment, state: ProviderPayment | null, read: bigint, cause: string): Promise<SyncOutcome> {
  const id = toWireId('payment', payment.id)
  const answer = await ports.lane.submit(paymentCommand(payment, state, read, { actor: `provider:${payment.provider}`, requestId: cause }))
  if (answer.status < 400) {
    const { changed, wrong } = JSON.parse(answer.body) as Brought
    return wrong === null ? { outcome: 'applied', changed, id } : unfit(state, wrong, id)
  }
  const { detail } = JSON.parse(answer.body) as { detail: string }
  return unfit(state, detail, id)
}

/** What does not fit is for a person, unless that person has given all of the money back. */
function unfit(state: ProviderPayment | null, reason: string, id: string | null): SyncOutcome {
  const isGivenBack = state?.status === 'paid' && state.refunded >= state.amount
  return isGivenBack ? { outcome: 'ignored', reason: `${reason}; all of it was given back` } : { outcome: 'parked', reason, id }
}

function paymentCommand(payment: Payment, state: ProviderPayment | null, read: bigint, who: Pick<Speaker, 'actor' | 'requestId'>): Command {
  const now = state ?? unpaid(payment)
  return {
    name: 'payment',
    id: newId(),
    speaker: { clientId: null, everyClient: true, ...who },
    wallets: [],
    rows: [
      { table: payments, id: payment.id },
      { table: topUps, id: payment.walletId },
      { table: firstPayments, id: payment.walletId },
      ...(payment.redemptionId === null ? [] : [{ table: redemptions, id: payment.redemptionId }]),
    ],
    idempotency: null,
    decide(draft, { rows: [walletId] }) {
      const told = (body: Brought) => ({ ok: true, status: 200, effectId: payment.id, walletId: payment.walletId, body }) as const
      // Only here, under the lock, is the order as it is: another payment may have become its own since it was looked for.
      const found = walletId === undefined ? undefined : draft.get(payments, walletId, payment.id)
      if (found && state === null && !isUntouched(found)) return told({ changed: false, wrong: null })
      const wrong = found ? disagreement(found, now) : null
      if (wrong !== null) return told({ changed: false, wrong })
      const applied = applyPayment(draft, { walletId, paymentId: payment.id, read, state: now })
      return applied.ok ? told({ changed: applied.value.changed, wrong: null }) : applied
    },
  }
}

/** What an order comes to whose page was left. */
function unpaid({ id, walletId, currency, livemode }: Payment): ProviderPayment {
  return {
    objectId: null,
    status: 'failed',
    failure: 'nobody paid it',
    currency,
    amount: 0n,
    refunded: 0n,
    withdrawn: 0n,
    disputed: false,
    livemode,
    paymentId: id,
    walletId,
    paidAt: null,
  }
}
