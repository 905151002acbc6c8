import { setTimeout as delay } from 'node:timers/promises'
import { PgBoss, systemClock } from 'pg-boss'

/** A job that runs again and again, in one process at a time. */
export interface RecurringJob {
  readonly name: string
  /** Seconds from the end of one run to the start of the next. */
  readonly everySeconds: number
  /** Seconds after which a run counts as dead and another process takes over. */
  readonly timeLimitSeconds: number
  run(): Promise<unknown>
}

export interface JobLog {
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Who counts the runs. */
export interface JobWatch {
  jobEnded(job: string, outcome: 'done' | 'failed'): void
}

export interface JobRunner {
  /** Lets the runs under way finish and stops. */
  stop(): Promise<void>
}

export const JOBS_SCHEMA = 'pgboss'

const STOP_MS_MAX = 5_000
const CONNECTIONS_MAX = 3
const CONNECT_TIMEOUT_MS = 5_000
/** The queue's own statements take milliseconds; a server that is gone without a word must not keep its connections for long. */
const STATEMENT_TIMEOUT_MS = 5_000
/** How often to look for runs whose process or connection died: the next one waits for that. */
const SUPERVISE_SECONDS = 5
/** A finished run is kept for this long. */
const KEEP_SECONDS = 3_600
/** A run that cannot send for the next one, because the database is away, tries again after this time. */
const SEND_AGAIN_MS = 1_000
/** A chain that broke (a process died between two runs) is mended by the schedule within a minute. */
const EVERY_MINUTE = '* * * * *'

/**
 * Workers measure how long a look for work took. By a clock that somebody puts back an hour meanwhile they would take it for an hour
 * less than nothing, and sleep for as long: this one only goes forward. What is due PostgreSQL says by its own.
 */
const STEADY_CLOCK = { ...systemClock, now: () => performance.timeOrigin + performance.now() }

/**
 * Runs jobs on pg-boss: PostgreSQL hands each run to one of any number of processes, without a leader. Each run sends for the
 * next; the queue's policy allows one waiting and one active run, so that a chain can neither double nor pile up. The tables are
 * made by `installJobs`.
 */
export async function startJobs(url: string, jobs: readonly RecurringJob[], log: JobLog, watch: JobWatch): Promise<JobRunner> {
  const limits = {
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + 500,
    idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS,
    keepAlive: true,
  }
  const looks = { superviseIntervalSeconds: SUPERVISE_SECONDS, monitorIntervalSeconds: SUPERVISE_SECONDS }
  const queue = { application_name: 'farebox-jobs', schema: JOBS_SCHEMA, migrate: false, clock: STEADY_CLOCK, ...looks }
  const boss = new PgBoss({ connectionString: url, ...queue, ...limits })
  boss.on('error', (error) => log.warn({ err: error }, 'the job queue failed'))
  try {
    await boss.start()
  } catch (cause) {
    await boss.stop({ graceful: false }).catch(() => {})
    throw new Error(`the job queue cannot be used: ${(cause as Error).message}; run "farebox migrate" first`, { cause })
  }
  const stopping = new AbortController()
  async function sendNext({ name, everySeconds }: RecurringJob): Promise<void> {
    for (;;) {
      try {
        await boss.send(name, null, { startAfter: everySeconds })
        return
      } catch (error) {
        if (stopping.signal.aborted) return
        log.warn({ err: error, job: name }, 'the next run could not be sent for, and will be')
        await delay(SEND_AGAIN_MS, undefined, { signal: stopping.signal }).catch(() => undefined)
      }
    }
  }
  for (const job of jobs) {
    const runLimits = { retryLimit: 0, expireInSeconds: job.timeLimitSeconds, deleteAfterSeconds: KEEP_SECONDS }
    await boss.createQueue(job.name, { policy: 'stately', ...runLimits })
    await boss.updateQueue(job.name, runLimits)
    await boss.work(job.name, { pollingIntervalSeconds: Math.min(2, Math.max(0.5, job.everySeconds / 2)) }, async () => {
      try {
        await job.run()
        watch.jobEnded(job.name, 'done')
      } catch (error) {
        watch.jobEnded(job.name, 'failed')
        log.error({ err: error, job: job.name }, 'a job failed and will run again')
      }
      await sendNext(job)
    })
    await boss.schedule(job.name, EVERY_MINUTE)
    await boss.send(job.name)
  }
  return {
    async stop() {
      stopping.abort()
      await boss.stop({ graceful: true, timeout: STOP_MS_MAX })
    },
  }
}
