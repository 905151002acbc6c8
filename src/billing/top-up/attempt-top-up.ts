import { HOUR_MS } from '../../kernel/time.ts'
import type { Draft } from '../../ledger/book.ts'
import { done, type Outcome } from '../../ledger/command.ts'
import { type DeclineCause, isSameAccount } from '../gateway.ts'
import { formatMoney } from '../money.ts'
import type { Payment } from '../payment.ts'
import type { Order } from '../place-order.ts'
import { priceOrder, withBonuses } from '../price-order.ts'
import { askOwner, openAction } from './ask-owner.ts'
import { submit, type TopUpPorts } from './ports.ts'
import { cardOf, type Ending, failAttempt, startTopUp } from './start-top-up.ts'
import { type TopUp, wantsPage } from './top-up.ts'

const ENDINGS: Readonly<Record<DeclineCause, Ending>> = { card: 'declined', owner: 'authentication_required', other: 'refused' }

/** After so long an attempt is no longer sent again without looking what became of it. */
const LOOK_AFTER_MS = 300_000
/** The provider forgets its keys after a day: sent again after that, a charge would be another one. */
const KEY_MS = 23 * HOUR_MS

/**
 * One attempt, begun or gone on with.
 * @returns milliseconds after which to look again; null when there is nothing left to do
 * @throws what the provider or the database says when it cannot be reached
 */
export async function attemptTopUp(ports: TopUpPorts, walletId: string): Promise<number | null> {
  const { gateway, orders } = ports
  const known = await ports.reads.find(walletId)
  if (!known) return null
  if (wantsPage(known)) return openAction(ports, known)
  const order = await priceOf(ports, known)
  const { provider, livemode } = gateway
  const begun = await submit(ports, walletId, (draft) => ({
    now: draft.now,
    attempt: startTopUp(draft, { walletId, priced: known, order, provider, livemode }),
  }))
  const payment = begun.attempt && (await orders.find(begun.attempt.paymentId))
  if (!begun.attempt || payment?.status !== 'pending') return null
  const { id: paymentId, currency, amount, createdAt } = payment
  const customerId = await orders.findCustomer(walletId, gateway)
  const { payment_method: methodId } = cardOf(payment)
  if (!isSameAccount(gateway, payment) || customerId === null || methodId === undefined) {
    // Nothing that is configured now could charge it, or ever has.
    await end(ports, payment, (draft) =>
      failAttempt(draft, walletId, paymentId, 'its card is not known to the payment provider', 'declined'),
    )
    return null
  }
  const ageMs = begun.now - createdAt
  const isOld = ageMs >= LOOK_AFTER_MS
  const objectId = payment.objectId ?? (isOld ? await gateway.findCharge({ paymentId, customerId, orderedAt: createdAt }) : null)
  if (objectId !== null) {
    await follow(ports, payment, objectId)
    return null
  }
  if (!begun.attempt.isWanted || ageMs > KEY_MS) {
    // The charge may be on its way to the provider just now.
    if (!isOld) return LOOK_AFTER_MS - ageMs
    await end(ports, payment, (draft) => failAttempt(draft, walletId, paymentId, 'it was never charged', 'abandoned'))
    return null
  }
  const charged = await gateway.chargeCard({ paymentId, walletId, customerId, title: 'Automatic top-up', currency, amount, methodId })
  if (charged.outcome === 'made') {
    await follow(ports, payment, charged.objectId)
    return null
  }
  const { failure, because } = charged
  await end(ports, payment, (draft) => {
    failAttempt(draft, walletId, paymentId, failure, ENDINGS[because])
    if (because === 'owner') askOwner(draft, payment, order.ok ? order.value : null)
  })
  const after = await ports.reads.find(walletId)
  return after && wantsPage(after) ? openAction(ports, after) : null
}

/** What a top-up would buy, at the price of the moment. */
async function priceOf(ports: TopUpPorts, { package: name, amount, currency }: TopUp): Promise<Outcome<Order>> {
  const onSale = await ports.packages.inForce(new Date())
  const wanted = name === null ? { amount: formatMoney(amount ?? 0n, currency), currency } : { package: name }
  const plain = priceOrder(wanted, onSale, ports.book(), Date.now())
  return plain.ok ? done(withBonuses(plain.value, await ports.rules(new Date()), null)) : plain
}

/** Brings an attempt to what has become of its charge. */
async function follow(ports: TopUpPorts, payment: Payment, objectId: string): Promise<void> {
  await ports.orders.linkCheckout(payment, null, objectId)
  const state = await ports.gateway.readPayment(objectId)
  // It waits for another way to pay, which nobody will give it, unless it were to be paid beside the attempt that follows.
  if (state?.status === 'open' && state.failure !== null) await ports.gateway.cancelCharge(objectId)
  await ports.sync(objectId, 'top-up')
}

async function end(ports: TopUpPorts, { id, walletId }: Payment, decide: (draft: Draft) => void): Promise<void> {
  const decideAll = (draft: Draft) => {
    decide(draft)
    return {}
  }
  await submit(ports, walletId, decideAll, { paymentId: id })
}
