import { hash } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { principalOf } from '../auth/guard.ts'
import { pageOf, problemResponses } from '../http/openapi.ts'
import { paginate } from '../http/page.ts'
import { fail } from '../kernel/errors.ts'
import { fromWireId } from '../kernel/ids.ts'
import type { Lane } from '../ledger/lane.ts'
import { parseIdempotencyKey, walletRef } from '../ledger/operation.ts'
import { accessOf, callerOf, idempotencyHeaders, sendAnswer } from '../ledger/routes.ts'
import type { PriceBookKeeper } from '../pricing/price-book.ts'
import type { WalletReads } from '../wallets/reads-prisma.ts'
import { walletParams } from '../wallets/schemas.ts'
import type { Gateway } from './gateway.ts'
import { purchaseOperation } from './operations.ts'
import type { PackageStore } from './packages-prisma.ts'
import type { Payment } from './payment.ts'
import type { PaymentReads } from './payments-prisma.ts'
import type { PromotionStore } from './promotion/store-prisma.ts'
import { purchase } from './purchase.ts'
import { type ReturnRules, returnUrls } from './return-url.ts'
import * as schema from './schemas.ts'
import { isPaidInPerson } from './top-up/start-top-up.ts'

export interface BillingServices {
  /** Null where no provider is configured. */
  readonly gateway: Gateway | null
  readonly lane: Pick<Lane, 'submit'>
  readonly packages: Pick<PackageStore, 'inForce' | 'nameOf'>
  readonly orders: PaymentReads
  readonly promotions: Pick<PromotionStore, 'claim' | 'rulesInForce'>
  readonly wallets: Pick<WalletReads, 'find'>
  readonly prices: Pick<PriceBookKeeper, 'current'>
  readonly returns: ReturnRules
  /** Gives an order up that nobody has paid. */
  readonly cancel: (payment: Payment, cause: string) => Promise<void>
}

/** Packages, purchases and the history of payments. */
export function billingRoutes(app: FastifyInstance, services: BillingServices): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()
  const { gateway, packages, orders, wallets } = services
  const operation = purchaseOperation(gateway)
  const read = { scope: 'self', keyScope: 'payments:read' } as const

  typed.get(
    '/v1/packages',
    {
      config: { operation: 'package.list', ...read },
      schema: {
        operationId: 'listPackages',
        tags: ['Payments'],
        summary: 'List the packages on sale, smallest first',
        description: 'All on one page.',
        response: { 200: pageOf(schema.packageObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async () => {
      const onSale = (await packages.inForce(new Date())).filter(({ enabled }) => enabled)
      return { data: onSale.map(schema.packageToWire), next_cursor: null }
    },
  )

  typed.post(
    '/v1/purchases',
    {
      config: { operation: 'purchase', scope: 'self', keyScope: 'payments:write' },
      schema: {
        operationId: 'purchase',
        tags: ['Payments'],
        summary: operation.summary,
        description: operation.description,
        headers: idempotencyHeaders,
        body: schema.purchaseBody,
        response: { 201: schema.purchaseAnswer, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 422, 503]) },
      },
    },
    async (request, reply) => {
      const { body } = request
      if (!gateway) throw fail('payments_not_configured', 'No payment provider is configured.')
      const key = personalKeyOf(request)
      const own = ownUrl(request)
      const urls = returnUrls(services.returns, body, own, gateway.provider)
      const bought = await purchase({ ...services, gateway }, { caller: callerOf(request), access: accessOf(request), key, body, ...urls })
      if (!bought.ok) return sendAnswer(reply, bought.answer) as never
      if (bought.replayed) reply.header('idempotent-replayed', 'true')
      return reply.code(201).send({ ...schema.paymentToWire(bought.payment), checkout: schema.checkoutToWire(bought.checkout, own) })
    },
  )

  typed.get(
    '/v1/wallets/:wallet/payments',
    {
      config: { operation: 'payment.list', ...read },
      schema: {
        operationId: 'listPayments',
        tags: ['Payments'],
        summary: 'List the payments of a wallet, newest first',
        description: 'Each is an order and all that became of its money since. Orders that nobody has paid yet are among them.',
        params: walletParams,
        querystring: schema.paymentsQuery,
        response: { 200: pageOf(schema.paymentObject), ...problemResponses([400, 401, 403, 404, 503]) },
      },
    },
    async (request) => {
      const wallet = await wallets.find(walletRef(request.params.wallet), accessOf(request))
      if (!wallet) throw fail('wallet_not_found', 'No wallet of yours has this id or owner.')
      const filter = { walletId: wallet.id, status: request.query.status }
      const listing = {
        name: 'payments',
        scope: filter,
        position: (payment: { id: string }) => payment.id,
        read: (before: string | null, limit: number) => orders.list(filter, before, limit),
      }
      return paginate(listing, request.query, schema.paymentToWire)
    },
  )

  typed.get(
    '/v1/payments/:payment_id',
    {
      config: { operation: 'payment.read', ...read },
      schema: {
        operationId: 'getPayment',
        tags: ['Payments'],
        summary: 'Read a payment',
        description:
          'After the customer came back from paying, ask for it until `status` is no longer `pending`, or follow the wallet live.',
        params: schema.paymentParams,
        response: { 200: schema.paymentObject, ...problemResponses([400, 401, 403, 404, 503]) },
      },
    },
    async (request) => {
      const payment = await orders.findFor(fromWireId('payment', request.params.payment_id) as string, accessOf(request))
      if (!payment) throw fail('payment_not_found', 'No payment of yours has this id.')
      return schema.paymentToWire(payment)
    },
  )

  typed.post(
    '/v1/payments/:payment_id/cancel',
    {
      config: { operation: 'payment.cancel', scope: 'self', keyScope: 'payments:write' },
      schema: {
        operationId: 'cancelPayment',
        tags: ['Payments'],
        summary: 'Give up an order that is not paid',
        description:
          'Closes the page that it could be paid on. Harmless to repeat. Orders that nobody pays within a day are given up by themselves.',
        params: schema.paymentParams,
        response: { 200: schema.paymentObject, ...problemResponses([400, 401, 403, 404, 409, 503]) },
      },
    },
    async (request) => {
      const id = fromWireId('payment', request.params.payment_id) as string
      const payment = await orders.findFor(id, accessOf(request))
      if (!payment) throw fail('payment_not_found', 'No payment of yours has this id.')
      if (!isPaidInPerson(payment))
        throw fail('payment_not_cancellable', "It is the top-up's or the subscription's: switch that off instead.")
      if (payment.status === 'pending') await services.cancel(payment, `cancel:${request.id}`)
      const after = (await orders.find(id)) ?? payment
      if (after.status === 'paid') throw fail('payment_not_cancellable', 'It is paid. An admin can give the money back.')
      if (after.status === 'pending')
        throw fail('payment_not_cancellable', 'The money is on its way; it is decided when it arrives or does not.')
      return schema.paymentToWire(after)
    },
  )
}

/** People share a client, so the keys that they make up for themselves are kept apart. */
export function personalKeyOf(request: FastifyRequest): string {
  const key = parseIdempotencyKey(request.headers['idempotency-key'])
  const { kind, actor } = principalOf(request)
  return kind === 'user' ? hash('sha256', `${actor} ${key}`, 'base64url') : key
}

/** Where this service was reached; the Host was checked against ALLOWED_HOSTS. */
export function ownUrl({ protocol, host }: FastifyRequest): string {
  return `${protocol}://${host}`
}
