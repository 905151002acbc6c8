import { grantsOfPayments } from '../grants/store-pg.ts'
import type { Load, RowStore } from '../ledger/store.ts'
import { type Column, insertStatement, updateStatement, uuids } from '../platform/sql.ts'
import { type Payment, type PaymentStatus, type Provider, payments } from './payment.ts'

interface PaymentSqlRow {
  readonly wallet_id: string
  readonly id: string
  readonly client_id: string
  readonly kind: Payment['kind']
  readonly origin: Payment['origin']
  readonly package_version_id: string | null
  readonly subscription_id: string | null
  readonly invoice_id: string | null
  readonly currency: string
  readonly amount: bigint
  readonly credits: bigint
  readonly bonus: bigint
  readonly first_bonus: bigint
  readonly promotion: bigint
  readonly redemption_id: string | null
  readonly promotion_grant_id: string | null
  readonly provider: Provider
  readonly livemode: boolean
  readonly status: PaymentStatus
  readonly failure: string | null
  readonly object_id: string | null
  readonly checkout_id: string | null
  readonly refunded: bigint
  readonly withdrawn: bigint
  readonly disputed: boolean
  readonly reversed: bigint
  readonly taken: TakenJson
  readonly grant_id: string | null
  readonly bonus_grant_id: string | null
  readonly applied_read: bigint
  readonly reference: string | null
  readonly metadata: string | null
  readonly created_at: number
  readonly updated_at: number
  readonly paid_at: number | null
}

const fields = `p.wallet_id, p.id, p.client_id, p.kind, p.origin, p.package_version_id, p.subscription_id, p.invoice_id, p.currency, p.amount, p.credits, p.bonus, p.first_bonus, p.promotion, p.redemption_id, p.promotion_grant_id, p.provider, p.livemode,
  p.status, p.failure, p.object_id, p.checkout_id, p.refunded, p.withdrawn, p.disputed, p.reversed, p.taken, p.grant_id, p.bonus_grant_id,
  p.applied_read, p.reference, p.metadata::text, p.created_at, p.updated_at, p.paid_at`

function fromRow(row: PaymentSqlRow): Payment {
  return {
    walletId: row.wallet_id,
    id: row.id,
    clientId: row.client_id,
    kind: row.kind,
    origin: row.origin,
    packageVersionId: row.package_version_id,
    subscriptionId: row.subscription_id,
    invoiceId: row.invoice_id,
    currency: row.currency,
    amount: row.amount,
    credits: row.credits,
    bonus: row.bonus,
    firstBonus: row.first_bonus,
    promotion: row.promotion,
    redemptionId: row.redemption_id,
    promotionGrantId: row.promotion_grant_id,
    provider: row.provider,
    livemode: row.livemode,
    status: row.status,
    failure: row.failure,
    objectId: row.object_id,
    checkoutId: row.checkout_id,
    refunded: row.refunded,
    withdrawn: row.withdrawn,
    disputed: row.disputed,
    reversed: row.reversed,
    taken: takenFromJson(row.taken),
    grantId: row.grant_id,
    bonusGrantId: row.bonus_grant_id,
    appliedRead: row.applied_read,
    reference: row.reference,
    metadata: row.metadata,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    paidAt: row.paid_at,
  }
}

type TakenJson = readonly { readonly grant: string | null; readonly amount: string }[]

export function takenFromJson(parts: TakenJson): Payment['taken'] {
  return parts.map(({ grant, amount }) => ({ grantId: grant, amount: BigInt(amount) }))
}

function takenToJson(taken: Payment['taken']): string {
  return JSON.stringify(taken.map(({ grantId, amount }) => ({ grant: grantId, amount: amount.toString() })))
}

const changing: readonly Column<Payment>[] = [
  ['status', 'text', (p) => p.status],
  ['failure', 'text', (p) => p.failure],
  ['object_id', 'text', (p) => p.objectId],
  ['refunded', 'bigint', (p) => p.refunded],
  ['withdrawn', 'bigint', (p) => p.withdrawn],
  ['disputed', 'boolean', (p) => p.disputed],
  ['reversed', 'bigint', (p) => p.reversed],
  ['taken', 'json', (p) => takenToJson(p.taken)],
  ['bonus', 'bigint', (p) => p.bonus],
  ['promotion', 'bigint', (p) => p.promotion],
  ['promotion_grant_id', 'uuid', (p) => p.promotionGrantId],
  ['grant_id', 'uuid', (p) => p.grantId],
  ['bonus_grant_id', 'uuid', (p) => p.bonusGrantId],
  ['applied_read', 'bigint', (p) => p.appliedRead],
  ['updated_at', 'timestamptz', (p) => p.updatedAt],
  ['paid_at', 'timestamptz', (p) => p.paidAt],
]

const keys: readonly Column<Payment>[] = [
  ['wallet_id', 'uuid', (p) => p.walletId],
  ['id', 'uuid', (p) => p.id],
]

const insertColumns: readonly Column<Payment>[] = [
  ...keys,
  ['client_id', 'uuid', (p) => p.clientId],
  ['kind', 'text', (p) => p.kind],
  ['origin', 'text', (p) => p.origin],
  ['package_version_id', 'uuid', (p) => p.packageVersionId],
  ['subscription_id', 'uuid', (p) => p.subscriptionId],
  ['invoice_id', 'text', (p) => p.invoiceId],
  ['currency', 'text', (p) => p.currency],
  ['amount', 'bigint', (p) => p.amount],
  ['credits', 'bigint', (p) => p.credits],
  ['first_bonus', 'bigint', (p) => p.firstBonus],
  ['redemption_id', 'uuid', (p) => p.redemptionId],
  ['provider', 'text', (p) => p.provider],
  ['livemode', 'boolean', (p) => p.livemode],
  ['reference', 'text', (p) => p.reference],
  ['metadata', 'json', (p) => p.metadata],
  ['created_at', 'timestamptz', (p) => p.createdAt],
  ...changing,
]

/** Orders that commands name. Those of a wallet are no part of what other commands need. */
function named(ids: readonly string[]): Load<Payment> {
  return {
    table: payments,
    statement: { name: 'payments_named', text: `select ${fields} from payments p where p.id = any($1::uuid[])`, values: [uuids(ids)] },
    fromRow,
  }
}

export const paymentStore: RowStore<Payment> = {
  table: payments,
  locate: (ids) => ({
    name: 'payments_locate',
    text: 'select id, wallet_id from payments where id = any($1::uuid[])',
    values: [uuids(ids)],
  }),
  loads: (_walletIds, ids) => (ids.length === 0 ? [] : [named(ids), grantsOfPayments(ids)]),
  insert: insertStatement('payments', insertColumns),
  update: updateStatement('payments', 2, [...keys, ...changing]),
}
