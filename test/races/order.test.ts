import t from 'tap'
import { type Answer, createService, tally, times } from '../helpers/service.ts'

/** Commands of one request are carried out in the order in which they stand there, however many batches the lane makes of them. */

t.test('the order of a batch', async (t) => {
  const service = await createService(t)
  const second = await service.another()

  t.test('each command sees what those before it in the request left, beyond the size of a lane batch', async (t) => {
    const rounds = 10
    let wrong = 0
    for (let round = 0; round < rounds; round += 1) {
      const wallet = await service.wallet()
      // 1,000 commands: a grant and the charge that spends it, in turns. Out of order a charge finds nothing.
      const commands = times(1_000, (i) => ({
        operation: i % 2 ? 'charge' : 'grant',
        idempotency_key: `order-${round}-${i}`,
        body: i % 2 ? { wallet, amount: '1' } : { wallet, kind: 'bonus', amount: '1' },
      }))
      const { results } = await service.made('/v1/batch', { commands })
      const refused = results.filter((result: Answer) => result.status !== 201).length
      const versions = results.map((result: Answer) => result.body.wallet?.version ?? 0)
      if (refused > 0 || versions.some((version: number, i: number) => i > 0 && version <= versions[i - 1])) wrong += 1
    }
    t.equal(wrong, 0, `in order in each of ${rounds} rounds of 1,000`)
    t.comment(`order: ${rounds} × 1,000 commands, ${wrong} rounds out of order`)
  })

  t.test('a grant early in the request pays for a reserve late in it', async (t) => {
    const others = await Promise.all(times(60, () => service.wallet('100')))
    const rounds = 25
    const statuses: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      const wallet = await service.wallet()
      const commands = times(512, (i) => {
        const key = { idempotency_key: `late-${round}-${i}` }
        if (i === 0) return { operation: 'grant', ...key, body: { wallet, kind: 'bonus', amount: '10' } }
        if (i === 511) return { operation: 'reserve', ...key, body: { wallet, amount: '10' } }
        // The first half is much work, the second little: it would like to overtake.
        return { operation: 'charge', ...key, body: { wallet: i < 256 ? others[i % others.length] : others[0], amount: '0.000001' } }
      })
      const { results } = await service.made('/v1/batch', { commands })
      statuses.push(results[511].status)
    }
    t.same(
      [...new Set(statuses)],
      [201],
      `the grant came first in ${statuses.filter((status) => status === 201).length} of ${rounds} rounds`,
    )
  })

  t.test('the same 200 keys in opposite order on other wallets over two lanes: one winner a key, no deadlock', async (t) => {
    const rounds = 10
    for (let round = 0; round < rounds; round += 1) {
      const [a, b] = await Promise.all([service.wallet('1000'), service.wallet('1000')])
      const commands = (wallet: string) =>
        times(200, (i) => ({ operation: 'charge', idempotency_key: `pair-${round}-${i}`, body: { wallet, amount: '1' } }))
      const [one, two] = await Promise.all([
        service.made('/v1/batch', { commands: commands(a) }),
        second.made('/v1/batch', { commands: commands(b).reverse() }),
      ])
      const codes = times(200, (i) => [one.results[i], two.results[199 - i]].map((result: Answer) => result.status).sort())
      t.same([...new Set(codes.map(String))], ['201,422'])
    }
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    const [row] = await service.query('select deadlocks::int as n from pg_stat_database where datname = current_database()')
    t.equal(row.n, 0)
    const answers = await service.query(`select status, count(*)::int as n from idempotency_keys where key like 'pair-%' group by 1`)
    t.same(answers, [{ status: 201, n: 200 * rounds }])
    t.comment(`order: ${rounds} × 200 keys, ${row.n} deadlocks`)
  })

  t.test('events of one request too', async (t) => {
    const wallet = await service.wallet('3')
    const { results } = await service.made('/v1/events', {
      events: times(1_000, (i) => ({ source: 'order', id: String(i), wallet, amount: '0.01' })),
    })
    const uncollected = results.map((result: Answer) => result.body.uncollected !== '0')
    t.equal(uncollected.indexOf(true), 300, 'the first 300 are covered, the others are not')
    t.ok(uncollected.slice(300).every(Boolean))
    t.same(tally(results), { 201: 1_000 })
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
