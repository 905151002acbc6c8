import { Prisma, type PrismaClient } from '../generated/prisma/client.ts'
import { fail } from '../kernel/errors.ts'
import { type Access, mine } from '../ledger/access.ts'
import { walletRef } from '../ledger/operation.ts'
import { transactionFromPrisma } from '../wallets/reads-prisma.ts'
import { transactionToWire } from '../wallets/schemas.ts'
import type { FeedReads } from './feed.ts'
import { WALLETS_MAX } from './session.ts'
import type { TicketHolder, TicketStore } from './tickets.ts'

/** One more than a socket follows, so that whoever has more is refused rather than served in part. */
const OWN_WALLETS_MAX = WALLETS_MAX + 1
const TRANSACTIONS_AT_ONCE = 200

/**
 * Which life of which book this is, as an opaque text: versions of one life never go back. The timeline of PostgreSQL changes with every
 * failover and every recovery from a backup; the system, the database and the table are others after a dump was restored.
 */
const EPOCH = Prisma.sql`
  select left(encode(sha256(convert_to(concat_ws('/', left(pg_walfile_name(pg_current_wal_lsn()), 8), s.system_identifier, d.oid,
    'wallets'::regclass::oid), 'UTF8')), 'hex'), 16) as epoch
  from pg_control_system() as s, pg_database as d where d.datname = current_database()`

type TransactionFrame = ReturnType<typeof transactionToWire>

interface SnapshotSqlRow {
  readonly epoch: string
  readonly id: string | null
  readonly version: bigint
  readonly balance: bigint
  readonly held: bigint
  readonly debt: bigint
  readonly low_balance_threshold: bigint | null
  readonly transaction_seq: bigint
  readonly updated_at: Date
}

/** What the feed and its sockets read, and their tickets. */
export function realtimeReads(prisma: PrismaClient) {
  const reads: FeedReads & TicketStore = {
    async snapshot(walletIds) {
      const rows = await prisma.$queryRaw<SnapshotSqlRow[]>`
        select book.epoch, w.*
        from (${EPOCH}) as book left join (
          select id, version, balance, held, debt, low_balance_threshold, transaction_seq, updated_at
          from wallets where id = any(${walletIds}::uuid[])
        ) as w on true`
      return {
        epoch: rows[0]?.epoch ?? '',
        figures: rows.flatMap((row) =>
          row.id === null
            ? []
            : [
                {
                  walletId: row.id,
                  version: Number(row.version),
                  balance: row.balance,
                  held: row.held,
                  debt: row.debt,
                  lowBalanceThreshold: row.low_balance_threshold,
                  seq: Number(row.transaction_seq),
                  asOf: row.updated_at.getTime(),
                },
              ],
        ),
      }
    },
    async add(sha256, holder, ms) {
      const [row] = await prisma.$queryRaw<{ expires_at: Date }[]>`
        insert into realtime_tickets (sha256, holder, expires_at)
        values (${sha256}, ${JSON.stringify(holder)}::jsonb, clock_timestamp() + ${ms}::int * interval '1 ms') returning expires_at`
      return (row as { expires_at: Date }).expires_at.getTime()
    },
    async take(sha256) {
      const [row] = await prisma.$queryRaw<{ holder: TicketHolder; good: boolean }[]>`
        delete from realtime_tickets where sha256 = ${sha256} returning holder, expires_at > clock_timestamp() as good`
      return row?.good ? row.holder : null
    },
  }
  const readings = new Map<string, Promise<TransactionFrame[]>>()

  async function readTransactions(walletId: string, afterSeq: number, toSeq: number): Promise<TransactionFrame[]> {
    const rows = await prisma.transaction.findMany({
      where: { walletId, seq: { gt: BigInt(afterSeq), lte: BigInt(toSeq) } },
      orderBy: { seq: 'asc' },
      take: TRANSACTIONS_AT_ONCE,
    })
    return rows.map((row) => transactionToWire(transactionFromPrisma(row)))
  }

  return {
    ...reads,

    /**
     * The ids of the wallets that a caller means, all of its own where it names none.
     * @throws FareboxError `wallet_not_found`
     */
    async resolve(access: Access, wallets: readonly string[] | null): Promise<string[]> {
      if (wallets === null) {
        const own = await prisma.wallet.findMany({
          where: mine(access),
          select: { id: true },
          orderBy: { id: 'asc' },
          take: OWN_WALLETS_MAX,
        })
        return own.map(({ id }) => id)
      }
      const refs = wallets.map(walletRef)
      const ids = refs.map((ref) => ('id' in ref ? ref.id : null))
      const kinds = refs.map((ref) => ('id' in ref ? null : ref.ownerKind))
      const owners = refs.map((ref) => ('id' in ref ? null : ref.ownerId))
      const { clientId, everyClient, userId } = access
      // In SQL: a thousand names in a `where` of the ORM cost more than everything else that a subscription does.
      const rows = await prisma.$queryRaw<{ id: string | null }[]>`
        select coalesce(named.id, owned.id) as id
        from unnest(${ids}::uuid[], ${kinds}::text[], ${owners}::text[]) with ordinality as asked(id, owner_kind, owner_id, place)
        left join wallets named on named.id = asked.id and (${everyClient}::boolean or named.client_id = ${clientId}::uuid)
          and (${userId}::text is null or (named.owner_kind = 'user' and named.owner_id = ${userId}::text))
        left join wallets owned on owned.client_id = ${clientId}::uuid
          and owned.owner_kind = asked.owner_kind and owned.owner_id = asked.owner_id
          and (${userId}::text is null or (owned.owner_kind = 'user' and owned.owner_id = ${userId}::text))
        order by asked.place`
      return rows.map(({ id }, index) => {
        if (id === null) throw fail('wallet_not_found', 'No wallet of yours has this id or owner.', { wallet: wallets[index] })
        return id
      })
    },

    /**
     * Ledger rows behind a sequence number, at most up to another, in order, as the wire shows them. Sockets that follow one wallet
     * mostly want the same rows at the same time: they share the reading.
     */
    transactions(walletId: string, afterSeq: number, toSeq: number): Promise<TransactionFrame[]> {
      const key = `${walletId} ${afterSeq} ${toSeq}`
      let reading = readings.get(key)
      if (!reading) {
        reading = readTransactions(walletId, afterSeq, toSeq).finally(() => readings.delete(key))
        readings.set(key, reading)
      }
      return reading
    },

    /** Removes tickets that nobody used in time. */
    async clearOldTickets(): Promise<number> {
      return prisma.$executeRaw`delete from realtime_tickets where expires_at < now()`
    },
  }
}

export type RealtimeReads = ReturnType<typeof realtimeReads>
