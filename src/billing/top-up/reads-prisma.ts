import type { PrismaClient, TopUp as TopUpRow } from '../../generated/prisma/client.ts'
import type { Decline } from './decline.ts'
import type { StopReason, TopUp, TopUpStatus } from './top-up.ts'

export type TopUpReads = ReturnType<typeof topUpReads>

export function topUpReads(prisma: PrismaClient) {
  return {
    async find(walletId: string): Promise<TopUp | null> {
      const row = await prisma.topUp.findUnique({ where: { walletId } })
      return row && fromPrisma(row)
    },

    /** Wallets whose cap counts anew. A day of a cap has 24 hours, in every time zone that a database may be set to. */
    async resumable(limit: number): Promise<string[]> {
      const rows = await prisma.$queryRaw<{ wallet_id: string }[]>`
        select wallet_id from top_ups where status = 'capped' and period_start + cap_days * interval '24 hours' <= clock_timestamp() limit ${limit}`
      return rows.map((row) => row.wallet_id)
    },
  }
}

function fromPrisma(row: TopUpRow): TopUp {
  return {
    ...row,
    id: row.walletId,
    status: row.status as TopUpStatus,
    stoppedReason: row.stoppedReason as StopReason | null,
    declines: row.declines as unknown as Decline[],
    periodStart: row.periodStart?.getTime() ?? null,
    createdAt: row.createdAt.getTime(),
    updatedAt: row.updatedAt.getTime(),
  }
}
