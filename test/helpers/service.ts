import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import pg from 'pg'
import type { Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import { createClient } from '../../src/auth/create-client.ts'
import { issueKey } from '../../src/auth/issue-key.ts'
import type { Change } from '../../src/auth/key-store.ts'
import { SCOPES, type Scope } from '../../src/auth/principal.ts'
import { type Config, paymentsOf, readConfig } from '../../src/config.ts'
import { sweep } from '../../src/jobs/sweep.ts'
import { toWireId } from '../../src/kernel/ids.ts'
import { INVARIANTS } from '../../src/ledger/invariants.ts'
import { verify } from '../../src/ledger/verify-pg.ts'
import { createLogger, type LogLevel } from '../../src/platform/logger.ts'
import { seedLists } from '../../src/prepare.ts'
import { inForce, type ModelListing } from '../../src/pricing/prices.ts'
import { createRooms, type RoomOptions, type Rooms } from '../../src/wire.ts'
import { createTestDatabase } from './database.ts'

/**
 * The whole service as it runs: real rooms and a real application on a database of its own, with the first price list. Everything
 * is closed when the test is over.
 */

export const JWT_SECRET = 'a secret of more than thirty-two bytes, for tests'

/** Every scope that a backend can have without being an admin. */
export const BACKEND_SCOPES: readonly Scope[] = SCOPES.filter((scope) => scope !== 'admin')

// biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of every form
export type Body = any

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The body as it was sent. */
  readonly text: string
  /** The body parsed, or null where it is no JSON. */
  readonly body: Body
}

export interface Send {
  /** The credential; the main client's key when absent, none when null. */
  readonly key?: string | null
  /** A new one for each request when absent, none when null. */
  readonly idempotencyKey?: string | null
  readonly headers?: Readonly<Record<string, string>>
}

type Transport = (request: { method: string; path: string; headers: Record<string, string>; payload?: string }) => Promise<Answer>

/** Requests over one transport. */
export interface Caller {
  /** @param body an object to be sent as JSON, or a text to be sent as it is */
  send(method: string, path: string, body?: object | string | null, options?: Send): Promise<Answer>
  post(path: string, body?: object | string | null, options?: Send): Promise<Answer>
  patch(path: string, body?: object | string | null, options?: Send): Promise<Answer>
  get(path: string, options?: Send): Promise<Answer>
  /** A POST that has to succeed; its body. */
  made(path: string, body?: object, options?: Send): Promise<Body>
}

export interface ClientOfService {
  readonly id: string
  readonly wireId: string
  readonly name: string
  /** A key with every scope but `admin`. */
  readonly key: string
}

/** One process's worth of Farebox. */
export interface AppOfService extends Caller {
  readonly app: FastifyInstance
  readonly rooms: Rooms
  readonly config: Config
  /** Everything logged so far. */
  logText(): string
  /** Listens on a loopback port and speaks over real sockets. */
  listen(): Promise<Caller & { readonly port: number; readonly base: string }>
  /** Ends due holds and settles due grants, as the job would. */
  sweep(): ReturnType<typeof sweep>
  close(): Promise<void>
}

export interface TestService extends AppOfService {
  /** The database as its owner. */
  readonly url: string
  /** The database as the role that the service runs as. */
  readonly serviceUrl: string
  readonly client: ClientOfService
  readonly other: ClientOfService
  /** A key of the main client with the scope `admin`. */
  readonly adminKey: string
  /** A further application on the same database, closed with the subtest `of`, or at the end: many of them take many connections. */
  another(options?: AppOptions, of?: Test): Promise<AppOfService>
  /** A new key with exactly these scopes. */
  newKey(scopes: readonly Scope[], client?: ClientOfService): Promise<string>
  newClient(name?: string): Promise<ClientOfService>
  /** A token for a person of a client. */
  tokenFor(sub: string, client?: ClientOfService): Promise<string>
  /** Opens a wallet with so many credits (a purchase grant) and yields its id. */
  wallet(credits?: string, options?: Send & { readonly owner?: string; readonly settings?: object }): Promise<string>
  /** An import that proposes one price which a person has to look at; its id. What is not changed is as it is in force now. */
  propose(model: string, changes?: Partial<ModelListing>, of?: { source?: string; effectiveFrom?: number }): Promise<string>
  /** A statement on the database, past the service. */
  query<Row extends pg.QueryResultRow = Body>(text: string, values?: readonly unknown[]): Promise<Row[]>
  /** The invariants that do not hold, with their counts; empty on a sound book. */
  unsound(): Promise<string[]>
}

