import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { StripeFailure } from './failure.ts'
import type { FaultRule, Faults } from './faults.ts'
import { decodeForm, type Form } from './form.ts'
import { type Asked, checkKey, failureAnswer, handle } from './handle.ts'
import { type Answer, createIdempotency, type Idempotency } from './idempotency.ts'
import type { World } from './world.ts'

/** A request as it came, and what became of it. */
export interface RequestRecord {
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** The parameters, of the query or of the body. */
  readonly params: Form
  readonly idempotencyKey: string | null
  readonly apiVersion: string | null
  readonly requestId: string
  fault: FaultRule['how'] | null
  replayed: boolean
  /** Null as long as, or because, there was no answer. */
  status: number | null
}

export interface Server {
  readonly port: number
  close(): Promise<void>
}

export async function listen(world: World, faults: Faults, requests: RequestRecord[]): Promise<Server> {
  const keys = createIdempotency(() => world.clock.now())
  const server = createServer((req, res) => {
    // A client that went away has nothing to be told.
    answer({ world, faults, requests, keys }, req, res).catch(() => res.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening on a port')
  return {
    port: address.port,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

interface Parts {
  readonly world: World
  readonly faults: Faults
  readonly requests: RequestRecord[]
  readonly keys: Idempotency
}

async function answer(parts: Parts, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { asked, record } = await read(parts, req)
  const fault = parts.faults.strike(asked.method, asked.path)
  record.fault = fault?.how ?? null
  if (fault?.how === 'timeout') return
  if (fault?.how === 'drop') return void req.socket.resetAndDestroy()
  const retry = fault && (fault.shouldRetry ?? SHOULD_RETRY[fault.how])
  let sent: Answer
  try {
    checkKey(parts.world, asked.authorization)
    const early = fault && EARLY[fault.how]
    if (early) throw early
    const work = await carryOut(parts, asked, fault)
    sent = work.answer
    record.replayed = work.replayed
  } catch (error) {
    sent = { requestId: asked.requestId, ...failureAnswer(error) }
  }
  if (fault?.how === 'drop-after') return void req.socket.resetAndDestroy()
  record.status = sent.status
  send(res, asked, sent, record.replayed, typeof retry === 'boolean' ? { 'Stripe-Should-Retry': String(retry) } : {})
}

async function read({ world, requests }: Parts, req: IncomingMessage): Promise<{ asked: Asked; record: RequestRecord }> {
  const [path = '', query = ''] = (req.url ?? '').split('?')
  const method = req.method ?? 'GET'
  const body = await text(req)
  const requestId = world.id('req')
  const header = req.headers['idempotency-key']
  const idempotencyKey = typeof header === 'string' ? header : null
  const form = decodeForm(method === 'POST' ? body : query)
  const version = req.headers['stripe-version']
  const record: RequestRecord = {
    ...{ method, path, params: form, idempotencyKey, requestId },
    ...{ apiVersion: typeof version === 'string' ? version : null, fault: null, replayed: false, status: null },
  }
  requests.push(record)
  return { asked: { method, path, form, requestId, idempotencyKey, authorization: req.headers.authorization }, record }
}

/** A lock is soon free; an answer that is kept stays the same. */
const SHOULD_RETRY: Partial<Record<FaultRule['how'], boolean>> = { error409: true, 'error500-after': false }

/** The faults that strike before anything is done. */
const EARLY: Partial<Record<FaultRule['how'], StripeFailure>> = {
  error409: new StripeFailure(409, {
    type: 'invalid_request_error',
    code: 'lock_timeout',
    message: 'This object cannot be accessed right now because another API request or Stripe process is currently accessing it.',
  }),
  error429: new StripeFailure(429, { type: 'invalid_request_error', code: 'rate_limit', message: 'Request rate limit exceeded.' }),
  error500: new StripeFailure(500, { type: 'api_error', message: 'An unexpected error occurred.' }),
}
const FAILED = JSON.stringify({ error: { type: 'api_error', message: 'An unexpected error occurred.' } })

async function carryOut({ world, keys }: Parts, asked: Asked, fault: FaultRule | null): Promise<{ answer: Answer; replayed: boolean }> {
  const key = asked.method === 'POST' ? asked.idempotencyKey : null
  const before = key === null ? null : keys.begin(key, `${asked.path} ${JSON.stringify(asked.form)}`)
  if (before) return { answer: before, replayed: true }
  // The key is held meanwhile, as by a request that takes its time.
  if (fault?.how === 'delay') await sleep(fault.delayMs ?? 100)
  const { began, ...done } = handle(world, asked)
  const answer = fault?.how === 'error500-after' ? { ...done, status: 500, body: FAILED } : done
  if (key !== null) keys.finish(key, began ? answer : null)
  return { answer, replayed: false }
}

function send(res: ServerResponse, asked: Asked, sent: Answer, replayed: boolean, extra: Record<string, string>): void {
  res.writeHead(sent.status, {
    'Content-Type': 'application/json',
    'Request-Id': asked.requestId,
    ...(asked.idempotencyKey === null ? {} : { 'Idempotency-Key': asked.idempotencyKey }),
    ...(replayed ? { 'Idempotent-Replayed': 'true', 'Original-Request': sent.requestId } : {}),
    ...extra,
  })
  res.end(sent.body)
}
