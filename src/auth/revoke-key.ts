import { fail } from '../kernel/errors.ts'
import type { ApiKey, Change, KeyStore } from './key-store.ts'

/**
 * Ends an API key for good; doing it again changes nothing. Processes that have the key in their cache take it for up to
 * `PRINCIPAL_KEPT_MS` more.
 * @throws FareboxError `api_key_not_found`
 */
export async function revokeKey(store: Pick<KeyStore, 'revokeKey'>, keyId: string, change: Change): Promise<ApiKey> {
  const apiKey = await store.revokeKey(keyId, change)
  if (!apiKey) throw fail('api_key_not_found', 'There is no API key with this id.')
  return apiKey
}
