import type { Counter, StartCounter } from './counter.ts'
import { type Encoding, encodingOf } from './encoding.ts'

/** The longest text to be counted, in UTF-16 units. The slowest of this length (characters at random from all of Unicode) take half a second. */
export const TEXT_LENGTH_MAX = 256 * 1024

/** Texts of an encoding that wait or are being counted, in UTF-16 units: what is over does not wait two seconds to be counted. */
const PENDING_LENGTH_MAX = 4 * TEXT_LENGTH_MAX

/** A shorter text takes this much of it, so that texts are bounded in number as well, at 1,024. */
const PENDING_LENGTH_MIN = 1024

/** A counter that takes longer is stuck: it is given up, with all that waits for it. */
const COUNT_MS_MAX = 10_000

/** How long estimates are rough before a counter that failed is started again. */
const RETRY_MS = 30_000

const BYTES_PER_TOKEN = 4

/**
 * `tokenizer`: by the model's own encoding. `approximate`: by OpenAI's o200k, for another provider's model; real counts may be some tens
 * of percent higher. `characters`: four UTF-8 bytes to a token, which are four letters of English, because the text is too long, too
 * many are being counted, or the tokenizer cannot be loaded.
 */
export type EstimateMethod = 'tokenizer' | 'approximate' | 'characters'

export interface TokenEstimate {
  readonly tokens: number
  readonly method: EstimateMethod
}

export interface Estimator {
  /**
   * Tokens of a text as the model would read it: of the text alone, without what a provider adds around messages (three or four tokens
   * each), tools and images. Special tokens in it count as the text that they are. Always answers, in the worst case by `characters`.
   */
  countTokens(model: string, provider: string | null, text: string): Promise<TokenEstimate>
  /** Stops the counters. What is being counted, and all that comes later, is answered by `characters`. */
  close(): Promise<void>
}

interface Log {
  warn(fields: object, message: string): void
}

/** A counter is started with the first text of its encoding, one for all, and again some time after it failed. */
export function createEstimator(startCounter: StartCounter, log: Log): Estimator {
  const queues = new Map<Encoding, CountQueue>()
  let closed = false

  function queueOf(encoding: Encoding): CountQueue {
    let queue = queues.get(encoding)
    if (queue === undefined) {
      queue = new CountQueue(encoding, startCounter, log)
      queues.set(encoding, queue)
    }
    return queue
  }

  return {
    async countTokens(model, provider, text) {
      const { encoding, method } = encodingOf(model, provider)
      const tokens = closed ? null : await queueOf(encoding).count(text)
      return tokens === null ? roughly(text) : { tokens, method }
    },
    async close() {
      closed = true
      await Promise.all(Array.from(queues.values(), (queue) => queue.stop()))
    },
  }
}

function roughly(text: string): TokenEstimate {
  return { tokens: Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN), method: 'characters' }
}

/** What waits for one encoding's counter. Times are milliseconds of performance.now(). */
class CountQueue {
  readonly #encoding: Encoding
  readonly #startCounter: StartCounter
  readonly #log: Log
  #counter: Counter | null = null
  #retryAt = 0
  #pendingLength = 0

  constructor(encoding: Encoding, startCounter: StartCounter, log: Log) {
    this.#encoding = encoding
    this.#startCounter = startCounter
    this.#log = log
  }

  /** Tokens, or null when the text cannot be counted now. Never throws. */
  async count(text: string): Promise<number | null> {
    const length = Math.max(text.length, PENDING_LENGTH_MIN)
    if (text.length > TEXT_LENGTH_MAX || this.#pendingLength + length > PENDING_LENGTH_MAX) return null
    if (this.#counter === null && performance.now() < this.#retryAt) return null
    let counter: Counter | null = null
    this.#pendingLength += length
    try {
      this.#counter ??= this.#startCounter(this.#encoding)
      counter = this.#counter
      return await within(COUNT_MS_MAX, counter.count(text))
    } catch (error) {
      this.#giveUp(counter, error)
      return null
    } finally {
      this.#pendingLength -= length
    }
  }

  async stop(): Promise<void> {
    const counter = this.#counter
    this.#counter = null
    await counter?.stop()
  }

  /** All that waited for a counter fail with it; the first of them starts the time until the next attempt. */
  #giveUp(counter: Counter | null, error: unknown): void {
    if (this.#counter !== counter) return
    this.#counter = null
    this.#retryAt = performance.now() + RETRY_MS
    this.#log.warn({ err: error, encoding: this.#encoding }, 'tokens cannot be counted for now: estimates are made from the length')
    counter?.stop().catch((reason: unknown) => this.#log.warn({ err: reason }, 'a token counter could not be stopped'))
  }
}

/** @throws when the promise does, or has not settled within so many milliseconds */
async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`no answer within ${ms} ms`)), ms)
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
