import cors from '@fastify/cors'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { REQUEST_ID_HEADER } from './request-id.ts'

/**
 * Lets pages of other origins call us and read the answers. They bring a token in a header; what a browser adds by itself never counts
 * here, so there is nothing that a page could borrow.
 */

export interface CorsOptions {
  /** As browsers send them, such as `https://app.example.com`. */
  readonly allowedOrigins: readonly string[]
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']
const REQUEST_HEADERS = ['authorization', 'content-type', 'idempotency-key']
/** Beside the few that a page can always read. */
const ANSWER_HEADERS = ['retry-after', 'idempotent-replayed', REQUEST_ID_HEADER]
/** Chromium asks again after two hours whatever it is told. */
const PREFLIGHT_KEPT_SECONDS = 7_200

const corsHeaders: FastifyPluginAsync<CorsOptions> = async (app, { allowedOrigins }) => {
  const allowed = new Set(allowedOrigins)
  // The library's route for preflights: they carry no credential, and the guard looks at what a route declares.
  app.addHook('onRoute', (route) => {
    if (route.method === 'OPTIONS' && route.url === '*') route.config = { ...route.config, operation: 'preflight', scope: 'public' }
  })
  await app.register(cors, {
    // A function, since for a list the library names methods and headers to everybody, and takes `*` for all.
    origin: (origin, done) => done(null, origin !== undefined && allowed.has(origin) ? origin : false),
    methods: METHODS,
    allowedHeaders: REQUEST_HEADERS,
    exposedHeaders: ANSWER_HEADERS,
    maxAge: PREFLIGHT_KEPT_SECONDS,
    // Its refusal would be no problem+json; an OPTIONS that is no preflight does no harm.
    strictPreflight: false,
  })
}

/** Stands before the guard: refusals can be read by the page as well, and preflights need no credential. */
export const corsPlugin = fp(corsHeaders, { name: 'farebox-cors', fastify: '5.x', dependencies: ['farebox-context', 'farebox-problem'] })
