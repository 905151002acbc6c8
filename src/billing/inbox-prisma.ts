import type { PrismaClient, ProviderEvent as ProviderEventRow } from '../generated/prisma/client.ts'
import type { EventStatus, Inbox, StoredEvent } from './inbox.ts'
import type { Provider } from './payment.ts'

/** So long one can see what the provider told; it tries for three days itself. What is parked stays until somebody looked. */
const KEEP_DAYS = 90

export interface InboxReads {
  /** Events, newest first. @param before only those that were received before this one */
  list(status: EventStatus | undefined, before: string | null, limit: number): Promise<StoredEvent[]>
  /** Puts a parked or finished event back. @returns null where there is none with this id that has something to read */
  retry(id: string): Promise<StoredEvent | null>
}

/** What the provider told, on PostgreSQL. Claims skip what other processes hold, so any number of them may work at once. */
export function inbox(prisma: PrismaClient): Inbox & InboxReads {
  const keys = (events: readonly { readonly provider: Provider; readonly id: string }[]) => ({
    providers: events.map((event) => event.provider),
    ids: events.map((event) => event.id),
  })
  return {
    async receive(event) {
      const readable = event.subject !== null
      const added = await prisma.$executeRaw`
        insert into provider_events
          (provider, id, type, subject, payload, livemode, status, reason, next_attempt_at, occurred_at, received_at, processed_at)
        select ${event.provider}, ${event.id}, ${event.type}, ${event.subject}, ${event.payload}::json, ${event.livemode},
          case when readable then 'received' else 'ignored' end, case when readable then null else 'nothing that concerns credits' end,
          case when readable then now end, ${event.occurredAt}::timestamptz, now, case when readable then null else now end
        from (select clock_timestamp() as now, ${readable}::boolean as readable) as receipt
        on conflict (provider, id) do nothing`
      return added === 1
    },

    async claim(limit, leaseMs) {
      const rows = await prisma.$queryRaw<ClaimedSqlRow[]>`
        update provider_events e
        set attempts = e.attempts + 1, next_attempt_at = clock_timestamp() + ${leaseMs}::int * interval '1 ms'
        from (
          select provider, id from provider_events where status = 'received' and next_attempt_at <= clock_timestamp()
          order by next_attempt_at limit ${limit} for update skip locked
        ) as due
        where e.provider = due.provider and e.id = due.id
        returning e.provider, e.id, e.type, e.subject, e.payload::text as payload, e.livemode, e.attempts, e.occurred_at, e.received_at`
      return rows.map((row) => ({
        provider: row.provider,
        id: row.id,
        type: row.type,
        subject: row.subject,
        payload: row.payload,
        livemode: row.livemode,
        occurredAt: row.occurred_at,
        status: 'received' as const,
        reason: null,
        attempts: row.attempts,
        receivedAt: row.received_at,
        processedAt: null,
      }))
    },

    async finish(events, status, reason) {
      const { providers, ids } = keys(events)
      await prisma.$executeRaw`
        update provider_events e set status = ${status}, reason = ${reason}, next_attempt_at = null, processed_at = clock_timestamp()
        from unnest(${providers}::text[], ${ids}::text[]) as done(provider, id) where e.provider = done.provider and e.id = done.id`
    },

    clearOld: () => prisma.$executeRaw`
      delete from provider_events where status in ('processed', 'ignored') and processed_at < clock_timestamp() - ${KEEP_DAYS}::int * interval '1 day'`,

    async postpone(events, ms, reason) {
      const { providers, ids } = keys(events)
      await prisma.$executeRaw`
        update provider_events e set reason = ${reason}, next_attempt_at = clock_timestamp() + ${Math.round(ms)}::int * interval '1 ms'
        from unnest(${providers}::text[], ${ids}::text[]) as later(provider, id)
        where e.provider = later.provider and e.id = later.id and e.status = 'received'`
    },

    async list(status, before, limit) {
      const [mark] = before === null ? [] : await prisma.providerEvent.findMany({ where: { id: before }, take: 1 })
      const rows = await prisma.providerEvent.findMany({
        where: {
          ...(status && { status }),
          ...(mark && { OR: [{ receivedAt: { lt: mark.receivedAt } }, { receivedAt: mark.receivedAt, id: { lt: mark.id } }] }),
        },
        orderBy: [{ receivedAt: 'desc' }, { id: 'desc' }],
        take: limit,
      })
      return rows.map(eventFromPrisma)
    },

    async retry(id) {
      const [row] = await prisma.providerEvent.updateManyAndReturn({
        where: { id, subject: { not: null } },
        // With all its attempts before it: whoever asks has mended something.
        data: { status: 'received', reason: null, attempts: 0, nextAttemptAt: new Date(), processedAt: null },
      })
      return row ? eventFromPrisma(row) : null
    },
  }
}

interface ClaimedSqlRow {
  readonly provider: Provider
  readonly id: string
  readonly type: string
  readonly subject: string | null
  readonly payload: string
  readonly livemode: boolean
  readonly attempts: number
  readonly occurred_at: Date
  readonly received_at: Date
}

function eventFromPrisma({ payload, nextAttemptAt: _next, ...row }: ProviderEventRow): StoredEvent {
  return { ...row, payload: JSON.stringify(payload), provider: row.provider as Provider, status: row.status as EventStatus }
}
