import t from 'tap'
import { opsPlugin, type ReadinessCheck } from '../../src/http/ops.ts'
import { createServer } from '../helpers/server.ts'

async function serverWith(t: Parameters<typeof createServer>[0], checks: Record<string, ReadinessCheck>) {
  return createServer(t, { routes: async (app) => void (await app.register(opsPlugin, { checks })) })
}

t.test('a living process is healthy whatever its database does', async (t) => {
  const { app } = await serverWith(t, { database: () => Promise.reject(new Error('down')) })
  const answer = await app.inject('/healthz')
  t.equal(answer.statusCode, 200)
  t.same(answer.json(), { status: 'ok' })
})

t.test('probes come by address, whatever hosts are served', async (t) => {
  const routes = async (app: Parameters<typeof opsPlugin>[0]) => void (await app.register(opsPlugin, { checks: {} }))
  const { app } = await createServer(t, { allowedHosts: ['api.example.com'], routes })
  for (const url of ['/healthz', '/readyz']) {
    t.equal((await app.inject({ url, headers: { host: '10.1.2.3:8080' } })).statusCode, 200, url)
  }
  t.equal((await app.inject({ url: '/nothing', headers: { host: '10.1.2.3:8080' } })).statusCode, 400)
})

t.test('ready when all checks pass', async (t) => {
  const { app } = await serverWith(t, { database: async () => 1, lane: async () => undefined })
  const answer = await app.inject('/readyz')
  t.equal(answer.statusCode, 200)
  t.match(answer.headers['content-type'], /^application\/json/)
  t.same(answer.json(), { status: 'ready', checks: { database: 'ok', lane: 'ok' } })
})

t.test('not ready names the failed check and nothing else of it', async (t) => {
  const server = await serverWith(t, {
    database: async () => {
      throw new Error('connect ECONNREFUSED 10.1.2.3:5432')
    },
    lane: async () => undefined,
  })
  const answer = await server.app.inject('/readyz')
  t.equal(answer.statusCode, 503)
  t.same(answer.json(), { status: 'not_ready', checks: { database: 'failed', lane: 'ok' } })
  t.match(server.logText(), /10\.1\.2\.3/, 'the cause is in the log')
})

t.test('a check that hangs fails after two seconds, and a burst of probes is one round', async (t) => {
  let rounds = 0
  const { app } = await serverWith(t, {
    database: () => {
      rounds += 1
      return new Promise(() => {})
    },
  })
  const startedAt = performance.now()
  const answers = await Promise.all(Array.from({ length: 20 }, () => app.inject('/readyz')))
  t.ok(performance.now() - startedAt < 8_000)
  for (const answer of answers) t.equal(answer.statusCode, 503)
  t.equal(rounds, 1)
})
