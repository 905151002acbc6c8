/**
 * The service dies (SIGKILL) while money moves, again and again, and is started anew: what was acknowledged is in the book once, and
 * what nobody knows the outcome of is known as soon as its key is sent again.
 *
 * In a test run it is short. The long form has a durable database of its own, and lets each process live for one to ten seconds:
 *
 *   node test/faults/service-dies.test.ts --operations=100000 --kills=50 [--processes=2] [--seed=…]
 *
 * Without a number of processes it is done with one and then with two.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import t, { type Test } from 'tap'
import { freePort } from '../helpers/cli.ts'
import { createCluster } from '../helpers/cluster.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { type ServiceProcess, startProcess } from '../helpers/process.ts'
import { createRedis, noRedis } from '../helpers/redis.ts'
import { times } from '../helpers/service.ts'
import { outageText } from './recovery.ts'
import { createSetting } from './setting.ts'
import { settledText } from './settle.ts'

const { values } = parseArgs({
  options: { operations: { type: 'string' }, kills: { type: 'string' }, processes: { type: 'string' }, seed: { type: 'string' } },
  strict: false,
})
const isLong = values.operations !== undefined || values.kills !== undefined
const OPERATIONS = Number(values.operations ?? 0)
const KILLS = Number(values.kills ?? (isLong ? 50 : 3))
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
const CLIENTS = isLong ? 64 : 32
const FAILED_STARTS_MAX = 5
const [ALIVE_MS_MIN, ALIVE_MS_SPREAD] = isLong ? [1_000, 9_000] : [300, 500]

async function killed(t: Test, processes: number, kills: number): Promise<void> {
  const { url } = isLong ? await createCluster(t) : await createTestDatabase(t)
  const setting = await createSetting(t, url, SEED)
  const redis = processes > 1 && !noRedis() ? await createRedis(t) : null
  const ports = await Promise.all(times(processes, freePort))
  const start = (n: number) => startProcess(t, { ...setting.env, PORT: String(ports[n]), ...(redis && { REDIS_URL: redis.url }) })
  let failedStarts = 0
  /** Starts it as a supervisor would, again and again: a machine with more to do than it can may miss a deadline of the start. */
  async function startAgain(n: number): Promise<ServiceProcess> {
    for (;;) {
      try {
        return await start(n)
      } catch (error) {
        failedStarts += 1
        t.comment(String(error))
        if (failedStarts > FAILED_STARTS_MAX) throw error
      }
    }
  }
  const services: ServiceProcess[] = []
  // One after the other: the first start makes what it finds missing.
  for (const n of ports.keys()) services.push(await start(n))
  const bases = services.map((service) => service.url)
  const load = await setting.load(bases, CLIENTS)
  await load.reaches(200)
  const startedAt = performance.now()
  let left = kills
  // Each on a clock of its own, so that now and then nobody is there.
  await Promise.all(
    services.map(async (_, n) => {
      while (left > 0) {
        left -= 1
        await sleep(ALIVE_MS_MIN + ALIVE_MS_SPREAD * setting.random.next())
        load.recoveries[n]?.strike()
        await services[n]?.end('SIGKILL')
        services[n] = await startAgain(n)
        await load.recoveries[n]?.recovered()
      }
    }),
  )
  const seconds = (performance.now() - startedAt) / 1_000
  await load.reaches(OPERATIONS)
  const settled = await setting.settle(t, bases)

  const outages = load.recoveries.flatMap((recovery) => recovery.finish())
  t.equal(outages.length, kills)
  t.same(
    [...load.failures.keys()].filter((why) => /^\d/.test(why)),
    [],
    'no process that lived answered with an error',
  )
  t.ok(settled.acknowledged >= OPERATIONS)
  t.comment(
    `F1: ${settledText(SEED, settled)}; ${processes} processes, ${kills} kills in ${Math.round(seconds)} s, ${failedStarts} starts failed, ` +
      `${outageText(outages)}; of all processes together ${Math.round(load.silenceMs)} ms`,
  )
  t.comment(`F1: tries without an answer: ${JSON.stringify(Object.fromEntries(load.failures))}`)
}

t.setTimeout(isLong ? 7_200_000 : 600_000)

if (isLong) {
  for (const processes of values.processes ? [Number(values.processes)] : [1, 2]) {
    t.test(`${processes} processes, ${KILLS} kills, ${OPERATIONS} operations`, (t) => killed(t, processes, KILLS))
  }
} else {
  t.test('one process that is killed', (t) => killed(t, 1, KILLS))
  t.test('two processes that are killed', (t) => killed(t, 2, 2))
}
