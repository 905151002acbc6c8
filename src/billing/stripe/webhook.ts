import { hash } from 'node:crypto'
import Stripe from 'stripe'
import { fail } from '../../kernel/errors.ts'
import type { ProviderEvent } from '../inbox.ts'
import { concernOf } from './subject.ts'

/** How far an event's signature may be from now, in either direction. Stripe's own check looks at the past only. */
const AGE_SECONDS_MAX = 300

/** What an id looks like, so that it can be stored, listed and named in a path. */
const EVENT_ID = /^[A-Za-z0-9_]{1,255}$/
const TYPE_MAX = 255
/** The end of the year 9999, which every date type knows. */
const CREATED_MAX = 253_402_300_799

/**
 * An event, once its signature is proved (docs.stripe.com/webhooks/signature): HMAC-SHA256 over time and the very bytes that came.
 * @param secrets of the endpoint; more than one while they are changed
 * @throws FareboxError `webhook_invalid`
 */
export function readEvent(body: Buffer, signature: unknown, secrets: readonly string[], nowMs: number): ProviderEvent {
  if (typeof signature !== 'string') throw fail('webhook_invalid', 'Send one Stripe-Signature header.')
  const signedAt = timestampOf(signature)
  if (!(Math.abs(nowMs / 1_000 - signedAt) <= AGE_SECONDS_MAX)) {
    throw fail('webhook_invalid', `The signature is not of the last or next ${AGE_SECONDS_MAX} seconds.`)
  }
  if (!secrets.some((secret) => isSigned(body, signature, secret))) throw fail('webhook_invalid', 'The signature does not fit the body.')
  const event = parsed(body)
  const common = { provider: 'stripe', payload: body.toString('utf8') } as const
  if (!isText(event.id) || !EVENT_ID.test(event.id) || !isText(event.type) || !event.data?.object) {
    // Sent again it would be the same: a person has to see what it is.
    const id = `unknown_${hash('sha256', body, 'hex')}`
    const unreadable = 'it is signed, and no event of Stripe as this version knows them'
    return { ...common, id, type: 'unknown', subject: null, unreadable, livemode: false, occurredAt: new Date(nowMs) }
  }
  return {
    ...common,
    id: event.id,
    type: event.type,
    ...concernOf(event as Stripe.Event),
    livemode: event.livemode === true,
    occurredAt: new Date(isTime(event.created) ? event.created * 1_000 : nowMs),
  }
}

/** When it was signed; NaN unless the header says it once. Of two times, the library and we could read different ones. */
function timestampOf(signature: string): number {
  const [time, ...others] = signature.split(',').filter((item) => item.startsWith('t='))
  return time !== undefined && others.length === 0 && /^t=[0-9]{1,12}$/.test(time) ? Number(time.slice(2)) : Number.NaN
}

/** Something that PostgreSQL can keep as text. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= TYPE_MAX && !value.includes('\0')
}

function isTime(seconds: unknown): seconds is number {
  return Number.isSafeInteger(seconds) && (seconds as number) >= 0 && (seconds as number) <= CREATED_MAX
}

function isSigned(body: Buffer, signature: string, secret: string): boolean {
  try {
    return Stripe.webhooks.signature?.verifyHeader(body, signature, secret, AGE_SECONDS_MAX) === true
  } catch {
    return false
  }
}

/** What was signed, whatever it is. */
function parsed(body: Buffer): Partial<Stripe.Event> {
  try {
    return Object(JSON.parse(body.toString('utf8')))
  } catch (error) {
    throw fail('webhook_invalid', 'The body is signed, but no JSON.', undefined, error)
  }
}
