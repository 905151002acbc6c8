import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fastify, { type FastifyInstance } from 'fastify'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { isActiveIn } from './auth/authenticate.ts'
import { guardPlugin } from './auth/guard.ts'
import { authRoutes } from './auth/routes.ts'
import { batchRoutes } from './batch/routes.ts'
import { billingAdminRoutes } from './billing/admin/routes.ts'
import { promotionRoutes } from './billing/promotion/routes.ts'
import { billingRoutes } from './billing/routes.ts'
import { sandboxRoutes } from './billing/sandbox/routes.ts'
import { stripeRoutes } from './billing/stripe/routes.ts'
import { planAdminRoutes } from './billing/subscription/admin/routes.ts'
import { subscriptionGuard } from './billing/subscription/keep-open.ts'
import { subscriptionRoutes } from './billing/subscription/routes.ts'
import { topUpRoutes } from './billing/top-up/routes.ts'
import { chargeRoutes } from './charges/routes.ts'
import type { Config } from './config.ts'
import { demoRoutes } from './demo/routes.ts'
import { contextPlugin } from './http/context.ts'
import { corsPlugin } from './http/cors.ts'
import { document, tidy } from './http/document.ts'
import { errorHandlerPlugin } from './http/error-handler.ts'
import { errorPagePlugin } from './http/error-page.ts'
import { jsonBodyPlugin } from './http/json-body.ts'
import { measurePlugin, metricsPlugin } from './http/measure.ts'
import { opsPlugin } from './http/ops.ts'
import { serverOptions } from './http/options.ts'
import { rateLimitPlugin } from './http/rate-limit.ts'
import { refuseUnknownQuery, serializerCompiler, validatorCompiler } from './http/zod.ts'
import { operationRoutes } from './ledger/routes.ts'
import type { Logger } from './platform/logger.ts'
import { pricingRoutes } from './pricing/routes.ts'
import { realtimeRoutes } from './realtime/routes.ts'
import { reservationRoutes } from './reservations/routes.ts'
import { walletRoutes } from './wallets/routes.ts'
import type { Rooms } from './wire.ts'

/** Builds the HTTP application, apart from listening: plugins in order, then routes. */
export async function buildApp(config: Config, rooms: Rooms, logger: Logger): Promise<FastifyInstance> {
  const app = await withHooks(config, rooms, logger)
  await app.register(swagger, {
    openapi: document,
    transform: jsonSchemaTransform,
    transformObject: (input) => tidy(jsonSchemaTransformObject(input)) as never,
  })
  if (config.DOCS) await app.register(swaggerUi, { routePrefix: '/docs' })

  await app.register(errorPagePlugin)
  await addProbes(app, config, rooms)
  await app.register(async (v1) => {
    v1.addHook('onRoute', refuseUnknownQuery)
    const { lane, operations } = rooms
    operationRoutes(v1, [...operations.batchable, ...operations.others], lane)
    batchRoutes(v1, operations.batchable, lane, rooms.metrics.refused)
    walletRoutes(v1, {
      lane,
      reads: rooms.walletReads,
      grantReads: rooms.grantReads,
      closeGuards: [subscriptionGuard(rooms.billing.gateway?.livemode === true)],
    })
    reservationRoutes(v1, { reads: rooms.reservationReads, walletReads: rooms.walletReads, check: rooms.check })
    chargeRoutes(v1, { lane, reads: rooms.chargeReads, prices: rooms.prices, estimate: rooms.estimate, onRefused: rooms.metrics.refused })
    pricingRoutes(v1, { store: rooms.priceStore, keeper: rooms.prices })
    const { billing } = rooms
    const returns = { defaultUrl: config.CHECKOUT_RETURN_URL ?? null, allowedOrigins: config.CHECKOUT_RETURN_ORIGINS }
    billingRoutes(v1, { ...billing, lane, wallets: rooms.walletReads, prices: rooms.prices, returns })
    topUpRoutes(v1, { ...billing, lane, wallets: rooms.walletReads, prices: rooms.prices, returns })
    promotionRoutes(v1, { promotions: billing.promotions, lane, wallets: rooms.walletReads })
    subscriptionRoutes(v1, { ...billing, lane, wallets: rooms.walletReads, returns })
    billingAdminRoutes(v1, { ...billing, lane })
    planAdminRoutes(v1, billing)
    if (billing.gateway?.provider === 'stripe') {
      await v1.register(stripeRoutes, { inbox: billing.inbox, secrets: config.STRIPE_WEBHOOK_SECRET, processSoon: billing.processSoon })
    }
    if (billing.gateway?.provider === 'sandbox') await v1.register(sandboxRoutes, { store: billing.sandbox, sync: billing.sync })
    authRoutes(v1, { store: rooms.keys })
    await realtimeRoutes(v1, {
      feed: rooms.feed,
      reads: rooms.realtimeReads,
      isActive: isActiveIn(rooms.keys),
      allowedOrigins: config.ALLOWED_ORIGINS,
      times: rooms.realtimeTimes,
      count: rooms.metrics.feedConnections,
    })
  })
  if (config.NODE_ENV !== 'production') {
    const { lane, keys, operations, walletReads: wallets, reservationReads: reservations, prices, billing } = rooms
    const { gateway, packages, orders, promotions } = billing
    demoRoutes(app, { lane, keys, operations: operations.batchable, wallets, reservations, prices, gateway, packages, orders, promotions })
  }
  await app.ready()
  return app
}

