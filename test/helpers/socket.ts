import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import WebSocket from 'ws'
import type { Body } from './service.ts'

/** A client of the socket that keeps everything it was sent, in order. */

const WAIT_MS_MAX = 30_000

export interface Notification {
  readonly method: string
  readonly params: Body
}

export interface Opening {
  /** Sent as a header. */
  readonly key?: string
  /** Beside `farebox.v1`. */
  readonly protocol?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly query?: string
  /** Whether pings are answered, as they should. */
  readonly autoPong?: boolean
}

export interface TestSocket {
  readonly ws: WebSocket
  /** Every frame so far. */
  readonly frames: readonly Body[]
  /** Every notification so far. */
  readonly notifications: readonly Notification[]
  /** Those that are no notifications. */
  readonly answers: readonly Body[]
  /** The code and reason it was closed with. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  /** The answer to a call: `result` or `error`. */
  call(method: string, params?: object): Promise<Body>
  /** Subscribes, has to succeed. @returns the states by wallet id */
  follow(wallets?: readonly string[], more?: object): Promise<ReadonlyMap<string, Body>>
  /** Resolves when everything that was pushed before has arrived. */
  settled(): Promise<void>
  /** The first notification, of those so far or still to come, that matches. */
  until(matches: (notification: Notification) => boolean): Promise<Notification>
  /** The parameters of every `wallet.balance` so far, of one wallet or of all. */
  balances(wallet?: string): Body[]
  /** The parameters of every `wallet.transaction` so far. */
  transactions(wallet?: string): Body[]
}

/** Connects. @throws an error with `status` and `body` where the answer is no 101 */
export async function openSocket(t: Test, port: number, opening: Opening = {}): Promise<TestSocket> {
  const { key, protocol, headers = {}, query = '', autoPong = true } = opening
  const protocols = ['farebox.v1', ...(protocol === undefined ? [] : [protocol])]
  const ws = new WebSocket(`ws://127.0.0.1:${port}/v1/realtime${query}`, protocols, {
    autoPong,
    perMessageDeflate: false,
    headers: { ...(key !== undefined && { authorization: `Bearer ${key}` }), ...headers },
  })
  t.teardown(() => ws.terminate())
  const frames: Body[] = []
  const notifications: Notification[] = []
  const answers: Body[] = []
  const waiting = new Map<number, (answer: Body) => void>()
  const watchers = new Set<() => void>()
  let called = 0
  ws.on('message', (data) => {
    const frame = JSON.parse(String(data))
    frames.push(frame)
    if (frame.method) notifications.push(frame)
    else {
      answers.push(frame)
      waiting.get(frame.id)?.(frame)
    }
    for (const look of watchers) look()
  })
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    ws.on('close', (code, reason) => resolve({ code, reason: String(reason) }))
  })
  ws.on('error', () => {})
  await opened(ws)

  async function call(method: string, params?: object): Promise<Body> {
    called += 1
    const id = called
    const answer = new Promise<Body>((resolve) => waiting.set(id, resolve))
    ws.send(JSON.stringify({ jsonrpc: '2.0', id, method, ...(params && { params }) }))
    return patiently(`the answer to ${method}`, answer)
  }
  const paramsOf = (method: string, wallet: string | undefined) =>
    notifications
      .filter((one) => one.method === method && (wallet === undefined || one.params.wallet_id === wallet))
      .map(({ params }) => params)
  return {
    ws,
    frames,
    notifications,
    answers,
    closed,
    call,
    async follow(wallets, more = {}) {
      const { result, error } = await call('wallet.subscribe', { ...(wallets && { wallets }), ...more })
      if (!result) throw new Error(`the subscription was refused: ${JSON.stringify(error)}`)
      return new Map(result.wallets.map((state: Body) => [state.wallet_id, state]))
    },
    async settled() {
      await call('session.ping')
    },
    until(matches) {
      const found = new Promise<Notification>((resolve) => {
        const look = () => {
          const match = notifications.find(matches)
          if (!match) return
          watchers.delete(look)
          resolve(match)
        }
        watchers.add(look)
        look()
      })
      return patiently('a notification', found)
    },
    balances: (wallet) => paramsOf('wallet.balance', wallet),
    transactions: (wallet) => paramsOf('wallet.transaction', wallet),
  }
}

async function opened(ws: WebSocket): Promise<void> {
  const refused = new Promise<never>((_, reject) => {
    ws.on('unexpected-response', (_request, response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => {
        const body = text.startsWith('{') ? JSON.parse(text) : text
        reject(Object.assign(new Error(`no 101 but ${response.statusCode}: ${text}`), { status: response.statusCode, body }))
      })
    })
    ws.on('error', reject)
  })
  await Promise.race([once(ws, 'open'), refused])
}

/** Waits until something holds. */
export async function eventually(what: string, holds: () => boolean, ms = WAIT_MS_MAX): Promise<void> {
  for (const until = performance.now() + ms; !holds(); await sleep(2)) {
    if (performance.now() > until) throw new Error(`${what} did not come to pass within ${ms} ms`)
  }
}

/** Every wait has an end, so that a test says what it missed. */
export async function patiently<T>(what: string, promise: Promise<T>, ms = WAIT_MS_MAX): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
