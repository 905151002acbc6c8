import { type Clock, systemClock, Timers } from './clock.ts'
import { Link } from './link.ts'
import { callEach, OWN, Store } from './store.ts'
import type { Balance, Emit, FareboxEvents, Status } from './types.ts'

export type { Clock } from './clock.ts'
export type { Balance, FareboxEvents, LowBalance, Reason, Refused, Status, Transaction } from './types.ts'

export interface FareboxOptions {
  /** Where Farebox answers: `https://credits.example.com`, in a page also `/` for the page's own host. */
  readonly url: string
  /** Gets a ticket (`POST /v1/realtime/tickets`, mostly by way of your backend). Asked anew for each attempt: a ticket is good once. */
  readonly ticket?: () => Promise<string> | string
  /** Gets a person's token. Opens the socket where there is no `ticket`; streams and polling, for networks that block sockets, need it. */
  readonly token?: () => Promise<string> | string
  /** Wallets to follow from the start and until the end, by id or owner. */
  readonly wallets?: readonly string[]
  /** Also follow the rows of the ledger, as `transaction` events. A row is told once; those missed while away are made up for. */
  readonly transactions?: boolean
  readonly fetch?: typeof globalThis.fetch
  readonly WebSocket?: typeof globalThis.WebSocket
  /** For tests. */
  readonly clock?: Clock
  /** For tests: gives 0 ≤ x < 1. */
  readonly random?: () => number
}

/** A connection to Farebox that keeps balances up to date by itself. Its functions need no `this`. */
export interface Farebox {
  readonly status: Status
  /** The newest state of a wallet (by default the caller's own), the same object until a figure changes. Undefined before the first. */
  get(wallet?: string): Balance | undefined
  /**
   * Follows a wallet, or the caller's own; `listener` hears of each new state and not of the present one. Returns what ends it; a
   * few seconds after the last has ended, the wallet is given up. The first subscription opens the connection.
   */
  subscribe(wallet: string | undefined, listener: (balance: Balance) => void): () => void
  /** Listens to events of the wallets that are subscribed to. Returns what ends it. */
  on<K extends keyof FareboxEvents>(event: K, listener: (value: FareboxEvents[K]) => void): () => void
  /** For good. What is known can still be read. */
  close(): void
}

/** Opens no connection yet. Throws a TypeError for options that cannot work: no `ticket` and no `token`, a bad `url`, no WebSocket. */
export function createFarebox(options: FareboxOptions): Farebox {
  const { ticket, token, clock = systemClock, WebSocket = globalThis.WebSocket } = options
  if (!ticket && !token) throw new TypeError('createFarebox needs a `ticket` or a `token`')
  if (!WebSocket) throw new TypeError('there is no WebSocket here: pass one')
  const page = globalThis as unknown as PageScope
  const url = new URL(options.url, page.location?.href).href.replace(/\/+$/, '')
  const listeners = new Map<keyof FareboxEvents, Set<{ call(value: never): void }>>()
  const emit: Emit = (event, value) => callEach(listeners.get(event) ?? [], value as never)

  const timers = new Timers(clock)
  const store: Store = new Store(timers, () => link.sync())
  const link: Link = new Link({
    ...{ url, ticket, token, store, emit, timers, WebSocket },
    transactions: options.transactions ?? false,
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    random: options.random ?? Math.random,
  })
  const unwatch = watchPage(page, () => link.wake())
  const on: Farebox['on'] = (event, listener) => {
    const added = { call: listener }
    const set = listeners.get(event) ?? new Set()
    listeners.set(event, set.add(added))
    return () => void set.delete(added)
  }
  on('status', ({ state }) => {
    if (state === 'closed') unwatch()
  })
  const subscribe: Farebox['subscribe'] = (wallet = OWN, listener) => store.want(wallet, listener)
  for (const wallet of options.wallets ?? []) subscribe(wallet, () => {})

  return {
    get status() {
      return link.status
    },
    get: (wallet = OWN) => store.get(wallet),
    subscribe,
    on,
    close: () => link.close('by_caller'),
  }
}

/** The parts of a page that Node lacks. */
interface PageScope extends Partial<Pick<EventTarget, 'addEventListener' | 'removeEventListener'>> {
  readonly location?: { readonly href: string }
  readonly document?: EventTarget & { readonly visibilityState: string }
}

/** Tells when the network comes or goes and when the page is looked at again. Returns what ends it; does nothing outside a page. */
function watchPage(page: PageScope, wake: () => void): () => void {
  const { document } = page
  const seen = () => {
    if (document?.visibilityState === 'visible') wake()
  }
  for (const event of ['online', 'offline']) page.addEventListener?.(event, wake)
  document?.addEventListener('visibilitychange', seen)
  return () => {
    for (const event of ['online', 'offline']) page.removeEventListener?.(event, wake)
    document?.removeEventListener('visibilitychange', seen)
  }
}
