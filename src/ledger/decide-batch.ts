import type { Refusal } from '../kernel/errors.ts'
import { refusal } from '../kernel/errors.ts'
import { type Instant, toWireTime } from '../kernel/time.ts'
import { type Book, Draft } from './book.ts'
import type { Answer, Command, Idempotency, Located } from './command.ts'

/** The stored outcome of a command with an Idempotency-Key. `body` is null once its retention is over. */
export interface IdempotencyRecord extends Idempotency {
  readonly clientId: string
  readonly status: number
  readonly body: string | null
  readonly effectId: string | null
  readonly walletId: string | null
  readonly createdAt: Instant
}

/** Turns a refusal into the status and JSON text that the caller gets; `http/problem.ts` is behind it. */
export type RenderRefusal = (refusal: Refusal, requestId: string) => { readonly status: number; readonly body: string }

/** The identity of a record: keys of different clients, or for different operations, never meet. */
export function recordKey(clientId: string, operation: string, key: string): string {
  return `${clientId} ${operation} ${key}`
}

/**
 * Decides a batch in order of arrival: each command sees what those before it left. Pure but for the book, which takes over the
 * accepted drafts. The record of a key comes before any look at the state.
 * @param known the stored records of the batch's keys; the batch's own are added to it
 * @returns the answers in order, and the records to be written
 */
export function decideBatch(
  book: Book,
  known: Map<string, IdempotencyRecord>,
  batch: readonly Command[],
  located: readonly Located[],
  now: Instant,
  renderRefusal: RenderRefusal,
): { answers: Answer[]; records: IdempotencyRecord[] } {
  const records: IdempotencyRecord[] = []
  const answers = batch.map((command, index): Answer => {
    const { idempotency, speaker } = command
    const clientId = speaker.clientId
    const recordId = idempotency && clientId !== null ? recordKey(clientId, idempotency.operation, idempotency.key) : null
    const record = recordId === null ? undefined : known.get(recordId)
    if (record && idempotency) return replay(record, idempotency, renderRefusal, speaker.requestId)

    const draft = new Draft(book, command, now)
    const decision = command.decide(draft, located[index] as Located)
    let answer: { status: number; body: string }
    if (decision.ok) {
      book.apply(draft, command.name, decision.effectId, decision.walletId)
      answer = { status: decision.status, body: JSON.stringify(decision.body) }
    } else {
      answer = renderRefusal(decision.refusal, speaker.requestId)
    }
    if (recordId !== null && idempotency && clientId !== null) {
      const added: IdempotencyRecord = {
        ...idempotency,
        clientId,
        status: answer.status,
        body: answer.body,
        effectId: decision.ok ? decision.effectId : null,
        walletId: decision.walletId ?? null,
        createdAt: now,
      }
      known.set(recordId, added)
      records.push(added)
    }
    return { ...answer, replayed: false }
  })
  return { answers, records }
}

function replay(record: IdempotencyRecord, asked: Idempotency, renderRefusal: RenderRefusal, requestId: string): Answer {
  if (record.fingerprint !== asked.fingerprint) {
    const detail = `This key came with another ${asked.operation} at ${toWireTime(record.createdAt)}.`
    return { ...renderRefusal(refusal('idempotency_key_reused', detail), requestId), replayed: false }
  }
  if (record.body === null) {
    const detail = `The ${asked.operation} of ${toWireTime(record.createdAt)} had status ${record.status}; its answer is no longer kept.`
    return { ...renderRefusal(refusal('idempotency_answer_expired', detail), requestId), replayed: false }
  }
  return { status: record.status, body: record.body, replayed: true }
}
