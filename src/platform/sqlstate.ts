/**
 * What a database error means for the work that met it, by SQLSTATE (PostgreSQL, Appendix A), never by class or message.
 * - `retry`: another transaction was in the way; the same batch may succeed at once
 * - `connection`: the server cannot be reached or is going down; the outcome may be unknown
 * - `storage`: the server is there but cannot write (disk or memory full, read-only)
 * - `fault`: the data or the statement is at fault; the same batch will fail again
 */
export type DatabaseFailure = 'retry' | 'connection' | 'storage' | 'fault'

const RETRY = new Set(['40001', '40P01', '55P03', '57014'])
const CONNECTION_CLASSES = ['08', '57']
const STORAGE_CLASSES = ['53', '58']
const READ_ONLY = '25006'
const IDLE_TRANSACTION_TIMEOUT = '25P03'

/** The SQLSTATE of an error of `pg` or Prisma, or null where it did not come from the server. */
export function sqlstateOf(error: unknown): string | null {
  for (let e = error as ErrorLike | undefined, depth = 0; e && depth < 5; e = e.cause as ErrorLike | undefined, depth += 1) {
    const code = e.meta?.driverAdapterError?.cause?.originalCode ?? e.meta?.code ?? e.code
    // Every SQLSTATE has a digit; socket codes such as EPIPE have none, and P1xxx and P2xxx are Prisma's.
    if (typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) && !/^P[12]\d{3}$/.test(code)) return code
  }
  return null
}

interface ErrorLike {
  readonly code?: unknown
  readonly constraint?: unknown
  readonly cause?: unknown
  readonly message?: unknown
  readonly meta?: {
    readonly code?: unknown
    readonly driverAdapterError?: { readonly cause?: { readonly originalCode?: unknown; readonly kind?: unknown } }
  }
}

/** Two batches, in two processes or over two wallets, met on one idempotency key: the next round finds the other's record. */
function isKeyRace(error: unknown, sqlstate: string): boolean {
  return sqlstate === '23505' && (error as ErrorLike).constraint === 'idempotency_keys_pkey'
}

/** @returns what kind of failure this is; errors that carry no SQLSTATE are ours (`fault`) unless they come from the socket */
export function classify(error: unknown): DatabaseFailure {
  const sqlstate = sqlstateOf(error)
  if (sqlstate === null) return isSocketError(error) ? 'connection' : 'fault'
  if (RETRY.has(sqlstate) || isKeyRace(error, sqlstate)) return 'retry'
  if (CONNECTION_CLASSES.includes(sqlstate.slice(0, 2)) || sqlstate === IDLE_TRANSACTION_TIMEOUT) return 'connection'
  if (STORAGE_CLASSES.includes(sqlstate.slice(0, 2)) || sqlstate === READ_ONLY) return 'storage'
  return 'fault'
}

/** Thrown by our own connection when the server is silent or gone. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'
}

const SOCKET_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN'])

/** What Prisma's adapter makes of socket errors; raw queries carry it behind the code P2010. */
const ADAPTER_KINDS = new Set(['DatabaseNotReachable', 'ConnectionClosed', 'SocketTimeout', 'TlsConnectionError'])

/** `pg` gives these errors no code: the text is all that tells them from a fault of ours. */
const PG_MESSAGES = new Set([
  'Connection terminated',
  'Connection terminated unexpectedly',
  'Connection terminated due to connection timeout',
  'timeout expired',
  'timeout exceeded when trying to connect',
  'Query read timeout',
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
])

function isSocketError(error: unknown): boolean {
  if (error instanceof ConnectionLost) return true
  const { message, meta } = (error ?? {}) as ErrorLike
  if (typeof message === 'string' && PG_MESSAGES.has(message)) return true
  const kind = meta?.driverAdapterError?.cause?.kind
  if (typeof kind === 'string' && ADAPTER_KINDS.has(kind)) return true
  const code = (error as ErrorLike | undefined)?.code
  if (typeof code === 'string' && SOCKET_CODES.has(code)) return true
  // Prisma wraps what its driver could not reach, and P2028 is a transaction that did not begin or end in its time.
  if (code === 'P1001' || code === 'P1002' || code === 'P1008' || code === 'P1017' || code === 'P2024' || code === 'P2028') return true
  const cause = (error as ErrorLike | undefined)?.cause
  return cause !== undefined && cause !== error && isSocketError(cause)
}
