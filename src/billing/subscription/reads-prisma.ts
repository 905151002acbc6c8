import type { PrismaClient, Subscription as SubscriptionRow } from '../../generated/prisma/client.ts'
import type { Provider } from '../payment.ts'
import type { Subscription, SubscriptionStatus } from './subscription.ts'

export type SubscriptionReads = ReturnType<typeof subscriptionReads>

/** Reads of subscriptions, and what is written of them beside their money. */
export function subscriptionReads(prisma: PrismaClient) {
  return {
    async find(id: string): Promise<Subscription | null> {
      const row = await prisma.subscription.findUnique({ where: { id } })
      return row && fromPrisma(row)
    },

    async findByObject(provider: Provider, objectId: string): Promise<Subscription | null> {
      const row = await prisma.subscription.findUnique({ where: { provider_objectId: { provider, objectId } } })
      return row && fromPrisma(row)
    },

    /** The wallet's live subscription, or else the last that it had. One that nobody ever paid for is none. */
    async ofWallet(walletId: string): Promise<Subscription | null> {
      const live = await prisma.subscription.findFirst({ where: { walletId, status: { notIn: ['canceled', 'expired'] } } })
      const row = live ?? (await prisma.subscription.findFirst({ where: { walletId, status: 'canceled' }, orderBy: { id: 'desc' } }))
      return row && fromPrisma(row)
    },

    /** Remembers the page that a subscription begins on. @returns whether it still may */
    async linkCheckout({ walletId, id }: Subscription, checkoutId: string | null): Promise<boolean> {
      const linked = await prisma.$executeRaw`
        update subscriptions set checkout_id = coalesce(checkout_id, ${checkoutId})
        where wallet_id = ${walletId}::uuid and id = ${id}::uuid and status = 'pending'`
      return linked === 1
    },
  }
}

function fromPrisma(row: SubscriptionRow): Subscription {
  return {
    ...row,
    provider: row.provider as Provider,
    status: row.status as SubscriptionStatus,
    cancelsAt: row.cancelsAt?.getTime() ?? null,
    periodStart: row.periodStart?.getTime() ?? null,
    periodEnd: row.periodEnd?.getTime() ?? null,
    creditedFrom: row.creditedFrom?.getTime() ?? null,
    creditedUntil: row.creditedUntil?.getTime() ?? null,
    createdAt: row.createdAt.getTime(),
    updatedAt: row.updatedAt.getTime(),
    endedAt: row.endedAt?.getTime() ?? null,
  }
}
