import { SingleBar } from 'cli-progress'
import { note } from '../command.ts'

const LINE_EVERY_MS = 5_000
const BAR_EVERY_MS = 200

/** Shows how far a run is until it is stopped: a bar at a terminal, else a line now and then. On standard error. */
export function showProgress(total: number, read: () => { readonly landed: number; readonly retries: number }): () => void {
  if (!process.stderr.isTTY) {
    const timer = setInterval(() => note(`${read().landed} of ${total} rows, ${read().retries} retries`), LINE_EVERY_MS)
    return () => clearInterval(timer)
  }
  const bar = new SingleBar({
    format: '[{bar}] {value} of {total} rows, {retries} retries, {eta_formatted} left',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
  })
  bar.start(total, 0, { retries: 0 })
  const timer = setInterval(() => bar.update(read().landed, { retries: read().retries }), BAR_EVERY_MS)
  return () => {
    clearInterval(timer)
    bar.update(read().landed, { retries: read().retries })
    bar.stop()
  }
}
