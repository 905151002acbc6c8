import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyPluginAsync, FastifyRequest, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { type FareboxError, fail } from '../kernel/errors.ts'
import { Counters, type SharedCounters } from './counters.ts'

/**
 * How much one speaker may ask for in a minute, by class of route: a client that runs wild on listings leaves its own holds and
 * commits alone. Who is known is counted by name, everybody else by address. Refusals do no work, but count.
 */

export type RouteClass = 'usage' | 'reads' | 'admin' | 'public'

export interface RateLimitOptions {
  /** Requests a minute and speaker; of `public`, a minute and address. */
  readonly perMinute: Readonly<Record<RouteClass, number>>
  /** What the processes of this installation have counted together; null where there is only this one. */
  readonly shared: SharedCounters | null
  /** Whether an address is what a trusted proxy says it is; otherwise it is that of whoever connects. */
  readonly trustsProxies: boolean
  /** The name of who speaks, the same on every process; null on public routes. */
  readonly speakerOf: (request: FastifyRequest) => string | null
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Counts a request whose credential is not known to be good. @throws FareboxError `rate_limited` */
    admitStranger(request: FastifyRequest): Promise<void>
  }
}

const WINDOW_MS = 60_000

const rateLimits: FastifyPluginAsync<RateLimitOptions> = async (app, { perMinute, shared, trustsProxies, speakerOf }) => {
  const counters = new Counters(WINDOW_MS, shared)
  app.addHook('onClose', async () => counters.stop())

  const addressOf = (request: FastifyRequest) => `public:${addressKey(request)}`
  app.addHook('onRoute', (route) => {
    if (route.config?.rateLimit === false) return
    const name = classOf(route)
    const keyGenerator = name === 'public' ? addressOf : (request: FastifyRequest) => `${name}:${speakerOf(request)}`
    route.config = { ...route.config, rateLimit: { max: perMinute[name], keyGenerator } } as NonNullable<RouteOptions['config']>
  })
  await app.register(rateLimit, {
    // Routes have their own, by class; with a store that is one for all of them.
    global: false,
    timeWindow: WINDOW_MS,
    store: storeOf(counters),
    enableDraftSpec: true,
    // Where nothing is refused they cost more than the limit itself, a twentieth of a request.
    addHeadersOnExceeding: { 'ratelimit-limit': false, 'ratelimit-remaining': false, 'ratelimit-reset': false },
    errorResponseBuilder: (_request, { ttl }) => limited(ttl),
  })

  // Apart from public routes, so that wrong credentials from an address do not close those.
  const strangerOf = (request: FastifyRequest) => `stranger:${addressKey(request)}`
  const strangers = app.createRateLimit({ max: perMinute.public, timeWindow: WINDOW_MS, keyGenerator: strangerOf })
  let warned = trustsProxies
  app.decorate('admitStranger', async (request) => {
    if (!warned && request.headers['x-forwarded-for'] !== undefined) {
      warned = true
      app.log.warn('requests come through a proxy that TRUSTED_PROXIES does not name: all of them count as one address')
    }
    const counted = await strangers(request)
    if (!counted.isAllowed && counted.isExceeded) throw limited(counted.ttl)
  })
}

/** By what a route says of itself, never by the path of the request. */
function classOf({ config, method, url }: RouteOptions): RouteClass {
  const { scope = 'public' } = config ?? {}
  if (scope === 'public') return 'public'
  if (scope === 'admin' || url.startsWith('/v1/admin/')) return 'admin'
  return method === 'GET' || method === 'HEAD' ? 'reads' : 'usage'
}

/** A peer, or what a trusted proxy says it is. Whoever has an IPv6 address has a whole network of them, and counts as that. */
function addressKey(request: FastifyRequest): string {
  // Injected requests may have no socket.
  const { ip } = request as { ip: string | undefined }
  return ip === undefined ? 'inject' : normalizeIP(ip)
}

function limited(ttlMs: number): FareboxError {
  const seconds = Math.ceil(ttlMs / 1_000)
  return fail('rate_limited', `Too many requests this minute. Come back in ${seconds} s.`, { retry_after_seconds: seconds })
}

function storeOf(counters: Counters) {
  return class {
    incr(key: string, callback: (error: null, counted: { current: number; ttl: number }) => void): void {
      callback(null, counters.add(key))
    }
    child() {
      return this
    }
  }
}

/**
 * Limits requests by speaker and class of route. It stands before the guard, which asks it about strangers; its hook is each route's
 * own and so comes after the guard's.
 */
export const rateLimitPlugin = fp(rateLimits, {
  name: 'farebox-rate-limit',
  fastify: '5.x',
  dependencies: ['farebox-context', 'farebox-problem'],
})
