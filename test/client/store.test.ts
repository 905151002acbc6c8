import t from 'tap'
import { Timers } from '../../src/client/clock.ts'
import { GRACE_MS, OWN, Store } from '../../src/client/store.ts'
import { FakeClock } from './fake-farebox.ts'

function frame(version: number, epoch: string | undefined = '1', id = 'wal_a') {
  const figures = { balance: '1', held: '0', available: `${version}`, debt: '0' }
  return { wallet_id: id, ...(epoch && { epoch }), version, ...figures, as_of: '2026-01-01T00:00:00.000Z' }
}

function create() {
  const clock = new FakeClock()
  let changes = 0
  const store = new Store(new Timers(clock), () => {
    changes += 1
  })
  const versionOf = (name = 'wal_a') => store.get(name)?.version
  return { clock, store, versionOf, changes: () => changes }
}

t.test('the highest version of an epoch stays, in whatever order they come', async (t) => {
  const { store, versionOf } = create()
  const heard: number[] = []
  store.want('wal_a', ({ version }) => heard.push(version))
  for (const version of [3, 1, 2, 3, 5, 4]) store.accept(frame(version))
  t.equal(versionOf(), 5)
  t.same(heard, [3, 5])
})

t.test('a new epoch starts anew with whatever version', async (t) => {
  const { store, versionOf } = create()
  store.want('wal_a', () => {})
  store.accept(frame(100, '1'))
  store.accept(frame(7, '2'))
  t.equal(versionOf(), 7)
  store.accept(frame(6, '2'))
  t.equal(versionOf(), 7)
  store.accept(frame(8, '2'))
  t.equal(versionOf(), 8)
})

t.test('a state without an epoch, from a poll, is one of the epoch that is known', async (t) => {
  const { store, versionOf } = create()
  store.want('wal_a', () => {})
  store.accept(frame(5, '3'))
  store.accept(frame(4, ''))
  t.equal(versionOf(), 5)
  store.accept(frame(6, ''))
  t.match(store.get('wal_a'), { version: 6, epoch: '3', cause: null })
})

t.test('the object of a wallet is the same until something changed, and cannot be altered', async (t) => {
  const { store } = create()
  store.want('wal_a', () => {})
  store.accept(frame(5))
  const first = store.get('wal_a')
  store.accept(frame(5))
  store.accept(frame(4))
  t.equal(store.get('wal_a'), first)
  store.accept(frame(6))
  t.not(store.get('wal_a'), first)
  t.equal(first?.version, 5)
  t.ok(Object.isFrozen(first))
})

t.test('what is no state, or of a wallet that nobody wants, changes nothing', async (t) => {
  const { store } = create()
  store.want('wal_a', () => t.fail('nothing happened'))
  const wrong = [null, 1, 'x', {}, { ...frame(1), version: '1' }, { ...frame(1), available: 1 }, { ...frame(1), epoch: 1 }]
  for (const one of wrong) t.equal(store.accept(one), undefined)
  t.equal(store.accept(frame(1, '1', 'wal_b')), 'wal_b')
  t.equal(store.get('wal_a'), undefined)
  t.equal(store.get('wal_b'), undefined)
})

t.test('fifty listeners share one wish, and each leaves by itself', async (t) => {
  const { clock, store, changes } = create()
  let heard = 0
  const listener = () => {
    heard += 1
  }
  const leave = Array.from({ length: 50 }, () => store.want('wal_a', listener))
  t.equal(store.entries.length, 1)
  t.equal(changes(), 1)
  store.accept(frame(1))
  t.equal(heard, 50)
  for (const stop of leave.slice(1)) stop()
  leave[1]?.() // A second time does nothing.
  store.accept(frame(2))
  t.equal(heard, 51)
  t.same(clock.waits, [], 'one still listens')
  leave[0]?.()
  t.same(clock.waits, [GRACE_MS])
})

t.test('a wallet is forgotten a while after its last listener has gone, and not when one returns', async (t) => {
  const { clock, store, changes } = create()
  store.want('wal_a', () => {})()
  store.accept(frame(1))
  clock.advance(GRACE_MS - 1)
  const stop = store.want('wal_a', () => {})
  clock.advance(GRACE_MS)
  t.equal(store.get('wal_a')?.version, 1)
  t.equal(changes(), 1)
  stop()
  clock.advance(GRACE_MS)
  t.equal(store.get('wal_a'), undefined)
  t.notOk(store.wants('wal_a'))
  t.equal(changes(), 2)
})

t.test('two names of a wallet show the same, and it stays until both are given up', async (t) => {
  const { clock, store, versionOf } = create()
  let heard = 0
  store.want('wal_a', () => {})
  store.accept(frame(4))
  const stop = store.want('user:alice', () => {
    heard += 1
  })
  store.accept(
    frame(4),
    store.entries.find(({ name }) => name === 'user:alice'),
  )
  t.equal(versionOf('user:alice'), 4)
  t.equal(heard, 1, 'the name has a value now, though the wallet did not change')
  store.accept(frame(5))
  t.equal(heard, 2)
  stop()
  clock.advance(GRACE_MS)
  t.equal(versionOf('user:alice'), undefined)
  t.equal(versionOf(), 5)
})

t.test("the caller's own wallets are those that the answer names", async (t) => {
  const { store, versionOf } = create()
  store.want(OWN, () => {})
  t.equal(versionOf(OWN), undefined)
  store.accept(frame(4), store.entries[0])
  t.equal(versionOf(OWN), 4)
  t.ok(store.wants('wal_a'))
})

t.test('a row of the ledger counts once', async (t) => {
  const { store } = create()
  store.want('wal_a', () => {})
  t.equal(store.lastSeqOf('wal_a'), undefined)
  t.same(
    [4, 5, 5, 4, 6].map((seq) => store.acceptSeq('wal_a', seq)),
    [true, true, false, false, true],
  )
  t.equal(store.lastSeqOf('wal_a'), 6)
  t.equal(store.acceptSeq('wal_b', 1), false)
})

t.test('a listener that throws keeps no other from its turn', async (t) => {
  const { store } = create()
  let heard = 0
  let caught: unknown
  process.once('uncaughtException', (error) => {
    caught = error
  })
  store.want('wal_a', () => {
    throw new Error('a bug of the page')
  })
  store.want('wal_a', () => {
    heard += 1
  })
  store.accept(frame(1))
  t.equal(heard, 1)
  await new Promise((resolve) => setImmediate(resolve))
  t.match(caught, { message: 'a bug of the page' })
})
