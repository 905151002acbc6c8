import type { PrismaClient } from '../generated/prisma/client.ts'
import type { Backlog } from '../platform/metrics.ts'

/** What is open and what waits, each found by a partial index of just those rows. The amounts of open holds are read from the holds themselves. */
export async function readBacklog(prisma: PrismaClient): Promise<Backlog> {
  const [row] = await prisma.$queryRaw<[Backlog]>`
    select h.*, e.*, p.*, o.*
    from (
      select coalesce(sum(amount - captured - released), 0)::float8 / 1000000 as "heldCredits", count(*)::float8 as "openHolds"
      from reservations where status = 'held'
    ) as h, (
      select count(*)::float8 as "paymentEventsWaiting",
        coalesce(extract(epoch from clock_timestamp() - min(received_at)), 0)::float8 as "paymentEventLagSeconds"
      from provider_events where status = 'received'
    ) as e, (
      select count(*)::float8 as "paymentEventsParked" from provider_events where status = 'parked'
    ) as p, (
      select count(*)::float8 as "outboxWaiting",
        greatest(0, coalesce(extract(epoch from clock_timestamp() - min(next_attempt_at)), 0))::float8 as "outboxLagSeconds"
      from outbox where published_at is null
    ) as o`
  return row
}
