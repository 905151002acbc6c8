import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { pageOf, problemResponses } from '../http/openapi.ts'
import { pageQuery, paginate } from '../http/page.ts'
import { fieldError } from '../http/pointer.ts'
import { invalidRequest } from '../http/zod.ts'
import { fail } from '../kernel/errors.ts'
import { fromWireId } from '../kernel/ids.ts'
import { createClient } from './create-client.ts'
import { principalOf, speakerOf } from './guard.ts'
import { issueKey } from './issue-key.ts'
import { issueToken } from './issue-token.ts'
import type { Change, KeyStore } from './key-store.ts'
import { revokeKey } from './revoke-key.ts'
import * as wire from './schemas.ts'

const ADMIN = 'admin' as const
const READ_PROBLEMS = [400, 401, 403, 503]
const WRITE_PROBLEMS = [...READ_PROBLEMS, 413, 415]

function changeOf(request: FastifyRequest, reason: string | undefined): Change {
  return { speaker: speakerOf(request), reason: reason ?? 'Not given', at: Date.now() }
}

/** Clients, their API keys, and tokens for people. */
export function authRoutes(app: FastifyInstance, services: { readonly store: KeyStore }): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()
  const { store } = services

  typed.post(
    '/v1/admin/clients',
    {
      config: { operation: 'client.create', scope: ADMIN },
      schema: {
        operationId: 'createClient',
        tags: ['Clients'],
        summary: 'Add a client: a product backend with wallets of its own',
        body: wire.clientBody,
        response: { 201: wire.clientObject, ...problemResponses([...WRITE_PROBLEMS, 409]) },
      },
    },
    async (request, reply) => {
      const { name, reason } = request.body
      return reply.code(201).send(wire.clientToWire(await createClient(store, name, changeOf(request, reason))))
    },
  )

  typed.get(
    '/v1/admin/clients',
    {
      config: { operation: 'client.list', scope: ADMIN },
      schema: {
        operationId: 'listClients',
        tags: ['Clients'],
        summary: 'List clients, newest first',
        querystring: pageQuery,
        response: { 200: pageOf(wire.clientObject), ...problemResponses(READ_PROBLEMS) },
      },
    },
    async (request) => {
      const read = (afterId: string | null, limit: number) => store.listClients({ afterId, limit })
      return paginate(
        { name: 'clients', scope: {}, position: (client) => client.id, pattern: UUID, read },
        request.query,
        wire.clientToWire,
      )
    },
  )

  typed.post(
    '/v1/admin/clients/:client_id/keys',
    {
      config: { operation: 'api_key.create', scope: ADMIN },
      schema: {
        operationId: 'createApiKey',
        tags: ['Clients'],
        summary: 'Make an API key for a client',
        description: 'The key is in this answer and nowhere else: only its SHA-256 is stored.',
        params: wire.clientParams,
        body: wire.keyBody,
        response: { 201: wire.newKeyObject, ...problemResponses([...WRITE_PROBLEMS, 404]) },
      },
    },
    async (request, reply) => {
      const { name, scopes, reason, expires_at } = request.body
      const change = changeOf(request, reason)
      const expiresAt = expires_at === undefined ? null : Date.parse(expires_at)
      if (expiresAt !== null && expiresAt <= change.at) throw invalidRequest([fieldError(['expires_at'], 'must lie in the future')], 'body')
      const clientId = fromWireId('client', request.params.client_id) as string
      const { apiKey, key } = await issueKey(store, { clientId, name, scopes, expiresAt }, change)
      return reply.code(201).send({ ...wire.keyToWire(apiKey), key })
    },
  )

  typed.get(
    '/v1/admin/clients/:client_id/keys',
    {
      config: { operation: 'api_key.list', scope: ADMIN },
      schema: {
        operationId: 'listApiKeys',
        tags: ['Clients'],
        summary: 'List the API keys of a client, newest first, revoked ones included',
        params: wire.clientParams,
        querystring: pageQuery,
        response: { 200: pageOf(wire.keyObject), ...problemResponses([...READ_PROBLEMS, 404]) },
      },
    },
    async (request) => {
      const clientId = fromWireId('client', request.params.client_id) as string
      if (!(await store.findClient({ id: clientId }))) throw fail('client_not_found', 'There is no client with this id.')
      const read = (afterId: string | null, limit: number) => store.listKeys(clientId, { afterId, limit })
      return paginate(
        { name: 'api_keys', scope: { clientId }, position: (key) => key.id, pattern: UUID, read },
        request.query,
        wire.keyToWire,
      )
    },
  )

  typed.post(
    '/v1/admin/keys/:key_id/revoke',
    {
      config: { operation: 'api_key.revoke', scope: ADMIN },
      schema: {
        operationId: 'revokeApiKey',
        tags: ['Clients'],
        summary: 'Revoke an API key',
        description: 'For good, and at the latest after 30 seconds on every process. Doing it again changes nothing.',
        params: wire.keyParams,
        body: wire.revokeBody,
        response: { 200: wire.keyObject, ...problemResponses([...WRITE_PROBLEMS, 404]) },
      },
    },
    async (request) => {
      const keyId = fromWireId('apiKey', request.params.key_id) as string
      const revoked = await revokeKey(store, keyId, changeOf(request, request.body?.reason))
      app.auth.authenticator.forget(`key:${revoked.prefix}`)
      return wire.keyToWire(revoked)
    },
  )

  typed.post(
    '/v1/tokens',
    {
      config: { operation: 'token.issue', scope: 'usage:write' },
      schema: {
        operationId: 'issueToken',
        tags: ['Tokens'],
        summary: 'Make a short-lived token for a person',
        description:
          'For browsers, which never hold an API key. It reads the wallets of the owner `user:<sub>` of this client and pays for them: orders, saved cards, top-ups, subscriptions, promotion codes. It spends no credits, and reaches nothing of anybody else.',
        body: wire.tokenBody,
        response: { 201: wire.tokenObject, ...problemResponses([400, 401, 403, 409, 413, 415, 503]) },
      },
    },
    async (request, reply) => {
      const { sub, ttl_seconds: ttlSeconds } = request.body
      return reply.code(201).send(issueToken(app.auth.signToken, principalOf(request), { subject: sub, ttlSeconds }, Date.now()))
    },
  )
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
