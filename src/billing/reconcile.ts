import pMap from 'p-map'
import { DAY_MS, HOUR_MS, type Instant } from '../kernel/time.ts'
import type { Gateway } from './gateway.ts'
import type { Inbox } from './inbox.ts'
import type { Provider } from './payment.ts'
import { type SyncOutcome, settledBy } from './sync.ts'

export interface ReconcilePorts {
  readonly gateway: Pick<Gateway, 'provider' | 'livemode' | 'changedBetween'>
  readonly inbox: Pick<Inbox, 'settle' | 'report'>
  readonly orders: { disputed(provider: Provider, limit: number): Promise<string[]> }
  readonly sync: (subject: string, cause: string) => Promise<SyncOutcome>
}

export interface Reconciled {
  /** Payments, invoices and subscriptions of the provider that were looked at. */
  readonly checked: number
  /** Orders and subscriptions that events had not brought up to date. They are now. */
  readonly repaired: readonly string[]
  /** What does not fit any order of ours. It is parked in the inbox, until somebody looks. */
  readonly disagreeing: readonly { readonly subject: string; readonly reason: string }[]
  /** What could not be read. It waits in the inbox, and is tried again from there. */
  readonly failed: readonly { readonly subject: string; readonly reason: string }[]
}

/** Open disputes that one run asks about. */
const DISPUTED_MAX = 10_000
const READ_AT_ONCE = 8

/**
 * Compares the provider's books of a window with ours and makes good what events missed. It reads the same state and takes the same
 * road as an event, so it can neither double nor undo anything, whenever and however often it runs.
 * @param onProgress told now and then how many were checked
 */
export async function reconcile(
  ports: ReconcilePorts,
  from: Date,
  to: Date,
  onProgress: (checked: number) => void = () => {},
): Promise<Reconciled> {
  const repaired: string[] = []
  const disagreeing: { subject: string; reason: string }[] = []
  const failed: { subject: string; reason: string }[] = []
  let checked = 0

  const check = async (subject: string) => {
    const { provider, livemode } = ports.gateway
    try {
      const result = await ports.sync(subject, 'reconcile')
      if (result.outcome === 'applied' && result.changed) repaired.push(result.id)
      if (result.outcome !== 'parked') await ports.inbox.settle(provider, settledBy(result, subject))
      else {
        disagreeing.push({ subject, reason: result.reason })
        await ports.inbox.report({ provider, livemode, subject, status: 'parked', reason: result.reason })
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      failed.push({ subject, reason })
      await ports.inbox.report({ provider, livemode, subject, status: 'received', reason })
    }
    checked += 1
    onProgress(checked)
  }

  await pMap(changed(ports, from, to), check, { concurrency: READ_AT_ONCE })
  return { checked, repaired, disagreeing, failed }
}

/** What changed at the provider in a window, and what it has yet to decide on, each once. */
async function* changed({ gateway, orders }: ReconcilePorts, from: Date, to: Date): AsyncGenerator<string> {
  const seen = new Set<string>()
  for await (const subject of gateway.changedBetween(from, to)) {
    if (!seen.has(subject)) yield subject
    seen.add(subject)
  }
  for (const subject of await orders.disputed(gateway.provider, DISPUTED_MAX)) if (!seen.has(subject)) yield subject
}

export interface ReconcileMarks {
  /** Up to when everything was compared; null before the first time. */
  reconciledUpTo(): Promise<Date | null>
  markReconciled(at: Date): Promise<void>
}

/** The first time, and how far windows overlap: the provider's clock is another one, and what it lists may come a little late. */
const FIRST_WINDOW_MS = 6 * HOUR_MS
const OVERLAP_MS = HOUR_MS
/** As long as Stripe keeps its events; what is older is for a person with `farebox reconcile`. */
const WINDOW_MS_MAX = 30 * DAY_MS

/** Compares what came since the last time: however long nobody did, no gap is left. What could not be read waits in the inbox. */
export async function reconcileDue(
  marks: ReconcileMarks,
  compare: (from: Date, to: Date) => Promise<Reconciled>,
  /** By the database's clock. */
  now: Instant,
): Promise<Reconciled> {
  const reached = (await marks.reconciledUpTo())?.getTime() ?? now - FIRST_WINDOW_MS + OVERLAP_MS
  const from = Math.max(reached - OVERLAP_MS, now - WINDOW_MS_MAX)
  const result = await compare(new Date(from), new Date(now))
  await marks.markReconciled(new Date(now))
  return result
}
