import type Stripe from 'stripe'
import { noBilling } from '../blank.ts'
import { change, emit, patch } from '../events.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, within } from '../table.ts'
import { find, idOf, type World } from '../world.ts'

function methodDetails(method: Stripe.PaymentMethod): Stripe.Charge.PaymentMethodDetails {
  if (method.sepa_debit)
    return {
      type: 'sepa_debit',
      sepa_debit: { ...method.sepa_debit, mandate: null },
    } as Stripe.Charge.PaymentMethodDetails
  const card = method.card
  return {
    type: 'card',
    card: {
      amount_authorized: null,
      authorization_code: null,
      brand: card?.brand ?? null,
      checks: card?.checks ?? null,
      country: card?.country ?? null,
      electronic_commerce_indicator: null,
      exp_month: card?.exp_month ?? 1,
      exp_year: card?.exp_year ?? 2034,
      fingerprint: card?.fingerprint ?? null,
      funding: card?.funding ?? null,
      installments: null,
      last4: card?.last4 ?? null,
      mandate: null,
      network: card?.brand ?? null,
      network_transaction_id: null,
      regulated_status: null,
      three_d_secure: null,
      transaction_link_id: null,
      wallet: null,
    },
  } as Stripe.Charge.PaymentMethodDetails
}

export function newCharge(world: World, intent: Stripe.PaymentIntent, method: Stripe.PaymentMethod): Stripe.Charge {
  const id = world.id('ch')
  return world.tables.charges.add({
    id,
    object: 'charge',
    amount: intent.amount,
    amount_captured: 0,
    amount_refunded: 0,
    application: null,
    application_fee: null,
    application_fee_amount: null,
    balance_transaction: null,
    billing_details: noBilling(method.billing_details),
    calculated_statement_descriptor: 'FAREBOX',
    captured: false,
    created: world.clock.now(),
    currency: intent.currency,
    customer: idOf(intent.customer),
    description: intent.description,
    disputed: false,
    failure_balance_transaction: null,
    failure_code: null,
    failure_message: null,
    fraud_details: {},
    livemode: false,
    metadata: { ...intent.metadata },
    on_behalf_of: null,
    outcome: null,
    paid: false,
    payment_intent: intent.id,
    payment_method: method.id,
    payment_method_details: methodDetails(method),
    receipt_email: intent.receipt_email,
    receipt_number: null,
    receipt_url: null,
    refunded: false,
    review: null,
    shipping: null,
    source: null,
    source_transfer: null,
    statement_descriptor: null,
    statement_descriptor_suffix: null,
    status: 'pending',
    transfer_data: null,
    transfer_group: null,
  })
}

export function chargeSucceeds(world: World, charge: Stripe.Charge): void {
  patch(charge, {
    amount_captured: charge.amount,
    captured: true,
    paid: true,
    status: 'succeeded',
    receipt_url: `https://pay.stripe.com/receipts/${charge.id}`,
    outcome: {
      advice_code: null,
      network_advice_code: null,
      network_decline_code: null,
      network_status: 'approved_by_network',
      reason: null,
      risk_level: 'normal',
      risk_score: 12,
      seller_message: 'Payment complete.',
      type: 'authorized',
    },
  })
  emit(world, 'charge.succeeded', charge)
}

/** What Stripe does a moment later: the money is booked. */
export function chargeBooked(world: World, charge: Stripe.Charge): void {
  change(world, 'charge.updated', charge, { balance_transaction: world.id('txn') })
}

export function chargeFails(world: World, charge: Stripe.Charge, failure: { code: string; decline_code?: string; message: string }): void {
  patch(charge, {
    status: 'failed',
    failure_code: failure.code,
    failure_message: failure.message,
    outcome: {
      advice_code: null,
      network_advice_code: null,
      network_decline_code: null,
      network_status: 'declined_by_network',
      reason: failure.decline_code ?? failure.code,
      risk_level: 'normal',
      risk_score: 12,
      seller_message: 'The bank did not return any further details with this decline.',
      type: 'issuer_declined',
    },
  })
  emit(world, 'charge.failed', charge)
}

export const chargeRoutes = [
  route(
    'GET',
    '/v1/charges',
    { ...p.page, payment_intent: p.text.optional(), customer: p.text.optional(), created: p.created.optional() },
    (world, params, { url }) =>
      pageOf(
        world.tables.charges,
        url,
        params,
        (row) =>
          (params.payment_intent === undefined || row.payment_intent === params.payment_intent) &&
          (params.customer === undefined || row.customer === params.customer) &&
          within(row.created, params.created),
      ),
  ),
  route('GET', '/v1/charges/:id', {}, (world, _, { id }) => find(world, 'charges', id)),
  route('POST', '/v1/charges/:id', { metadata: p.metadata.optional(), description: p.clearable.optional() }, (world, params, { id }) => {
    const charge = find(world, 'charges', id)
    change(world, 'charge.updated', charge, {
      metadata: p.mergeMetadata(charge.metadata, params.metadata),
      description: params.description === undefined ? charge.description : params.description,
    })
    return charge
  }),
]
