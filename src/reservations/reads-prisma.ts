import type { PrismaClient, Reservation as ReservationRow } from '../generated/prisma/client.ts'
import { type Access, mine } from '../ledger/access.ts'
import { drawsFromJson } from '../ledger/transaction.ts'
import type { Usage } from '../pricing/pools.ts'
import type { Quote } from '../pricing/quote.ts'
import type { Reservation, ReservationStatus } from './reservation.ts'

export interface ReservationReads {
  /** A reservation on a wallet that the caller may see, or null. */
  find(id: string, access: Access): Promise<Reservation | null>
  /** Reservations of one wallet, newest first. @param before only those older than this id */
  list(
    walletId: string,
    filter: { readonly status?: ReservationStatus | undefined },
    before: string | null,
    limit: number,
  ): Promise<Reservation[]>
  /** Held reservations whose deadline has passed by the database's clock, earliest first. @param withoutWallets not those of these */
  due(limit: number, withoutWallets: readonly string[]): Promise<{ walletId: string; id: string }[]>
}

export function reservationReads(prisma: PrismaClient): ReservationReads {
  return {
    async find(id, access) {
      const row = await prisma.reservation.findUnique({ where: { id } })
      if (!row) return null
      const wallet = await prisma.wallet.findFirst({ where: { AND: [mine(access), { id: row.walletId }] }, select: { id: true } })
      return wallet ? fromPrisma(row) : null
    },
    async list(walletId, filter, before, limit) {
      const rows = await prisma.reservation.findMany({
        where: { walletId, ...(filter.status && { status: filter.status }), ...(before !== null && { id: { lt: before } }) },
        orderBy: { id: 'desc' },
        take: limit,
      })
      return rows.map(fromPrisma)
    },
    async due(limit, withoutWallets) {
      // Not clock_timestamp(): it may change from row to row, so it cannot bound an index scan, and every open hold would be read.
      const rows = await prisma.$queryRaw<{ wallet_id: string; id: string }[]>`
        select wallet_id, id from reservations
        where status = 'held' and expires_at <= statement_timestamp() and wallet_id <> all(${withoutWallets}::uuid[]) order by expires_at limit ${limit}::int`
      return rows.map((row) => ({ walletId: row.wallet_id, id: row.id }))
    },
  }
}

function fromPrisma(row: ReservationRow): Reservation {
  const { draws, ...rest } = row
  return {
    ...rest,
    status: row.status as ReservationStatus,
    pins: drawsFromJson(draws as unknown as { grant: string; amount: string }[]),
    quote: row.quote as unknown as Quote,
    usageTotal: row.usageTotal as unknown as Usage | null,
    metadata: row.metadata === null ? null : JSON.stringify(row.metadata),
    expiresAt: row.expiresAt.getTime(),
    createdAt: row.createdAt.getTime(),
    finalizedAt: row.finalizedAt?.getTime() ?? null,
  }
}
