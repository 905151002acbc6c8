import { hash } from 'node:crypto'
import { uuidv7 } from 'uuidv7'

/**
 * Ids are UUIDv7 (RFC 9562) in the database and the same 32 hexadecimal digits behind a prefix on the wire:
 * `rsv_0192f3c4d5e67abc8def0123456789ab`. PostgreSQL reads the digits as a UUID as they stand.
 */

export type IdKind =
  | 'wallet'
  | 'reservation'
  | 'transaction'
  | 'charge'
  | 'grant'
  | 'client'
  | 'apiKey'
  | 'price'
  | 'priceImport'
  | 'proposal'
  | 'audit'
  | 'payment'
  | 'package'
  | 'bonusRule'
  | 'promotion'
  | 'redemption'
  | 'plan'
  | 'subscription'

const PREFIX: Record<IdKind, string> = {
  wallet: 'wal',
  reservation: 'rsv',
  transaction: 'txn',
  charge: 'chg',
  grant: 'grt',
  client: 'cli',
  apiKey: 'key',
  price: 'prc',
  priceImport: 'imp',
  proposal: 'prp',
  audit: 'aud',
  payment: 'pay',
  package: 'pkg',
  bonusRule: 'bon',
  promotion: 'prm',
  redemption: 'rdm',
  plan: 'pln',
  // `sub_` is what Stripe calls its own, and both are in the same answers.
  subscription: 'sbs',
}

/** A new time-ordered UUID, in PostgreSQL's own spelling. */
export function newId(): string {
  return uuidv7()
}

/** The wire form of a UUID. */
export function toWireId(kind: IdKind, uuid: string): string {
  return `${PREFIX[kind]}_${uuid.replaceAll('-', '')}`
}

/** The pattern of a kind's wire ids, for schemas. */
export function wireIdPattern(kind: IdKind): RegExp {
  return new RegExp(`^${PREFIX[kind]}_[0-9a-f]{32}$`)
}

const WIRE_ID = /^([a-z]{3})_([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/

/** The UUID behind a wire id, or null when the text is not a wire id of that kind. */
export function fromWireId(kind: IdKind, text: string): string | null {
  const match = WIRE_ID.exec(text)
  if (!match || match[1] !== PREFIX[kind]) return null
  return `${match[2]}-${match[3]}-${match[4]}-${match[5]}-${match[6]}`
}

/**
 * Ids of the rows that one command creates. Decisions must be pure, so nothing is drawn at random inside them: the n-th id
 * is the command's own UUIDv7 with n added to its last 48 (random) bits.
 */
export function derivedId(commandId: string, n: number): string {
  const tail = (Number.parseInt(commandId.slice(24), 16) + n) % 2 ** 48
  return commandId.slice(0, 24) + tail.toString(16).padStart(12, '0')
}

/**
 * The id of something that another system made and named: the same for the same name, whoever asks, and in the order of time like all
 * others. A UUIDv7 whose random bits are the name's hash.
 */
export function idOfName(name: string, instant: number): string {
  const time = Math.max(0, instant).toString(16).padStart(12, '0')
  const digits = hash('sha256', name, 'hex')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${digits.slice(0, 3)}-8${digits.slice(3, 6)}-${digits.slice(6, 18)}`
}

/** The smallest UUIDv7 of an instant (milliseconds): ids made before it are less, ids made after it are greater. */
export function firstIdOf(instant: number): string {
  const time = Math.max(0, instant).toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000000`
}
