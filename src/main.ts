import { parseArgs } from 'node:util'
import closeWithGrace from 'close-with-grace'
import { buildApp, buildWorkerApp } from './app.ts'
import { ConfigError, paymentsOf, readConfig, secretsOf } from './config.ts'
import { parseRole, type Role } from './jobs/role.ts'
import { censor, createLogger } from './platform/logger.ts'
import { serveMetrics } from './platform/metrics-server.ts'
import { startTracing } from './platform/tracing.ts'
import { prepare } from './prepare.ts'
import { createRooms } from './wire.ts'

/** Longer than any request may take; what is still open then is cut off. */
const CLOSE_MS_MAX = 15_000
/** How often to look whether the npm that started us is gone: a SIGTERM to `npm start` does not reach this process. */
const PARENT_POLL_MS = 500

/**
 * Starts the service: configuration, database, rooms, HTTP, jobs. An `api` leaves the jobs to others; a `worker` listens for probes only.
 * @throws one error with a clear message where it cannot
 */
export async function start(env: NodeJS.ProcessEnv, role: Role): Promise<void> {
  const config = readConfig(env)
  const logger = createLogger({ level: config.LOG_LEVEL, secrets: secretsOf(config) })
  // Closed in reverse: no new jobs, no new requests, then the lane's last batch, then the database. Nothing acknowledged is lost.
  const opened: (() => Promise<unknown>)[] = []
  const closeAll = async () => {
    for (let close = opened.pop(); close; close = opened.pop()) await close()
  }
  // Before anything is opened: a signal may come at any moment.
  const grace = closeWithGrace({ delay: CLOSE_MS_MAX, logger: false }, async ({ err, signal }) => {
    if (err) logger.fatal({ err }, 'an error that nobody handled')
    else logger.info({ signal }, 'stopping')
    await closeAll()
    logger.info('stopped')
  })
  try {
    const prepared = await prepare(config, logger)
    opened.push(prepared.stop)
    const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SERVICE_NAME: serviceName } = config
    const tracing = endpoint ? await startTracing({ endpoint, serviceName, log: logger }) : null
    if (tracing) opened.push(tracing.stop)
    const rooms = await createRooms(prepared.databaseUrl, logger, {
      redisUrl: config.REDIS_URL,
      payments: paymentsOf(config),
      checkoutReturnUrl: config.CHECKOUT_RETURN_URL,
      tracing,
    })
    opened.push(rooms.close)
    const app = await (role === 'worker' ? buildWorkerApp : buildApp)(prepared.config, rooms, logger)
    opened.push(() => app.close())
    if (config.METRICS_PORT !== undefined) {
      opened.push((await serveMetrics(rooms.metrics, { host: config.METRICS_HOST, port: config.METRICS_PORT }, logger)).close)
    }
    await app.listen({ host: config.HOST, port: config.PORT })
    if (role !== 'api') opened.push((await rooms.startJobs()).stop)
    closeWithParent(env, () => grace.close())
    const address = app.server.address()
    const port = typeof address === 'object' && address !== null ? address.port : config.PORT
    prepared.greet(`http://${config.HOST.includes(':') ? `[${config.HOST}]` : config.HOST}:${port}`, role)
  } catch (error) {
    await closeAll()
    grace.uninstall()
    throw error
  }
}

/** npm keeps a signal to itself and dies: under `npm start` the parent's end is our signal. */
function closeWithParent(env: NodeJS.ProcessEnv, close: () => void): void {
  if (!env.npm_lifecycle_event) return
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    close()
  }, PARENT_POLL_MS)
  timer.unref()
}

/** The lines that tell an operator why the service did not start. */
export function reasonLines(error: unknown, port: string | undefined): string[] {
  if (error instanceof ConfigError) return error.lines.map((line) => `farebox: ${line}`)
  const { code, message, port: taken } = error as NodeJS.ErrnoException & { readonly port?: number }
  if (code === 'EADDRINUSE') {
    const name = taken !== undefined && taken !== Number(port ?? 8080) ? 'METRICS_PORT' : 'PORT'
    return [`farebox: port ${taken ?? port ?? 8080} is taken; set ${name} to another one`]
  }
  if (code === 'EACCES' && (error as NodeJS.ErrnoException).syscall === 'listen') {
    return [`farebox: this user may not listen on port ${port}; set PORT to one above 1023`]
  }
  if (code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'ETIMEDOUT') {
    return ['farebox: the database cannot be reached; check DATABASE_URL']
  }
  return [`farebox: ${censor((message || String(error)).split('\n')[0] as string)}`]
}

if (import.meta.main) {
  const run = async () => {
    const { values } = parseArgs({ options: { role: { type: 'string', default: 'all' } } })
    await start(process.env, parseRole(values.role))
  }
  run().catch((error: unknown) => {
    for (const line of reasonLines(error, process.env.PORT)) console.error(line)
    if (process.env.LOG_LEVEL === 'debug') console.error(error)
    process.exit(1)
  })
}
