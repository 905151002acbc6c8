import pg from 'pg'
import t from 'tap'
import { HOUR_MS } from '../../src/kernel/time.ts'
import { createService } from '../helpers/service.ts'

/** The time of a decision is the database's, and as young as the lock: what a process believes, or believed before it waited, ends no hold. */

const realNow = Date.now
let shift = 0
Date.now = () => realNow() + shift
t.teardown(() => {
  Date.now = realNow
})

t.test('time', async (t) => {
  const service = await createService(t)
  const wallet = await service.wallet('100')
  const clock = async () => Number((await service.query('select extract(epoch from clock_timestamp()) * 1000 as now'))[0].now)

  for (const [name, hours] of [
    ['ahead', 2],
    ['behind', -1],
  ] as const) {
    t.test(`a process whose clock is ${Math.abs(hours)} h ${name} ends no hold early and none late`, async (t) => {
      const short = await service.made('/v1/reservations', { wallet, amount: '1', ttl_seconds: 1 })
      shift = hours * HOUR_MS
      const hold = await service.made('/v1/reservations', { wallet, amount: '1', ttl_seconds: 60 })
      const left = Date.parse(hold.expires_at) - (await clock())
      t.ok(left > 0 && left <= 60_000, 'the deadline is counted from the time of the database', { left })
      await service.sweep()
      const committed = await service.made(`/v1/reservations/${hold.id}/commit`, { amount: '1' })
      t.equal(committed.late, false)
      const over = Date.parse(short.expires_at) + 5 - (await clock())
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, over)))
      t.equal((await service.made(`/v1/reservations/${short.id}/commit`, { amount: '1' })).late, true)
      shift = 0
    })
  }

  t.test('a deadline that passes while the command waits for the wallet has passed', async (t) => {
    const hold = await service.made('/v1/reservations', { wallet, amount: '5', ttl_seconds: 1 })
    const holder = new pg.Client({ connectionString: service.url })
    await holder.connect()
    t.teardown(() => holder.end())
    await holder.query('begin')
    await holder.query('select id from wallets where id = $1 for no key update', [wallet.slice(4)])
    const committing = service.post(`/v1/reservations/${hold.id}/commit`, { amount: '5' })
    const left = Date.parse(hold.expires_at) - (await clock())
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, left) + 20))
    await holder.query('commit')
    const committed = await committing
    t.equal(committed.status, 200)
    t.equal(committed.body.late, true)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
  t.comment('clock: a process 2 h ahead and 1 h behind, a wait over a deadline: 0 early, 0 late')
})
