import { hash, randomBytes } from 'node:crypto'
import type { Principal, Scope } from '../auth/principal.ts'
import type { Instant } from '../kernel/time.ts'

/** A ticket stands for a credential for a moment, once: browsers cannot send headers with a socket, and addresses end up in logs. */

const TICKET = /^tkt_[A-Za-z0-9_-]{43}$/
const TICKET_MS = 30_000

/** What a ticket stands for, as it is stored. */
export interface TicketHolder {
  readonly kind: Principal['kind']
  readonly clientId: string
  readonly scopes: readonly Scope[]
  readonly subject: string | null
  readonly actor: string
  readonly credentialHash: string
  readonly expiresAt: Instant | null
}

export interface TicketStore {
  /** Keeps a ticket for so many milliseconds by the database's clock. @returns until when */
  add(sha256: Uint8Array<ArrayBuffer>, holder: TicketHolder, ms: number): Promise<Instant>
  /** The holder of a ticket that nobody used, by the database's clock; it is used from now on. */
  take(sha256: Uint8Array<ArrayBuffer>): Promise<TicketHolder | null>
}

/** Issues a ticket for whoever asks. */
export async function issueTicket(store: TicketStore, principal: Principal): Promise<{ ticket: string; expiresAt: Instant }> {
  const ticket = `tkt_${randomBytes(32).toString('base64url')}`
  const expiresAt = await store.add(digest(ticket), { ...principal, scopes: [...principal.scopes] }, TICKET_MS)
  return { ticket, expiresAt }
}

/** The principal behind a ticket, once; null for one that is unknown, used or too old. */
export async function takeTicket(store: TicketStore, ticket: string): Promise<Principal | null> {
  const holder = TICKET.test(ticket) ? await store.take(digest(ticket)) : null
  return holder && { ...holder, scopes: new Set(holder.scopes) }
}

function digest(ticket: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(hash('sha256', ticket, 'buffer'))
}
