import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { z } from 'zod'
import type { Scope } from '../auth/principal.ts'
import { fail } from '../kernel/errors.ts'
import { fromWireId, newId } from '../kernel/ids.ts'
import type { Draft, Speaker } from './book.ts'
import type { Command, Decision, Located, Outcome, RowRef, WalletRef } from './command.ts'

/** What building a command may ask about its caller. */
export interface Caller {
  readonly speaker: Speaker
  readonly isAdmin: boolean
}

/** What a room makes of a validated request: what to lock, and the decision. */
export interface Plan {
  readonly wallets: readonly WalletRef[]
  readonly rows: readonly RowRef[]
  decide(draft: Draft, located: Located): Decision
}

/**
 * A money-moving POST. One definition serves its own route, `/v1/batch` and the documentation. Its name is the scope of its
 * idempotency keys.
 */
export interface Operation<Params = unknown, Body = unknown> {
  readonly name: string
  readonly path: string
  readonly scope: Scope
  readonly tag: string
  readonly summary: string
  readonly description: string
  readonly status: 200 | 201
  /** Whether it may be refused with 402. */
  readonly needsCredits: boolean
  readonly params: z.ZodType<Params>
  readonly body: z.ZodType<Body>
  readonly answer: z.ZodType
  /** What has to be worked out before the command can be planned and takes time, if anything. */
  prepare?(body: Body): Promise<Body> | Body
  plan(caller: Caller, params: Params, body: Body): Plan
}

/** Defines an operation with its parameter and body types inferred from their schemas. */
export function operation<Params, Body>(definition: Operation<Params, Body>): Operation {
  return definition as Operation
}

/**
 * The command of one validated request.
 * @param prepared what `prepare` made of the body; what counts for idempotency is the body as it was sent
 */
export function toCommand(operation: Operation, caller: Caller, key: string, params: unknown, body: unknown, prepared = body): Command {
  const plan = operation.plan(caller, params, prepared)
  const fingerprint = hash('sha256', `POST ${operation.path} ${canonicalize(params)} ${canonicalize(body)}`, 'hex')
  const { name } = operation
  return { name, id: newId(), speaker: caller.speaker, idempotency: { operation: operation.name, key, fingerprint }, ...plan }
}

const PRINTABLE = /^[\x20-\x7e]{1,255}$/

/** The key of an Idempotency-Key header: bare, or a quoted string as in the IETF draft. @throws FareboxError when it is missing or malformed */
export function parseIdempotencyKey(header: unknown): string {
  if (header === undefined)
    throw fail('idempotency_key_missing', 'Send an Idempotency-Key header: any string that is unique to this command.')
  if (typeof header !== 'string') throw fail('idempotency_key_invalid', 'Send one Idempotency-Key header.')
  const bare = /^"(.*)"$/s.exec(header)?.[1] ?? header
  if (!PRINTABLE.test(bare) || bare.trim() === '') {
    throw fail('idempotency_key_invalid', 'An Idempotency-Key is 1 to 255 printable ASCII characters.')
  }
  return bare
}

/** A wallet as named on the wire, by id or by owner. The text was validated. */
export function walletRef(text: string): WalletRef {
  const id = fromWireId('wallet', text)
  if (id !== null) return { id }
  const colon = text.indexOf(':')
  return { ownerKind: text.slice(0, colon), ownerId: text.slice(colon + 1) }
}

/** Turns a pure step's outcome into a decision: the effect's id, its wallet and the answer's body. */
export function decided<T>(
  outcome: Outcome<T>,
  status: 200 | 201,
  answer: (value: T) => { readonly effectId: string; readonly walletId: string; readonly body: object },
): Decision {
  return outcome.ok ? { ok: true, status, ...answer(outcome.value) } : outcome
}
