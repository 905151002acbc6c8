import type { FastifyBaseLogger, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ErrorCode } from '../kernel/errors.ts'
import { fromWireId } from '../kernel/ids.ts'
import type { LogFields } from '../platform/logger.ts'
import { isAllowedHost } from './host.ts'
import { fieldError } from './pointer.ts'
import { REQUEST_ID_HEADER } from './request-id.ts'
import { invalidRequest } from './zod.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The client that speaks, for the log; the guard fills it in. */
    clientId: string | null
    /** Why it was refused, for the log and the metrics; whoever refuses fills it in. */
    refusalCode: ErrorCode | null
  }
  interface FastifyContextConfig {
    /** What this route does, in one word: for metrics, logs and idempotency records. */
    operation?: string
    /** Whoever asks may name any host: probes come by address. */
    anyHost?: true
  }
}

export interface ContextOptions {
  /** Hosts (`name` or `name:port`, lower case) that requests may name; null takes any well-formed host. */
  readonly allowedHosts: readonly string[] | null
}

/** Headers that change their meaning when somebody on the way takes another copy of them than we do; each has a bit. */
const SINGLE_HEADERS: Readonly<Record<string, number>> = { host: 1, authorization: 2, 'content-type': 4, 'idempotency-key': 8 }

const context: FastifyPluginCallback<ContextOptions> = (app, options, done) => {
  const allowed = options.allowedHosts === null ? null : new Set(options.allowedHosts.map((host) => host.toLowerCase()))
  app.decorateRequest('clientId', null)
  app.decorateRequest('refusalCode', null)

  app.addHook('onRequest', (request, reply, next) => {
    setCommonHeaders(reply)
    const { headers, httpVersion, rawHeaders } = request.raw
    const repeated = repeatedHeader(rawHeaders)
    if (repeated) return next(invalidRequest([fieldError(['headers', repeated], 'is given more than once')], 'header'))
    // No parameter of ours has one, and PostgreSQL cannot take it: it is refused before any schema could let it through.
    if (request.raw.url?.includes('%00')) return next(invalidRequest([fieldError(['path'], 'holds U+0000')], 'path'))
    if (!isAllowedHost(headers.host, httpVersion, allowed) && request.routeOptions.config.anyHost !== true)
      return next(invalidRequest([fieldError(['headers', 'host'], 'is not served here')], 'header'))
    next()
  })

  app.addHook('onResponse', (request, reply, next) => {
    logRequest(request, reply)
    next()
  })
  done()
}

/** The headers that every answer has, also those that no route made. */
export function setCommonHeaders(reply: FastifyReply): void {
  reply.header(REQUEST_ID_HEADER, reply.request.id)
  reply.header('x-content-type-options', 'nosniff')
  reply.header('cache-control', 'no-store')
}

/** One line a request: good ones only when debugging, refusals at info, our own failures at error. */
export function logRequest(request: FastifyRequest, reply: FastifyReply): void {
  const status = reply.statusCode
  const level = status >= 500 ? 'error' : status >= 400 ? 'info' : 'debug'
  const log = request.log as FastifyBaseLogger & { isLevelEnabled?: (level: string) => boolean }
  if (log.isLevelEnabled?.(level) === false) return
  const fields: LogFields = {
    method: request.method,
    // The pattern, never the URL: paths hold ids, and a query may hold what does not belong there.
    route: request.routeOptions.url ?? 'unmatched',
    status,
    ms: Math.round(reply.elapsedTime * 10) / 10,
    operation: request.routeOptions.config.operation ?? null,
    client_id: request.clientId,
    wallet_id: walletIdOf(request),
    code: request.refusalCode,
  }
  log[level](fields, 'request')
}

/** The wallet that the request names, where it names one by its id: anything else there is the caller's text, which no log gets. */
function walletIdOf({ params, body }: FastifyRequest): string | null {
  for (const part of [params, body] as ({ wallet?: unknown } | null | undefined)[]) {
    const named = part?.wallet
    if (typeof named === 'string' && fromWireId('wallet', named) !== null) return named
  }
  return null
}

function repeatedHeader(rawHeaders: readonly string[]): string | null {
  let seen = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    const { length } = name
    // Only names of these lengths can be meant; most headers are passed over without a copy of their name.
    if (length !== 4 && length !== 12 && length !== 13 && length !== 15) continue
    const bit = SINGLE_HEADERS[name.toLowerCase()] ?? 0
    if ((seen & bit) !== 0) return name.toLowerCase()
    seen |= bit
  }
  return null
}

/** Request ids, common headers, the host check and one log line a request. */
export const contextPlugin = fp(context, { name: 'farebox-context', fastify: '5.x' })
