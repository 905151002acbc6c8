import { fromWireId } from '../kernel/ids.ts'
import type { Instant } from '../kernel/time.ts'
import { type Role, SUBJECT_PATTERN } from './principal.ts'

/** What a token says, before and after its signature is believed. */

export const CLOCK_TOLERANCE_SECONDS = 60
export const REQUIRED_CLAIMS = ['exp', 'sub', 'aud', 'iss']

/** Past the year 9999 nothing is a time any more: such a token would in truth never end. */
const EXPIRY_SECONDS_MAX = 253_402_300_799

/** Headers by which a token would bring its own key, or change the rules of reading it (RFC 7515 §4.1). */
const REFUSED_HEADERS = ['crit', 'jwk', 'jku', 'x5u', 'x5c', 'b64', 'zip', 'enc']

export interface Claims {
  readonly subject: string
  readonly role: Role
  /** Which client the person belongs to. */
  readonly client: { readonly id: string } | { readonly name: string }
  readonly expiresAt: Instant
}

/** The algorithm that a token names, or null where its header is not one that is ever accepted. */
export function algorithmOf(token: string): string | null {
  const [encoded, payload, signature, ...rest] = token.split('.')
  if (!encoded || !payload || !signature || rest.length > 0) return null
  const header = parseObject(Buffer.from(encoded, 'base64url').toString('utf8'))
  if (!header || typeof header.alg !== 'string') return null
  if (REFUSED_HEADERS.some((name) => Object.hasOwn(header, name))) return null
  const typ = header.typ
  if (typ !== undefined && (typeof typ !== 'string' || typ.toUpperCase() !== 'JWT')) return null
  return header.alg
}

/**
 * The claims of a payload whose signature, issuer, audience and times were verified; null where they do not name a person.
 * @param defaultClient whose people those are whose tokens name no client
 */
export function readClaims(payload: Readonly<Record<string, unknown>>, defaultClient: string): Claims | null {
  const { sub, exp, role = 'user', client_id: client = defaultClient } = payload
  if (typeof sub !== 'string' || !SUBJECT_PATTERN.test(sub)) return null
  if (typeof exp !== 'number' || !(exp >= 0 && exp <= EXPIRY_SECONDS_MAX)) return null
  if (role !== 'user' && role !== 'admin') return null
  if (typeof client !== 'string' || client.length < 1 || client.length > 100) return null
  const id = fromWireId('client', client)
  return {
    subject: sub,
    role,
    client: id === null ? { name: client } : { id },
    expiresAt: (exp + CLOCK_TOLERANCE_SECONDS) * 1000,
  }
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}
