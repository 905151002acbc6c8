import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaClient } from '../generated/prisma/client.ts'

export type { PrismaClient }

/** Connections for reads and administration. The lane has its own: money never waits behind a listing. */
const CONNECTIONS_MAX = 8
const CONNECT_TIMEOUT_MS = 3_000
/** A read that takes longer is cut off; listings and totals are bounded far below it. */
const STATEMENT_TIMEOUT_MS = 5_000

/** The client for reads and administration. It connects when it is first used. */
export function createPrisma(url: string): PrismaClient {
  const adapter = new PrismaPg({
    connectionString: url,
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'farebox-reads',
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + 500,
    idle_in_transaction_session_timeout: 10_000,
  })
  return new PrismaClient({ adapter, errorFormat: 'minimal' })
}
