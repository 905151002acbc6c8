import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { problemResponses } from '../http/openapi.ts'
import { formatCredits } from '../kernel/credits.ts'
import { fail } from '../kernel/errors.ts'
import { fromWireId } from '../kernel/ids.ts'
import type { Lane } from '../ledger/lane.ts'
import { accessOf, callerOf, JSON_MEDIA_TYPE, settledAnswers } from '../ledger/routes.ts'
import type { PriceBook } from '../pricing/prices.ts'
import { eventCommands, fromCloudEvent } from './events.ts'
import type { ChargeReads } from './reads-prisma.ts'
import {
  type CloudEvent,
  chargeObject,
  chargeParams,
  chargeToWire,
  cloudEvent,
  EVENTS_MAX,
  ownEvent,
  quoteToWire,
  type UsageEvent,
} from './schemas.ts'

/** Room for a thousand events with some metadata. */
const EVENTS_BODY_BYTES_MAX = 4 * 1024 * 1024

const eventsBody = z.union([
  z.strictObject({ events: z.array(ownEvent).min(1).max(EVENTS_MAX) }),
  cloudEvent,
  z.array(cloudEvent).min(1).max(EVENTS_MAX),
])

const eventsAnswer = z
  .object({
    results: z.array(
      z.object({
        source: z.string(),
        id: z.string(),
        outcome: z.enum(['charged', 'duplicate', 'refused']),
        status: z.int(),
        body: z.unknown().meta({ description: 'The charge, or the problem' }),
      }),
    ),
  })
  .meta({ id: 'EventsResponse' })

/** `GET /v1/charges/{charge_id}` and `POST /v1/events`. */
export function chargeRoutes(
  app: FastifyInstance,
  services: { readonly lane: Pick<Lane, 'submitAll'>; readonly reads: ChargeReads; readonly prices: () => PriceBook },
): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()

  typed.get(
    '/v1/charges/:charge_id',
    {
      config: { operation: 'charge.read', scope: 'self', keyScope: 'wallets:read' },
      schema: {
        operationId: 'getCharge',
        tags: ['Charges'],
        summary: 'Read a charge',
        params: chargeParams,
        response: { 200: chargeObject, ...problemResponses([400, 401, 403, 404, 503]) },
      },
    },
    async (request) => {
      const charge = await services.reads.find(fromWireId('charge', request.params.charge_id) as string, accessOf(request))
      if (!charge) throw fail('charge_not_found', 'No charge of yours has this id.')
      return { ...chargeToWire(charge), refunded: formatCredits(charge.refunded), quote: quoteToWire(charge.quote) }
    },
  )

  const toCommand = eventCommands(services.prices)
  typed.post(
    '/v1/events',
    {
      config: { operation: 'events', scope: 'usage:write' },
      bodyLimit: EVENTS_BODY_BYTES_MAX,
      schema: {
        operationId: 'reportEvents',
        tags: ['Events'],
        summary: 'Report usage events',
        description:
          'Takes `{"events": […]}`, one CloudEvent (application/cloudevents+json) or a batch of them (application/cloudevents-batch+json), up to 1,000. An event reports work that is done, so it is charged whatever the wallet has; what it cannot cover is recorded as uncollected. The pair (source, id) makes an event unique: sent again it is a `duplicate` and costs nothing. A malformed event refuses the whole request.',
        body: eventsBody,
        response: { 200: eventsAnswer, ...problemResponses([400, 401, 403, 413, 415, 503]) },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const events = toEvents(request.body)
      const answers = await settledAnswers(services.lane.submitAll(events.map((event) => toCommand(caller, event))), request.id)
      const results = answers.map(({ status, replayed, body }, index) => {
        const { source, id } = events[index] as UsageEvent
        const outcome = status >= 300 ? 'refused' : replayed ? 'duplicate' : 'charged'
        return `{"source":${JSON.stringify(source)},"id":${JSON.stringify(id)},"outcome":"${outcome}","status":${status},"body":${body}}`
      })
      return reply.header('content-type', JSON_MEDIA_TYPE).send(`{"results":[${results.join(',')}]}` as never)
    },
  )
}

function toEvents(body: z.output<typeof eventsBody>): UsageEvent[] {
  if (Array.isArray(body)) return body.map(fromCloudEvent)
  return 'specversion' in body ? [fromCloudEvent(body as CloudEvent)] : (body as { events: UsageEvent[] }).events
}
