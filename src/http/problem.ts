import type { FastifyReply } from 'fastify'
import { ERROR_CODES, type ErrorCode, type ErrorKind, type Refusal } from '../kernel/errors.ts'

/** How refusals look on the wire: RFC 9457, and the only place that knows which HTTP status a kind of error has. */

export const PROBLEM_MEDIA_TYPE = 'application/problem+json'

const STATUS_OF_KIND = {
  invalid: 400,
  unauthenticated: 401,
  exhausted: 402,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  timeout: 408,
  conflict: 409,
  too_large: 413,
  unsupported: 415,
  unprocessable: 422,
  throttled: 429,
  internal: 500,
  unavailable: 503,
} as const satisfies Record<ErrorKind, number>

/** HTTP has a status of its own for headers, which no kind of error needs to know. */
const STATUS_OF_CODE: Partial<Record<ErrorCode, number>> = { headers_too_large: 431 }

/** Kinds whose answer always says when to come back. */
const RETRY_AFTER_KINDS = new Set<ErrorKind>(['unavailable', 'throttled'])
const RETRY_AFTER_SECONDS_DEFAULT = 1

const TYPE_PREFIX = '/docs/errors/'
/** Each problem begins like this. */
const TYPE_START = `{"type":"${TYPE_PREFIX}`

/** The HTTP status of an error code. */
export function statusOf(code: ErrorCode): number {
  return STATUS_OF_CODE[code] ?? STATUS_OF_KIND[ERROR_CODES[code].kind]
}

/** Seconds for the Retry-After header, or null where the answer carries none. */
export function retryAfterSeconds(refusal: Refusal): number | null {
  const named = refusal.extra?.retry_after_seconds
  if (typeof named === 'number' && named >= 0) return Math.ceil(named)
  const { kind, retryable } = ERROR_CODES[refusal.code]
  return retryable && RETRY_AFTER_KINDS.has(kind) ? RETRY_AFTER_SECONDS_DEFAULT : null
}

/**
 * The status and the JSON text of a refusal. Figures of `extra` follow the standard members and can never take their place;
 * `retry_after_seconds` is a header, not a member.
 */
export function renderProblem(refusal: Refusal, requestId: string): { status: number; body: string } {
  const entry = ERROR_CODES[refusal.code]
  const status = statusOf(refusal.code)
  const problem: Record<string, unknown> = {
    type: TYPE_PREFIX + refusal.code,
    title: entry.title,
    status,
    detail: refusal.detail,
    instance: requestId,
    code: refusal.code,
    retryable: entry.retryable,
  }
  if (refusal.errors && refusal.errors.length > 0) problem.errors = refusal.errors
  if (refusal.extra) {
    for (const [name, value] of Object.entries(refusal.extra)) {
      if (name !== 'retry_after_seconds' && !(name in problem)) problem[name] = value
    }
  }
  return { status, body: JSON.stringify(problem) }
}

/** The code of a problem that `renderProblem` made. */
export function codeOfProblem(body: string): ErrorCode {
  return body.slice(TYPE_START.length, body.indexOf('"', TYPE_START.length)) as ErrorCode
}

/** Answers a request with a refusal. */
export function sendProblem(reply: FastifyReply, refusal: Refusal): FastifyReply {
  const { status, body } = renderProblem(refusal, reply.request.id)
  const retryAfter = retryAfterSeconds(refusal)
  if (retryAfter !== null) reply.header('retry-after', String(retryAfter))
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  return reply.code(status).header('content-type', PROBLEM_MEDIA_TYPE).send(body)
}
