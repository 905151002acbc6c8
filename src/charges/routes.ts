import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { problemResponses } from '../http/openapi.ts'
import { formatCredits } from '../kernel/credits.ts'
import { type ErrorCode, FareboxError, fail } from '../kernel/errors.ts'
import { fromWireId, toWireId } from '../kernel/ids.ts'
import type { Lane } from '../ledger/lane.ts'
import { accessOf, callerOf, JSON_MEDIA_TYPE, refuseEarly, settledAnswers } from '../ledger/routes.ts'
import { doubtsOf } from '../pricing/plausible.ts'
import type { PriceBookKeeper } from '../pricing/price-book.ts'
import { quoteWhole } from '../pricing/quote.ts'
import { quoteObject, quoteToWire } from '../pricing/quote-schemas.ts'
import { recompute } from '../pricing/recompute.ts'
import { previewAnswer, previewBody } from '../pricing/schemas.ts'
import { NO_SUBJECT, termsAt } from '../pricing/terms.ts'
import { collected } from './charge.ts'
import { eventCommands, fromCloudEvent } from './events.ts'
import { changePercent, previewRate } from './preview.ts'
import type { ChargeReads } from './reads-prisma.ts'
import {
  type CloudEvent,
  chargeObject,
  chargeParams,
  chargeToWire,
  cloudEvent,
  costRequest,
  type Estimate,
  EVENTS_MAX,
  ownEvent,
  quoteBody,
  recomputeAnswer,
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

export interface ChargeServices {
  readonly lane: Pick<Lane, 'submitEach' | 'refusal'>
  /** Told of events that the lane could not carry out. */
  readonly onRefused: (code: ErrorCode) => void
  readonly reads: ChargeReads
  readonly prices: Pick<PriceBookKeeper, 'current' | 'refresh'>
  readonly estimate: Estimate
}

/** Reads of charges, quotes, and `POST /v1/events`. */
export function chargeRoutes(app: FastifyInstance, services: ChargeServices): void {
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

  typed.get(
    '/v1/charges/:charge_id/recompute',
    {
      config: { operation: 'charge.recompute', scope: 'self', keyScope: 'wallets:read' },
      schema: {
        operationId: 'recomputeCharge',
        tags: ['Charges'],
        summary: 'Work a charge out again',
        description: 'From what was consumed and the stored versions of prices alone, none of the figures that were frozen with it.',
        params: chargeParams,
        response: { 200: recomputeAnswer, ...problemResponses([400, 401, 403, 404, 503]) },
      },
    },
    async (request) => {
      const charge = await services.reads.find(fromWireId('charge', request.params.charge_id) as string, accessOf(request))
      if (!charge) throw fail('charge_not_found', 'No charge of yours has this id.')
      let again = recompute(services.prices.current(), charge.quote)
      if (again.missing.length > 0) {
        // Another process may know a version that this one has not read yet.
        await services.prices.refresh()
        again = recompute(services.prices.current(), charge.quote)
      }
      return {
        charge_id: toWireId('charge', charge.id),
        cost: formatCredits(charge.cost),
        recomputed: again.cost === null ? null : formatCredits(again.cost),
        matches: again.cost === charge.cost,
        missing_versions: again.missing.map((id) => toWireId('price', id)),
        quote: again.quote && quoteToWire(again.quote),
      }
    },
  )

  typed.post(
    '/v1/quotes',
    {
      config: { operation: 'quote', scope: 'prices:read' },
      schema: {
        operationId: 'quote',
        tags: ['Prices'],
        summary: 'Ask what work costs',
        description:
          'A question, not a command: it touches no wallet and needs no Idempotency-Key. The lines are exact; they are rounded once, as a whole.',
        body: quoteBody,
        response: { 200: quoteObject, ...problemResponses([400, 401, 403, 413, 415, 422, 503]) },
      },
    },
    async ({ body }) => {
      const request = costRequest(await services.estimate(body))
      const at = body.at === undefined ? Date.now() : Date.parse(body.at)
      const terms = termsAt(services.prices.current(), at, request.amount === undefined ? request : NO_SUBJECT)
      if (!terms.ok) throw new FareboxError(terms.refusal)
      const quote = quoteWhole(terms.value, request, false)
      if (!quote.ok) throw new FareboxError(quote.refusal)
      return quoteToWire(quote.value)
    },
  )

  typed.post(
    '/v1/admin/exchange-rates/preview',
    {
      config: { operation: 'previewExchangeRate', scope: 'admin' },
      schema: {
        operationId: 'previewExchangeRate',
        tags: ['Prices'],
        summary: 'See what an exchange rate would do',
        description: 'What purchases of 5 to 100 would bring, and what the last charges for models would have cost. Nothing is set.',
        body: previewBody,
        response: { 200: previewAnswer, ...problemResponses([400, 401, 403, 413, 415, 503]) },
      },
    },
    async ({ body }) => {
      const rate = { currency: body.currency, purpose: body.purpose, creditsPerUnit: body.credits_per_unit }
      const now = Date.now()
      const charges = await services.reads.lastOfModels(body.charges)
      const preview = previewRate(services.prices.current(), now, rate, charges)
      const sum = (of: 'before' | 'after') => formatCredits(preview.charges.reduce((total, charge) => total + charge[of], 0n))
      return {
        currency: rate.currency,
        purpose: rate.purpose,
        present: preview.present,
        proposed: rate.creditsPerUnit,
        change_percent: preview.present === null ? null : changePercent(preview.present, rate.creditsPerUnit),
        implausible: doubtsOf(services.prices.current(), { kind: 'rate', version: rate }, now),
        purchases: preview.purchases.map(({ amount, before, after }) => ({
          amount,
          currency: rate.currency,
          credits_now: before === null ? null : formatCredits(before),
          credits_then: after === null ? null : formatCredits(after),
        })),
        charges: preview.charges.map(({ charge, before, after }) => ({
          id: toWireId('charge', charge.id),
          wallet_id: toWireId('wallet', charge.walletId),
          model: charge.model ?? '',
          charged: formatCredits(collected(charge)),
          cost_now: formatCredits(before),
          cost_then: formatCredits(after),
        })),
        total: { charges: preview.charges.length, cost_now: sum('before'), cost_then: sum('after') },
      }
    },
  )

  const toCommand = eventCommands(() => services.prices.current())
  typed.post(
    '/v1/events',
    {
      config: { operation: 'events', scope: 'usage:write' },
      bodyLimit: EVENTS_BODY_BYTES_MAX,
      onRequest: refuseEarly(services.lane),
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
      const submitted = services.lane.submitEach(events.map((event) => toCommand(caller, event)))
      const answers = await settledAnswers(submitted, request.id, services.onRefused)
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
