import type { Grant as GrantRow, PrismaClient } from '../generated/prisma/client.ts'
import type { Instant } from '../kernel/time.ts'
import { databaseClock } from '../platform/prisma.ts'
import type { Grant, GrantKind } from './grant.ts'

export interface GrantReads {
  /** Grants of one wallet, newest first. @param before only those older than this id */
  list(walletId: string, filter: { readonly open: boolean }, before: string | null, limit: number): Promise<Grant[]>
  /** The database's clock: it tells what a grant is, scheduled, active or expired. */
  now(): Promise<Instant>
  /** Wallets with grants that are due to take effect or to expire by the database's clock. @param withoutWallets not these */
  due(limit: number, withoutWallets: readonly string[]): Promise<string[]>
}

export function grantReads(prisma: PrismaClient): GrantReads {
  return {
    now: () => databaseClock(prisma),
    async list(walletId, filter, before, limit) {
      const rows = await prisma.grant.findMany({
        where: { walletId, ...(filter.open && { spentAt: null }), ...(before !== null && { id: { lt: before } }) },
        orderBy: { id: 'desc' },
        take: limit,
      })
      return rows.map(grantFromPrisma)
    },
    async due(limit, withoutWallets) {
      const rows = await prisma.$queryRaw<{ wallet_id: string }[]>`
        (select wallet_id from grants
          where spent_at is null and expires_at <= statement_timestamp() and remaining > held
            and wallet_id <> all(${withoutWallets}::uuid[]) limit ${limit}::int)
        union
        (select wallet_id from grants
          where posted_at is null and spent_at is null and effective_at <= statement_timestamp()
            and wallet_id <> all(${withoutWallets}::uuid[]) limit ${limit}::int)`
      return rows.map((row) => row.wallet_id)
    },
  }
}

export function grantFromPrisma(row: GrantRow): Grant {
  return {
    ...row,
    kind: row.kind as GrantKind,
    costBasis: row.costBasis === null ? null : JSON.stringify(row.costBasis),
    effectiveAt: row.effectiveAt.getTime(),
    expiresAt: row.expiresAt?.getTime() ?? null,
    postedAt: row.postedAt?.getTime() ?? null,
    voidedAt: row.voidedAt?.getTime() ?? null,
    spentAt: row.spentAt?.getTime() ?? null,
    createdAt: row.createdAt.getTime(),
  }
}
