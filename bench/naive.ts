import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaClient } from '../src/generated/prisma/client.ts'
import type { Answer, Command } from '../src/ledger/command.ts'
import { drawsToJson } from '../src/ledger/transaction.ts'
import { figuresToWire, type Wallet } from '../src/ledger/wallet.ts'
import { reservationToWire } from '../src/reservations/schemas.ts'

/**
 * The way it is usually done, for comparison: one interactive transaction a request, the wallet locked with FOR UPDATE, then the
 * same rows in the same tables as the lane writes. Correct, and as good as its shape allows: no statement more than it needs.
 */

const CONNECTIONS_MAX = 10
/** 256 callers wait for 10 connections, and on one wallet for each other. */
const WAIT_MS_MAX = 30_000
const TTL_MS = 86_400_000

export interface NaiveReserve {
  readonly walletId: string
  readonly amount: bigint
}

export function createNaive(url: string) {
  const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: CONNECTIONS_MAX }), errorFormat: 'minimal' })

  async function reserve(command: Command, { walletId, amount }: NaiveReserve): Promise<Answer> {
    const clientId = command.speaker.clientId as string
    const { operation, key, fingerprint } = command.idempotency as NonNullable<Command['idempotency']>
    return prisma.$transaction(
      async (tx) => {
        const [wallet] = await tx.$queryRaw<{ balance: bigint; held: bigint; debt: bigint; version: bigint; now: Date }[]>`
          select balance, held, debt, version, clock_timestamp() as now from wallets
          where id = ${walletId}::uuid and client_id = ${clientId}::uuid for update`
        if (!wallet) throw new Error('no such wallet')
        const [known] = await tx.$queryRaw<{ status: number; body: string }[]>`
          select status, body from idempotency_keys where client_id = ${clientId}::uuid and operation = ${operation} and key = ${key}`
        if (known) return { status: known.status, body: known.body, replayed: true }
        const [grant] = await tx.$queryRaw<{ id: string }[]>`
          update grants set held = held + ${amount}::bigint where id = (
            select id from grants where wallet_id = ${walletId}::uuid and spent_at is null and remaining - held >= ${amount}::bigint
            order by priority, expires_at, created_at limit 1)
          returning id`
        if (!grant || wallet.balance - wallet.held < amount) throw new Error('not enough credits')
        const now = wallet.now.getTime()
        const reservation = {
          walletId,
          id: command.id,
          status: 'held' as const,
          requested: amount,
          amount,
          captured: 0n,
          released: 0n,
          cost: 0n,
          pins: [{ grantId: grant.id, amount }],
          quote: {
            n: amount.toString(),
            d: '1',
            min: '0',
            exempt: false,
            terms: { policy: null, minimum: '10000', maximum: '1000000000000000' },
          },
          usageTotal: null,
          clientId,
          reference: null,
          metadata: null,
          expiresAt: now + TTL_MS,
          createdAt: now,
          finalizedAt: null,
        }
        const figures = { ...wallet, id: walletId, held: wallet.held + amount, version: wallet.version + 1n } as unknown as Wallet
        const body = JSON.stringify({ ...reservationToWire(reservation), wallet: figuresToWire(figures) })
        await tx.$executeRaw`
          insert into reservations (wallet_id, id, status, requested, amount, draws, quote, client_id, expires_at, created_at)
          values (${walletId}::uuid, ${command.id}::uuid, 'held', ${amount}::bigint, ${amount}::bigint, ${drawsToJson(reservation.pins)}::json,
            ${JSON.stringify(reservation.quote)}::json, ${clientId}::uuid, ${new Date(now + TTL_MS)}::timestamptz, ${wallet.now}::timestamptz)`
        await tx.$executeRaw`
          update wallets set held = held + ${amount}::bigint, version = version + 1, updated_at = ${wallet.now}::timestamptz
          where id = ${walletId}::uuid`
        await tx.$executeRaw`
          insert into idempotency_keys (client_id, operation, key, fingerprint, status, body, effect_id, wallet_id, created_at)
          values (${clientId}::uuid, ${operation}, ${key}, decode(${fingerprint}, 'hex'), 201, ${body}, ${command.id}::uuid, ${walletId}::uuid,
            ${wallet.now}::timestamptz)`
        return { status: 201, body, replayed: false }
      },
      { maxWait: WAIT_MS_MAX, timeout: WAIT_MS_MAX },
    )
  }

  return { reserve, close: () => prisma.$disconnect() }
}
