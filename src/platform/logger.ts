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
  readonly operation: string | null
  readonly client_id: string | null
  readonly wallet_id: string | null
  readonly code: string | null
}

export type { Logger }

const SECRET_FIELDS = ['authorization', 'cookie', 'set-cookie', 'x-api-key', 'password', 'secret', 'token', 'DATABASE_URL', 'jwt_secret']
const CENSORED = '[redacted]'

/** Secrets by their own form, wherever they are: in a message, a stack, a driver's error. */
const SECRET_FORMS: readonly (readonly [form: RegExp, replacement: string])[] = [
  [/\b((?:postgres(?:ql)?|rediss?|https?):\/\/[^:@/\s"]*):[^@\s"]+@/g, `$1:${CENSORED}@`],
  [/\b((?:sk|rk)_(?:test|live)|whsec)_[A-Za-z0-9_+/=]+/g, `$1_${CENSORED}`],
  // What a browser confirms a payment with.
  [/\b((?:pi|seti|cs)_[A-Za-z0-9]+)_secret_[A-Za-z0-9]+/g, `$1_secret_${CENSORED}`],
  [/\btkt_[A-Za-z0-9_-]{43}/g, `tkt_${CENSORED}`],
  [/\b(fbx_[0-9a-z]{8})_[A-Za-z0-9_-]{43}\b/g, `$1_${CENSORED}`],
  [/\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g, CENSORED],
]

/** What a log keeps of an error. PostgreSQL puts the row that it refuses into `detail`, Redis its password into `command`, Stripe a whole payment into `raw`. */
const ERROR_FIELDS = ['type', 'message', 'stack', 'code', 'statusCode', 'constraint', 'table', 'column'] as const

/** A configured secret shorter than this may be an everyday word, and a log without that word would be no log. */
const KNOWN_SECRET_LENGTH_MIN = 12

/**
 * The process's logger. Bodies are never logged; requests and replies, should one be logged whole, are cut to what is harmless.
 * @param secrets of this installation, taken out wherever they are
 * @param destination for tests; standard output otherwise
 */
export function createLogger(options: {
  readonly level: LogLevel
  readonly name?: string
  readonly secrets?: readonly string[]
  readonly destination?: DestinationStream
}): Logger {
  const paths = SECRET_FIELDS.flatMap((field) => [`["${field}"]`, `*["${field}"]`, `*.*["${field}"]`])
  // As they stand in a line of JSON.
  const known = (options.secrets ?? [])
    .filter((secret) => secret.length >= KNOWN_SECRET_LENGTH_MIN)
    .map((secret) => JSON.stringify(secret).slice(1, -1))
  return pino(
    {
      level: options.level,
      base: { name: options.name ?? 'farebox' },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths, censor: CENSORED },
      serializers: {
        err: errorFields,
        error: errorFields,
        req: requestFields,
        res: replyFields,
        body: () => CENSORED,
      },
      hooks: { streamWrite: (line) => censor(known.reduce((text, secret) => text.replaceAll(secret, CENSORED), line)) },
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

function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: String(error) }
  const all = pino.stdSerializers.err(error) as unknown as Record<string, unknown>
  return Object.fromEntries(ERROR_FIELDS.flatMap((name) => (all[name] === undefined ? [] : [[name, all[name]]])))
}

function requestFields(request: { id?: unknown; method?: unknown }) {
  return { id: request.id, method: request.method }
}

function replyFields(reply: { statusCode?: unknown }) {
  return { status: reply.statusCode }
}
