import { setTimeout as sleep } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import { Failure } from '../command.ts'

/** Calls of a service before and after the replay: few, one by one, each tried again while the service is away. */

export interface Reply {
  readonly status: number
  readonly body: Record<string, unknown>
}

export interface Target {
  readonly dispatcher: Dispatcher
  readonly origin: string
  readonly authorization: string
  readonly retryForMs: number
}

const RETRY_PAUSE_MS = 250
const REQUEST_MS_MAX = 15_000

export async function call(target: Target, method: 'GET' | 'POST', path: string, body?: object, idempotencyKey?: string): Promise<Reply> {
  const { dispatcher, origin, authorization, retryForMs } = target
  const deadline = Date.now() + retryForMs
  for (;;) {
    let trouble: string
    try {
      const answer = await dispatcher.request({
        origin,
        path,
        method,
        headers: {
          authorization,
          ...(body && { 'content-type': 'application/json' }),
          ...(idempotencyKey && { 'idempotency-key': idempotencyKey }),
        },
        body: body ? JSON.stringify(body) : null,
        headersTimeout: REQUEST_MS_MAX,
        bodyTimeout: REQUEST_MS_MAX,
      })
      const reply = { status: answer.statusCode, body: parse(await answer.body.text(), origin, path) }
      if (reply.status < 400 || reply.body.retryable !== true) return reply
      trouble = `it answers ${reply.status} ${String(reply.body.code)}`
    } catch (error) {
      if (error instanceof Failure) throw error
      trouble = reasonOf(error)
    }
    if (Date.now() > deadline)
      throw new Failure(`The service at ${origin} cannot be reached: ${trouble}. Is it running? (farebox start; --url names another one)`)
    await sleep(RETRY_PAUSE_MS)
  }
}

/** The same, where any other status than these is the end. @throws Failure with what the service said */
export async function expect(statuses: readonly number[], doing: string, reply: Promise<Reply>): Promise<Reply> {
  const { status, body } = await reply
  if (statuses.includes(status)) return { status, body }
  throw new Failure(`${doing}: the service answers ${status} ${String(body.code ?? '')}: ${String(body.detail ?? '')}`)
}

/** Runs some work for each number below `count`, a few at a time. */
export async function forEach(count: number, atOnce: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const runner = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, runner))
}

function parse(text: string, origin: string, path: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    throw new Failure(`${origin}${path} is not a farebox: its answer is no JSON.`)
  }
}

/** A reason in a few words: the code that the system gives, where there is one. */
export function reasonOf(error: unknown): string {
  const { code, message, cause } = error as NodeJS.ErrnoException & { cause?: NodeJS.ErrnoException }
  return code ?? cause?.code ?? message
}
