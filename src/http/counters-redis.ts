import { Redis } from 'ioredis'
import type { SharedCounters } from './counters.ts'

const KEY_PREFIX = 'farebox:limit:'
const COMMAND_MS_MAX = 1_000
const CONNECT_MS_MAX = 3_000
const RETRY_MS_MAX = 2_000

/** Connects at once and for ever; nobody waits for it. */
export function createRedisCounters(url: string, log: { warn(fields: object, message: string): void }): SharedCounters {
  const redis = new Redis(url, {
    connectTimeout: CONNECT_MS_MAX,
    commandTimeout: COMMAND_MS_MAX,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(RETRY_MS_MAX, 50 * 2 ** Math.min(attempt, 6)) * (0.5 + Math.random() / 2),
  })
  let said = ''
  /** One line a reason: a Redis that is away says the same every second. */
  function say(error: Error, message: string): void {
    if (error.message !== said) log.warn({ err: error }, message)
    said = error.message
  }
  redis.on('error', (error: Error) => say(error, 'Redis cannot be reached; every process limits requests for itself'))
  redis.on('ready', () => {
    said = ''
  })
  return {
    get isUp() {
      return redis.status === 'ready'
    },
    async add(counts, windowMs) {
      const pipeline = redis.pipeline()
      for (const [key, count] of counts) {
        pipeline.incrby(KEY_PREFIX + key, count)
        // Kept for a window more: clocks differ.
        pipeline.pexpire(KEY_PREFIX + key, 2 * windowMs)
      }
      const answers = (await pipeline.exec()) ?? []
      const failed = answers.find(([error]) => error)?.[0]
      if (failed) {
        if (failed.name === 'ReplyError') say(failed, 'Redis refuses to count; every process limits requests for itself')
        // A hung Redis keeps its connection open; a new one shows whether it lives.
        else redis.disconnect(true)
        throw failed
      }
      return counts.map((_, index) => Number(answers[2 * index]?.[1]))
    },
    close: () => redis.disconnect(),
  }
}
