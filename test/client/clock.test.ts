import t from 'tap'
import { jitter, retryAfterMs, Timers, within } from '../../src/client/clock.ts'
import { FakeClock } from './fake-farebox.ts'

t.test('a wait is anything up to its bound, which doubles from half a second to half a minute', async (t) => {
  for (let attempt = 0; attempt < 2_000; attempt += 1) {
    const bound = Math.min(30_000, 500 * 2 ** attempt)
    t.equal(
      jitter(attempt, () => 0),
      0,
    )
    t.equal(
      jitter(attempt, () => 0.5),
      bound / 2,
    )
    if (attempt > 8) attempt += 300
  }
})

t.test('a thousand clients spread evenly over the wait', async (t) => {
  const waits = Array.from({ length: 1_000 }, () => jitter(20, Math.random))
  t.ok(waits.every((wait) => wait >= 0 && wait < 30_000))
  for (let third = 0; third < 3; third += 1) {
    const share = waits.filter((wait) => Math.floor(wait / 10_000) === third).length
    t.ok(share > 200 && share < 470, `${share} in a third`)
  }
})

t.test('a wait that a server names is whole seconds and at most an hour', async (t) => {
  t.same([0, 5, '7', 1e9, -1, null, undefined, 'Wed, 21 Oct 2026 07:28:00 GMT', Number.NaN, {}].map(retryAfterMs), [
    0,
    5_000,
    7_000,
    3_600_000,
    ...[0, 0, 0, 0, 0, 0],
  ])
})

t.test('timers end with their owner, and none starts afterwards', async (t) => {
  const clock = new FakeClock()
  const outer = new Timers(clock)
  const inner = new Timers(outer)
  let fired = 0
  const count = () => {
    fired += 1
  }
  outer.after(10, count)
  inner.after(20, count)
  inner.after(30, count)()
  clock.advance(10)
  t.equal(fired, 1)
  t.same(clock.waits, [10])
  outer.end()
  t.same(clock.waits, [])
  inner.after(5, count)
  outer.after(5, count)()
  t.same(clock.waits, [])
  clock.advance(100)
  t.equal(fired, 1)
})

t.test('what takes too long is given up, and what it says later is nobody’s', async (t) => {
  const clock = new FakeClock()
  const timers = new Timers(clock)
  t.equal(await within(10, timers, () => 'now'), 'now')
  await t.rejects(
    within(10, timers, () => Promise.reject(new Error('its own'))),
    { message: 'its own' },
  )
  let fail: (error: Error) => void = () => {}
  const late = within(
    10,
    timers,
    () =>
      new Promise<string>((_, reject) => {
        fail = reject
      }),
  )
  clock.advance(10)
  await t.rejects(late, { message: 'no answer within 10 ms' })
  fail(new Error('too late'))
  await new Promise((resolve) => setImmediate(resolve))
  t.same(clock.waits, [])
})
