import { hash } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { speakerOf } from '../../auth/guard.ts'
import { pageOf, problemResponses } from '../../http/openapi.ts'
import { about, FareboxError, fail, refusal } from '../../kernel/errors.ts'
import { fromWireId } from '../../kernel/ids.ts'
import { toWireTimeOrNull } from '../../kernel/time.ts'
import { done, type Outcome, refuse } from '../../ledger/command.ts'
import type { Lane } from '../../ledger/lane.ts'
import { toCommand, walletRef } from '../../ledger/operation.ts'
import { accessOf, callerOf, idempotencyHeaders, sendAnswer } from '../../ledger/routes.ts'
import type { Wallet } from '../../ledger/wallet.ts'
import type { WalletReads } from '../../wallets/reads-prisma.ts'
import { walletParams } from '../../wallets/schemas.ts'
import { type Gateway, refuseOthers } from '../gateway.ts'
import type { PaymentReads } from '../payments-prisma.ts'
import { type ReturnRules, returnUrls } from '../return-url.ts'
import { ownUrl, personalKeyOf } from '../routes.ts'
import type { SyncOutcome } from '../sync.ts'
import { changePlan } from './change-plan.ts'
import type { SubscriptionGateway } from './gateway.ts'
import { billingOf, openSubscription } from './open-subscription.ts'
import { type PreparedSubscription, subscribeOperation } from './operations.ts'
import type { Plan } from './plan.ts'
import type { PlanStore } from './plans-prisma.ts'
import type { SubscriptionReads } from './reads-prisma.ts'
import * as schema from './schemas.ts'
import { isLive, presentPlanId, type Subscription } from './subscription.ts'
import { syncUnpaidPage } from './sync-subscription.ts'

export interface SubscriptionServices {
  readonly gateway: Gateway | null
  readonly lane: Pick<Lane, 'submit'>
  readonly plans: PlanStore
  readonly subscriptions: SubscriptionReads
  readonly orders: PaymentReads
  readonly wallets: Pick<WalletReads, 'find'>
  readonly returns: ReturnRules
  readonly sync: (subject: string, cause: string) => Promise<SyncOutcome>
}

