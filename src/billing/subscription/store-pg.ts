import type { RowStore } from '../../ledger/store.ts'
import { type Column, insertStatement, updateStatement, uuids } from '../../platform/sql.ts'
import type { Provider } from '../payment.ts'
import { type Subscription, type SubscriptionStatus, subscriptions } from './subscription.ts'

interface SubscriptionSqlRow {
  readonly wallet_id: string
  readonly id: string
  readonly client_id: string
  readonly plan_version_id: string
  readonly provider: Provider
  readonly livemode: boolean
  readonly status: SubscriptionStatus
  readonly object_id: string | null
  readonly checkout_id: string | null
  readonly invoice_url: string | null
  readonly cancels_at: number | null
  readonly period_start: number | null
  readonly period_end: number | null
  readonly credited_plan_id: string | null
  readonly credited_from: number | null
  readonly credited_until: number | null
  readonly rolled_over: bigint
  readonly applied_read: bigint
  readonly created_at: number
  readonly updated_at: number
  readonly ended_at: number | null
}

const fields = `s.wallet_id, s.id, s.client_id, s.plan_version_id, s.provider, s.livemode, s.status, s.object_id, s.checkout_id, s.cancels_at,
  s.period_start, s.period_end, s.credited_plan_id, s.credited_from, s.credited_until, s.rolled_over, s.applied_read, s.created_at,
  s.updated_at, s.ended_at, s.invoice_url`

function fromRow(row: SubscriptionSqlRow): Subscription {
  return {
    walletId: row.wallet_id,
    id: row.id,
    clientId: row.client_id,
    planVersionId: row.plan_version_id,
    provider: row.provider,
    livemode: row.livemode,
    status: row.status,
    objectId: row.object_id,
    checkoutId: row.checkout_id,
    invoiceUrl: row.invoice_url,
    cancelsAt: row.cancels_at,
    periodStart: row.period_start,
    periodEnd: row.period_end,
    creditedPlanId: row.credited_plan_id,
    creditedFrom: row.credited_from,
    creditedUntil: row.credited_until,
    rolledOver: row.rolled_over,
    appliedRead: row.applied_read,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    endedAt: row.ended_at,
  }
}

const keys: readonly Column<Subscription>[] = [
  ['wallet_id', 'uuid', (s) => s.walletId],
  ['id', 'uuid', (s) => s.id],
]

/** The page is written beside the lane, by whoever opened it, and never by an update. */
const changing: readonly Column<Subscription>[] = [
  ['plan_version_id', 'uuid', (s) => s.planVersionId],
  ['status', 'text', (s) => s.status],
  ['object_id', 'text', (s) => s.objectId],
  ['invoice_url', 'text', (s) => s.invoiceUrl],
  ['cancels_at', 'timestamptz', (s) => s.cancelsAt],
  ['period_start', 'timestamptz', (s) => s.periodStart],
  ['period_end', 'timestamptz', (s) => s.periodEnd],
  ['credited_plan_id', 'uuid', (s) => s.creditedPlanId],
  ['credited_from', 'timestamptz', (s) => s.creditedFrom],
  ['credited_until', 'timestamptz', (s) => s.creditedUntil],
  ['rolled_over', 'bigint', (s) => s.rolledOver],
  ['applied_read', 'bigint', (s) => s.appliedRead],
  ['updated_at', 'timestamptz', (s) => s.updatedAt],
  ['ended_at', 'timestamptz', (s) => s.endedAt],
]

const insertColumns: readonly Column<Subscription>[] = [
  ...keys,
  ['client_id', 'uuid', (s) => s.clientId],
  ['provider', 'text', (s) => s.provider],
  ['livemode', 'boolean', (s) => s.livemode],
  ['created_at', 'timestamptz', (s) => s.createdAt],
  ...changing,
]

/** Subscriptions by id, and the live ones of wallets by theirs. */
export const subscriptionStore: RowStore<Subscription> = {
  table: subscriptions,
  locate: (ids) => ({
    name: 'subscriptions_locate',
    text: 'select id, wallet_id from subscriptions where id = any($1::uuid[])',
    values: [uuids(ids)],
  }),
  loads: (_walletIds, ids) =>
    ids.length === 0
      ? []
      : [
          {
            table: subscriptions,
            statement: {
              name: 'subscriptions_named',
              text: `select ${fields} from subscriptions s where s.id = any($1::uuid[])
                or (s.wallet_id = any($1::uuid[]) and s.status not in ('canceled', 'expired'))`,
              values: [uuids(ids)],
            },
            fromRow,
          },
        ],
  insert: insertStatement('subscriptions', insertColumns),
  update: updateStatement('subscriptions', 2, [...keys, ...changing]),
}
