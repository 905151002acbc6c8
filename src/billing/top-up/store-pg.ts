import type { RowStore } from '../../ledger/store.ts'
import { type Column, insertStatement, updateStatement, uuids } from '../../platform/sql.ts'
import type { Decline } from './decline.ts'
import { type StopReason, type TopUp, type TopUpStatus, topUps } from './top-up.ts'

interface TopUpSqlRow {
  readonly wallet_id: string
  readonly threshold: bigint
  readonly package: string | null
  readonly amount: bigint | null
  readonly currency: string
  readonly cap_amount: bigint
  readonly cap_days: number
  readonly method_id: string
  readonly fingerprint: string
  readonly card: string
  readonly status: TopUpStatus
  readonly stopped_reason: StopReason | null
  readonly declines: readonly Decline[]
  readonly in_flight_id: string | null
  readonly action_id: string | null
  readonly action_url: string | null
  readonly period_start: number | null
  readonly period_spent: bigint
  readonly created_at: number
  readonly updated_at: number
}

function fromRow(row: TopUpSqlRow): TopUp {
  return {
    walletId: row.wallet_id,
    id: row.wallet_id,
    threshold: row.threshold,
    package: row.package,
    amount: row.amount,
    currency: row.currency,
    capAmount: row.cap_amount,
    capDays: row.cap_days,
    methodId: row.method_id,
    fingerprint: row.fingerprint,
    card: row.card,
    status: row.status,
    stoppedReason: row.stopped_reason,
    declines: row.declines,
    inFlightId: row.in_flight_id,
    actionId: row.action_id,
    actionUrl: row.action_url,
    periodStart: row.period_start,
    periodSpent: row.period_spent,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

const columns: readonly Column<TopUp>[] = [
  ['wallet_id', 'uuid', (t) => t.walletId],
  ['threshold', 'bigint', (t) => t.threshold],
  ['package', 'text', (t) => t.package],
  ['amount', 'bigint', (t) => t.amount],
  ['currency', 'text', (t) => t.currency],
  ['cap_amount', 'bigint', (t) => t.capAmount],
  ['cap_days', 'integer', (t) => t.capDays],
  ['method_id', 'text', (t) => t.methodId],
  ['fingerprint', 'text', (t) => t.fingerprint],
  ['card', 'text', (t) => t.card],
  ['status', 'text', (t) => t.status],
  ['stopped_reason', 'text', (t) => t.stoppedReason],
  ['declines', 'json', (t) => JSON.stringify(t.declines)],
  ['in_flight_id', 'uuid', (t) => t.inFlightId],
  ['action_id', 'uuid', (t) => t.actionId],
  ['action_url', 'text', (t) => t.actionUrl],
  ['period_start', 'timestamptz', (t) => t.periodStart],
  ['period_spent', 'bigint', (t) => t.periodSpent],
  ['created_at', 'timestamptz', (t) => t.createdAt],
  ['updated_at', 'timestamptz', (t) => t.updatedAt],
]

const fields = columns.map(([name]) => `u.${name}`).join(', ')

export const topUpStore: RowStore<TopUp> = {
  table: topUps,
  locate: (ids) => ({
    name: 'top_ups_locate',
    text: 'select wallet_id as id, wallet_id from top_ups where wallet_id = any($1::uuid[])',
    values: [uuids(ids)],
  }),
  loads: (_walletIds, ids) =>
    ids.length === 0
      ? []
      : [
          {
            table: topUps,
            statement: {
              name: 'top_ups_named',
              text: `select ${fields} from top_ups u where u.wallet_id = any($1::uuid[])`,
              values: [uuids(ids)],
            },
            fromRow,
          },
        ],
  insert: insertStatement('top_ups', columns),
  update: updateStatement('top_ups', 1, columns),
}
