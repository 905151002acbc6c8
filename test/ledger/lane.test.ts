import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import type { Answer, Command } from '../../src/ledger/command.ts'
import { Lane } from '../../src/ledger/lane.ts'
import { Places } from '../../src/ledger/places.ts'
import { type BatchStore, WalletsLocked } from '../../src/ledger/store.ts'

/** How the lane orders and parts batches where somebody else holds wallets locked. The database here only takes turns. */

/** Wallets a, b … as ids that a command can name. */
const WALLETS = Object.fromEntries([...'abcdef'].map((name) => [name, randomUUID()])) as Record<string, string>

function setUp() {
  const locked = new Set<string>()
  /** Names of the commands that were carried out, in order, and by which way. */
  const done: string[] = []
  const waysOf = new Map<string, string>()
  let turns = 0
  const store = (way: string): BatchStore => ({
    async transact(batch) {
      turns += 1
      await delay(2)
      const stuck = batch.flatMap(({ wallets }) => wallets.map((ref) => ('id' in ref ? ref.id : ''))).filter((id) => locked.has(id))
      if (stuck.length > 0) throw new WalletsLocked([...new Set(stuck)], new Error('canceling statement due to lock timeout'))
      for (const { name } of batch) {
        done.push(name)
        waysOf.set(name, way)
      }
      return batch.map(({ name }): Answer => ({ status: 200, body: name, replayed: false }))
    },
    close() {},
  })
  const lane = new Lane([store('one'), store('two')], store('siding'), new Places(), { warn() {}, error() {} })
  /** A command by its name, `a1` being the first on wallet a, `ab1` one on both. */
  const command = (name: string): Command => ({
    name,
    id: randomUUID(),
    speaker: { clientId: 'c', actor: 'key:x', requestId: name, everyClient: false } as Command['speaker'],
    wallets: [...name.replace(/\d+$/, '')].map((wallet) => ({ id: WALLETS[wallet] as string })),
    rows: [],
    idempotency: null,
    decide: () => ({ ok: false, refusal: { code: 'internal', detail: '' } }),
  })
  return {
    done,
    lane,
    waysOf,
    turns: () => turns,
    lock: (name: string) => locked.add(WALLETS[name] as string),
    unlock: (name: string) => locked.delete(WALLETS[name] as string),
    submit: (name: string) => lane.submit(command(name)).then(({ body }) => body),
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
