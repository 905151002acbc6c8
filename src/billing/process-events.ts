import pMap from 'p-map'
import type { Account } from './gateway.ts'
import type { DueEvent, Inbox } from './inbox.ts'
import { retryDelayMs } from './retry.ts'
import { type SyncOutcome, settledBy } from './sync.ts'

export interface ProcessPorts {
  readonly inbox: Inbox
  readonly gateway: () => Account
  /** Brings an order to what the provider says of this subject. */
  readonly sync: (subject: string, cause: string) => Promise<SyncOutcome>
  readonly log: { warn(fields: object, message: string): void; error(fields: object, message: string): void }
}

const CLAIMED_AT_ONCE = 200
/** Subjects that are read from the provider at once. */
const READ_AT_ONCE = 16
/** A process that died leaves its events to the others after this. */
const LEASE_MS = 60_000
/** Waits grow from a second to an hour; after so many attempts, some two days, a person has to look. */
const RETRY_MS_MAX = 3_600_000
const ATTEMPTS_MAX = 60

/** Works off the events that are due. Several about one subject are one reading: only what the provider says now counts. */
export async function processEvents(ports: ProcessPorts): Promise<void> {
  await pMap(dueBySubject(ports.inbox), ([subject, events]) => processSubject(ports, subject, events), { concurrency: READ_AT_ONCE })
}

/** Takes more as soon as what was taken is under way, so that one slow answer of the provider's holds up nobody else. */
async function* dueBySubject(inbox: Inbox): AsyncGenerator<[subject: string, events: DueEvent[]]> {
  for (;;) {
    const claimed = await inbox.claim(CLAIMED_AT_ONCE, LEASE_MS)
    yield* Map.groupBy(claimed, (event) => event.subject ?? '')
    if (claimed.length < CLAIMED_AT_ONCE) return
  }
}

async function processSubject({ inbox, gateway, sync, log }: ProcessPorts, subject: string, events: readonly DueEvent[]): Promise<void> {
  const ids = events.map(({ id }) => id)
  try {
    const { provider, livemode: isReal } = gateway()
    const stray = events.find(({ livemode }) => livemode !== isReal)
    const result: SyncOutcome = stray ? { outcome: 'parked', reason: strayReason(stray), id: null } : await sync(subject, `event:${ids[0]}`)
    if (result.outcome !== 'parked') await inbox.settle(provider, settledBy(result, subject))
    if (result.outcome === 'applied') await inbox.finish(events, 'processed', null)
    else if (result.outcome === 'ignored') await inbox.finish(events, 'ignored', result.reason)
    else {
      log.error({ subject, events: ids, reason: result.reason }, 'a payment does not fit its order: somebody has to look at it')
      await inbox.finish(events, 'parked', result.reason)
    }
  } catch (error) {
    const attempts = Math.max(...events.map((event) => event.attempts))
    const reason = error instanceof Error ? error.message.slice(0, 500) : 'unknown'
    if (attempts >= ATTEMPTS_MAX) {
      log.error({ err: error, subject, events: ids }, 'an event could not be worked off: somebody has to look at it')
      return inbox.finish(events, 'parked', reason)
    }
    log.warn({ err: error, subject, attempts }, 'an event will be tried again')
    await inbox.postpone(events, retryDelayMs(attempts, RETRY_MS_MAX), reason)
  }
}

/** An endpoint of the other mode was set up with this installation's address. */
function strayReason({ livemode }: DueEvent): string {
  return livemode ? 'an event of real money, and the key is for tests' : 'an event of a test, and the key is for real money'
}
