import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { speakerOf } from '../../auth/guard.ts'
import { pageOf, problemResponses } from '../../http/openapi.ts'
import { paginate } from '../../http/page.ts'
import { FareboxError, fail } from '../../kernel/errors.ts'
import { fromWireId } from '../../kernel/ids.ts'
import type { Lane } from '../../ledger/lane.ts'
import { parseIdempotencyKey, toCommand } from '../../ledger/operation.ts'
import { callerOf, idempotencyHeaders, sendAnswer } from '../../ledger/routes.ts'
import { type Gateway, refuseOthers } from '../gateway.ts'
import type { StoredEvent } from '../inbox.ts'
import type { InboxReads } from '../inbox-prisma.ts'
import { formatMoney, parseMoney, tooManyDecimals } from '../money.ts'
import { type AskedRefundBody, refundOperation } from '../operations.ts'
import type { PackageStore, RecordedPackage } from '../packages-prisma.ts'
import type { Payment } from '../payment.ts'
import type { PaymentReads } from '../payments-prisma.ts'
import * as schema from '../schemas.ts'
import type { SyncOutcome } from '../sync.ts'

export interface BillingAdminServices {
  readonly gateway: Gateway | null
  readonly lane: Pick<Lane, 'submit'>
  readonly packages: PackageStore
  readonly orders: PaymentReads
  readonly inbox: InboxReads
  readonly sync: (subject: string, cause: string) => Promise<SyncOutcome>
  readonly processSoon: () => void
}

