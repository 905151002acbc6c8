import { z } from 'zod'
import * as field from '../http/fields.ts'
import { formatCredits, parseCredits } from '../kernel/credits.ts'
import { toWireId } from '../kernel/ids.ts'
import { toWireTime } from '../kernel/time.ts'
import type { CostRequest, Quote } from '../pricing/quote.ts'
import { type Charge, collected, PAYEES_MAX } from './charge.ts'

/** A cost: an amount as it stands, or work to be priced (an operation, a model's usage, or both). */
export const costFields = {
  amount: field.credits.optional().meta({ description: 'The cost itself, in credits' }),
  operation: field.operationId.optional(),
  units: field.units.optional().meta({ description: 'Units of the operation; 1 when absent' }),
  model: field.modelId.optional(),
  usage: field.usage.optional(),
}

export const ONE_COST = 'exactly one of amount, or operation and/or usage with its model, is required'

interface CostBody {
  readonly amount?: string | undefined
  readonly operation?: string | undefined
  readonly units?: number | undefined
  readonly model?: string | undefined
  readonly usage?: unknown
  readonly usage_total?: unknown
}

/** An absent cost never means "all" and two costs never mean one of them. */
export function hasOneCost(body: CostBody): boolean {
  const usage = body.usage !== undefined || body.usage_total !== undefined
  const work = body.operation !== undefined || body.units !== undefined || usage
  if (body.amount !== undefined) return !work && body.model === undefined
  return work && (body.model === undefined || usage)
}

/** Work that is not tied to a reservation has to name its model and its operation. */
export function namesItsWork(body: CostBody): boolean {
  return (body.usage === undefined || body.model !== undefined) && (body.units === undefined || body.operation !== undefined)
}
export const NAMED_WORK = 'usage needs a model and units need an operation'

export function costRequest(body: CostBody): CostRequest {
  if (body.amount !== undefined) return { amount: parseCredits(body.amount) ?? 0n }
  return {
    operation: body.operation ?? null,
    units: body.units ?? (body.operation === undefined ? null : 1),
    model: body.model ?? null,
    usage: (body.usage as z.infer<typeof field.usage> | undefined) ?? null,
  }
}

const SHARE_PATTERN = /^(?:0(?:\.[0-9]{1,6})?|1(?:\.0{1,6})?)$/

const payee = z.strictObject({
  wallet: field.wallet,
  share: z
    .string()
    .regex(SHARE_PATTERN, 'must be a decimal string above 0 and up to "1", with at most 6 decimals')
    .refine((text) => /[1-9]/.test(text), 'must be more than 0')
    .meta({ example: '0.7' }),
})

/** Millionths of a share such as "0.7". */
export function sharePpm(share: string): bigint {
  return parseCredits(share) ?? 0n
}

export const detailsFields = {
  basis: z.enum(['actual', 'estimated']).default('actual').meta({ description: 'Whether the usage was measured or guessed' }),
  payees: z.array(payee).max(PAYEES_MAX).default([]).meta({ description: 'Wallets that earn a share of what is collected' }),
  reference: field.reference.optional(),
  metadata: field.metadata.optional(),
  occurred_at: field.time.optional().meta({ description: 'When the work was done; now when absent' }),
}

export const chargeBody = z
  .strictObject({
    wallet: field.wallet,
    ...costFields,
    resource_owner: field.owner.optional().meta({ description: 'When this is the owner of the wallet, the work costs nothing' }),
    force: z.boolean().default(false).meta({ description: 'Pass the largest charge of the policy; admins only' }),
    ...detailsFields,
  })
  .refine(hasOneCost, { path: ['amount'], message: ONE_COST })
  .refine(namesItsWork, { path: ['model'], message: NAMED_WORK })
  .meta({ id: 'ChargeRequest' })

export const refundBody = z
  .strictObject({
    amount: field.credits.optional().meta({ description: 'All that is left when absent' }),
    reference: field.reference.optional(),
    metadata: field.metadata.optional(),
  })
  .meta({ id: 'RefundRequest' })

/** The parameters of a path without any. */
export const noParams = z.strictObject({})

export const chargeParams = z.strictObject({ charge_id: field.id('charge') })

/** What every answer about a new charge says of its cost. */
export const costAnswerFields = {
  id: field.id('charge'),
  wallet_id: field.id('wallet'),
  cost: field.creditsOut,
  charged: field.creditsOut.meta({ description: 'What was collected: captured + overage' }),
  captured: field.creditsOut.meta({ description: 'From the hold' }),
  overage: field.creditsOut.meta({ description: 'From available credits and debt' }),
  debt: field.creditsOut.meta({ description: 'What of the overage went into debt' }),
  uncollected: field.creditsOut.meta({ description: 'What the wallet could not cover' }),
  late: z.boolean(),
  final: z.boolean(),
  basis: z.enum(['actual', 'estimated']),
  model: z.string().nullable(),
  operation: z.string().nullable(),
  usage: field.usage.nullable(),
  earnings: z.array(z.object({ wallet_id: field.id('wallet'), share: z.string(), amount: field.creditsOut })),
  reference: z.string().nullable(),
  metadata: field.metadataOut,
  occurred_at: field.timeOut,
  created_at: field.timeOut,
}

