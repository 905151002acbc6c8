import websocket, { type WebSocket } from '@fastify/websocket'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { principalOf } from '../auth/guard.ts'
import { hasScope, type Principal } from '../auth/principal.ts'
import { refusalOf } from '../http/error-handler.ts'
import { problemResponses } from '../http/openapi.ts'
import { isOwnOrigin } from '../http/own-origin.ts'
import { fail, type Refusal } from '../kernel/errors.ts'
import { toWireTime } from '../kernel/time.ts'
import { accessOf } from '../ledger/routes.ts'
import { walletParams } from '../wallets/schemas.ts'
import type { Feed } from './feed.ts'
import type { RealtimeReads } from './reads-prisma.ts'
import { streamAnswer, ticketAnswer } from './schemas.ts'
import { CLOSE, Session, WALLETS_MAX } from './session.ts'
import { Sessions } from './sessions.ts'
import { Stream } from './stream.ts'
import { issueTicket, takeTicket } from './tickets.ts'
import type { RealtimeTimes } from './times.ts'

export interface RealtimeServices {
  readonly feed: Feed
  readonly reads: RealtimeReads
  /** Whether a credential still counts. */
  readonly isActive: (principal: Principal) => Promise<boolean>
  /** Origins of pages that may connect, beside the service's own. */
  readonly allowedOrigins: readonly string[]
  readonly times: RealtimeTimes
  /** Counts the open sockets and streams. */
  readonly count: { inc(): void; dec(): void }
}

const PROTOCOL = 'farebox.v1'
const FRAME_BYTES_MAX = 16 * 1024
/** No client of good will cuts a frame of 16 KiB into more. */
const FRAGMENTS_MAX = 64