/** Plans, and the subscription of a wallet. */
export function subscriptionRoutes(app: FastifyInstance, services: SubscriptionServices): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()
  const { lane, plans, subscriptions, orders } = services
  const subscribe = subscribeOperation(services.gateway)
  const read = { scope: 'self', keyScope: 'payments:read' } as const
  const write = { scope: 'self', keyScope: 'payments:write' } as const
  const path = '/v1/wallets/:wallet/subscription'

  /** Asked only for wallets that the caller has: what is not there is not there, whatever is configured. */
  function configured(): { gateway: Gateway; billing: SubscriptionGateway } {
    const { gateway } = services
    if (!gateway) throw fail('payments_not_configured', 'No payment provider is configured.')
    return { gateway, billing: billingOf(gateway) }
  }

  async function findWallet(request: FastifyRequest, named: string): Promise<Wallet> {
    const wallet = await services.wallets.find(walletRef(named), accessOf(request))
    if (!wallet) throw fail('wallet_not_found', 'No wallet of yours has this id or owner.')
    return wallet
  }

  async function findSubscription({ id }: Wallet): Promise<Subscription> {
    const subscription = await subscriptions.ofWallet(id)
    if (!subscription) throw fail('subscription_not_found', 'The wallet has no subscription.')
    return subscription
  }

  /** The subscription that something is to be done about, and where that is asked. */
  async function findLive(wallet: Wallet): Promise<{ subscription: Subscription; gateway: Gateway; billing: SubscriptionGateway }> {
    const { gateway, billing } = configured()
    const subscription = await findSubscription(wallet)
    if (!isLive(subscription)) throw fail('subscription_ended', 'The subscription is over: begin another one.')
    refuseOthers(gateway, subscription)
    return { subscription, gateway, billing }
  }

  async function planOf(id: string): Promise<Plan> {
    const plan = await plans.find(id)
    if (!plan) throw new Error('the plan of a subscription is gone')
    return plan
  }

  async function offered(named: string): Promise<Outcome<Plan>> {
    const plan = (await plans.inForce(new Date())).find((one) => one.plan === named && one.enabled)
    return plan ? done(plan) : refuse(about('/plan', refusal('plan_not_sold', `No plan "${named}" is on sale.`)))
  }

  /** A subscription after something was asked of the provider: as that says, not as it was asked. */
  async function afterwards({ id }: Subscription, request: FastifyRequest, subjects: readonly (string | null)[]) {
    for (const subject of subjects) if (subject !== null) await services.sync(subject, `subscription:${request.id}`)
    const subscription = await subscriptions.find(id)
    if (!subscription) throw fail('subscription_not_found', 'The subscription is gone.')
    return schema.subscriptionToWire(subscription, await planOf(subscription.planVersionId))
  }

  typed.get(
    '/v1/plans',
    {
      config: { operation: 'plan.list', ...read },
      schema: {
        operationId: 'listPlans',
        tags: ['Payments'],
        summary: 'List the plans on sale, cheapest first',
        response: { 200: pageOf(schema.planObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async () => {
      const onSale = (await plans.inForce(new Date())).filter(({ enabled }) => enabled)
      return { data: onSale.map(schema.planToWire), next_cursor: null }
    },
  )

  typed.get(
    path,
    {
      config: { operation: 'subscription.read', ...read },
      schema: {
        operationId: 'getSubscription',
        tags: ['Payments'],
        summary: 'Read the subscription of a wallet',
        description: 'The one that goes on, or else the last that it had.',
        params: walletParams,
        response: { 200: schema.subscriptionObject, ...problemResponses([400, 401, 403, 404, 503]) },
      },
    },
    async (request) => {
      const subscription = await findSubscription(await findWallet(request, request.params.wallet))
      return schema.subscriptionToWire(subscription, await planOf(subscription.planVersionId))
    },
  )

  typed.post(
    path,
    {
      config: { operation: 'subscribe', ...write },
      schema: {
        operationId: 'subscribe',
        tags: ['Payments'],
        summary: subscribe.summary,
        description: subscribe.description,
        headers: idempotencyHeaders,
        params: walletParams,
        body: schema.subscribeBody,
        response: { 201: schema.subscribeAnswer, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 422, 503]) },
      },
    },
    async (request, reply) => {
      const { body, params } = request
      const key = personalKeyOf(request)
      // Before the key is looked up: what is not the caller's is not there.
      const wallet = await findWallet(request, params.wallet)
      const { gateway, billing } = configured()
      const own = ownUrl(request)
      const urls = returnUrls(services.returns, body, own, gateway.provider)
      const prepared: PreparedSubscription = { ...body, walletId: wallet.id, offered: await offered(body.plan) }
      const answer = await lane.submit(toCommand(subscribe, callerOf(request), key, params, body, prepared))
      if (answer.status >= 400) return sendAnswer(reply, answer) as never
      const { id } = JSON.parse(answer.body) as { id: string }
      const placed = await subscriptions.find(fromWireId('subscription', id) as string)
      if (!placed) throw fail('subscription_not_found', 'The subscription is gone.')
      const plan = await planOf(placed.planVersionId)
      const ports = { gateway, billing, orders, plans, subscriptions }
      const checkout = await openSubscription(ports, placed, plan, wallet, urls)
      if (answer.replayed) reply.header('idempotent-replayed', 'true')
      const page = checkout && { url: checkout.url, expires_at: toWireTimeOrNull(checkout.expiresAt) }
      return reply.code(201).send({ ...schema.subscriptionToWire(placed, plan), checkout: page })
    },
  )

  typed.post(
    `${path}/change`,
    {
      config: { operation: 'subscription.change', ...write },
      schema: {
        operationId: 'changeSubscription',
        tags: ['Payments'],
        summary: 'Go over to another plan',
        description:
          'To a dearer one at once: the rest of the period is charged, and its credits come. To a cheaper one with the next period; nothing is taken.',
        headers: idempotencyHeaders,
        params: walletParams,
        body: schema.changeBody,
        response: {
          200: schema.subscriptionObject,
          ...problemResponses([400, 401, 402, 403, 404, 409, 413, 415, 422, 503], { 402: 'The bank declined the card' }),
        },
      },
    },
    async (request) => {
      const key = personalKeyOf(request)
      const { subscription, gateway, billing } = await findLive(await findWallet(request, request.params.wallet))
      const wanted = await offered(request.body.plan)
      if (!wanted.ok) throw new FareboxError(wanted.refusal)
      const billed = await planOf(subscription.planVersionId)
      const paid = await planOf(presentPlanId(subscription))
      // Keys of ours reach the provider by way of a hash: they may be of anything, and are nobody else's.
      const providerKey = hash('sha256', `change ${speakerOf(request).clientId} ${subscription.id} ${key}`, 'base64url')
      const ports = { gateway, billing, plans }
      const invoiceId = await changePlan(ports, { subscription, billed, paid, wanted: wanted.value, key: providerKey })
      return afterwards(subscription, request, [invoiceId, subscription.objectId])
    },
  )

  typed.post(
    `${path}/cancel`,
    {
      config: { operation: 'subscription.cancel', ...write },
      schema: {
        operationId: 'cancelSubscription',
        tags: ['Payments'],
        summary: 'End a subscription, with its period or now',
        description: 'Nothing is given back. The credits stay until the end of the period that was paid for.',
        params: walletParams,
        body: schema.cancelBody,
        response: { 200: schema.subscriptionObject, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 422, 503]) },
      },
    },
    async (request) => {
      const { subscription, gateway, billing } = await findLive(await findWallet(request, request.params.wallet))
      const { objectId } = subscription
      if (objectId === null) {
        await syncUnpaidPage({ lane, subscriptions }, subscription.id, null, `subscription:${request.id}`)
        const customerId = await orders.findCustomer(subscription.walletId, gateway)
        if (customerId !== null) await billing.closePages(customerId, null)
      } else {
        await billing.cancel(objectId, (request.body?.at_period_end ?? true) ? 'period_end' : 'now')
      }
      return afterwards(subscription, request, [objectId])
    },
  )

  typed.post(
    `${path}/resume`,
    {
      config: { operation: 'subscription.resume', ...write },
      schema: {
        operationId: 'resumeSubscription',
        tags: ['Payments'],
        summary: 'Let a subscription go on that was to end',
        description: 'One that is not to end stays as it is.',
        params: walletParams,
        body: schema.resumeBody,
        response: { 200: schema.subscriptionObject, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 422, 503]) },
      },
    },
    async (request) => {
      const { subscription, billing } = await findLive(await findWallet(request, request.params.wallet))
      if (subscription.objectId !== null) await billing.resume(subscription.objectId)
      return afterwards(subscription, request, [subscription.objectId])
    },
  )
}
