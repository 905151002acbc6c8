import type { Timers } from './clock.ts'
import { type Balance, balanceFromWire } from './types.ts'

/**
 * What is known of each wallet, and who wants to know. A frame is the state at its version, so the newest wins whatever road it
 * took; that makes repeated, late and crossing frames harmless.
 */

/** How long a wallet is kept after its last listener has gone: a page that is built anew asks again within moments. */
export const GRACE_MS = 5_000

/** The name under which the caller's own wallets are kept. */
export const OWN = ''

export interface Entry {
  /** As asked for: an id, an owner such as `user:alice`, or OWN. */
  readonly name: string
  readonly listeners: Set<{ call(balance: Balance): void }>
  /** The wallets it stands for; empty until the service has said so. */
  ids: readonly string[]
  forget?: (() => void) | undefined
}

/** Calls back like an EventTarget: a listener that throws is reported as an uncaught error and keeps no other from its turn. */
export function callEach<T>(listeners: Iterable<{ call(value: T): void }>, value: T): void {
  for (const listener of [...listeners]) {
    try {
      listener.call(value)
    } catch (error) {
      queueMicrotask(() => {
        throw error
      })
    }
  }
}

export class Store {
  readonly #timers: Timers
  readonly #wantedChanged: () => void
  readonly #entries = new Map<string, Entry>()
  /** By wallet id, the entries it is wanted for. */
  readonly #wanted = new Map<string, Set<Entry>>()
  readonly #balances = new Map<string, Balance>()
  readonly #lastSeq = new Map<string, number>()

  constructor(timers: Timers, wantedChanged: () => void) {
    this.#timers = timers
    this.#wantedChanged = wantedChanged
  }

  get entries(): readonly Entry[] {
    return [...this.#entries.values()]
  }

  has(entry: Entry): boolean {
    return this.#entries.get(entry.name) === entry
  }

  /** Whether anyone wants this wallet, under whatever name. */
  wants(id: string): boolean {
    return this.#wanted.has(id)
  }

  get(name: string): Balance | undefined {
    return this.#balances.get(this.#entries.get(name)?.ids[0] ?? name)
  }

  want(name: string, listener: (balance: Balance) => void): () => void {
    const entry = this.#entries.get(name) ?? this.#add(name)
    const added = { call: listener }
    entry.forget?.()
    entry.listeners.add(added)
    return () => {
      if (!entry.listeners.delete(added) || entry.listeners.size > 0) return
      entry.forget = this.#timers.after(GRACE_MS, () => this.#forget(entry))
    }
  }

  #add(name: string): Entry {
    const entry: Entry = { name, listeners: new Set(), ids: [] }
    this.#entries.set(name, entry)
    if (name.startsWith('wal_')) this.#bind(entry, name)
    this.#wantedChanged()
    return entry
  }

  #bind(entry: Entry, id: string): void {
    entry.ids = [...entry.ids, id]
    this.#wanted.set(id, (this.#wanted.get(id) ?? new Set()).add(entry))
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.name)
    for (const id of entry.ids) {
      const others = this.#wanted.get(id)
      if (!others?.delete(entry) || others.size > 0) continue
      this.#wanted.delete(id)
      this.#balances.delete(id)
      this.#lastSeq.delete(id)
    }
    this.#wantedChanged()
  }

  /**
   * Takes in a state if it is newer: a higher version, or any version of another epoch. A name that it was `asked` for
   * stands for its wallet from then on. Returns the id of the wallet, or undefined where the frame is no state.
   */
  accept(frame: unknown, asked?: Entry): string | undefined {
    const state = balanceFromWire(frame)
    if (!state) return undefined
    const id = state.wallet_id
    const bound = asked !== undefined && this.has(asked) && asked.ids[0] !== asked.name && !asked.ids.includes(id)
    if (bound) this.#bind(asked, id)
    const entries = this.#wanted.get(id)
    if (!entries) return id
    const last = this.#balances.get(id)
    const balance = Object.freeze({ ...state, epoch: state.epoch ?? last?.epoch ?? '' })
    if (last?.epoch !== balance.epoch || balance.version > last.version) {
      this.#balances.set(id, balance)
      for (const entry of [...entries]) callEach(entry.listeners, balance)
    } else if (bound) {
      callEach(asked.listeners, last) // Another name of the wallet knew it already.
    }
    return id
  }

  /** Whether this row of a wallet's dense sequence is new to us; a reconnect repeats some. */
  acceptSeq(id: string, seq: number): boolean {
    if (!this.wants(id) || seq <= (this.#lastSeq.get(id) ?? -1)) return false
    this.#lastSeq.set(id, seq)
    return true
  }

  /** The last row of a wallet that was seen, or undefined where it has shown none yet. */
  lastSeqOf(id: string): number | undefined {
    return this.#lastSeq.get(id)
  }
}
