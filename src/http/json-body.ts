import type { FastifyPluginCallback, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { fail } from '../kernel/errors.ts'
import { parseJson } from './json.ts'

/** The only bodies that Farebox reads; CloudEvents arrive in their structured and batched forms. */
export const JSON_MEDIA_TYPES = ['application/json', 'application/cloudevents+json', 'application/cloudevents-batch+json']

const CHARSET = /;\s*charset=\s*"?([^";\s]*)/i

const jsonBody: FastifyPluginCallback = (app, _options, done) => {
  // Fastify would also read text/plain.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>(JSON_MEDIA_TYPES, { parseAs: 'buffer' }, (request, body, parsed) => {
    try {
      refuseOtherEncodings(request)
      // No body is no body, whatever its type says: a client that always sends the header may still release without one.
      parsed(null, body.length === 0 ? undefined : parseJson(body))
    } catch (error) {
      parsed(error as Error, undefined)
    }
  })
  done()
}

/** JSON is UTF-8 (RFC 8259 §8.1) and nothing here unpacks a body: what is small on the wire stays small in memory. */
function refuseOtherEncodings(request: FastifyRequest): void {
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw fail('unsupported_media_type', 'The body must not have a content encoding.')
  }
  const type = request.headers['content-type']
  if (type === undefined || type === 'application/json') return
  const charset = CHARSET.exec(type)?.[1]
  if (charset !== undefined && charset.toLowerCase() !== 'utf-8') {
    throw fail('unsupported_media_type', 'The charset of the body must be utf-8.')
  }
}

/** Reads JSON bodies and refuses every other kind. */
export const jsonBodyPlugin = fp(jsonBody, { name: 'farebox-json-body', fastify: '5.x' })
