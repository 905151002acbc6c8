import type { FastifyPluginCallback, FastifyReply, FastifyRequest, onResponseHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { z } from 'zod'
import { METRICS_MEDIA_TYPE, type Metrics } from '../platform/metrics.ts'
import { problemResponses } from './openapi.ts'

/** What is told of a request when it was answered. */
export interface Answered {
  readonly operation: string
  readonly status: number
  readonly seconds: number
  readonly requestId: string
  /** As the caller sent it (W3C Trace Context). */
  readonly traceparent: string | undefined
}

export interface MeasureOptions {
  readonly onAnswered: (answered: Answered) => void
}

const measure: FastifyPluginCallback<MeasureOptions> = (app, { onAnswered }, done) => {
  function tell(operation: string, request: FastifyRequest, reply: FastifyReply): void {
    const { traceparent } = request.headers
    onAnswered({
      operation,
      status: reply.statusCode,
      seconds: reply.elapsedTime / 1_000,
      requestId: request.id,
      traceparent: typeof traceparent === 'string' ? traceparent : undefined,
    })
  }

  // A hook of each route, which knows what the route does: `request.routeOptions` is made anew at each look, for 5 µs.
  app.addHook('onRoute', (route) => {
    const hook: onResponseHookHandler = (request, reply, next) => {
      tell(route.config?.operation ?? UNMATCHED, request, reply)
      next()
    }
    route.onResponse = [route.onResponse ?? [], hook].flat()
  })
  app.addHook('onResponse', (request, reply, next) => {
    if (request.is404) tell(UNMATCHED, request, reply)
    next()
  })
  done()
}

/** What no route takes is one thing: its path is the caller's, and there is no end of them. */
const UNMATCHED = 'unmatched'

/** Tells of each request that was answered. */
export const measurePlugin = fp(measure, { name: 'farebox-measure', fastify: '5.x', dependencies: ['farebox-context'] })

const metricsRoute: FastifyPluginCallback<{ readonly metrics: Pick<Metrics, 'text'> }> = (app, { metrics }, done) => {
  app.get('/metrics', { config: { operation: 'metrics', scope: 'metrics:read' }, schema: METRICS_SCHEMA }, async (_request, reply) =>
    reply.header('content-type', METRICS_MEDIA_TYPE).send(await metrics.text()),
  )
  done()
}

const METRICS_SCHEMA = {
  operationId: 'readMetrics',
  tags: ['Operations'],
  summary: 'Metrics of this process for Prometheus',
  description: 'For keys with the scope `metrics:read`. Where the service has METRICS_PORT, they are there and not here.',
  response: {
    200: {
      description: 'The text format of Prometheus; docs/metrics.md describes each metric',
      content: { 'text/plain': { schema: z.string() } },
    },
    ...problemResponses([401, 403]),
  },
}

/** `/metrics` on the service's own port, for installations that have no other. */
export const metricsPlugin = fp(metricsRoute, { name: 'farebox-metrics', fastify: '5.x', dependencies: ['farebox-guard'] })
