import { z } from 'zod'
import { TEXT_LENGTH_MAX } from '../estimates/estimate.ts'
import * as field from '../http/fields.ts'
import { formatCredits, parseCredits } from '../kernel/credits.ts'
import { toWireId } from '../kernel/ids.ts'
import { toWireTime } from '../kernel/time.ts'
import type { Usage } from '../pricing/pools.ts'
import { SERVICE_TIERS, type ServiceTier } from '../pricing/prices.ts'
import type { CostRequest, EstimateMethod } from '../pricing/quote.ts'
import { quoteObject } from '../pricing/quote-schemas.ts'
import { type RawUsage, rawUsage, usage, usageOut } from '../pricing/usage/schemas.ts'
import { type Charge, collected, PAYEES_MAX } from './charge.ts'

/** A cost: an amount as it stands, or work to be priced (an operation, a model's usage, or both). */
export const costFields = {
  amount: field.credits.optional().meta({ description: 'The cost itself, in credits' }),
  operation: field.operationId.optional(),
  units: field.units.optional().meta({ description: 'Units of the operation; 1 when absent' }),
  model: field.modelId.optional(),
  provider: field.providerId.optional().meta({ description: 'Who serves the model, where several do' }),
  service_tier: z.enum(SERVICE_TIERS).optional().meta({ description: 'How the provider serves it; standard when absent' }),
  usage: usage.optional(),
  raw_usage: rawUsage.optional(),
}

/** Work that is yet to be done may be given as the text to be sent instead of a usage. */
export const estimateFields = {
  input_text: z
    .string()
    .max(TEXT_LENGTH_MAX)
    .optional()
    .meta({ description: 'The prompt, instead of a usage: its tokens are counted, the text is not kept' }),
  max_output_tokens: field.tokens.optional().meta({ description: 'The most tokens that the answer may have; with input_text' }),
}

export const ONE_COST =
  'exactly one of amount, or operation and/or a model with one of usage, raw_usage, usage_total and input_text, is required'

export interface CostBody extends Estimated {
  readonly amount?: string | undefined
  readonly operation?: string | undefined
  readonly units?: number | undefined
  readonly model?: string | undefined
  readonly provider?: string | undefined
  readonly service_tier?: ServiceTier | undefined
  readonly usage?: Usage | undefined
  readonly raw_usage?: RawUsage | undefined
  readonly usage_total?: Usage | undefined
  readonly input_text?: string | undefined
  readonly max_output_tokens?: number | undefined
}

/** An absent cost never means "all" and two costs never mean one of them. */
export function hasOneCost(body: CostBody): boolean {
  const usages = [body.usage, body.raw_usage, body.usage_total, body.input_text].filter((given) => given !== undefined).length
  const work = body.operation !== undefined || body.units !== undefined || usages > 0
  const ofModel = body.model !== undefined || body.provider !== undefined || body.service_tier !== undefined
  if (body.amount !== undefined) return !work && !ofModel && body.max_output_tokens === undefined
  if (usages > 1 || (body.provider !== undefined && body.model === undefined)) return false
  return work && (!ofModel || usages === 1) && (body.max_output_tokens === undefined || body.input_text !== undefined)
}

/** Work that is not tied to a reservation has to name its model and its operation. */
export function namesItsWork(body: CostBody): boolean {
  const used = body.usage !== undefined || body.raw_usage !== undefined || body.input_text !== undefined
  return (!used || body.model !== undefined) && (body.units === undefined || body.operation !== undefined)
}
export const NAMED_WORK = 'usage needs a model and units need an operation'

/** The parts that every kind of priced work has. */
export function workOf(body: CostBody) {
  return {
    model: body.model ?? null,
    provider: body.provider ?? null,
    operation: body.operation ?? null,
    units: body.units ?? (body.operation === undefined ? null : 1),
    usage: body.estimated?.usage ?? body.raw_usage?.pools ?? body.usage ?? null,
  }
}

export function costRequest(body: CostBody): CostRequest {
  if (body.amount !== undefined) return { amount: parseCredits(body.amount) ?? 0n }
  return { ...workOf(body), serviceTier: body.service_tier ?? 'standard', estimate: body.estimated?.method }
}

/** A body whose text was counted. */
export interface Estimated {
  readonly estimated?: { readonly usage: Usage; readonly method: EstimateMethod }
}

/** Counts the tokens of a body's text, where it has one. */
export type Estimate = <Body extends CostBody>(body: Body) => Promise<Body & Estimated> | (Body & Estimated)

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

const basis = z.enum(['actual', 'estimated'])

export const detailsFields = {
  basis: basis.default('actual').meta({ description: 'Whether the usage was measured or guessed' }),
  payees: z.array(payee).max(PAYEES_MAX).default([]).meta({ description: 'Wallets that earn a share of what is collected' }),
  reference: field.reference.optional(),
  metadata: field.metadata.optional(),
  occurred_at: field.time.optional().meta({ description: 'When the work was done; now when absent' }),
}

export const chargeBody = z
  .strictObject({
    wallet: field.wallet,
    ...costFields,
    ...estimateFields,
    resource_owner: field.owner.optional().meta({ description: 'When this is the owner of the wallet, the work costs nothing' }),
    force: z.boolean().default(false).meta({ description: 'Pass the largest charge of the policy; admins only' }),
    ...detailsFields,
    basis: basis
      .optional()
      .meta({ description: 'Whether the usage was measured or guessed; actual when absent, unless it comes from input_text' }),
  })
  .refine(hasOneCost, { path: ['amount'], message: ONE_COST })
  .refine(namesItsWork, { path: ['model'], message: NAMED_WORK })
  // A default that is said out loud is the same request: the fingerprint must not tell them apart.
  .transform((body) => ({ ...body, basis: body.basis ?? (body.input_text === undefined ? 'actual' : 'estimated') }))
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
  usage: usageOut.nullable(),
  raw_usage: z.record(z.string(), z.unknown()).nullable().meta({ description: 'The provider’s own usage, as it was given' }),
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
    quote: quoteObject,
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
    raw_usage: charge.rawUsage === null ? null : JSON.parse(charge.rawUsage),
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

/** A question of price: nothing is held or charged. */
export const quoteBody = z
  .strictObject({
    ...costFields,
    ...estimateFields,
    at: field.time.optional().meta({ description: 'Prices as of then, which may be to come; now when absent' }),
  })
  .refine(hasOneCost, { path: ['amount'], message: ONE_COST })
  .refine(namesItsWork, { path: ['model'], message: NAMED_WORK })
  .meta({ id: 'QuoteRequest' })

export const recomputeAnswer = z
  .object({
    charge_id: field.id('charge'),
    cost: field.creditsOut.meta({ description: 'What was charged' }),
    recomputed: field.creditsOut
      .nullable()
      .meta({ description: 'What the stored versions of prices come to; null where one is not there' }),
    matches: z.boolean(),
    missing_versions: z.array(field.id('price')),
    quote: quoteObject.nullable(),
  })
  .meta({ id: 'RecomputeResponse' })
