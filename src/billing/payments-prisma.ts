import type { Payment as PaymentRow, Prisma, PrismaClient } from '../generated/prisma/client.ts'
import { type Access, mine } from '../ledger/access.ts'
import type { Account } from './gateway.ts'
import { type Payment, type PaymentStatus, PROVIDERS, type Provider, type ShownStatus } from './payment.ts'
import { takenFromJson } from './store-pg.ts'

export interface PaymentFilter {
  readonly walletId?: string | undefined
  readonly status?: ShownStatus | undefined
  readonly origin?: Payment['origin'] | undefined
  /** The provider's. */
  readonly objectId?: string | undefined
}

const undisputed = { status: 'paid', disputed: false, withdrawn: 0 } as const

const RECONCILED = 'payments_reconciled'

export type PaymentReads = ReturnType<typeof paymentReads>

/** Reads of orders, and what is written of them beside their money. */
export function paymentReads(prisma: PrismaClient) {
  /** What `shownStatus` says, as a search. */
  const isShown: Readonly<Record<ShownStatus, Prisma.PaymentWhereInput>> = {
    pending: { status: 'pending' },
    failed: { status: 'failed' },
    disputed: { status: 'paid', OR: [{ disputed: true }, { withdrawn: { gt: 0 } }] },
    paid: { ...undisputed, refunded: 0 },
    partially_refunded: { ...undisputed, refunded: { gt: 0, lt: prisma.payment.fields.amount } },
    refunded: { ...undisputed, refunded: { gt: 0, gte: prisma.payment.fields.amount } },
  }
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
          ...(filter.status && isShown[filter.status]),
          ...(filter.origin && { origin: filter.origin }),
          ...(filter.objectId !== undefined && { provider: { in: [...PROVIDERS] }, objectId: filter.objectId }),
          ...(before !== null && { id: { lt: before } }),
        },
        orderBy: { id: 'desc' },
        take: limit,
      })
      return rows.map(paymentFromPrisma)
    },

    /** Orders that somebody placed before a time and that are not paid, oldest first. @param after only those after this one */
    async unpaid({ provider, livemode }: Account, before: Date, after: Payment | null, limit: number): Promise<Payment[]> {
      const rest = after && {
        OR: [{ createdAt: { gt: new Date(after.createdAt) } }, { createdAt: new Date(after.createdAt), id: { gt: after.id } }],
      }
      const rows = await prisma.payment.findMany({
        where: { provider, livemode, status: 'pending', createdAt: { lt: before }, ...rest },
        orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
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

    /** Up to when the provider's books were compared with ours; null before the first time. */
    async reconciledUpTo(): Promise<Date | null> {
      return (await prisma.watermark.findUnique({ where: { name: RECONCILED } }))?.reachedAt ?? null
    },

    async markReconciled(reachedAt: Date): Promise<void> {
      await prisma.watermark.upsert({ where: { name: RECONCILED }, create: { name: RECONCILED, reachedAt }, update: { reachedAt } })
    },

    async findCustomer(walletId: string, { provider, livemode }: Account): Promise<string | null> {
      const account = { walletId, provider, livemode }
      const row = await prisma.paymentCustomer.findUnique({ where: { walletId_provider_livemode: account } })
      return row?.customerId ?? null
    },

    /** Keeps the first that is told, or the first in the place of one that is gone. @returns the one that is kept */
    async keepCustomer(walletId: string, { provider, livemode }: Account, customerId: string, gone: string | null): Promise<string> {
      const account = { walletId, provider, livemode }
      if (gone === null) {
        await prisma.paymentCustomer.createMany({ data: [{ ...account, customerId, createdAt: new Date() }], skipDuplicates: true })
      } else {
        await prisma.paymentCustomer.updateMany({ where: { ...account, customerId: gone }, data: { customerId, createdAt: new Date() } })
      }
      return (await this.findCustomer(walletId, account)) ?? customerId
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
