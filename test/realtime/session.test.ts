import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Principal } from '../../src/auth/principal.ts'
import { fail, refusal } from '../../src/kernel/errors.ts'
import { fromWireId, toWireId } from '../../src/kernel/ids.ts'
import type { Feed, Listener, State, Topic } from '../../src/realtime/feed.ts'
import { balanceText } from '../../src/realtime/frames.ts'
import { Session, type Wire } from '../../src/realtime/session.ts'
import { type Connection, Sessions } from '../../src/realtime/sessions.ts'
import { Stream } from '../../src/realtime/stream.ts'

/** What a socket and a stream do when their readers are slow, with wires that are as full as we say. */

const WALLET = (n: number) => `01900000-0000-7000-8000-${String(n).padStart(12, '0')}`

class PuppetWire implements Wire {
  /** Bytes that the reader has not taken. */
  bufferedAmount = 0
  readonly frames: Body[] = []
  readonly done: ((error?: Error | null) => void)[] = []
  closed: { code: number; reason: string } | null = null
  pings = 0
  pongs = 0
  paused = false
  send(text: string, done?: (error?: Error | null) => void): void {
    this.frames.push(JSON.parse(text))
    if (done) this.done.push(done)
  }
  ping(): void {
    this.pings += 1
  }
  pong(): void {
    this.pongs += 1
  }
  pause(): void {
    this.paused = true
  }
  close(code: number, reason: string): void {
    this.closed = { code, reason }
  }
  /** The reader takes everything. */
  drain(): void {
    this.bufferedAmount = 0
    for (const done of this.done.splice(0)) done()
  }
  balances(): number[] {
    return this.frames.filter(({ method }) => method === 'wallet.balance').map(({ params }) => params.version)
  }
}

// biome-ignore lint/suspicious/noExplicitAny: frames of every form
type Body = any

/** A feed whose states are set by hand. */
class PuppetFeed {
  readonly topics = new Map<string, { walletId: string; state: State; text: string; isLow: boolean }>()
  readonly listeners = new Map<string, Set<Listener>>()
  set(walletId: string, version: number, isLow = false): void {
    const micro = BigInt(version) * 1_000_000n
    const figures = { walletId, version, balance: micro, held: 0n, debt: 0n, lowBalanceThreshold: 5_000_000n, seq: version, asOf: 0 }
    const state = { ...figures, epoch: '1', cause: { type: 'charge', id: null } }
    const topic = this.topics.get(walletId) ?? { walletId, state, text: '', isLow }
    Object.assign(topic, { state, text: balanceText(state), isLow })
    this.topics.set(walletId, topic)
    for (const listener of this.listeners.get(walletId) ?? []) listener.onState(topic)
  }
  fell(walletId: string): void {
    for (const listener of this.listeners.get(walletId) ?? []) listener.onLow(this.topics.get(walletId) as Topic)
  }
  /** What `join` waits for. */
  joined: Promise<void> = Promise.resolve()
  async join(ids: readonly string[], listener: Listener) {
    for (const id of ids) this.listeners.set(id, (this.listeners.get(id) ?? new Set()).add(listener))
    await this.joined
    return ids.map((id) => this.topics.get(id) ?? null)
  }
  leave(id: string, listener: Listener): void {
    this.listeners.get(id)?.delete(listener)
  }
}

function setUp() {
  const [wire, feed] = [new PuppetWire(), new PuppetFeed()]
  const readings: [number, number][] = []
  const ledger = { away: false, delivery: Promise.resolve() }
  const session = new Session(wire, {
    feed: feed as unknown as Feed,
    resolve: async (wallets) => wallets?.map((id) => fromWireId('wallet', id) ?? '') ?? [...feed.topics.keys()],
    async transactions(_walletId, afterSeq, toSeq) {
      readings.push([afterSeq, toSeq])
      await ledger.delivery
      if (ledger.away) throw fail('storage_unavailable', 'away')
      return Array.from({ length: Math.min(200, toSeq - afterSeq) }, (_, i) => ({ seq: afterSeq + 1 + i }))
    },
    refusalOf: () => refusal('storage_unavailable', 'away'),
    now: () => 'now',
  })
  const subscribe = async (params = {}) => {
    session.receive(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'wallet.subscribe', params }))
    await settle()
  }
  return { wire, feed, session, subscribe, readings, ledger }
}

