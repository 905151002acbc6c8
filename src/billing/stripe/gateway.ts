import { randomUUID } from 'node:crypto'
import Stripe from 'stripe'
import { FareboxError } from '../../kernel/errors.ts'
import { toWireId } from '../../kernel/ids.ts'
import type { Checkout, DeclineCause, Gateway, Subject } from '../gateway.ts'
import { asked, orNull } from './ask.ts'
import {
  fromStripe,
  markOf,
  ofSession,
  PAYMENT_MARK,
  REFUND_MARK,
  refundFromStripe,
  SUBSCRIPTION_MARK,
  WALLET_MARK,
} from './from-stripe.ts'
import { idOf, LISTED_AT_ONCE, subjectOf, WATCHED } from './subject.ts'
import { createStripeSubscriptions } from './subscriptions.ts'

/** A checkout waits for it, so a person does. */
const TIMEOUT_MS = 20_000
const RETRIES_MAX = 2
const PAGE = 100
/** By how much Stripe's clock and the database's may differ. */
const CLOCKS_APART_MS = 600_000

export interface StripeOptions {
  /** `sk_…` or `rk_…` */
  readonly secretKey: string
  /** Where Stripe answers, for tests. */
  readonly apiUrl?: string | undefined
}

/** Payments by Stripe. Every request that makes something carries a key of ours, so that repeating it makes nothing more. */
export function createStripeGateway(options: StripeOptions): Gateway {
  const stripe = connect(options)

  return {
    provider: 'stripe',
    livemode: /^[a-z]{2}_live_/.test(options.secretKey),
    subscriptions: createStripeSubscriptions(stripe),

    async openCustomer({ walletId, owner, gone }) {
      const metadata = { [WALLET_MARK]: toWireId('wallet', walletId) }
      const key = gone === null ? `farebox-customer-${walletId}` : `farebox-customer-${walletId}-${gone}`
      // One customer too many does no harm: the first that is kept counts.
      const customer = await asked(() =>
        withKey(key, (idempotencyKey) => stripe.customers.create({ description: owner, metadata }, { idempotencyKey })),
      )
      return customer.id
    },

    async openCheckout(order) {
      const metadata = { [PAYMENT_MARK]: toWireId('payment', order.paymentId), [WALLET_MARK]: toWireId('wallet', order.walletId) }
      const currency = order.currency.toLowerCase()
      const amount = Number(order.amount)
      const receipt = order.email === null ? {} : { receipt_email: order.email }
      // One page too many does no harm: the first that is linked is shown.
      const key = `farebox-checkout-${order.paymentId}-${order.customerId}`
      if (order.flow === 'payment_intent') {
        const intent = {
          ...{ amount, currency, metadata, ...receipt },
          customer: order.customerId,
          description: order.title,
          automatic_payment_methods: { enabled: true },
        }
        return ofIntent(await asked(() => withKey(key, (idempotencyKey) => stripe.paymentIntents.create(intent, { idempotencyKey }))))
      }
      const session: Stripe.Checkout.SessionCreateParams = {
        mode: 'payment',
        customer: order.customerId,
        client_reference_id: metadata[WALLET_MARK] ?? '',
        line_items: [{ quantity: 1, price_data: { currency, unit_amount: amount, product_data: { name: order.title } } }],
        // What is ordered in one currency is paid, given back and fought over in that one.
        adaptive_pricing: { enabled: false },
        metadata,
        payment_intent_data: {
          ...{ metadata, description: order.title, ...receipt },
          ...(order.savesCard && { setup_future_usage: 'off_session' as const }),
        },
        success_url: order.successUrl,
        cancel_url: order.cancelUrl,
      }
      return ofSession(await asked(() => withKey(key, (idempotencyKey) => stripe.checkout.sessions.create(session, { idempotencyKey }))))
    },

    async readCheckout({ checkoutId, objectId }) {
      if (checkoutId !== null) {
        const session = await asked(() => stripe.checkout.sessions.retrieve(checkoutId))
        return session.status === 'open' ? ofSession(session) : null
      }
      const intent = await asked(() => stripe.paymentIntents.retrieve(objectId ?? ''))
      return intent.status.startsWith('requires_') ? ofIntent(intent) : null
    },

    async closeCheckout({ checkoutId, objectId }, unlessBegun) {
      if (unlessBegun && checkoutId === null && objectId !== null) {
        const intent = await asked(() => orNull(stripe.paymentIntents.retrieve(objectId)))
        if (intent?.status === 'requires_action') return
      }
      try {
        if (checkoutId !== null) await asked(() => stripe.checkout.sessions.expire(checkoutId))
        else if (objectId !== null) await asked(() => stripe.paymentIntents.cancel(objectId, { cancellation_reason: 'abandoned' }))
      } catch (error) {
        // Stripe refuses what is closed or paid already.
        if (!(error instanceof FareboxError && error.refusal.code === 'payment_refused')) throw error
      }
    },

    async readPayment(objectId) {
      const intent = await asked(() => orNull(stripe.paymentIntents.retrieve(objectId, { expand: ['latest_charge'] })))
      if (!intent) return null
      const charge = typeof intent.latest_charge === 'object' ? intent.latest_charge : null
      const of = { payment_intent: objectId, limit: PAGE }
      // Those that failed do not count, whatever the charge says of them.
      const refunds =
        charge && charge.amount_refunded > 0 ? await asked(() => stripe.refunds.list(of).autoPagingToArray({ limit: 1_000 })) : []
      const disputes = charge?.disputed ? (await asked(() => stripe.disputes.list(of))).data : []
      return fromStripe(intent, charge, disputes, refunds)
    },

    async resolve(subject): Promise<Subject> {
      if (subject.startsWith('pi_')) return { kind: 'payment', objectId: subject }
      if (subject.startsWith('sub_')) return { kind: 'subscription', objectId: subject }
      if (subject.startsWith('in_')) return { kind: 'invoice', invoiceId: subject }
      const session = await asked(() => orNull(stripe.checkout.sessions.retrieve(subject)))
      if (!session) return { kind: 'none', reason: 'Stripe does not know this page' }
      const objectId = idOf(session.payment_intent)
      if (objectId !== null) return { kind: 'payment', objectId }
      const subscription = idOf(session.subscription)
      if (subscription !== null) return { kind: 'subscription', objectId: subscription }
      if (session.status !== 'expired') return { kind: 'none', reason: 'nobody has paid yet' }
      if (session.mode === 'subscription') {
        return { kind: 'subscription_expired', checkoutId: session.id, subscriptionId: markOf(session, SUBSCRIPTION_MARK, 'subscription') }
      }
      return { kind: 'expired', checkoutId: session.id, paymentId: markOf(session, PAYMENT_MARK, 'payment') }
    },

    async refund({ refundId, objectId, amount, paymentId, isRepeated }) {
      // Stripe forgets keys after a day; the mark stays.
      const all = () => stripe.refunds.list({ payment_intent: objectId, limit: PAGE })
      const known = isRepeated ? await asked(() => marked(all(), REFUND_MARK, refundId)) : null
      if (known) return refundFromStripe(known)
      const metadata = { [PAYMENT_MARK]: toWireId('payment', paymentId), [REFUND_MARK]: refundId }
      const part = amount === null ? {} : { amount: Number(amount) }
      const key = { idempotencyKey: `farebox-refund-${refundId}` }
      return refundFromStripe(await asked(() => stripe.refunds.create({ payment_intent: objectId, ...part, metadata }, key)))
    },

    async cards(customerId) {
      const methods = await asked(() => orNull(stripe.paymentMethods.list({ customer: customerId, type: 'card', limit: PAGE })))
      return (methods?.data ?? []).flatMap(({ id, card }) =>
        card?.fingerprint ? [{ methodId: id, fingerprint: card.fingerprint, card: `${card.brand} ${card.last4}` }] : [],
      )
    },

    async openCardPage({ walletId, customerId, currency, successUrl, cancelUrl }) {
      const session = await asked(() =>
        stripe.checkout.sessions.create({
          mode: 'setup',
          customer: customerId,
          currency: currency.toLowerCase(),
          metadata: { [WALLET_MARK]: toWireId('wallet', walletId) },
          success_url: successUrl,
          cancel_url: cancelUrl,
        }),
      )
      return { url: session.url, expiresAt: session.expires_at * 1_000 }
    },

    async chargeCard(order) {
      const metadata = { [PAYMENT_MARK]: toWireId('payment', order.paymentId), [WALLET_MARK]: toWireId('wallet', order.walletId) }
      try {
        const intent = await asked(() =>
          stripe.paymentIntents.create(
            {
              amount: Number(order.amount),
              currency: order.currency.toLowerCase(),
              customer: order.customerId,
              payment_method: order.methodId,
              description: order.title,
              metadata,
              confirm: true,
              off_session: true,
            },
            { idempotencyKey: `farebox-top-up-${order.paymentId}` },
          ),
        )
        return { outcome: 'made', objectId: intent.id }
      } catch (error) {
        const said = refusalOf(error)
        if (said === null) throw error
        const objectId = idOf(said.payment_intent)
        // Nobody may pay it later, beside the attempt that follows. Where something has become of it meanwhile, that is what counts.
        if (objectId !== null && !(await cancelIntent(stripe, objectId))) return { outcome: 'made', objectId }
        return { outcome: 'declined', failure: said.message, because: causeOf(said) }
      }
    },

    async findCharge({ paymentId, customerId, orderedAt }) {
      const created = { gte: Math.floor((orderedAt - CLOCKS_APART_MS) / 1_000) }
      const mark = toWireId('payment', paymentId)
      const all = () => stripe.paymentIntents.list({ customer: customerId, created, limit: PAGE })
      return idOf(await asked(() => orNull(marked(all(), PAYMENT_MARK, mark))))
    },

    async cancelCharge(objectId) {
      await cancelIntent(stripe, objectId)
    },

    async *changedBetween(from, to) {
      const created = { gte: Math.floor(from.getTime() / 1_000), lte: Math.ceil(to.getTime() / 1_000) }
      for await (const intent of stripe.paymentIntents.list({ created, limit: PAGE })) yield intent.id
      for await (const session of stripe.checkout.sessions.list({ created, status: 'expired', limit: PAGE })) yield session.id
      for await (const refund of stripe.refunds.list({ created, limit: PAGE })) yield* given(idOf(refund.payment_intent))
      for await (const dispute of stripe.disputes.list({ created, limit: PAGE })) yield* given(idOf(dispute.payment_intent))
      for await (const subscription of stripe.subscriptions.list({ created, status: 'all', limit: PAGE })) yield subscription.id
      for await (const invoice of stripe.invoices.list({ created, status: 'paid', limit: PAGE })) yield* given(idOf(invoice))
      // What happened in the window to what is older than it. Stripe keeps events for thirty days.
      for (let from = 0; from < WATCHED.length; from += LISTED_AT_ONCE) {
        const types = WATCHED.slice(from, from + LISTED_AT_ONCE)
        for await (const event of stripe.events.list({ created, types, limit: PAGE })) yield* given(subjectOf(event))
      }
    },
  }
}

