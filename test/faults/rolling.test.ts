/**
 * Two processes are stopped in order (SIGTERM) and started again in turn while money moves, as in a rolling deployment: nobody gets a 5xx,
 * nothing is lost, sockets are told to go elsewhere, and those on the other process miss nothing.
 *
 *   node test/faults/rolling.test.ts --stops=20 [--seed=…]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import t, { type Test } from 'tap'
import { freePort } from '../helpers/cli.ts'
import { createCluster } from '../helpers/cluster.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { type ServiceProcess, startProcess } from '../helpers/process.ts'
import { createRedis, noRedis } from '../helpers/redis.ts'
import { callerAt, times } from '../helpers/service.ts'
import { eventually, openSocket, patiently, type TestSocket } from '../helpers/socket.ts'
import { outageText } from './recovery.ts'
import { createSetting } from './setting.ts'
import { settledText } from './settle.ts'

const { values } = parseArgs({ options: { stops: { type: 'string' }, seed: { type: 'string' } }, strict: false })
const isLong = values.stops !== undefined
const STOPS = Number(values.stops ?? 2)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
const [ALIVE_MS_MIN, ALIVE_MS_SPREAD] = isLong ? [500, 2_000] : [200, 300]
const SOCKETS = 3
/** Long enough for a busy machine; what it took is in the figures. */
const NEWS_MS_MAX = 20_000

/** Sockets on one process that follow every wallet. */
function follow(t: Test, port: number, key: string, wallets: readonly string[]): Promise<TestSocket[]> {
  return Promise.all(
    times(SOCKETS, async () => {
      const socket = await openSocket(t, port, { key })
      await socket.follow(wallets)
      return socket
    }),
  )
}

/** Whether sockets were told that they are closed, and were. */
async function saidGoodbye(sockets: readonly TestSocket[]): Promise<boolean> {
  const closed = await Promise.all(sockets.map((socket) => patiently('the end of a socket', socket.closed)))
  const told = sockets.every(({ notifications }) => notifications.at(-1)?.method === 'session.closing')
  return told && closed.every(({ code }) => code === 1012)
}

t.setTimeout(isLong ? 3_600_000 : 300_000)

t.test(`two processes are stopped in turn, ${STOPS} times`, { skip: noRedis() }, async (t) => {
  const { url } = isLong ? await createCluster(t) : await createTestDatabase(t)
  const setting = await createSetting(t, url, SEED)
  const redis = await createRedis(t)
  const ports = await Promise.all(times(2, freePort))
  const start = (n: number) => startProcess(t, { ...setting.env, PORT: String(ports[n]), REDIS_URL: redis.url })
  const services: ServiceProcess[] = [await start(0), await start(1)]
  const bases = services.map((service) => service.url)
  const load = await setting.load(bases)
  await load.reaches(200)
  const enter = (n: number) => follow(t, ports[n] as number, setting.key, load.wallets)
  const sockets = await Promise.all([enter(0), enter(1)])
  let told = 0
  for (let stop = 0; stop < STOPS; stop += 1) {
    const n = stop % 2
    await sleep(ALIVE_MS_MIN + ALIVE_MS_SPREAD * setting.random.next())
    load.recoveries[n]?.strike()
    t.equal(await services[n]?.end('SIGTERM'), 0, 'it ends in order')
    if (await saidGoodbye(sockets[n] as TestSocket[])) told += 1
    services[n] = await start(n)
    sockets[n] = await enter(n)
    await load.recoveries[n]?.recovered()
  }
  // So that those who came last have something to follow.
  await load.reaches(load.acknowledged + 300)
  await load.stop()

  const since = performance.now()
  const caller = callerAt(bases[0] as string, () => setting.key)
  const versions = new Map(
    await Promise.all(load.wallets.map(async (id) => [id, (await caller.get(`/v1/wallets/${id}/balance`)).body.version] as const)),
  )
  const moved = load.wallets.filter((id) => sockets.flat().every((socket) => socket.balances(id).length > 0))
  t.ok(moved.length > 0)
  await eventually(
    'the last word on every wallet that moved',
    () => sockets.flat().every((socket) => moved.every((id) => socket.balances(id).at(-1).version === versions.get(id))),
    NEWS_MS_MAX,
  )
  const newsMs = Math.round(performance.now() - since)

  const settled = await setting.settle(t, bases)
  const outages = load.recoveries.flatMap((recovery) => recovery.finish())
  t.equal(told, STOPS, 'sockets get session.closing and 1012')
  t.same(
    [...load.failures.keys()].filter((why) => /^\d/.test(why)),
    [],
    '5xx 0',
  )
  t.comment(
    `F14: ${settledText(SEED, settled)}; ${STOPS} stops, 5xx 0, sockets told ${told * SOCKETS}/${STOPS * SOCKETS}, ` +
      `last news after ${newsMs} ms, of one process ${outageText(outages)}; of both together ${Math.round(load.silenceMs)} ms`,
  )
  t.comment(`F14: tries without an answer: ${JSON.stringify(Object.fromEntries(load.failures))}`)
})
