import { DAY_MS, type Instant } from '../kernel/time.ts'

/** Answers are kept this long for replays. The record itself stays: its key never does anything else again. */
export const ANSWERS_KEPT_MS = 30 * DAY_MS
/** One statement clears the answers of so long a time, so that none runs long. */
const STEP_MS = DAY_MS / 24
/** Steps of one run; a backlog of years is worked off night by night. */
const STEPS_MAX = 24 * 60

export interface RetentionStore {
  /** The database's clock. */
  now(): Promise<Instant>
  /** Up to where answers have been cleared; null when there are no records at all. */
  reached(): Promise<Instant | null>
  /** Clears the answers of records from one time up to another, and remembers how far it came. @returns how many */
  clear(from: Instant, to: Instant): Promise<number>
}

/** Clears the stored answers whose retention is over, from where the last run ended. @returns how many */
export async function clearOldAnswers(store: RetentionStore): Promise<number> {
  const until = (await store.now()) - ANSWERS_KEPT_MS
  let from = await store.reached()
  let cleared = 0
  for (let step = 0; from !== null && from < until && step < STEPS_MAX; step += 1) {
    const to = Math.min(from + STEP_MS, until)
    cleared += await store.clear(from, to)
    from = to
  }
  return cleared
}
