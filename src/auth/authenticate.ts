import { hash } from 'node:crypto'
import { fail } from '../kernel/errors.ts'
import type { Instant } from '../kernel/time.ts'
import { isApiKey, prefixOf } from './api-key.ts'
import type { KeyStore } from './key-store.ts'
import type { Principal } from './principal.ts'
import { PrincipalCache } from './principal-cache.ts'
import type { TokenVerifier } from './token-verifier.ts'

/** Credentials that are being looked up at once; more are a flood, and each would take a place in the database's queue. */
const LOOKUPS_MAX = 500

const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i

export interface Authenticator {
  /**
   * Who speaks, at once where the credential is known from the last seconds.
   * @param admitStranger asked before anything is done about a credential that was not good when it was last seen
   * @throws FareboxError `unauthenticated`
   */
  authenticate(authorization: string | undefined, admitStranger?: () => Promise<void>): Principal | Promise<Principal>
  /** Stops believing a key that this process has just revoked. Others find out within `PRINCIPAL_KEPT_MS`. */
  forget(actor: string): void
}

export interface AuthenticatorOptions {
  readonly store: Pick<KeyStore, 'findActiveKey' | 'findClient'>
  readonly verifyToken: TokenVerifier | null
  readonly clock?: () => Instant
}

/** Makes the one place where a credential becomes a principal. */
export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const { store, verifyToken, clock = Date.now } = options
  const cache = new PrincipalCache()
  const pending = new Map<string, Promise<Principal | null>>()
  /** How often something was forgotten: what was asked before that may not be put back. */
  let forgettings = 0

  async function lookUp(credential: string, credentialHash: string): Promise<Principal | null> {
    const now = clock()
    if (isApiKey(credential)) return keyPrincipal(store, credential, credentialHash, now)
    return verifyToken ? tokenPrincipal(store, verifyToken, credential, credentialHash, now) : null
  }

  /** Requests that arrive with the same credential while it is looked up wait for the same answer. */
  function lookUpOnce(credential: string, credentialHash: string, admitStranger?: () => Promise<void>): Promise<Principal | null> {
    const running = pending.get(credentialHash)
    if (running) return running
    if (pending.size >= LOOKUPS_MAX) throw fail('overloaded', 'Too many unknown credentials at once.')
    const asked = forgettings
    const stranger = admitStranger !== undefined && !cache.wasGood(credentialHash)
    const lookup = (stranger ? admitStranger().then(() => lookUp(credential, credentialHash)) : lookUp(credential, credentialHash))
      .then((principal) => {
        // A failed look-up is not an answer and is not kept.
        if (asked === forgettings) cache.put(credentialHash, principal, clock())
        return principal
      })
      .finally(() => {
        if (pending.get(credentialHash) === lookup) pending.delete(credentialHash)
      })
    pending.set(credentialHash, lookup)
    return lookup
  }

  return {
    authenticate(authorization, admitStranger) {
      const credential = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1]
      if (credential === undefined) return refuse(admitStranger)
      const credentialHash = hash('sha256', credential, 'base64')
      const known = cache.get(credentialHash, clock())
      if (known) {
        const askAgain = cache.isAgeing(credentialHash, clock()) && pending.size < LOOKUPS_MAX
        // Where it fails, the next request asks.
        if (askAgain) lookUpOnce(credential, credentialHash).catch(() => undefined)
        return known
      }
      if (known === null) return refuse(admitStranger)
      return lookUpOnce(credential, credentialHash, admitStranger).then((principal) => {
        if (!principal || (principal.expiresAt !== null && clock() >= principal.expiresAt)) throw refused()
        return principal
      })
    },
    forget(actor) {
      forgettings += 1
      pending.clear()
      cache.forget((principal) => principal.actor === actor)
    },
  }
}

/** One answer for everything: which part was wrong is nobody's business. */
function refused() {
  return fail('unauthenticated', 'Send "Authorization: Bearer" with a valid API key or token.')
}

function refuse(admitStranger: (() => Promise<void>) | undefined): Promise<never> {
  if (!admitStranger) throw refused()
  return admitStranger().then(() => {
    throw refused()
  })
}

async function keyPrincipal(
  store: Pick<KeyStore, 'findActiveKey'>,
  key: string,
  credentialHash: string,
  now: Instant,
): Promise<Principal | null> {
  const found = await store.findActiveKey(Buffer.from(credentialHash, 'base64'), now)
  if (!found) return null
  return {
    kind: 'key',
    clientId: found.clientId,
    scopes: new Set(found.scopes),
    subject: null,
    actor: `key:${prefixOf(key)}`,
    credentialHash,
    expiresAt: found.expiresAt,
  }
}

async function tokenPrincipal(
  store: Pick<KeyStore, 'findClient'>,
  verifyToken: TokenVerifier,
  token: string,
  credentialHash: string,
  now: Instant,
): Promise<Principal | null> {
  const claims = await verifyToken(token)
  if (!claims || now >= claims.expiresAt) return null
  const client = await store.findClient(claims.client)
  if (!client) return null
  return {
    kind: 'user',
    clientId: client.id,
    scopes: new Set(claims.role === 'admin' ? ['admin'] : []),
    subject: claims.subject,
    actor: `user:${claims.subject}`,
    credentialHash,
    expiresAt: claims.expiresAt,
  }
}

/** Tells of a principal whether its key was not revoked since. A token counts until it ends, as long as its client is there. */
export function isActiveIn(store: Pick<KeyStore, 'findActiveKey' | 'findClient'>): (principal: Principal) => Promise<boolean> {
  return async ({ kind, credentialHash, clientId }) => {
    if (kind === 'user') return (await store.findClient({ id: clientId })) !== null
    return (await store.findActiveKey(Buffer.from(credentialHash, 'base64'), Date.now())) !== null
  }
}
