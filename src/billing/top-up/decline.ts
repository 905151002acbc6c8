import { HOUR_MS, type Instant } from '../../kernel/time.ts'

/** How often in a row a card was declined, and when last. A card is known by its fingerprint, however often it is saved. */
export interface Decline {
  readonly fingerprint: string
  readonly failures: number
  readonly at: Instant
}

/** Attempts in a row before a card is not tried any more: banks think ill of more. */
export const FAILURES_MAX = 3
/** A card that was declined is tried again after so many milliseconds, times the number of failures. */
const RETRY_MS = HOUR_MS
/** Cards of one wallet that are remembered. Nobody needs more, and whoever tries them one by one gets no further. */
const CARDS_MAX = 10

export function failuresOf(declines: readonly Decline[], fingerprint: string): number {
  return find(declines, fingerprint)?.failures ?? 0
}

/** When a card may be tried again; null where nothing stands against it. */
export function retryAt(declines: readonly Decline[], fingerprint: string): Instant | null {
  const decline = find(declines, fingerprint)
  return decline ? decline.at + decline.failures * RETRY_MS : null
}

/** One decline more. The newest come last, and of too many cards those go that were declined longest ago. */
export function addDecline(declines: readonly Decline[], fingerprint: string, now: Instant): Decline[] {
  const failures = failuresOf(declines, fingerprint) + 1
  return [...forgive(declines, fingerprint), { fingerprint, failures, at: now }].slice(-CARDS_MAX)
}

/** What is left when a card was paid with. */
export function forgive(declines: readonly Decline[], fingerprint: string): Decline[] {
  return declines.filter((decline) => decline.fingerprint !== fingerprint)
}

function find(declines: readonly Decline[], fingerprint: string): Decline | undefined {
  return declines.find((decline) => decline.fingerprint === fingerprint)
}
