import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/**
 * What a Prometheus may know of this process: figures of the whole, never of a wallet, a client or a person. docs/metrics.md
 * describes each. Rooms are handed the plain functions of `Metrics` and know nothing of Prometheus.
 */

/** What is read from the database for a scrape is kept for so long: scraping often, or twice, costs no more queries. */
const BACKLOG_KEPT_MS = 15_000
/** A scrape waits no longer than this for the database; its figures are left out then. */
const BACKLOG_MS_MAX = 2_000

const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const BATCH_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
const BATCH_COMMANDS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]

/** What waits in the database. */
export interface Backlog {
  readonly heldCredits: number
  readonly openHolds: number
  readonly paymentEventsWaiting: number
  readonly paymentEventsParked: number
  /** Since the oldest event that nobody has worked off was received. */
  readonly paymentEventLagSeconds: number
  readonly outboxWaiting: number
  /** By how much the row that is due for the longest time is late. */
  readonly outboxLagSeconds: number
}

/** What is read at the moment of a scrape. */
export interface Readings {
  queueDepth(): number
  feed(): { readonly wallets: number; readonly staleSeconds: number; readonly busUp: boolean }
  pool(): { readonly totalCount: number; readonly idleCount: number; readonly waitingCount: number }
  backlog(): Promise<Backlog>
}

export interface Metrics {
  /** A request was answered. @param status of HTTP */
  answered(operation: string, status: number, seconds: number): void
  /** Something was refused, by its error code. */
  refused(code: string): void
  batchEnded(commands: number, seconds: number, outcome: 'committed' | 'failed'): void
  batchRetried(failure: string): void
  jobEnded(job: string, outcome: 'done' | 'failed'): void
  readonly feedConnections: { inc(): void; dec(): void }
  /** Sets where the figures of a scrape come from. */
  readFrom(readings: Readings): void
  /** All metrics in Prometheus' text format. Never rejects because of what it reads. */
  text(): Promise<string>
}

export const METRICS_MEDIA_TYPE = Registry.PROMETHEUS_CONTENT_TYPE

export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const gauge = (name: string, help: string, labelNames: string[] = []) => new Gauge({ name, help, labelNames, registers })
  const counter = (name: string, help: string, labelNames: string[]) => new Counter({ name, help, labelNames, registers })
  const histogram = (name: string, help: string, buckets: number[], labelNames: string[] = []) =>
    new Histogram({ name, help, buckets, labelNames, registers })

  const requests = histogram('farebox_http_request_seconds', 'Time to answer a request.', REQUEST_SECONDS, ['operation', 'status'])
  const refusals = counter('farebox_refusals_total', 'What was refused, by error code.', ['code'])
  const batchCommands = histogram('farebox_lane_batch_commands', 'Commands in a batch of the lane.', BATCH_COMMANDS)
  const batchSeconds = histogram('farebox_lane_batch_seconds', 'Time of one attempt at a batch.', BATCH_SECONDS, ['outcome'])
  const retries = counter('farebox_lane_retries_total', 'Batches that had to run again, by what stood in the way.', ['failure'])
  const depth = gauge('farebox_lane_queue_depth', 'Commands that wait for a batch.')
  const jobs = counter('farebox_job_runs_total', 'Runs of background jobs in this process.', ['task', 'outcome'])
  const connections = gauge('farebox_feed_connections', 'Open sockets and streams.')
  const wallets = gauge('farebox_feed_wallets', 'Wallets that somebody looks at.')
  const stale = gauge('farebox_feed_stale_seconds', 'Since the feed was last compared with the database.')
  const busUp = gauge('farebox_feed_bus_up', 'Whether messages of other processes arrive: 1 or 0.')
  const pool = gauge('farebox_pool_connections', 'Connections for reads, and who waits for one.', ['state'])
  const databaseUp = gauge('farebox_database_up', 'Whether the last reading of the database succeeded: 1 or 0.')
  const backlogGauges: Record<keyof Backlog, Gauge> = {
    heldCredits: gauge('farebox_held_credits', 'Credits in open holds.'),
    openHolds: gauge('farebox_open_holds', 'Open holds.'),
    paymentEventsWaiting: gauge('farebox_payment_events_waiting', 'Events of the payment provider that are not worked off.'),
    paymentEventsParked: gauge('farebox_payment_events_parked', 'Events of the payment provider that somebody has to look at.'),
    paymentEventLagSeconds: gauge('farebox_payment_event_lag_seconds', 'Age of the oldest event that is not worked off.'),
    outboxWaiting: gauge('farebox_outbox_waiting', 'Rows of the outbox that nobody has acted on.'),
    outboxLagSeconds: gauge('farebox_outbox_lag_seconds', 'By how much the outbox is behind.'),
  }

  let readings: Readings | null = null
  let readAt = Number.NEGATIVE_INFINITY
  async function readBacklog(from: Readings): Promise<void> {
    // Set before the answer is there: scrapes at the same time make one reading.
    if (performance.now() - readAt < BACKLOG_KEPT_MS) return
    readAt = performance.now()
    const backlog = await inTime(from.backlog()).catch(() => null)
    databaseUp.set(backlog ? 1 : 0)
    for (const name of Object.keys(backlogGauges) as (keyof Backlog)[]) {
      // An old figure would look like a true one.
      if (backlog) backlogGauges[name].set(backlog[name])
      else backlogGauges[name].remove()
    }
  }

  return {
    answered: (operation, status, seconds) => requests.observe({ operation, status: `${Math.floor(status / 100)}xx` }, seconds),
    refused: (code) => refusals.inc({ code }),
    batchEnded(commands, seconds, outcome) {
      batchCommands.observe(commands)
      batchSeconds.observe({ outcome }, seconds)
    },
    batchRetried: (failure) => retries.inc({ failure }),
    jobEnded: (job, outcome) => jobs.inc({ task: job, outcome }),
    feedConnections: connections,
    readFrom(source) {
      readings = source
    },
    async text() {
      if (readings) {
        depth.set(readings.queueDepth())
        const feed = readings.feed()
        wallets.set(feed.wallets)
        stale.set(feed.staleSeconds)
        busUp.set(feed.busUp ? 1 : 0)
        const { totalCount, idleCount, waitingCount } = readings.pool()
        pool.set({ state: 'busy' }, totalCount - idleCount)
        pool.set({ state: 'idle' }, idleCount)
        pool.set({ state: 'waiting' }, waitingCount)
        await readBacklog(readings)
      }
      return `${await registry.metrics()}\n${await processRegistry().metrics()}`
    },
  }
}

let ofProcess: Registry | null = null

/** Memory, event loop and garbage collection are of the process, however many registries it has, and are watched from the first scrape on. */
function processRegistry(): Registry {
  if (!ofProcess) {
    ofProcess = new Registry()
    collectDefaultMetrics({ register: ofProcess })
  }
  return ofProcess
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error('no answer in time')), BACKLOG_MS_MAX)
  try {
    return await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}
