import { setImmediate as otherWork } from 'node:timers/promises'
import type { Principal } from '../auth/principal.ts'
import { CLOSE } from './session.ts'
import type { RealtimeTimes } from './times.ts'

/** All sockets and streams of this process: how many of whom, whether they live, and whether their credentials still count. */

const PER_PERSON_MAX = 50
const PER_KEY_MAX = 20_000
/** Connections looked at before other work has its turn: a second's checks and pings of ten thousand take ten milliseconds. */
const CHECKED_AT_ONCE = 100

export interface Connection {
  /** Looks whether the peer still lives and reads. Called every second or so. */
  check(): void
  /** Says why and closes. */
  end(code: number, reason: string, retryAfterSeconds: number): void
}

export class Sessions {
  readonly #open = new Map<Connection, Principal>()
  readonly #perActor = new Map<string, number>()
  readonly #isActive: (principal: Principal) => Promise<boolean>
  readonly #count: { inc(): void; dec(): void }
  readonly #timers: readonly NodeJS.Timeout[]
  #checking = false
  #closed = false

  /**
   * @param isActive whether a credential was not revoked; asked about each now and then
   * @param count counts along how many there are
   */
  constructor(
    isActive: (principal: Principal) => Promise<boolean>,
    times: Pick<RealtimeTimes, 'checkMs' | 'credentialMs'>,
    count: { inc(): void; dec(): void },
  ) {
    this.#isActive = isActive
    this.#count = count
    this.#timers = [
      setInterval(() => void this.#check(), times.checkMs),
      setInterval(() => void this.#checkCredentials(), times.credentialMs),
    ]
    for (const timer of this.#timers) timer.unref()
  }

  get size(): number {
    return this.#open.size
  }

  /** Takes a connection in, or ends it where its caller has too many. @returns whom to tell when it is gone; null when it was ended */
  add(connection: Connection, principal: Principal): (() => void) | null {
    const who = `${principal.clientId} ${principal.actor}`
    const count = this.#perActor.get(who) ?? 0
    if (this.#closed) connection.end(CLOSE.restart, 'restarting', 1)
    else if (count >= (principal.kind === 'user' ? PER_PERSON_MAX : PER_KEY_MAX)) connection.end(CLOSE.tooMany, 'too many sockets', 30)
    else {
      this.#perActor.set(who, count + 1)
      this.#open.set(connection, principal)
      this.#count.inc()
      return () => this.#remove(connection, who)
    }
    return null
  }

  /** Tells every client to come back later, and closes. */
  close(): void {
    this.#closed = true
    for (const timer of this.#timers) clearInterval(timer)
    for (const connection of this.#open.keys()) connection.end(CLOSE.restart, 'restarting', 1)
  }

  #remove(connection: Connection, who: string): void {
    if (!this.#open.delete(connection)) return
    this.#count.dec()
    const left = (this.#perActor.get(who) ?? 1) - 1
    if (left > 0) this.#perActor.set(who, left)
    else this.#perActor.delete(who)
  }

  async #check(): Promise<void> {
    if (this.#checking) return
    this.#checking = true
    const now = Date.now()
    let checked = 0
    for (const [connection, { expiresAt }] of this.#open) {
      if (this.#closed) break
      if (expiresAt !== null && now >= expiresAt) connection.end(CLOSE.unauthenticated, 'the credential ended', 0)
      else connection.check()
      checked += 1
      if (checked % CHECKED_AT_ONCE === 0) await otherWork()
    }
    this.#checking = false
  }

  async #checkCredentials(): Promise<void> {
    // What is asked of a person's token is whether its client is there: one question for all of them.
    const credentialOf = ({ kind, clientId, credentialHash }: Principal) => (kind === 'user' ? clientId : credentialHash)
    const byCredential = Map.groupBy(this.#open, ([, principal]) => credentialOf(principal))
    for (const connections of byCredential.values()) {
      const principal = connections[0]?.[1]
      // A database that is away has not revoked anything.
      const active = principal ? await this.#isActive(principal).catch(() => true) : true
      if (active) continue
      for (const [connection] of connections) connection.end(CLOSE.unauthenticated, 'the credential was revoked', 0)
    }
  }
}
