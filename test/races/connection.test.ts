import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { createProxy } from '../helpers/proxy.ts'
import { type Answer, createService, type TestService, tally, times } from '../helpers/service.ts'

/** Connections that break at the worst moment: around COMMIT, under load, and for good. The records of the keys decide what is true. */

/** Each key has one effect with the figures that were answered, and nothing else happened. */
async function everyKeyOnce(t: Test, service: TestService, wallet: string, run: string, answers: readonly Answer[]) {
  const rows = await service.query<{ key: string; status: number; body: string; effects: number }>(
    `select k.key, k.status, k.body, (select count(*)::int from charges c where c.id = k.effect_id) as effects
      from idempotency_keys k where k.key like $1 order by k.key`,
    [`${run}-%`],
  )
  t.equal(rows.length, answers.length, 'one record a key')
  t.ok(
    rows.every((row) => row.effects === 1 && row.status === 201),
    'one effect a key',
  )
  const told = new Set(answers.map((answer) => answer.text))
  t.equal(told.size, answers.length, 'nobody got the answer of another')
  t.ok(
    rows.every((row) => told.has(row.body)),
    'what was told is what is written',
  )
  const [sum] = await service.query('select count(*)::int as n from charges where wallet_id = $1', [wallet.slice(4)])
  t.equal(sum.n, answers.length, 'nothing else happened')
}

t.test('a connection that breaks around COMMIT', async (t) => {
  const service = await createService(t)
  const proxy = await createProxy(t, service.url)
  const behind = await service.another({ url: proxy.url })

  for (const fault of ['drop-commit-reply', 'drop-commit-request'] as const) {
    t.test(`${fault}: every answer is right, one effect a key`, async (t) => {
      const wallet = await service.wallet('100000')
      const before = proxy.hits
      const answers: Answer[] = []
      for (let round = 0; round < 30; round += 1) {
        proxy.armCommit(1 + (round % 2), fault)
        answers.push(
          ...(await Promise.all(
            times(20, (i) => behind.post('/v1/charges', { wallet, amount: '1.5' }, { idempotencyKey: `${fault}-${round}-${i}` })),
          )),
        )
      }
      t.same(tally(answers), { 201: 600 })
      await everyKeyOnce(t, service, wallet, fault, answers)
      t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '99100' })
      const hits = proxy.hits - before
      t.ok(hits >= 15)
      const replayed = answers.filter((answer) => answer.headers['idempotent-replayed'] === 'true').length
      t.comment(`connection: ${answers.length} charges, ${hits} commits broken, ${replayed} answered from their record, lost 0, doubled 0`)
    })
  }

  t.test('a refusal whose COMMIT was lost is the same refusal', async (t) => {
    const wallet = await service.wallet('1')
    proxy.armCommit(1, 'drop-commit-reply')
    const key = randomUUID()
    const first = await behind.post('/v1/charges', { wallet, amount: '2' }, { idempotencyKey: key })
    t.equal(first.body.code, 'insufficient_credits')
    await service.made('/v1/grants', { wallet, kind: 'bonus', amount: '5' })
    const again = await behind.post('/v1/charges', { wallet, amount: '2' }, { idempotencyKey: key })
    t.equal(again.text, first.text)
    t.equal(again.headers['idempotent-replayed'], 'true')
  })

  t.test('settings have no key: a change whose COMMIT was lost is made once', async (t) => {
    const wallet = await service.wallet('1')
    const before = (await service.get(`/v1/wallets/${wallet}`)).body.version
    proxy.armCommit(1, 'drop-commit-reply')
    const changed = await behind.patch(`/v1/wallets/${wallet}`, { overdraft_limit: '5' })
    t.equal(changed.status, 200)
    t.match(changed.body, { overdraft_limit: '5', version: before + 1 })
    const rows = await service.query('select id from audit_log where target_id = $1', [wallet.slice(4)])
    t.equal(rows.length, 1, 'one audit row')
  })

  t.test('every COMMIT loses its reply: 503 after the time for it, and the same keys tell what was done', async (t) => {
    const wallet = await service.wallet('100')
    await proxy.set('drop-commit-reply')
    // Each attempt of a batch finds its records, writes nothing, and loses the reply of that commit too.
    const answers = await Promise.all(
      times(10, (i) => behind.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: `always-${i}` })),
    )
    t.same(tally(answers), { '503 storage_unavailable': 10 })
    await proxy.set('pass')
    const again = await Promise.all(
      times(10, (i) => behind.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: `always-${i}` })),
    )
    t.same(tally(again), { 201: 10 })
    t.ok(
      again.every((answer) => answer.headers['idempotent-replayed'] === 'true'),
      'it had been done the first time',
    )
    await everyKeyOnce(t, service, wallet, 'always', again)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

t.test('pg_terminate_backend under load loses nothing', async (t) => {
  const service = await createService(t)
  const second = await service.another()
  const wallets = await Promise.all(times(10, () => service.wallet('10000')))
  const answers: Answer[] = []
  let killed = 0
  let running = true
  const killer = (async () => {
    while (running) {
      const rows = await service.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'farebox-%'
          order by random() limit 2`,
      )
      killed += rows.length
      await new Promise((resolve) => setTimeout(resolve, 40))
    }
  })()
  const senders = times(16, async (sender) => {
    for (let i = 0; i < 80; i += 1) {
      answers.push(
        await (sender % 2 ? service : second).post(
          '/v1/charges',
          { wallet: wallets[(sender + i) % 10], amount: '1', reference: 'killed' },
          { idempotencyKey: `killed-${sender}-${i}` },
        ),
      )
    }
  })
  await Promise.all(senders)
  running = false
  await killer
  t.same(tally(answers), { 201: 1_280 })
  const [row] = await service.query(`select count(*)::int as n, sum(cost)::bigint as cost from charges where reference = 'killed'`)
  t.same(row, { n: 1_280, cost: '1280000000' })
  t.comment(`connection: 1280 charges, ${killed} backends killed, lost 0, doubled 0`)
  const [open] = await service.query(
    `select count(*)::int as n from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`,
  )
  t.equal(open.n, 0, 'no transaction is left open')
  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
