import type { Micro } from '../kernel/credits.ts'
import type { Instant } from '../kernel/time.ts'
import type { WalletChange } from '../ledger/changes.ts'
import type { Bus } from './bus.ts'
import { REALTIME_TIMES, type RealtimeTimes } from './times.ts'

/**
 * What the wallets that somebody looks at are like. A topic is one wallet's newest known state, fed by this process's own commits, by
 * the bus, and by comparing with the database, which alone is trusted: the other two are quick. Listeners are told of each newer
 * state and read it when they can send it.
 */

/** A wallet's figures at one version, amounts in micro-credits. */
export interface Figures {
  readonly walletId: string
  readonly version: number
  readonly balance: Micro
  readonly held: Micro
  readonly debt: Micro
  readonly lowBalanceThreshold: Micro | null
  /** The sequence number of the last ledger row. */
  readonly seq: number
  readonly asOf: Instant
}

export interface State extends Figures {
  readonly epoch: string
  readonly cause: { readonly type: string; readonly id: string | null }
}

/** Figures as the database has them now, and its epoch: it changes when the database was restored or failed over. */
export interface Snapshot {
  readonly epoch: string
  readonly figures: readonly Figures[]
}

export interface FeedReads {
  /** Wallets that are not there are left out. */
  snapshot(walletIds: readonly string[]): Promise<Snapshot>
}

export interface Listener {
  /** A topic that this listener joined has a newer state. */
  onState(topic: Topic): void
  /** Its available credits fell below the threshold, for the first time since they were above. */
  onLow(topic: Topic): void
}

/** One wallet that somebody looks at. */
export interface Topic {
  readonly walletId: string
  /** Null until its first snapshot is read. */
  readonly state: State | null
  /** The state as the text of a `wallet.balance` frame's parameters, made once for all listeners. */
  readonly text: string
  /** Whether less is available than the wallet's threshold. */
  readonly isLow: boolean
}

interface OwnTopic {
  readonly walletId: string
  state: State | null
  text: string
  isLow: boolean
  readonly listeners: Set<Listener>
  /** Resolves when the bus brings its messages. */
  readonly onBus: Promise<void>
  /** The newest that came before the first snapshot, which may be older. */
  early: Change | null
}

interface Change {
  readonly figures: Figures
  readonly cause: State['cause']
}

/** Wallets read at once when all are compared: what they take to read, nobody else is served. */
const COMPARED_AT_ONCE = 500

export interface FeedPorts {
  readonly reads: FeedReads
  readonly bus: Bus
  /** The text of a state, for all who are sent it. */
  readonly render: (state: State) => string
  readonly log: { warn(fields: object, message: string): void }
}

export class Feed {
  readonly #ports: FeedPorts
  readonly #times: RealtimeTimes
  readonly #topics = new Map<string, OwnTopic>()
  readonly #timer: NodeJS.Timeout
  #comparedAt = performance.now()
  /** When what is shown was last known to be what the database has. */
  #soundAt = performance.now()
  #comparing = false
  #gap = false
  /** Resolves when the snapshot that is being read for joins is there. */
  #reading: Promise<unknown> = Promise.resolve()
  /** Joins that wait for it. */
  #joining: { readonly ids: Set<string>; readonly done: Promise<void> } | null = null

  constructor(ports: FeedPorts, times: RealtimeTimes = REALTIME_TIMES) {
    this.#ports = ports
    this.#times = times
    ports.bus.listen({
      onMessage: (walletId, message) => this.#onMessage(walletId, message),
      onGap: () => {
        this.#gap = true
        void this.#tick()
      },
    })
    this.#timer = setInterval(() => void this.#tick(), times.tickMs)
    this.#timer.unref()
  }

  /** Wallets that somebody looks at. */
  get size(): number {
    return this.#topics.size
  }

  /** Seconds since all that is shown was compared with the database; 0 while nobody looks. */
  get staleSeconds(): number {
    return this.#topics.size === 0 ? 0 : (performance.now() - this.#soundAt) / 1_000
  }

  /** What this process has just committed: shown here at once, told to the others. Never throws, never waits. */
  publish(changes: readonly WalletChange[]): void {
    for (const { wallet, cause } of changes) {
      const figures: Figures = {
        walletId: wallet.id,
        version: Number(wallet.version),
        balance: wallet.balance,
        held: wallet.held,
        debt: wallet.debt,
        lowBalanceThreshold: wallet.lowBalanceThreshold,
        seq: Number(wallet.transactionSeq),
        asOf: wallet.updatedAt,
      }
      const topic = this.#topics.get(wallet.id)
      if (topic) this.#take(topic, figures, cause)
      this.#ports.bus.publish(wallet.id, () => encode(figures, cause))
    }
  }

