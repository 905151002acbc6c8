import { grantsOfCharges } from '../grants/store-pg.ts'
import type { RowStore } from '../ledger/store.ts'
import { drawsFromJson, drawsToJson } from '../ledger/transaction.ts'
import { type Column, insertStatement, updateStatement, uuids } from '../platform/sql.ts'
import type { Usage } from '../pricing/pools.ts'
import type { Quote } from '../pricing/quote.ts'
import { type Basis, type Charge, charges, type Earning } from './charge.ts'

interface ChargeSqlRow {
  readonly wallet_id: string
  readonly id: string
  readonly reservation_id: string | null
  readonly cost: bigint
  readonly captured: bigint
  readonly overage: bigint
  readonly uncollected: bigint
  readonly refunded: bigint
  readonly final: boolean
  readonly late: boolean
  readonly basis: Basis
  readonly model: string | null
  readonly operation: string | null
  readonly usage: Usage | null
  readonly raw_usage: string | null
  readonly quote: Quote
  readonly draws: readonly { grant: string; amount: string }[]
  readonly payees: readonly { wallet: string; share_ppm: string; amount: string }[] | null
  readonly client_id: string | null
  readonly reference: string | null
  readonly metadata: string | null
  readonly occurred_at: number
  readonly created_at: number
}

function fromRow(row: ChargeSqlRow): Charge {
  return {
    walletId: row.wallet_id,
    id: row.id,
    reservationId: row.reservation_id,
    cost: row.cost,
    captured: row.captured,
    overage: row.overage,
    uncollected: row.uncollected,
    refunded: row.refunded,
    final: row.final,
    late: row.late,
    basis: row.basis,
    model: row.model,
    operation: row.operation,
    usage: row.usage,
    rawUsage: row.raw_usage,
    quote: row.quote,
    draws: drawsFromJson(row.draws),
    earnings: earningsFromJson(row.payees),
    clientId: row.client_id,
    reference: row.reference,
    metadata: row.metadata,
    occurredAt: row.occurred_at,
    createdAt: row.created_at,
  }
}

export function earningsFromJson(rows: ChargeSqlRow['payees']): Earning[] {
  return (rows ?? []).map((row) => ({ walletId: row.wallet, sharePpm: BigInt(row.share_ppm), amount: BigInt(row.amount) }))
}

function earningsToJson(earnings: readonly Earning[]): string | null {
  if (earnings.length === 0) return null
  return JSON.stringify(earnings.map((e) => ({ wallet: e.walletId, share_ppm: e.sharePpm.toString(), amount: e.amount.toString() })))
}

const insertColumns: readonly Column<Charge>[] = [
  ['wallet_id', 'uuid', (c) => c.walletId],
  ['id', 'uuid', (c) => c.id],
  ['reservation_id', 'uuid', (c) => c.reservationId],
  ['cost', 'bigint', (c) => c.cost],
  ['captured', 'bigint', (c) => c.captured],
  ['overage', 'bigint', (c) => c.overage],
  ['uncollected', 'bigint', (c) => c.uncollected],
  ['refunded', 'bigint', (c) => c.refunded],
  ['final', 'boolean', (c) => c.final],
  ['late', 'boolean', (c) => c.late],
  ['basis', 'text', (c) => c.basis],
  ['model', 'text', (c) => c.model],
  ['operation', 'text', (c) => c.operation],
  ['usage', 'json', (c) => (c.usage === null ? null : JSON.stringify(c.usage))],
  ['raw_usage', 'json', (c) => c.rawUsage],
  ['quote', 'json', (c) => JSON.stringify(c.quote)],
  ['draws', 'json', (c) => drawsToJson(c.draws)],
  ['payees', 'json', (c) => earningsToJson(c.earnings)],
  ['client_id', 'uuid', (c) => c.clientId],
  ['reference', 'text', (c) => c.reference],
  ['metadata', 'json', (c) => c.metadata],
  ['occurred_at', 'timestamptz', (c) => c.occurredAt],
  ['created_at', 'timestamptz', (c) => c.createdAt],
]

const updateColumns: readonly Column<Charge>[] = [
  ['wallet_id', 'uuid', (c) => c.walletId],
  ['id', 'uuid', (c) => c.id],
  ['refunded', 'bigint', (c) => c.refunded],
]

export const chargeStore: RowStore<Charge> = {
  table: charges,
  locate: (ids) => ({
    name: 'charges_locate',
    text: 'select id, wallet_id from charges where id = any($1::uuid[])',
    values: [uuids(ids)],
  }),
  loads: (_walletIds, ids) => (ids.length === 0 ? [] : [namedCharges(ids), grantsOfCharges(ids)]),
  insert: insertStatement('charges', insertColumns),
  update: updateStatement('charges', 2, updateColumns),
}

function namedCharges(ids: readonly string[]) {
  return {
    table: charges,
    statement: {
      name: 'charges_named',
      text: `select wallet_id, id, reservation_id, cost, captured, overage, uncollected, refunded, final, late, basis, model, operation,
          usage, raw_usage::text, quote, draws, payees, client_id, reference, metadata::text, occurred_at, created_at
        from charges where id = any($1::uuid[])`,
      values: [uuids(ids)],
    },
    fromRow,
  }
}
