import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { ConfigError, readConfig } from '../../src/config.ts'
import { reasonLines } from '../../src/main.ts'
import { type Backlog, createMetrics } from '../../src/platform/metrics.ts'
import { serveMetrics } from '../../src/platform/metrics-server.ts'
import { createProxy } from '../helpers/proxy.ts'
import { createService } from '../helpers/service.ts'

const QUIET = { error() {} }
const NOTHING: Backlog = {
  heldCredits: 0,
  openHolds: 0,
  paymentEventsWaiting: 0,
  paymentEventsParked: 0,
  paymentEventLagSeconds: 0,
  outboxWaiting: 0,
  outboxLagSeconds: 0,
}

/** The value of one series, undefined where there is none. */
function seriesOf(text: string, series: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

t.test('who may read them', async (t) => {
  const service = await createService(t)
  const without = await service.newKey(['wallets:read', 'wallets:write', 'usage:write'])
  const reader = await service.newKey(['metrics:read'])

  t.test('on the service port a key with the scope, and nobody else', async (t) => {
    for (const [key, status] of [
      [null, 401],
      ['nonsense', 401],
      [await service.tokenFor('alice'), 403],
      [without, 403],
      [reader, 200],
      [service.adminKey, 200],
    ] as const) {
      const answer = await service.get('/metrics', { key })
      t.equal(answer.status, status)
      t.equal(answer.text.includes('farebox_'), status === 200)
    }
    t.match((await service.get('/metrics', { key: reader })).headers['content-type'], /^text\/plain; version=0\.0\.4/)
    t.equal((await service.get('/v1/wallets', { key: reader })).status, 403, 'and the scope opens nothing else')
  })

  t.test('with a port of their own, there and only there', async (t) => {
    const apart = await service.another({ env: { METRICS_PORT: '0' } }, t)
    for (const key of [null, reader, service.adminKey]) t.equal((await apart.get('/metrics', { key })).status, 404)
    const { METRICS_HOST: host, METRICS_PORT: port } = apart.config
    t.equal(host, '127.0.0.1', 'nobody outside reaches it unless somebody says so')
    const server = await serveMetrics(apart.rooms.metrics, { host, port: port as number }, QUIET)
    t.teardown(() => server.close())
    const at = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${server.port}${path}`, init)
    const answer = await at('/metrics')
    t.equal(answer.status, 200)
    t.match(await answer.text(), /^farebox_lane_queue_depth 0$/m)
    t.equal((await at('/metrics', { method: 'POST', body: 'x' })).status, 405)
    for (const path of ['/', '/metrics/', '/v1/wallets', '/healthz']) t.equal((await at(path)).status, 404)
  })

  t.test('what happened is counted', async (t) => {
    const counted = await service.another({}, t)
    const scrape = async () => (await counted.get('/metrics', { key: reader })).text
    const wallet = await service.wallet('100', { owner: 'user:counted' })
    t.equal((await counted.post('/v1/charges', { wallet, amount: '1' })).status, 201)
    t.equal((await counted.post('/v1/charges', { wallet, amount: '1000' })).status, 402)
    t.equal((await counted.post('/v1/charges', { wallet, amount: 1 })).status, 400)
    t.equal((await counted.get('/nothing/here')).status, 404)
    const hold = await counted.made('/v1/reservations', { wallet, amount: '12.5' })
    const text = await scrape()
    t.equal(seriesOf(text, 'farebox_http_request_seconds_count{operation="charge",status="2xx"}'), 1)
    t.equal(seriesOf(text, 'farebox_http_request_seconds_count{operation="charge",status="4xx"}'), 2)
    t.equal(seriesOf(text, 'farebox_http_request_seconds_count{operation="unmatched",status="4xx"}'), 1)
    t.equal(seriesOf(text, 'farebox_refusals_total{code="insufficient_credits"}'), 1, 'by the lane')
    t.equal(seriesOf(text, 'farebox_refusals_total{code="invalid_request"}'), 1, 'before the lane')
    t.equal(seriesOf(text, 'farebox_refusals_total{code="route_not_found"}'), 1)
    t.equal(seriesOf(text, 'farebox_lane_batch_commands_sum'), 3)
    t.equal(seriesOf(text, 'farebox_lane_batch_seconds_count{outcome="committed"}'), 3)
    t.equal(seriesOf(text, 'farebox_held_credits'), 12.5)
    t.equal(seriesOf(text, 'farebox_open_holds'), 1)
    t.equal(seriesOf(text, 'farebox_database_up'), 1)
    t.equal(seriesOf(text, 'farebox_feed_connections'), 0)
    const { base } = await counted.listen()
    const stream = await fetch(`${base}/v1/wallets/${wallet}/stream`, { headers: { authorization: `Bearer ${service.client.key}` } })
    t.match(await scrape(), /^farebox_feed_connections 1$/m)
    t.match(await scrape(), /^farebox_feed_wallets 1$/m)
    await stream.body?.cancel()
    await counted.made(`/v1/reservations/${hold.id}/release`)
    t.equal(seriesOf(await scrape(), 'farebox_open_holds'), 1, 'figures of the database are kept for a while')
  })

  t.test('a database that is away takes its figures with it, and not the scrape', async (t) => {
    const proxy = await createProxy(t, service.url)
    const behind = await service.another({ url: proxy.url }, t)
    await behind.get('/v1/wallets')
    await proxy.set('down')
    await behind.post('/v1/charges', { wallet: 'user:counted', amount: '1' })
    const text = await behind.rooms.metrics.text()
    t.equal(seriesOf(text, 'farebox_database_up'), 0)
    t.equal(seriesOf(text, 'farebox_open_holds'), undefined)
    t.ok((seriesOf(text, 'farebox_lane_batch_seconds_count{outcome="failed"}') ?? 0) >= 1)
    t.ok((seriesOf(text, 'farebox_lane_retries_total{failure="connection"}') ?? 0) >= 1)
    t.equal(seriesOf(text, 'farebox_refusals_total{code="storage_unavailable"}'), 1)
  })
})

/** Readings whose backlog the test answers. */
function metricsWith(backlog: () => Promise<Backlog>) {
  const metrics = createMetrics()
  metrics.readFrom({
    queueDepth: () => 7,
    feed: () => ({ wallets: 0, staleSeconds: 0, busUp: false }),
    pool: () => ({ totalCount: 5, idleCount: 2, waitingCount: 1 }),
    backlog,
  })
  return metrics
}

t.test('a hundred scrapes are one reading of the database', async (t: Test) => {
  let read = 0
  const metrics = metricsWith(async () => {
    read += 1
    return { ...NOTHING, openHolds: 3 }
  })
  const texts = await Promise.all(Array.from({ length: 100 }, () => metrics.text()))
  t.equal(read, 1)
  t.equal(seriesOf(texts[0] as string, 'farebox_open_holds'), 3)
  t.equal(seriesOf(texts[0] as string, 'farebox_lane_queue_depth'), 7)
  t.equal(seriesOf(texts[0] as string, 'farebox_feed_bus_up'), 0)
  t.equal(seriesOf(texts[0] as string, 'farebox_pool_connections{state="busy"}'), 3)
})

t.test('a database that does not answer holds a scrape up for two seconds at most', async (t) => {
  const metrics = metricsWith(() => new Promise(() => {}))
  const startedAt = performance.now()
  t.equal(seriesOf(await metrics.text(), 'farebox_database_up'), 0)
  t.ok(performance.now() - startedAt < 10_000)
})

t.test('the port of the metrics is another one, and a taken one is named', async (t) => {
  t.throws(() => readConfig({ PORT: '8080', METRICS_PORT: '8080' }), ConfigError)
  t.equal(readConfig({}).METRICS_PORT, undefined)
  const taken = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => taken.once('listening', resolve))
  t.teardown(() => taken.close())
  const { port } = taken.address() as { port: number }
  const error = await serveMetrics(createMetrics(), { host: '127.0.0.1', port }, QUIET).catch((reason: unknown) => reason)
  t.same(reasonLines(error, '8080'), [`farebox: port ${port} is taken; set METRICS_PORT to another one`])
  t.same(reasonLines(error, String(port)), [`farebox: port ${port} is taken; set PORT to another one`])
})
