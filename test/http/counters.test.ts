import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Counters, type SharedCounters } from '../../src/http/counters.ts'

/** A Redis in this process. */
function sharedMap(): SharedCounters & { isUp: boolean; fails: boolean; readonly sums: Map<string, number>; asked: number } {
  const sums = new Map<string, number>()
  return {
    isUp: true,
    fails: false,
    asked: 0,
    sums,
    async add(counts) {
      this.asked += 1
      if (this.fails) throw new Error('no Redis')
      return counts.map(([key, count]) => {
        const sum = (sums.get(key) ?? 0) + count
        sums.set(key, sum)
        return sum
      })
    },
    close() {},
  }
}

async function until(t: Test, condition: () => boolean) {
  for (let tries = 0; tries < 400 && !condition(); tries += 1) await sleep(25)
  t.ok(condition(), 'in time')
}

t.test('counts each key for itself and begins anew with the window', async (t) => {
  const counters = new Counters(200, null)
  await sleep(200 - (Date.now() % 200) + 1)
  t.match(counters.add('a'), { current: 1 })
  t.match(counters.add('a'), { current: 2 })
  const { current, ttl } = counters.add('b')
  t.equal(current, 1)
  t.ok(ttl > 0 && ttl <= 200, `${ttl} ms are left`)
  await sleep(ttl + 5)
  t.match(counters.add('a'), { current: 1 })
})

t.test('a clock that is set back does not keep an old window', async (t) => {
  const counters = new Counters(60_000, null)
  const { now } = Date
  t.teardown(() => {
    Date.now = now
  })
  Date.now = () => 1_000_000_000_000
  t.match(counters.add('a'), { current: 1 })
  Date.now = () => 999_990_000_000
  const { current, ttl } = counters.add('a')
  t.equal(current, 1)
  t.ok(ttl <= 60_000)
})

t.test('keys without end do not fill the memory', async (t) => {
  const counters = new Counters(3_600_000, null)
  for (let i = 0; i < 50_000; i += 1) counters.add(`address-${i}`)
  t.match(counters.add('address-1'), { current: 2 })
  counters.add('one more')
  t.match(counters.add('address-0'), { current: 1 }, 'the oldest is forgotten')
})

t.test('two processes learn what the other has counted', async (t) => {
  const shared = sharedMap()
  const [one, two] = [new Counters(3_600_000, shared), new Counters(3_600_000, shared)]
  t.teardown(() => {
    one.stop()
    two.stop()
  })
  for (let i = 0; i < 10; i += 1) one.add('a')
  two.add('a')
  await until(t, () => [...shared.sums.values()][0] === 11)
  two.add('a')
  await until(t, () => [...shared.sums.values()][0] === 12)
  t.equal(two.add('a').current, 13)
})

t.test('without Redis each counts for itself; a lost answer is not told twice', async (t) => {
  const shared = sharedMap()
  const counters = new Counters(3_600_000, shared)
  t.teardown(() => counters.stop())
  shared.isUp = false
  t.equal(counters.add('a').current, 1)
  shared.fails = true
  shared.isUp = true
  await until(t, () => shared.asked === 1)
  t.equal(counters.add('a').current, 2)
  shared.fails = false
  await until(t, () => shared.sums.size === 1)
  t.same([...shared.sums.values()], [1], 'the first was told once, and lost')
  t.equal(counters.add('a').current, 3)
})
