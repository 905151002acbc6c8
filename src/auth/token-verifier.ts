import { type JWTVerifyGetKey, jwtVerify } from 'jose'
import { FareboxError } from '../kernel/errors.ts'
import { algorithmOf, CLOCK_TOLERANCE_SECONDS, type Claims, REQUIRED_CLAIMS, readClaims } from './claims.ts'
import { DEFAULT_CLIENT_NAME } from './create-client.ts'

export const SECRET_ALGORITHM = 'HS256'

/** Longer ones are no tokens of people; an id provider's fattest stay below 4 KB. */
const TOKEN_LENGTH_MAX = 8_192

export interface TokenVerifierOptions {
  readonly issuer: string
  readonly audience: string
  /** Verifies an HS256 token with the shared secret and yields its payload; throws otherwise. */
  readonly verifySecret: ((token: string) => unknown) | null
  readonly keySet: { readonly find: JWTVerifyGetKey; readonly algorithms: readonly string[] } | null
}

/** The claims of a token, or null for one that is not to be believed. */
export type TokenVerifier = (token: string) => Promise<Claims | null>

/**
 * Makes the check of tokens. The algorithm is looked up in what was configured, and it alone decides which key is used: a public
 * key never serves as a secret.
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const { issuer, audience, verifySecret, keySet } = options

  async function payloadOf(token: string): Promise<unknown> {
    const algorithm = algorithmOf(token)
    if (algorithm === SECRET_ALGORITHM && verifySecret) return verifySecret(token)
    if (!keySet || algorithm === null || algorithm === SECRET_ALGORITHM || !keySet.algorithms.includes(algorithm)) return null
    const { payload } = await jwtVerify(token, keySet.find, {
      algorithms: [algorithm],
      issuer,
      audience,
      requiredClaims: REQUIRED_CLAIMS,
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
    })
    return payload
  }

  return async (token) => {
    if (token.length > TOKEN_LENGTH_MAX) return null
    try {
      const payload = await payloadOf(token)
      return payload === null ? null : readClaims(payload as Record<string, unknown>, DEFAULT_CLIENT_NAME)
    } catch (error) {
      // Whatever is wrong with a token, its sender learns only that it is.
      if (error instanceof FareboxError) throw error
      return null
    }
  }
}
