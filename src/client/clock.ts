/** Time as the client needs it; a test brings its own. */
export interface Clock {
  /** Runs `then` once after `ms` milliseconds, unless the function returned is called before. */
  after(ms: number, then: () => void): () => void
}

export const systemClock: Clock = {
  after(ms, then) {
    const timer = setTimeout(then, ms)
    return () => clearTimeout(timer)
  },
}

/** The timers of something that ends, and with it all of them: afterwards none starts any more. */
export class Timers implements Clock {
  readonly #clock: Clock
  readonly #waiting = new Set<() => void>()
  #ended = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  after(ms: number, then: () => void): () => void {
    if (this.#ended) return () => {}
    const stop = this.#clock.after(ms, () => {
      this.#waiting.delete(cancel)
      then()
    })
    const cancel = () => {
      this.#waiting.delete(cancel)
      stop()
    }
    this.#waiting.add(cancel)
    return cancel
  }

  end(): void {
    this.#ended = true
    for (const cancel of [...this.#waiting]) cancel()
  }
}

const DELAY_MS_MIN = 500
const DELAY_MS_MAX = 30_000

/**
 * Milliseconds to wait after the `attempt`-th failure, from 0: anything up to a bound that doubles, so that clients which lost
 * the same server do not return together.
 *
 * @param random gives 0 ≤ x < 1
 */
export function jitter(attempt: number, random: () => number): number {
  return random() * Math.min(DELAY_MS_MAX, DELAY_MS_MIN * 2 ** attempt)
}

/** A longer wait than this is the server's mistake. */
const RETRY_AFTER_SECONDS_MAX = 3_600

/** Milliseconds that a `retry_after_seconds` or Retry-After asks for; none for what is no number. */
export function retryAfterMs(seconds: unknown): number {
  return Math.min(Math.max(Number(seconds) || 0, 0), RETRY_AFTER_SECONDS_MAX) * 1000
}

/** What `make` gives. Rejects with its error, and with one of ours when it takes more than `ms` milliseconds. */
export function within<T>(ms: number, timers: Timers, make: () => T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = timers.after(ms, () => reject(new Error(`no answer within ${ms} ms`)))
    Promise.resolve().then(make).then(resolve, reject).finally(cancel)
  })
}
