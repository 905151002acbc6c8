import { fail } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { Instant } from '../kernel/time.ts'
import { generateApiKey } from './api-key.ts'
import type { ApiKey, Change, KeyStore } from './key-store.ts'
import type { Scope } from './principal.ts'

export interface KeyRequest {
  readonly clientId: string
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly expiresAt: Instant | null
}

/**
 * Makes an API key for a client.
 * @returns the stored key and, this once, the key itself
 * @throws FareboxError `client_not_found`
 */
export async function issueKey(
  store: Pick<KeyStore, 'addKey'>,
  asked: KeyRequest,
  change: Change,
): Promise<{ apiKey: ApiKey; key: string }> {
  const { key, prefix, sha256 } = generateApiKey()
  const scopes = [...new Set(asked.scopes)]
  const apiKey: ApiKey = { ...asked, id: newId(), scopes, prefix, revokedAt: null, createdBy: change.speaker.actor, createdAt: change.at }
  if (!(await store.addKey(apiKey, sha256, change))) throw fail('client_not_found', 'There is no client with this id.')
  return { apiKey, key }
}
