/**
 * Instants are whole milliseconds since 1970-01-01 UTC. Money decisions read them from the database's clock only; the
 * lane truncates that clock to a millisecond so that a JavaScript Date carries every stored time without loss.
 */
export type Instant = number

export const SECOND_MS = 1_000
export const MINUTE_MS = 60_000
export const HOUR_MS = 3_600_000
export const DAY_MS = 86_400_000

/** A batch's rows share few times (now, now + ttl), so texts are kept for a while. */
const texts = new Map<Instant, string>()
const TEXTS_MAX = 64

/** RFC 3339 in UTC with milliseconds. */
export function toWireTime(instant: Instant): string {
  let text = texts.get(instant)
  if (text === undefined) {
    text = new Date(instant).toISOString()
    if (texts.size >= TEXTS_MAX) texts.clear()
    texts.set(instant, text)
  }
  return text
}

export function toWireTimeOrNull(instant: Instant | null): string | null {
  return instant === null ? null : toWireTime(instant)
}
