import t from 'tap'
import { createService, tally, times } from '../helpers/service.ts'

/** Refunds of one charge never exceed it, however many ask at once. */

t.test('concurrent refunds', async (t) => {
  const service = await createService(t)
  const second = await service.another()
  const either = (i: number) => (i % 2 ? service : second)

  t.test('of 50 refunds of the whole charge exactly one is done', async (t) => {
    const rounds = 20
    for (let round = 0; round < rounds; round += 1) {
      const wallet = await service.wallet('100')
      const { id } = await service.made('/v1/charges', { wallet, amount: '60' })
      const answers = await Promise.all(times(50, (i) => either(i).post(`/v1/charges/${id}/refund`, {})))
      t.same(tally(answers), { 201: 1, '409 charge_refunded': 49 })
      t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '100' })
    }
    t.comment(`refunds: ${rounds} charges, ${rounds * 50} refunds asked, ${rounds} done`)
  })

  t.test('50 partial refunds past 100 % stop at the charge', async (t) => {
    for (const [part, fit] of [
      ['0.3', 33],
      ['0.5', 20],
      ['7', 1],
    ] as const) {
      const wallet = await service.wallet('100')
      const { id } = await service.made('/v1/charges', { wallet, amount: '10' })
      const answers = await Promise.all(times(50, (i) => either(i).post(`/v1/charges/${id}/refund`, { amount: part })))
      const counts = tally(answers)
      t.equal(counts['201'], fit, `${part} fits ${fit} times`)
      const refused = 50 - fit
      t.equal((counts['422 refund_exceeds_charge'] ?? 0) + (counts['409 charge_refunded'] ?? 0), refused)
      const [row] = await service.query(
        `select c.refunded, sum(t.amount) as rows, c.captured + c.overage as collected from charges c
          join transactions t on t.charge_id = c.id and t.kind = 'refund' where c.id = $1 group by c.wallet_id, c.id`,
        [id.slice(4)],
      )
      t.equal(Number(row.rows), Math.round(Number(part) * 1e6) * fit, 'Σ of the ledger is exact')
      t.equal(row.refunded, row.rows)
      t.ok(Number(row.rows) <= Number(row.collected))
      t.comment(`refunds: 50 × ${part} of 10: ${JSON.stringify(counts)}`)
    }
  })

  t.test('500 charges, each refunded twice at once: 500 done, 500 refused', async (t) => {
    const wallet = await service.wallet('5000')
    const charge = (i: number) => ({ operation: 'charge', idempotency_key: `charge-${i}`, body: { wallet, amount: '2.5' } })
    const { results } = await service.made('/v1/batch', { commands: times(500, charge) })
    const asked = results.flatMap((result: { body: { id: string } }) => [service, second].map((app) => [app, result.body.id] as const))
    const answers = await Promise.all(asked.map(([app, id]: [typeof second, string]) => app.post(`/v1/charges/${id}/refund`, {})))
    t.same(tally(answers), { 201: 500, '409 charge_refunded': 500 })
    t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '5000' })
  })

  t.test('refunds race with the charges that go on', async (t) => {
    const wallet = await service.wallet('50', { settings: { overdraft_limit: '10' } })
    const charges = await Promise.all(times(20, () => service.made('/v1/charges', { wallet, amount: '2' })))
    const answers = await Promise.all(
      charges.flatMap(({ id }, i) => [
        either(i).post(`/v1/charges/${id}/refund`, { amount: '1.5' }),
        either(i + 1).post('/v1/charges', { wallet, amount: '1.75' }),
      ]),
    )
    const counts = tally(answers)
    t.equal(
      Object.values(counts).reduce((sum, n) => sum + n, 0),
      40,
    )
    t.notOk(Object.keys(counts).some((name) => name.startsWith('5')))
    t.comment(`refunds: beside charges that go on: ${JSON.stringify(counts)}`)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