  /**
   * Joins wallets and resolves when each has a state that is no older than the call; from then on the listener is told of newer
   * ones. The bus is joined before the snapshot is read, so nothing falls between.
   * @returns the topics in the order asked for; null where there is no such wallet. @throws what the database says
   */
  async join(walletIds: readonly string[], listener: Listener): Promise<(Topic | null)[]> {
    const added = walletIds.filter((id) => !this.#topics.get(id)?.listeners.has(listener))
    const topics = walletIds.map((id) => this.#open(id, listener))
    try {
      await Promise.all(topics.map(({ onBus }) => onBus))
      // Also where others look already: what they see may be as old as the last comparison.
      await Promise.all(walletIds.map((id) => this.#readSoon(id)))
    } catch (error) {
      for (const id of added) this.leave(id, listener)
      throw error
    }
    return topics.map((topic) => {
      if (topic.state) return topic
      this.leave(topic.walletId, listener)
      return null
    })
  }

  leave(walletId: string, listener: Listener): void {
    const topic = this.#topics.get(walletId)
    if (!topic?.listeners.delete(listener) || topic.listeners.size > 0) return
    this.#topics.delete(walletId)
    this.#ports.bus.unsubscribe(walletId)
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#ports.bus.close()
  }

  #open(walletId: string, listener: Listener): OwnTopic {
    let topic = this.#topics.get(walletId)
    if (!topic) {
      // The first is read from the database at once.
      if (this.#topics.size === 0) this.#soundAt = performance.now()
      const onBus = this.#ports.bus.subscribe(walletId)
      topic = { walletId, state: null, text: '', isLow: false, listeners: new Set(), onBus, early: null }
      this.#topics.set(walletId, topic)
    }
    topic.listeners.add(listener)
    return topic
  }

  /** One snapshot at a time: wallets that are joined while it is read are read together with the next one. */
  #readSoon(walletId: string): Promise<void> {
    if (!this.#joining) {
      const ids = new Set<string>()
      const done = this.#reading.then(() => {
        this.#joining = null
        return this.#compare([...ids])
      })
      this.#reading = done.catch(() => {})
      this.#joining = { ids, done }
    }
    this.#joining.ids.add(walletId)
    return this.#joining.done
  }

  #onMessage(walletId: string, message: string): void {
    const topic = this.#topics.get(walletId)
    if (!topic) return
    const decoded = decode(walletId, message)
    if (decoded) this.#take(topic, decoded.figures, decoded.cause)
  }

  /** A state that is newer than what is known is shown. Before the first snapshot nothing is: it tells the epoch. */
  #take(topic: OwnTopic, figures: Figures, cause: State['cause'], epoch = topic.state?.epoch): void {
    if (epoch === undefined) {
      // The snapshot that is being read may have been taken before this change.
      if (!topic.early || topic.early.figures.version < figures.version) topic.early = { figures, cause }
      return
    }
    const before = topic.state
    if (before && before.epoch === epoch && figures.version <= before.version) return
    const state = { ...figures, epoch, cause }
    topic.state = state
    topic.text = this.#ports.render(state)
    const low = isLow(state)
    const fell = before !== null && low && !topic.isLow
    topic.isLow = low
    if (before === null) {
      const { early } = topic
      topic.early = null
      if (early) this.#take(topic, early.figures, early.cause)
      return
    }
    for (const listener of topic.listeners) {
      listener.onState(topic)
      if (fell) listener.onLow(topic)
    }
  }

  async #tick(): Promise<void> {
    const { compareMs, compareDownMs } = this.#times
    const every = this.#ports.bus.isUp ? compareMs : compareDownMs
    if (this.#comparing || this.#topics.size === 0) return
    if (!this.#gap && performance.now() - this.#comparedAt < every) return
    this.#comparing = true
    this.#gap = false
    this.#comparedAt = performance.now()
    try {
      await this.#compare([...this.#topics.keys()])
      this.#soundAt = this.#comparedAt
    } catch (error) {
      // Tried again after as long as without a bus: what is shown may be old until then.
      this.#comparedAt = performance.now() - every + compareDownMs
      this.#ports.log.warn({ err: error }, 'the feed could not be compared with the database')
    } finally {
      this.#comparing = false
    }
  }

  async #compare(ids: readonly string[]): Promise<void> {
    for (let from = 0; from < ids.length; from += COMPARED_AT_ONCE) {
      const { epoch, figures } = await this.#ports.reads.snapshot(ids.slice(from, from + COMPARED_AT_ONCE))
      for (const one of figures) {
        const topic = this.#topics.get(one.walletId)
        if (topic) this.#take(topic, one, { type: 'resync', id: null }, epoch)
      }
    }
  }
}

function isLow({ balance, held, lowBalanceThreshold }: Figures): boolean {
  return lowBalanceThreshold !== null && balance - held < lowBalanceThreshold
}

type Encoded = readonly [
  version: number,
  balance: string,
  held: string,
  debt: string,
  threshold: string | null,
  seq: number,
  asOf: Instant,
  type: string,
  id: string | null,
]

function encode(figures: Figures, cause: State['cause']): string {
  const { version, balance, held, debt, lowBalanceThreshold, seq, asOf } = figures
  const threshold = lowBalanceThreshold === null ? null : lowBalanceThreshold.toString()
  const encoded: Encoded = [version, balance.toString(), held.toString(), debt.toString(), threshold, seq, asOf, cause.type, cause.id]
  return JSON.stringify(encoded)
}

/** Null for what no Farebox wrote. */
function decode(walletId: string, message: string): { figures: Figures; cause: State['cause'] } | null {
  try {
    const [version, balance, held, debt, threshold, seq, asOf, type, id] = JSON.parse(message) as Encoded
    if (!Number.isSafeInteger(version) || !Number.isSafeInteger(seq) || !Number.isSafeInteger(asOf) || typeof type !== 'string') return null
    const figures: Figures = {
      walletId,
      version,
      balance: BigInt(balance),
      held: BigInt(held),
      debt: BigInt(debt),
      lowBalanceThreshold: threshold === null ? null : BigInt(threshold),
      seq,
      asOf,
    }
    return { figures, cause: { type, id } }
  } catch {
    return null
  }
}
