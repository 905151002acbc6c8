import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Bus, BusListener } from './bus.ts'
import { REALTIME_TIMES, type RealtimeTimes } from './times.ts'

/**
 * Redis pub/sub, a channel a wallet, subscribed to only where somebody listens. It loses messages over every restart without an
 * error, so this only carries them quickly; what is lost is found by comparing (`feed.ts`).
 */

const CHANNEL_PREFIX = 'farebox:wallet:'
/** Publishes that have not been answered; beyond that they are dropped, and found by comparing. */
const UNANSWERED_MAX = 10_000
const COMMAND_MS_MAX = 2_000
const CONNECT_MS_MAX = 3_000
const RETRY_MS_MAX = 2_000
/** Whoever joins a wallet waits no longer for Redis to agree. */
const SUBSCRIBE_MS_MAX = 1_000
const CHANNELS_AT_ONCE = 1_000
/** The last messages of a process that stops. */
const GOODBYE_MS_MAX = 500

export interface BusLog {
  warn(fields: object, message: string): void
}

/** Connects at once and for ever; without Redis everything but the speed stays as it is. */
export function createRedisBus(url: string, log: BusLog, times: RealtimeTimes = REALTIME_TIMES): Bus {
  const common = {
    connectTimeout: CONNECT_MS_MAX,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt: number) => Math.min(RETRY_MS_MAX, 50 * 2 ** Math.min(attempt, 6)) * (0.5 + Math.random() / 2),
  }
  const publisher = new Redis(url, { ...common, commandTimeout: COMMAND_MS_MAX, enableAutoPipelining: true })
  // Channels are subscribed to anew by `resubscribe`, which knows what is wanted by then.
  const subscriber = new Redis(url, { ...common, autoResubscribe: false })
  const wanted = new Set<string>()
  let listener: BusListener | null = null
  let unanswered = 0
  let isUp = false
  let closed = false
  let said = ''

  for (const client of [publisher, subscriber]) {
    client.on('error', (error: Error) => {
      // One line a reason: a Redis that is away says the same every second.
      if (!closed && error.message !== said) log.warn({ err: error }, 'Redis cannot be reached; the feed goes on by comparing')
      said = error.message
    })
  }
  subscriber.on('ready', () => void resubscribe())
  subscriber.on('close', () => {
    isUp = false
  })
  subscriber.on('message', (channel: string, message: string) => listener?.onMessage(channel.slice(CHANNEL_PREFIX.length), message))

  /** Wallets that are added meanwhile subscribe by themselves: the connection is ready. */
  async function resubscribe(): Promise<void> {
    try {
      const channels = [...wanted].map((id) => CHANNEL_PREFIX + id)
      for (let from = 0; from < channels.length; from += CHANNELS_AT_ONCE) {
        // Not those that were given up since: their messages would come for nobody.
        const some = channels.slice(from, from + CHANNELS_AT_ONCE).filter((channel) => wanted.has(channel.slice(CHANNEL_PREFIX.length)))
        if (some.length > 0) await subscriber.subscribe(...some)
      }
      said = ''
      isUp = true
      listener?.onGap()
    } catch {
      // The connection broke again: the next `ready` goes on.
      subscriber.disconnect(true)
    }
  }

  /** A hung Redis keeps its connections open, and so does a lost network: only an answer shows that they live. */
  function look(client: Redis): void {
    const giveUp = () => {
      if (client === subscriber) isUp = false
      client.disconnect(true)
    }
    // Connected, but no word of Redis since the last look.
    const isStuck = client.status === 'connect' && stuck.has(client)
    if (isStuck) giveUp()
    if (client.status === 'connect' && !isStuck) stuck.add(client)
    else stuck.delete(client)
    if (client.status !== 'ready') return
    const silence = setTimeout(giveUp, times.watchdogAnswerMs)
    client.ping().then(
      () => clearTimeout(silence),
      // The end of the connection, not that of the publisher's patience.
      () => client.status !== 'ready' && clearTimeout(silence),
    )
  }
  const stuck = new Set<Redis>()
  const watchdog = setInterval(() => {
    for (const client of [publisher, subscriber]) look(client)
  }, times.watchdogMs)
  watchdog.unref()

  return {
    publish(walletId, message) {
      if (unanswered >= UNANSWERED_MAX || publisher.status !== 'ready') return
      unanswered += 1
      const answered = () => {
        unanswered -= 1
      }
      publisher.publish(CHANNEL_PREFIX + walletId, message()).then(answered, answered)
    },
    subscribe(walletId) {
      wanted.add(walletId)
      // Not ready: `resubscribe` will be, and says so.
      if (subscriber.status !== 'ready') return Promise.resolve()
      return new Promise((resolve) => {
        let late = false
        const patience = setTimeout(() => {
          late = true
          resolve()
        }, SUBSCRIBE_MS_MAX)
        const agreed = () => {
          clearTimeout(patience)
          resolve()
          if (late) listener?.onGap()
        }
        subscriber.subscribe(CHANNEL_PREFIX + walletId).then(agreed, () => {
          clearTimeout(patience)
          resolve()
          subscriber.disconnect(true)
        })
      })
    },
    unsubscribe(walletId) {
      wanted.delete(walletId)
      if (subscriber.status === 'ready') subscriber.unsubscribe(CHANNEL_PREFIX + walletId).catch(() => {})
    },
    listen(to) {
      listener = to
    },
    get isUp() {
      return isUp
    },
    async close() {
      closed = true
      clearInterval(watchdog)
      const until = performance.now() + GOODBYE_MS_MAX
      while (unanswered > 0 && performance.now() < until) await sleep(10)
      publisher.disconnect()
      subscriber.disconnect()
    },
  }
}
