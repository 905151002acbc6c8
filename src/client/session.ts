import { jitter, retryAfterMs, type Timers } from './clock.ts'
import type { Socket } from './socket.ts'
import { type Entry, OWN, type Store } from './store.ts'
import type { Emit, LowBalance, Transaction } from './types.ts'

/** One open socket's subscriptions, kept equal to what the store wants. */

/** Wallets in one call: their names, and their states in the answer, stay below the 16 KiB of a frame. */
const NAMES_MAX = 50
/** Sixteen calls a second at most, of the twenty that are allowed, so that a list of wallets scrolling by cannot end the socket. */
const CALLS_MAX = 4
const CALLS_MS = 250
/** JSON-RPC code of a call that may succeed when it is made again. */
const TRY_AGAIN = -32000
/** The wait before that: up to four seconds. */
const TRY_AGAIN_ATTEMPT = 3

export interface SessionOptions {
  readonly socket: Socket
  readonly store: Store
  readonly timers: Timers
  readonly transactions: boolean
  readonly random: () => number
  readonly emit: Emit
  /** The service has answered for wallets: what the store shows is fresh. */
  onLive(): void
}

export interface Session {
  /** What is wanted may have changed. */
  sync(): void
  notify(method: string, params: Record<string, unknown>): void
}

export function startSession(options: SessionOptions): Session {
  const { socket, store, timers, emit } = options
  const asked = new Set<Entry>()
  /** Ids that the server sends us. */
  const held = new Set<string>()
  /** A call holds for all its wallets or for none, so those of a refused one ask again each for itself. */
  const apart = new Set<Entry>()
  let resting = false
  let again = false

  function sync(): void {
    again = true
    if (resting) return
    resting = true
    timers.after(0, flush)
  }

  function flush(): void {
    again = false
    const calls = pending()
    for (const send of calls.slice(0, CALLS_MAX)) send()
    again ||= calls.length > CALLS_MAX
    timers.after(CALLS_MS, () => {
      resting = false
      if (again) sync()
    })
  }

  function pending(): (() => void)[] {
    const leaving = [...held].filter((id) => !store.wants(id))
    const entries = store.entries.filter((entry) => !asked.has(entry))
    // The answer names ids only, and `after_seq` is of one wallet: such calls cannot be shared.
    const alone = (entry: Entry) => apart.has(entry) || entry.ids[0] !== entry.name || afterSeqOf(entry) !== undefined
    return [
      ...chunks(leaving).map((ids) => () => leave(ids)),
      ...chunks(entries.filter((entry) => !alone(entry))).map((group) => () => subscribe(group)),
      ...entries.filter(alone).map((entry) => () => subscribe([entry])),
    ]
  }

  function leave(ids: readonly string[]): void {
    for (const id of ids) held.delete(id)
    socket.call('wallet.unsubscribe', { wallets: ids })
  }

  async function subscribe(group: readonly Entry[]): Promise<void> {
    for (const entry of group) asked.add(entry)
    const [only] = group.length === 1 ? group : []
    const afterSeq = only && afterSeqOf(only)
    const answer = await socket.call('wallet.subscribe', {
      ...(only?.name !== OWN && { wallets: group.map(({ name }) => name) }),
      ...(options.transactions && { transactions: true }),
      ...(afterSeq !== undefined && { after_seq: afterSeq }),
    })
    if ('lost' in answer) return
    if ('result' in answer) {
      const { wallets } = (answer.result ?? {}) as { wallets?: unknown }
      for (const state of Array.isArray(wallets) ? wallets : []) {
        const id = store.accept(state, only)
        if (id !== undefined) held.add(id)
      }
      sync() // Some of it may have been given up in the meantime.
      return options.onLive()
    }
    const { code, message, data } = answer.error
    const askAgain = () => {
      for (const entry of group) asked.delete(entry)
      sync()
    }
    if (code === TRY_AGAIN) {
      timers.after(jitter(TRY_AGAIN_ATTEMPT, options.random) + retryAfterMs(data?.retry_after_seconds), askAgain)
    } else if (only) {
      emit('refused', { wallet: only.name === OWN ? undefined : only.name, code: data?.code ?? String(code), message })
      options.onLive()
    } else {
      for (const entry of group) apart.add(entry)
      askAgain()
    }
  }

  function afterSeqOf(entry: Entry): number | undefined {
    return options.transactions ? store.lastSeqOf(entry) : undefined
  }

  function notify(method: string, params: Record<string, unknown>): void {
    const { wallet_id: id, seq } = params
    if (method === 'wallet.balance') store.accept(params)
    if (typeof id !== 'string' || !store.wants(id)) return
    if (method === 'wallet.low_balance') emit('low_balance', params as unknown as LowBalance)
    if (method === 'wallet.transaction' && typeof seq === 'number' && store.acceptSeq(id, seq)) {
      emit('transaction', params as unknown as Transaction)
    }
  }

  return { sync, notify }
}

function chunks<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / NAMES_MAX) }, (_, i) => all.slice(i * NAMES_MAX, (i + 1) * NAMES_MAX))
}
