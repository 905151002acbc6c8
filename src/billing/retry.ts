const RETRY_MS_MIN = 1_000

/**
 * Milliseconds until the next try: a second, and twice as long after each, less up to half of it at random, so that what failed together
 * does not come back together.
 * @param attempts how many there were
 * @param most milliseconds that it never waits longer than
 */
export function retryDelayMs(attempts: number, most: number): number {
  return Math.min(most, RETRY_MS_MIN * 2 ** (attempts - 1)) * (0.5 + Math.random() / 2)
}
