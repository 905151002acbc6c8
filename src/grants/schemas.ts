import { z } from 'zod'
import * as field from '../http/fields.ts'
import { formatCredits } from '../kernel/credits.ts'
import { toWireId } from '../kernel/ids.ts'
import { toWireTime, toWireTimeOrNull } from '../kernel/time.ts'
import { type Grant, ISSUED_KINDS } from './grant.ts'

const costBasis = z
  .strictObject({
    amount: z
      .string()
      .regex(/^(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,6})?$/, 'must be a plain decimal string')
      .meta({ example: '10.00' }),
    currency: z
      .string()
      .regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code such as "USD"')
      .meta({ example: 'USD' }),
  })
  .meta({ description: 'What was paid for the credits' })

export const grantBody = z
  .strictObject({
    wallet: field.wallet,
    kind: z.enum(ISSUED_KINDS),
    amount: field.credits,
    priority: z
      .int()
      .min(0)
      .max(1000)
      .optional()
      .meta({ description: 'Lower burns first. Default: bonus 10, others that expire 20, adjustment 30, purchase 50' }),
    effective_at: field.time.optional().meta({ description: 'A time ahead schedules the grant' }),
    expires_at: field.time.optional(),
    cost_basis: costBasis.optional(),
    source: field.text(200).optional().meta({ description: 'Where the grant comes from: an order, a campaign' }),
    reference: field.reference.optional(),
    metadata: field.metadata.optional(),
  })
  .meta({ id: 'GrantRequest' })

export const voidBody = z.strictObject({ reason: field.text(500) }).meta({ id: 'VoidRequest' })

export const grantParams = z.strictObject({ grant_id: field.id('grant') })

export const grantObject = z
  .object({
    id: field.id('grant'),
    wallet_id: field.id('wallet'),
    kind: z.enum([...ISSUED_KINDS, 'refund', 'earning', 'promotion', 'rollover']),
    status: z.enum(['scheduled', 'active', 'spent', 'expired', 'void']),
    amount: field.creditsOut,
    remaining: field.creditsOut,
    held: field.creditsOut,
    priority: z.int(),
    effective_at: field.timeOut,
    expires_at: field.timeOut.nullable(),
    cost_basis: z.object({ amount: z.string(), currency: z.string() }).nullable(),
    source: z.string().nullable(),
    reference: z.string().nullable(),
    voided_at: field.timeOut.nullable(),
    created_at: field.timeOut,
  })
  .meta({ id: 'Grant' })

export const grantAnswer = grantObject.extend({ wallet: field.walletFigures }).meta({ id: 'GrantResponse' })

/** @param now tells expired from active and scheduled */
export function grantToWire(grant: Grant, now: number) {
  return {
    id: toWireId('grant', grant.id),
    wallet_id: toWireId('wallet', grant.walletId),
    kind: grant.kind,
    status: statusOf(grant, now),
    amount: formatCredits(grant.amount),
    remaining: formatCredits(grant.remaining),
    held: formatCredits(grant.held),
    priority: grant.priority,
    effective_at: toWireTime(grant.effectiveAt),
    expires_at: toWireTimeOrNull(grant.expiresAt),
    cost_basis: grant.costBasis === null ? null : JSON.parse(grant.costBasis),
    source: grant.source,
    reference: grant.reference,
    voided_at: toWireTimeOrNull(grant.voidedAt),
    created_at: toWireTime(grant.createdAt),
  }
}

function statusOf(grant: Grant, now: number): 'scheduled' | 'active' | 'spent' | 'expired' | 'void' {
  if (grant.voidedAt !== null) return 'void'
  if (grant.expiresAt !== null && grant.expiresAt <= now) return 'expired'
  if (grant.spentAt !== null) return 'spent'
  return grant.postedAt === null ? 'scheduled' : 'active'
}
