import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Wallet } from '../../src/ledger/wallet.ts'
import type { Bus, BusListener } from '../../src/realtime/bus.ts'
import { Feed, type Figures, type Listener, type Topic } from '../../src/realtime/feed.ts'
import { eventually } from '../helpers/socket.ts'

/**
 * The races of a feed, one by one: what comes from a bus that loses, doubles and disorders, while snapshots are under way. The bus and
 * the database are puppets here, so that each order of events can be had for certain; in storm.test.ts they are real.
 */

const TIMES = {
  compareMs: 1_000,
  compareDownMs: 60,
  tickMs: 10,
  watchdogMs: 1,
  watchdogAnswerMs: 1,
  checkMs: 1,
  credentialMs: 1,
  leaveMs: 1,
}

/** A bus in our hands. */
class PuppetBus implements Bus {
  isUp = true
  listener: BusListener | undefined
  readonly subscribed: string[] = []
  readonly published: string[] = []
  /** What `subscribe` waits for. */
  agreed: Promise<void> = Promise.resolve()

  publish(_walletId: string, message: () => string): void {
    this.published.push(message())
  }
  subscribe(walletId: string): Promise<void> {
    this.subscribed.push(walletId)
    return this.agreed
  }
  unsubscribe(walletId: string): void {
    this.subscribed.splice(this.subscribed.indexOf(walletId), 1)
  }
  listen(listener: BusListener): void {
    this.listener = listener
  }
  async close(): Promise<void> {}
}

/** A database in our hands: each snapshot waits until it is let go. */
class PuppetDatabase {
  epoch = '1'
  readonly rows = new Map<string, number>()
  readonly asked: string[][] = []
  failing = false
  /** Taken at once, delivered when this resolves. */
  delivery: Promise<void> = Promise.resolve()

  async snapshot(ids: readonly string[]) {
    this.asked.push([...ids])
    const taken = ids.flatMap((id) => (this.rows.has(id) ? [figures(id, this.rows.get(id) as number)] : []))
    const { epoch, failing } = this
    await this.delivery
    if (failing) throw new Error('the database is away')
    return { epoch, figures: taken }
  }
}

function figures(walletId: string, version: number): Figures {
  const micro = BigInt(version) * 1_000_000n
  return { walletId, version, balance: micro, held: 0n, debt: 0n, lowBalanceThreshold: 5_000_000n, seq: version, asOf: version }
}

/** What a listener was told, in order. */
class Reader implements Listener {
  readonly seen: (number | undefined)[] = []
  readonly lows: (number | undefined)[] = []
  onState({ state }: Topic): void {
    this.seen.push(state?.version)
  }
  onLow({ state }: Topic): void {
    this.lows.push(state?.version)
  }
}

function setUp(t: Test) {
  const [bus, database, warnings] = [new PuppetBus(), new PuppetDatabase(), [] as string[]]
  const log = { warn: (_fields: object, message: string) => warnings.push(message) }
  const feed = new Feed({ bus, reads: database, render: ({ version }) => String(version), log }, TIMES)
  t.teardown(() => feed.close())
  const reader = new Reader()
  const commit = (id: string, version: number) => {
    database.rows.set(id, version)
    const { balance, held, debt, lowBalanceThreshold } = figures(id, version)
    const wallet = {
      id,
      version: BigInt(version),
      balance,
      held,
      debt,
      lowBalanceThreshold,
      transactionSeq: BigInt(version),
      updatedAt: version,
    }
    feed.publish([{ wallet: wallet as unknown as Wallet, cause: { type: 'charge', id: null } }])
  }
  /** A commit of another process, as its message would say it. */
  const message = (id: string, version: number) => {
    const { balance, held, debt, lowBalanceThreshold, seq, asOf } = figures(id, version)
    const amounts = [balance, held, debt, lowBalanceThreshold].map(String)
    bus.listener?.onMessage(id, JSON.stringify([version, ...amounts, seq, asOf, 'charge', null]))
  }
  const join = async (...ids: string[]) => (await feed.join(ids, reader)).map((topic) => topic?.state?.version)
  return { bus, database, warnings, feed, reader, commit, message, join }
}

function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

t.test('what is committed while the snapshot is on its way is not lost', async (t) => {
  const ORDERS = [
    ['this process', [9, 8]],
    ['this process', [8, 9]],
    ['another', [9, 8]],
    ['another', [8, 9]],
  ] as const
  for (const [from, versions] of ORDERS) {
    const { database, reader, commit, message, join } = setUp(t)
    database.rows.set('a', 7)
    const { opened, open } = gate()
    database.delivery = opened
    const joined = join('a')
    await sleep(5)
    // The snapshot was taken at version 7. Its row is overtaken by two newer ones, in this order or the other.
    for (const version of versions) from === 'another' ? message('a', version) : commit('a', version)
    t.same(reader.seen, [], 'nothing is shown before the epoch is known')
    open()
    t.same(await joined, [9], `${versions} by ${from}`)
  }
})

