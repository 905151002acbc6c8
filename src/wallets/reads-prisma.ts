import type { PrismaClient, Transaction as TransactionRow, Wallet as WalletRow } from '../generated/prisma/client.ts'
import { Prisma } from '../generated/prisma/client.ts'
import { firstIdOf, newId } from '../kernel/ids.ts'
import { DAY_MS } from '../kernel/time.ts'
import { type Access, mine, mineAt } from '../ledger/access.ts'
import type { WalletRef } from '../ledger/command.ts'
import type { CounterAccount, TransactionKind } from '../ledger/transaction.ts'
import type { Wallet, WalletStatus } from '../ledger/wallet.ts'
import { databaseClock, isUniqueViolation } from '../platform/prisma.ts'
import type { Usage } from '../pricing/pools.ts'
import type { Settings } from './configure.ts'
import type { StoredTransaction } from './schemas.ts'

export interface TransactionFilter {
  readonly kind?: TransactionKind | undefined
  readonly reference?: string | undefined
  readonly from?: Date | undefined
  readonly to?: Date | undefined
}

export type UsageGrouping = 'model' | 'operation' | 'day'

/** What charges in a window cost, together. */
export interface UsageTotal {
  /** The model, the operation or the day (YYYY-MM-DD in the wallet's time zone); null for charges without one. */
  readonly group: string | null
  readonly charges: number
  readonly cost: bigint
  readonly charged: bigint
  readonly uncollected: bigint
  readonly refunded: bigint
  /** Sums by pool. */
  readonly usage: Usage
  readonly units: number
}

/** Bounds the groups that one answer can have: days of a year and some, or models. */
export const USAGE_GROUPS_MAX = 1_000

export type WalletReads = ReturnType<typeof walletReads>

/** Reads of wallets and their history, and the opening of a wallet, which moves no money. */
export function walletReads(prisma: PrismaClient) {
  return {
    /** Opens an empty wallet; null when the owner has one already. */
    async open(clientId: string, owner: { kind: string; id: string }, settings: Settings): Promise<Wallet | null> {
      const now = new Date(await databaseClock(prisma))
      try {
        const row = await prisma.wallet.create({
          data: {
            id: newId(),
            clientId,
            ownerKind: owner.kind,
            ownerId: owner.id,
            label: settings.label ?? null,
            overdraftLimit: settings.overdraftLimit ?? 0n,
            lowBalanceThreshold: settings.lowBalanceThreshold ?? null,
            timeZone: settings.timeZone ?? 'UTC',
            createdAt: now,
            updatedAt: now,
          },
        })
        return walletFromPrisma(row)
      } catch (error) {
        if (isUniqueViolation(error)) return null
        throw error
      }
    },

    async find(ref: WalletRef, access: Access): Promise<Wallet | null> {
      const row = await prisma.wallet.findFirst({ where: mineAt(access, ref) })
      return row && walletFromPrisma(row)
    },

    /** The caller's wallets, newest first. @param before only those older than this id */
    async list(
      access: Access,
      filter: { readonly status?: WalletStatus | undefined; readonly ownerKind?: string | undefined },
      before: string | null,
      limit: number,
    ): Promise<Wallet[]> {
      const rows = await prisma.wallet.findMany({
        where: {
          AND: [
            mine(access),
            { ...(filter.status && { status: filter.status }), ...(filter.ownerKind && { ownerKind: filter.ownerKind }) },
          ],
          ...(before !== null && { id: { lt: before } }),
        },
        orderBy: { id: 'desc' },
        take: limit,
      })
      return rows.map(walletFromPrisma)
    },

    /** Ledger rows of one wallet, newest first. @param before only rows with a smaller sequence number */
    async transactions(walletId: string, filter: TransactionFilter, before: bigint | null, limit: number) {
      const rows = await prisma.transaction.findMany({
        where: {
          walletId,
          ...(filter.kind && { kind: filter.kind }),
          ...(filter.reference && { reference: filter.reference }),
          ...((filter.from || filter.to) && {
            createdAt: { ...(filter.from && { gte: filter.from }), ...(filter.to && { lt: filter.to }) },
          }),
          ...(before !== null && { seq: { lt: before } }),
        },
        orderBy: { seq: 'desc' },
        take: limit,
      })
      return rows.map(transactionFromPrisma)
    },

    /**
     * Usage totals of a window, by when the work was charged, largest cost first (days: in order). The ids are time-ordered, so
     * their range finds the window through the primary key; it is a day wider, since ids are made by another clock.
     */
    async usage(wallet: Wallet, window: { readonly from: Date; readonly to: Date }, by: UsageGrouping): Promise<UsageTotal[]> {
      const group = {
        model: Prisma.sql`model`,
        operation: Prisma.sql`operation`,
        day: Prisma.sql`to_char(created_at at time zone ${wallet.timeZone}, 'YYYY-MM-DD')`,
      }[by]
      const rows = await prisma.$queryRaw<UsageSqlRow[]>`
        with charged as (
          select ${group} as "group", cost, captured, overage, uncollected, refunded, usage, (quote->>'units')::bigint as units
          from charges
          where wallet_id = ${wallet.id}::uuid
            and id >= ${firstIdOf(window.from.getTime() - DAY_MS)}::uuid and id < ${firstIdOf(window.to.getTime() + DAY_MS)}::uuid
            and created_at >= ${window.from}::timestamptz and created_at < ${window.to}::timestamptz
        ), pools as (
          select "group", pool.key, sum(pool.value::bigint) as total from charged, json_each_text(usage) as pool group by 1, 2
        ), totals as (
          select "group", count(*) as charges, sum(cost) as cost, sum(captured + overage) as charged, sum(uncollected) as uncollected,
            sum(refunded) as refunded, coalesce(sum(units), 0) as units
          from charged group by 1
        )
        select "group", charges, cost::text, charged::text, uncollected::text, refunded::text, units::text,
          (select json_object_agg(key, total) from pools where pools."group" is not distinct from totals."group") as usage
        from totals order by ${by === 'day' ? Prisma.sql`1` : Prisma.sql`totals.cost desc, 1`} limit ${USAGE_GROUPS_MAX}::int`
      return rows.map((row) => ({
        group: row.group,
        charges: Number(row.charges),
        cost: BigInt(row.cost),
        charged: BigInt(row.charged),
        uncollected: BigInt(row.uncollected),
        refunded: BigInt(row.refunded),
        usage: row.usage ?? {},
        units: Number(row.units),
      }))
    },
  }
}

interface UsageSqlRow {
  readonly group: string | null
  readonly charges: bigint
  readonly cost: string
  readonly charged: string
  readonly uncollected: string
  readonly refunded: string
  readonly usage: Usage | null
  readonly units: string
}

export function walletFromPrisma(row: WalletRow): Wallet {
  return {
    ...row,
    status: row.status as WalletStatus,
    headHash: row.headHash === null ? null : Buffer.from(row.headHash),
    createdAt: row.createdAt.getTime(),
    updatedAt: row.updatedAt.getTime(),
  }
}

/** A ledger row as Prisma reads it. */
export function transactionFromPrisma(row: TransactionRow): StoredTransaction {
  const { draws: _draws, ...rest } = row
  return {
    ...rest,
    kind: row.kind as TransactionKind,
    counterAccount: row.counterAccount as CounterAccount,
    metadata: row.metadata as Record<string, unknown> | null,
    hash: Buffer.from(row.hash),
    occurredAt: row.occurredAt.getTime(),
    createdAt: row.createdAt.getTime(),
  }
}
