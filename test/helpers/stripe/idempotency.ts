import { StripeFailure } from './failure.ts'

export interface Answer {
  readonly status: number
  readonly body: string
  readonly requestId: string
}

interface Entry {
  readonly request: string
  /** Seconds. */
  readonly at: number
  answer: Answer | null
}

/** Stripe removes keys once they are a day old, and then a request is a new one. */
const KEPT_SECONDS = 86_400

/** Keys and the answers that were given for them. What never began to be carried out leaves no trace. */
export interface Idempotency {
  /** The answer that was given before, or null: the key is then taken until `finish`. */
  begin(key: string, request: string): Answer | null
  /** Without an answer the key is free again. */
  finish(key: string, answer: Answer | null): void
}

/** @param now seconds */
export function createIdempotency(now: () => number): Idempotency {
  const entries = new Map<string, Entry>()
  return {
    begin(key, request) {
      const entry = entries.get(key)
      if (entry === undefined || now() - entry.at > KEPT_SECONDS) {
        entries.set(key, { request, at: now(), answer: null })
        return null
      }
      if (entry.request !== request)
        throw new StripeFailure(400, {
          type: 'idempotency_error',
          message: `Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '${key}' if you meant to execute a different request.`,
        })
      if (entry.answer === null)
        throw new StripeFailure(409, {
          type: 'idempotency_error',
          code: 'idempotency_key_in_use',
          message: `There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and the other request is still going through): ${key}.`,
        })
      return entry.answer
    },
    finish(key, answer) {
      const entry = entries.get(key)
      if (answer === null) entries.delete(key)
      else if (entry) entry.answer = answer
    },
  }
}
