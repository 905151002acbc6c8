import type { RowStore } from '../ledger/store.ts'
import { drawsFromJson, drawsToJson } from '../ledger/transaction.ts'
import { type Column, insertStatement, updateStatement, uuids } from '../platform/sql.ts'
import type { Usage } from '../pricing/pools.ts'
import type { Quote } from '../pricing/quote.ts'
import { type Reservation, type ReservationStatus, reservations } from './reservation.ts'

interface ReservationSqlRow {
  readonly wallet_id: string
  readonly id: string
  readonly status: ReservationStatus
  readonly requested: bigint
  readonly amount: bigint
  readonly captured: bigint
  readonly released: bigint
  readonly cost: bigint
  readonly draws: readonly { grant: string; amount: string }[]
  readonly quote: Quote
  readonly usage_total: Usage | null
  readonly client_id: string
  readonly reference: string | null
  readonly metadata: string | null
  readonly expires_at: number
  readonly created_at: number
  readonly finalized_at: number | null
}

function fromRow(row: ReservationSqlRow): Reservation {
  return {
    walletId: row.wallet_id,
    id: row.id,
    status: row.status,
    requested: row.requested,
    amount: row.amount,
    captured: row.captured,
    released: row.released,
    cost: row.cost,
    pins: drawsFromJson(row.draws),
    quote: row.quote,
    usageTotal: row.usage_total,
    clientId: row.client_id,
    reference: row.reference,
    metadata: row.metadata,
    expiresAt: row.expires_at,
    createdAt: row.created_at,
    finalizedAt: row.finalized_at,
  }
}

const keyColumns: readonly Column<Reservation>[] = [
  ['wallet_id', 'uuid', (r) => r.walletId],
  ['id', 'uuid', (r) => r.id],
]

/** What a command may change of a reservation. */
const changingColumns: readonly Column<Reservation>[] = [
  ['status', 'text', (r) => r.status],
  ['requested', 'bigint', (r) => r.requested],
  ['amount', 'bigint', (r) => r.amount],
  ['captured', 'bigint', (r) => r.captured],
  ['released', 'bigint', (r) => r.released],
  ['cost', 'bigint', (r) => r.cost],
  ['draws', 'json', (r) => drawsToJson(r.pins)],
  ['usage_total', 'json', (r) => (r.usageTotal === null ? null : JSON.stringify(r.usageTotal))],
  ['expires_at', 'timestamptz', (r) => r.expiresAt],
  ['finalized_at', 'timestamptz', (r) => r.finalizedAt],
]

const fixedColumns: readonly Column<Reservation>[] = [
  ['quote', 'json', (r) => JSON.stringify(r.quote)],
  ['client_id', 'uuid', (r) => r.clientId],
  ['reference', 'text', (r) => r.reference],
  ['metadata', 'json', (r) => r.metadata],
  ['created_at', 'timestamptz', (r) => r.createdAt],
]

export const reservationStore: RowStore<Reservation> = {
  table: reservations,
  locate: (ids) => ({
    name: 'reservations_locate',
    text: 'select id, wallet_id from reservations where id = any($1::uuid[])',
    values: [uuids(ids)],
  }),
  loads: (_walletIds, ids) => (ids.length === 0 ? [] : [namedReservations(ids)]),
  insert: insertStatement('reservations', [...keyColumns, ...changingColumns, ...fixedColumns]),
  update: updateStatement('reservations', keyColumns.length, [...keyColumns, ...changingColumns]),
}

function namedReservations(ids: readonly string[]) {
  return {
    table: reservations,
    statement: {
      name: 'reservations_named',
      text: `select wallet_id, id, status, requested, amount, captured, released, cost, draws, quote, usage_total, client_id, reference,
          metadata::text, expires_at, created_at, finalized_at
        from reservations where id = any($1::uuid[])`,
      values: [uuids(ids)],
    },
    fromRow,
  }
}
