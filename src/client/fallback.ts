import { jitter, retryAfterMs, Timers, within } from './clock.ts'
import { readEvents } from './event-stream.ts'
import { type Entry, OWN, type Store } from './store.ts'
import type { Emit, LowBalance, Status } from './types.ts'

/** For networks that block sockets: each wallet as a stream of events and, where that does not come through either, by polling. */

/** Over HTTP/1.1 a browser opens six connections to a host, and the page needs some of them. */
const STREAMS_MAX = 4
/** Streams in a row that brought no event, before a wallet is polled. */
const STREAM_FAILURES_MAX = 2
/** The wait after a stream grows from two seconds: something may cut each of them short. */
const STREAM_ATTEMPT_MIN = 2
const POLL_MS = 5_000
/** Four polls a second at most, however many wallets there are. */
const POLL_GAP_MS = 250
/** For an answer, or for the first event: the present state. A proxy that holds that back collects the whole stream. */
const ANSWER_MS_MAX = 10_000
/** As on a socket: a minute without a byte. */
const SILENCE_MS_MAX = 60_000

export interface FallbackOptions {
  readonly url: string
  readonly fetch: typeof globalThis.fetch
  readonly token: () => Promise<string> | string
  readonly store: Store
  /** Of the whole client. */
  readonly timers: Timers
  readonly random: () => number
  readonly emit: Emit
  onStatus(state: Status['state'], reason: Status['reason']): void
}

export interface Fallback {
  /** Follows what the store wants now, and nothing else. */
  sync(): void
  stop(): void
}

/** How one wallet is followed; `failed` when several attempts in a row brought nothing. */
interface Loop {
  readonly timers: Timers
  readonly mayStream: boolean
  how: 'starting' | 'stream' | 'poll' | 'failed'
  ended: boolean
  /** Breaks off the request under way. */
  cut(): void
}

/** `refused` wallets are not asked for again. */
type Outcome = 'ok' | 'refused' | { readonly retryAfterMs: number }

export function startFallback(options: FallbackOptions): Fallback {
  const { store, random, emit } = options
  const loops = new Map<Entry, Loop>()
  let tokenFails = false

  function sync(): void {
    for (const entry of loops.keys()) if (!store.has(entry)) end(entry)
    for (const entry of store.entries) {
      if (loops.has(entry)) continue
      const mayStream = [...loops.values()].filter((loop) => loop.mayStream).length < STREAMS_MAX
      const loop: Loop = { timers: new Timers(options.timers), mayStream, how: 'starting', ended: false, cut() {} }
      loops.set(entry, loop)
      loop.timers.after(mayStream ? 0 : loops.size * POLL_GAP_MS, () => follow(entry, loop))
    }
  }

  function end(entry: Entry): void {
    const loop = loops.get(entry)
    if (!loop) return
    loops.delete(entry)
    loop.ended = true
    loop.timers.end()
    loop.cut()
  }

  async function follow(entry: Entry, loop: Loop): Promise<void> {
    let failures = 0
    let polls = !loop.mayStream
    for (;;) {
      const outcome = await request(entry, loop, polls)
      if (loop.ended) return
      if (outcome === 'refused') {
        report(loop, polls ? 'poll' : 'stream') // The service answers: it is this wallet that nothing will come of.
        return
      }
      const ok = outcome === 'ok'
      failures = ok ? 0 : failures + 1
      if (!ok) report(loop, failures > STREAM_FAILURES_MAX ? 'failed' : 'starting')
      const waitMs = ok && polls ? Math.max(POLL_MS, loops.size * POLL_GAP_MS) : jitter(Math.max(failures, STREAM_ATTEMPT_MIN), random)
      polls ||= failures >= STREAM_FAILURES_MAX
      await new Promise<void>((resolve) => loop.timers.after(waitMs + (ok ? 0 : outcome.retryAfterMs), resolve))
    }
  }

  /** One poll, or one stream until it breaks off. Never throws. */
  async function request(entry: Entry, loop: Loop, poll: boolean): Promise<Outcome> {
    const abort = new AbortController()
    loop.cut = () => abort.abort()
    let cancel = loop.timers.after(ANSWER_MS_MAX, loop.cut)
    let brought = false
    /** Nothing counts any more once the loop has ended: the socket is back, and newer. */
    const accept = (frame: unknown) => {
      if (loop.ended || store.accept(frame, entry) === undefined) return
      brought = true
      report(loop, poll ? 'poll' : 'stream')
    }
    try {
      const wallet = entry.ids[0] ?? (entry.name === OWN ? await findOwn(loop, abort.signal) : entry.name)
      const response = await get(loop, `/v1/wallets/${encodeURIComponent(wallet)}/${poll ? 'balance' : 'stream'}`, abort.signal)
      if (!response.ok) return await failed(entry, loop, response)
      if (poll) accept(await response.json())
      else {
        await readEvents(
          response,
          () => {
            if (!brought) return
            cancel()
            cancel = loop.timers.after(SILENCE_MS_MAX, loop.cut)
          },
          (event, data) => {
            if (event === 'wallet.balance') accept(JSON.parse(data))
            if (event === 'wallet.low_balance' && !loop.ended) emit('low_balance', JSON.parse(data) as LowBalance)
          },
        )
      }
    } catch {
      // A stream that was of use may break off; whatever else went wrong brought nothing.
    } finally {
      cancel()
      abort.abort() // An answer that was not read to its end would keep its connection.
    }
    return brought ? 'ok' : { retryAfterMs: 0 }
  }

  async function failed(entry: Entry, loop: Loop, response: Response): Promise<Outcome> {
    const { code, detail } = (await response.json().catch(() => ({}))) as { code?: unknown; detail?: unknown }
    // A proxy may forbid, or not find, as well; only Farebox gives codes.
    if ((response.status === 403 || response.status === 404) && typeof code === 'string') {
      if (!loop.ended) emit('refused', { wallet: entry.name === OWN ? undefined : entry.name, code, message: String(detail) })
      return 'refused'
    }
    return { retryAfterMs: retryAfterMs(response.headers.get('retry-after')) }
  }

  /** The wallet of a caller who named none. Throws when there is none yet, or the list cannot be read. */
  async function findOwn(loop: Loop, signal: AbortSignal): Promise<string> {
    const response = await get(loop, '/v1/wallets?limit=1', signal)
    const { data } = (await response.json()) as { data: [{ id: string }] }
    return data[0].id
  }

  /** Throws when there is no token, or no way to the service. */
  async function get(loop: Loop, path: string, signal: AbortSignal): Promise<Response> {
    tokenFails = true
    const headers = { authorization: `Bearer ${await within(ANSWER_MS_MAX, loop.timers, options.token)}` }
    tokenFails = false
    const response = await options.fetch(options.url + path, { headers, signal, cache: 'no-store', credentials: 'omit' })
    tokenFails = response.status === 401
    return response
  }

  /** The whole is as fresh as its stalest part that comes through at all. */
  function report(loop: Loop, how: Loop['how']): void {
    loop.how = how
    const hows = new Set([...loops.values()].map((one) => one.how))
    if (hows.has('poll')) options.onStatus('polling', 'socket_blocked')
    else if (hows.has('stream')) options.onStatus('live', 'stream')
    else options.onStatus(hows.has('starting') ? 'connecting' : 'offline', tokenFails ? 'credential_failed' : 'connection_lost')
  }

  return { sync, stop: () => [...loops.keys()].forEach(end) }
}
