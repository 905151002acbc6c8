import type { Instant } from '../kernel/time.ts'
import type { Scope, Speaker } from './principal.ts'

/** What authentication needs kept: clients and their API keys. */

export interface Client {
  readonly id: string
  readonly name: string
  readonly createdAt: Instant
}

export interface ApiKey {
  readonly id: string
  readonly clientId: string
  readonly name: string
  readonly prefix: string
  readonly scopes: readonly Scope[]
  readonly expiresAt: Instant | null
  readonly revokedAt: Instant | null
  readonly createdBy: string
  readonly createdAt: Instant
}

/** Who asks for a change and why, for the audit log. */
export interface Change {
  readonly speaker: Pick<Speaker, 'clientId' | 'actor' | 'requestId'>
  readonly reason: string
  readonly at: Instant
}

/** A page of rows, newest first, after the row with this id. */
export interface Range {
  readonly limit: number
  readonly afterId: string | null
}

export interface KeyStore {
  /** The key with this hash, unless it is revoked or its time is over. */
  findActiveKey(sha256: Uint8Array, now: Instant): Promise<ApiKey | null>
  findKey(id: string): Promise<ApiKey | null>
  findClient(by: { readonly id: string } | { readonly name: string }): Promise<Client | null>
  /** Creates a client. @returns false where the name is taken */
  addClient(client: Client, change: Change): Promise<boolean>
  /** The client of this name, created where it is missing; for the start of the process, which has no audit. */
  findOrCreateClient(client: Client): Promise<Client>
  /** Adds a key to its client. @returns false where there is no such client */
  addKey(key: ApiKey, sha256: Uint8Array<ArrayBuffer>, change: Change): Promise<boolean>
  /** Ends a key; a second time does nothing. @returns the key as it is afterwards, null where there is none */
  revokeKey(id: string, change: Change): Promise<ApiKey | null>
  listClients(range: Range): Promise<readonly Client[]>
  listKeys(clientId: string, range: Range): Promise<readonly ApiKey[]>
}
