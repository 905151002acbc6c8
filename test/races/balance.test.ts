import t, { type Test } from 'tap'
import { type Answer, createService, tally, times } from '../helpers/service.ts'

/** Many who want the same credits: as many get them as there are credits for, whoever asks and over whatever way. */

t.test('the last credits are given out once', async (t) => {
  const service = await createService(t)
  const second = await service.another()
  const either = (i: number) => (i % 2 ? service : second)

  t.test('of 100 reserves of the whole balance at once exactly one holds', async (t) => {
    const rounds = 30
    let holds = 0
    for (let round = 0; round < rounds; round += 1) {
      const wallet = await service.wallet('500')
      const answers = await Promise.all(
        times(100, (i) => (round % 2 ? either(i) : service).post('/v1/reservations', { wallet, amount: '500' })),
      )
      const counts = tally(answers)
      if (counts['201'] === 1 && counts['402 insufficient_credits'] === 99) holds += 1
      else t.fail('not one of a hundred', { counts })
    }
    t.equal(holds, rounds)
    t.comment(`balance: ${rounds} rounds of 100: ${holds} holds, one in each; half of the rounds over two lanes`)
  })

  const DRAINS = 20
  const sixOf = async (t: Test, wallet: string, counts: Record<string, number>) => {
    t.same(counts, { 201: 6, '402 insufficient_credits': 14 })
    t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '500', held: '450', available: '50', debt: '0' })
  }

  t.test('20 times 75 of 500 holds exactly 6 times: in one batch request', async (t) => {
    const wallet = await service.wallet('500')
    const commands = times(DRAINS, (i) => ({ operation: 'reserve', idempotency_key: `batch-${i}`, body: { wallet, amount: '75' } }))
    const { results } = await service.made('/v1/batch', { commands })
    await sixOf(t, wallet, tally(results))
    t.same(
      results.map((result: Answer) => result.status),
      [...Array(6).fill(201), ...Array(14).fill(402)],
      'first come, first served',
    )
  })
  t.test('20 times 75 of 500 holds exactly 6 times: in many requests at once', async (t) => {
    const wallet = await service.wallet('500')
    await sixOf(t, wallet, tally(await Promise.all(times(DRAINS, () => service.post('/v1/reservations', { wallet, amount: '75' })))))
  })
  t.test('20 times 75 of 500 holds exactly 6 times: one after the other', async (t) => {
    const wallet = await service.wallet('500')
    const answers: Answer[] = []
    for (let i = 0; i < DRAINS; i += 1) answers.push(await either(i).post('/v1/reservations', { wallet, amount: '75' }))
    await sixOf(t, wallet, tally(answers))
  })
  t.test('20 times 75 of 500 holds exactly 6 times: over two lanes, in batches and alone, twenty times', async (t) => {
    for (let round = 0; round < 20; round += 1) {
      const wallet = await service.wallet('500')
      const batch = (name: string) =>
        times(5, (i) => ({ operation: 'reserve', idempotency_key: `${name}-${round}-${i}`, body: { wallet, amount: '75' } }))
      const [one, two, ...alone] = await Promise.all([
        service.made('/v1/batch', { commands: batch('one') }),
        second.made('/v1/batch', { commands: batch('two') }),
        ...times(10, (i) => either(i).post('/v1/reservations', { wallet, amount: '75' })),
      ])
      await sixOf(t, wallet, tally([...one.results, ...two.results, ...(alone as Answer[])]))
    }
  })
  t.test('20 one-shot charges of 75 on 500 with an overdraft of 100 are taken exactly 8 times', async (t) => {
    const wallet = await service.wallet('500', { settings: { overdraft_limit: '100' } })
    const answers = await Promise.all(times(DRAINS, (i) => either(i).post('/v1/charges', { wallet, amount: '75' })))
    t.same(tally(answers), { 201: 8, '402 insufficient_credits': 12 })
    t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '-100', held: '0', available: '-100', debt: '100' })
  })
  t.test('a mix of every command on one hot wallet from two lanes keeps the book', async (t) => {
    const wallet = await service.wallet('200', { settings: { overdraft_limit: '20' } })
    const settled: string[] = []
    const work = async (i: number) => {
      const caller = either(i)
      if (i % 10 === 0) return settled.push(String((await caller.post('/v1/grants', { wallet, kind: 'bonus', amount: '3' })).status))
      const hold = await caller.post('/v1/reservations', { wallet, amount: '2.5', partial: i % 3 === 0 })
      if (hold.status !== 201) return settled.push(`${hold.status}`)
      const path = `/v1/reservations/${hold.body.id}`
      const other = either(i + 1)
      if (i % 4 === 0) return settled.push(`release ${(await other.post(`${path}/release`)).status}`)
      const committed = await other.post(`${path}/commit`, { amount: i % 5 === 0 ? '4' : '1.25' })
      if (i % 7 === 0) await caller.post(`/v1/charges/${committed.body.id}/refund`, { amount: '0.5' })
      return settled.push(`commit ${committed.status}`)
    }
    await Promise.all(times(600, work))
    t.equal(settled.length, 600)
    const counts: Record<string, number> = {}
    for (const name of settled) counts[name] = (counts[name] ?? 0) + 1
    t.comment(`balance: 600 pieces of work: ${JSON.stringify(counts)}`)
    t.notOk(
      Object.keys(counts).some((name) => /\b5\d\d$/.test(name)),
      'nothing failed',
    )
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
