import { EMPTY_PRICE_BOOK, type PriceBook } from './prices.ts'
import type { PriceStore } from './store.ts'

/** How old the snapshot may get on a process that did not make the change itself. */
const REFRESH_MS = 30_000

export interface PriceBookKeeper {
  /** The snapshot in memory: a quote needs no query. */
  current(): PriceBook
  /** Reads the snapshot anew, as after a change. @throws what the database says; the old snapshot stays */
  refresh(): Promise<void>
  stop(): void
}

/**
 * Keeps the price book in memory, empty until its first refresh and then at most half a minute old. A failed refresh keeps the last
 * one and is tried again.
 */
export function keepPriceBook(store: PriceStore, log: { warn(fields: object, message: string): void }): PriceBookKeeper {
  let book = EMPTY_PRICE_BOOK
  async function refresh(): Promise<void> {
    book = await store.readBook()
  }
  const timer = setInterval(() => {
    refresh().catch((error) => log.warn({ err: error }, 'the price book could not be refreshed'))
  }, REFRESH_MS)
  timer.unref()
  return { current: () => book, refresh, stop: () => clearInterval(timer) }
}
