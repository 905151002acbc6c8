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
/** A caller without a wallet may be given one at any time, which nobody tells: we ask again after this, up to three times as long. */
const OWN_EMPTY_MS_MIN = 10_000

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
  /** The caller's own wallets, each by its id, where rows were missed: `after_seq` is of one wallet. */
  let ownRows: readonly Entry[] = []
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
    const rows = ownRows.filter(({ name }) => store.wants(name))
    const entries = [...store.entries, ...rows].filter((entry) => !asked.has(entry))
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
    const isOwn = only?.name === OWN
    const afterSeq = only && !isOwn ? afterSeqOf(only) : undefined
    // New rows that came before the missed ones would make those look old: the caller's own get theirs wallet by wallet, afterwards.
    const rowsLater = isOwn && only.ids.some((id) => store.lastSeqOf(id) !== undefined)
    const answer = await socket.call('wallet.subscribe', {
      ...(!isOwn && { wallets: group.map(({ name }) => name) }),
      ...(options.transactions && !rowsLater && { transactions: true }),
      ...(afterSeq !== undefined && { after_seq: afterSeq }),
    })
    if ('lost' in answer) return
    const askAgain = () => {
      for (const entry of group) asked.delete(entry)
      sync()
    }
    if ('result' in answer) {
      const { wallets } = (answer.result ?? {}) as { wallets?: unknown }
      const states = Array.isArray(wallets) ? wallets : []
      const ids = states.map((state) => store.accept(state, only)).filter((id) => id !== undefined)
      for (const id of ids) held.add(id)
      if (rowsLater) ownRows = ids.map((id) => ({ name: id, listeners: new Set(), ids: [id] }))
      if (isOwn && ids.length === 0) timers.after(OWN_EMPTY_MS_MIN * (1 + 2 * options.random()), askAgain)
      sync() // Some of it may have been given up in the meantime.
      return options.onLive()
    }
    const { code, message, data } = answer.error
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
    return options.transactions && entry.ids[0] !== undefined ? store.lastSeqOf(entry.ids[0]) : undefined
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
