/**
 * Counts of the present window, by key. They are this process's own, and never wait for anybody; where processes share a Redis they
 * tell each other twice a second what they have counted, so that a limit is one for all of them, give or take that half second.
 * While Redis is away each process counts for itself.
 */

/** Where processes add up what each of them has counted. */
export interface SharedCounters {
  /** False while nothing can be told. */
  readonly isUp: boolean
  /** Adds to the counts of a window and yields the sums, in the same order. */
  add(counts: readonly (readonly [key: string, count: number])[], windowMs: number): Promise<readonly number[]>
  close(): void
}

export interface Counted {
  /** The count with this one, those of other processes included as far as they are known. */
  readonly current: number
  /** Milliseconds to the end of the window. */
  readonly ttl: number
}

/** The longest that another process's counts are unknown. */
const TELL_MS = 500
/** Keys of one window; beyond that the oldest are forgotten. An attacker with that many addresses is no matter for limits. */
const KEYS_MAX = 50_000
/** Keys told of at once, so that a flood of addresses does not become one of Redis. */
const TOLD_MAX = 5_000

interface Count {
  own: number
  /** Of those, how many the others were told of. */
  told: number
  others: number
}

export class Counters {
  readonly #windowMs: number
  readonly #teller: NodeJS.Timeout | undefined
  #counts = new Map<string, Count>()
  #windowEnd = 0
  #telling = false

  constructor(windowMs: number, shared: SharedCounters | null) {
    this.#windowMs = windowMs
    if (shared) this.#teller = setInterval(() => void this.#tell(shared), TELL_MS).unref()
  }

  /** Counts one more. Windows begin at the same moment everywhere, so that processes mean the same one. */
  add(key: string): Counted {
    const now = Date.now()
    if (now >= this.#windowEnd || now < this.#windowEnd - this.#windowMs) {
      this.#counts = new Map()
      this.#windowEnd = (Math.floor(now / this.#windowMs) + 1) * this.#windowMs
    }
    let count = this.#counts.get(key)
    if (!count) {
      if (this.#counts.size >= KEYS_MAX) this.#counts.delete(this.#counts.keys().next().value as string)
      count = { own: 0, told: 0, others: 0 }
      this.#counts.set(key, count)
    }
    count.own += 1
    return { current: count.own + count.others, ttl: this.#windowEnd - now }
  }

  stop(): void {
    clearInterval(this.#teller)
  }

  async #tell(shared: SharedCounters): Promise<void> {
    if (this.#telling || !shared.isUp) return
    const news: [name: string, count: number, of: Count][] = []
    for (const [key, count] of this.#counts) {
      if (count.own > count.told) news.push([`${this.#windowEnd}:${key}`, count.own - count.told, count])
      if (news.length >= TOLD_MAX) break
    }
    if (news.length === 0) return
    // Told once, whatever comes of it: a lost answer must not count twice.
    for (const [, , count] of news) count.told = count.own
    this.#telling = true
    try {
      const told = news.map(([, , count]) => count.told)
      const sums = await shared.add(
        news.map(([name, added]) => [name, added]),
        this.#windowMs,
      )
      for (const [index, [, , count]] of news.entries()) {
        count.others = Math.max(0, (sums[index] as number) - (told[index] as number))
      }
    } catch {
      // Redis is away: each process counts for itself until it is back.
    } finally {
      this.#telling = false
    }
  }
}
