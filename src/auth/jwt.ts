import fastifyJwt from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'
import { newId, toWireId } from '../kernel/ids.ts'
import { type Instant, SECOND_MS } from '../kernel/time.ts'
import { CLOCK_TOLERANCE_SECONDS, REQUIRED_CLAIMS } from './claims.ts'
import { createKeySet, FETCH_TIMEOUT_MS, type Fetch, KEY_SET_BYTES_MAX } from './key-set.ts'
import { createTokenVerifier, SECRET_ALGORITHM, type TokenVerifier } from './token-verifier.ts'

export const KEY_SET_ALGORITHMS = ['RS256', 'ES256', 'EdDSA'] as const

/** An HMAC secret shorter than its hash can be searched for offline (RFC 7518 §3.2). */
export const SECRET_BYTES_MIN = 32

export interface JwtOptions {
  readonly issuer: string
  readonly audience: string
  /** Shared secret of HS256 tokens, ours and those of the products' backends; null takes none. */
  readonly secret: string | null
  /** Where an identity provider publishes its keys; null takes no tokens of such. */
  readonly jwksUrl: string | null
  readonly jwksAlgorithms?: readonly string[]
}

/** Signs a short-lived token for a person of a client. */
export type TokenSigner = (person: { readonly subject: string; readonly clientId: string }, now: Instant, expiresAt: Instant) => string

/**
 * Sets up tokens as configured: HS256 through @fastify/jwt, identity providers through jose.
 * @returns the check, null where no tokens are taken, and the signer, null where there is no secret
 */
export async function setUpTokens(
  app: FastifyInstance,
  options: JwtOptions,
): Promise<{ verify: TokenVerifier | null; sign: TokenSigner | null }> {
  const { issuer, audience, secret, jwksUrl } = options
  if (secret === null && jwksUrl === null) return { verify: null, sign: null }
  if (secret !== null) await registerSecret(app, { issuer, audience, secret })

  const verify = createTokenVerifier({
    issuer,
    audience,
    verifySecret: secret === null ? null : (token) => app.jwt.verify(token),
    keySet:
      jwksUrl === null
        ? null
        : { find: createKeySet(new URL(jwksUrl), await keySetFetch(app)), algorithms: options.jwksAlgorithms ?? KEY_SET_ALGORITHMS },
  })
  const sign: TokenSigner = ({ subject, clientId }, now, expiresAt) =>
    app.jwt.sign({
      sub: subject,
      client_id: toWireId('client', clientId),
      role: 'user',
      jti: newId(),
      iat: Math.floor(now / SECOND_MS),
      exp: Math.floor(expiresAt / SECOND_MS),
    })
  return { verify, sign: secret === null ? null : sign }
}

/** The operator chose the address, and identity providers often stand in the same network; what they send is bounded all the same. */
async function keySetFetch(app: FastifyInstance): Promise<Fetch> {
  // Installations with a secret need no HTTP client.
  const { createOutbound } = await import('../platform/outbound.ts')
  const outbound = createOutbound({ allowPrivate: true, timeoutMs: FETCH_TIMEOUT_MS, answerBytesMax: KEY_SET_BYTES_MAX })
  app.addHook('onClose', () => outbound.close())
  return (url, { headers, signal }) => outbound.fetch(url, { ...(headers && { headers }), ...(signal && { signal }) })
}

async function registerSecret(app: FastifyInstance, options: { issuer: string; audience: string; secret: string }): Promise<void> {
  const { issuer, audience, secret } = options
  if (Buffer.byteLength(secret) < SECRET_BYTES_MIN) throw new Error(`The JWT secret must have at least ${SECRET_BYTES_MIN} bytes.`)
  await app.register(fastifyJwt, {
    secret,
    // The guard's own decorator is `principal`; this one is never filled.
    decoratorName: 'jwtPayload',
    sign: { algorithm: SECRET_ALGORITHM, iss: issuer, aud: audience },
    verify: {
      algorithms: [SECRET_ALGORITHM],
      allowedIss: issuer,
      allowedAud: audience,
      requiredClaims: REQUIRED_CLAIMS,
      clockTolerance: CLOCK_TOLERANCE_SECONDS * SECOND_MS,
      cache: false,
    },
  })
}
