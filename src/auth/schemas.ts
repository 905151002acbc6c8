import { z } from 'zod'
import * as field from '../http/fields.ts'
import { toWireId } from '../kernel/ids.ts'
import { toWireTime, toWireTimeOrNull } from '../kernel/time.ts'
import type { ApiKey, Client } from './key-store.ts'
import { SCOPES, SUBJECT_PATTERN } from './principal.ts'

/** Clients, API keys and tokens on the wire. */

export const TOKEN_TTL_SECONDS_MIN = 60
export const TOKEN_TTL_SECONDS_MAX = 3_600
export const TOKEN_TTL_SECONDS_DEFAULT = 900

const reason = field.text(500).optional().meta({ description: 'For the audit log' })

/** A client's id and its name are both accepted in tokens, so that no name may look like an id. */
const clientName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$/, 'must be 1 to 100 letters, digits, spaces, dots, dashes or underscores')
  .refine((name) => !name.startsWith('cli_'), 'must not look like a client id')
  .meta({ example: 'web shop' })

const scopes = z.array(z.enum(SCOPES)).min(1).max(SCOPES.length)

export const clientParams = z.strictObject({ client_id: field.id('client') })
export const keyParams = z.strictObject({ key_id: field.id('apiKey') })

export const clientBody = z.strictObject({ name: clientName, reason }).meta({ id: 'ClientRequest' })

export const keyBody = z
  .strictObject({
    name: field.text(100).meta({ description: 'Where the key is used', example: 'production backend' }),
    scopes: scopes.meta({ description: '`admin` implies every other scope and reaches every client' }),
    expires_at: field.time.optional().meta({ description: 'The key ends by itself then' }),
    reason,
  })
  .meta({ id: 'ApiKeyRequest' })

export const revokeBody = z.strictObject({ reason }).nullish().meta({ id: 'ApiKeyRevocation' })

export const tokenBody = z
  .strictObject({
    sub: z
      .string()
      .regex(SUBJECT_PATTERN, 'must be 1 to 128 letters, digits or . _ @ + -')
      .meta({ description: 'The person: the token reads and pays for the wallets of the owner `user:<sub>`', example: 'alice' }),
    ttl_seconds: z.int().min(TOKEN_TTL_SECONDS_MIN).max(TOKEN_TTL_SECONDS_MAX).default(TOKEN_TTL_SECONDS_DEFAULT),
  })
  .meta({ id: 'TokenRequest' })

export const clientObject = z.object({ id: field.id('client'), name: z.string(), created_at: field.timeOut }).meta({ id: 'Client' })

const keyFields = {
  id: field.id('apiKey'),
  client_id: field.id('client'),
  name: z.string(),
  prefix: z.string().meta({ description: 'The part of the key that may be shown', example: 'fbx_ab12cd34' }),
  scopes: z.array(z.enum(SCOPES)),
  expires_at: field.timeOut.nullable(),
  revoked_at: field.timeOut.nullable(),
  created_by: z.string(),
  created_at: field.timeOut,
}

export const keyObject = z.object(keyFields).meta({ id: 'ApiKey' })

export const newKeyObject = z
  .object({ ...keyFields, key: z.string().meta({ description: 'The whole key. It is shown this once and stored nowhere' }) })
  .meta({ id: 'NewApiKey' })

export const tokenObject = z
  .object({ token: z.string(), token_type: z.literal('Bearer'), expires_at: field.timeOut, expires_in_seconds: z.int() })
  .meta({ id: 'Token' })

export function clientToWire(client: Client): z.output<typeof clientObject> {
  return { id: toWireId('client', client.id), name: client.name, created_at: toWireTime(client.createdAt) }
}

export function keyToWire(key: ApiKey): z.output<typeof keyObject> {
  return {
    id: toWireId('apiKey', key.id),
    client_id: toWireId('client', key.clientId),
    name: key.name,
    prefix: key.prefix,
    scopes: [...key.scopes],
    expires_at: toWireTimeOrNull(key.expiresAt),
    revoked_at: toWireTimeOrNull(key.revokedAt),
    created_by: key.createdBy,
    created_at: toWireTime(key.createdAt),
  }
}
