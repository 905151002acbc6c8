import { about, fail } from '../kernel/errors.ts'
import { fromWireId } from '../kernel/ids.ts'
import type { Access } from '../ledger/access.ts'
import { type Answer, done, refuse } from '../ledger/command.ts'
import type { Lane } from '../ledger/lane.ts'
import { type Caller, toCommand, walletRef } from '../ledger/operation.ts'
import type { Wallet } from '../ledger/wallet.ts'
import type { PriceBookKeeper } from '../pricing/price-book.ts'
import type { WalletReads } from '../wallets/reads-prisma.ts'
import { type CustomerPorts, withCustomer } from './customers.ts'
import { type Checkout, type CheckoutOrder, refuseOthers } from './gateway.ts'
import { type PricedPurchase, type Purchase, purchaseOperation } from './operations.ts'
import { orderTitle } from './order-title.ts'
import type { PackageStore } from './packages-prisma.ts'
import type { Payment } from './payment.ts'
import type { PaymentReads } from './payments-prisma.ts'
import { priceOrder, wantedOf, withBonuses } from './price-order.ts'
import { normalCode } from './promotion/promotion.ts'
import type { PromotionStore } from './promotion/store-prisma.ts'

export interface PurchasePorts extends CheckoutPorts {
  readonly lane: Pick<Lane, 'submit'>
  readonly packages: Pick<PackageStore, 'inForce' | 'nameOf'>
  readonly orders: CheckoutPorts['orders'] & Pick<PaymentReads, 'find'>
  readonly wallets: Pick<WalletReads, 'find'>
  readonly prices: Pick<PriceBookKeeper, 'current'>
  readonly promotions: Pick<PromotionStore, 'claim' | 'rulesInForce'>
}

export interface PurchaseRequest {
  readonly caller: Caller
  readonly access: Access
  /** Of the order: with the same key it is the same order. */
  readonly key: string
  readonly body: Purchase
  /** Where the customer is sent back to; known to be addresses of the product. */
  readonly successUrl: string
  readonly cancelUrl: string
}

export type Purchased =
  | { readonly ok: true; readonly payment: Payment; readonly checkout: Checkout | null; readonly replayed: boolean }
  | { readonly ok: false; readonly answer: Answer }

/**
 * Places an order at the price of the moment and opens the way to pay it.
 * @throws FareboxError `wallet_not_found`, `payment_provider_unavailable`
 */
export async function purchase(ports: PurchasePorts, request: PurchaseRequest): Promise<Purchased> {
  const { gateway, orders } = ports
  const { caller, access, key, body, successUrl, cancelUrl } = request
  // Before the key is looked up: what is not the caller's is not there.
  const wallet = await ports.wallets.find(walletRef(body.wallet), access)
  if (!wallet) throw fail('wallet_not_found', 'No wallet of yours has this id or owner.')
  const now = new Date()
  const [onSale, rules] = await Promise.all([ports.packages.inForce(now), ports.promotions.rulesInForce(now)])
  const plain = priceOrder(wantedOf(body), onSale, ports.prices.current(), now.getTime())
  const { promotion_code: code } = body
  const claim = code === undefined ? null : await ports.promotions.claim(normalCode(code), wallet.id, true)
  const order = !plain.ok
    ? plain
    : claim && !claim.ok
      ? refuse(about('/promotion_code', claim.refusal))
      : done(withBonuses(plain.value, rules, claim?.ok ? claim.value : null))
  const priced: PricedPurchase = { ...body, order }
  const answer = await ports.lane.submit(toCommand(purchaseOperation(gateway), caller, key, {}, body, priced))
  if (answer.status >= 400) return { ok: false, answer }
  const { id } = JSON.parse(answer.body) as { id: string }
  const payment = await orders.find(fromWireId('payment', id) as string)
  if (!payment) throw fail('payment_not_found', 'The order is gone.')
  // Of the order alone: whoever repeats the request after a lost answer has to ask for the very same page.
  const title = await titleOf(ports.packages, payment)
  const wishes = { title, email: body.email ?? null, flow: body.flow, successUrl, cancelUrl }
  const checkout = await openCheckout({ gateway, orders }, payment, wallet, wishes)
  const objectId = payment.objectId ?? checkout?.objectId ?? null
  return { ok: true, payment: { ...payment, objectId }, checkout, replayed: answer.replayed }
}

/** What the page is called that an order is paid on. */
export async function titleOf(packages: Pick<PackageStore, 'nameOf'>, payment: Payment): Promise<string> {
  const { packageVersionId } = payment
  return orderTitle(payment, packageVersionId === null ? null : await packages.nameOf(packageVersionId))
}

export interface CheckoutPorts extends CustomerPorts {
  readonly orders: CustomerPorts['orders'] & Pick<PaymentReads, 'linkCheckout'>
}

export type CheckoutWishes = Pick<CheckoutOrder, 'title' | 'email' | 'flow' | 'successUrl' | 'cancelUrl'>

/**
 * Opens the way to pay an order, or finds the one that was opened. Whoever repeats a purchase after a lost answer gets the same page:
 * an order has one, so it cannot be paid twice.
 * @returns null when the order can be paid no more
 * @throws FareboxError `payment_provider_unavailable`
 */
export async function openCheckout(
  ports: CheckoutPorts,
  payment: Payment,
  wallet: Wallet,
  wishes: CheckoutWishes,
): Promise<Checkout | null> {
  const { gateway, orders } = ports
  if (payment.status !== 'pending') return null
  refuseOthers(gateway, payment)
  if (payment.checkoutId !== null || payment.objectId !== null) return gateway.readCheckout(payment)
  const { id: paymentId, walletId, currency, amount } = payment
  const checkout = await withCustomer(ports, wallet, (customerId) =>
    gateway.openCheckout({ ...wishes, paymentId, walletId, customerId, currency, amount }),
  )
  await orders.linkCheckout(payment, checkout.checkoutId, checkout.objectId)
  return checkout
}
