import pg from 'pg'
import t from 'tap'
import { createService, tally } from '../helpers/service.ts'

/** Two processes with one key wait for one wallet: whoever comes second sees the record of the first, because it looks after the lock. */

t.test('a twin that waited for the wallet finds the record, and no batch fails of the key', async (t) => {
  const service = await createService(t)
  const second = await service.another()
  const wallet = await service.wallet('10')
  const holder = new pg.Client({ connectionString: service.url })
  await holder.connect()
  t.teardown(() => holder.end())
  const rounds = 10
  for (let round = 0; round < rounds; round += 1) {
    await holder.query('begin')
    await holder.query('select id from wallets where id = $1 for no key update', [wallet.slice(4)])
    const idempotencyKey = `twin-${round}`
    const send = (app: typeof second) => app.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey })
    const twins = [send(service), send(second)]
    for (let waiting = 0; waiting < 2; ) {
      const [row] = await service.query(
        `select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      )
      waiting = row.n
    }
    await holder.query('commit')
    const answers = await Promise.all(twins)
    t.same(tally(answers), { 201: 2 })
    t.equal(new Set(answers.map(({ text }) => text)).size, 1, 'in the same words')
    t.equal(answers.filter(({ headers }) => headers['idempotent-replayed'] === 'true').length, 1)
  }
  for (const app of [service, second]) t.notMatch(app.logText(), /idempotency_keys_pkey/)
  t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '0' })
  t.comment(`twins: ${rounds} pairs at one lock, ${rounds} effects, 0 races for a key`)
})
