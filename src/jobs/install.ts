import { PgBoss } from 'pg-boss'
import { JOBS_SCHEMA } from './runner.ts'

/**
 * Makes the job queue's tables, or brings them to the version of pg-boss that this is. Needs a role that may create a schema; the
 * processes that run jobs then need not.
 */
export async function installJobs(url: string): Promise<void> {
  const boss = new PgBoss({ connectionString: url, application_name: 'farebox-migrate', schema: JOBS_SCHEMA, max: 2, ...IDLE })
  let failed: Error | undefined
  boss.on('error', (error) => {
    failed ??= error
  })
  await boss.start()
  await boss.stop({ graceful: false })
  if (failed) throw failed
}

/** It only installs. */
const IDLE = { supervise: false, schedule: false }
