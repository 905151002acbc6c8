import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { startProcess } from '../helpers/process.ts'
import { type Answer, callerAt, createService, JWT_SECRET, type TestService, tally, times } from '../helpers/service.ts'

/** One Idempotency-Key and many who send it: one effect, and everybody is told the same. */

async function oneEffect(t: Test, service: TestService, answers: readonly Answer[], key: string) {
  const fresh = answers.filter((answer) => answer.headers['idempotent-replayed'] === undefined)
  t.same(tally(answers), { 201: answers.length }, 'everybody is told that it was done')
  t.equal(fresh.length, 1, 'one did it')
  t.equal(new Set(answers.map((answer) => answer.text)).size, 1, 'in the same words')
  const [{ effects, keys } = { effects: -1, keys: -1 }] = await service.query<{ effects: number; keys: number }>(
    `select (select count(*)::int from reservations where reference = $1) as effects,
      (select count(*)::int from idempotency_keys where key = $1) as keys`,
    [key],
  )
  t.equal(effects, 1, 'one effect')
  t.equal(keys, 1, 'one record')
  t.comment(`keys: ${answers.length} senders: ${fresh.length} effect, ${answers.length - fresh.length} replays`)
}

function reserve(wallet: string, key: string) {
  return { wallet, amount: '1', reference: key }
}

t.test('one key, many senders', async (t) => {
  const service = await createService(t)
  const second = await service.another()
  const wallet = await service.wallet('1000')

  for (const n of [64, 500]) {
    t.test(`${n} at once in one process have one effect`, async (t) => {
      const key = `one-${n}`
      const answers = await Promise.all(times(n, () => service.post('/v1/reservations', reserve(wallet, key), { idempotencyKey: key })))
      await oneEffect(t, service, answers, key)
    })
    t.test(`${n} at once over two lanes have one effect`, async (t) => {
      const key = `two-${n}`
      const answers = await Promise.all(
        times(n, (i) => (i % 2 ? service : second).post('/v1/reservations', reserve(wallet, key), { idempotencyKey: key })),
      )
      await oneEffect(t, service, answers, key)
    })
  }

  t.test('64 at once over two processes have one effect', async (t) => {
    const env = {
      DATABASE_URL: service.url,
      DATA_DIR: t.testdir(),
      PORT: '0',
      JWT_SECRET,
      LOG_LEVEL: 'error',
      DOCS: 'false',
    }
    const processes = await Promise.all([startProcess(t, env, 'api'), startProcess(t, env, 'api')])
    const callers = processes.map(({ url }) => callerAt(url, () => service.client.key))
    for (let round = 0; round < 5; round += 1) {
      const key = `process-${round}`
      const answers = await Promise.all(
        times(64, (i) => callers[i % 2]?.post('/v1/reservations', reserve(wallet, key), { idempotencyKey: key }) as Promise<Answer>),
      )
      await oneEffect(t, service, answers, key)
    }
  })

  t.test('one key with other bodies has one effect, and the others are told so', async (t) => {
    const key = randomUUID()
    const answers = await Promise.all(
      times(64, (i) => (i % 2 ? service : second).post('/v1/reservations', reserve(wallet, `${key} ${i % 2}`), { idempotencyKey: key })),
    )
    t.same(tally(answers), { 201: 32, '422 idempotency_key_reused': 32 })
    const [row] = await service.query('select count(*)::int as n from reservations where reference like $1', [`${key}%`])
    t.equal(row.n, 1)
  })

  t.test('one key on two wallets over two lanes has one effect', async (t) => {
    const wallets = await Promise.all([service.wallet('1000'), service.wallet('1000')])
    const rounds = 120
    let both = 0
    for (let round = 0; round < rounds; round += 1) {
      const key = `pair-${round}`
      const [first, last] = (await Promise.all([
        service.post('/v1/reservations', reserve(wallets[0] as string, key), { idempotencyKey: key }),
        second.post('/v1/reservations', reserve(wallets[1] as string, key), { idempotencyKey: key }),
      ])) as [Answer, Answer]
      const codes = [first, last].map((answer) => (answer.status === 201 ? '201' : answer.body.code)).sort()
      if (codes.join() !== '201,idempotency_key_reused') both += 1
    }
    t.equal(both, 0, `in each of ${rounds} rounds one was done and the other told that the key is taken`)
    const [row] = await service.query(
      `select count(*)::int as effects, count(distinct reference)::int as keys from reservations where reference like 'pair-%'`,
    )
    t.same(row, { effects: rounds, keys: rounds })
    t.comment(`keys: one key on two wallets: ${rounds} rounds, ${row.effects} effects`)
  })

  t.test('a grant that lands in the middle of a burst: all are told yes, or all no', async (t) => {
    const rounds = 20
    const told: Record<string, number> = {}
    for (let round = 0; round < rounds; round += 1) {
      const poor = await service.wallet()
      const key = `unfunded-${round}`
      const send = (i: number) => (i % 2 ? service : second).post('/v1/reservations', reserve(poor, key), { idempotencyKey: key })
      const give = () => second.post('/v1/grants', { wallet: poor, kind: 'bonus', amount: '5' })
      // Whoever is sent first has the better chance; both must be seen.
      const early = round % 2 ? give() : null
      const burst = times(32, send)
      const grant = early ?? give()
      const answers = await Promise.all([...burst, ...times(32, send)])
      t.equal((await grant).status, 201)
      const counts = Object.keys(tally(answers))
      t.equal(counts.length, 1, 'one answer')
      t.equal(new Set(answers.map((answer) => answer.text)).size, 1, 'in the same words')
      told[counts[0] as string] = (told[counts[0] as string] ?? 0) + 1
      const [row] = await service.query('select count(*)::int as n from reservations where reference = $1', [key])
      t.equal(row.n, counts[0] === '201' ? 1 : 0, 'told "done" exactly where there is an effect')
    }
    t.comment(`keys: a grant lands midway: ${rounds} rounds of 64 senders: ${JSON.stringify(told)}`)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