/** Everything that was set off has happened. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i += 1) await turn()
}

function checks(n: number, of: { check(): void }): void {
  for (let i = 0; i < n; i += 1) of.check()
}

t.test('a reader that is slow gets the newest state of each wallet', async (t) => {
  const { wire, feed, session, subscribe } = setUp()
  for (const n of [1, 2, 3]) feed.set(WALLET(n), 1)
  await subscribe()
  wire.frames.length = 0
  wire.bufferedAmount = 64 * 1024 + 1
  for (let version = 2; version <= 50; version += 1) {
    for (const n of [1, 2, 3]) feed.set(WALLET(n), version)
    await turn()
  }
  session.pinged(Buffer.alloc(0))
  t.same([wire.frames, wire.pongs], [[], 0], 'nothing is added to what waits')
  wire.drain()
  await settle()
  t.same(wire.balances(), [50, 50, 50])
  feed.set(WALLET(2), 51)
  feed.set(WALLET(2), 52)
  await settle()
  t.same(wire.balances(), [50, 50, 50, 52], 'changes of one turn go out together')
})

t.test('a wallet that is subscribed to anew is told in the answer, and nothing of before comes behind it', async (t) => {
  const { wire, feed, session, subscribe } = setUp()
  feed.set(WALLET(1), 1)
  await subscribe()
  const answers = () =>
    wire.frames.flatMap(({ result }) => (Array.isArray(result?.wallets) ? result.wallets.map(({ version }: Body) => version) : []))
  // The reader is slow, so that each state waits.
  wire.bufferedAmount = 64 * 1024 + 1
  feed.set(WALLET(1), 2)
  await settle()
  await subscribe()
  wire.drain()
  await settle()
  t.same([answers(), wire.balances()], [[1, 2], []], 'what the answer said is not said again')

  wire.bufferedAmount = 64 * 1024 + 1
  feed.set(WALLET(1), 3)
  await settle()
  session.receive(JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'wallet.unsubscribe' }))
  await settle()
  // Nobody looked at it any more, so the feed begins anew.
  feed.topics.delete(WALLET(1))
  feed.set(WALLET(1), 4)
  await subscribe()
  wire.drain()
  await settle()
  t.same([answers(), wire.balances()], [[1, 2, 4], []], 'nor is what it was when it was left')
})

t.test('a reader that takes nothing is cut off, one that takes a little is not', async (t) => {
  const { wire, feed, session, subscribe } = setUp()
  feed.set(WALLET(1), 1)
  await subscribe()
  wire.bufferedAmount = 80_000
  for (let i = 0; i < 8; i += 1) {
    checks(9, session)
    // It took something, and as much came after it.
    for (const done of wire.done.splice(0)) done()
    session.ponged()
    feed.set(WALLET(1), 10 + i)
    wire.bufferedAmount = 0
    await settle()
    wire.bufferedAmount = 80_000
  }
  t.equal(wire.closed, null, 'for over a minute')
  checks(10, session)
  t.equal(wire.closed, null)
  checks(1, session)
  t.same(wire.closed, { code: 1013, reason: 'reads too slowly' })
  t.match(wire.frames.at(-1), { method: 'session.closing', params: { code: 1013, retry_after_seconds: 1 } })
  t.equal(feed.listeners.get(WALLET(1))?.size, 0, 'and left its wallets')
})

t.test('whoever calls and does not read the answers is cut off at a megabyte', async (t) => {
  const { wire, subscribe } = setUp()
  wire.bufferedAmount = 1024 * 1024
  await subscribe()
  t.ok(wire.frames.at(-1).result)
  wire.bufferedAmount += 1
  await subscribe()
  t.equal(wire.closed?.code, 1013)
  const { length } = wire.frames
  await subscribe()
  t.equal(wire.frames.length, length, 'and heard no more')
})

t.test('whoever gives no sign of life is pinged twice, and then cut off', async (t) => {
  const { wire, session } = setUp()
  checks(60, session)
  t.equal(wire.closed, null)
  t.ok(wire.pings >= 2)
  session.ponged()
  checks(60, session)
  t.equal(wire.closed, null)
  checks(1, session)
  t.same(wire.closed, { code: 4408, reason: 'no sign of life' })
  session.ponged()
  session.pinged(Buffer.from('x'))
  t.equal(wire.pongs, 0)
})

t.test('a wallet that fell is told behind its state, if it is still low', async (t) => {
  const { wire, feed, subscribe } = setUp()
  feed.set(WALLET(1), 9)
  await subscribe()
  wire.frames.length = 0
  wire.bufferedAmount = 100_000
  feed.set(WALLET(1), 10, true)
  feed.fell(WALLET(1))
  await settle()
  feed.set(WALLET(1), 11, false)
  wire.drain()
  await settle()
  t.same(wire.balances(), [11])
  t.equal(wire.frames.length, 1, 'it rose before anybody could read it')
  feed.set(WALLET(1), 12, true)
  feed.fell(WALLET(1))
  await settle()
  t.same(
    wire.frames.slice(1).map(({ method }) => method),
    ['wallet.balance', 'wallet.low_balance'],
  )
})

t.test('ledger rows wait for the reader, and for the database', async (t) => {
  const { wire, feed, session, subscribe, readings, ledger } = setUp()
  feed.set(WALLET(1), 1_000)
  const wallet = toWireId('wallet', WALLET(1))
  const rows = () => wire.frames.filter(({ method }) => method === 'wallet.transaction').map(({ params }) => params.seq)
  const send = wire.send.bind(wire)
  wire.send = (text, done) => {
    wire.bufferedAmount += text.length * 10
    send(text, done)
  }
  await subscribe({ wallets: [wallet], transactions: true, after_seq: 0 })
  t.equal(rows().length, 200, 'one reading fills what may wait')
  await settle()
  t.equal(rows().length, 200)
  ledger.away = true
  wire.drain()
  await settle()
  t.equal(rows().length, 200)
  ledger.away = false
  for (let i = 0; i < 10; i += 1) {
    session.check()
    await settle()
    wire.drain()
    await settle()
  }
  t.same(
    rows(),
    Array.from({ length: 1_000 }, (_, i) => i + 1),
    'then all of them, once and in order',
  )
  t.same(wire.balances(), [], 'and no state twice for it')
  t.ok(readings.length <= 8, `${readings.length} readings`)
  await subscribe({ wallets: [wallet], transactions: true, after_seq: 5_000 })
  feed.set(WALLET(1), 1_001)
  await settle()
  t.equal(rows().at(-1), 1_001, 'who claims to be ahead gets what is new')
  feed.set(WALLET(1), 20_000)
  wire.drain()
  await subscribe({ wallets: [wallet], transactions: true, after_seq: 0 })
  t.equal(rows().at(-200), 10_001, 'ten thousand are replayed, no more')
})

t.test('a socket that ends while it joins leaves again', async (t) => {
  for (const how of ['forget', 'end'] as const) {
    const { wire, feed, session, subscribe } = setUp()
    feed.set(WALLET(1), 1)
    let join = () => {}
    feed.joined = new Promise((resolve) => {
      join = resolve
    })
    await subscribe()
    t.equal(feed.listeners.get(WALLET(1))?.size, 1)
    if (how === 'forget') session.forget()
    else session.end(1012, 'restarting', 1)
    const { length } = wire.frames
    join()
    await settle()
    t.equal(feed.listeners.get(WALLET(1))?.size, 0, `after ${how}`)
    t.equal(wire.frames.length, length)
  }
})

t.test('calls that were answered are not counted as waiting', async (t) => {
  const { wire, feed, subscribe } = setUp()
  feed.set(WALLET(1), 1)
  for (let call = 0; call < 70; call += 1) {
    // Sixty at once and twenty a second are allowed.
    if (call === 50) await new Promise((resolve) => setTimeout(resolve, 1_000))
    await subscribe()
  }
  t.equal(wire.closed, null)
  t.equal(wire.frames.filter(({ result }) => result).length, 70)
})

t.test('after a restore ledger rows go on from where the shorter ledger ends', async (t) => {
  const { wire, feed, subscribe } = setUp()
  feed.set(WALLET(1), 1_000)
  await subscribe({ transactions: true })
  const rows = () => wire.frames.filter(({ method }) => method === 'wallet.transaction').map(({ params }) => params.seq)
  feed.set(WALLET(1), 500)
  await settle()
  feed.set(WALLET(1), 502)
  await settle()
  t.same(rows(), [501, 502])
})

t.test('rows that were being read for a subscription which has ended are not sent', async (t) => {
  const { wire, feed, session, subscribe, ledger } = setUp()
  feed.set(WALLET(1), 3)
  let deliver = () => {}
  ledger.delivery = new Promise((resolve) => {
    deliver = resolve
  })
  await subscribe({ wallets: [toWireId('wallet', WALLET(1))], transactions: true, after_seq: 0 })
  session.receive(JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'wallet.unsubscribe' }))
  await settle()
  deliver()
  await settle()
  t.same(
    wire.frames.filter(({ method }) => method === 'wallet.transaction'),
    [],
  )
})

t.test('a stream does the same', async (t) => {
  class PuppetResponse extends EventEmitter {
    writableNeedDrain = false
    destroyed = false
    writableEnded = false
    readonly texts: string[] = []
    write(text: string): void {
      this.texts.push(text)
    }
    end(text: string): void {
      this.texts.push(text)
      this.writableEnded = true
    }
    destroy(): void {
      this.destroyed = true
    }
  }
  const [feed, response] = [new PuppetFeed(), new PuppetResponse()]
  feed.set(WALLET(1), 1)
  const stream = new Stream(feed as unknown as Feed, WALLET(1), response as unknown as ServerResponse)
  await stream.start()
  t.match(response.texts, [/^event: wallet\.balance\nid: 1\ndata: \{.*\}\n\n$/])
  response.writableNeedDrain = true
  for (let version = 2; version < 9; version += 1) {
    feed.set(WALLET(1), version)
    await turn()
  }
  t.equal(response.texts.length, 1)
  response.writableNeedDrain = false
  response.emit('drain')
  t.match(response.texts.slice(1), [/\nid: 8\n/])
  checks(9, stream)
  t.equal(response.texts.length, 2)
  checks(1, stream)
  t.equal(response.texts.at(-1), ': alive\n\n')
  checks(9, stream)
  t.equal(response.texts.length, 3, 'and not again before its time')
  response.writableNeedDrain = true
  checks(10, stream)
  t.equal(response.destroyed, false)
  checks(1, stream)
  t.equal(response.destroyed, true)

  const second = new PuppetResponse()
  const ended = new Stream(feed as unknown as Feed, WALLET(1), second as unknown as ServerResponse)
  await ended.start()
  ended.end(1012, 'restarting', 1)
  feed.set(WALLET(1), 10)
  await turn()
  t.match(second.texts.slice(1), [/^event: session\.closing\nretry: 1000\n/], 'nothing comes behind the farewell')
  t.equal(feed.listeners.get(WALLET(1))?.has(ended), false, 'and the wallet is left')

  const third = new PuppetResponse()
  await new Stream(feed as unknown as Feed, WALLET(1), third as unknown as ServerResponse).start()
  const lows = () => third.texts.filter((text) => text.startsWith('event: wallet.low_balance')).length
  third.writableNeedDrain = true
  feed.set(WALLET(1), 11, true)
  feed.fell(WALLET(1))
  feed.set(WALLET(1), 12)
  third.writableNeedDrain = false
  third.emit('drain')
  await turn()
  t.equal(lows(), 0, 'it rose before anybody could read it')
  feed.set(WALLET(1), 13, true)
  feed.fell(WALLET(1))
  await turn()
  feed.set(WALLET(1), 14, true)
  await turn()
  t.equal(lows(), 1, 'once')

  const gone = new PuppetResponse()
  const late = new Stream(feed as unknown as Feed, WALLET(1), gone as unknown as ServerResponse)
  const started = late.start()
  gone.destroyed = true
  await started
  t.equal(feed.listeners.get(WALLET(1))?.has(late), false, 'a reader who left meanwhile leaves nothing')
})

t.test('credentials are asked about once each, and a database that is away has revoked nothing', async (t: Test) => {
  const asked: string[] = []
  let answer: (principal: Principal) => Promise<boolean> = async () => true
  const isActive = (principal: Principal) => {
    asked.push(principal.credentialHash)
    return answer(principal)
  }
  const sessions = new Sessions(isActive, { checkMs: 5, credentialMs: 20 }, { inc() {}, dec() {} })
  t.teardown(() => sessions.close())
  const principal = (kind: Principal['kind'], credentialHash: string): Principal => ({
    ...{ kind, credentialHash, clientId: 'c', scopes: new Set(), subject: null, actor: `${kind}:${credentialHash}`, expiresAt: null },
  })
  const ends: string[] = []
  const open = (kind: Principal['kind'], credentialHash: string) => {
    let remove: (() => void) | null = null
    const connection: Connection = {
      check() {},
      end: (code) => {
        ends.push(`${credentialHash} ${code}`)
        remove?.()
      },
    }
    remove = sessions.add(connection, principal(kind, credentialHash))
  }
  for (const token of ['t1', 't2', 't3']) open('user', token)
  for (const key of ['k1', 'k1', 'k2']) open('key', key)
  while (asked.length < 3) await new Promise((resolve) => setTimeout(resolve, 1))
  t.same(asked.slice(0, 3), ['t1', 'k1', 'k2'], 'people of one client are asked about together')
  answer = async () => {
    throw new Error('the database is away')
  }
  await new Promise((resolve) => setTimeout(resolve, 60))
  t.same(ends, [])
  answer = async ({ credentialHash }) => credentialHash !== 'k1'
  while (ends.length < 2) await new Promise((resolve) => setTimeout(resolve, 1))
  t.same(ends, ['k1 4401', 'k1 4401'])
  t.equal(sessions.size, 4)
  sessions.close()
  t.same(ends.slice(2).sort(), ['k2 1012', 't1 1012', 't2 1012', 't3 1012'])
  open('key', 'k3')
  t.equal(ends.at(-1), 'k3 1012', 'who comes too late is sent away')
})

t.test('a thousand connections are each looked at once a round, and others have their turn meanwhile', async (t: Test) => {
  const checks = new Map<number, number>()
  const perTurn: number[] = []
  let inTurn = 0
  const sessions = new Sessions(async () => true, { checkMs: 20, credentialMs: 60_000 }, { inc() {}, dec() {} })
  t.teardown(() => sessions.close())
  for (let n = 0; n < 1_000; n += 1) {
    const check = () => {
      checks.set(n, (checks.get(n) ?? 0) + 1)
      if (inTurn === 0) {
        setImmediate(() => {
          perTurn.push(inTurn)
          inTurn = 0
        })
      }
      inTurn += 1
    }
    const who = { kind: 'key', clientId: 'c', scopes: new Set<string>(), subject: null, actor: 'key:k', expiresAt: null }
    sessions.add({ check, end() {} }, { ...who, credentialHash: 'k' } as unknown as Principal)
  }
  while ((checks.get(999) ?? 0) < 2) await new Promise((resolve) => setTimeout(resolve, 1))
  t.equal(Math.max(...perTurn), 100)
  t.ok(
    [...checks.values()].every((count) => count >= 2 && count <= 3),
    'in rounds',
  )
})
