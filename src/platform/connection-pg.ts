import type { Socket } from 'node:net'
import pg from 'pg'
import type { Statement } from './sql.ts'
import { ConnectionLost } from './sqlstate.ts'

/**
 * One PostgreSQL connection that its owner alone uses, with statements sent ahead without waiting for the answers of those
 * before them. It connects when it is first used and anew after it was lost.
 */

export interface Connection {
  /** Sends a prepared statement. Statements are answered in the order in which they were sent. */
  query<Row>(statement: Statement): Promise<Row[]>
  /** Sends BEGIN, COMMIT or ROLLBACK and yields the server's command tag: a failed transaction answers COMMIT with ROLLBACK. */
  control(command: 'begin' | 'commit' | 'rollback'): Promise<string>
  /** Throws the connection away, whatever it was doing. */
  destroy(): void
}

const CONNECT_TIMEOUT_MS = 2_000
/** Longer than the server's own limits below, so that a silent server is told from a slow one. */
const ANSWER_TIMEOUT_MS = 5_500
const KEEPALIVE_MS = 10_000

/**
 * Session settings of a lane. The limits keep a stuck batch from holding locks; the planner settings keep every prepared
 * statement on its index, also when it was first planned on an empty table: each statement names its rows by key.
 */
const SESSION = [
  `set lock_timeout = '2s'`,
  `set statement_timeout = '5s'`,
  `set idle_in_transaction_session_timeout = '10s'`,
  `set timezone = 'UTC'`,
  `set datestyle = 'ISO'`,
  'set jit = off',
  'set enable_seqscan = off',
  'set enable_hashjoin = off',
  'set enable_mergejoin = off',
  'set plan_cache_mode = force_generic_plan',
  'set transaction_isolation = "read committed"',
].join('; ')

const BIGINT = 20
const TIMESTAMPTZ = 1184

/** The times of a row are often the same. */
let lastTime = { text: '', instant: 0 }

/** Milliseconds of PostgreSQL's ISO form in UTC, "2026-01-31 12:00:00.123+00". */
function parseTime(text: string): number {
  if (text !== lastTime.text) lastTime = { text, instant: Date.parse(`${text.replace(' ', 'T')}:00`) }
  return lastTime.instant
}

/** Reads BIGINT as bigint and TIMESTAMPTZ as milliseconds; everything else as `pg` does. */
const types: pg.CustomTypesConfig = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid === BIGINT) return (text: string) => BigInt(text)
    if (oid === TIMESTAMPTZ) return parseTime
    return pg.types.getTypeParser(oid, format as 'text')
  },
} as pg.CustomTypesConfig

/** Opens a connection to a PostgreSQL server. @throws ConnectionLost, or the server's own error when it refuses */
export async function connect(url: string, applicationName: string): Promise<Connection> {
  const client = new pg.Client({
    connectionString: url,
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_MS,
    types,
    pipeline: true,
  } as pg.ClientConfig)
  let lost: Error | null = null
  client.on('error', (error) => {
    lost = error
  })
  // Not `end()`: that would wait for a server that may never answer.
  const destroy = () => void (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy()
  await client.connect()

  async function answered<T>(send: () => Promise<T>): Promise<T> {
    if (lost) throw new ConnectionLost('the connection was lost before the statement', { cause: lost })
    let timer: NodeJS.Timeout | undefined
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new ConnectionLost(`no answer within ${ANSWER_TIMEOUT_MS} ms`)), ANSWER_TIMEOUT_MS)
    })
    try {
      return await Promise.race([send(), silence])
    } catch (error) {
      // Without a SQLSTATE it is not the server that speaks: the socket broke under the statement.
      if (!(error instanceof pg.DatabaseError)) throw new ConnectionLost('the connection was lost', { cause: error })
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  try {
    await answered(() => client.query(SESSION))
  } catch (error) {
    destroy()
    throw error
  }
  return {
    async query<Row>({ name, text, values }: Statement) {
      const result = await answered<pg.QueryResult>(() => client.query({ name, text, values: [...values] }))
      return result.rows as Row[]
    },
    control: async (command) => (await answered(() => client.query(command))).command,
    destroy,
  }
}
