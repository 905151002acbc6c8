import type { Charge as ChargeRow, PrismaClient } from '../generated/prisma/client.ts'
import { type Access, mine } from '../ledger/access.ts'
import { drawsFromJson } from '../ledger/transaction.ts'
import type { Usage } from '../pricing/pools.ts'
import type { Quote } from '../pricing/quote.ts'
import type { Basis, Charge } from './charge.ts'
import { earningsFromJson } from './store-pg.ts'

export interface ChargeReads {
  /** A charge on a wallet that the caller may see, or null. */
  find(id: string, access: Access): Promise<Charge | null>
  /** The last charges for what a model used, on any wallet, newest first. */
  lastOfModels(limit: number): Promise<Charge[]>
  /** Charges on any wallet in the order of their ids. @param after only those with a greater id */
  page(after: string | null, limit: number): Promise<Charge[]>
}

/** Among so many charges the last ones for models are looked for: a search has to end. */
const LOOK_BACK_MAX = 10_000

export function chargeReads(prisma: PrismaClient): ChargeReads {
  return {
    async find(id, access) {
      const row = await prisma.charge.findUnique({ where: { id } })
      if (!row) return null
      const wallet = await prisma.wallet.findFirst({ where: { AND: [mine(access), { id: row.walletId }] }, select: { id: true } })
      return wallet ? chargeFromPrisma(row) : null
    },
    async lastOfModels(limit) {
      const [oldest] = await prisma.charge.findMany({ orderBy: { id: 'desc' }, skip: LOOK_BACK_MAX, take: 1, select: { id: true } })
      const rows = await prisma.charge.findMany({
        where: { model: { not: null }, ...(oldest && { id: { gt: oldest.id } }) },
        orderBy: { id: 'desc' },
        take: limit,
      })
      return rows.map(chargeFromPrisma)
    },
    async page(after, limit) {
      const rows = await prisma.charge.findMany({
        where: { ...(after !== null && { id: { gt: after } }) },
        orderBy: { id: 'asc' },
        take: limit,
      })
      return rows.map(chargeFromPrisma)
    },
  }
}

export function chargeFromPrisma(row: ChargeRow): Charge {
  return {
    ...row,
    basis: row.basis as Basis,
    rawUsage: row.rawUsage === null ? null : JSON.stringify(row.rawUsage),
    usage: row.usage as unknown as Usage | null,
    quote: row.quote as unknown as Quote,
    draws: drawsFromJson(row.draws as unknown as { grant: string; amount: string }[]),
    earnings: earningsFromJson(row.payees as unknown as Parameters<typeof earningsFromJson>[0]),
    metadata: row.metadata === null ? null : JSON.stringify(row.metadata),
    occurredAt: row.occurredAt.getTime(),
    createdAt: row.createdAt.getTime(),
  }
}
