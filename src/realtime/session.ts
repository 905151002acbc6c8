import { fail, type Refusal } from '../kernel/errors.ts'
import type { Feed, Listener, Topic } from './feed.ts'
import { type Call, closing, failed, lowBalance, notification, parseCall, result } from './frames.ts'

/**
 * One socket. It sends the newest state of each wallet that it follows, as fast as its reader reads: what the reader has not taken
 * is replaced, not queued. It has no timers of its own; `sessions.ts` looks after all of them.
 */

/** The part of a WebSocket that a session uses. */
export interface Wire {
  readonly bufferedAmount: number
  send(text: string, done?: (error?: Error | null) => void): void
  ping(): void
  pong(data: Uint8Array): void
  /** Stops reading. */
  pause(): void
  close(code: number, reason: string): void
}

export interface SessionPorts {
  readonly feed: Feed
  /** Which wallets a caller means; those that are not its own or not there are refused. @throws FareboxError */
  resolve(wallets: readonly string[] | null): Promise<string[]>
  /** Ledger rows behind a sequence number up to one that was committed, in order, as frame parameters. */
  transactions(walletId: string, afterSeq: number, toSeq: number): Promise<readonly { readonly seq: number }[]>
  /** What to say of an error. */
  refusalOf(error: unknown): Refusal
  now(): string
}

/** Bytes that may wait in the socket before newer states replace older ones. */
const BUFFERED_MAX = 64 * 1024
/** Bytes that may wait for whoever calls and does not read the answers: a few of the longest. */
const UNREAD_MAX = 1024 * 1024
/** Checks, about one a second, during which a reader may take nothing. */
const STUCK_CHECKS_MAX = 10
const PING_CHECKS = 25
/** Checks without a sign of life, two pings among them: nobody is there. Counted, so that a pause of our own is none of theirs. */
const SILENT_CHECKS_MAX = 60
export const WALLETS_MAX = 1_000
/** Calls and pings a second, and how many at once after a pause. */
const CALLS_PER_SECOND = 20
const CALLS_BURST = 60
/** Ledger rows that one subscription may ask to be replayed. */
const REPLAY_MAX = 10_000

export const CLOSE = {
  protocol: 1008,
  restart: 1012,
  overloaded: 1013,
  unauthenticated: 4401,
  forbidden: 4403,
  silent: 4408,
  tooMany: 4429,
} as const

/** One wallet that the socket follows. A subscription made anew is a new one, so that what was under way for the old one ends. */
interface Follow {
  readonly topic: Topic
  /** The last ledger row that was sent; null where none are wanted. */
  sentSeq: number | null
  reading: boolean
}

export class Session implements Listener {
  readonly #wire: Wire
  readonly #ports: SessionPorts
  readonly #follows = new Map<string, Follow>()
  /** Wallets with a state that was not sent yet. */
  readonly #dirty = new Set<Topic>()
  /** Wallets that fell below their threshold, which was not said yet. */
  readonly #fallen = new Set<Topic>()
  /** Wallets with ledger rows that were not sent yet. */
  readonly #behind = new Set<Follow>()
  /** Calls are carried out one after the other: whoever subscribes and unsubscribes means it in this order. */
  #lastCall: Promise<void> = Promise.resolve()
  #callsWaiting = 0
  #callsLeft = CALLS_BURST
  #callsAt = performance.now()
  #flushing = false
  #stuckChecks = 0
  #silentChecks = 0
  /** At random, so that ten thousand sockets which came together are not all pinged together. */
  #checksToPing = 1 + Math.floor(Math.random() * PING_CHECKS)
  #over = false

  constructor(wire: Wire, ports: SessionPorts) {
    this.#wire = wire
    this.#ports = ports
  }

