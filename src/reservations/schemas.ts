import { z } from 'zod'
import {
  costAnswerFields,
  costFields,
  detailsFields,
  estimateFields,
  hasOneCost,
  NAMED_WORK,
  namesItsWork,
  ONE_COST,
} from '../charges/schemas.ts'
import * as field from '../http/fields.ts'
import { formatCredits } from '../kernel/credits.ts'
import { toWireId } from '../kernel/ids.ts'
import { toWireTime, toWireTimeOrNull } from '../kernel/time.ts'
import { usage } from '../pricing/usage/schemas.ts'
import { type Reservation, TTL_SECONDS_DEFAULT, TTL_SECONDS_MAX } from './reservation.ts'

const ttl = z.int().min(1).max(TTL_SECONDS_MAX)

export const reserveBody = z
  .strictObject({
    wallet: field.wallet,
    ...costFields,
    ...estimateFields,
    ttl_seconds: ttl.default(TTL_SECONDS_DEFAULT).meta({ description: 'After this time the hold expires by itself' }),
    partial: z.boolean().default(false).meta({ description: 'Take the largest hold there is when the wallet has less' }),
    resource_owner: field.owner.optional().meta({ description: 'When this is the owner of the wallet, the work costs nothing' }),
    reference: field.reference.optional(),
    metadata: field.metadata.optional(),
  })
  .refine(hasOneCost, { path: ['amount'], message: ONE_COST })
  .refine(namesItsWork, { path: ['model'], message: NAMED_WORK })
  .meta({ id: 'ReserveRequest' })

export const commitBody = z
  .strictObject({
    ...costFields,
    amount: field.creditsOrZero.optional().meta({ description: 'The cost itself, in credits; "0" charges nothing and never means "all"' }),
    usage_total: usage.optional().meta({
      description: 'Tokens since the reservation began, instead of since the last capture; repeated and late reports bill nothing',
    }),
    final: z.boolean().default(true).meta({ description: 'false captures a part and keeps the hold' }),
    force: z.boolean().default(false).meta({ description: 'Pass the limits on costs; admins only' }),
    ...detailsFields,
  })
  .refine(hasOneCost, { path: ['amount'], message: ONE_COST })
  .meta({ id: 'CommitRequest' })

export const extendBody = z
  .strictObject({
    ttl_seconds: ttl.optional().meta({ description: 'The new deadline, counted from now; never earlier than the present one' }),
    add_amount: field.credits.optional().meta({ description: 'Credits to add to the hold' }),
  })
  .refine((body) => body.ttl_seconds !== undefined || body.add_amount !== undefined, {
    path: ['ttl_seconds'],
    message: 'ttl_seconds or add_amount is required',
  })
  .meta({ id: 'ExtendRequest' })

/** Nothing, however it is spelled: the fingerprint of a request may not depend on it. */
export const emptyBody = z
  .strictObject({})
  .nullish()
  .transform(() => ({}))

export const reservationParams = z.strictObject({ reservation_id: field.id('reservation') })

export const reservationObject = z
  .object({
    id: field.id('reservation'),
    wallet_id: field.id('wallet'),
    status: z.enum(['held', 'committed', 'released', 'expired']),
    requested: field.creditsOut,
    amount: field.creditsOut,
    captured: field.creditsOut,
    released: field.creditsOut,
    cost: field.creditsOut,
    reference: z.string().nullable(),
    metadata: field.metadataOut,
    expires_at: field.timeOut,
    created_at: field.timeOut,
    finalized_at: field.timeOut.nullable(),
  })
  .meta({ id: 'Reservation' })

export const reserveAnswer = reservationObject
  .extend({
    affords: z
      .object({ output_tokens: z.int().optional(), units: z.int().optional() })
      .optional()
      .meta({ description: 'What a partial hold pays for' }),
    wallet: field.walletFigures,
  })
  .meta({ id: 'ReserveResponse' })

export const reservationAnswer = reservationObject.extend({ wallet: field.walletFigures }).meta({ id: 'ReservationResponse' })

export const commitAnswer = z
  .object({
    ...costAnswerFields,
    reservation_id: field.id('reservation'),
    reservation_status: z.enum(['held', 'committed', 'expired']),
    released: field.creditsOut.meta({ description: 'What of the hold went back to the wallet with this commit' }),
    wallet: field.walletFigures,
  })
  .meta({ id: 'CommitResponse' })

export function reservationToWire(reservation: Reservation) {
  return {
    id: toWireId('reservation', reservation.id),
    wallet_id: toWireId('wallet', reservation.walletId),
    status: reservation.status,
    requested: formatCredits(reservation.requested),
    amount: formatCredits(reservation.amount),
    captured: formatCredits(reservation.captured),
    released: formatCredits(reservation.released),
    cost: formatCredits(reservation.cost),
    reference: reservation.reference,
    metadata: reservation.metadata === null ? null : JSON.parse(reservation.metadata),
    expires_at: toWireTime(reservation.expiresAt),
    created_at: toWireTime(reservation.createdAt),
    finalized_at: toWireTimeOrNull(reservation.finalizedAt),
  }
}

export const checkBody = reserveBody

export const checkAnswer = z
  .object({
    allowed: z.boolean(),
    reason: z.string().nullable().meta({ description: 'The code that a reserve would be refused with' }),
    detail: z.string().nullable(),
    required: field.creditsOut.nullable().meta({ description: 'The hold that the work needs' }),
    amount: field.creditsOut.nullable().meta({ description: 'The hold that would be taken; less than required with partial' }),
    affords: z.object({ output_tokens: z.int().optional(), units: z.int().optional() }).optional(),
    wallet: field.walletFigures,
  })
  .meta({ id: 'CheckResponse' })
