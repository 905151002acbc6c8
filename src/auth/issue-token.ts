import { fail } from '../kernel/errors.ts'
import { type Instant, SECOND_MS, toWireTime } from '../kernel/time.ts'
import type { TokenSigner } from './jwt.ts'
import type { Principal } from './principal.ts'

/**
 * A token for a person of the caller's own client. It never outlives the credential that asked for it.
 * @throws FareboxError `tokens_not_issued` where no secret is configured
 */
export function issueToken(
  sign: TokenSigner | null,
  principal: Pick<Principal, 'clientId' | 'expiresAt'>,
  asked: { readonly subject: string; readonly ttlSeconds: number },
  now: Instant,
) {
  if (!sign) throw fail('tokens_not_issued', 'Configure a JWT secret, or take tokens from your identity provider.')
  const wanted = now + asked.ttlSeconds * SECOND_MS
  const until = principal.expiresAt === null ? wanted : Math.min(wanted, principal.expiresAt)
  // Tokens count in whole seconds.
  const expiresAt = Math.floor(until / SECOND_MS) * SECOND_MS
  const token = sign({ subject: asked.subject, clientId: principal.clientId }, now, expiresAt)
  const expiresInSeconds = Math.max(0, Math.floor((expiresAt - now) / SECOND_MS))
  return { token, token_type: 'Bearer' as const, expires_at: toWireTime(expiresAt), expires_in_seconds: expiresInSeconds }
}
