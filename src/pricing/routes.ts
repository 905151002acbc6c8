import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import { speakerOf } from '../auth/guard.ts'
import { pageOf, problemResponses } from '../http/openapi.ts'
import { type pageQuery, paginate } from '../http/page.ts'
import { fail } from '../kernel/errors.ts'
import { fromWireId } from '../kernel/ids.ts'
import { toWireTime } from '../kernel/time.ts'
import { applyImport, isIdle, prepareImport } from './imports/importer.ts'
import { doubtsOf } from './plausible.ts'
import type { PriceBookKeeper } from './price-book.ts'
import { inForce, type ModelPrice, type PriceBook, type Version } from './prices.ts'
import { resolveModel } from './resolve.ts'
import * as schema from './schemas.ts'
import type { HistoryFilter, NewVersion, PriceImport, PriceStore, Quarantined, Recorded, VersionKind } from './store.ts'

export interface PricingServices {
  readonly store: PriceStore
  readonly keeper: PriceBookKeeper
}

type Change = { readonly effective_from?: string | undefined; readonly reason: string; readonly force: boolean }
type PageQuery = z.output<typeof pageQuery>

/** The largest public list has one and a half million characters. */
const IMPORT_BYTES_MAX = 8 * 1024 * 1024

const NAME = /^[A-Za-z0-9._:/@+-]{1,200}$/

