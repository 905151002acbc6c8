/**
 * PostgreSQL dies under a service that goes on: the whole tree is killed, it is stopped at once or in order, one backend is killed. What
 * was acknowledged is in the book once, the service needs no restart, and neither pages nor indexes are damaged. A kill is not a power
 * cut: what the kernel had in its cache stays.
 *
 * In a test run each happens once. The long form:
 *
 *   node test/faults/postgres-dies.test.ts --stops=20 [--seed=…]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import t, { type Test } from 'tap'
import { createCluster, noCluster, type TestCluster } from '../helpers/cluster.ts'
import { startProcess } from '../helpers/process.ts'
import type { Random } from '../helpers/random.ts'
import type { Load } from './load.ts'
import { type Outage, outageText } from './recovery.ts'
import { createSetting } from './setting.ts'
import { settledText } from './settle.ts'

const { values } = parseArgs({ options: { stops: { type: 'string' }, seed: { type: 'string' } }, strict: false })
const isLong = values.stops !== undefined
const STOPS = Number(values.stops ?? 1)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
const [ALIVE_MS_MIN, ALIVE_MS_SPREAD] = isLong ? [500, 2_500] : [300, 300]
/** How long it stays away, where it does not come back by itself; in the long form now and then longer than the service makes anybody wait. */
const AWAY_MS_MAX = 400
const LONG_AWAY_MS = 6_000
const LONG_AWAY = isLong ? 0.15 : 0
/** What the service may answer meanwhile, and nothing else. */
const PATIENCE = ['503 storage_unavailable', '503 overloaded']

type Strike = () => void

/** Ways to die. Each calls `strike` as it happens, and is over when the server is told to come back. */
const FORMS: Readonly<Record<string, (cluster: TestCluster, strike: Strike, awayMs: number) => Promise<void>>> = {
  async 'SIGKILL of the whole tree'(cluster, strike, awayMs) {
    strike()
    await cluster.killTree()
    await sleep(awayMs)
    await cluster.start()
  },
  async 'stop -m immediate'(cluster, strike, awayMs) {
    strike()
    await cluster.stop('immediate')
    await sleep(awayMs)
    await cluster.start()
  },
  async 'SIGKILL of one backend'(cluster, strike) {
    const kill = await cluster.aimAtBackend()
    strike()
    kill()
  },
  async 'stop -m fast'(cluster, strike, awayMs) {
    strike()
    await cluster.stop('fast')
    await sleep(awayMs)
    await cluster.start()
  },
}

/** Whether a tool finds the data sound; a visible skip where there is no such tool. */
function check(t: Test, cluster: TestCluster, name: 'pg_checksums' | 'pg_amcheck', args: readonly string[]): void {
  const ended = cluster.tool(name, args)
  if ('missing' in ended) t.pass(`${name} ${args.join(' ')}`, { skip: ended.missing })
  else t.equal(ended.status, 0, `${name} ${args.join(' ')}${ended.status === 0 ? '' : `: ${ended.output}`}`)
}

async function playAll(load: Load, cluster: TestCluster, { next, chance }: Random): Promise<Map<string, Outage[]>> {
  const [recovery] = load.recoveries
  if (!recovery) throw new Error('no service')
  const names = Object.keys(FORMS)
  for (let stop = 0; stop < STOPS; stop += 1) {
    for (const name of names) {
      await sleep(ALIVE_MS_MIN + ALIVE_MS_SPREAD * next())
      // A backend may serve on for a moment before the postmaster hears of the blow: that was no recovery yet.
      await recovery.recovered()
      await FORMS[name]?.(cluster, () => recovery.strike(), chance(LONG_AWAY) ? LONG_AWAY_MS : AWAY_MS_MAX * next())
      await recovery.recovered()
    }
  }
  await sleep(ALIVE_MS_MIN)
  await recovery.recovered()
  const outages = recovery.finish()
  return new Map(names.map((name, form) => [name, outages.filter((_, n) => n % names.length === form)]))
}

t.setTimeout(isLong ? 3_600_000 : 300_000)

t.test(`PostgreSQL dies in four ways, ${STOPS} times each`, { skip: noCluster() }, async (t) => {
  const cluster = await createCluster(t)
  const setting = await createSetting(t, cluster.url, SEED)
  const service = await startProcess(t, { ...setting.env, PORT: '0' })
  const load = await setting.load([service.url])
  await load.reaches(200)
  const startedAt = performance.now()
  const outages = await playAll(load, cluster, setting.random)
  const seconds = (performance.now() - startedAt) / 1_000
  const settled = await setting.settle(t, [service.url])

  t.same(
    [...load.failures.keys()].filter((why) => !PATIENCE.includes(why)),
    [],
    'whoever was not served was told to come back',
  )
  t.equal(await service.end(), 0, 'it was the same process all the time, and ends in order')
  check(t, cluster, 'pg_amcheck', ['--install-missing', '--heapallindexed'])
  await cluster.stop('fast')
  check(t, cluster, 'pg_checksums', ['--check'])
  t.comment(`F2: ${settledText(SEED, settled)}; ${cluster.version}, ${4 * STOPS} stops in ${Math.round(seconds)} s, service restarts 0`)
  for (const [name, of] of outages) t.comment(`F2:   ${name} × ${of.length}: ${outageText(of)}`)
  t.comment(`F2:   tries without a definite answer: ${JSON.stringify(Object.fromEntries(load.failures))}`)
})
