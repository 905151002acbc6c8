import { FareboxError } from '../../kernel/errors.ts'
import type { Draft } from '../../ledger/book.ts'
import { done, type Outcome, refuse } from '../../ledger/command.ts'
import type { Checkout, CheckoutOrder, Gateway } from '../gateway.ts'
import type { Payment } from '../payment.ts'
import { addOrder, type Order } from '../place-order.ts'
import { submit, type TopUpPorts } from './ports.ts'
import { cardOf, failAttempt } from './start-top-up.ts'
import { putTopUp, stopped, type TopUp, topUps } from './top-up.ts'

/** So often it is looked whether there is a way back from a page by now. */
const PAGE_AGAIN_MS = 600_000

/**
 * Stops the top-up until its owner has paid an order in person: that shows the bank who they are. The attempt may be over by now, ended
 * as any other by an event of the provider's; nothing is charged beside the page all the same.
 */
export function askOwner(draft: Draft, attempt: Payment, order: Order | null): void {
  const { walletId, provider, livemode } = attempt
  const topUp = draft.get(topUps, walletId, walletId)
  const wallet = draft.wallet(walletId)
  const isOther = topUp?.fingerprint !== (cardOf(attempt).fingerprint ?? topUp?.fingerprint)
  if (!topUp || isOther || topUp.status === 'off' || topUp.actionId !== null) return
  const asked = stopped(topUp, 'authentication_required')
  const isPayable = order !== null && wallet.status !== 'closed' && asked.stoppedReason === 'authentication_required'
  if (isPayable) addOrder(draft, wallet, order, { origin: 'top_up', provider, livemode, reference: null, metadata: null })
  putTopUp(draft, isPayable ? { ...asked, actionId: draft.commandId } : asked)
}

/** Opens the page on which the owner pays. @returns milliseconds after which to look again; null when there is nothing left to do */
export async function openAction(ports: TopUpPorts, { walletId, actionId }: TopUp): Promise<number | null> {
  const { gateway, orders, returnUrl } = ports
  const payment = actionId === null ? null : await orders.find(actionId)
  const customerId = await orders.findCustomer(walletId, gateway)
  if (payment?.status !== 'pending' || customerId === null) return null
  if (returnUrl === null) {
    ports.log.warn({ walletId }, 'CHECKOUT_RETURN_URL is not set: there is no page on which the owner could pay')
    return PAGE_AGAIN_MS
  }
  const { id: paymentId, currency, amount } = payment
  const about = { name: 'top_up_action', paymentId } as const
  const opened = await openPage(gateway, {
    ...{ paymentId, walletId, customerId, currency, amount },
    ...{ title: 'Top-up', email: null, flow: 'checkout', savesCard: true, successUrl: returnUrl, cancelUrl: returnUrl },
  })
  if (!opened.ok) {
    // Setting the top-up again leads to another order.
    await submit(ports, walletId, (draft) => giveUp(draft, walletId, paymentId, opened.refusal.detail), about)
    return null
  }
  const { checkoutId, objectId, url } = opened.value
  await orders.linkCheckout(payment, checkoutId, objectId)
  await submit(ports, walletId, (draft) => showPage(draft, walletId, paymentId, url), about)
  return null
}

/** @throws what the provider says when it cannot be reached */
async function openPage(gateway: Gateway, order: CheckoutOrder): Promise<Outcome<Checkout>> {
  try {
    return done(await gateway.openCheckout(order))
  } catch (error) {
    if (error instanceof FareboxError && error.refusal.code === 'payment_refused') return refuse(error.refusal)
    throw error
  }
}

function giveUp(draft: Draft, walletId: string, paymentId: string, failure: string): object {
  failAttempt(draft, walletId, paymentId, failure, 'abandoned')
  return {}
}

/** Keeps where the owner pays. The wallet's version rises, so that whoever follows the wallet is told of it. */
function showPage(draft: Draft, walletId: string, paymentId: string, actionUrl: string | null): object {
  const topUp = draft.get(topUps, walletId, walletId)
  if (topUp?.actionId !== paymentId) return {}
  putTopUp(draft, { ...topUp, actionUrl })
  draft.putWallet(draft.wallet(walletId))
  return {}
}