/** The socket, the stream and the tickets of docs/realtime.md. */
export async function realtimeRoutes(app: FastifyInstance, services: RealtimeServices): Promise<void> {
  const { feed, reads, times } = services
  const sessions = new Sessions(services.isActive, times, services.count)
  const typed = app.withTypeProvider<ZodTypeProvider>()

  // Known to ws, but not yet to its types.
  const untyped: object = { maxFragments: FRAGMENTS_MAX, closeTimeout: times.leaveMs }
  await app.register(websocket, {
    options: {
      ...untyped,
      maxPayload: FRAME_BYTES_MAX,
      perMessageDeflate: false,
      // A flood of pings would be a flood of pongs: the session answers them.
      autoPong: false,
      // Never a credential: what is selected is echoed.
      handleProtocols: (protocols: ReadonlySet<string>) => (protocols.has(PROTOCOL) ? PROTOCOL : false),
    },
    // Of a peer that broke the protocol ws has taken leave already, with the right code. What is still open is our own mistake.
    errorHandler(error, socket, request) {
      if (socket.readyState !== socket.OPEN) return
      request.log.error({ err: error }, 'a socket could not be served')
      socket.terminate()
    },
    // In place of its own, which closes the sockets without a word.
    preClose(done) {
      sessions.close()
      app.websocketServer.close()
      done()
    },
  })

  /** What to tell of an error; what is our own fault is logged. */
  function explain(request: FastifyRequest, error: unknown): Refusal {
    const { refusal, fault } = refusalOf(error)
    if (fault) request.log.warn({ err: error }, 'a realtime call failed')
    return refusal
  }

  app.get(
    '/v1/realtime',
    {
      websocket: true,
      config: { operation: 'realtime', scope: 'public' },
      schema: { hide: true },
      preValidation: async (request) => {
        if (!request.ws) throw fail('invalid_request', 'This is a WebSocket: connect with an upgrade to it.')
        checkOrigin(request, services.allowedOrigins)
        const principal = await principalOfUpgrade(app, request, services)
        request.principal = principal
        request.clientId = principal.clientId
        const mayRead = principal.kind === 'user' || hasScope(principal, 'wallets:read')
        if (!mayRead) throw fail('forbidden', 'This key lacks the scope wallets:read.')
      },
    },
    (socket: WebSocket, request: FastifyRequest) => {
      const access = accessOf(request)
      const session = new Session(socket, {
        feed,
        resolve: (wallets) => reads.resolve(access, wallets),
        transactions: reads.transactions,
        refusalOf: (error) => explain(request, error),
        now: () => toWireTime(Date.now()),
      })
      const remove = sessions.add(session, principalOf(request))
      if (!remove) return
      socket.on('message', (data: Buffer, isBinary: boolean) => {
        if (isBinary) session.end(CLOSE.protocol, 'frames are text', 0)
        else session.receive(data.toString('utf8'))
      })
      socket.on('ping', (data: Buffer) => session.pinged(data))
      socket.on('pong', () => session.ponged())
      socket.on('close', () => {
        remove()
        session.forget()
      })
    },
  )

  typed.get(
    '/v1/wallets/:wallet/stream',
    {
      // A HEAD would be a stream that nobody can read.
      exposeHeadRoute: false,
      config: { operation: 'wallet.stream', scope: 'self', keyScope: 'wallets:read' },
      schema: {
        operationId: 'streamWallet',
        tags: ['Realtime'],
        summary: 'Follow a wallet as server-sent events',
        description:
          'Each event is the state at a version, not a difference: `event: wallet.balance`, `id` the version. For networks that block sockets; see docs/realtime.md.',
        params: walletParams,
        response: { 200: streamAnswer, ...problemResponses([400, 401, 403, 404, 503]) },
      },
    },
    async (request, reply) => {
      const [walletId = ''] = await reads.resolve(accessOf(request), [request.params.wallet])
      reply.hijack()
      const response = reply.raw
      const common = reply.getHeaders() as Record<string, string>
      response.writeHead(200, { ...common, 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' })
      const stream = new Stream(feed, walletId, response)
      const remove = sessions.add(stream, principalOf(request))
      if (!remove) return
      const gone = () => {
        remove()
        stream.forget()
      }
      response.on('close', gone)
      // Whoever left while the wallet was looked up has been told of already.
      if (response.destroyed || response.closed) return gone()
      await stream.start().catch((error: unknown) => {
        explain(request, error)
        stream.end(CLOSE.overloaded, 'the database did not answer', 1)
      })
    },
  )

  typed.post(
    '/v1/realtime/tickets',
    {
      config: { operation: 'ticket', scope: 'self', keyScope: 'wallets:read' },
      schema: {
        operationId: 'createTicket',
        tags: ['Realtime'],
        summary: 'Get a ticket for a socket',
        description: `Good once, for 30 seconds: the subprotocols \`${PROTOCOL}\` and \`ticket.<ticket>\` open \`GET /v1/realtime\` as whoever asked. A socket follows up to ${WALLETS_MAX} wallets.`,
        response: { 201: ticketAnswer, ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async (request, reply) => {
      const { ticket, expiresAt } = await issueTicket(reads, principalOf(request))
      return reply.code(201).send({ ticket, expires_at: toWireTime(expiresAt) })
    },
  )
}

/** A page of somebody else may make a browser connect, but not with this browser's standing. @throws FareboxError `forbidden` */
function checkOrigin({ headers }: FastifyRequest, allowed: readonly string[]): void {
  if (isOwnOrigin(headers) || allowed.includes(headers.origin ?? '')) return
  throw fail('forbidden', 'Pages of this origin may not connect; ALLOWED_ORIGINS names those that may.')
}

/** Who connects: by ticket or token in the subprotocols, or by header. @throws FareboxError `unauthenticated` */
async function principalOfUpgrade(
  app: FastifyInstance,
  { headers }: FastifyRequest,
  { reads, isActive }: Pick<RealtimeServices, 'reads' | 'isActive'>,
): Promise<Principal> {
  const protocols = (headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
  const ticket = protocols.find((name) => name.startsWith('ticket.'))
  if (ticket !== undefined) {
    const principal = await takeTicket(reads, ticket.slice('ticket.'.length))
    // What it stands for may have been revoked since it was issued.
    if (principal && (await isActive(principal))) return principal
    throw fail('unauthenticated', 'The ticket is unknown, used or too old.')
  }
  const bearer = protocols.find((name) => name.startsWith('bearer.'))
  return app.auth.authenticator.authenticate(bearer === undefined ? headers.authorization : `Bearer ${bearer.slice('bearer.'.length)}`)
}
