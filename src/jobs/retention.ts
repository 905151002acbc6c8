import { DAY_MS, type Instant } from '../kernel/time.ts'

/** Answers are kept this long for replays. The record itself stays: its key never does anything else again. */
export const ANSWERS_KEPT_MS = 30 * DAY_MS
/** What is looked through at once: an hour where little happened, less where there was more than one statement may clear. */
const SPAN_MS_MAX = DAY_MS / 24
const SPAN_MS_MIN = 1_000
/** Statements of one run: a backlog is worked off run by run. */
const STEPS_MAX = 20_000

export interface RetentionStore {
  /** The database's clock. */
  now(): Promise<Instant>
  /** Up to where answers have been cleared; null when there are no records at all. */
  reached(): Promise<Instant | null>
  /** Clears answers of records from one time up to another, but no more than one quick statement does. @returns how many, and whether that was all */
  clear(from: Instant, to: Instant): Promise<{ readonly cleared: number; readonly all: boolean }>
  /** Remembers up to where answers have been cleared. */
  reach(at: Instant): Promise<void>
}

/** Clears the stored answers whose retention is over, from where the last run ended. @returns how many */
export async function clearOldAnswers(store: RetentionStore): Promise<number> {
  const until = (await store.now()) - ANSWERS_KEPT_MS
  let from = await store.reached()
  let span = SPAN_MS_MAX
  let total = 0
  for (let step = 0; from !== null && from < until && step < STEPS_MAX; step += 1) {
    const to = Math.min(from + span, until)
    const { cleared, all } = await store.clear(from, to)
    total += cleared
    // What was cleared is looked through again: a shorter span has less of it.
    span = all ? Math.min(SPAN_MS_MAX, span * 2) : Math.max(SPAN_MS_MIN, span / 2)
    if (!all) continue
    await store.reach(to)
    from = to
  }
  return total
}
