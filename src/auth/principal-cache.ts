import type { Instant } from '../kernel/time.ts'
import type { Principal } from './principal.ts'

/** How long a credential is taken without asking again, and so how long a revoked key may still work. */
export const PRINCIPAL_KEPT_MS = 30_000
/** So long before that somebody who still comes is asked about again, behind their back: neither they nor a slow database are waited for. */
const ASKED_AGAIN_MS = 15_000
/** How long a wrong credential is refused without asking again, and so how long a new key may be refused that was tried too early. */
const REFUSAL_KEPT_MS = 5_000
const ENTRIES_MAX = 10_000

interface Entry<Value> {
  readonly value: Value
  readonly until: Instant
}

/**
 * Answers of the last seconds, by the hash of the credential. Good and bad ones are kept apart, so that a flood of wrong
 * credentials cannot push the right ones out.
 */
export class PrincipalCache {
  readonly #principals = new Map<string, Entry<Principal>>()
  readonly #refusals = new Map<string, Entry<null>>()

  /** The principal, null for a credential known to be wrong, undefined for one not known. */
  get(hash: string, now: Instant): Principal | null | undefined {
    const found = this.#principals.get(hash)
    if (found) {
      const { expiresAt } = found.value
      if (expiresAt !== null && now >= expiresAt) return null
      return isKept(found, PRINCIPAL_KEPT_MS, now) ? found.value : undefined
    }
    const refused = this.#refusals.get(hash)
    if (refused && isKept(refused, REFUSAL_KEPT_MS, now)) return null
    return undefined
  }

  /** Whether what is known of a good credential soon counts no more. */
  isAgeing(hash: string, now: Instant): boolean {
    const found = this.#principals.get(hash)
    return found !== undefined && now >= found.until - ASKED_AGAIN_MS
  }

  /** Whether the credential was good when it was last looked up, however long ago. */
  wasGood(hash: string): boolean {
    return this.#principals.has(hash)
  }

  put(hash: string, principal: Principal | null, now: Instant): void {
    if (principal) {
      this.#refusals.delete(hash)
      add(this.#principals, hash, { value: principal, until: now + PRINCIPAL_KEPT_MS })
    } else {
      this.#principals.delete(hash)
      add(this.#refusals, hash, { value: null, until: now + REFUSAL_KEPT_MS })
    }
  }

  /** Forgets what is known about a key, when this very process revokes it. */
  forget(matches: (principal: Principal) => boolean): void {
    for (const [hash, { value }] of this.#principals) if (matches(value)) this.#principals.delete(hash)
  }

  get size(): number {
    return this.#principals.size + this.#refusals.size
  }
}

/** A clock that was put back must not make an answer last longer: what was learnt in the future is not known. */
function isKept({ until }: Entry<unknown>, keptMs: number, now: Instant): boolean {
  return now < until && now >= until - keptMs
}

/** A Map keeps the order of insertion: the first entry is the oldest. */
function add<Value>(map: Map<string, Entry<Value>>, hash: string, entry: Entry<Value>): void {
  map.delete(hash)
  if (map.size >= ENTRIES_MAX) map.delete(map.keys().next().value as string)
  map.set(hash, entry)
}
