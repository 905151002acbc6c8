import { burnOrder, spendFree, spendFrom, sum } from '../grants/burn.ts'
import { giveBack, type TakenPart, takeFromEnd } from '../grants/give-back.ts'
import { free, type Grant, grants } from '../grants/grant.ts'
import { fits, giveGrant, roomFor } from '../grants/issue.ts'
import { settle } from '../grants/settle.ts'
import { type Micro, min } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import { toWireId } from '../kernel/ids.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { post } from '../ledger/post.ts'
import type { Draw } from '../ledger/transaction.ts'
import type { Wallet } from '../ledger/wallet.ts'
import { formatMoney } from './money.ts'
import { boughtPart, type Payment, type ProviderPayment, payments, reversedTarget } from './payment.ts'
import { firstPayments, redemptions } from './promotion/promotion.ts'
import { grantPromotion } from './promotion/redeem.ts'
import { endAttempt, stopReversed, tellFallen } from './top-up/start-top-up.ts'

export interface ApplyInput {
  readonly walletId: string | undefined
  readonly paymentId: string
  /** The reading's number, taken before it began. */
  readonly read: bigint
  readonly state: ProviderPayment
}

export interface Applied {
  readonly payment: Payment
  readonly wallet: Wallet
  /** Whether the order's status or its credits changed. */
  readonly changed: boolean
}

/**
 * Brings an order and its wallet to what the provider's payment is now: credits once it is paid, and back as much of them as was
 * refunded or is in the hands of a bank. It is a function of that state, claimed by the difference to what was done before, so it may
 * come in any order and any number. The caller has checked that the payment is this order's.
 */
export function applyPayment(draft: Draft, input: ApplyInput): Outcome<Applied> {
  const { walletId, state } = input
  const found = walletId === undefined ? undefined : draft.get(payments, walletId, input.paymentId)
  if (walletId === undefined || !found) return refuse(refusal('payment_not_found', 'There is no such order.'))
  // A reading that began later was applied: this one may be of an older state.
  if (input.read <= found.appliedRead) return done({ payment: found, wallet: draft.wallet(walletId), changed: false })

  let payment: Payment = {
    ...found,
    objectId: state.objectId ?? found.objectId,
    failure: state.failure,
    refunded: state.refunded,
    withdrawn: state.withdrawn,
    disputed: state.disputed,
    appliedRead: input.read,
    updatedAt: draft.now,
  }
  if (found.status !== 'paid') {
    if (state.status === 'paid') {
      const fulfilled = fulfil(draft, { ...payment, paidAt: state.paidAt ?? draft.now })
      if (!fulfilled.ok) return fulfilled
      payment = fulfilled.value
    } else {
      payment = { ...payment, status: state.status === 'failed' ? 'failed' : 'pending' }
    }
  }
  if (payment.status === 'paid') {
    const reversed = reversedTarget(payment, state)
    if (reversed > payment.reversed) {
      payment = clawBack(draft, payment, reversed)
      stopReversed(draft, payment)
    } else if (reversed < payment.reversed) {
      const room = fits(draft, walletId, payment.reversed - reversed)
      if (!room.ok) return room
      payment = reinstate(draft, payment, reversed)
    }
  }
  draft.put(payments, payment)
  if (payment.status !== found.status && payment.status !== 'pending') endAttempt(draft, payment, 'declined')
  tellFallen(draft, payment)
  const changed = payment.status !== found.status || payment.reversed !== found.reversed
  return done({ payment, wallet: draft.wallet(walletId), changed })
}

