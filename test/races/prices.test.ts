import t from 'tap'
import { verifyCharges } from '../../src/charges/verify-charges.ts'
import { type Body, createService, times } from '../helpers/service.ts'

/** Prices change while work goes on. */

t.test('prices change under load, on two processes', async (t) => {
  const service = await createService(t)
  const other = await service.another()
  const apps = [service, other]
  const admin = { key: service.adminKey }
  const wallets = await Promise.all(times(4, () => service.wallet('1000000')))
  const set = async (app: (typeof apps)[number], n: number) => {
    const rates = { input_tokens: `1.${String(n).padStart(3, '0')}` }
    return app.made('/v1/admin/prices', { model: 'moving', provider: 'us', rates, reason: 'x' }, admin)
  }
  const first = await set(service, 0)
  await new Promise((resolve) => setTimeout(resolve, 200))

  const versions: Body[] = [first]
  /** The version that a process has answered for last, by process. */
  const promised: Body[] = [first, first]
  const charges: { charge: Body; promise: Body }[] = []
  let running = true
  const usage = { input_tokens: 1_000_000 }
  const work = times(8, async (n) => {
    const app = apps[n % 2] as (typeof apps)[number]
    const wallet = wallets[n % 4]
    while (running) {
      const promise = promised[n % 2]
      const hold = await app.made('/v1/reservations', { wallet, model: 'moving', usage })
      charges.push({ charge: await app.made('/v1/charges', { wallet, model: 'moving', usage }), promise })
      charges.push({ charge: await app.made(`/v1/reservations/${hold.id}/commit`, { usage }), promise })
    }
  })
  for (let n = 1; n <= 40; n += 1) {
    const version = await set(apps[n % 2] as (typeof apps)[number], n)
    versions.push(version)
    promised[n % 2] = version
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
  running = false
  await Promise.all(work)

  t.test('every charge is that of a version, and comes to the same again', async (t) => {
    await service.rooms.prices.refresh()
    const verified = await verifyCharges(service.rooms.chargeReads, service.rooms.prices.current())
    t.same(verified, { charges: charges.length, different: 0, examples: [] })
    const prices = await service.query(
      `select price, count(*)::int as n from (select quote->'terms'->'model'->>'price' as price from charges) c group by 1`,
    )
    t.ok(prices.length > 20, `${charges.length} charges at ${prices.length} prices`)
    t.comment(`prices: ${charges.length} charges while ${versions.length} versions came, at ${prices.length} of them`)
  })

  t.test('who was told of a version never uses an older one', async (t) => {
    const order = new Map(versions.map(({ id }, index) => [id.slice(4), index]))
    const rows = await service.query(`select id, quote->'terms'->'model'->>'price' as price from charges`)
    const used = new Map(rows.map(({ id, price }) => [id.replaceAll('-', ''), order.get(price.replaceAll('-', '')) ?? -1]))
    const stale = charges.filter(
      ({ charge, promise }) => (used.get(charge.id.slice(4)) as number) < (order.get(promise.id.slice(4)) as number),
    )
    t.same(
      stale.map(({ charge }) => charge.id),
      [],
    )
  })

  t.test('a hold and its commit have one price', async (t) => {
    const [row] = await service.query(
      `select count(*)::int as n from charges c join reservations r on r.id = c.reservation_id
        where c.quote->'terms'->'model'->>'price' <> r.quote->'terms'->'model'->>'price'`,
    )
    t.equal(row.n, 0)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
