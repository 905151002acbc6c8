import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { farebox, temporary } from '../helpers/cli.ts'
import { startProcess } from '../helpers/process.ts'
import { callerAt, createService, JWT_SECRET } from '../helpers/service.ts'

/** One database, two processes: one answers and leaves the jobs, the other runs them and answers probes only. */

t.setTimeout(300_000)

t.test('an api leaves deadlines to a worker, and a worker answers probes only', async (t) => {
  const service = await createService(t)
  const env = { DATABASE_URL: service.url, JWT_SECRET, PORT: '0', DATA_DIR: temporary(t), DOCS: 'false' }
  const api = await startProcess(t, env, 'api')
  const http = callerAt(api.url, () => service.client.key)
  const wallet = await service.wallet('100')
  const hold = await http.made('/v1/reservations', { wallet, amount: '10', ttl_seconds: 1 })
  const statusOf = async () => (await http.get(`/v1/reservations/${hold.id}`)).body.status
  // Far longer than a sweep takes to come round: nobody sweeps.
  await sleep(4_000)
  const [row] = await service.query('select status from reservations')
  t.equal(row.status, 'held', 'the api has not swept')
  const [jobs] = await service.query(
    `select count(*)::int as n from pg_stat_activity where application_name = 'farebox-jobs' and datname = current_database()`,
  )
  t.equal(jobs.n, 0, 'nor asked for work')

  const worker = await startProcess(t, env, 'worker')
  while ((await statusOf()) === 'held') await sleep(50)
  t.equal(await statusOf(), 'expired', 'the worker swept')
  const probes = callerAt(worker.url, () => service.client.key)
  t.same((await probes.get('/healthz')).body, { status: 'ok' })
  t.same((await probes.get('/readyz')).body, { status: 'ready', checks: { database: 'ok', storage: 'ok' } })
  for (const path of [`/v1/wallets/${wallet}`, '/v1/models', '/docs', '/demo']) t.equal((await probes.get(path)).status, 404, path)
  t.equal((await probes.post('/v1/reservations', { wallet, amount: '1' })).status, 404)

  t.equal(await worker.end(), 0)
  t.equal(await api.end(), 0)
  t.same(await service.unsound(), [])
})

t.test('another role is refused before anything is opened', async (t) => {
  const { status, stderr } = await farebox(['start', '--role', 'queen'])
  t.equal(status, 2)
  t.match(stderr, /Allowed choices are all, api, worker/)
  await t.rejects(startProcess(t, {}, 'queen' as 'api'), /farebox: --role must be all, api, worker, not "queen"/)
})