t.test('the snapshot is not read before the bus has agreed', async (t) => {
  const { bus, database, join } = setUp(t)
  database.rows.set('a', 1)
  const { opened, open } = gate()
  bus.agreed = opened
  const joined = join('a')
  const second = join('a')
  await sleep(5)
  t.same(database.asked, [], 'who joins second waits as well')
  database.rows.set('a', 2) // Of another process, whose message nobody heard.
  open()
  t.same(await joined, [2])
  t.same(await second, [2])
})

t.test('old, doubled and disordered messages are dropped', async (t) => {
  const { bus, database, reader, commit, message, join } = setUp(t)
  database.rows.set('a', 10)
  t.same(await join('a'), [10])
  for (const version of [11, 11, 9, 10, 13, 12, 13, 15]) message('a', version)
  commit('a', 14)
  message('b', 99)
  t.same(reader.seen, [11, 13, 15])
  for (const nonsense of [
    '',
    'x',
    'null',
    '{}',
    '[]',
    '[16]',
    '["16"]',
    '[1e300,"1","0","0",null,1,1,"x",null]',
    '[16,"x","0","0",null,1,1,"x",null]',
  ]) {
    bus.listener?.onMessage('a', nonsense)
  }
  t.same(reader.seen, [11, 13, 15], 'and so is what no Farebox wrote')
})

t.test('a lost message is found by comparing', async (t) => {
  const { bus, database, reader, join } = setUp(t)
  database.rows.set('a', 1)
  await join('a')
  database.rows.set('a', 2)
  await sleep(50)
  t.same(reader.seen, [], 'not at once')
  await eventually('comparing', () => reader.seen.length === 1)
  bus.isUp = false
  database.rows.set('a', 3)
  await eventually('comparing, soon while the bus is down', () => reader.seen.length === 2, 500)
  bus.isUp = true
  database.rows.set('a', 4)
  bus.listener?.onGap()
  await eventually('comparing, at once when it is back', () => reader.seen.length === 3, 500)
  t.same(reader.seen, [2, 3, 4])
})

t.test('comparing goes on when the database does not answer', async (t) => {
  const { database, reader, warnings, join } = setUp(t)
  database.rows.set('a', 1)
  await join('a')
  database.failing = true
  await eventually('a warning', () => warnings.length > 0)
  database.failing = false
  database.rows.set('a', 2)
  await eventually('comparing, soon after', () => reader.seen.length > 0, 500)
  t.same(reader.seen, [2])
  t.same(warnings[0], 'the feed could not be compared with the database')
})

t.test('a new epoch starts anew, also with lower versions', async (t) => {
  const { bus, database, reader, message, join } = setUp(t)
  database.rows.set('a', 10)
  await join('a')
  database.epoch = '2'
  database.rows.set('a', 4)
  bus.listener?.onGap()
  await eventually('the new epoch', () => reader.seen.length > 0)
  message('a', 5)
  t.same(reader.seen, [4, 5])
})

t.test('a join that fails leaves only what it joined itself', async (t) => {
  const { bus, database, reader, feed, message, join } = setUp(t)
  database.rows.set('a', 1).set('b', 1)
  await join('a')
  database.failing = true
  await t.rejects(feed.join(['a', 'b'], reader), /the database is away/)
  database.failing = false
  t.same(bus.subscribed, ['a'])
  message('a', 2)
  t.same(reader.seen, [2], 'what was followed before still is')
  t.same(await join('c', 'b'), [undefined, 1], 'a wallet that is not there is none')
  t.same(bus.subscribed, ['a', 'b'])
})

t.test('joins that come while a snapshot is read share the next one', async (t) => {
  const { database, feed, join } = setUp(t)
  const ids = Array.from({ length: 100 }, (_, i) => `w${i}`)
  for (const id of ids) database.rows.set(id, 1)
  const { opened, open } = gate()
  database.delivery = opened
  const joined = ids.map((id) => join(id))
  await sleep(10)
  for (const id of ids) joined.push(join(id))
  await sleep(10)
  t.equal(database.asked.length, 1)
  open()
  t.ok((await Promise.all(joined)).every(([version]) => version === 1))
  t.ok(database.asked.length <= 3, `${database.asked.length} snapshots for 200 joins`)
  t.equal(feed.size, 100)
})

t.test('a fall below the threshold is told once', async (t) => {
  const { database, reader, message, join } = setUp(t)
  database.rows.set('a', 1)
  await join('a')
  for (const version of [2, 3, 6, 7]) message('a', version)
  t.same(reader.lows, [], 'nothing fell: it was low, and rose')
  // The threshold is five credits, and the balance follows the version: only a new epoch brings it down.
  database.epoch = '2'
  database.rows.set('a', 4)
  await eventually('the new epoch', () => reader.seen.length === 5)
  t.same(reader.lows, [4])
})

t.test('what is published can be read by the others', async (t) => {
  const first = setUp(t)
  const second = setUp(t)
  second.database.rows.set('a', 1)
  await second.join('a')
  first.commit('a', 2)
  for (const message of first.bus.published) second.bus.listener?.onMessage('a', message)
  const [topic] = await second.feed.join(['a'], second.reader)
  t.match(topic?.state, { ...figures('a', 2), epoch: '1', cause: { type: 'charge', id: null } })
})
