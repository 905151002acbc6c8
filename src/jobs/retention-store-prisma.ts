import type { PrismaClient } from '../generated/prisma/client.ts'
import { databaseClock } from '../platform/prisma.ts'
import type { RetentionStore } from './retention.ts'

/** Answers that one statement clears, so that none runs long. */
export const SLICE = 5_000
const WATERMARK = 'idempotency_answers_cleared'

/** Retention on PostgreSQL. Records are found by the block ranges of their time (BRIN), which costs the hot path next to nothing. */
export function retentionStore(prisma: PrismaClient): RetentionStore {
  return {
    now: () => databaseClock(prisma),
    async reached() {
      const mark = await prisma.watermark.findUnique({ where: { name: WATERMARK } })
      if (mark) return mark.reachedAt.getTime()
      // No record is older than the first client.
      const first = await prisma.client.findFirst({ orderBy: { createdAt: 'asc' } })
      return first?.createdAt.getTime() ?? null
    },
    async clear(from, to) {
      const cleared = await prisma.$executeRaw`
        update idempotency_keys set body = null where ctid = any(array(
          select ctid from idempotency_keys
          where created_at >= ${new Date(from)} and created_at < ${new Date(to)} and body is not null limit ${SLICE}::int))`
      return { cleared, all: cleared < SLICE }
    },
    async reach(at) {
      const reachedAt = new Date(at)
      await prisma.watermark.upsert({ where: { name: WATERMARK }, create: { name: WATERMARK, reachedAt }, update: { reachedAt } })
    },
  }
}
