import { hash, randomBytes } from 'node:crypto'

/**
 * API keys: `fbx_`, eight characters that name the key in lists and ledger rows, `_`, and 256 random bits in base64url. Only the
 * SHA-256 is stored: with that much randomness in the key, a slow hash would protect nothing more.
 */

const PREFIX_LENGTH = 12
const KEY = /^fbx_[0-9a-hjkmnp-tv-z]{8}_[A-Za-z0-9_-]{43}$/
/** Crockford's base 32: no letters that read like digits. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'

export interface NewApiKey {
  /** The whole key, shown once. */
  readonly key: string
  readonly prefix: string
  readonly sha256: Uint8Array<ArrayBuffer>
}

/** A new random key. */
export function generateApiKey(): NewApiKey {
  let prefix = 'fbx_'
  for (const byte of randomBytes(PREFIX_LENGTH - prefix.length)) prefix += ALPHABET[byte & 31]
  const key = `${prefix}_${randomBytes(32).toString('base64url')}`
  return { key, prefix, sha256: sha256Of(key) }
}

/** Whether a credential has the form of an API key; it need not exist. */
export function isApiKey(credential: string): boolean {
  return KEY.test(credential)
}

/** The part of a key that may be shown. */
export function prefixOf(key: string): string {
  return key.slice(0, PREFIX_LENGTH)
}

/** SHA-256 of a whole credential, as it is stored. */
export function sha256Of(credential: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(hash('sha256', credential, 'buffer'))
}