/** Grants what was bought, and the bonus as a grant of its own that burns first. */
function fulfil(draft: Draft, payment: Payment): Outcome<Payment> {
  const { walletId, credits } = payment
  if (draft.wallet(walletId).status === 'closed')
    return refuse(refusal('wallet_closed', 'The wallet was closed before its order was paid.'))
  settle(draft, walletId)
  const first = draft.get(firstPayments, walletId, walletId)
  const redemption = payment.redemptionId === null ? undefined : draft.get(redemptions, walletId, payment.redemptionId)
  // Another order may have used the promotion since, or been the first.
  const isDue = redemption !== undefined && redemption.redeemedAt === null && !(redemption.firstPurchaseOnly && first)
  const promotion = isDue ? payment.promotion : 0n
  const bonus = payment.bonus - payment.promotion + promotion + (first ? 0n : payment.firstBonus)
  const room = roomFor(draft, walletId, credits + bonus)
  if (!room.ok) return room
  if (!first) draft.put(firstPayments, { walletId, id: walletId, paymentId: payment.id, paidAt: payment.paidAt ?? draft.now })
  const costBasis = JSON.stringify({ amount: formatMoney(payment.amount, payment.currency), currency: payment.currency })
  const of = { source: payment.objectId, reference: toWireId('payment', payment.id), paymentId: payment.id }
  const common = { walletId, source: of.source, reference: of.reference }
  const bought = giveGrant(draft, { ...common, kind: 'purchase', amount: credits, costBasis })
  const extra = bonus > promotion ? giveGrant(draft, { ...common, kind: 'bonus', amount: bonus - promotion }) : null
  const gift = isDue && promotion > 0n ? grantPromotion(draft, redemption, promotion, of).grant : null
  settle(draft, walletId)
  const grantIds = { grantId: bought.id, bonusGrantId: extra?.id ?? null, promotionGrantId: gift?.id ?? null }
  return done({ ...payment, status: 'paid', bonus, promotion, ...grantIds })
}

/** Takes credits back: what is free of the payment's own grants, then of others in burn order; what was spent becomes debt, whatever the limit. */
function clawBack(draft: Draft, payment: Payment, reversed: Micro): Payment {
  const { walletId } = payment
  settle(draft, walletId)
  const amount = reversed - payment.reversed
  const own = takeFromOwn(draft, payment, amount)
  const draws = [...own, ...spendFree(draft, walletId, amount - sum(own))]
  const debt = amount - sum(draws)
  if (debt > 0n) {
    const wallet = draft.wallet(walletId)
    draft.putWallet({ ...wallet, debt: wallet.debt + debt })
  }
  const taken: TakenPart[] = debt > 0n ? [...draws, { grantId: null, amount: debt }] : draws
  move(draft, payment, 'clawback', reversed, draws)
  return { ...payment, reversed, taken: [...payment.taken, ...taken] }
}

function takeFromOwn(draft: Draft, payment: Payment, amount: Micro): Draw[] {
  const own = [payment.grantId, payment.bonusGrantId, payment.promotionGrantId]
    .map((id) => (id === null ? undefined : draft.get(grants, payment.walletId, id)))
    .filter((grant): grant is Grant => grant !== undefined && free(grant) > 0n)
    .sort(burnOrder)
  return spendFrom(draft, own, amount)
}

/** Gives back what was taken, last taken first: a dispute that was won leaves nothing behind. */
function reinstate(draft: Draft, payment: Payment, reversed: Micro): Payment {
  const { walletId } = payment
  settle(draft, walletId)
  const { end, rest } = takeFromEnd(payment.taken, payment.reversed - reversed)
  const draws = giveBack(draft, walletId, forgive(draft, walletId, end), toWireId('payment', payment.id))
  move(draft, payment, 'reinstatement', reversed, draws)
  settle(draft, walletId)
  return { ...payment, reversed, taken: rest }
}

/** What had become debt ends as such, as far as it is still owed: otherwise the grants that come back would pay it. @returns the other parts */
function forgive(draft: Draft, walletId: string, parts: readonly TakenPart[]): TakenPart[] {
  const wallet = draft.wallet(walletId)
  const unbacked = parts.reduce((total, { grantId, amount }) => (grantId === null ? total + amount : total), 0n)
  const forgiven = min(unbacked, wallet.debt)
  if (forgiven > 0n) draft.putWallet({ ...wallet, debt: wallet.debt - forgiven })
  return [...parts.filter(({ grantId }) => grantId !== null), { grantId: null, amount: unbacked - forgiven }]
}

/** The ledger rows of a change in what is reversed, against the accounts that the credits came from: what was bought, and the bonus. */
function move(draft: Draft, payment: Payment, kind: 'clawback' | 'reinstatement', reversed: Micro, draws: readonly Draw[]): void {
  const bought = boughtPart(payment, reversed) - boughtPart(payment, payment.reversed)
  const extra = reversed - payment.reversed - bought
  const common = { walletId: payment.walletId, kind, reference: toWireId('payment', payment.id) }
  post(draft, { ...common, amount: -bought, counterAccount: 'purchases', draws })
  post(draft, { ...common, amount: -extra, counterAccount: 'promotions', draws: bought === 0n ? draws : [] })
}
