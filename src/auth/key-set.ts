import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose'
import { fail } from '../kernel/errors.ts'

/**
 * The public keys of an identity provider, fetched from its JWKS URL. A token with an unknown key id can make us fetch, so the
 * fetches are rationed, failed ones as well; and keys that were good an hour ago outlive a short outage of the provider.
 */

export const FETCH_TIMEOUT_MS = 3_000
/** After a fetch, this long no unknown key id causes another one. */
const COOLDOWN_MS = 30_000
const KEYS_KEPT_MS = 600_000
const STALE_KEPT_MS = 3_600_000
/** Between attempts while there are no keys at all. */
const FAILURE_BACKOFF_MS = 5_000
export const KEY_SET_BYTES_MAX = 256 * 1024

export type Fetch = (url: string, options: RequestInit) => Promise<Response>

/** Finds keys for `jwtVerify`. @throws FareboxError `key_set_unavailable` where there are no keys to be had */
export function createKeySet(url: URL, fetchImplementation: Fetch): JWTVerifyGetKey {
  const remote = createRemoteJWKSet(url, {
    timeoutDuration: FETCH_TIMEOUT_MS,
    cooldownDuration: COOLDOWN_MS,
    cacheMaxAge: KEYS_KEPT_MS,
    [customFetch]: rationed(fetchImplementation),
  })
  return async (header, token) => {
    try {
      return await remote(header, token)
    } catch (error) {
      // These say that the key set is fine and the token is not.
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) throw error
      if (error instanceof errors.JOSENotSupported) throw error
      throw fail('key_set_unavailable', 'The keys to check this token with cannot be fetched.', undefined, error)
    }
  }
}

function rationed(fetchImplementation: Fetch): Fetch {
  let good: { readonly text: string; readonly at: number } | null = null
  let failedAt = Number.NEGATIVE_INFINITY
  return async (url, options) => {
    const now = performance.now()
    const stale = good !== null && now - good.at < STALE_KEPT_MS ? good.text : null
    if (now - failedAt < FAILURE_BACKOFF_MS && stale === null) throw new Error('The last fetch failed moments ago.')
    try {
      const text = await fetchKeys(fetchImplementation, url, options)
      good = { text, at: now }
      return new Response(text)
    } catch (error) {
      failedAt = now
      // Answering with the old keys also starts the cool-down, so that an outage is not met with a fetch for each token.
      if (stale !== null) return new Response(stale)
      throw error
    }
  }
}

async function fetchKeys(fetchImplementation: Fetch, url: string, options: RequestInit): Promise<string> {
  const response = await fetchImplementation(url, options)
  if (response.status !== 200) throw new Error(`The JWKS URL answered ${response.status}.`)
  const text = await response.text()
  const { keys } = JSON.parse(text) as { keys?: unknown }
  if (!Array.isArray(keys)) throw new Error('The JWKS URL did not answer with a key set.')
  return text
}
