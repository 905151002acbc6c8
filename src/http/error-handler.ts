import type { FastifyError, FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import fp from 'fastify-plugin'
import { type ErrorCode, FareboxError, fail, type Refusal, refusal } from '../kernel/errors.ts'
import { classify } from '../platform/sqlstate.ts'
import { logRequest, setCommonHeaders } from './context.ts'
import { sendProblem } from './problem.ts'

/** Every way in which a request can end badly, as one problem. */

const METHODS: readonly HTTPMethods[] = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']

/** What Fastify refuses before a handler sees the request. */
const FASTIFY_CODES: Record<string, readonly [code: ErrorCode, detail: string]> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['payload_too_large', 'The body is too large.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'Send the body as application/json.'],
  FST_ERR_CTP_EMPTY_TYPE: ['unsupported_media_type', 'Send the body as application/json.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'The body is not as long as its Content-Length says.'],
  FST_ERR_BAD_URL: ['invalid_request', 'The path is not a valid URL path.'],
  FST_ERR_MAX_PARAM_LENGTH: ['invalid_request', 'A part of the path is too long.'],
  FST_ERR_HANDLER_TIMEOUT: ['overloaded', 'The request took too long.'],
}

/** The refusal behind any error; `fault` is true where it is our own, so that its cause belongs into the log. */
export function refusalOf(error: unknown): { refusal: Refusal; fault: boolean } {
  if (error instanceof FareboxError) return { refusal: error.refusal, fault: error.refusal.code === 'internal' }
  const { code, statusCode } = (error ?? {}) as Partial<FastifyError>
  const known = code === undefined ? undefined : FASTIFY_CODES[code]
  if (known) return { refusal: refusal(...known), fault: false }
  // Fastify marks what the client did wrong; a connection that broke in the middle of a body is among it.
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return { refusal: refusal('invalid_request', 'The request could not be read.'), fault: false }
  }
  if (classify(error) !== 'fault') {
    return {
      refusal: refusal('storage_unavailable', 'The database did not answer. Nothing is known to be wrong with the request.'),
      fault: true,
    }
  }
  return { refusal: refusal('internal', 'The request failed. It has been logged under this request id.'), fault: true }
}

/** Answers a request with the problem that an error means, and logs the cause of what is ours. */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { refusal, fault } = refusalOf(error)
  request.refusalCode = refusal.code
  const cause = error instanceof FareboxError ? error.cause : undefined
  if (fault) request.log.error({ err: error }, 'request failed')
  else if (cause !== undefined) request.log.debug({ err: cause }, refusal.code)
  return sendProblem(reply, refusal)
}

/** For Fastify's `frameworkErrors`: requests that no route and no hook ever sees. */
export function answerFrameworkError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  setCommonHeaders(reply)
  answerError(error, request, reply)
  logRequest(request, reply)
}

function methodsOf(app: FastifyInstance, path: string): string[] {
  return METHODS.filter((method) => app.findRoute({ method, url: path }) !== null)
}

export interface ErrorHandlerOptions {
  /** Told of what is refused before it reaches the lane, or by the lane as a whole. */
  readonly onRefused?: (code: ErrorCode) => void
}

const errorHandler: FastifyPluginCallback<ErrorHandlerOptions> = (app, { onRefused }, done) => {
  app.setErrorHandler((error, request, reply) => {
    const answer = answerError(error, request, reply)
    if (request.refusalCode !== null) onRefused?.(request.refusalCode)
    return answer
  })
  app.setNotFoundHandler((request, reply) => {
    const query = request.raw.url?.indexOf('?') ?? -1
    const path = query < 0 ? (request.raw.url ?? '/') : (request.raw.url as string).slice(0, query)
    const methods = methodsOf(app, path)
    if (methods.length === 0) throw fail('route_not_found', 'There is no such route.')
    if (methods.includes('GET')) methods.push('HEAD')
    reply.header('allow', methods.join(', '))
    throw fail('method_not_allowed', `This path takes ${methods.join(', ')}.`)
  })
  done()
}

/** Turns every error, unknown route and wrong method into problem+json. */
export const errorHandlerPlugin = fp(errorHandler, { name: 'farebox-problem', fastify: '5.x', dependencies: ['farebox-context'] })
