import type { Payment as PaymentRow, PrismaClient } from '../generated/prisma/client.ts'
import { type Access, mine } from '../ledger/access.ts'
import type { Speaker } from '../ledger/book.ts'
import { audit } from '../ledger/versions-prisma.ts'
import { formatMoney } from './money.ts'
import type { Payment, PaymentStatus, Provider } from './payment.ts'
import { takenFromJson } from './store-pg.ts'

export interface PaymentFilter {
  readonly walletId?: string | undefined
  readonly status?: PaymentStatus | undefined
}

const RECONCILED = 'payments_reconciled'

export type PaymentReads = ReturnType<typeof paymentReads>

/** Reads of orders, and what is written of them beside their money. */
export function paymentReads(prisma: PrismaClient) {
  return {
    async find(id: string): Promise<Payment | null> {
      const row = await prisma.payment.findUnique({ where: { id } })
      return row && paymentFromPrisma(row)
    },

    async findByObject(provider: string, objectId: string): Promise<Payment | null> {
      const row = await prisma.payment.findUnique({ where: { provider_objectId: { provider, objectId } } })
      return row && paymentFromPrisma(row)
    },

    /** The payment of this invoice of the provider. */
    async findByInvoice(provider: string, invoiceId: string): Promise<Payment | null> {
      const row = await prisma.payment.findUnique({ where: { provider_invoiceId: { provider, invoiceId } } })
      return row && paymentFromPrisma(row)
    },

    /** An order on a wallet that the caller may see, or null. */
    async findFor(id: string, access: Access): Promise<Payment | null> {
      const payment = await this.find(id)
      if (!payment) return null
      const wallet = await prisma.wallet.findFirst({ where: { AND: [mine(access), { id: payment.walletId }] }, select: { id: true } })
      return wallet && payment
    },

    /** Orders, newest first. @param before only those older than this id */
    async list(filter: PaymentFilter, before: string | null, limit: number): Promise<Payment[]> {
      const rows = await prisma.payment.findMany({
        where: {
          ...(filter.walletId && { walletId: filter.walletId }),
          ...(filter.status && { status: filter.status }),
          ...(before !== null && { id: { lt: before } }),
        },
        orderBy: { id: 'desc' },
        take: limit,
      })
      return rows.map(paymentFromPrisma)
    },

    /** Payments that banks have not decided on: nothing else would tell that an old dispute ended. */
    async disputed(provider: Provider, limit: number): Promise<string[]> {
      const rows = await prisma.payment.findMany({
        where: { provider, disputed: true },
        select: { objectId: true },
        orderBy: { id: 'asc' },
        take: limit,
      })
      return rows.flatMap(({ objectId }) => objectId ?? [])
    },

    /** Remembers where an order is paid. What is there already stays. */
    async linkCheckout({ walletId, id }: Payment, checkoutId: string | null, objectId: string | null): Promise<void> {
      await prisma.$executeRaw`
        update payments set checkout_id = coalesce(checkout_id, ${checkoutId}), object_id = coalesce(object_id, ${objectId})
        where wallet_id = ${walletId}::uuid and id = ${id}::uuid`
    },

    async nextRead(): Promise<bigint> {
      const [row] = await prisma.$queryRaw<[{ read: bigint }]>`select nextval('payment_reads') as read`
      return row.read
    },

    /** What an admin is about to ask of the provider, in the audit log. */
    async recordRefund(payment: Payment, amount: bigint, reason: string, speaker: Speaker): Promise<void> {
      await audit(prisma, {
        action: 'payment.refund',
        targetKind: 'payment',
        targetId: payment.id,
        before: { refunded: formatMoney(payment.refunded, payment.currency) },
        after: { asked: formatMoney(amount, payment.currency), currency: payment.currency },
        reason,
        speaker,
        createdAt: new Date(),
      })
    },

    /** Up to when the provider's books were compared with ours; null before the first time. */
    async reconciledUpTo(): Promise<Date | null> {
      return (await prisma.watermark.findUnique({ where: { name: RECONCILED } }))?.reachedAt ?? null
    },

    async markReconciled(reachedAt: Date): Promise<void> {
      await prisma.watermark.upsert({ where: { name: RECONCILED }, create: { name: RECONCILED, reachedAt }, update: { reachedAt } })
    },

    async findCustomer(walletId: string, provider: Provider): Promise<string | null> {
      const row = await prisma.paymentCustomer.findUnique({ where: { walletId_provider: { walletId, provider } } })
      return row?.customerId ?? null
    },

    /** Keeps the first that is told. @returns the one that is kept */
    async keepCustomer(walletId: string, provider: Provider, customerId: string): Promise<string> {
      const data = { walletId, provider, customerId, createdAt: new Date() }
      await prisma.paymentCustomer.createMany({ data: [data], skipDuplicates: true })
      return (await this.findCustomer(walletId, provider)) ?? customerId
    },
  }
}

function paymentFromPrisma(row: PaymentRow): Payment {
  return {
    ...row,
    kind: row.kind as Payment['kind'],
    origin: row.origin as Payment['origin'],
    provider: row.provider as Provider,
    status: row.status as PaymentStatus,
    taken: takenFromJson(row.taken as unknown as Parameters<typeof takenFromJson>[0]),
    metadata: row.metadata === null ? null : JSON.stringify(row.metadata),
    createdAt: row.createdAt.getTime(),
    updatedAt: row.updatedAt.getTime(),
    paidAt: row.paidAt?.getTime() ?? null,
  }
}
