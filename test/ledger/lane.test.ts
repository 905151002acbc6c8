import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import type { Table, WalletRow } from '../../src/ledger/book.ts'
import type { Answer, Command } from '../../src/ledger/command.ts'
import { Lane } from '../../src/ledger/lane.ts'
import { Places } from '../../src/ledger/places.ts'
import { type BatchStore, WalletsLocked } from '../../src/ledger/store.ts'

/** How the lane orders and parts batches where somebody else holds wallets locked. The database here only takes turns. */

/** Wallets a, b … as ids that a command can name. */
const WALLETS = Object.fromEntries([...'abcdef'].map((name) => [name, randomUUID()])) as Record<string, string>

const ROWS = {} as Table<WalletRow>

function setUp() {
  const locked = new Set<string>()
  const places = new Places()
  /** Rows by their ids, with the wallets that a look into the database finds for them. */
  const rowsOn = new Map<string, string>()
  /** How often a batch of everybody's waited for a lock. */
  let waits = 0
  /** Names of the commands that were carried out, in order, and by which way. */
  const done: string[] = []
  const waysOf = new Map<string, string>()
  let turns = 0
  const store = (way: string): BatchStore => ({
    async transact(batch, avoid) {
      turns += 1
      for (const { rows } of batch) for (const { id } of rows) places.rememberRow(ROWS, id, rowsOn.get(id) as string)
      const needed = batch.flatMap((command) => places.walletsOf(command))
      const avoided = needed.filter((id) => avoid.has(id))
      if (avoided.length > 0) throw new WalletsLocked(avoided)
      await delay(2)
      const stuck = needed.filter((id) => locked.has(id))
      if (stuck.length > 0 && way !== 'siding') waits += 1
      if (stuck.length > 0) throw new WalletsLocked([...new Set(stuck)], new Error('canceling statement due to lock timeout'))
      for (const { name } of batch) {
        done.push(name)
        waysOf.set(name, way)
      }
      return batch.map(({ name }): Answer => ({ status: 200, body: name, replayed: false }))
    },
    close() {},
  })
  const lane = new Lane([store('one'), store('two')], store('siding'), places, { warn() {}, error() {} })
  /** A command by its name, `a1` being the first on wallet a, `ab1` one on both. */
  const command = (name: string): Command => ({
    name,
    id: randomUUID(),
    speaker: { clientId: 'c', actor: 'key:x', requestId: name, everyClient: false } as Command['speaker'],
    wallets: rowsOn.has(name) ? [] : [...name.replace(/\d+$/, '')].map((wallet) => ({ id: WALLETS[wallet] as string })),
    rows: rowsOn.has(name) ? [{ table: ROWS, id: name }] : [],
    idempotency: null,
    decide: () => ({ ok: false, refusal: { code: 'internal', detail: '' } }),
  })
  return {
    done,
    lane,
    waysOf,
    turns: () => turns,
    waits: () => waits,
    /** A command that names a row of this wallet, which the process has not heard of. */
    row(name: string, wallet: string) {
      rowsOn.set(name, WALLETS[wallet] as string)
    },
    lock: (name: string) => locked.add(WALLETS[name] as string),
    unlock: (name: string) => locked.delete(WALLETS[name] as string),
    submit: (name: string) => lane.submit(command(name)).then(({ body }) => body),
    submitEach: (...names: string[]) => lane.submitEach(names.map(command)),
    submitAll: (...names: string[]) => Promise.all(lane.submitAll(names.map(command))),
  }
}

/** The names on one wallet, in the order in which they were carried out. */
const on = (wallet: string, done: readonly string[]) => done.filter((name) => name.includes(wallet))

t.test('commands on a locked wallet wait by themselves, in order, and the others go on', async (t) => {
  const { done, waysOf, lock, unlock, submit, lane } = setUp()
  t.teardown(() => lane.stop())
  lock('a')
  const names = ['b1', 'a1', 'c1', 'a2', 'd1', 'e1', 'f1', 'a3', 'b2']
  const answers = names.map(submit)
  await Promise.all(answers.filter((_, index) => !names[index]?.startsWith('a')))
  t.same(on('a', done), [])
  t.same(on('b', done), ['b1', 'b2'])
  const later = [submit('a4'), submit('b3'), submit('a5')]
  t.equal(await later[1], 'b3', 'is not held up')
  unlock('a')
  t.same(await Promise.all([...answers, ...later]), [...names, 'a4', 'b3', 'a5'])
  t.same(on('a', done), ['a1', 'a2', 'a3', 'a4', 'a5'])
  t.equal(waysOf.get('a4'), 'siding', 'who comes while it is locked goes there at once')
  t.not(waysOf.get('b3'), 'siding')
  await submit('a6')
  t.not(waysOf.get('a6'), 'siding', 'and comes back once it is free')
})

