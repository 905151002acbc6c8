import { hash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { speakerOf } from '../../auth/guard.ts'
import { pageOf, problemResponses } from '../../http/openapi.ts'
import { paginate } from '../../http/page.ts'
import { FareboxError, fail } from '../../kernel/errors.ts'
import { fromWireId } from '../../kernel/ids.ts'
import { parseIdempotencyKey } from '../../ledger/operation.ts'
import { idempotencyHeaders } from '../../ledger/routes.ts'
import { askRefund } from '../ask-refund.ts'
import type { Gateway } from '../gateway.ts'
import type { StoredEvent } from '../inbox.ts'
import type { InboxReads } from '../inbox-prisma.ts'
import { formatMoney, parseMoney } from '../money.ts'
import type { PackageStore, RecordedPackage } from '../packages-prisma.ts'
import type { PaymentReads } from '../payments-prisma.ts'
import * as schema from '../schemas.ts'
import type { SyncOutcome } from '../sync.ts'

export interface BillingAdminServices {
  readonly gateway: Gateway | null
  readonly packages: PackageStore
  readonly orders: PaymentReads
  readonly inbox: InboxReads
  readonly sync: (subject: string, cause: string) => Promise<SyncOutcome>
  readonly processSoon: () => void
}

/** What an admin sets, gives back and looks at. */
export function billingAdminRoutes(app: FastifyInstance, services: BillingAdminServices): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()
  const { gateway, packages, orders, inbox } = services

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

  typed.post(
    '/v1/admin/payments/:payment_id/refund',
    {
      config: { operation: 'payment.refund', scope: 'admin' },
      schema: {
        operationId: 'refundPayment',
        tags: ['Payments'],
        summary: 'Give money back',
        description:
          'Asks the payment provider. The credits are taken back as soon as it says that the money is on its way; those that were spent become debt.',
        headers: idempotencyHeaders,
        params: schema.paymentParams,
        body: schema.refundBody,
        response: { 200: schema.refundAnswer, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 422, 503]) },
      },
    },
    async (request) => {
      if (!gateway) throw fail('payments_not_configured', 'No payment provider is configured.')
      const key = parseIdempotencyKey(request.headers['idempotency-key'])
      const payment = await orders.find(fromWireId('payment', request.params.payment_id) as string)
      if (!payment) throw fail('payment_not_found', 'No payment has this id.')
      const { amount: text, reason } = request.body
      const amount = text === undefined ? null : parseMoney(text, payment.currency)
      if (text !== undefined && amount === null) {
        const message = `must not have more decimals than ${payment.currency} has`
        throw new FareboxError({ code: 'invalid_request', detail: `/amount ${message}.`, errors: [{ pointer: '/amount', message }] })
      }
      const speaker = speakerOf(request)
      // Keys of ours reach the provider by way of a hash: they may be of anything, and are nobody else's.
      const providerKey = hash('sha256', `refund ${speaker.clientId} ${payment.id} ${key}`, 'base64url')
      const record = (of: typeof payment, asked: bigint) => orders.recordRefund(of, asked, reason, speaker)
      const refund = await askRefund({ gateway, record }, payment, amount, providerKey)
      await services.sync(payment.objectId as string, `refund:${request.id}`)
      const after = (await orders.find(payment.id)) ?? payment
      return {
        provider_refund_id: refund.id,
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
}
