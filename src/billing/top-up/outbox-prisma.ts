import type { PrismaClient } from '../../generated/prisma/client.ts'
import type { Outbox } from './outbox.ts'

/** So long one can see what was acted on. */
const KEEP_DAYS = 7

interface WaitingSqlRow {
  readonly id: bigint
  readonly wallet_id: string
  readonly attempts: number
}

/** Claims skip what other processes hold, so any number of them may work at once. */
export function outbox(prisma: PrismaClient): Outbox {
  return {
    async claim(topic, limit, leaseMs) {
      const rows = await prisma.$queryRaw<WaitingSqlRow[]>`
        update outbox o set attempts = o.attempts + 1, next_attempt_at = clock_timestamp() + ${leaseMs}::int * interval '1 ms'
        from (
          select id from outbox where topic = ${topic} and published_at is null and next_attempt_at <= clock_timestamp()
          order by next_attempt_at limit ${limit} for update skip locked
        ) as due
        where o.id = due.id returning o.id, o.wallet_id, o.attempts`
      return rows.map(({ id, wallet_id: walletId, attempts }) => ({ id, walletId, attempts }))
    },
    async publish(ids) {
      await prisma.$executeRaw`update outbox set published_at = clock_timestamp() where id = any(${[...ids]}::bigint[])`
    },
    clearOld: () => prisma.$executeRaw`delete from outbox where published_at < clock_timestamp() - ${KEEP_DAYS}::int * interval '1 day'`,
    async postpone(ids, ms) {
      await prisma.$executeRaw`
        update outbox set next_attempt_at = clock_timestamp() + ${Math.round(ms)}::int * interval '1 ms'
        where id = any(${[...ids]}::bigint[]) and published_at is null`
    },
  }
}
