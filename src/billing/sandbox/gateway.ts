import { fail } from '../../kernel/errors.ts'
import { newId, toWireId } from '../../kernel/ids.ts'
import type { Checkout, CheckoutOrder, Gateway } from '../gateway.ts'
import { formatMoney } from '../money.ts'
import type { ProviderPayment } from '../payment.ts'
import { cardOf, SANDBOX_CARDS } from './card.ts'
import type { SandboxPayment, SandboxRefund } from './payment.ts'
import type { SandboxStore } from './store-prisma.ts'

/** Where the pages of the sandbox are, on this service. */
export const SANDBOX_PATH = '/sandbox/checkout'
export const SANDBOX_CARDS_PATH = '/sandbox/cards'

/**
 * Plays a payment provider for development: the same orders, the same road, but no money. Orders are marked with it and with no real
 * money, so that they can never be taken for others; production refuses it.
 */
export function createSandboxGateway(store: SandboxStore): Gateway {
  return {
    provider: 'sandbox',
    livemode: false,
    // Periods, dunning and prorations are the provider's; to play them would be to guess at them.
    subscriptions: null,

    openCustomer: async ({ walletId }) => `sandbox_${toWireId('wallet', walletId)}`,

    async openCheckout(order) {
      const id = `sandbox_${toWireId('payment', order.paymentId)}`
      const { successUrl, cancelUrl } = order
      const payment = await store.open({ ...blank, ...marksOf(order), id, successUrl, cancelUrl })
      return checkoutOf(payment)
    },

    async readCheckout({ checkoutId }) {
      const payment = checkoutId === null ? null : await store.find(checkoutId)
      return payment?.status === 'open' ? checkoutOf(payment) : null
    },

    async closeCheckout({ checkoutId }) {
      if (checkoutId === null) return
      await store.change(checkoutId, (before) => (before.status === 'open' ? { ...before, status: 'cancelled' } : before))
    },

    async readPayment(objectId) {
      const payment = await store.find(objectId)
      return payment && toProviderPayment(payment)
    },

    async resolve(subject) {
      return { kind: 'payment', objectId: subject }
    },

    async refund({ refundId, objectId, amount }) {
      const { refunds } = await store.change(objectId, (before) => refundedBy(before, amount, refundId))
      const { id, amount: given } = refunds[refundId] as SandboxRefund
      return { id, amount: BigInt(given), status: 'succeeded' }
    },

    cards: async (customerId) => (await store.savedCards(customerId)).flatMap((methodId) => cardOf(methodId) ?? []),
    async openCardPage({ customerId, successUrl, cancelUrl }) {
      const id = `sandbox_page_${newId()}`
      await store.openCardPage({ id, customerId, successUrl, cancelUrl, methodId: null })
      return { url: `${SANDBOX_CARDS_PATH}/${id}`, expiresAt: null }
    },

    async chargeCard(order) {
      const declines = order.methodId !== SANDBOX_CARDS.good.methodId
      const id = `sandbox_${toWireId('payment', order.paymentId)}`
      if (declines) return { outcome: 'declined', failure: 'The sandbox declines this card.', because: 'card' }
      await store.open({ ...blank, ...marksOf(order), id, status: 'paid', paidAt: Date.now() })
      return { outcome: 'made', objectId: id }
    },

    findCharge: async ({ paymentId }) => (await store.find(`sandbox_${toWireId('payment', paymentId)}`))?.id ?? null,
    // A charge of the sandbox is paid, or there is none.
    async cancelCharge() {},

    changedBetween: (from, to) => store.changedBetween(from, to),
  }
}

const blank = {
  status: 'open',
  failure: null,
  refunded: '0',
  refunds: {},
  withdrawn: '0',
  dispute: null,
  paidAt: null,
  successUrl: '/sandbox/done',
  cancelUrl: '/sandbox/done',
} as const

function marksOf({
  paymentId,
  walletId,
  title,
  currency,
  amount,
}: Pick<CheckoutOrder, 'paymentId' | 'walletId' | 'title' | 'currency' | 'amount'>) {
  return { paymentId, walletId, title, currency, amount: amount.toString() }
}

/** @throws FareboxError `payment_refused` */
function refundedBy(before: SandboxPayment, amount: bigint | null, refundId: string): SandboxPayment {
  if (before.refunds[refundId]) return before
  const { currency, dispute } = before
  const left = BigInt(before.amount) - BigInt(before.refunded)
  const given = amount ?? left
  if (dispute === 'open' || dispute === 'lost') throw fail('payment_refused', 'The sandbox says: the bank has the money.')
  if (before.status !== 'paid' || left === 0n || given > left) {
    throw fail('payment_refused', `The sandbox says: at most ${formatMoney(left, currency)} ${currency} are left.`)
  }
  const refund = { id: `${before.id}_refund_${Object.keys(before.refunds).length + 1}`, amount: given.toString() }
  return { ...before, refunded: (BigInt(before.refunded) + given).toString(), refunds: { ...before.refunds, [refundId]: refund } }
}

function checkoutOf(payment: SandboxPayment): Checkout {
  return { checkoutId: payment.id, objectId: null, url: `${SANDBOX_PATH}/${payment.id}`, clientSecret: null, expiresAt: null }
}

function toProviderPayment(payment: SandboxPayment): ProviderPayment {
  return {
    objectId: payment.id,
    status: payment.status === 'cancelled' ? 'failed' : payment.status,
    failure: payment.status === 'cancelled' ? 'it was cancelled' : payment.failure,
    currency: payment.currency,
    amount: payment.status === 'paid' ? BigInt(payment.amount) : 0n,
    refunded: BigInt(payment.refunded),
    withdrawn: BigInt(payment.withdrawn),
    disputed: payment.dispute === 'open',
    livemode: false,
    paymentId: payment.paymentId,
    walletId: payment.walletId,
    paidAt: payment.paidAt,
  }
}