export const chargeAnswer = z
  .object({ ...costAnswerFields, reservation_id: field.id('reservation').nullable(), wallet: field.walletFigures })
  .meta({ id: 'ChargeResponse' })

const { debt: _debt, ...storedFields } = costAnswerFields
export const chargeObject = z
  .object({
    ...storedFields,
    reservation_id: field.id('reservation').nullable(),
    refunded: field.creditsOut,
    quote: z.record(z.string(), z.unknown()).meta({ description: 'How the cost came about: cost = max(min, ⌈n/d⌉) micro-credits' }),
  })
  .meta({ id: 'Charge' })

export const refundAnswer = z
  .object({
    id: field.id('transaction'),
    charge_id: field.id('charge'),
    wallet_id: field.id('wallet'),
    amount: field.creditsOut,
    refunded: field.creditsOut.meta({ description: 'Of this charge, all refunds so far' }),
    refundable: field.creditsOut,
    created_at: field.timeOut,
    wallet: field.walletFigures,
  })
  .meta({ id: 'RefundResponse' })

function shareToWire(ppm: bigint): string {
  return formatCredits(ppm)
}

export function chargeToWire(charge: Charge) {
  return {
    id: toWireId('charge', charge.id),
    wallet_id: toWireId('wallet', charge.walletId),
    reservation_id: charge.reservationId === null ? null : toWireId('reservation', charge.reservationId),
    cost: formatCredits(charge.cost),
    charged: formatCredits(collected(charge)),
    captured: formatCredits(charge.captured),
    overage: formatCredits(charge.overage),
    uncollected: formatCredits(charge.uncollected),
    late: charge.late,
    final: charge.final,
    basis: charge.basis,
    model: charge.model,
    operation: charge.operation,
    usage: charge.usage,
    earnings: charge.earnings.map((e) => ({
      wallet_id: toWireId('wallet', e.walletId),
      share: shareToWire(e.sharePpm),
      amount: formatCredits(e.amount),
    })),
    reference: charge.reference,
    metadata: charge.metadata === null ? null : JSON.parse(charge.metadata),
    occurred_at: toWireTime(charge.occurredAt),
    created_at: toWireTime(charge.createdAt),
  }
}

/** A quote as a caller sees it. */
export function quoteToWire(quote: Quote): Record<string, unknown> {
  return { ...quote }
}

export const EVENTS_MAX = 1_000

const identity = z.string().regex(/^[\x21-\x7e]{1,128}$/, 'must be 1 to 128 printable ASCII characters without spaces')

/** What an event says of the work; in a CloudEvent it is the `data`. */
const work = {
  ...costFields,
  basis: z.enum(['actual', 'estimated']).default('actual'),
  resource_owner: field.owner.optional(),
  reference: field.reference.optional(),
  metadata: field.metadata.optional(),
}

/** A usage event in Farebox's own form. */
export const ownEvent = z
  .strictObject({ source: identity, id: identity, wallet: field.wallet, occurred_at: field.time.optional(), ...work })
  .refine(hasOneCost, { path: ['amount'], message: ONE_COST })
  .refine(namesItsWork, { path: ['model'], message: NAMED_WORK })
  .meta({ id: 'UsageEvent' })

export type UsageEvent = z.output<typeof ownEvent>

const cloudEventData = z.strictObject({ wallet: field.wallet.optional(), ...work })

export type CloudEvent = z.output<typeof cloudEvent>

/** A CloudEvents 1.0 event in JSON. Extension attributes are allowed, as the specification says, and are not stored. */
export const cloudEvent = z
  .object({
    specversion: z.literal('1.0'),
    id: identity,
    source: identity,
    type: z.literal('farebox.usage').meta({ description: 'The only type taken' }),
    subject: field.wallet.optional().meta({ description: 'The wallet, unless data names it' }),
    time: field.time.optional(),
    datacontenttype: z.literal('application/json').optional(),
    data: cloudEventData,
  })
  .catchall(z.union([z.string().max(200), z.number(), z.boolean()]))
  .refine((event) => (event.subject === undefined) !== (event.data.wallet === undefined), {
    path: ['subject'],
    message: 'the wallet must stand in exactly one of subject and data.wallet',
  })
  .refine((event) => hasOneCost(event.data), { path: ['data', 'amount'], message: ONE_COST })
  .refine((event) => namesItsWork(event.data), { path: ['data', 'model'], message: NAMED_WORK })
  .meta({ id: 'CloudEvent' })