/** What a process answers that only runs jobs: probes and metrics. */
export async function buildWorkerApp(config: Config, rooms: Rooms, logger: Logger): Promise<FastifyInstance> {
  const app = await withHooks(config, rooms, logger)
  await addProbes(app, config, rooms)
  await app.ready()
  return app
}

async function addProbes(app: FastifyInstance, config: Config, rooms: Rooms): Promise<void> {
  await app.register(opsPlugin, { checks: { database: rooms.ping, storage: rooms.checkStorage } })
  if (config.METRICS_PORT === undefined) await app.register(metricsPlugin, { metrics: rooms.metrics })
}

/** What every request passes, whatever its route. */
async function withHooks(config: Config, rooms: Rooms, logger: Logger): Promise<FastifyInstance> {
  const app: FastifyInstance = fastify(
    serverOptions({ logger, trustProxy: config.TRUSTED_PROXIES.length > 0 ? config.TRUSTED_PROXIES : false }),
  )
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)

  await app.register(contextPlugin, { allowedHosts: config.ALLOWED_HOSTS.length > 0 ? config.ALLOWED_HOSTS : null })
  const { metrics, tracing } = rooms
  await app.register(measurePlugin, {
    onAnswered(answered) {
      metrics.answered(answered.operation, answered.status, answered.seconds)
      tracing?.request(answered)
    },
  })
  await app.register(errorHandlerPlugin, { onRefused: metrics.refused })
  await app.register(jsonBodyPlugin)
  if (config.ALLOWED_ORIGINS.length > 0) await app.register(corsPlugin, { allowedOrigins: config.ALLOWED_ORIGINS })
  await app.register(rateLimitPlugin, {
    perMinute: {
      usage: config.RATE_LIMIT_USAGE,
      reads: config.RATE_LIMIT_READS,
      admin: config.RATE_LIMIT_ADMIN,
      public: config.RATE_LIMIT_PUBLIC,
    },
    shared: rooms.sharedCounters,
    trustsProxies: config.TRUSTED_PROXIES.length > 0,
    speakerOf: ({ principal }) => principal && `${principal.clientId}:${principal.actor}`,
  })
  await app.register(guardPlugin, {
    admitStranger: app.admitStranger,
    store: rooms.keys,
    jwt: {
      issuer: config.JWT_ISSUER,
      audience: config.JWT_AUDIENCE,
      secret: config.JWT_SECRET ?? null,
      jwksUrl: config.JWKS_URL ?? null,
    },
    publicPrefixes: ['/docs'],
  })
  return app
}