  /** A frame of the client. */
  receive(text: string): void {
    if (!this.#accept()) return
    const call = parseCall(text)
    if ('error' in call) {
      this.#send(call.error)
    } else if (call.method === 'session.ping') {
      // Tells whether this side lives, so it does not wait for the database.
      this.#send(result(call.id, JSON.stringify({ now: this.#ports.now() })))
    } else if (this.#callsWaiting >= CALLS_BURST) {
      this.#refuseMore()
    } else {
      this.#callsWaiting += 1
      this.#lastCall = this.#lastCall.then(() => this.#carryOut(call))
    }
  }

  /** A ping of the client. We answer it ourselves: ws would answer as many as there are. */
  pinged(data: Uint8Array): void {
    if (this.#accept() && this.#hasRoom()) this.#wire.pong(data)
  }

  ponged(): void {
    this.#accept()
  }

  onState(topic: Topic): void {
    this.#dirty.add(topic)
    this.#flushSoon()
  }

  onLow(topic: Topic): void {
    this.#fallen.add(topic)
  }

  /** Looks whether the reader still reads and the peer still lives. Called every second or so. */
  check(): void {
    if (this.#over) return
    this.#stuckChecks = this.#wire.bufferedAmount > BUFFERED_MAX ? this.#stuckChecks + 1 : 0
    this.#silentChecks += 1
    if (this.#silentChecks > SILENT_CHECKS_MAX) this.end(CLOSE.silent, 'no sign of life', 0)
    else if (this.#stuckChecks > STUCK_CHECKS_MAX) this.end(CLOSE.overloaded, 'reads too slowly', 1)
    else {
      this.#checksToPing -= 1
      if (this.#checksToPing <= 0) {
        this.#checksToPing = PING_CHECKS
        this.#wire.ping()
      }
      this.#flushSoon()
    }
  }

  /** Says why and closes. The words wait behind what is not read yet; the socket is cut if that takes too long. */
  end(code: number, reason: string, retryAfterSeconds: number): void {
    if (this.#over) return
    this.#wire.send(closing(code, reason, retryAfterSeconds))
    this.#wire.close(code, reason)
    this.forget()
  }

  /** Leaves all wallets; the socket is gone. */
  forget(): void {
    this.#over = true
    for (const walletId of this.#follows.keys()) this.#ports.feed.leave(walletId, this)
    for (const known of [this.#follows, this.#dirty, this.#fallen, this.#behind]) known.clear()
  }

  async #carryOut(call: Exclude<Call, { method: 'session.ping' }>): Promise<void> {
    if (this.#over) return
    try {
      const { wallets } = call.params
      const answer =
        call.method === 'wallet.unsubscribe'
          ? await this.#unsubscribe(wallets)
          : await this.#subscribe(wallets, call.params.transactions, call.params.afterSeq)
      this.#send(result(call.id, answer))
    } catch (error) {
      this.#send(failed(call.id, this.#ports.refusalOf(error)))
    } finally {
      this.#callsWaiting -= 1
    }
  }

  async #unsubscribe(wallets: readonly string[] | null): Promise<string> {
    const ids = wallets === null ? [...this.#follows.keys()] : await this.#ports.resolve(wallets)
    for (const id of ids) {
      this.#ports.feed.leave(id, this)
      this.#follows.delete(id)
    }
    return JSON.stringify({ wallets: ids.length })
  }

  async #subscribe(wallets: readonly string[] | null, transactions: boolean, afterSeq: number | null): Promise<string> {
    const ids = [...new Set(await this.#ports.resolve(wallets))]
    const added = ids.filter((id) => !this.#follows.has(id))
    if (this.#follows.size + added.length > WALLETS_MAX) {
      throw fail('too_many_subscriptions', `One socket follows at most ${WALLETS_MAX} wallets.`)
    }
    const topics = await this.#ports.feed.join(ids, this)
    if (this.#over) {
      for (const id of ids) this.#ports.feed.leave(id, this)
      return 'null'
    }
    const states: string[] = []
    for (const topic of topics) {
      if (!topic?.state) continue
      const { seq } = topic.state
      const from = Math.max(Math.min(afterSeq ?? seq, seq), seq - REPLAY_MAX)
      const follow: Follow = { topic, sentSeq: transactions ? from : null, reading: false }
      this.#follows.set(topic.walletId, follow)
      // What came meanwhile is in the answer, and the ledger rows follow it.
      this.#dirty.delete(topic)
      if (transactions) this.#behind.add(follow)
      states.push(topic.text)
    }
    this.#flushSoon()
    return `{"wallets":[${states.join(',')}]}`
  }

  /** All changes of one turn of the event loop go out together. */
  #flushSoon(): void {
    if (this.#flushing || this.#over || this.#dirty.size + this.#fallen.size + this.#behind.size === 0) return
    this.#flushing = true
    setImmediate(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  /** The reader took something: what had to wait for it goes next. */
  readonly #onSent = () => {
    this.#stuckChecks = 0
    this.#flushSoon()
  }

  #flush(): void {
    for (const topic of this.#dirty) {
      if (!this.#hasRoom()) return
      this.#dirty.delete(topic)
      const follow = this.#follows.get(topic.walletId)
      if (follow?.topic !== topic) continue
      this.#wire.send(notification('wallet.balance', topic.text), this.#onSent)
      if (follow.sentSeq !== null) this.#behind.add(follow)
    }
    for (const topic of this.#fallen) {
      if (!this.#hasRoom()) return
      this.#fallen.delete(topic)
      const isFollowed = this.#follows.get(topic.walletId)?.topic === topic
      if (isFollowed && topic.isLow && topic.state) this.#wire.send(lowBalance(topic.state), this.#onSent)
    }
    for (const follow of this.#behind) {
      if (!this.#hasRoom()) return
      this.#behind.delete(follow)
      void this.#sendTransactions(follow)
    }
  }

  /** Sends the ledger rows behind the last one sent, one reading at a time. */
  async #sendTransactions(follow: Follow): Promise<void> {
    if (follow.reading) return
    const { topic } = follow
    const isFollowed = () => this.#follows.get(topic.walletId) === follow
    follow.reading = true
    try {
      for (;;) {
        if (!isFollowed() || follow.sentSeq === null || !topic.state) return
        const { seq } = topic.state
        // Of another epoch, in which the ledger is shorter.
        if (follow.sentSeq > seq) follow.sentSeq = seq
        if (follow.sentSeq === seq) return
        const rows = await this.#ports.transactions(topic.walletId, follow.sentSeq, seq)
        if (!isFollowed()) return
        for (const row of rows) {
          this.#wire.send(notification('wallet.transaction', JSON.stringify(row)), this.#onSent)
          follow.sentSeq = row.seq
        }
        // The rest goes when the reader took this, or with the next check.
        if (rows.length === 0 || !this.#hasRoom()) {
          this.#behind.add(follow)
          return
        }
      }
    } catch (error) {
      this.#ports.refusalOf(error)
      if (isFollowed()) this.#behind.add(follow)
    } finally {
      follow.reading = false
    }
  }

  #send(text: string): void {
    if (this.#over) return
    if (this.#wire.bufferedAmount > UNREAD_MAX) this.end(CLOSE.overloaded, 'reads too slowly', 1)
    else this.#wire.send(text, this.#onSent)
  }

  #hasRoom(): boolean {
    return !this.#over && this.#wire.bufferedAmount <= BUFFERED_MAX
  }

  /** A frame of any kind is a sign of life, and takes one out of a bucket that fills up with time. */
  #accept(): boolean {
    if (this.#over) return false
    this.#silentChecks = 0
    const now = performance.now()
    this.#callsLeft = Math.min(CALLS_BURST, this.#callsLeft + ((now - this.#callsAt) / 1_000) * CALLS_PER_SECOND)
    this.#callsAt = now
    if (this.#callsLeft < 1) {
      this.#refuseMore()
      return false
    }
    this.#callsLeft -= 1
    return true
  }

  #refuseMore(): void {
    this.end(CLOSE.tooMany, 'too many frames', 1)
    // Reading on would only cost.
    this.#wire.pause()
  }
}
