import { newId } from '../../kernel/ids.ts'
import { type Draft, TOP_UP_TOPIC } from '../../ledger/book.ts'
import { done } from '../../ledger/command.ts'
import type { Lane } from '../../ledger/lane.ts'
import type { PriceBook } from '../../pricing/prices.ts'
import type { Gateway } from '../gateway.ts'
import { formatMoney } from '../money.ts'
import type { Package } from '../package.ts'
import { type Payment, payments } from '../payment.ts'
import type { PaymentReads } from '../payments-prisma.ts'
import { addOrder, type Order } from '../place-order.ts'
import { priceOrder, withBonuses } from '../price-order.ts'
import type { BonusRule } from '../promotion/bonus-rule.ts'
import { retryDelayMs } from '../retry.ts'
import type { SyncOutcome } from '../sync.ts'
import type { Outbox, WaitingEvent } from './outbox.ts'
import type { TopUpReads } from './reads-prisma.ts'
import { failAttempt, resumeTopUp, startTopUp } from './start-top-up.ts'
import { putTopUp, type TopUp, topUps } from './top-up.ts'

export interface TopUpPorts {
  readonly gateway: Gateway
  readonly lane: Pick<Lane, 'submit'>
  readonly outbox: Outbox
  readonly reads: TopUpReads
  readonly orders: Pick<PaymentReads, 'find' | 'findCustomer' | 'linkCheckout'>
  readonly packages: { inForce(at: Date): Promise<Package[]> }
  readonly book: () => PriceBook
  readonly rules: (at: Date) => Promise<BonusRule[]>
  readonly sync: (subject: string, cause: string) => Promise<SyncOutcome>
  /** Where an owner goes after paying in person; null where nobody said. */
  readonly returnUrl: string | null
  readonly log: { warn(fields: object, message: string): void }
}

const CLAIMED_AT_ONCE = 50
/** Longer than the provider may take. */
const LEASE_MS = 120_000
const RETRY_MS_MAX = 600_000
const RESUMED_AT_ONCE = 500

/** Tops up the wallets that the lane told of, and takes those up again whose cap counts anew. */
export async function runTopUps(ports: TopUpPorts): Promise<void> {
  for (const walletId of await ports.reads.resumable(RESUMED_AT_ONCE)) {
    await submit(ports, walletId, (draft) => {
      resumeTopUp(draft, walletId)
      return {}
    })
  }
  for (;;) {
    const claimed = await ports.outbox.claim(TOP_UP_TOPIC, CLAIMED_AT_ONCE, LEASE_MS)
    for (const [walletId, events] of Map.groupBy(claimed, (event) => event.walletId)) await runOne(ports, walletId, events)
    if (claimed.length < CLAIMED_AT_ONCE) return
  }
}

async function runOne(ports: TopUpPorts, walletId: string, events: readonly WaitingEvent[]): Promise<void> {
  const ids = events.map(({ id }) => id)
  try {
    await topUp(ports, walletId)
    await ports.outbox.publish(ids)
  } catch (error) {
    // The attempt stays under way, with its key at the provider: the next try goes on with it.
    const attempts = Math.max(...events.map((event) => event.attempts))
    ports.log.warn({ err: error, walletId, attempts }, 'a top-up will be tried again')
    await ports.outbox.postpone(ids, retryDelayMs(attempts, RETRY_MS_MAX))
  }
}

