import { jitter, Timers, within } from './clock.ts'
import { type Fallback, startFallback } from './fallback.ts'
import { type Session, startSession } from './session.ts'
import { type Ending, NO_CLOSE_FRAME, openSocket, type Socket } from './socket.ts'
import type { Store } from './store.ts'
import type { Emit, Reason, Status } from './types.ts'

/** Keeps the store fed: a socket wherever one gets through, opened again whenever it ends, and the fallback where none does. */

/** A connection that held this long was no failure, so that the next loss starts with short waits again. */
const STABLE_MS = 60_000
/** Sockets in a row that never brought a frame, before we take it that something on the way blocks them. */
const BLOCKED_AFTER = 3
/** On average; a fallback that works is no reason to stay with it. */
const RETRY_BEHIND_FALLBACK_MS = 60_000
const CREDENTIAL_MS_MAX = 10_000

/** What a close code asks for: a wait as after that many failures at least, or to stay away. Others return like after a loss. */
const CLOSE_CODES: Record<number, { readonly reason: Reason; readonly attemptMin: number } | { readonly final: Reason }> = {
  1008: { final: 'protocol_broken' },
  1009: { final: 'protocol_broken' },
  1012: { reason: 'server_restarting', attemptMin: 2 },
  1013: { reason: 'server_busy', attemptMin: 4 },
  4401: { reason: 'credential_ended', attemptMin: 0 },
  4403: { final: 'not_allowed' },
  4429: { reason: 'too_many', attemptMin: 6 },
}

export interface LinkOptions {
  /** Without a slash at its end. */
  readonly url: string
  readonly ticket: (() => Promise<string> | string) | undefined
  readonly token: (() => Promise<string> | string) | undefined
  readonly transactions: boolean
  readonly fetch: typeof globalThis.fetch
  readonly WebSocket: typeof globalThis.WebSocket
  /** Of the whole client: they end with the link. */
  readonly timers: Timers
  readonly random: () => number
  readonly emit: Emit
  readonly store: Store
}

export class Link {
  readonly #options: LinkOptions
  readonly #timers: Timers
  #status: Status = { state: 'connecting', reason: 'starting' }
  #socket: Socket | undefined
  #session: Session | undefined
  #fallback: Fallback | undefined
  /** Failures since a connection was stable: how long we wait. */
  #attempt = 0
  /** Failures since we were live: what the status says. */
  #failures = 0
  #unanswered = 0
  #started = false
  /** Set while we wait for the next attempt, unless the server named the wait: starts it now. */
  #hurry: (() => void) | undefined

  constructor(options: LinkOptions) {
    this.#options = options
    this.#timers = options.timers
  }

  get status(): Status {
    return this.#status
  }

  get #closed(): boolean {
    return this.#status.state === 'closed'
  }

  /** What is wanted has changed. The first wish opens the socket. */
  sync(): void {
    if (this.#closed) return
    this.#session?.sync()
    this.#fallback?.sync()
    if (this.#started) return
    this.#started = true
    this.#connect()
  }

  /** The network or the page is back: a good moment to try, or to find out that the socket has died. */
  wake(): void {
    this.#socket?.probe()
    this.#hurry?.()
  }

  close(reason: Reason): void {
    if (this.#closed) return
    this.#timers.end()
    this.#socket?.close()
    this.#fallback?.stop()
    this.#socket = this.#session = this.#fallback = this.#hurry = undefined
    this.#setStatus('closed', reason)
  }

  async #connect(): Promise<void> {
    const { ticket, token } = this.#options
    try {
      const make = async () => (ticket ? `ticket.${await ticket()}` : `bearer.${await token?.()}`)
      const credential = await within(CREDENTIAL_MS_MAX, this.#timers, make)
      if (!this.#closed) this.#open(credential)
    } catch {
      if (!this.#closed) this.#retry('credential_failed', 0, 0)
    }
  }

  /** Throws for a credential that cannot be a subprotocol. */
  #open(credential: string): void {
    const { url, WebSocket, store, transactions, random, emit } = this.#options
    const timers = new Timers(this.#timers)
    const socket = openSocket({
      url: `${url.replace(/^http/, 'ws')}/v1/realtime`,
      protocols: ['farebox.v1', credential],
      WebSocket,
      timers,
      onOpen: () => {
        this.#session = startSession({ socket, store, timers, transactions, random, emit, onLive: () => this.#wentLive() })
        this.#session.sync()
        timers.after(STABLE_MS, () => {
          this.#attempt = 0
        })
      },
      onNotification: (method, params) => this.#session?.notify(method, params),
      onEnd: (ending) => this.#ended(ending),
    })
    this.#socket = socket
  }

  #wentLive(): void {
    this.#failures = 0
    this.#fallback?.stop()
    this.#fallback = undefined
    this.#setStatus('live', 'socket')
  }

  #ended({ code, retryAfterMs, answered }: Ending): void {
    this.#socket = this.#session = undefined
    const asked = CLOSE_CODES[code] ?? { reason: 'connection_lost', attemptMin: 0 }
    if ('final' in asked) {
      this.close(asked.final)
      return
    }
    // A close code is an answer as well: what brought it blocks no sockets.
    const silent = !answered && code === NO_CLOSE_FRAME && !isOffline()
    this.#unanswered = silent ? this.#unanswered + 1 : 0
    if (this.#unanswered >= BLOCKED_AFTER) this.#fallBack()
    this.#retry(asked.reason, asked.attemptMin, retryAfterMs)
  }

  #fallBack(): void {
    const { token } = this.#options
    if (this.#fallback || !token) return
    this.#setStatus('connecting', 'socket_blocked')
    this.#fallback = startFallback({ ...this.#options, token, onStatus: (state, reason) => this.#setStatus(state, reason) })
    this.#fallback.sync()
  }

  #retry(reason: Reason, attemptMin: number, retryAfterMs: number): void {
    const { random } = this.#options
    const waitMs = this.#fallback ? RETRY_BEHIND_FALLBACK_MS * (0.5 + random()) : jitter(Math.max(this.#attempt, attemptMin), random)
    this.#attempt += 1
    this.#failures += 1
    if (!this.#fallback) this.#setStatus(this.#failures < BLOCKED_AFTER ? 'connecting' : 'offline', reason)
    const connect = () => {
      this.#hurry = undefined
      this.#connect()
    }
    const cancel = this.#timers.after(waitMs + retryAfterMs, connect)
    if (attemptMin > 0 || retryAfterMs > 0) return
    this.#hurry = () => {
      cancel()
      connect()
    }
  }

  #setStatus(state: Status['state'], reason: Reason): void {
    if (this.#closed) return
    const isLost = state === 'connecting' || state === 'offline'
    const next: Status = isLost && isOffline() ? { state: 'offline', reason: 'network_offline' } : { state, reason }
    if (this.#status.state === next.state && this.#status.reason === next.reason) return
    this.#status = Object.freeze(next)
    this.#options.emit('status', next)
  }
}

/** Browsers know when there is no network at all; Node says nothing. */
function isOffline(): boolean {
  return (globalThis as { navigator?: { onLine?: boolean } }).navigator?.onLine === false
}
