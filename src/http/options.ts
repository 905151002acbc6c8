import type { IncomingMessage } from 'node:http'
import { type FastifyBaseLogger, type FastifyServerOptions, LogController } from 'fastify'
import { answerClientError } from './client-error.ts'
import { answerFrameworkError } from './error-handler.ts'
import { requestIdOf } from './request-id.ts'
import { requestLog } from './request-log.ts'

/** How the HTTP server defends itself. Fastify's own defaults wait for ever and coerce input; none of them is relied upon. */

/** Whole request, headers and body: a dripped body ends here. */
const REQUEST_TIMEOUT_MS = 10_000
const HEADERS_TIMEOUT_MS = 5_000
/** How often Node looks for requests past those limits; its default of 30 s would make 5 s into 35. */
const TIMEOUT_CHECK_MS = 1_000
/** A socket on which nothing moves while a request is being answered. */
const CONNECTION_TIMEOUT_MS = 15_000
/** Longer than the usual 60 s of load balancers, so that it is they who close an idle connection. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000
const HEADERS_SIZE_MAX = 16 * 1024
const BODY_SIZE_MAX = 64 * 1024
/** The one address that takes an upgrade. */
const UPGRADE_PATH = '/v1/realtime'
/** Room for the longest owner (`user:alice`), a kind of 32 and an id of 128 characters; schemas bound each parameter. */
export const PATH_PARAMETER_LENGTH_MAX = 200

export interface ServerConfig {
  readonly logger: FastifyBaseLogger
  /** Addresses or ranges of proxies whose X-Forwarded-For counts; false trusts nobody. */
  readonly trustProxy: false | readonly string[]
  readonly bodyLimitBytes?: number
}

/** Options for `fastify()`. Node's own `http` options go with them, hence the wider type. */
export function serverOptions(config: ServerConfig) {
  return {
    loggerInstance: config.logger,
    // The context plugin writes the one line of a request.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    childLoggerFactory: requestLog,
    genReqId: requestIdOf,
    requestIdHeader: false,
    trustProxy: config.trustProxy === false ? false : [...config.trustProxy],
    bodyLimit: config.bodyLimitBytes ?? BODY_SIZE_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      maxHeaderSize: HEADERS_SIZE_MAX,
      // Node would answer a missing Host with an empty body; the context plugin refuses it as a problem.
      requireHostHeader: false,
      shouldUpgradeCallback,
    },
    routerOptions: { maxParamLength: PATH_PARAMETER_LENGTH_MAX },
    forceCloseConnections: 'idle',
    // While closing, requests that are already on a connection are still served and told to leave (`connection: close`): a
    // rolling restart answers no 503.
    return503OnClosing: false,
    // Zod validates; should a plain JSON schema slip in, it must not change what it checks.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, allErrors: false, useDefaults: false } },
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    clientErrorHandler: answerClientError,
    frameworkErrors: answerFrameworkError,
  } as const satisfies FastifyServerOptions & { http: object }
}

/**
 * Whatever else asks for an upgrade is answered as if it had not: some clients offer HTTP/2 (`Upgrade: h2c`) with each first request.
 * Node would take such a connection out of all its limits, the body of the request with it.
 */
function shouldUpgradeCallback({ method, headers, url = '' }: IncomingMessage): boolean {
  // Any other method would be refused by the router, with nobody left to end the connection.
  if (method !== 'GET' || headers.upgrade?.toLowerCase() !== 'websocket') return false
  return url === UPGRADE_PATH || url.startsWith(`${UPGRADE_PATH}?`)
}