/** One attempt, begun or gone on with. @throws what the provider or the database says when it cannot be reached */
async function topUp(ports: TopUpPorts, walletId: string): Promise<void> {
  const { gateway, orders } = ports
  const known = await ports.reads.find(walletId)
  if (!known) return
  if (known.actionId !== null && known.actionUrl === null) return openAction(ports, known)
  const onSale = await ports.packages.inForce(new Date())
  const wanted =
    known.package === null
      ? { amount: formatMoney(known.amount ?? 0n, known.currency), currency: known.currency }
      : { package: known.package }
  const plain = priceOrder(wanted, onSale, ports.book(), Date.now())
  const order = plain.ok ? done(withBonuses(plain.value, await ports.rules(new Date()), null)) : plain
  const { provider, livemode } = gateway
  const { payment: paymentId } = await submit(ports, walletId, (draft) => ({
    payment: startTopUp(draft, { walletId, priced: known, order, provider, livemode }),
  }))
  const payment = paymentId === null ? null : await orders.find(paymentId)
  if (payment?.status !== 'pending') return
  if (payment.provider !== provider || payment.livemode !== livemode) throw new Error('an attempt that began at another payment provider')
  const customerId = await orders.findCustomer(walletId, gateway)
  const { payment_method: methodId } = JSON.parse(payment.metadata ?? '{}') as { payment_method?: string }
  if (customerId === null || methodId === undefined) throw new Error('an attempt without an account or a card')
  const title = 'Automatic top-up'
  const { currency, amount } = payment
  const charged = await gateway.chargeCard({
    paymentId: payment.id,
    walletId,
    customerId,
    title,
    currency,
    amount,
    methodId,
  })
  if (charged.outcome === 'made') {
    await orders.linkCheckout(payment, null, charged.objectId)
    await ports.sync(charged.objectId, 'top-up')
    return
  }
  const { failure, needsOwner } = charged
  const end = (draft: Draft) => {
    failAttempt(draft, walletId, payment.id, failure, needsOwner ? 'authentication_required' : null)
    if (needsOwner) askOwner(draft, payment, order.ok ? order.value : null)
    return {}
  }
  await submit(ports, walletId, end, payment.id)
  const after = await ports.reads.find(walletId)
  if (after?.actionId && after.actionUrl === null) await openAction(ports, after)
}

/** Places an order that the owner pays in person: that shows the bank who they are. */
function askOwner(draft: Draft, { walletId, provider, livemode }: Payment, order: Order | null): void {
  const stopped = draft.get(topUps, walletId, walletId)
  if (!stopped || stopped.actionId !== null || order === null) return
  addOrder(draft, draft.wallet(walletId), order, { origin: 'top_up', provider, livemode, reference: null, metadata: null })
  putTopUp(draft, { ...stopped, actionId: draft.commandId })
}

async function openAction(ports: TopUpPorts, { walletId, actionId }: TopUp): Promise<void> {
  const { gateway, orders, returnUrl } = ports
  const payment = actionId === null ? null : await orders.find(actionId)
  const customerId = await orders.findCustomer(walletId, gateway)
  if (payment?.status !== 'pending' || customerId === null) return
  if (returnUrl === null) {
    ports.log.warn({ walletId }, 'CHECKOUT_RETURN_URL is not set: there is no page on which the owner could pay')
    return
  }
  const { id: paymentId, currency, amount } = payment
  const checkout = await gateway.openCheckout({
    ...{ paymentId, walletId, customerId, currency, amount },
    ...{ title: 'Top-up', email: null, flow: 'checkout', successUrl: returnUrl, cancelUrl: returnUrl },
  })
  await orders.linkCheckout(payment, checkout.checkoutId, checkout.objectId)
  await submit(ports, walletId, (draft) => {
    const now = draft.get(topUps, walletId, walletId)
    if (now?.actionId === paymentId) putTopUp(draft, { ...now, actionUrl: checkout.url })
    return {}
  })
}

/** Decides something under the wallet's lock. @throws Error where the lane refuses */
async function submit<Result extends object>(
  { lane }: Pick<TopUpPorts, 'lane'>,
  walletId: string,
  decide: (draft: Draft) => Result,
  paymentId?: string,
): Promise<Result> {
  const { status, body } = await lane.submit({
    name: 'top_up',
    id: newId(),
    speaker: { clientId: null, everyClient: true, actor: 'system:top-up', requestId: 'job:top-ups' },
    wallets: [{ id: walletId }],
    rows: [{ table: topUps, id: walletId }, ...(paymentId === undefined ? [] : [{ table: payments, id: paymentId }])],
    idempotency: null,
    decide: (draft) => ({ ok: true, status: 200, effectId: walletId, walletId, body: decide(draft) }),
  })
  if (status >= 400) throw new Error(`the lane refused a top-up: ${body}`)
  return JSON.parse(body) as Result
}