export interface AppOptions {
  readonly level?: LogLevel
  readonly env?: Readonly<Record<string, string>>
  /** Another way to the same database, for example through a proxy. */
  readonly url?: string
  /** Of the rooms: Redis, and how long the realtime room waits. */
  readonly rooms?: RoomOptions
}

/** Starts the service on a database of its own. */
export async function createService(t: Test, options: AppOptions = {}): Promise<TestService> {
  const { url, serviceUrl } = await createTestDatabase(t)
  await seedLists(serviceUrl)
  const pool = new pg.Pool({ connectionString: url, max: 4, application_name: 'test' })
  pool.on('error', () => {})
  t.teardown(() => pool.end())

  let main: ClientOfService | null = null
  const open = async (more: AppOptions = {}, of = t) => {
    const opened = await openApp({ ...options, ...more, url: more.url ?? options.url ?? serviceUrl }, () => main?.key ?? null)
    of.teardown(() => opened.close())
    return opened
  }
  const first = await open()
  const store = first.rooms.keys

  async function newClient(name = `client ${randomUUID().slice(0, 8)}`): Promise<ClientOfService> {
    const { id } = await createClient(store, name, change())
    const { key } = await issueKey(store, { clientId: id, name: 'test', scopes: BACKEND_SCOPES, expiresAt: null }, change())
    return { id, wireId: `cli_${id.replaceAll('-', '')}`, name, key }
  }
  async function newKey(scopes: readonly Scope[], client: ClientOfService): Promise<string> {
    const { key } = await issueKey(store, { clientId: client.id, name: 'test', scopes, expiresAt: null }, change())
    return key
  }
  const client = await newClient('default')
  main = client
  const other = await newClient('other')
  const adminKey = await newKey(['admin'], client)

  let owners = 0
  return {
    ...first,
    url,
    serviceUrl,
    client,
    other,
    adminKey,
    another: open,
    newKey: (scopes, of = client) => newKey(scopes, of),
    newClient,
    async tokenFor(sub, of = client) {
      return (await first.made('/v1/tokens', { sub }, { key: of.key })).token
    },
    async wallet(credits, { owner, settings, ...send } = {}) {
      owners += 1
      const { id } = await first.made('/v1/wallets', { owner: owner ?? `user:owner-${owners}`, ...settings }, send)
      if (credits !== undefined) await first.made('/v1/grants', { wallet: id, kind: 'purchase', amount: credits }, send)
      return id
    },
    async propose(model, changes = {}, { source = 'litellm', effectiveFrom } = {}) {
      const { priceStore, prices } = first.rooms
      const held = inForce(prices.current().models.get(model), Date.now())
      const { id: _id, effectiveFrom: _from, source: _source, ...listing } = held ?? { ...UNKNOWN_MODEL, model }
      const proposal = { listing: { ...listing, ...changes }, effectiveFrom: effectiveFrom ?? null, reasons: ['a test'] }
      const plan = { source, insert: [], quarantine: [proposal], supersede: [], unchanged: 0, skipped: 0 }
      const { id } = await priceStore.applyImport(plan, 'a test', { ...change().speaker, everyClient: true })
      const proposed = (await priceStore.quarantine({}, null, 10)).find(({ importId }) => importId === id)
      return toWireId('proposal', proposed?.id ?? '')
    },
    async query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) {
      return (await pool.query<Row>(text, [...values])).rows
    },
    async unsound() {
      const findings = await verify(url)
      if (findings.length !== INVARIANTS.length) throw new Error('not every invariant was looked at')
      return findings.filter((finding) => finding.broken > 0).map((finding) => `${finding.id}: ${finding.broken} (${finding.examples[0]})`)
    },
  }
}

