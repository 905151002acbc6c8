import type { PrismaClient, ProviderEvent as ProviderEventRow } from '../generated/prisma/client.ts'
import type { DueEvent, EventStatus, Inbox, StoredEvent } from './inbox.ts'
import { PROVIDERS, type Provider } from './payment.ts'

/** So long one can see what the provider told; it tries for three days itself. What is parked stays until somebody looked. */
const KEEP_DAYS = 90

/** Rows that one statement removes, so that none runs long, and how often one run does so. */
const SLICE = 5_000
const SLICES_MAX = 200

export interface InboxReads {
  /** Events, newest first. @param before only those that were received before this one */
  list(status: EventStatus | undefined, before: string | null, limit: number): Promise<StoredEvent[]>
  /** Puts a parked or finished event back. @returns null where there is none with this id that has something to read */
  retry(id: string): Promise<StoredEvent | null>
  /** Takes a parked event off the list of what somebody has to look at. @returns null where none with this id is parked */
  dismiss(id: string, reason: string, actor: string): Promise<StoredEvent | null>
}

/** Ids are the provider's; naming all of those leads to the primary key. */
const ofAny = { provider: { in: [...PROVIDERS] } }

/** What the provider told, on PostgreSQL. Claims skip what other processes hold, so any number of them may work at once. */
export function inbox(prisma: PrismaClient): Inbox & InboxReads {
  const keys = (events: readonly { readonly provider: Provider; readonly id: string }[]) => ({
    providers: events.map((event) => event.provider),
    ids: events.map((event) => event.id),
  })
  return {
    async receive({ unreadable = null, ...event }) {
      const status = event.subject !== null ? 'received' : unreadable === null ? 'ignored' : 'parked'
      const reason = status === 'ignored' ? 'nothing that concerns credits' : unreadable
      const added = await prisma.$executeRaw`
        insert into provider_events
          (provider, id, type, subject, payload, livemode, status, reason, next_attempt_at, occurred_at, received_at, processed_at)
        select ${event.provider}, ${event.id}, ${event.type}, ${event.subject}, ${event.payload}::json, ${event.livemode}, ${status}, ${reason},
          case when ${status} = 'received' then now end, ${event.occurredAt}::timestamptz, now, case when ${status} = 'received' then null else now end
        from (select clock_timestamp() as now) as receipt
        on conflict (provider, id) do nothing`
      return added === 1
    },

    claim: (limit, leaseMs) => prisma.$queryRaw<DueEvent[]>`
      update provider_events e
      set attempts = e.attempts + 1, next_attempt_at = clock_timestamp() + ${leaseMs}::int * interval '1 ms'
      from (
        select provider, id from provider_events where status = 'received' and next_attempt_at <= clock_timestamp()
        order by next_attempt_at limit ${limit} for update skip locked
      ) as due
      where e.provider = due.provider and e.id = due.id
      returning e.provider, e.id, e.type, e.subject, e.livemode, e.attempts`,

    async finish(events, status, reason) {
      const { providers, ids } = keys(events)
      await prisma.$executeRaw`
        update provider_events e set status = ${status}, reason = ${reason}, next_attempt_at = null, processed_at = clock_timestamp()
        from unnest(${providers}::text[], ${ids}::text[]) as done(provider, id) where e.provider = done.provider and e.id = done.id`
    },

    async settle(provider, subjects) {
      await prisma.$executeRaw`
        update provider_events set status = 'processed', processed_at = clock_timestamp()
        where status = 'parked' and provider = ${provider} and subject = any(${[...subjects]}::text[])`
    },

    async report({ provider, livemode, subject, status, reason }) {
      const id = `reconcile_${subject}`
      await prisma.$executeRaw`
        insert into provider_events
          (provider, id, type, subject, payload, livemode, status, reason, next_attempt_at, occurred_at, received_at, processed_at)
        select ${provider}, ${id}, 'reconcile', ${subject}, '{}', ${livemode}, ${status}, ${reason},
          case when ${status} = 'received' then now end, now, now, case when ${status} = 'received' then null else now end
        from (select clock_timestamp() as now) as found
        -- An event of it that is parked says it already.
        where ${status} = 'received' or not exists (
          select from provider_events where provider = ${provider} and subject = ${subject} and status = 'parked' and id <> ${id})
        on conflict (provider, id) do update set
          status = excluded.status, reason = excluded.reason, received_at = excluded.received_at, processed_at = excluded.processed_at,
          dismissed_by = null,
          -- What is being tried already goes on as it was.
          attempts = case when provider_events.status = 'received' then provider_events.attempts else 0 end,
          next_attempt_at = case when provider_events.status = excluded.status then provider_events.next_attempt_at else excluded.next_attempt_at end
        where excluded.status = 'received' or provider_events.status <> 'dismissed'`
    },

    async clearOld() {
      let total = 0
      for (let slice = 0; slice < SLICES_MAX; slice += 1) {
        const cleared = await prisma.$executeRaw`
          delete from provider_events where ctid = any(array(
            select ctid from provider_events where status in ('processed', 'ignored', 'dismissed')
              and processed_at < clock_timestamp() - ${KEEP_DAYS}::int * interval '1 day' limit ${SLICE}::int))`
        total += cleared
        if (cleared < SLICE) break
      }
      return total
    },

    async postpone(events, ms, reason) {
      const { providers, ids } = keys(events)
      await prisma.$executeRaw`
        update provider_events e set reason = ${reason}, next_attempt_at = clock_timestamp() + ${Math.round(ms)}::int * interval '1 ms'
        from unnest(${providers}::text[], ${ids}::text[]) as later(provider, id)
        where e.provider = later.provider and e.id = later.id and e.status = 'received'`
    },

    async list(status, before, limit) {
      const mark =
        before === null
          ? null
          : await prisma.providerEvent.findFirst({ where: { ...ofAny, id: before }, select: { id: true, receivedAt: true } })
      const rows = await prisma.providerEvent.findMany({
        where: {
          ...(status && { status }),
          ...(mark && { OR: [{ receivedAt: { lt: mark.receivedAt } }, { receivedAt: mark.receivedAt, id: { lt: mark.id } }] }),
        },
        orderBy: [{ receivedAt: 'desc' }, { id: 'desc' }],
        take: limit,
        omit: { payload: true },
      })
      return rows.map(eventFromPrisma)
    },

    async retry(id) {
      const [row] = await prisma.providerEvent.updateManyAndReturn({
        where: { ...ofAny, id, subject: { not: null } },
        // With all its attempts before it: whoever asks has mended something.
        data: { status: 'received', reason: null, attempts: 0, nextAttemptAt: new Date(), processedAt: null, dismissedBy: null },
        omit: { payload: true },
      })
      return row ? eventFromPrisma(row) : null
    },

    async dismiss(id, reason, actor) {
      const event = await prisma.providerEvent.findFirst({
        where: { ...ofAny, id, status: 'parked' },
        select: { provider: true, subject: true },
      })
      if (!event) return null
      const { provider, subject } = event
      const rows = await prisma.providerEvent.updateManyAndReturn({
        // With all that are about the same.
        where: { provider, status: 'parked', ...(subject === null ? { id } : { subject }) },
        data: { status: 'dismissed', reason, dismissedBy: actor, processedAt: new Date() },
        omit: { payload: true },
      })
      const row = rows.find((one) => one.id === id)
      return row ? eventFromPrisma(row) : null
    },
  }
}

function eventFromPrisma({ nextAttemptAt: _next, ...row }: Omit<ProviderEventRow, 'payload'>): StoredEvent {
  return { ...row, provider: row.provider as Provider, status: row.status as EventStatus }
}
