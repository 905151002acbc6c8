import closeWithGrace from 'close-with-grace'
import { buildApp } from './app.ts'
import { ConfigError, paymentsOf, readConfig } from './config.ts'
import { createLogger } from './platform/logger.ts'
import { prepare } from './prepare.ts'
import { createRooms } from './wire.ts'

/** Longer than any request may take; what is still open then is cut off. */
const CLOSE_MS_MAX = 15_000
/** How often to look whether the npm that started us is gone: a SIGTERM to `npm start` does not reach this process. */
const PARENT_POLL_MS = 500

/** Starts the service: configuration, database, rooms, HTTP, jobs. @throws one error with a clear message where it cannot */
export async function start(env: NodeJS.ProcessEnv): Promise<void> {
  const config = readConfig(env)
  const logger = createLogger({ level: config.LOG_LEVEL })
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
    const rooms = await createRooms(prepared.databaseUrl, logger, {
      redisUrl: config.REDIS_URL,
      payments: paymentsOf(config),
      checkoutReturnUrl: config.CHECKOUT_RETURN_URL,
    })
    opened.push(rooms.close)
    const app = await buildApp(prepared.config, rooms, logger)
    opened.push(() => app.close())
    await app.listen({ host: config.HOST, port: config.PORT })
    if (config.JOBS) opened.push((await rooms.startJobs()).stop)
    closeWithParent(env, () => grace.close())
    const address = app.server.address()
    const port = typeof address === 'object' && address !== null ? address.port : config.PORT
    prepared.greet(`http://${config.HOST.includes(':') ? `[${config.HOST}]` : config.HOST}:${port}`)
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
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') return [`farebox: port ${port ?? 8080} is taken; set PORT to another one`]
  if (code === 'EACCES' && (error as NodeJS.ErrnoException).syscall === 'listen') {
    return [`farebox: this user may not listen on port ${port}; set PORT to one above 1023`]
  }
  if (code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'ETIMEDOUT') {
    return ['farebox: the database cannot be reached; check DATABASE_URL']
  }
  return [`farebox: ${(message || String(error)).split('\n')[0]}`]
}

if (import.meta.main) {
  start(process.env).catch((error: unknown) => {
    for (const line of reasonLines(error, process.env.PORT)) console.error(line)
    if (process.env.LOG_LEVEL === 'debug') console.error(error)
    process.exit(1)
  })
}
