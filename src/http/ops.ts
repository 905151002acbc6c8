import type { FastifyPluginCallback } from 'fastify'
import fp from 'fastify-plugin'

/** One thing that must work before requests make sense; it throws, or does not return, where it does not. */
export type ReadinessCheck = () => Promise<unknown>

export interface OpsOptions {
  readonly checks: Readonly<Record<string, ReadinessCheck>>
}

interface Readiness {
  readonly status: 'ready' | 'not_ready'
  readonly checks: Record<string, 'ok' | 'failed'>
}

const CHECK_TIMEOUT_MS = 2_000
/** Probes of many balancers at once make one round of checks, and nobody outside can turn /readyz into database load. */
const READINESS_KEPT_MS = 1_000

const ops: FastifyPluginCallback<OpsOptions> = (app, options, done) => {
  let closing = false
  let round: { readonly startedAt: number; readonly result: Promise<Readiness> } | null = null
  app.addHook('preClose', (next) => {
    closing = true
    next()
  })

  app.get('/healthz', { config: { ...PROBE, operation: 'healthz' }, schema: HEALTH_SCHEMA }, (_request, reply) =>
    reply.header('content-type', 'application/json').send('{"status":"ok"}'),
  )

  app.get('/readyz', { config: { ...PROBE, operation: 'readyz' }, schema: READY_SCHEMA }, async (request, reply) => {
    if (closing) return reply.code(503).header('content-type', 'application/json').send('{"status":"stopping","checks":{}}')
    const now = performance.now()
    if (!round || now - round.startedAt > READINESS_KEPT_MS) {
      const result = runChecks(options.checks, (name, error) => request.log.warn({ check: name, err: error }, 'not ready'))
      round = { startedAt: now, result }
    }
    const readiness = await round.result
    const code = readiness.status === 'ready' ? 200 : 503
    return reply.code(code).header('content-type', 'application/json').send(JSON.stringify(readiness))
  })
  done()
}

const PROBE = { scope: 'public', rateLimit: false, anyHost: true } as const

const HEALTH_SCHEMA = { tags: ['Operations'], summary: 'Whether the process is alive', security: [] }
const READY_SCHEMA = { tags: ['Operations'], summary: 'Whether the process can serve requests, and if not, why', security: [] }

async function runChecks(checks: OpsOptions['checks'], failed: (name: string, error: unknown) => void): Promise<Readiness> {
  const entries = await Promise.all(
    Object.entries(checks).map(async ([name, check]): Promise<[string, 'ok' | 'failed']> => {
      try {
        await inTime(check())
        return [name, 'ok']
      } catch (error) {
        failed(name, error)
        return [name, 'failed']
      }
    }),
  )
  const status = entries.every(([, state]) => state === 'ok') ? 'ready' : 'not_ready'
  return { status, checks: Object.fromEntries(entries) }
}

async function inTime(work: Promise<unknown>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer within ${CHECK_TIMEOUT_MS} ms`)), CHECK_TIMEOUT_MS)
  try {
    await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}

/** `/healthz` and `/readyz`, open to everyone and silent about internals. */
export const opsPlugin = fp(ops, { name: 'farebox-ops', fastify: '5.x' })
