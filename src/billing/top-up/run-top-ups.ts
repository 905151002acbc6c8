import pMap from 'p-map'
import { TOP_UP_TOPIC } from '../../ledger/book.ts'
import { retryDelayMs } from '../retry.ts'
import { attemptTopUp } from './attempt-top-up.ts'
import type { Outbox, WaitingEvent } from './outbox.ts'
import { submit, type TopUpPorts } from './ports.ts'
import { resumeTopUp } from './start-top-up.ts'

/** Wallets that are topped up at once: one that the provider takes long for holds up nobody else. */
const AT_ONCE = 8
/** Longer than an attempt takes. Should one take longer all the same, another process goes on with it, with the same key at the provider. */
const LEASE_MS = 300_000
const RETRY_MS_MAX = 600_000
const RESUMED_AT_ONCE = 500

/** Tops up the wallets that the lane told of, and takes those up again whose cap counts anew. */
export async function runTopUps(ports: TopUpPorts): Promise<void> {
  await pMap(await ports.reads.resumable(RESUMED_AT_ONCE), (walletId) => resumeOne(ports, walletId), { concurrency: AT_ONCE })
  await pMap(dueByWallet(ports.outbox), ([walletId, events]) => runOne(ports, walletId, events), { concurrency: AT_ONCE })
}

/** Takes more as soon as what was taken is under way. */
async function* dueByWallet(outbox: Outbox): AsyncGenerator<[walletId: string, events: WaitingEvent[]]> {
  for (;;) {
    const claimed = await outbox.claim(TOP_UP_TOPIC, AT_ONCE, LEASE_MS)
    yield* Map.groupBy(claimed, (event) => event.walletId)
    if (claimed.length < AT_ONCE) return
  }
}

async function resumeOne(ports: TopUpPorts, walletId: string): Promise<void> {
  try {
    await submit(ports, walletId, (draft) => {
      resumeTopUp(draft, walletId)
      return {}
    })
  } catch (error) {
    // It stays capped, and is found again by the next run.
    ports.log.warn({ err: error, walletId }, 'a top-up could not be taken up again')
  }
}

async function runOne(ports: TopUpPorts, walletId: string, events: readonly WaitingEvent[]): Promise<void> {
  const ids = events.map(({ id }) => id)
  try {
    const againMs = await attemptTopUp(ports, walletId)
    await (againMs === null ? ports.outbox.publish(ids) : ports.outbox.postpone(ids, againMs))
  } catch (error) {
    // The attempt stays under way, with its key at the provider: the next try goes on with it.
    const attempts = Math.max(...events.map((event) => event.attempts))
    ports.log.warn({ err: error, walletId, attempts }, 'a top-up will be tried again')
    await ports.outbox.postpone(ids, retryDelayMs(attempts, RETRY_MS_MAX)).catch((cause: unknown) => {
      // The lease runs out, and somebody takes it then.
      ports.log.warn({ err: cause, walletId }, 'a top-up could not be put off')
    })
  }
}
