import type { DestinationStream, Logger } from 'pino'
import pino from 'pino'

/** Structured logs, one JSON object a line, with everything secret taken out before the line is written. */

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'

/** The fields of the one line that a request leaves, beside its `request_id`, which every line of a request has. */
export interface LogFields {
  readonly method: string
  readonly route: string
  readonly status: number
  readonly ms: number
  readonly client_id: string | null
}

export type { Logger }

const SECRET_FIELDS = ['authorization', 'cookie', 'set-cookie', 'x-api-key', 'password', 'secret', 'token', 'DATABASE_URL', 'jwt_secret']
const CENSORED = '[redacted]'

/** Secrets by their own form, wherever they are: in a message, a stack, a driver's error. */
const SECRET_FORMS: readonly (readonly [form: RegExp, replacement: string])[] = [
  [/\b(postgres(?:ql)?:\/\/[^:@/\s"]*):[^@\s"]+@/g, `$1:${CENSORED}@`],
  [/\b(fbx_[0-9a-z]{8})_[A-Za-z0-9_-]{43}\b/g, `$1_${CENSORED}`],
  [/\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g, CENSORED],
]

/**
 * The process's logger. Bodies are never logged; requests and replies, should one be logged whole, are cut to what is harmless.
 * @param destination for tests; standard output otherwise
 */
export function createLogger(options: {
  readonly level: LogLevel
  readonly name?: string
  readonly destination?: DestinationStream
}): Logger {
  const paths = SECRET_FIELDS.flatMap((field) => [`["${field}"]`, `*["${field}"]`, `*.*["${field}"]`])
  return pino(
    {
      level: options.level,
      base: { name: options.name ?? 'farebox' },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths, censor: CENSORED },
      serializers: {
        err: pino.stdSerializers.err,
        error: pino.stdSerializers.err,
        req: requestFields,
        res: replyFields,
        body: () => CENSORED,
      },
      hooks: { streamWrite: censor },
    },
    options.destination ?? pino.destination({ dest: 1, sync: false }),
  )
}

/** Takes out of a text whatever has the form of a secret. */
export function censor(text: string): string {
  let censored = text
  for (const [form, replacement] of SECRET_FORMS) censored = censored.replace(form, replacement)
  return censored
}

function requestFields(request: { id?: unknown; method?: unknown }) {
  return { id: request.id, method: request.method }
}

function replyFields(reply: { statusCode?: unknown }) {
  return { status: reply.statusCode }
}
