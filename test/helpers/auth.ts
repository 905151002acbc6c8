import { PrismaPg } from '@prisma/adapter-pg'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { createClient } from '../../src/auth/create-client.ts'
import { guardPlugin } from '../../src/auth/guard.ts'
import { issueKey } from '../../src/auth/issue-key.ts'
import type { JwtOptions } from '../../src/auth/jwt.ts'
import type { Change } from '../../src/auth/key-store.ts'
import { createKeyStore } from '../../src/auth/key-store-prisma.ts'
import type { Scope } from '../../src/auth/principal.ts'
import { PrismaClient } from '../../src/generated/prisma/client.ts'
import { createTestDatabase } from './database.ts'
import { createServer, openRoad } from './server.ts'

export const JWT_SECRET = 'a secret of more than thirty-two bytes, for tests'
export const JWT: JwtOptions = { issuer: 'farebox', audience: 'farebox', secret: JWT_SECRET, jwksUrl: null }

/** A change by the start of the process. */
export function systemChange(): Change {
  return { speaker: { clientId: null, actor: 'system:test', requestId: 'test' }, reason: 'test', at: Date.now() }
}

/** The HTTP part with the guard before it, on a database of its own. */
export async function createAuthServer(
  t: Test,
  options: {
    readonly jwt?: Partial<JwtOptions>
    readonly clock?: () => number
    readonly routes?: (app: FastifyInstance) => void | Promise<void>
  } = {},
) {
  const database = await createTestDatabase(t)
  const address = new URL(database.url)
  const road = await openRoad(t, Number(address.port || 5432))
  address.hostname = '127.0.0.1'
  address.port = String(road.port)
  const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: address.href, connectionTimeoutMillis: 2_000 }) })
  const store = createKeyStore(prisma)
  t.teardown(() => prisma.$disconnect())
  const server = await createServer(t, {
    async routes(app) {
      await app.register(guardPlugin, { store, jwt: { ...JWT, ...options.jwt }, ...(options.clock && { clock: options.clock }) })
      await options.routes?.(app)
    },
  })

  let clients = 0
  return {
    ...server,
    /** Takes the database away. */
    cutDatabase: road.close,
    prisma,
    store,
    /** A new client and a key of it with these scopes. */
    async client(...scopes: Scope[]) {
      clients += 1
      const { id } = await createClient(store, `client ${clients}`, systemChange())
      const { apiKey, key } = await issueKey(store, { clientId: id, name: 'test', scopes, expiresAt: null }, systemChange())
      return { clientId: id, keyId: apiKey.id, key, prefix: apiKey.prefix, headers: { authorization: `Bearer ${key}` } }
    },
  }
}
