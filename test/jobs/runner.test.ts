import t from 'tap'
import { startJobs } from '../../src/jobs/runner.ts'
import { createTestDatabase } from '../helpers/database.ts'

t.setTimeout(120_000)

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
