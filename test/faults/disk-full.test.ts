/**
 * No space is left, for the data or for the WAL. Commands are refused and the service is not ready; what was acknowledged is in the book;
 * when there is space again the same process goes on. Without space for its WAL PostgreSQL ends, and whoever watches over it starts it.
 *
 *   node test/run.ts test/faults/disk-full.test.ts --test-arg=--seconds=20
 */
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import t, { type Test } from 'tap'
import { createCluster, noCluster, type TestCluster } from '../helpers/cluster.ts'
import { startProcess } from '../helpers/process.ts'
import { type Answer, callerAt, tally } from '../helpers/service.ts'
import { createSmallDisk, noSmallDisk, type SmallDisk } from '../helpers/small-disk.ts'
import { charge, sendersText, startSenders } from './senders.ts'
import { createSetting } from './setting.ts'
import { settledText } from './settle.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } }, strict: false })
/** How long it stays full. */
const FULL_SECONDS = Number(values.seconds ?? 3)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
/** Room for a new cluster and a little more; and for a few segments of WAL. */
const DATA_MIB = 160
const WAL_MIB = 80
const CLIENTS = 8

interface FullDisk {
  readonly cluster: TestCluster
  readonly disk: SmallDisk
}

/** A cluster below `directory`, with its data and its WAL in different places. */
async function split(t: Test, dataBelow: string, walBelow: string): Promise<TestCluster> {
  const before = process.env.TMPDIR
  process.env.TMPDIR = dataBelow
  let cluster: TestCluster
  try {
    cluster = await createCluster(t)
  } finally {
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
  }
  const root = readdirSync(dataBelow).find((name) => name.startsWith('farebox-cluster-')) as string
  const wal = join(dataBelow, root, 'pg', 'pg_wal')
  const { uid, gid } = statSync(wal)
  await cluster.stop('fast')
  const away = join(walBelow, 'pg_wal')
  mkdirSync(away, { mode: 0o700 })
  for (const name of readdirSync(wal)) cpSync(join(wal, name), join(away, name), { recursive: true })
  for (const name of ['.', ...readdirSync(away)]) chownSync(join(away, name), uid, gid)
  rmSync(wal, { recursive: true })
  symlinkSync(away, wal)
  await cluster.start()
  return cluster
}

function plain(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'farebox-plain-'))
  // As root the server runs as another user, who must be able to pass.
  chmodSync(path, 0o711)
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function administer(url: string, statement: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, application_name: 'test', connectionTimeoutMillis: 2_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query(statement)
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}

const FORMS: Readonly<Record<string, (t: Test) => Promise<FullDisk>>> = {
  async data(t) {
    const away = plain(t)
    const disk = createSmallDisk(t, DATA_MIB)
    return { disk, cluster: await split(t, disk.path, away) }
  },
  async WAL(t) {
    const place = plain(t)
    const disk = createSmallDisk(t, WAL_MIB)
    return { disk, cluster: await split(t, place, disk.path) }
  },
}

t.setTimeout(300_000)

for (const [name, make] of Object.entries(FORMS)) {
  t.test(`no space for ${name}`, { skip: noCluster() || noSmallDisk() }, async (t) => {
    const { cluster, disk } = await make(t)
    const setting = await createSetting(t, cluster.url, SEED)
    const service = await startProcess(t, { ...setting.env, PORT: '0' })
    const caller = callerAt(service.url, () => setting.key)
    const { id: wallet } = await caller.made('/v1/wallets', { owner: 'user:beside' })
    await caller.made('/v1/grants', { wallet, kind: 'bonus', amount: '1000' })
    const load = await setting.load([service.url], CLIENTS)
    await load.reaches(200)
    t.equal((await caller.get('/readyz')).status, 200, 'ready')

    disk.fill()
    const fullAt = performance.now()
    const beside = startSenders(4, () => charge(caller, wallet))
    const failed = () => beside.answers.filter(({ status }) => status !== 201)
    // What is full at once has to come to its end: pages and segments have some room left.
    while (failed().length < 20 && performance.now() - fullAt < 60_000) {
      if (name === 'WAL') await administer(cluster.url, 'select pg_switch_wal()')
      await sleep(100)
    }
    const noticed = failed()[0]?.answeredAt ?? Number.POSITIVE_INFINITY
    const probes: Answer[] = []
    for (const until = performance.now() + FULL_SECONDS * 1_000; performance.now() < until; await sleep(200)) {
      probes.push(await caller.get('/readyz'))
    }
    const notReady = probes.slice(5)
    t.same(tally(failed()), { '503 storage_unavailable': failed().length }, 'commands are refused for lack of storage')
    t.ok(
      failed().every(({ headers }) => Number(headers['retry-after']) >= 1),
      'with Retry-After',
    )
    t.ok(
      notReady.every(({ status }) => status === 503),
      'the service is not ready',
    )

    const freed = performance.now()
    disk.free()
    if (name === 'WAL' && !(await comesBack(cluster.url))) {
      await cluster.killTree()
      await cluster.start()
    }
    const startedAt = performance.now()
    const served = () => beside.answers.find(({ status, sentAt }) => status === 201 && sentAt > freed)
    while (!served() && performance.now() - startedAt < 30_000) await sleep(20)
    const recovery = (served()?.answeredAt ?? Number.POSITIVE_INFINITY) - startedAt
    t.ok(recovery < 20_000, 'it goes on by itself')
    while ((await caller.get('/readyz')).status !== 200 && performance.now() - startedAt < 30_000) await sleep(100)
    t.equal((await caller.get('/readyz')).status, 200, 'ready again')
    await beside.stop()
    const settled = await setting.settle(t, [service.url])
    t.equal(await service.end(), 0, 'it was the same process all the time')
    t.comment(
      `F8: no space for ${name}, first refusal ${((noticed - fullAt) / 1_000).toFixed(1)} s after it was full, full ${FULL_SECONDS} s longer, ` +
        `refused ${sendersText(failed())}, /readyz 503 ${notReady.length}/${notReady.length}, recovery ${Math.round(recovery)} ms, ` +
        `service restarts 0; ${settledText(SEED, settled)}`,
    )
  })
}

/** Whether PostgreSQL recovers by itself, now that it could. */
async function comesBack(url: string): Promise<boolean> {
  for (let tries = 0; tries < 20; tries += 1) {
    if (await administer(url, 'select 1')) return true
    await sleep(100)
  }
  return false
}
