import type { Micro } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import type { Wallet } from '../ledger/wallet.ts'
import { type Payment, type Provider, payments } from './payment.ts'

/** What an order comes to, at the package or the rate of the moment. */
export interface Order {
  readonly packageVersionId: string | null
  readonly currency: string
  /** Of the currency's smallest unit. */
  readonly amount: bigint
  readonly credits: Micro
  /** On top of that: the package's own, for the size of the order, and of its promotion. */
  readonly bonus: Micro
  /** More, should it be the wallet's first order that is paid. */
  readonly firstBonus: Micro
  /** What of the bonus a promotion gives, and the wallet's claim on it. */
  readonly promotion: Micro
  readonly redemptionId: string | null
}

export interface PlaceOrderInput {
  readonly walletId: string | undefined
  readonly order: Outcome<Order>
  readonly provider: Provider
  readonly livemode: boolean
  readonly reference: string | null
  readonly metadata: string | null
}

/** Writes an order down. It moves no credits: that is up to its payment. */
export function placeOrder(draft: Draft, input: PlaceOrderInput): Outcome<{ payment: Payment; wallet: Wallet }> {
  const wallet = draft.findWallet(input.walletId)
  if (!wallet) return refuse(refusal('wallet_not_found', 'No wallet of yours has this id or owner.'))
  if (wallet.status === 'closed') return refuse(refusal('wallet_closed', 'A closed wallet buys no credits.'))
  if (!input.order.ok) return input.order
  return done({ payment: addOrder(draft, wallet, input.order.value, { ...input, origin: 'purchase' }), wallet })
}

/** Adds the order itself, for whoever decided that there is to be one. Its id is the command's. */
export function addOrder(
  draft: Draft,
  wallet: Wallet,
  { packageVersionId, currency, amount, credits, bonus, firstBonus, promotion, redemptionId }: Order,
  details: Pick<Payment, 'origin' | 'provider' | 'livemode' | 'reference' | 'metadata'>,
): Payment {
  const payment: Payment = {
    walletId: wallet.id,
    id: draft.commandId,
    clientId: wallet.clientId,
    kind: packageVersionId === null ? 'amount' : 'package',
    origin: details.origin,
    packageVersionId,
    subscriptionId: null,
    invoiceId: null,
    currency,
    amount,
    credits,
    bonus,
    firstBonus,
    promotion,
    redemptionId,
    promotionGrantId: null,
    provider: details.provider,
    livemode: details.livemode,
    status: 'pending',
    failure: null,
    objectId: null,
    checkoutId: null,
    refunded: 0n,
    withdrawn: 0n,
    disputed: false,
    reversed: 0n,
    taken: [],
    grantId: null,
    bonusGrantId: null,
    appliedRead: 0n,
    reference: details.reference,
    metadata: details.metadata,
    createdAt: draft.now,
    updatedAt: draft.now,
    paidAt: null,
  }
  draft.put(payments, payment)
  return payment
}
