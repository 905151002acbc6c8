import { z } from 'zod'
import * as field from '../http/fields.ts'
import { formatCredits } from '../kernel/credits.ts'
import { toWireId } from '../kernel/ids.ts'
import { toWireTime } from '../kernel/time.ts'
import type { Transaction } from '../ledger/transaction.ts'
import { available, figuresToWire, ownerOf, type Wallet } from '../ledger/wallet.ts'
import { plus } from '../pricing/pools.ts'
import { usageOut } from '../pricing/usage/schemas.ts'
import type { UsageGrouping, UsageTotal } from './reads-prisma.ts'

const timeZones = new Set(['UTC', ...Intl.supportedValuesOf('timeZone')])
const timeZone = z.string().refine((name) => timeZones.has(name), 'must be an IANA time zone such as "Europe/Berlin"')

const settings = {
  label: field.text(200).nullable().optional(),
  overdraft_limit: field.creditsOrZero.optional().meta({ description: 'How far commits and charges may go into debt' }),
  low_balance_threshold: field.creditsOrZero.nullable().optional(),
  time_zone: timeZone.optional(),
}

export const openBody = z.strictObject({ owner: field.owner, ...settings }).meta({ id: 'WalletRequest' })

export const patchBody = z
  .strictObject({ ...settings, reason: field.text(500).optional().meta({ description: 'For the audit log' }) })
  .refine(({ reason: _, ...rest }) => Object.keys(rest).length > 0, { message: 'at least one setting is required' })
  .meta({ id: 'WalletPatch' })

export const statusBody = z.strictObject({ reason: field.text(500) }).meta({ id: 'WalletStatusRequest' })

export const adjustBody = z
  .strictObject({
    wallet: field.wallet,
    amount: field.signedCredits.meta({ description: 'Negative takes credits away' }),
    reason: field.text(500).meta({ description: 'For the audit log' }),
    reference: field.reference.optional(),
    metadata: field.metadata.optional(),
  })
  .meta({ id: 'AdjustmentRequest' })

export const walletParams = z.strictObject({ wallet: field.wallet })

export const walletObject = field.walletFigures
  .extend({
    owner: z.string(),
    label: z.string().nullable(),
    status: z.enum(['active', 'frozen', 'closed']),
    overdraft_limit: field.creditsOut,
    low_balance_threshold: field.creditsOut.nullable(),
    time_zone: z.string(),
    created_at: field.timeOut,
    updated_at: field.timeOut,
  })
  .meta({ id: 'Wallet' })

export const balanceObject = field.walletFigures
  .extend({
    overdraft_limit: field.creditsOut,
    blocked: z.boolean().meta({ description: 'New work would be refused: the wallet is frozen or closed' }),
    exhausted: z.boolean().meta({ description: 'Nothing is available' }),
    as_of: field.timeOut,
  })
  .meta({ id: 'Balance' })

export const adjustAnswer = z
  .object({
    id: field.id('transaction'),
    wallet_id: field.id('wallet'),
    amount: field.creditsOut,
    reason: z.string(),
    created_at: field.timeOut,
    wallet: field.walletFigures,
  })
  .meta({ id: 'AdjustmentResponse' })

export const transactionObject = z
  .object({
    id: field.id('transaction'),
    wallet_id: field.id('wallet'),
    seq: z.int(),
    kind: z.enum(['grant', 'charge', 'uncollected', 'refund', 'expire', 'void', 'adjust', 'earning', 'clawback', 'reinstatement']),
    amount: field.creditsOut,
    counter_account: z.string(),
    balance_after: field.creditsOut,
    charge_id: field.id('charge').nullable(),
    reservation_id: field.id('reservation').nullable(),
    reverses_id: field.id('transaction').nullable(),
    actor: z.string(),
    reference: z.string().nullable(),
    metadata: field.metadataOut,
    occurred_at: field.timeOut,
    created_at: field.timeOut,
    hash: z.string().meta({ description: 'SHA-256 of the row and its predecessor, hexadecimal' }),
  })
  .meta({ id: 'Transaction' })

