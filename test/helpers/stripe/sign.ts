import { createHmac } from 'node:crypto'

export interface SignOptions {
  /** Seconds; now by default. */
  readonly timestamp?: number
  /** `v1` is the only one that counts; another is for tests of what must be refused. */
  readonly scheme?: string
}

/** The `Stripe-Signature` header for these bytes. */
export function signWebhook(payload: string, secret: string, { timestamp, scheme = 'v1' }: SignOptions = {}): string {
  const at = timestamp ?? Math.floor(Date.now() / 1000)
  return `t=${at},${scheme}=${createHmac('sha256', secret).update(`${at}.${payload}`).digest('hex')}`
}
