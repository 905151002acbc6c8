import type { Refusal } from '../kernel/errors.ts'
import type { Draft, Speaker, Table, WalletRow } from './book.ts'

/** A wallet as a caller may name it. */
export type WalletRef = { readonly id: string } | { readonly ownerKind: string; readonly ownerId: string }

/** A row that the decision needs and that the caller named by its id alone. */
export interface RowRef {
  readonly table: Table<WalletRow>
  readonly id: string
}

export interface Idempotency {
  readonly operation: string
  readonly key: string
  /** SHA-256 of method, route, path parameters and the canonical JSON of the validated body, 64 hexadecimal digits. */
  readonly fingerprint: string
}

export type Decision =
  | { readonly ok: true; readonly status: 200 | 201; readonly effectId: string; readonly walletId: string; readonly body: object }
  | { readonly ok: false; readonly refusal: Refusal; readonly walletId?: string }

/** Where the lane found what a command named; a place is undefined where there is nothing. */
export interface Located {
  /** Wallet ids, in the order of `Command.wallets`. */
  readonly wallets: readonly (string | undefined)[]
  /** Wallet ids of the rows, in the order of `Command.rows`. */
  readonly rows: readonly (string | undefined)[]
}

/**
 * One command for the lane. It names what is to be locked and loaded; `decide` is then called once, synchronously, with that
 * state and must be pure: no I/O, no clock, no randomness.
 */
export interface Command {
  /** What it is called where its effect is told: `reserve`, `expire` … */
  readonly name: string
  /** UUIDv7, the id of what the command creates. */
  readonly id: string
  readonly speaker: Speaker
  readonly wallets: readonly WalletRef[]
  readonly rows: readonly RowRef[]
  readonly idempotency: Idempotency | null
  decide(draft: Draft, located: Located): Decision
}

/** What the caller is told, after COMMIT. `body` is the JSON text, byte for byte what a replay will see. */
export interface Answer {
  readonly status: number
  readonly body: string
  readonly replayed: boolean
}

/** The result of a pure step: a value, or the one reason why not. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly refusal: Refusal }

export function done<T>(value: T): Outcome<T> {
  return { ok: true, value }
}

export function refuse(refusal: Refusal): { readonly ok: false; readonly refusal: Refusal } {
  return { ok: false, refusal }
}
