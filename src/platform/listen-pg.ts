import pg from 'pg'

/**
 * Listens to a channel of PostgreSQL's NOTIFY. What is announced while the connection is down is lost, so the listener is also
 * called whenever it has connected anew; a listener must therefore look for what is new rather than count calls.
 */

const CONNECT_TIMEOUT_MS = 3_000
const RETRY_MS = 1_000
const KEEPALIVE_MS = 10_000

export interface Listening {
  stop(): Promise<void>
}

/** Starts listening and keeps at it until stopped. */
export function listen(url: string, channel: string, onNews: () => void, log: { warn(fields: object, message: string): void }): Listening {
  let client: pg.Client | null = null
  let retry: NodeJS.Timeout | undefined
  let stopped = false

  function lost(error: unknown): void {
    client?.removeAllListeners('end')
    void client?.end().catch(() => {})
    client = null
    if (stopped) return
    log.warn({ err: error, channel }, 'the listener lost its connection and will connect again')
    retry = setTimeout(() => void connect(), RETRY_MS)
    retry.unref()
  }

  async function connect(): Promise<void> {
    const next = new pg.Client({
      connectionString: url,
      application_name: 'farebox-listener',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEPALIVE_MS,
    })
    client = next
    let over = false
    const once = (error: unknown) => {
      if (!over) lost(error)
      over = true
    }
    next.on('error', once)
    next.on('end', () => once(new Error('the connection ended')))
    next.on('notification', onNews)
    try {
      await next.connect()
      await next.query(`listen ${pg.escapeIdentifier(channel)}`)
      onNews()
    } catch (error) {
      once(error)
    }
  }

  void connect()
  return {
    async stop() {
      stopped = true
      clearTimeout(retry)
      client?.removeAllListeners('end')
      await client?.end().catch(() => {})
    },
  }
}
