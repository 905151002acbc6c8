import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { speakerOf } from '../../auth/guard.ts'
import { grantAnswer } from '../../grants/schemas.ts'
import { pageOf, problemResponses } from '../../http/openapi.ts'
import { paginate } from '../../http/page.ts'
import { about, fail } from '../../kernel/errors.ts'
import { fromWireId } from '../../kernel/ids.ts'
import { done, refuse } from '../../ledger/command.ts'
import type { Lane } from '../../ledger/lane.ts'
import { toCommand, walletRef } from '../../ledger/operation.ts'
import { accessOf, callerOf, idempotencyHeaders, sendAnswer } from '../../ledger/routes.ts'
import type { WalletReads } from '../../wallets/reads-prisma.ts'
import { personalKeyOf } from '../routes.ts'
import { type ClaimedRedemption, redeemOperation } from './operations.ts'
import { normalCode } from './promotion.ts'
import * as schema from './schemas.ts'
import type { CountedPromotion, PromotionStore, RecordedRule } from './store-prisma.ts'

export interface PromotionServices {
  readonly promotions: PromotionStore
  readonly lane: Pick<Lane, 'submit'>
  readonly wallets: Pick<WalletReads, 'find'>
}

/** Codes and rules that give more credits. */
export function promotionRoutes(app: FastifyInstance, { promotions, lane, wallets }: PromotionServices): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()

  typed.get(
    '/v1/bonus-rules',
    {
      config: { operation: 'bonusRule.list', scope: 'self', keyScope: 'payments:read' },
      schema: {
        operationId: 'listBonusRules',
        tags: ['Payments'],
        summary: 'List the bonus rules in force',
        description: 'All on one page. Of the rules of a kind an order gets the one that gives most.',
        response: { 200: pageOf(schema.bonusRuleObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async () => ({ data: (await promotions.rulesInForce(new Date())).map(schema.bonusRuleToWire), next_cursor: null }),
  )

  typed.post(
    '/v1/redemptions',
    {
      config: { operation: 'redeem', scope: 'self', keyScope: 'payments:write' },
      schema: {
        operationId: 'redeem',
        tags: ['Payments'],
        summary: redeemOperation.summary,
        description: redeemOperation.description,
        headers: idempotencyHeaders,
        body: schema.redeemBody,
        response: { 201: grantAnswer, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 422, 503]) },
      },
    },
    async (request, reply) => {
      const { body } = request
      const key = personalKeyOf(request)
      const wallet = await wallets.find(walletRef(body.wallet), accessOf(request))
      if (!wallet) throw fail('wallet_not_found', 'No wallet of yours has this id or owner.')
      const code = normalCode(body.code)
      const claimed = await promotions.claim(code, wallet.id, false)
      const claim = claimed.ok
        ? done({ redemptionId: claimed.value.redemptionId, code, credits: claimed.value.promotion.credits ?? 0n })
        : refuse(about('/code', claimed.refusal))
      const prepared: ClaimedRedemption = { ...body, claim }
      return sendAnswer(reply, await lane.submit(toCommand(redeemOperation, callerOf(request), key, {}, body, prepared))) as never
    },
  )

  typed.post(
    '/v1/admin/bonus-rules',
    {
      config: { operation: 'bonusRule.set', scope: 'admin' },
      schema: {
        operationId: 'setBonusRule',
        tags: ['Payments'],
        summary: 'Set a bonus rule',
        description: 'Adds a version. Orders that were placed keep what they were promised.',
        body: schema.bonusRuleBody,
        response: { 201: schema.bonusRuleVersionObject, ...problemResponses([400, 401, 403, 409, 413, 415, 422, 503]) },
      },
    },
    async (request, reply) => {
      const { body } = request
      const from = body.effective_from === undefined ? null : Date.parse(body.effective_from)
      const rule = await promotions.addRule(schema.newBonusRule(body), from, body.reason, speakerOf(request))
      return reply.code(201).send(schema.bonusRuleVersionToWire(rule))
    },
  )

  typed.get(
    '/v1/admin/bonus-rules',
    {
      config: { operation: 'bonusRule.history', scope: 'admin' },
      schema: {
        operationId: 'listBonusRuleVersions',
        tags: ['Payments'],
        summary: 'List the versions of bonus rules, newest first',
        querystring: schema.bonusRuleHistoryQuery,
        response: { 200: pageOf(schema.bonusRuleHistoryObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async ({ query }) => {
      const listing = {
        name: 'bonus-rules',
        scope: { rule: query.rule },
        position: (rule: RecordedRule) => rule.id,
        read: (before: string | null, limit: number) => promotions.ruleHistory(query.rule, before, limit),
      }
      return paginate(listing, query, schema.bonusRuleHistoryToWire)
    },
  )

  typed.post(
    '/v1/admin/promotions',
    {
      config: { operation: 'promotion.add', scope: 'admin' },
      schema: {
        operationId: 'addPromotion',
        tags: ['Payments'],
        summary: 'Add a promotion code',
        body: schema.promotionBody,
        response: { 201: schema.promotionObject, ...problemResponses([400, 401, 403, 409, 413, 415, 503]) },
      },
    },
    async (request, reply) => {
      const { body } = request
      const promotion = await promotions.addPromotion(schema.newPromotion(body, Date.now()), body.reason, speakerOf(request))
      return reply.code(201).send(schema.promotionToWire(promotion))
    },
  )

  typed.get(
    '/v1/admin/promotions',
    {
      config: { operation: 'promotion.list', scope: 'admin' },
      schema: {
        operationId: 'listPromotions',
        tags: ['Payments'],
        summary: 'List promotion codes, who made them and how often they were redeemed, newest first',
        querystring: schema.promotionsQuery,
        response: { 200: pageOf(schema.countedPromotionObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async ({ query }) => {
      const listing = {
        name: 'promotions',
        scope: {},
        position: (promotion: CountedPromotion) => promotion.id,
        read: (before: string | null, limit: number) => promotions.promotions(before, limit),
      }
      return paginate(listing, query, schema.countedPromotionToWire)
    },
  )

  typed.post(
    '/v1/admin/promotions/:promotion_id/end',
    {
      config: { operation: 'promotion.end', scope: 'admin' },
      schema: {
        operationId: 'endPromotion',
        tags: ['Payments'],
        summary: 'End a promotion now',
        description: 'What was redeemed stays; orders that were placed with the code keep it.',
        params: schema.promotionParams,
        body: schema.endPromotionBody,
        response: { 200: schema.promotionObject, ...problemResponses([400, 401, 403, 404, 413, 415, 503]) },
      },
    },
    async (request) => {
      const id = fromWireId('promotion', request.params.promotion_id) as string
      const promotion = await promotions.endPromotion(id, request.body.reason, speakerOf(request))
      if (!promotion) throw fail('promotion_not_found', 'No promotion has this id.')
      return schema.promotionToWire(promotion)
    },
  )
}
