/**
 * Answers are lost after the work was done: one in ten on the way to the client, and those of COMMIT on the way to the service. Whoever
 * asks again with the same key gets the same bytes, and each key has one effect.
 *
 *   node test/faults/lost-answers.test.ts --operations=20000 [--seed=…]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import t, { type Test } from 'tap'
import { createCluster } from '../helpers/cluster.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { startProcess } from '../helpers/process.ts'
import { createProxy } from '../helpers/proxy.ts'
import { createSetting } from './setting.ts'
import { type Settled, settledText } from './settle.ts'

const { values } = parseArgs({ options: { operations: { type: 'string' }, seed: { type: 'string' } }, strict: false })
const isLong = values.operations !== undefined
const OPERATIONS = Number(values.operations ?? 1_500)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
/** The pause between two COMMITs that lose their reply, and how many pass before one does. */
const CALM_MS_MAX = 150
const COMMITS_MAX = 10

interface Lost {
  readonly settled: Settled
  readonly answers: number
  readonly commits: number
}

async function lose(t: Test, what: { readonly answers: boolean; readonly commits: boolean }): Promise<Lost> {
  const { url } = isLong ? await createCluster(t) : await createTestDatabase(t)
  const setting = await createSetting(t, url, SEED)
  const database = await createProxy(t, url)
  const service = await startProcess(t, { ...setting.env, DATABASE_URL: database.url, PORT: '0' })
  const way = await createProxy(t, service.url)
  const load = await setting.load([new URL(way.url).origin])
  if (what.answers) await way.set('drop-answers')
  let running = true
  const disturbed = (async () => {
    while (running && what.commits) {
      database.armCommit(1 + setting.random.below(COMMITS_MAX), setting.random.chance(0.7) ? 'drop-commit-reply' : 'drop-commit-request')
      await sleep(CALM_MS_MAX * setting.random.next())
    }
  })()
  await load.reaches(OPERATIONS)
  running = false
  await disturbed
  await Promise.all([way.set('pass'), database.set('pass')])
  const settled = await setting.settle(t, [service.url])
  t.same(
    [...load.failures.keys()].filter((why) => /^\d/.test(why)),
    [],
    'no answer was an error',
  )
  t.comment(`F3: ${settledText(SEED, settled)}; ${way.hits} answers and ${database.hits} COMMITs dropped`)
  return { settled, answers: way.hits, commits: database.hits }
}

t.setTimeout(isLong ? 3_600_000 : 300_000)

t.test('one answer in ten is lost', async (t) => {
  const { settled, answers } = await lose(t, { answers: true, commits: false })
  t.ok(answers > OPERATIONS / 20)
  t.ok(settled.info > 0)
  t.equal(settled.infoDone, settled.info, 'whatever nobody was told of had been decided')
})

t.test('COMMIT loses its reply, or never arrives', async (t) => {
  const { settled, commits } = await lose(t, { answers: false, commits: true })
  t.ok(commits > 10)
  t.equal(settled.info, 0, 'and no client learned of it')
})

if (isLong) t.test('both at once', async (t) => void (await lose(t, { answers: true, commits: true })))
