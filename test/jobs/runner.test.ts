import { Client } from 'pg'
import t from 'tap'
import { startJobs } from '../../src/jobs/runner.ts'
import { createTestDatabase } from '../helpers/database.ts'

t.setTimeout(300_000)

t.test('a clock that is put back while a job runs does not put the next run off', async (t) => {
  const { url } = await createTestDatabase(t)
  const real = Date.now
  t.teardown(() => {
    Date.now = real
  })
  const outcomes: string[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const job = {
    name: 'tick',
    everySeconds: 1,
    timeLimitSeconds: 60,
    async run() {
      Date.now = () => real() - 3_600_000
      if (outcomes.length === 2) resolve()
      if (outcomes.length === 1) throw new Error('once')
    },
  }
  const quiet = { warn() {}, error() {} }
  const jobs = await startJobs(url, [job], quiet, { jobEnded: (name, outcome) => outcomes.push(`${name} ${outcome}`) })
  t.teardown(() => jobs.stop())
  await promise
  t.same(outcomes.slice(0, 2), ['tick done', 'tick failed'], 'and runs are counted')
})

t.test('where the next run cannot be sent for, it is as soon as it can', async (t) => {
  const { url } = await createTestDatabase(t)
  const client = new Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  let runs = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  const job = {
    name: 'tick',
    everySeconds: 1,
    timeLimitSeconds: 60,
    async run() {
      runs += 1
      if (runs === 2) resolve()
      if (runs > 1) return
      await client.query(`create function refuse() returns trigger language plpgsql as $$ begin raise 'no more runs'; end $$;
        create trigger refuse before insert on pgboss.job for each row execute function refuse()`)
    },
  }
  const warnings: string[] = []
  const log = { warn: (_fields: object, message: string) => warnings.push(message), error() {} }
  const jobs = await startJobs(url, [job], log, { jobEnded() {} })
  t.teardown(() => jobs.stop())
  const missed = 'the next run could not be sent for, and will be'
  while (warnings.filter((message) => message === missed).length < 2) await new Promise((done) => setTimeout(done, 50))
  t.equal(runs, 1)
  await client.query('drop trigger refuse on pgboss.job')
  const since = performance.now()
  await promise
  // The schedule would have sent one too, some time within a minute.
  t.ok(performance.now() - since < 20_000, `again after ${((performance.now() - since) / 1_000).toFixed(1)} s`)
})
