import type { PrismaClient } from '../generated/prisma/client.ts'
import { grantFromPrisma } from '../grants/reads-prisma.ts'
import { mineAt } from '../ledger/access.ts'
import { walletFromPrisma } from '../wallets/reads-prisma.ts'
import type { ReadForCheck } from './check.ts'

/** One snapshot of a wallet, its open grants and the clock. Takes no locks. */
export function readForCheck(prisma: PrismaClient): ReadForCheck {
  return (ref, access) =>
    prisma.$transaction(
      async (tx) => {
        const row = await tx.wallet.findFirst({ where: mineAt(access, ref) })
        if (!row) return null
        const rows = await tx.grant.findMany({ where: { walletId: row.id, spentAt: null } })
        const [clock] = await tx.$queryRaw<[{ now: bigint }]>`select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now`
        return { wallet: walletFromPrisma(row), grants: rows.map(grantFromPrisma), now: Number(clock.now) }
      },
      { isolationLevel: 'RepeatableRead', maxWait: 2_000, timeout: 5_000 },
    )
}
