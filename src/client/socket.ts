import { retryAfterMs, type Timers } from './clock.ts'

/** One WebSocket that speaks JSON-RPC: calls with their answers, notifications, and whether the other side is still there. */

/** From the start to the first frame. A proxy that lets a socket open and then swallows its frames counts as one that blocks it. */
const ANSWER_MS_MAX = 10_000
/** Browsers do not show the server's pings, so we send our own. */
const PING_MS = 25_000
/** With the time between pings: a minute without a frame ends the socket. */
const PONG_MS_MAX = 35_000
/** For a page that wakes up, whose socket has often died unnoticed. */
const PROBE_MS_MAX = 5_000
/** What browsers report for a socket that ended without a close frame. */
export const NO_CLOSE_FRAME = 1006

export interface RpcError {
  readonly code: number
  readonly message: string
  readonly data?: { readonly code?: string; readonly retry_after_seconds?: unknown }
}

/** A call never throws: a socket that ended before the answer is an answer too. */
export type Answer = { readonly result: unknown } | { readonly error: RpcError } | { readonly lost: true }

export interface Ending {
  readonly code: number
  readonly retryAfterMs: number
  /** Whether a frame ever came through. */
  readonly answered: boolean
}

export interface SocketOptions {
  readonly url: string
  readonly protocols: readonly string[]
  readonly WebSocket: typeof globalThis.WebSocket
  /** Belong to this socket alone and end with it. */
  readonly timers: Timers
  onOpen(): void
  onNotification(method: string, params: Record<string, unknown>): void
  /** Once, and the last that is heard of it; not after `close`. */
  onEnd(ending: Ending): void
}

export interface Socket {
  call(method: string, params?: object): Promise<Answer>
  /** Finds out soon whether the other side is there; for moments when there is reason to doubt it. */
  probe(): void
  close(): void
}

interface Frame {
  readonly id?: number
  readonly method?: string
  readonly params?: Record<string, unknown>
  readonly result?: unknown
  readonly error?: RpcError
}

/** Opens a socket. Throws what the constructor throws, such as a SyntaxError for a credential that cannot be a subprotocol. */
export function openSocket(options: SocketOptions): Socket {
  const { timers } = options
  const socket = new options.WebSocket(options.url, [...options.protocols])
  const calls = new Map<number, (answer: Answer) => void>()
  let calledLast = 0
  let closing: Record<string, unknown> = {}
  let answered = false
  let ended = false
  let silence: (() => void) | undefined = timers.after(ANSWER_MS_MAX, () => lost())

  function call(method: string, params: object = {}): Promise<Answer> {
    if (ended || socket.readyState !== socket.OPEN) return Promise.resolve({ lost: true })
    calledLast += 1
    const id = calledLast
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    return new Promise((resolve) => calls.set(id, resolve))
  }

  function ping(): void {
    silence ??= timers.after(PONG_MS_MAX, () => lost())
    timers.after(PING_MS, ping)
    call('session.ping')
  }

  /** Lets go of the socket at once: the close event of a dead one can be minutes away. */
  function end(): void {
    ended = true
    timers.end()
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null
    socket.close(1000)
    for (const resolve of calls.values()) resolve({ lost: true })
    calls.clear()
  }

  function lost(code = NO_CLOSE_FRAME): void {
    if (ended) return
    end()
    // A process that stops says so in a frame, and may be gone before its close frame is out.
    const announced = code === NO_CLOSE_FRAME && typeof closing.code === 'number' ? closing.code : code
    options.onEnd({ code: announced, retryAfterMs: retryAfterMs(closing.retry_after_seconds), answered })
  }

  socket.onopen = () => {
    ping()
    options.onOpen()
  }
  socket.onerror = () => {} // A close event follows, and says as much as we may know.
  socket.onclose = (event) => lost(event.code)
  socket.onmessage = (event) => {
    answered = true
    silence?.()
    silence = undefined
    const frame = parse(event.data)
    if (!frame) return
    const { id, method, params, result, error } = frame
    if (method !== undefined) {
      if (method === 'session.closing') closing = params ?? {}
      options.onNotification(method, params ?? {})
    } else if (id !== undefined) {
      calls.get(id)?.(error ? { error } : { result })
      calls.delete(id)
    }
  }

  return {
    call,
    probe() {
      if (!answered) return
      silence?.()
      silence = timers.after(PROBE_MS_MAX, () => lost())
      call('session.ping')
    },
    close() {
      if (!ended) end()
    },
  }
}

/** Undefined for what is no JSON object: only the server's mistake could send it, and the next frame may be well. */
function parse(data: unknown): Frame | undefined {
  try {
    const frame: unknown = JSON.parse(String(data))
    return typeof frame === 'object' && frame !== null ? frame : undefined
  } catch {
    return undefined
  }
}
