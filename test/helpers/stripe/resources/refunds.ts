import type Stripe from 'stripe'
import { z } from 'zod'
import { change, emit, patch } from '../events.ts'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, within } from '../table.ts'
import { find, idOf, refer, type World } from '../world.ts'

const money = (amount: number) => `$${(amount / 100).toFixed(2)}`

export interface RefundInput {
  charge: Stripe.Charge
  amount?: number | undefined
  reason?: 'duplicate' | 'fraudulent' | 'requested_by_customer' | undefined
  metadata?: Record<string, string>
}

export function newRefund(world: World, { charge, amount, reason, metadata }: RefundInput): Stripe.Refund {
  const left = charge.amount - charge.amount_refunded
  if (charge.status !== 'succeeded') throw invalid(`Charge ${charge.id} cannot be refunded: it is ${charge.status}.`, { param: 'charge' })
  if (left === 0) throw invalid(`Charge ${charge.id} has already been refunded.`, { code: 'charge_already_refunded' })
  const dispute = world.tables.disputes.rows.find((row) => row.charge === charge.id && !row.is_charge_refundable)
  if (dispute) throw invalid(`Charge ${charge.id} has been charged back; cannot issue a refund.`, { code: 'charge_disputed' })
  const asked = amount ?? left
  if (asked <= 0) throw invalid('Invalid positive integer', { code: 'parameter_invalid_integer', param: 'amount' })
  if (asked > left)
    throw invalid(`Refund amount (${money(asked)}) is greater than unrefunded amount on charge (${money(left)})`, {
      code: 'amount_too_large',
      param: 'amount',
    })
  const isCard = charge.payment_method_details?.type === 'card'
  const refund: Stripe.Refund = {
    id: world.id('re'),
    object: 'refund',
    amount: asked,
    balance_transaction: world.id('txn'),
    charge: charge.id,
    created: world.clock.now(),
    currency: charge.currency,
    customer: idOf(charge.customer),
    customer_account: null,
    destination_details: isCard
      ? { type: 'card', card: { reference_status: 'pending', reference_type: 'acquirer_reference_number', type: 'refund' } }
      : { type: 'sepa_bank_transfer' },
    metadata: metadata ?? {},
    payment_intent: idOf(charge.payment_intent),
    payment_method: charge.payment_method,
    reason: reason ?? null,
    receipt_number: null,
    source_transfer_reversal: null,
    // A bank takes days; a card is told at once.
    status: isCard ? 'succeeded' : 'pending',
    transfer_reversal: null,
  } as Stripe.Refund
  world.tables.refunds.add(refund)
  emit(world, 'refund.created', refund)
  const refunded = charge.amount_refunded + asked
  change(world, 'charge.refunded', charge, { amount_refunded: refunded, refunded: refunded === charge.amount })
  if (isCard) reported(world, refund)
  return refund
}

/** The card's bank names its reference a moment later. */
function reported(world: World, refund: Stripe.Refund): void {
  const previous = patch(refund, {
    destination_details: {
      type: 'card',
      card: {
        reference: '74000000000000000000000',
        reference_status: 'available',
        reference_type: 'acquirer_reference_number',
        type: 'refund',
      },
    } as unknown as Stripe.Refund.DestinationDetails,
  })
  tell(world, refund, previous)
}

function tell(world: World, refund: Stripe.Refund, previous: Partial<Stripe.Refund>): void {
  emit(world, 'refund.updated', refund, previous)
  emit(world, 'charge.refund.updated', refund, previous)
}

/** A refund that was pending arrived. */
export function settleRefund(world: World, refund: Stripe.Refund): void {
  if (refund.status !== 'pending') throw new Error(`${refund.id} is ${refund.status}`)
  tell(world, refund, patch(refund, { status: 'succeeded' }))
}

/** The money came back to us: what the charge says was refunded goes down again. */
export function failRefund(world: World, refund: Stripe.Refund, reason = 'lost_or_stolen_card'): void {
  const charge = world.tables.charges.get(idOf(refund.charge) ?? '')
  if (charge === undefined || refund.status === 'failed') throw new Error(`${refund.id} cannot fail`)
  patch(charge, { amount_refunded: charge.amount_refunded - refund.amount, refunded: false })
  const previous = patch(refund, { status: 'failed', failure_reason: reason, failure_balance_transaction: world.id('txn') })
  emit(world, 'refund.failed', refund)
  tell(world, refund, previous)
}

function chargeToRefund(world: World, params: { charge?: string | undefined; payment_intent?: string | undefined }): Stripe.Charge {
  if (params.charge !== undefined) return refer(world, 'charges', params.charge, 'charge')
  if (params.payment_intent === undefined)
    throw invalid('One of the following params should be provided for this request: payment_intent or charge.', {
      code: 'parameter_missing',
    })
  const intent = refer(world, 'paymentIntents', params.payment_intent, 'payment_intent')
  const charge = world.tables.charges.get(idOf(intent.latest_charge) ?? '')
  if (charge === undefined || charge.status !== 'succeeded')
    throw invalid('This PaymentIntent does not have a successful charge to refund.', { param: 'payment_intent' })
  return charge
}

export const refundRoutes = [
  route(
    'POST',
    '/v1/refunds',
    {
      charge: p.text.optional(),
      payment_intent: p.text.optional(),
      amount: p.integer.optional(),
      reason: z.enum(['duplicate', 'fraudulent', 'requested_by_customer']).optional(),
      metadata: p.metadata.optional(),
    },
    (world, params) => {
      const charge = chargeToRefund(world, params)
      return newRefund(world, { charge, amount: params.amount, reason: params.reason, metadata: p.mergeMetadata(null, params.metadata) })
    },
  ),
  route(
    'GET',
    '/v1/refunds',
    { ...p.page, charge: p.text.optional(), payment_intent: p.text.optional(), created: p.created.optional() },
    (world, params, { url }) =>
      pageOf(
        world.tables.refunds,
        url,
        params,
        (row) =>
          (params.charge === undefined || row.charge === params.charge) &&
          (params.payment_intent === undefined || row.payment_intent === params.payment_intent) &&
          within(row.created, params.created),
      ),
  ),
  route('GET', '/v1/refunds/:id', {}, (world, _, { id }) => find(world, 'refunds', id)),
  route('POST', '/v1/refunds/:id', { metadata: p.metadata.optional() }, (world, params, { id }) => {
    const refund = find(world, 'refunds', id)
    const previous = patch(refund, { metadata: p.mergeMetadata(refund.metadata, params.metadata) })
    if (Object.keys(previous).length > 0) tell(world, refund, previous)
    return refund
  }),
]
