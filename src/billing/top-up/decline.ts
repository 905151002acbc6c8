import { DAY_MS, HOUR_MS, type Instant } from '../../kernel/time.ts'

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

/** After so long nothing stands against a card any more: banks count by the month. */
const REMEMBERED_MS = 30 * DAY_MS

export function failuresOf(declines: readonly Decline[], fingerprint: string, now: Instant): number {
  const decline = find(declines, fingerprint)
  return decline && now < decline.at + REMEMBERED_MS ? decline.failures : 0
}

/** When a card may be tried again; null where nothing stands against it. */
export function retryAt(declines: readonly Decline[], fingerprint: string): Instant | null {
  const decline = find(declines, fingerprint)
  return decline ? decline.at + decline.failures * RETRY_MS : null
}

/**
 * One decline more. The newest come last, and of too many cards those go that were declined longest ago.
 * @param isCards whether it was the card's doing: otherwise it is left alone for a while, and never for good
 */
export function addDecline(declines: readonly Decline[], fingerprint: string, now: Instant, isCards = true): Decline[] {
  const before = failuresOf(declines, fingerprint, now)
  const failures = isCards ? before + 1 : Math.max(before, Math.min(before + 1, FAILURES_MAX - 1))
  return [...forgive(declines, fingerprint), { fingerprint, failures, at: now }].slice(-CARDS_MAX)
}

/** What is left when a card was paid with. */
export function forgive(declines: readonly Decline[], fingerprint: string): Decline[] {
  return declines.filter((decline) => decline.fingerprint !== fingerprint)
}

function find(declines: readonly Decline[], fingerprint: string): Decline | undefined {
  return declines.find((decline) => decline.fingerprint === fingerprint)
}