async function openApp(options: AppOptions & { readonly url: string }, defaultKey: () => string | null): Promise<AppOfService> {
  const lines: string[] = []
  const logger = createLogger({ level: options.level ?? 'warn', destination: { write: (line) => lines.push(line) } })
  const config = readConfig({ NODE_ENV: 'test', JWT_SECRET, DOCS: 'false', ...options.env })
  const rooms = await createRooms(options.url, logger, {
    payments: paymentsOf(config),
    checkoutReturnUrl: config.CHECKOUT_RETURN_URL,
    ...options.rooms,
  })
  const app = await buildApp(config, rooms, logger)
  let closed: Promise<void> | null = null
  return {
    ...caller(injected(app), defaultKey),
    app,
    rooms,
    config,
    logText: () => lines.join(''),
    sweep: () => sweep({ lane: rooms.lane, reservations: rooms.reservationReads, grants: rooms.grantReads }),
    async listen() {
      await app.listen({ host: '127.0.0.1', port: 0 })
      const address = app.server.address()
      if (address === null || typeof address === 'string') throw new Error('not listening on a port')
      const base = `http://127.0.0.1:${address.port}`
      return { ...callerAt(base, defaultKey), port: address.port, base }
    },
    close() {
      closed ??= app.close().then(() => rooms.close())
      return closed
    },
  }
}

/** A listing without a price list. */
const UNKNOWN_MODEL = {
  id: '',
  effectiveFrom: 0,
  source: 'nowhere',
  provider: 'acme',
  rates: { input_tokens: '1', output_tokens: '2' },
  variants: [],
  aliases: [],
  contextWindow: null,
  maxOutputTokens: null,
  capabilities: [],
  costTier: 'medium',
  enabled: true,
} as const

function change(): Change {
  return { speaker: { clientId: null, actor: 'system:test', requestId: 'test' }, reason: 'test', at: Date.now() }
}

function injected(app: FastifyInstance): Transport {
  return async ({ method, path, headers, payload }) => {
    const reply = await app.inject({ method: method as 'GET', url: path, headers, ...(payload !== undefined && { payload }) })
    return toAnswer(reply.statusCode, reply.headers as Record<string, unknown>, reply.payload)
  }
}

/** Speaks to a service that listens somewhere, this process's or another's. */
export function callerAt(base: string, defaultKey: () => string | null): Caller {
  return caller(async ({ method, path, headers, payload }) => {
    const response = await fetch(base + path, { method, headers, ...(payload !== undefined && { body: payload }) })
    return toAnswer(response.status, Object.fromEntries(response.headers), await response.text())
  }, defaultKey)
}

function toAnswer(status: number, headers: Record<string, unknown>, text: string): Answer {
  const flat = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
  return { status, headers: flat, text, body: (flat['content-type'] ?? '').includes('json') ? JSON.parse(text) : null }
}

function caller(transport: Transport, defaultKey: () => string | null): Caller {
  async function send(method: string, path: string, body?: object | string | null, options: Send = {}): Promise<Answer> {
    const headers: Record<string, string> = {}
    const key = options.key === undefined ? defaultKey() : options.key
    if (key !== null) headers.authorization = `Bearer ${key}`
    if (method !== 'GET') {
      const idempotencyKey = options.idempotencyKey === undefined ? randomUUID() : options.idempotencyKey
      if (idempotencyKey !== null) headers['idempotency-key'] = idempotencyKey
    }
    const payload = body === undefined || body === null ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
    if (payload !== undefined) headers['content-type'] = 'application/json'
    Object.assign(headers, options.headers)
    return transport({ method, path, headers, ...(payload !== undefined && { payload }) })
  }
  return {
    send,
    post: (path, body, options) => send('POST', path, body, options),
    patch: (path, body, options) => send('PATCH', path, body, options),
    get: (path, options) => send('GET', path, undefined, options),
    async made(path, body, options) {
      const answer = await send('POST', path, body, options)
      if (answer.status >= 300) throw new Error(`POST ${path} answered ${answer.status}: ${answer.text}`)
      return answer.body
    },
  }
}

/** How many answers have each status and code: `{ '201': 6, '402 insufficient_credits': 14 }`. */
export function tally(answers: readonly Pick<Answer, 'status' | 'body'>[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { status, body } of answers) {
    const name = status < 300 ? String(status) : `${status} ${body?.code}`
    counts[name] = (counts[name] ?? 0) + 1
  }
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Runs `n` of something at once. */
export function times<T>(n: number, work: (index: number) => T): T[] {
  return Array.from({ length: n }, (_, index) => work(index))
}
