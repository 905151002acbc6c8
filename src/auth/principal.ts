import type { Instant } from '../kernel/time.ts'

/** Who speaks, once that is known: the key of a backend, or a person with a token. */

export const SCOPES = [
  'wallets:read',
  'wallets:write',
  /** Reserve, commit, release, extend, charge, check, events, batch. */
  'usage:write',
  'grants:write',
  'refunds:write',
  'prices:read',
  'prices:write',
  'payments:read',
  'payments:write',
  /** Figures of the whole process, never of a wallet or a client. */
  'metrics:read',
  /** Implies every other scope and reaches every client. */
  'admin',
] as const

export type Scope = (typeof SCOPES)[number]

export type Role = 'user' | 'admin'

export interface Principal {
  readonly kind: 'key' | 'user'
  readonly clientId: string
  readonly scopes: ReadonlySet<Scope>
  /** A person's name for itself, the `sub` of its token; null for keys. */
  readonly subject: string | null
  /** `key:fbx_ab12cd34`, `user:alice` */
  readonly actor: string
  /** SHA-256 of the key or token, base64. */
  readonly credentialHash: string
  /** From then on the credential counts no more; null for keys without an end. */
  readonly expiresAt: Instant | null
}

/** What a caller's command carries into the ledger. `ledger/book.ts` has the same shape under the same name. */
export interface Speaker {
  readonly clientId: string | null
  readonly everyClient: boolean
  readonly actor: string
  readonly requestId: string
}

/** An owner id, and so the subject of a person's token: it names the person's own wallets. */
export const SUBJECT_PATTERN = /^[A-Za-z0-9._@+-]{1,128}$/

export function isScope(text: string): text is Scope {
  return (SCOPES as readonly string[]).includes(text)
}

export function hasScope(principal: Principal, scope: Scope): boolean {
  return principal.scopes.has(scope) || principal.scopes.has('admin')
}

/**
 * The only owner whose wallets this principal may see: a person sees its own. Null where there is no such limit, for keys and for
 * people with the role of an admin.
 */
export function ownOwner(principal: Principal): { readonly ownerKind: 'user'; readonly ownerId: string } | null {
  if (principal.kind === 'key' || principal.scopes.has('admin') || principal.subject === null) return null
  return { ownerKind: 'user', ownerId: principal.subject }
}

/** The speaker of a request. What is done over an admin route is written down as done by an admin. */
export function toSpeaker(principal: Principal, requestId: string, onAdminRoute: boolean): Speaker {
  return {
    clientId: principal.clientId,
    everyClient: principal.scopes.has('admin'),
    actor: onAdminRoute ? `admin:${principal.actor}` : principal.actor,
    requestId,
  }
}
