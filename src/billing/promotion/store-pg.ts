import type { RowStore } from '../../ledger/store.ts'
import { type Column, insertStatement, updateStatement, uuids } from '../../platform/sql.ts'
import { type FirstPayment, firstPayments, type Redemption, redemptions } from './promotion.ts'

interface RedemptionSqlRow {
  readonly wallet_id: string
  readonly id: string
  readonly promotion_id: string
  readonly grant_days: number | null
  readonly first_purchase_only: boolean
  readonly payment_id: string | null
  readonly grant_id: string | null
  readonly credits: bigint
  readonly claimed_at: number
  readonly redeemed_at: number | null
}

const redemptionColumns: readonly Column<Redemption>[] = [
  ['wallet_id', 'uuid', (r) => r.walletId],
  ['id', 'uuid', (r) => r.id],
  ['promotion_id', 'uuid', (r) => r.promotionId],
  ['payment_id', 'uuid', (r) => r.paymentId],
  ['grant_id', 'uuid', (r) => r.grantId],
  ['credits', 'bigint', (r) => r.credits],
  ['claimed_at', 'timestamptz', (r) => r.claimedAt],
  ['redeemed_at', 'timestamptz', (r) => r.redeemedAt],
]

export const redemptionStore: RowStore<Redemption> = {
  table: redemptions,
  locate: (ids) => ({
    name: 'redemptions_locate',
    text: 'select id, wallet_id from redemptions where id = any($1::uuid[])',
    values: [uuids(ids)],
  }),
  loads: (_walletIds, ids) =>
    ids.length === 0
      ? []
      : [
          {
            table: redemptions,
            statement: {
              name: 'redemptions_named',
              text: `select r.wallet_id, r.id, r.promotion_id, p.grant_days, p.first_purchase_only, r.payment_id, r.grant_id, r.credits,
                  r.claimed_at, r.redeemed_at
                from redemptions r join promotions p on p.id = r.promotion_id where r.id = any($1::uuid[])`,
              values: [uuids(ids)],
            },
            fromRow: (row: RedemptionSqlRow): Redemption => ({
              walletId: row.wallet_id,
              id: row.id,
              promotionId: row.promotion_id,
              grantDays: row.grant_days,
              firstPurchaseOnly: row.first_purchase_only,
              paymentId: row.payment_id,
              grantId: row.grant_id,
              credits: row.credits,
              claimedAt: row.claimed_at,
              redeemedAt: row.redeemed_at,
            }),
          },
        ],
  insert: insertStatement('redemptions', redemptionColumns),
  update: updateStatement('redemptions', 2, redemptionColumns),
}

interface FirstPaymentSqlRow {
  readonly wallet_id: string
  readonly payment_id: string
  readonly paid_at: number
}

const firstPaymentColumns: readonly Column<FirstPayment>[] = [
  ['wallet_id', 'uuid', (f) => f.walletId],
  ['payment_id', 'uuid', (f) => f.paymentId],
  ['paid_at', 'timestamptz', (f) => f.paidAt],
]

export const firstPaymentStore: RowStore<FirstPayment> = {
  table: firstPayments,
  locate: (ids) => ({
    name: 'first_payments_locate',
    text: 'select wallet_id as id, wallet_id from first_payments where wallet_id = any($1::uuid[])',
    values: [uuids(ids)],
  }),
  loads: (_walletIds, ids) =>
    ids.length === 0
      ? []
      : [
          {
            table: firstPayments,
            statement: {
              name: 'first_payments_named',
              text: 'select wallet_id, payment_id, paid_at from first_payments where wallet_id = any($1::uuid[])',
              values: [uuids(ids)],
            },
            fromRow: (row: FirstPaymentSqlRow): FirstPayment => ({
              walletId: row.wallet_id,
              id: row.wallet_id,
              paymentId: row.payment_id,
              paidAt: row.paid_at,
            }),
          },
        ],
  insert: insertStatement('first_payments', firstPaymentColumns),
  update: updateStatement('first_payments', 1, firstPaymentColumns),
}
