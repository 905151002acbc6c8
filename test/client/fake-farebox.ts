/**
 * The server half of docs/realtime.md as a test wants it: a real one on loopback, which refuses, swallows, repeats and dies on
 * command. Also a clock that stands still until it is told to go on.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { type WebSocket, WebSocketServer } from 'ws'
import { createFarebox, type Farebox, type FareboxOptions, type Status } from '../../src/client/index.ts'

export interface Call {
  readonly id: number
  readonly method: string
  readonly params: { readonly wallets?: readonly string[]; readonly transactions?: boolean; readonly after_seq?: number }
}

/** One accepted socket. */
export interface Peer {
  readonly protocols: readonly string[]
  /** Without pings, which come at their own times. */
  readonly calls: Call[]
  pings: number
  notify(method: string, params: object): void
  raw(text: string): void
  close(code: number): void
  kill(): void
  readonly closed: boolean
}

export interface Fake {
  readonly url: string
  readonly peers: Peer[]
  /** The last accepted socket. */
  readonly peer: Peer
  /** Method, path and Authorization of each plain request. */
  readonly requests: string[]
  /** Streams that are open, with the wallet of each. */
  readonly streams: Map<ServerResponse, string>
  /** What happens to an upgrade; `swallow` accepts it and then says nothing at all. */
  upgrades: 'accept' | 'refuse' | 'swallow'
  attempts: number
  /** What happens to a stream; `hold` sends its headers only, `page` the endless page of a proxy. */
  streaming: 'serve' | 'fail' | 'hold' | 'page'
  /** The HTTP status of plain requests that are not served. */
  failure: { status: number; code?: string; retryAfter?: string } | null
  /** By owner, the id of a wallet; '' is the caller's own. */
  readonly owners: Map<string, string>
  /** Changes a wallet, and pushes it to whoever follows it. */
  set(id: string, available: string, version?: number, epoch?: string): object
  /** Answers a call in another way; undefined leaves it to the fake, null to silence. */
  answer: (call: Call, peer: Peer) => object | null | undefined
}

export async function startFake(t: Test): Promise<Fake> {
  const wallets = new Map<string, Record<string, unknown>>()
  const follows = new Map<Peer, Set<string>>()
  const server = createServer(serve)
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (protocols) => protocols.has('farebox.v1') && 'farebox.v1' })
  const fake: Fake = {
    url: '',
    peers: [],
    get peer() {
      const last = fake.peers.at(-1)
      if (!last) throw new Error('nobody has connected yet')
      return last
    },
    requests: [],
    streams: new Map(),
    upgrades: 'accept',
    attempts: 0,
    streaming: 'serve',
    failure: null,
    owners: new Map(),
    set(id, available, version = Number(wallets.get(id)?.version ?? 0) + 1, epoch = String(wallets.get(id)?.epoch ?? '1')) {
      const figures = { balance: available, held: '0', available, debt: '0' }
      const state = { wallet_id: id, epoch, version, ...figures, as_of: new Date().toISOString(), cause: { type: 'grant', id: null } }
      wallets.set(id, state)
      for (const [peer, ids] of follows) if (ids.has(id)) peer.notify('wallet.balance', state)
      const text = `event: wallet.balance\nid: ${version}\ndata: ${JSON.stringify(state)}\n\n`
      for (const [response, of] of fake.streams) if (of === id) response.write(text)
      return state
    },
    answer: () => undefined,
  }

  function resolve(name: string): string {
    return fake.owners.get(name) ?? name
  }

  function serve(request: IncomingMessage, response: ServerResponse): void {
    fake.requests.push(`${request.method} ${request.url} ${request.headers.authorization}`)
    const [, name = '', what] = /^\/v1\/wallets\/([^/?]+)\/(\w+)$/.exec(request.url ?? '') ?? []
    const wallet = resolve(decodeURIComponent(name))
    const state = wallets.get(wallet)
    if (fake.failure || (what === 'stream' && fake.streaming === 'fail')) {
      const { status, code, retryAfter } = fake.failure ?? { status: 502 }
      response.writeHead(status, { 'content-type': 'application/problem+json', ...(retryAfter && { 'retry-after': retryAfter }) })
      response.end(JSON.stringify({ code, detail: 'as the test wants it' }))
    } else if (request.url?.startsWith('/v1/wallets?')) {
      response.end(JSON.stringify({ data: [{ id: fake.owners.get('') }], next_cursor: null }))
    } else if (what === 'stream') {
      response.writeHead(200, { 'content-type': fake.streaming === 'page' ? 'text/html' : 'text/event-stream; charset=utf-8' })
      response.flushHeaders()
      if (fake.streaming === 'hold') return
      fake.streams.set(response, wallet)
      response.on('close', () => fake.streams.delete(response))
      response.write(`: hello\n\nevent: wallet.balance\ndata: ${JSON.stringify(state)}\n\n`)
    } else {
      const { wallet_id: id, epoch: _, cause: __, ...figures } = state ?? {}
      response.end(JSON.stringify({ id, ...figures, blocked: false }))
    }
  }

  server.on('upgrade', (request, socket, head) => {
    fake.attempts += 1
    if (fake.upgrades === 'refuse') {
      socket.end('HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n')
      return
    }
    sockets.handleUpgrade(request, socket, head, (socket) => accept(socket, request))
  })

  function accept(socket: WebSocket, request: IncomingMessage): void {
    const ids = new Set<string>()
    const peer: Peer = {
      protocols: (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim()),
      calls: [],
      pings: 0,
      notify: (method, params) => peer.raw(JSON.stringify({ jsonrpc: '2.0', method, params })),
      raw: (text) => socket.send(text),
      close: (code) => socket.close(code),
      kill: () => socket.terminate(),
      get closed() {
        return socket.readyState >= socket.CLOSING
      },
    }
    fake.peers.push(peer)
    follows.set(peer, ids)
    socket.on('close', () => follows.delete(peer))
    if (fake.upgrades === 'swallow') return
    socket.on('message', (data) => {
      const call = JSON.parse(String(data)) as Call
      if (call.method === 'session.ping') peer.pings += 1
      else peer.calls.push(call)
      const answer = fake.answer(call, peer)
      if (answer === null) return
      peer.raw(JSON.stringify({ jsonrpc: '2.0', id: call.id, ...(answer ?? carryOut(call, ids)) }))
    })
  }

  function carryOut({ method, params }: Call, ids: Set<string>): object {
    if (method === 'session.ping') return { result: { now: new Date().toISOString() } }
    const named = (params.wallets ?? ['']).map(resolve)
    if (method === 'wallet.unsubscribe') {
      for (const id of named) ids.delete(id)
      return { result: {} }
    }
    if (!named.every((id) => wallets.has(id))) return refusal(-32602, 'wallet_not_found')
    for (const id of named) ids.add(id)
    // In an order of its own: only the ids tell which state is whose.
    return { result: { wallets: named.map((id) => wallets.get(id)).reverse() } }
  }

  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  t.teardown(() => {
    for (const socket of sockets.clients) socket.terminate()
    server.closeAllConnections()
    server.close()
  })
  return Object.assign(fake, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
}

