import { PgBoss } from 'pg-boss'

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

export interface JobRunner {
  /** Lets the runs under way finish and stops. */
  stop(): Promise<void>
}

const STOP_MS_MAX = 5_000
/** A finished run is kept for this long. */
const KEEP_SECONDS = 3_600
/** A chain that broke (a process died between two runs) is mended by the schedule within a minute. */
const EVERY_MINUTE = '* * * * *'

/**
 * Runs jobs on pg-boss: PostgreSQL hands each run to one of any number of processes, without a leader. Each run sends for the
 * next; the queue's policy allows one waiting and one active run, so that a chain can neither double nor pile up.
 */
export async function startJobs(url: string, jobs: readonly RecurringJob[], log: JobLog): Promise<JobRunner> {
  const boss = new PgBoss({ connectionString: url, application_name: 'farebox-jobs', schema: 'pgboss', max: 3 })
  boss.on('error', (error) => log.warn({ err: error }, 'the job queue failed'))
  await boss.start()
  for (const job of jobs) {
    const limits = { retryLimit: 0, expireInSeconds: job.timeLimitSeconds, deleteAfterSeconds: KEEP_SECONDS }
    await boss.createQueue(job.name, { policy: 'stately', ...limits })
    await boss.updateQueue(job.name, limits)
    await boss.work(job.name, { pollingIntervalSeconds: Math.min(2, Math.max(0.5, job.everySeconds / 2)) }, async () => {
      try {
        await job.run()
      } catch (error) {
        log.error({ err: error, job: job.name }, 'a job failed and will run again')
      }
      await boss.send(job.name, null, { startAfter: job.everySeconds })
    })
    await boss.schedule(job.name, EVERY_MINUTE)
    await boss.send(job.name)
  }
  return { stop: () => boss.stop({ graceful: true, timeout: STOP_MS_MAX }) }
}
