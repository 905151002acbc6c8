import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { METRICS_MEDIA_TYPE, type Metrics } from './metrics.ts'

const REQUEST_TIMEOUT_MS = 5_000
/** A Prometheus or two, and somebody with curl. */
const CONNECTIONS_MAX = 32

export interface MetricsServer {
  readonly port: number
  close(): Promise<void>
}

/** Serves `/metrics` on a port of its own, to whoever reaches it: the address decides who that is. @throws what `listen` says */
export async function serveMetrics(
  metrics: Pick<Metrics, 'text'>,
  address: { readonly host: string; readonly port: number },
  log: { error(fields: object, message: string): void },
): Promise<MetricsServer> {
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
    request.resume()
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(request.url === '/metrics' ? 405 : 404, { allow: 'GET' }).end()
      return
    }
    metrics.text().then(
      (text) => response.writeHead(200, { 'content-type': METRICS_MEDIA_TYPE, 'cache-control': 'no-store' }).end(text),
      (error: unknown) => {
        log.error({ err: error }, 'the metrics could not be written')
        response.writeHead(500).end()
      },
    )
  })
  server.maxConnections = CONNECTIONS_MAX
  server.listen(address)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
