import type { FastifyPluginCallback } from 'fastify'
import fp from 'fastify-plugin'
import { z } from 'zod'
import { ERROR_CODES, type ErrorCode, fail } from '../kernel/errors.ts'
import { statusOf } from './problem.ts'

/** Where a problem's `type` leads: what its code means, in a few lines of text. */
const errorPage: FastifyPluginCallback = (app, _options, done) => {
  app.get(
    '/docs/errors/:code',
    {
      config: { operation: 'documentation', scope: 'public' },
      schema: { hide: true, params: z.strictObject({ code: z.string().max(64) }) },
    },
    (request, reply) => {
      const { code } = request.params as { code: string }
      if (!Object.hasOwn(ERROR_CODES, code)) throw fail('route_not_found', 'There is no such error code.')
      const { title, retryable } = ERROR_CODES[code as ErrorCode]
      const again = retryable ? 'The same request may succeed later.' : 'The same request will not succeed as things stand.'
      reply.header('content-type', 'text/plain; charset=utf-8').send(`${code} (${statusOf(code as ErrorCode)})\n\n${title}.\n${again}\n`)
    },
  )
  done()
}

/** Serves `/docs/errors/{code}`. */
export const errorPagePlugin = fp(errorPage, { name: 'farebox-error-page', fastify: '5.x', dependencies: ['farebox-guard'] })