export function walletToWire(wallet: Wallet) {
  return {
    ...figuresToWire(wallet),
    owner: ownerOf(wallet),
    label: wallet.label,
    status: wallet.status,
    overdraft_limit: formatCredits(wallet.overdraftLimit),
    low_balance_threshold: wallet.lowBalanceThreshold === null ? null : formatCredits(wallet.lowBalanceThreshold),
    time_zone: wallet.timeZone,
    created_at: toWireTime(wallet.createdAt),
    updated_at: toWireTime(wallet.updatedAt),
  }
}

export function balanceToWire(wallet: Wallet, now: number) {
  return {
    ...figuresToWire(wallet),
    overdraft_limit: formatCredits(wallet.overdraftLimit),
    blocked: wallet.status !== 'active',
    exhausted: available(wallet) <= 0n,
    as_of: toWireTime(now),
  }
}

/** A ledger row as the listings read it. */
export type StoredTransaction = Omit<Transaction, 'draws' | 'metadata'> & { readonly metadata: Record<string, unknown> | null }

export function transactionToWire(row: StoredTransaction) {
  return {
    id: toWireId('transaction', row.id),
    wallet_id: toWireId('wallet', row.walletId),
    seq: Number(row.seq),
    kind: row.kind,
    amount: formatCredits(row.amount),
    counter_account: row.counterAccount,
    balance_after: formatCredits(row.balanceAfter),
    charge_id: row.chargeId === null ? null : toWireId('charge', row.chargeId),
    reservation_id: row.reservationId === null ? null : toWireId('reservation', row.reservationId),
    reverses_id: row.reversesId === null ? null : toWireId('transaction', row.reversesId),
    actor: row.actor,
    reference: row.reference,
    metadata: row.metadata,
    occurred_at: toWireTime(row.occurredAt),
    created_at: toWireTime(row.createdAt),
    hash: Buffer.from(row.hash).toString('hex'),
  }
}

const usageFigures = {
  charges: z.int(),
  cost: field.creditsOut,
  charged: field.creditsOut,
  uncollected: field.creditsOut,
  refunded: field.creditsOut,
  usage: usageOut,
  units: z.int(),
}

export const usageAnswer = z
  .object({
    wallet_id: field.id('wallet'),
    from: field.timeOut,
    to: field.timeOut,
    group_by: z.enum(['model', 'operation', 'day']),
    data: z.array(z.object({ group: z.string().nullable(), ...usageFigures })),
    total: z.object(usageFigures),
  })
  .meta({ id: 'UsageTotals' })

export function usageToWire(wallet: Wallet, window: { from: Date; to: Date }, by: UsageGrouping, totals: readonly UsageTotal[]) {
  const add = (key: 'charges' | 'units') => totals.reduce((sum, total) => sum + total[key], 0)
  const addCredits = (key: 'cost' | 'charged' | 'uncollected' | 'refunded') => formatCredits(totals.reduce((sum, t) => sum + t[key], 0n))
  return {
    wallet_id: toWireId('wallet', wallet.id),
    from: window.from.toISOString(),
    to: window.to.toISOString(),
    group_by: by,
    data: totals.map((total) => ({
      group: total.group,
      charges: total.charges,
      cost: formatCredits(total.cost),
      charged: formatCredits(total.charged),
      uncollected: formatCredits(total.uncollected),
      refunded: formatCredits(total.refunded),
      usage: total.usage,
      units: total.units,
    })),
    total: {
      charges: add('charges'),
      cost: addCredits('cost'),
      charged: addCredits('charged'),
      uncollected: addCredits('uncollected'),
      refunded: addCredits('refunded'),
      usage: totals.reduce((sum, total) => plus(sum, total.usage), {}),
      units: add('units'),
    },
  }
}