/** What things cost now, and the admin routes that add dated versions and look at their history. */
export function pricingRoutes(app: FastifyInstance, { store, keeper }: PricingServices): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()

  typed.get(
    '/v1/models',
    {
      config: { operation: 'models.list', scope: 'prices:read' },
      schema: {
        operationId: 'listModels',
        tags: ['Prices'],
        summary: 'List the models that have a price, at the price in force',
        querystring: schema.modelQuery,
        response: { 200: pageOf(schema.modelObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async ({ query }) => {
      const { limit: _limit, cursor: _cursor, ...filter } = query
      const models = modelsInForce(keeper.current(), filter)
      return paginate(
        pageOfNames('models', filter, models, (model) => model.model),
        query,
        schema.modelToWire,
      )
    },
  )

  typed.get(
    '/v1/operations',
    {
      config: { operation: 'operations.list', scope: 'prices:read' },
      schema: {
        operationId: 'listOperations',
        tags: ['Prices'],
        summary: 'List the operations that have a price, at the price in force',
        querystring: schema.operationQuery,
        response: { 200: pageOf(schema.operationObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async ({ query }) => {
      const operations = latest(keeper.current().operations)
      return paginate(
        pageOfNames('operations', {}, operations, (price) => price.operation),
        query,
        schema.operationToWire,
      )
    },
  )

  /** POST adds a version of one kind of price, GET lists the versions there are. */
  function versions<Body extends z.ZodType<Change>, Query extends typeof pageQuery, Item extends z.ZodType>(route: {
    readonly path: string
    readonly kind: VersionKind
    readonly noun: string
    readonly operationId: string
    readonly summary: string
    readonly body: Body
    readonly toVersion: (body: z.output<Body>) => NewVersion
    readonly query: Query
    readonly toFilter: (query: z.output<Query>) => HistoryFilter
    readonly item: Item
    readonly toWire: (row: Recorded) => z.input<Item>
  }): void {
    typed.post(
      route.path,
      {
        config: { operation: `add${route.operationId}`, scope: 'admin' },
        schema: {
          operationId: `add${route.operationId}`,
          tags: ['Prices'],
          summary: route.summary,
          description:
            'Adds a version. Nothing that was in force is changed: what was reserved before is charged at the old price. What looks like a mistake (zero, or a hundredfold change) is refused unless `force` is true.',
          body: route.body,
          response: { 201: schema.versionAnswer, ...problemResponses([400, 401, 403, 409, 413, 415, 422, 503]) },
        },
      },
      async (request, reply) => {
        const body = request.body as z.output<Body>
        const added = route.toVersion(body)
        const effectiveFrom = body.effective_from === undefined ? null : Date.parse(body.effective_from)
        const doubts = body.force ? [] : doubtsOf(keeper.current(), added, effectiveFrom ?? Date.now())
        if (doubts.length > 0)
          throw fail('price_implausible', `${doubts.join('; ')}. With "force": true it is set all the same.`, { doubts })
        const version = await store.add(added, effectiveFrom, body.reason, speakerOf(request))
        await keeper.refresh()
        return reply.code(201).send(versionToWire(version) as never)
      },
    )
    typed.get(
      route.path,
      {
        config: { operation: `list${route.operationId}Versions`, scope: 'admin' },
        schema: {
          operationId: `list${route.operationId}Versions`,
          tags: ['Prices'],
          summary: `List the versions of ${route.noun}, the last added first`,
          querystring: route.query,
          response: { 200: pageOf(route.item), ...problemResponses([400, 401, 403, 503]) },
        },
      },
      async (request) => {
        const query = request.query as z.output<Query> & PageQuery
        const filter = route.toFilter(query)
        const listing = {
          name: `versions.${route.kind}`,
          scope: { ...filter },
          position: (row: Recorded) => row.version.id,
          read: (before: string | null, limit: number) => store.history(route.kind, filter, before, limit),
        }
        return (await paginate(listing, query, route.toWire)) as never
      },
    )
  }

  versions({
    path: '/v1/admin/prices',
    kind: 'model',
    noun: 'the prices of models',
    operationId: 'Price',
    summary: 'Set the price of a model',
    body: schema.priceBody,
    toVersion: schema.newPrice,
    query: schema.priceHistoryQuery,
    toFilter: ({ model, provider }) => ({ model, provider }),
    item: schema.priceVersionObject,
    toWire: schema.priceVersionToWire,
  })
  versions({
    path: '/v1/admin/operations',
    kind: 'operation',
    noun: 'the costs of operations',
    operationId: 'Operation',
    summary: 'Set the cost of an operation',
    body: schema.operationBody,
    toVersion: schema.newOperation,
    query: schema.operationHistoryQuery,
    toFilter: ({ operation }) => ({ operation }),
    item: schema.operationVersionObject,
    toWire: schema.operationVersionToWire,
  })
  versions({
    path: '/v1/admin/markups',
    kind: 'markup',
    noun: 'markups',
    operationId: 'Markup',
    summary: 'Set a markup: the default one, or that of a provider or a model',
    body: schema.markupBody,
    toVersion: schema.newMarkup,
    query: schema.markupHistoryQuery,
    toFilter: ({ model, provider }) => ({ scope: model !== undefined ? `model:${model}` : provider && `provider:${provider}` }),
    item: schema.markupVersionObject,
    toWire: schema.markupVersionToWire,
  })
  versions({
    path: '/v1/admin/exchange-rates',
    kind: 'rate',
    noun: 'exchange rates',
    operationId: 'ExchangeRate',
    summary: 'Set an exchange rate',
    body: schema.rateBody,
    toVersion: schema.newRate,
    query: schema.rateHistoryQuery,
    toFilter: ({ currency, purpose }) => ({ currency, purpose }),
    item: schema.rateVersionObject,
    toWire: schema.rateVersionToWire,
  })
  versions({
    path: '/v1/admin/charge-policies',
    kind: 'policy',
    noun: 'the policy for charges',
    operationId: 'ChargePolicy',
    summary: 'Set the rules for charges: smallest, largest, rounding, exemption of owners',
    body: schema.policyBody,
    toVersion: schema.newPolicy,
    query: schema.policyHistoryQuery,
    toFilter: () => ({}),
    item: schema.policyVersionObject,
    toWire: schema.policyVersionToWire,
  })

  typed.post(
    '/v1/admin/price-imports',
    {
      config: { operation: 'importPrices', scope: 'admin' },
      bodyLimit: IMPORT_BYTES_MAX,
      schema: {
        operationId: 'importPrices',
        tags: ['Prices'],
        summary: 'Import a public price list',
        description:
          'Says what the list would change, and with `apply` changes it. What is implausible (free, changed by more than the band, off by thousands, or vanished from the list) goes to the quarantine, and the old price stays.',
        body: schema.importBody,
        response: { 200: schema.importAnswer, ...problemResponses([400, 401, 403, 409, 413, 415, 422, 503]) },
      },
    },
    async (request) => {
      const { format, document, apply, band_percent: band, reason } = request.body
      // Against what the database has now, not what this process last read of it.
      await keeper.refresh()
      const planned = await prepareImport(store, keeper.current(), format, document, band)
      if (!apply || isIdle(planned)) return schema.importToWire(null, planned)
      const { id } = await applyImport(store, planned, reason, speakerOf(request))
      await keeper.refresh()
      return schema.importToWire(id, planned)
    },
  )

  typed.get(
    '/v1/admin/price-imports',
    {
      config: { operation: 'listImports', scope: 'admin' },
      schema: {
        operationId: 'listImports',
        tags: ['Prices'],
        summary: 'List the imports that changed something, newest first',
        querystring: schema.importQuery,
        response: { 200: pageOf(schema.importObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async ({ query }) => {
      const listing = { name: 'imports', scope: {}, position: (run: PriceImport) => run.id, read: store.imports }
      return paginate(listing, query, schema.importRunToWire)
    },
  )

  typed.get(
    '/v1/admin/price-quarantine',
    {
      config: { operation: 'listQuarantine', scope: 'admin' },
      schema: {
        operationId: 'listQuarantine',
        tags: ['Prices'],
        summary: 'List the imported prices that a person has to look at',
        description: 'Until one is accepted the price before it stays in force.',
        querystring: schema.quarantineQuery,
        response: { 200: pageOf(schema.quarantineObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async ({ query }) => {
      const filter = { status: query.status, source: query.source }
      const listing = {
        name: 'quarantine',
        scope: filter,
        position: (row: Quarantined) => row.id,
        read: (before: string | null, limit: number) => store.quarantine(filter, before, limit),
      }
      return paginate(listing, query, schema.quarantineToWire)
    },
  )

  for (const [verb, accept] of [
    ['accept', true],
    ['reject', false],
  ] as const) {
    typed.post(
      `/v1/admin/price-quarantine/:proposal_id/${verb}`,
      {
        config: { operation: `${verb}Proposal`, scope: 'admin' },
        schema: {
          operationId: `${verb}Proposal`,
          tags: ['Prices'],
          summary: accept
            ? 'Accept a quarantined price: it becomes a version'
            : 'Reject a quarantined price: the same one is not proposed again',
          params: schema.quarantineParams,
          body: schema.decisionBody,
          response: { 200: schema.quarantineObject, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 503]) },
        },
      },
      async (request) => {
        const id = fromWireId('proposal', request.params.proposal_id) as string
        const decided = await store.decide(id, accept, request.body.reason, speakerOf(request))
        if (accept) await keeper.refresh()
        return schema.quarantineToWire(decided)
      },
    )
  }
}

function versionToWire(version: Version) {
  return schema.versionToWire(version.id, toWireTime(version.effectiveFrom))
}

function latest<V extends Version>(lists: ReadonlyMap<string, readonly V[]>): V[] {
  const now = Date.now()
  return [...lists.values()].flatMap((list) => inForce(list, now) ?? [])
}

function modelsInForce(book: PriceBook, filter: Omit<z.output<typeof schema.modelQuery>, 'limit' | 'cursor'>): ModelPrice[] {
  const named = filter.model === undefined ? undefined : resolveModel(book, Date.now(), filter.model, filter.provider ?? null)
  const models = filter.model === undefined ? latest(book.models) : named ? [named] : []
  return models.filter(
    (model) =>
      (filter.provider === undefined || model.provider === filter.provider) &&
      (filter.cost_tier === undefined || model.costTier === filter.cost_tier) &&
      (filter.capability === undefined || model.capabilities.includes(filter.capability)) &&
      (filter.enabled === undefined || model.enabled === filter.enabled),
  )
}

/** A listing of what is in memory, in the order of its names. */
function pageOfNames<Row>(
  name: string,
  scope: Readonly<Record<string, string | boolean | undefined>>,
  rows: readonly Row[],
  nameOf: (row: Row) => string,
) {
  const sorted = rows.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
  return {
    name,
    scope,
    pattern: NAME,
    position: nameOf,
    read: async (after: string | null, limit: number) => {
      const start = after === null ? 0 : sorted.findIndex((row) => nameOf(row) > after)
      return start < 0 ? [] : sorted.slice(start, start + limit)
    },
  }
}
