import pg from 'pg'
import t from 'tap'
import { type AppOfService, createService, type TestService, tally, times } from '../helpers/service.ts'

/** Charges in both directions between two wallets lock both in one order: no deadlock. */

const WALLETS = 12
const ROUNDS = 60
const IN_ROUND = 24

async function deadlocks(service: TestService): Promise<number> {
  // Backends report with a delay of up to a second.
  await new Promise((resolve) => setTimeout(resolve, 1_100))
  await service.query('select pg_stat_force_next_flush()')
  return deadlocksReported(service)
}

async function deadlocksReported(service: TestService): Promise<number> {
  const [row] = await service.query('select deadlocks::int as n from pg_stat_database where datname = current_database()')
  return row.n
}

t.test('payees', async (t) => {
  const service = await createService(t)
  const apps = [service, await service.another(), await service.another()]

  t.test('A pays B while B pays A, from three applications: no deadlock', async (t) => {
    const wallets = await Promise.all(times(WALLETS, () => service.wallet('10000')))
    const before = await deadlocks(service)
    const counts: Record<string, number> = {}
    let rounds = 0
    // Each deadlock takes a second to be found: the first is enough.
    for (; rounds < ROUNDS && (await deadlocksReported(service)) === before; rounds += 1) {
      // Few at a time: a batch of everything would lock all wallets at once, and nobody would be in its way.
      const answers = await Promise.all(
        times(IN_ROUND, (i) => {
          const payer = (i * 5 + rounds) % WALLETS
          const payee = (payer + 1 + ((i + rounds) % (WALLETS - 1))) % WALLETS
          return (apps[i % apps.length] as AppOfService).post('/v1/charges', {
            wallet: wallets[payer],
            amount: '1.000001',
            payees: [{ wallet: wallets[payee], share: '0.7' }],
          })
        }),
      )
      for (const [name, n] of Object.entries(tally(answers))) counts[name] = (counts[name] ?? 0) + n
    }
    const n = rounds * IN_ROUND
    t.same(counts, { 201: n })
    const after = await deadlocks(service)
    t.equal(after - before, 0, 'no deadlock')
    const [row] = await service.query(`select sum(amount)::int as n from transactions where counter_account = 'clearing'`)
    t.equal(row.n, 0, 'clearing nets to zero')
    t.comment(`payees: ${n} charges between ${WALLETS} wallets from ${apps.length} applications, ${after - before} deadlocks`)
  })

  t.test('the counter counts: locks in opposite order make a deadlock', async (t) => {
    const before = await deadlocks(service)
    const [a, b] = (await Promise.all(times(2, () => service.wallet('1')))) as [string, string]
    const clients = await Promise.all(
      times(2, async () => {
        const client = new pg.Client({ connectionString: service.url })
        await client.connect()
        return client
      }),
    )
    const lock = 'select id from wallets where id = $1 for no key update'
    const order = [
      [a, b],
      [b, a],
    ]
    for (const [i, client] of clients.entries()) {
      await client.query('begin')
      await client.query(lock, [order[i]?.[0]?.slice(4)])
    }
    const results = await Promise.allSettled(clients.map((client, i) => client.query(lock, [order[i]?.[1]?.slice(4)])))
    await Promise.all(clients.map((client) => client.end()))
    t.equal(results.filter((result) => result.status === 'rejected').length, 1)
    t.equal((await deadlocks(service)) - before, 1)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
