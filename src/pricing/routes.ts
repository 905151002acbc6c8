import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import { speakerOf } from '../auth/guard.ts'
import { pageOf, problemResponses } from '../http/openapi.ts'
import { toWireTime } from '../kernel/time.ts'
import type { PriceBookKeeper } from './price-book.ts'
import { inForce, type Version } from './prices.ts'
import * as schema from './schemas.ts'
import type { NewVersion, PriceStore } from './store.ts'

export interface PricingServices {
  readonly store: PriceStore
  readonly keeper: PriceBookKeeper
}

/** What things cost now, and the admin routes that add dated versions. */
export function pricingRoutes(app: FastifyInstance, { store, keeper }: PricingServices): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()

  function inForceNow<V extends Version, Wire>(lists: ReadonlyMap<string, readonly V[]>, toWire: (version: V) => Wire): Wire[] {
    const now = Date.now()
    const names = [...lists.keys()].sort()
    return names.flatMap((name) => {
      const version = inForce(lists.get(name), now)
      return version ? [toWire(version)] : []
    })
  }

  typed.get(
    '/v1/models',
    {
      config: { operation: 'models.list', scope: 'prices:read' },
      schema: {
        operationId: 'listModels',
        tags: ['Prices'],
        summary: 'List the models that have a price, at the price in force',
        response: { 200: pageOf(schema.modelObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async () => ({ data: inForceNow(keeper.current().models, schema.modelToWire), next_cursor: null }),
  )

  typed.get(
    '/v1/operations',
    {
      config: { operation: 'operations.list', scope: 'prices:read' },
      schema: {
        operationId: 'listOperations',
        tags: ['Prices'],
        summary: 'List the operations that have a price, at the price in force',
        response: { 200: pageOf(schema.operationObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async () => ({ data: inForceNow(keeper.current().operations, schema.operationToWire), next_cursor: null }),
  )

  async function add(request: FastifyRequest, added: NewVersion, body: { effective_from?: string | undefined; reason: string }) {
    const effectiveFrom = body.effective_from === undefined ? null : Date.parse(body.effective_from)
    const version = await store.add(added, effectiveFrom, body.reason, speakerOf(request))
    await keeper.refresh()
    return { id: version.id, effective_from: toWireTime(version.effectiveFrom) }
  }

  function versionRoute<Body extends z.ZodType<{ effective_from?: string | undefined; reason: string }>>(
    path: string,
    operationId: string,
    summary: string,
    body: Body,
    toVersion: (body: z.output<Body>) => NewVersion,
  ): void {
    typed.post(
      path,
      {
        config: { operation: operationId, scope: 'admin' },
        schema: {
          operationId,
          tags: ['Prices'],
          summary,
          description: 'Adds a version. Nothing that was in force is changed: what was reserved before is charged at the old price.',
          body,
          response: { 201: schema.versionAnswer, ...problemResponses([400, 401, 403, 409, 413, 415, 422, 503]) },
        },
      },
      async (request, reply) => {
        const parsed = request.body as z.output<Body>
        return reply.code(201).send((await add(request, toVersion(parsed), parsed)) as never)
      },
    )
  }

  versionRoute('/v1/admin/prices', 'addPrice', 'Set the price of a model', schema.priceBody, schema.newPrice)
  versionRoute('/v1/admin/operations', 'addOperation', 'Set the cost of an operation', schema.operationBody, schema.newOperation)
  versionRoute('/v1/admin/markups', 'addMarkup', 'Set the markup', schema.markupBody, schema.newMarkup)
  versionRoute('/v1/admin/exchange-rates', 'addExchangeRate', 'Set an exchange rate', schema.rateBody, schema.newRate)
  versionRoute('/v1/admin/charge-policies', 'addChargePolicy', 'Set the smallest and largest charge', schema.policyBody, schema.newPolicy)
}
