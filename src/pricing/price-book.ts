import { EMPTY_PRICE_BOOK, type PriceBook } from './prices.ts'
import type { PriceStore } from './store.ts'

/** How old the snapshot may get on a process that is not told of changes. */
const REFRESH_MS = 30_000

export interface PriceBookKeeper {
  /** The snapshot in memory: a quote needs no query. */
  current(): PriceBook
  /** Reads the snapshot anew, as after a change. @throws what the database says; the old snapshot stays */
  refresh(): Promise<void>
  /** Reads it anew soon; calls that come meanwhile are one. A failure is logged. */
  refreshSoon(): void
  stop(): void
}

/**
 * Keeps the price book in memory, empty until its first refresh. Whoever learns of a change calls `refreshSoon`; without that it is at
 * most half a minute old. A failed refresh keeps the last one and is tried again. Versions that take effect later are in it already,
 * so they take effect on all processes at their time.
 */
export function keepPriceBook(store: Pick<PriceStore, 'readBook'>, log: { warn(fields: object, message: string): void }): PriceBookKeeper {
  let book = EMPTY_PRICE_BOOK
  let reads = 0
  let shown = 0
  let waiting = false
  let reading = false

  async function refresh(): Promise<void> {
    reads += 1
    const mine = reads
    const read = await store.readBook()
    // Of two reads that overlap the one that began later knows more, whichever ends first.
    if (mine > shown) [book, shown] = [read, mine]
  }

  function refreshSoon(): void {
    waiting = true
    if (reading) return
    reading = true
    void (async () => {
      while (waiting) {
        waiting = false
        await refresh().catch((error) => log.warn({ err: error }, 'the price book could not be refreshed'))
      }
      reading = false
    })()
  }

  const timer = setInterval(refreshSoon, REFRESH_MS)
  timer.unref()
  return { current: () => book, refresh, refreshSoon, stop: () => clearInterval(timer) }
}