/** What an admin sets, gives back and looks at. */
export function billingAdminRoutes(app: FastifyInstance, services: BillingAdminServices): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()
  const { gateway, lane, packages, orders, inbox } = services

  typed.post(
    '/v1/admin/packages',
    {
      config: { operation: 'package.set', scope: 'admin' },
      schema: {
        operationId: 'setPackage',
        tags: ['Payments'],
        summary: 'Set a package',
        description: 'Adds a version; the newest whose time has come is on sale. Orders that were placed keep theirs.',
        body: schema.packageBody,
        response: { 201: schema.packageVersionObject, ...problemResponses([400, 401, 403, 409, 413, 415, 422, 503]) },
      },
    },
    async (request, reply) => {
      const { body } = request
      const from = body.effective_from === undefined ? null : Date.parse(body.effective_from)
      const version = await packages.add(schema.newPackage(body), from, body.reason, speakerOf(request))
      return reply.code(201).send(schema.packageVersionToWire(version))
    },
  )

  typed.get(
    '/v1/admin/packages',
    {
      config: { operation: 'package.history', scope: 'admin' },
      schema: {
        operationId: 'listPackageVersions',
        tags: ['Payments'],
        summary: 'List the versions of packages, newest first',
        description: 'With who set them. Versions are only added, never changed.',
        querystring: schema.packageHistoryQuery,
        response: { 200: pageOf(schema.packageHistoryObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async ({ query }) => {
      const listing = {
        name: 'packages',
        scope: { package: query.package },
        position: (version: RecordedPackage) => version.id,
        read: (before: string | null, limit: number) => packages.history(query.package, before, limit),
      }
      return paginate(listing, query, (version) => ({
        ...schema.packageVersionToWire(version),
        created_by: version.createdBy,
        created_at: new Date(version.createdAt).toISOString(),
      }))
    },
  )

  typed.get(
    '/v1/admin/payments',
    {
      config: { operation: 'payment.listAll', scope: 'admin' },
      schema: {
        operationId: 'listAllPayments',
        tags: ['Payments'],
        summary: 'List the payments of all wallets, newest first',
        description: 'For whoever has an id of the payment provider in hand, or looks for what is disputed.',
        querystring: schema.adminPaymentsQuery,
        response: { 200: pageOf(schema.paymentObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async ({ query }) => {
      const { status, origin, provider_payment_id: objectId } = query
      const filter = { status, origin, objectId }
      const listing = {
        name: 'all-payments',
        scope: filter,
        position: (payment: Payment) => payment.id,
        read: (before: string | null, limit: number) => orders.list(filter, before, limit),
      }
      return paginate(listing, query, schema.paymentToWire)
    },
  )

  typed.post(
    '/v1/admin/payments/:payment_id/refund',
    {
      config: { operation: 'payment.refund', scope: 'admin' },
      schema: {
        operationId: 'refundPayment',
        tags: ['Payments'],
        summary: refundOperation.summary,
        description: refundOperation.description,
        headers: idempotencyHeaders,
        params: schema.paymentParams,
        body: schema.refundBody,
        response: { 200: schema.refundAnswer, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 422, 503]) },
      },
    },
    async (request, reply) => {
      if (!gateway) throw fail('payments_not_configured', 'No payment provider is configured.')
      const key = parseIdempotencyKey(request.headers['idempotency-key'])
      const payment = await orders.find(fromWireId('payment', request.params.payment_id) as string)
      if (!payment) throw fail('payment_not_found', 'No payment has this id.')
      refuseOthers(gateway, payment)
      const { amount: text } = request.body
      const amount = text === undefined ? null : parseMoney(text, payment.currency)
      if (text !== undefined && amount === null) {
        const message = tooManyDecimals(payment.currency)
        throw new FareboxError({ code: 'invalid_request', detail: `/amount ${message}.`, errors: [{ pointer: '/amount', message }] })
      }
      const command = toCommand(refundOperation, callerOf(request), key, request.params, request.body, {
        ...request.body,
        units: amount,
      })
      const answer = await lane.submit(command)
      if (answer.status >= 400) return sendAnswer(reply, answer) as never
      if (answer.replayed) reply.header('idempotent-replayed', 'true')
      const { refund_id: refundId, provider_payment_id: objectId } = JSON.parse(answer.body) as AskedRefundBody
      const refund = await gateway.refund({ refundId, objectId, amount, paymentId: payment.id, isRepeated: answer.replayed })
      // The money is on its way: what cannot be read now, an event tells in a moment.
      await services.sync(objectId, `refund:${request.id}`).catch((error: unknown) => {
        request.log.warn({ err: error, payment: payment.id }, 'a refund was made, and its payment could not be read')
      })
      const after = (await orders.find(payment.id)) ?? payment
      return {
        provider_refund_id: refund.id,
        status: refund.status,
        amount: formatMoney(refund.amount, payment.currency),
        currency: payment.currency,
        payment: schema.paymentToWire(after),
      }
    },
  )

  typed.get(
    '/v1/admin/payment-events',
    {
      config: { operation: 'paymentEvent.list', scope: 'admin' },
      schema: {
        operationId: 'listPaymentEvents',
        tags: ['Payments'],
        summary: 'List what the payment provider told, newest first',
        description:
          'Those with the status `parked` wait for a person: they do not fit their order, and nothing was credited. Stripe sends events to `POST /v1/stripe/webhook`, which is set up as src/billing/README.md says.',
        querystring: schema.eventsQuery,
        response: { 200: pageOf(schema.eventObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async ({ query }) => {
      const listing = {
        name: 'payment-events',
        scope: { status: query.status },
        pattern: /^[A-Za-z0-9_]{1,255}$/,
        position: (event: StoredEvent) => event.id,
        read: (before: string | null, limit: number) => inbox.list(query.status, before, limit),
      }
      return paginate(listing, query, schema.eventToWire)
    },
  )

  typed.post(
    '/v1/admin/payment-events/:event_id/retry',
    {
      config: { operation: 'paymentEvent.retry', scope: 'admin' },
      schema: {
        operationId: 'retryPaymentEvent',
        tags: ['Payments'],
        summary: 'Look at an event again',
        description: 'Reads anew what it is about, in a moment. Harmless at any time.',
        params: schema.eventParams,
        response: { 202: schema.eventObject, ...problemResponses([400, 401, 403, 404, 503]) },
      },
    },
    async (request, reply) => {
      const event = await inbox.retry(request.params.event_id)
      if (!event) throw fail('payment_event_not_found', 'No event with something to read has this id.')
      services.processSoon()
      return reply.code(202).send(schema.eventToWire(event))
    },
  )

  typed.post(
    '/v1/admin/payment-events/:event_id/dismiss',
    {
      config: { operation: 'paymentEvent.dismiss', scope: 'admin' },
      schema: {
        operationId: 'dismissPaymentEvent',
        tags: ['Payments'],
        summary: 'Say that there is nothing to do about a parked event',
        description: 'For what was put right elsewhere, or was never ours. Who said so, and why, stays with the event.',
        params: schema.eventParams,
        body: schema.dismissBody,
        response: { 200: schema.eventObject, ...problemResponses([400, 401, 403, 404, 413, 415, 503]) },
      },
    },
    async (request) => {
      const event = await inbox.dismiss(request.params.event_id, request.body.reason, speakerOf(request).actor)
      if (!event) throw fail('payment_event_not_found', 'No parked event has this id.')
      return schema.eventToWire(event)
    },
  )
}
