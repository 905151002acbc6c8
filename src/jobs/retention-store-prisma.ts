import type { PrismaClient } from '../generated/prisma/client.ts'
import { databaseClock } from '../platform/prisma.ts'
import type { RetentionStore } from './retention.ts'

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
      const [cleared] = await prisma.$transaction([
        prisma.idempotencyKey.updateMany({
          where: { createdAt: { gte: new Date(from), lt: new Date(to) }, body: { not: null } },
          data: { body: null },
        }),
        prisma.watermark.upsert({
          where: { name: WATERMARK },
          create: { name: WATERMARK, reachedAt: new Date(to) },
          update: { reachedAt: new Date(to) },
        }),
      ])
      return cleared.count
    },
  }
}
