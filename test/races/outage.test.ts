import t from 'tap'
import { createProxy } from '../helpers/proxy.ts'
import { type Answer, createService, tally, times } from '../helpers/service.ts'

/** PostgreSQL is not there, in each of the ways in which it can be missing. */

t.test('outages', { jobs: 4 }, async (t) => {
  for (const fault of ['down', 'reset', 'hangup', 'blackhole'] as const) {
    t.test(`the database is gone (${fault}): 503 with Retry-After, and all is well when it is back`, async (t) => {
      const service = await createService(t)
      const proxy = await createProxy(t, service.url)
      const behind = await service.another({ url: proxy.url })
      const wallet = await service.wallet('1000')
      // The key is known from then on, as in a running service.
      t.equal((await behind.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: `${fault}-before` })).status, 201)

      await proxy.set(fault)
      const spans: number[] = []
      const timed = async (work: Promise<Answer>) => {
        const started = performance.now()
        const answer = await work
        spans.push(performance.now() - started)
        return answer
      }
      const ready = timed(behind.get('/readyz', { key: null }))
      // Twice: connections that were open when it went, and connections that have to be opened while it is away.
      for (const wave of ['first', 'second']) {
        const commands = times(10, (i) => timed(behind.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: `${fault}-${i}` })))
        const reads = [timed(behind.get(`/v1/wallets/${wallet}/balance`)), timed(behind.get('/v1/wallets'))]
        const answers = await Promise.all([...commands, ...reads])
        t.same(tally(answers), { '503 storage_unavailable': 12 }, `every answer of the ${wave} wave is a 503`)
        t.ok(
          answers.every((answer) => answer.headers['retry-after'] !== undefined),
          'that says when to come back',
        )
      }
      t.equal((await ready).status, 503, 'not ready')
      t.ok(Math.max(...spans) < 12_000, 'nobody waits for long')
      t.equal((await behind.get('/healthz', { key: null })).status, 200, 'alive')

      await proxy.set('pass')
      const started = performance.now()
      const again = await Promise.all(
        times(10, (i) => behind.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: `${fault}-${i}` })),
      )
      const recovery = performance.now() - started
      t.same(tally(again), { 201: 10 }, 'the same keys go through')
      t.equal((await behind.get(`/v1/wallets/${wallet}/balance`)).body?.balance, '989', 'each once')
      t.comment(
        `outage: ${fault}: longest answer ${Math.round(Math.max(...spans))} ms, first answers ${Math.round(recovery)} ms after it was back`,
      )
      t.same(await service.unsound(), [])
    })
  }
})
