import type { ServerResponse } from 'node:http'
import type { Feed, Listener, Topic } from './feed.ts'
import { balanceEvent, closingEvent, lowBalanceEvent } from './frames.ts'
import type { Connection } from './sessions.ts'

/** One wallet as server-sent events (html.spec.whatwg.org/multipage/server-sent-events.html), for networks that block sockets. */

/** Checks, about one a second: below the 15 s after which the server takes a silent connection for dead. */
const HEARTBEAT_CHECKS = 10
/** Checks during which a reader may take nothing. */
const STUCK_CHECKS_MAX = 10

export class Stream implements Listener, Connection {
  readonly #feed: Feed
  readonly #walletId: string
  readonly #response: ServerResponse
  #topic: Topic | null = null
  #dirty = false
  #fallen = false
  #checksToBeat = HEARTBEAT_CHECKS
  #stuckChecks = 0

  /** @param response whose head is written */
  constructor(feed: Feed, walletId: string, response: ServerResponse) {
    this.#feed = feed
    this.#walletId = walletId
    this.#response = response
    response.on('drain', this.#flush)
  }

  /** Sends the present state, and each newer one from then on. @throws what the database says */
  async start(): Promise<void> {
    const [topic = null] = await this.#feed.join([this.#walletId], this)
    this.#topic = topic
    this.#dirty = true
    if (this.#response.destroyed || this.#response.writableEnded) this.forget()
    else this.#flush()
  }

  /** Leaves the wallet; the connection is gone. */
  forget(): void {
    this.#feed.leave(this.#walletId, this)
  }

  onState(): void {
    this.#dirty = true
    setImmediate(this.#flush)
  }

  onLow(): void {
    this.#fallen = true
  }

  check(): void {
    this.#stuckChecks = this.#response.writableNeedDrain ? this.#stuckChecks + 1 : 0
    if (this.#stuckChecks > STUCK_CHECKS_MAX) {
      this.#response.destroy()
      return
    }
    this.#checksToBeat -= 1
    if (this.#checksToBeat <= 0 && !this.#response.writableNeedDrain) this.#write(': alive\n\n')
  }

  end(code: number, reason: string, retryAfterSeconds: number): void {
    this.forget()
    // There is no close code that could wait behind what is not read.
    if (this.#response.writableNeedDrain) this.#response.destroy()
    else if (!this.#response.writableEnded) this.#response.end(closingEvent(code, reason, retryAfterSeconds))
  }

  readonly #flush = (): void => {
    const state = this.#topic?.state
    if (!this.#dirty || !state || this.#response.writableNeedDrain) return
    this.#dirty = false
    this.#write(balanceEvent(state, this.#topic?.text ?? ''))
    if (this.#fallen && this.#topic?.isLow) this.#write(lowBalanceEvent(state))
    this.#fallen = false
  }

  #write(text: string): void {
    if (this.#response.destroyed || this.#response.writableEnded) return
    this.#checksToBeat = HEARTBEAT_CHECKS
    this.#response.write(text)
  }
}
