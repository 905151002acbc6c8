import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import { Prisma, PrismaClient } from '../generated/prisma/client.ts'

export type { PrismaClient }

/** Connections for reads and administration. The lane has its own: money never waits behind a listing. */
const CONNECTIONS_MAX = 8
const CONNECT_TIMEOUT_MS = 3_000
/** A read that takes longer is cut off; listings and totals are bounded far below it. */
const STATEMENT_TIMEOUT_MS = 5_000

/** The database's clock, which alone decides what has begun and what is over, in whole milliseconds. */
export async function databaseClock(prisma: Pick<PrismaClient, '$queryRaw'>): Promise<number> {
  const [row] = await prisma.$queryRaw<[{ now: Date }]>`select clock_timestamp() as now`
  return row.now.getTime()
}

/** The connections for reads and administration. */
export function createPool(url: string): pg.Pool {
  return new pg.Pool({
    connectionString: url,
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'farebox-reads',
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + 500,
    idle_in_transaction_session_timeout: 10_000,
  })
}

/** The client for reads and administration. It connects when it is first used, and ends the pool when it disconnects. */
export function createPrisma(url: string, pool = createPool(url)): PrismaClient {
  const adapter = new PrismaPg(pool, { disposeExternalPool: true })
  return new PrismaClient({ adapter, errorFormat: 'minimal' })
}

/** Whether a unique index refused what was written. */
export function isUniqueViolation(error: unknown): boolean {
  return error instanceof Prisma.PrismaClientKnownRequestError && error.code === 'P2002'
}

/** Whether what was written names a row that is not there. */
export function isForeignKeyViolation(error: unknown): boolean {
  return error instanceof Prisma.PrismaClientKnownRequestError && error.code === 'P2003'
}
