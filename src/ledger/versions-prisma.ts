import { Prisma } from '../generated/prisma/client.ts'
import { fail } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import { type Instant, toWireTime } from '../kernel/time.ts'
import { databaseClock, isUniqueViolation } from '../platform/prisma.ts'
import type { Speaker } from './book.ts'

/**
 * What prices, packages, plans and bonus rules have in common on PostgreSQL: versions are only added, each takes effect from a time on,
 * and the audit log says who set it and why.
 */

export type Tx = Prisma.TransactionClient

/** A request that took a moment to arrive does not lie in the past. */
const PAST_TOLERANCE_MS = 1_000

/**
 * When a version takes effect: at the time that was asked for, otherwise now.
 * @param stays what a time in the past would change, for the error: "what was on sale stays as it was"
 * @throws FareboxError `effective_from_past`
 */
export async function takesEffect(tx: Tx, asked: Instant | null, stays: string): Promise<{ readonly now: Date; readonly from: Date }> {
  const now = new Date(await databaseClock(tx))
  if (asked !== null && asked < now.getTime() - PAST_TOLERANCE_MS) {
    throw fail('effective_from_past', `It is ${toWireTime(now.getTime())}; ${stays}.`)
  }
  return { now, from: asked === null ? now : new Date(asked) }
}

/** Runs what adds a version. @throws FareboxError `version_exists` where one takes effect at that time already */
export async function addingVersion<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!isUniqueViolation(error)) throw error
    throw fail('version_exists', 'There is a version that takes effect at this time already.', undefined, error)
  }
}

/** A change for the audit log. `before` and `after` may hold anything that JSON can; amounts become decimal strings. */
export interface Audited {
  readonly action: string
  readonly targetKind: string
  readonly targetId: string
  readonly before?: unknown
  readonly after?: unknown
  readonly reason: string
  readonly speaker: Speaker
  readonly createdAt: Date
}

export function auditRow({ before = null, after = null, speaker, ...entry }: Audited): Prisma.AuditEntryCreateManyInput {
  const { clientId, actor, requestId } = speaker
  const orNull = (value: unknown) => (value === null ? Prisma.DbNull : asJson(value))
  return { ...entry, id: newId(), clientId, actor, requestId, before: orNull(before), after: orNull(after) }
}

export async function audit(tx: Pick<Tx, 'auditEntry'>, entry: Audited): Promise<void> {
  await tx.auditEntry.create({ data: auditRow(entry) })
}

/** JSON with amounts as decimal strings. */
export function asJson(value: unknown): Prisma.InputJsonValue {
  return JSON.parse(JSON.stringify(value, (_key, part) => (typeof part === 'bigint' ? part.toString() : part)))
}
