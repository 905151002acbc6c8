import type { Charge as ChargeRow, PrismaClient } from '../generated/prisma/client.ts'
import { type Access, mine } from '../ledger/access.ts'
import { drawsFromJson } from '../ledger/transaction.ts'
import type { Quote, Usage } from '../pricing/quote.ts'
import type { Basis, Charge } from './charge.ts'
import { earningsFromJson } from './store-pg.ts'

export interface ChargeReads {
  /** A charge on a wallet that the caller may see, or null. */
  find(id: string, access: Access): Promise<Charge | null>
}

export function chargeReads(prisma: PrismaClient): ChargeReads {
  return {
    async find(id, access) {
      const row = await prisma.charge.findUnique({ where: { id } })
      if (!row) return null
      const wallet = await prisma.wallet.findFirst({ where: { AND: [mine(access), { id: row.walletId }] }, select: { id: true } })
      return wallet ? chargeFromPrisma(row) : null
    },
  }
}

export function chargeFromPrisma(row: ChargeRow): Charge {
  return {
    ...row,
    basis: row.basis as Basis,
    usage: row.usage as unknown as Usage | null,
    quote: row.quote as unknown as Quote,
    draws: drawsFromJson(row.draws as unknown as { grant: string; amount: string }[]),
    earnings: earningsFromJson(row.payees as unknown as Parameters<typeof earningsFromJson>[0]),
    metadata: row.metadata === null ? null : JSON.stringify(row.metadata),
    occurredAt: row.occurredAt.getTime(),
    createdAt: row.createdAt.getTime(),
  }
}
