/** Events on their way to a webhook endpoint: the exact bytes, signed, over HTTP. */
import { setTimeout as sleep } from 'node:timers/promises'
import type Stripe from 'stripe'
import { signWebhook } from './sign.ts'
import type { World } from './world.ts'

export interface DeliverOptions {
  readonly secret: string
  /** Seconds; when it is sent by default. */
  readonly timestamp?: number
}

/** The bytes of a delivery: indented, so that whoever parses and writes them again has other bytes. */
export const webhookPayload = (event: Stripe.Event): string => JSON.stringify(event, null, 2)

/** Sends the event once, and returns the status of the answer. */
export async function deliver(event: Stripe.Event, url: string, { secret, timestamp }: DeliverOptions): Promise<number> {
  const payload = webhookPayload(event)
  const signature = signWebhook(payload, secret, timestamp === undefined ? {} : { timestamp })
  const answer = await fetch(url, {
    method: 'POST',
    body: payload,
    headers: {
      'Content-Type': 'application/json; charset=utf-8',
      'Stripe-Signature': signature,
      'User-Agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
    },
  })
  await answer.arrayBuffer()
  return answer.status
}

export interface AutoDeliverOptions {
  readonly url: string
  readonly secret: string
  /** How often at most an event is sent. */
  readonly attemptsMax?: number
  readonly retryMs?: number
  /** How many are under way at a time; more than one, and they overtake each other as Stripe's do. */
  readonly concurrency?: number
}

export interface AutoDelivery {
  readonly delivered: number
  /** Those that nobody took, however often. */
  readonly failed: readonly Stripe.Event[]
  /** Waits until nothing is under way. */
  settled(): Promise<void>
  /** No further events; those under way go on. */
  stop(): void
}

const ATTEMPTS_MAX = 5
const RETRY_MS = 50
const CONCURRENCY = 8

export function autoDeliver(
  world: World,
  { url, secret, attemptsMax = ATTEMPTS_MAX, retryMs = RETRY_MS, concurrency = CONCURRENCY }: AutoDeliverOptions,
): AutoDelivery {
  const queue: Stripe.Event[] = []
  const failed: Stripe.Event[] = []
  const workers = new Set<Promise<void>>()
  let delivered = 0

  async function send(event: Stripe.Event): Promise<void> {
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      const status = await deliver(event, url, { secret }).catch(() => 0)
      if (status >= 200 && status < 300) {
        delivered += 1
        return
      }
      if (attempt < attemptsMax) await sleep(retryMs * attempt)
    }
    failed.push(event)
  }

  async function work(): Promise<void> {
    for (let event = queue.shift(); event; event = queue.shift()) await send(event)
  }

  const listener = (event: Stripe.Event) => {
    queue.push(event)
    if (workers.size >= concurrency) return
    const worker: Promise<void> = work().finally(() => workers.delete(worker))
    workers.add(worker)
  }
  world.listeners.add(listener)
  return {
    get delivered() {
      return delivered
    },
    failed,
    async settled() {
      while (workers.size > 0) await Promise.all(workers)
    },
    stop: () => void world.listeners.delete(listener),
  }
}
