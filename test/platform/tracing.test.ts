import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startTracing } from '../../src/platform/tracing.ts'
import { adminKey, freePort, ready, startService, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { callerAt } from '../helpers/service.ts'

/** Spans arrive at a collector that speaks OTLP over HTTP, and nobody waits for one that does not. */

t.setTimeout(300_000)

interface Span {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly status: { readonly code?: number }
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, string | number> }[]
}

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const PARENT = 'b7ad6b7169203331'

t.test('a service sends a span for each request and each batch', async (t) => {
  const collector = await createCollector(t)
  const { url } = await createTestDatabase(t)
  const dataDir = temporary(t)
  const env = { DATA_DIR: dataDir, DATABASE_URL: url, JOBS: 'false', OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_SERVICE_NAME: 'shop' }
  const service = await startService(env, await freePort())
  t.teardown(() => service.kill())
  await ready(service)
  const call = callerAt(service.url, () => adminKey(dataDir))
  const wallet = (await call.made('/v1/wallets', { owner: 'user:alice' })).id
  await call.made('/v1/grants', { wallet, kind: 'bonus', amount: '10' })
  const charge = (headers: Record<string, string>) => call.post('/v1/charges', { wallet, amount: '1' }, { headers })
  const traced = (headers: Record<string, string>, id: string) => charge({ ...headers, 'x-request-id': id })
  await traced({}, 'alone')
  await traced({ traceparent: `00-${TRACE}-${PARENT}-01` }, 'child')
  await traced({ traceparent: `00-${TRACE}-${PARENT}-00` }, 'unrecorded')
  await traced({ traceparent: `00-${'0'.repeat(32)}-${PARENT}-01` }, 'no-trace')
  await traced({ traceparent: 'nonsense' }, 'nonsense')
  await call.post('/v1/charges', { wallet, amount: '1000' }, { headers: { 'x-request-id': 'refused' } })
  await service.stop()

  const spans = collector.spans()
  const byRequest = (id: string) => spans.find((span) => of(span, 'farebox.request_id') === id)
  for (const id of ['alone', 'child', 'no-trace', 'nonsense', 'refused']) {
    const span = byRequest(id)
    t.equal(span?.name, 'charge', id)
    t.equal(Number(of(span, 'http.response.status_code')), id === 'refused' ? 402 : 201)
    t.ok(BigInt(span?.endTimeUnixNano ?? 0) >= BigInt(span?.startTimeUnixNano ?? 1))
  }
  t.match(byRequest('child'), { traceId: TRACE, parentSpanId: PARENT })
  for (const id of ['alone', 'no-trace', 'nonsense']) t.notOk(byRequest(id)?.parentSpanId)
  t.equal(byRequest('unrecorded'), undefined, 'what the caller does not record is not recorded')
  const batches = spans.filter(({ name }) => name === 'lane.batch')
  const commands = batches.reduce((sum, span) => sum + Number(of(span, 'farebox.batch.commands')), 0)
  t.equal(commands, 7, 'every command was in a batch')
  t.ok(batches.every((span) => of(span, 'farebox.batch.outcome') === 'committed'))
  t.match(collector.text(), /"service\.name".{0,40}"shop"/)
  t.notOk(collector.text().includes(wallet), 'no span names a wallet')
  t.notOk(collector.text().includes(adminKey(dataDir).slice(13)))
})

t.test('a collector that is away, hangs or refuses keeps nobody waiting, and is told of once', async (t) => {
  for (const how of ['refuse', 'hang', 'gone'] as const) {
    const collector = await createCollector(t, how)
    const said: string[] = []
    const log = { warn: (_fields: object, message: string) => said.push(message), info: (message: string) => said.push(message) }
    const tracing = await startTracing({ endpoint: collector.url, serviceName: 'x', log })
    const startedAt = performance.now()
    for (let i = 0; i < 20_000; i += 1) {
      tracing.request({ operation: 'reserve', status: 201, seconds: 0.001, requestId: 'x', traceparent: undefined })
      tracing.batch(1, 0.001, 'failed')
      if (i % 1_000 === 0) await sleep(1)
    }
    const madeMs = performance.now() - startedAt
    await tracing.stop()
    t.ok(performance.now() - startedAt - madeMs < 20_000, `${how}: stops`)
    t.ok(said.length <= 1, `${how}: ${said.join('; ')}`)
    t.comment(`${how}: 40,000 spans in ${Math.round(madeMs)} ms`)
  }
})

t.test('without a collector none of it is loaded', async (t) => {
  const code = `
    import { registerHooks } from 'node:module'
    const loaded = { before: [], after: [] }
    let when = 'before'
    registerHooks({ load(url, context, next) {
      // The facade alone is what prom-client looks for.
      if (url.includes('/@opentelemetry/') && !url.includes('/@opentelemetry/api/')) loaded[when].push(url)
      return next(url, context)
    } })
    await import('./src/main.ts')
    when = 'after'
    const { startTracing } = await import('./src/platform/tracing.ts')
    await (await startTracing({ endpoint: 'http://127.0.0.1:9', serviceName: 'x', log: console })).stop()
    console.log(JSON.stringify([loaded.before, loaded.after.length > 0]))`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', code], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
    cwd: join(import.meta.dirname, '../..'),
  })
  t.same(JSON.parse(stdout || 'null'), [[], true], stderr)
})

function of(span: Span | undefined, key: string): string | number | undefined {
  const { value } = span?.attributes.find((attribute) => attribute.key === key) ?? {}
  return value && Object.values(value)[0]
}

async function createCollector(t: Test, how: 'take' | 'refuse' | 'hang' | 'gone' = 'take') {
  const bodies: string[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text) => {
      body += text
    })
    request.on('end', () => {
      if (how === 'hang') return
      if (request.url === '/v1/traces' && request.headers['content-type'] === 'application/json') bodies.push(body)
      response.writeHead(how === 'refuse' ? 400 : 200, { 'content-type': 'application/json' }).end('{}')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  if (how === 'gone') close()
  else t.teardown(close)
  return {
    url: `http://127.0.0.1:${port}`,
    text: () => bodies.join('\n'),
    spans: () =>
      bodies.flatMap((body) =>
        (JSON.parse(body).resourceSpans as { scopeSpans: { spans: Span[] }[] }[]).flatMap(({ scopeSpans }) =>
          scopeSpans.flatMap(({ spans }) => spans),
        ),
      ),
  }
}