t.test('what came together stays together and in order', async (t) => {
  const { done, waysOf, lock, unlock, submitAll, submit, lane } = setUp()
  t.teardown(() => lane.stop())
  lock('a')
  const together = submitAll('b1', 'a1', 'b2', 'c1')
  await delay(30)
  t.same(
    done.filter((name) => waysOf.get(name) === 'siding' && name === 'a1'),
    [],
  )
  await submit('d1')
  unlock('a')
  t.same(
    (await together).map(({ body }) => body),
    ['b1', 'a1', 'b2', 'c1'],
  )
  t.same(on('b', done), ['b1', 'b2'])
})

t.test('and is in order also where it is more than one batch', async (t) => {
  for (const at of [0, 700]) {
    const { done, lock, unlock, submit, submitAll, lane } = setUp()
    lock('a')
    // The first names two wallets, so that nobody can tell that the others are on one alone: all of them stay together.
    const names = ['cd0', ...Array.from({ length: 999 }, (_, n) => `b${n + 1}`)]
    names[at] = at === 0 ? 'ac0' : 'a700'
    const together = submitAll(...names)
    const others = [submit('e1'), submit('a1000')]
    t.equal(await others[0], 'e1')
    await delay(50)
    unlock('a')
    await Promise.all([together, ...others])
    t.same(
      done.filter((name) => names.includes(name)),
      names,
    )
    await lane.stop()
  }
})

t.test('a row of a locked wallet that was not heard of before waits by itself, too, and holds nobody up', async (t) => {
  const { done, waysOf, lock, unlock, row, submit, waits, lane } = setUp()
  t.teardown(() => lane.stop())
  lock('a')
  const first = submit('a1')
  await delay(20)
  const before = waits()
  row('r1', 'a')
  row('r2', 'a')
  const rows = [submit('r1'), submit('r2')]
  t.same(await Promise.all([submit('b1'), submit('c1'), submit('d1')]), ['b1', 'c1', 'd1'])
  t.equal(waits(), before, 'only the siding looks again')
  t.same(done.toSorted(), ['b1', 'c1', 'd1'])
  unlock('a')
  t.same(await Promise.all([first, ...rows]), ['a1', 'r1', 'r2'])
  t.equal(waysOf.get('r1'), 'siding')
})

t.test('what has nothing to do with each other does not wait for each other', async (t) => {
  const { done, lock, unlock, submitEach, lane } = setUp()
  t.teardown(() => lane.stop())
  lock('a')
  const [b1, a1, b2, c1] = submitEach('b1', 'a1', 'b2', 'c1')
  await Promise.all([b1, b2, c1])
  t.same(done.toSorted(), ['b1', 'b2', 'c1'])
  unlock('a')
  t.match(await a1, { body: 'a1' })
})

t.test('two locked wallets on the siding do not wait for each other', async (t) => {
  const { done, lock, unlock, submit, lane } = setUp()
  t.teardown(() => lane.stop())
  lock('a')
  lock('b')
  const a = submit('a1')
  const b = submit('b1')
  await delay(30)
  t.same(done, [])
  unlock('b')
  t.equal(await b, 'b1')
  t.same(done, ['b1'])
  unlock('a')
  t.equal(await a, 'a1')
})

t.test('a command that pays another wallet waits for that one too', async (t) => {
  const { done, lock, unlock, submit, lane } = setUp()
  t.teardown(() => lane.stop())
  lock('b')
  const first = submit('ab1')
  await delay(30)
  t.equal(await submit('a2'), 'a2', 'the payer is free for others')
  t.same(done, ['a2'])
  unlock('b')
  t.equal(await first, 'ab1')
})

t.test('stopping waits for the siding, and its answers end in time where the lock does not', { timeout: 30_000 }, async (t) => {
  const { done, lock, submit, turns, lane } = setUp()
  lock('a')
  const stuck = submit('a1').catch((error) => error.refusal.code)
  await delay(20)
  const stopped = lane.stop()
  t.throws(() => submit('b1'), { message: /stopping/ })
  t.equal(await stuck, 'storage_unavailable')
  await stopped
  t.same(done, [])
  t.ok(turns() < 100, `${turns()} tries in five seconds: with pauses`)
})
