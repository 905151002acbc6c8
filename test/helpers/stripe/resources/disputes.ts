import type Stripe from 'stripe'
import { change, emit, patch } from '../events.ts'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, within } from '../table.ts'
import { find, idOf, type World } from '../world.ts'

const EVIDENCE_SECONDS = 20 * 86_400
const FEE = 1500

export interface DisputeInput {
  amount?: number
  /** A question of the bank, without any money moving. */
  inquiry?: boolean
  reason?: string
}

export function newDispute(
  world: World,
  charge: Stripe.Charge,
  { amount, inquiry = false, reason = 'fraudulent' }: DisputeInput,
): Stripe.Dispute {
  if (charge.status !== 'succeeded') throw new Error(`${charge.id} is ${charge.status}: nobody can dispute it`)
  const dispute = {
    id: world.id('dp'),
    object: 'dispute',
    amount: amount ?? charge.amount,
    balance_transactions: [],
    charge: charge.id,
    created: world.clock.now(),
    currency: charge.currency,
    enhanced_eligibility_types: [],
    evidence: {},
    evidence_details: {
      due_by: world.clock.now() + EVIDENCE_SECONDS,
      enhanced_eligibility: {},
      has_evidence: false,
      past_due: false,
      submission_count: 0,
      submission_method: 'manual',
    },
    intended_submission_method: null,
    is_charge_refundable: inquiry,
    livemode: false,
    metadata: {},
    payment_intent: idOf(charge.payment_intent),
    payment_method_details: {
      type: 'card',
      card: {
        brand: charge.payment_method_details?.card?.brand ?? 'visa',
        case_type: inquiry ? 'inquiry' : 'chargeback',
        network: charge.payment_method_details?.card?.network ?? 'visa',
        network_reason_code: '10.4',
      },
    },
    reason,
    status: inquiry ? 'warning_needs_response' : 'needs_response',
  } as unknown as Stripe.Dispute
  world.tables.disputes.add(dispute)
  patch(charge, { disputed: true })
  emit(world, 'charge.dispute.created', dispute)
  return dispute
}

function booking(world: World, dispute: Stripe.Dispute, amount: number, fee: number): Stripe.BalanceTransaction {
  const at = world.clock.now()
  return {
    id: world.id('txn'),
    object: 'balance_transaction',
    amount,
    available_on: at,
    balance_type: 'payments',
    created: at,
    currency: dispute.currency,
    description: `Chargeback ${amount < 0 ? 'withdrawal' : 'reversal'} for ${idOf(dispute.charge)}`,
    exchange_rate: null,
    fee,
    fee_details:
      fee === 0 ? [] : [{ amount: fee, application: null, currency: dispute.currency, description: 'Dispute fee', type: 'stripe_fee' }],
    net: amount - fee,
    reporting_category: amount < 0 ? 'dispute' : 'dispute_reversal',
    source: dispute.id,
    status: 'available',
    type: 'adjustment',
  }
}

export function withdrawFunds(world: World, dispute: Stripe.Dispute): void {
  change(world, 'charge.dispute.funds_withdrawn', dispute, {
    balance_transactions: [...dispute.balance_transactions, booking(world, dispute, -dispute.amount, FEE)],
  })
}

export function reinstateFunds(world: World, dispute: Stripe.Dispute): void {
  change(world, 'charge.dispute.funds_reinstated', dispute, {
    balance_transactions: [...dispute.balance_transactions, booking(world, dispute, dispute.amount, 0)],
  })
}

/** The bank's question becomes a dispute proper. */
export function escalate(world: World, dispute: Stripe.Dispute): void {
  change(world, 'charge.dispute.updated', dispute, { status: 'needs_response', is_charge_refundable: false })
}

export function closeDispute(world: World, dispute: Stripe.Dispute, status: 'won' | 'lost' | 'warning_closed'): void {
  change(world, 'charge.dispute.closed', dispute, { status, is_charge_refundable: status === 'won' || status === 'warning_closed' })
}

const OVER = new Set<string>(['won', 'lost', 'warning_closed'])

export const disputeRoutes = [
  route(
    'GET',
    '/v1/disputes',
    { ...p.page, charge: p.text.optional(), payment_intent: p.text.optional(), created: p.created.optional() },
    (world, params, { url }) =>
      pageOf(
        world.tables.disputes,
        url,
        params,
        (row) =>
          (params.charge === undefined || row.charge === params.charge) &&
          (params.payment_intent === undefined || row.payment_intent === params.payment_intent) &&
          within(row.created, params.created),
      ),
  ),
  route('GET', '/v1/disputes/:id', {}, (world, _, { id }) => find(world, 'disputes', id)),
  route(
    'POST',
    '/v1/disputes/:id',
    { metadata: p.metadata.optional(), evidence: p.ignored.optional(), submit: p.boolean.optional() },
    (world, params, { id }) => {
      const dispute = find(world, 'disputes', id)
      const isInquiry = dispute.status.startsWith('warning_')
      change(world, 'charge.dispute.updated', dispute, {
        metadata: p.mergeMetadata(dispute.metadata, params.metadata),
        evidence_details: {
          ...dispute.evidence_details,
          has_evidence: params.evidence !== undefined || dispute.evidence_details.has_evidence,
        },
        ...(params.evidence !== undefined && params.submit !== false
          ? { status: isInquiry ? 'warning_under_review' : 'under_review' }
          : {}),
      })
      return dispute
    },
  ),
  route('POST', '/v1/disputes/:id/close', {}, (world, _, { id }) => {
    const dispute = find(world, 'disputes', id)
    if (OVER.has(dispute.status)) throw invalid('This dispute is already closed.', { code: 'dispute_already_closed' })
    closeDispute(world, dispute, 'lost')
    return dispute
  }),
]
