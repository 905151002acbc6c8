import { Client } from 'pg'
import t from 'tap'
import { createService } from '../helpers/service.ts'

t.test('a wallet that somebody holds locked does not keep the others from being swept', async (t) => {
  const service = await createService(t)
  const [stuck, free] = [await service.wallet('10'), await service.wallet('10')]
  const hold = async (wallet: string) => (await service.made('/v1/reservations', { wallet, amount: '4', ttl_seconds: 1 })).id
  const holds = [await hold(stuck), await hold(stuck), await hold(free)]
  const grant = { wallet: free, kind: 'bonus', amount: '5', expires_at: new Date(Date.now() + 1_500).toISOString() }
  await service.made('/v1/grants', grant)
  await new Promise((resolve) => setTimeout(resolve, 1_600))
  const client = new Client({ connectionString: service.url })
  await client.connect()
  t.teardown(() => client.end())
  await client.query('begin')
  await client.query('select 1 from wallets where id = $1 for update', [stuck.slice(4)])

  await t.rejects(service.sweep(), { name: 'AggregateError', message: '2 due rows could not be worked off' })
  const statusOf = async (id: string) => (await service.get(`/v1/reservations/${id}`)).body.status
  t.same(await Promise.all(holds.map(statusOf)), ['held', 'held', 'expired'])
  t.match((await service.get(`/v1/wallets/${free}/balance`)).body, { balance: '10', held: '0' })

  await client.query('rollback')
  t.same(await service.sweep(), { holds: 2, wallets: 0 })
  t.same(await Promise.all(holds.map(statusOf)), ['expired', 'expired', 'expired'])
  t.same(await service.unsound(), [])
})