export function refusal(code: number, name: string, data: object = {}): object {
  return { error: { code, message: `refused: ${name}`, data: { code: name, ...data } } }
}

/** Time that passes only when it is told to. */
export class FakeClock {
  readonly #timers = new Map<object, { readonly at: number; then(): void }>()
  #now = 0

  after(ms: number, then: () => void): () => void {
    const key = {}
    this.#timers.set(key, { at: this.#now + ms, then })
    return () => this.#timers.delete(key)
  }

  /** How many milliseconds each timer still has to wait, the next first. */
  get waits(): number[] {
    return [...this.#timers.values()].map(({ at }) => at - this.#now).sort((a, b) => a - b)
  }

  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0]
      if (!due) break
      this.#timers.delete(due[0])
      this.#now = due[1].at
      due[1].then()
    }
    this.#now = end
  }
}

/** A client of the fake with a clock of its own, and every status it had. */
export interface Started {
  readonly client: Farebox
  readonly clock: FakeClock
  readonly statuses: Status[]
  /** Waits, in real time, until something holds; timers that are due fire meanwhile. Throws after five seconds. */
  until(what: string, holds: () => boolean): Promise<void>
  /** Lets what is under way on the network arrive. */
  settle(): Promise<void>
  /** Lets `ms` pass in small steps, with the network keeping up. */
  pass(ms: number, step?: number): Promise<void>
}

const UNTIL_MS_MAX = 5_000

export function start(t: Test, fake: Fake, options: Partial<FareboxOptions> = {}): Started {
  const clock = new FakeClock()
  const statuses: Status[] = []
  const client = createFarebox({ url: fake.url, token: () => 'jwt', clock, random: () => 0.5, ...options })
  client.on('status', (status) => statuses.push(status))
  t.teardown(() => client.close())
  const settle = async () => {
    for (let turn = 0; turn < 5; turn += 1) {
      clock.advance(0)
      await sleep(2)
      // Both ends are in this process: it takes looks at the network, more than time, which a busy machine gives to others.
      for (let look = 0; look < 10; look += 1) await immediate()
    }
  }
  return {
    client,
    clock,
    statuses,
    settle,
    async until(what, holds) {
      const end = Date.now() + UNTIL_MS_MAX
      while (!holds()) {
        if (Date.now() > end) throw new Error(`waited in vain until ${what}; status ${JSON.stringify(client.status)}`)
        clock.advance(0)
        await sleep(1)
      }
    },
    async pass(ms, step = 1_000) {
      for (let left = ms; left > 0; left -= step) {
        clock.advance(Math.min(step, left))
        await settle()
      }
    },
  }
}

export const isLive = ({ client }: Started) => client.status.state === 'live'