function connect({ secretKey, apiUrl }: StripeOptions): Stripe {
  const common = { maxNetworkRetries: RETRIES_MAX, timeout: TIMEOUT_MS, telemetry: false, appInfo: { name: 'Farebox' } }
  if (apiUrl === undefined) return new Stripe(secretKey, common)
  const { protocol, hostname, port } = new URL(apiUrl)
  return new Stripe(secretKey, { ...common, host: hostname, port, protocol: protocol === 'http:' ? 'http' : 'https' })
}

function ofIntent(intent: Stripe.PaymentIntent): Checkout {
  return { checkoutId: null, objectId: intent.id, url: null, clientSecret: intent.client_secret, expiresAt: null }
}

/** What Stripe says of a charge that it, or the bank, does not make; null for everything that is no answer to it. */
function refusalOf(error: unknown): Stripe.errors.StripeError | null {
  if (error instanceof Stripe.errors.StripeCardError) return error
  const isRefusal = error instanceof FareboxError && error.refusal.code === 'payment_refused'
  return isRefusal && error.cause instanceof Stripe.errors.StripeError ? error.cause : null
}

/** A card that was removed is as good as declined; an account that may not charge says nothing of the card. */
function causeOf(said: Stripe.errors.StripeError): DeclineCause {
  if (said.code === 'authentication_required') return 'owner'
  const isRemoved = said.param === 'payment_method' || said.param === 'customer'
  return said instanceof Stripe.errors.StripeCardError || isRemoved ? 'card' : 'other'
}

/** @returns whether it is cancelled; false where that cannot be, because something has become of it */
async function cancelIntent(stripe: Stripe, objectId: string): Promise<boolean> {
  try {
    await asked(() => stripe.paymentIntents.cancel(objectId, {}, { idempotencyKey: `farebox-cancel-${objectId}` }))
    return true
  } catch (error) {
    if (refusalOf(error)?.code === 'payment_intent_unexpected_state') return false
    throw error
  }
}

/** The one of a listing on which a mark was left. */
async function marked<T extends { metadata: Stripe.Metadata | null }>(
  all: AsyncIterable<T>,
  mark: string,
  value: string,
): Promise<T | null> {
  for await (const one of all) if (one.metadata?.[mark] === value) return one
  return null
}

/**
 * Makes something once, however often it is asked for within a day. A failure of Stripe's own is kept for its key just as long: then it
 * is made under another one. Only for what may be there twice.
 */
async function withKey<T>(key: string, create: (key: string) => Promise<T>): Promise<T> {
  try {
    return await create(key)
  } catch (error) {
    if (!(error instanceof Stripe.errors.StripeAPIError)) throw error
    return create(`${key}-${randomUUID()}`)
  }
}

function* given(id: string | null): Generator<string> {
  if (id !== null) yield id
}
