/**
 * Many sockets in a process of their own, told what to do by `realtime.ts`. They read what the measurement needs and nothing else.
 *
 * A frame's age is the time from the decision that made it (`as_of`: the database's clock, read under the wallet's lock) to its
 * arrival here: it includes the write and the COMMIT, and is whole milliseconds.
 */
import { createHmac } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import WebSocket from 'ws'

export type Order =
  /** Opens sockets of people, each with a token of its own, that follow what is theirs; or of a key, that follow these wallets. */
  | { readonly do: 'open'; readonly port: number; readonly from: number; readonly count: number; readonly wallets?: readonly string[] }
  /** Stops reading on those of the key. */
  | { readonly do: 'pause' }
  | { readonly do: 'resume' }
  /** Forgets the ages so far. */
  | { readonly do: 'reset' }
  | { readonly do: 'report' }
  | { readonly do: 'close' }

export interface ClientReport {
  readonly open: number
  readonly frames: number
  /** Milliseconds, of the sockets that read. */
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Codes of closed sockets. */
  readonly codes: Readonly<Record<string, number>>
  /** Milliseconds since the epoch at which sockets that had been lost were answered again, in order. */
  readonly again: readonly number[]
  /** Upgrades that failed, by status or reason. */
  readonly refused: Readonly<Record<string, number>>
  /** The last version that each socket of a person was told. */
  readonly versions: readonly number[]
  /** Milliseconds since the epoch at which it was; 0 for none since the last reset. */
  readonly toldAt: readonly number[]
}

const OPENING_AT_ONCE = 100
/** Back after this long, at random, and twice as long with each failure. */
const BACK_MS = 1_000
const BACK_MS_MAX = 8_000
const PROTOCOL = 'farebox.v1'

const { BENCH_SECRET = '', BENCH_CLIENT = '', BENCH_KEY = '' } = process.env
const AS_OF = '"as_of":"'
const VERSION = '"version":'

let ages: number[] = []
let frames = 0
let closing = false
const again: number[] = []
const codes: Record<string, number> = {}
const refused: Record<string, number> = {}
const people: Client[] = []
const keyed: Client[] = []

interface Client {
  readonly port: number
  readonly credential: string
  readonly subscribe: string
  readonly isPerson: boolean
  ws: WebSocket | null
  version: number
  toldAt: number
  lost: boolean
  failures: number
}

function token(n: number): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const exp = Math.floor(Date.now() / 1_000) + 3_600
  const input = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub: `bench${n}`, iss: 'farebox', aud: 'farebox', exp, client_id: BENCH_CLIENT })}`
  return `${input}.${createHmac('sha256', BENCH_SECRET).update(input).digest('base64url')}`
}

function count(of: Record<string, number>, name: string | number): void {
  of[name] = (of[name] ?? 0) + 1
}

/** Resolves when the state is there; then the socket looks after itself, and comes back when it is lost. */
function connect(client: Client): Promise<void> {
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${client.credential}` }
    const ws = new WebSocket(`ws://127.0.0.1:${client.port}/v1/realtime`, [PROTOCOL], { headers, perMessageDeflate: false })
    client.ws = ws
    ws.on('open', () => ws.send(client.subscribe))
    ws.on('unexpected-response', (_request, response) => {
      count(refused, response.statusCode ?? 0)
      response.resume()
      ws.terminate()
    })
    ws.on('message', (data: Buffer) => {
      const text = data.toString('latin1')
      const at = text.indexOf(VERSION)
      if (at > 0) client.version = Number.parseInt(text.slice(at + VERSION.length, at + 24), 10)
      if (text.startsWith('{"jsonrpc":"2.0","id":')) {
        client.failures = 0
        if (client.lost) again.push(Date.now())
        client.lost = false
        resolve()
        return
      }
      const asOf = text.indexOf(AS_OF)
      if (asOf < 0) return
      frames += 1
      client.toldAt = performance.timeOrigin + performance.now()
      if (client.isPerson) ages.push(Date.now() - Date.parse(text.slice(asOf + AS_OF.length, asOf + AS_OF.length + 24)))
    })
    ws.on('error', (error: NodeJS.ErrnoException) => count(refused, error.code ?? error.message.slice(0, 60)))
    ws.on('close', (code) => {
      count(codes, code)
      if (closing) return resolve()
      client.lost = true
      if (!client.isPerson) return
      const wait = Math.random() * Math.min(BACK_MS_MAX, BACK_MS * 2 ** client.failures)
      client.failures += 1
      void sleep(wait).then(() => connect(client).then(resolve))
    })
  })
}

async function open({ port, from, count: total, wallets }: Extract<Order, { do: 'open' }>): Promise<void> {
  const clients = Array.from({ length: total }, (_, i): Client => {
    const params = wallets ? { wallets } : {}
    const subscribe = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'wallet.subscribe', params })
    const credential = wallets ? BENCH_KEY : token(from + i)
    return { port, credential, subscribe, isPerson: !wallets, ws: null, version: 0, toldAt: 0, lost: false, failures: 0 }
  })
  ;(wallets ? keyed : people).push(...clients)
  let next = 0
  const work = async () => {
    for (let n = next++; n < total; n = next++) await connect(clients[n] as Client)
  }
  await Promise.all(Array.from({ length: OPENING_AT_ONCE }, work))
}

function report(): ClientReport {
  const sorted = ages.sort((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] ?? 0
  const all = [...people, ...keyed]
  return {
    open: all.filter(({ ws }) => ws?.readyState === WebSocket.OPEN).length,
    frames,
    p50: at(0.5),
    p99: at(0.99),
    max: at(1),
    codes,
    again,
    refused,
    versions: people.map(({ version }) => version),
    toldAt: people.map(({ toldAt }) => toldAt),
  }
}

async function obey(order: Order): Promise<ClientReport | null> {
  switch (order.do) {
    case 'open':
      await open(order)
      return null
    case 'pause':
      for (const { ws } of keyed) ws?.pause()
      return null
    case 'resume':
      for (const { ws } of keyed) ws?.resume()
      return null
    case 'reset':
      ages = []
      frames = 0
      for (const client of people) client.toldAt = 0
      again.length = 0
      for (const known of [codes, refused]) for (const name of Object.keys(known)) delete known[name]
      return null
    case 'report':
      return report()
    case 'close':
      closing = true
      await Promise.all(
        [...people, ...keyed].map(
          ({ ws }) =>
            new Promise<void>((resolve) => {
              if (!ws || ws.readyState === WebSocket.CLOSED) return resolve()
              ws.on('close', () => resolve())
              ws.terminate()
            }),
        ),
      )
      people.length = 0
      keyed.length = 0
      closing = false
      return null
  }
}

process.on('message', (order: Order) => {
  void obey(order).then((answer) => process.send?.(answer))
})
