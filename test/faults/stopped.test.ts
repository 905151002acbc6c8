/**
 * A process stands still (SIGSTOP), keeps its connections and its locks, and goes on later as if nothing had been: the service itself,
 * longer than its transactions may stand open; one backend of PostgreSQL in the middle of a batch; the postmaster. Nobody's work ends up
 * in another's transaction, whoever does not need what stands still is served, and nothing stays stuck.
 *
 *   node test/run.ts test/faults/stopped.test.ts --test-arg=--times=5 --test-arg=--seconds=15
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import t from 'tap'
import { createCluster, noCluster } from '../helpers/cluster.ts'
import { startProcess } from '../helpers/process.ts'
import { callerAt } from '../helpers/service.ts'
import { charge, sendersText, silenceOf, spansOf, startSenders } from './senders.ts'
import { createSetting } from './setting.ts'
import { settledText } from './settle.ts'

const { values } = parseArgs({
  options: { times: { type: 'string' }, seconds: { type: 'string' }, seed: { type: 'string' } },
  strict: false,
})
const TIMES = Number(values.times ?? 1)
/** Longer than a transaction of the lane may stand open and idle, 10 s, only in the long form. */
const STOPPED_SECONDS = Number(values.seconds ?? 6)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
const ANSWER_MS_MAX = 12_000
const BESIDE = 8

interface Backend {
  readonly pid: number
  readonly name: string
}

async function query<Row extends pg.QueryResultRow>(url: string, text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, application_name: 'test' })
  await client.connect()
  try {
    return (await client.query<Row>(text)).rows
  } finally {
    await client.end()
  }
}

/** The parent of every backend. */
async function postmasterOf(url: string): Promise<number> {
  const [child] = await query<{ pid: number }>(url, `select pid from pg_stat_activity where backend_type = 'checkpointer'`)
  return Number(readFileSync(`/proc/${child?.pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1])
}

/** Catches a backend of the lane inside a transaction and stops it there. */
async function stopBackend(url: string): Promise<Backend> {
  for (let tries = 0; tries < 2_000; tries += 1) {
    const [backend] = await query<{ pid: number; name: string }>(
      url,
      `select pid, application_name as name from pg_stat_activity where datname = current_database()
        and application_name like 'farebox-lane-%' and xact_start is not null limit 1`,
    )
    if (!backend) continue
    process.kill(backend.pid, 'SIGSTOP')
    // It may have come to the end of its transaction meanwhile; what it holds tells.
    const [held] = await query<{ n: number }>(
      url,
      `select count(*)::int as n from pg_locks where pid = ${backend.pid} and relation = 'wallets'::regclass and granted`,
    )
    if ((held?.n ?? 0) > 0) return backend
    process.kill(backend.pid, 'SIGCONT')
  }
  throw new Error('no backend of the lane was caught in a transaction')
}

t.setTimeout(600_000)

t.test('processes stand still', { skip: noCluster() }, async (t) => {
  const cluster = await createCluster(t)
  const setting = await createSetting(t, cluster.url, SEED)
  const [one, two] = [await startProcess(t, { ...setting.env, PORT: '0' }), await startProcess(t, { ...setting.env, PORT: '0' })]
  const bases = [one.url, two.url]
  const caller = callerAt(two.url, () => setting.key)
  const wallets: string[] = []
  for (let n = 0; n < BESIDE; n += 1) {
    const { id } = await caller.made('/v1/wallets', { owner: `user:beside-${n}` })
    await caller.made('/v1/grants', { wallet: id, kind: 'bonus', amount: '1000' })
    wallets.push(id)
  }
  const load = await setting.load(bases, 16)
  await load.reaches(200)
  const lines: string[] = []

  /** Plays one form, and says how it was to those who go through the second process. */
  async function play(name: string, stop: () => Promise<() => void>, isServed: boolean): Promise<void> {
    for (let n = 0; n < TIMES; n += 1) {
      const beside = startSenders(BESIDE, (client) => charge(caller, wallets[client] as string))
      await sleep(300)
      const go = await stop()
      const from = performance.now()
      await sleep(STOPPED_SECONDS * 1_000)
      const to = performance.now()
      go()
      const served = () => beside.answers.find(({ status, sentAt }) => status === 201 && sentAt > to)
      while (!served() && performance.now() - to < 30_000) await sleep(20)
      const recovery = (served()?.answeredAt ?? Number.POSITIVE_INFINITY) - to
      await beside.stop()
      const silence = silenceOf(beside.answers, from, to)
      t.ok(recovery < 10_000, `${name}: all are served again`)
      t.ok((spansOf(beside.answers).at(-1) as number) < ANSWER_MS_MAX, `${name}: nobody waited for long`)
      if (isServed) t.ok(silence < ANSWER_MS_MAX, `${name}: others were served meanwhile`)
      lines.push(
        `${name}: stopped ${STOPPED_SECONDS} s, others ${sendersText(beside.answers)}, longest silence ${Math.round(silence)} ms, ` +
          `recovery ${Math.round(recovery)} ms`,
      )
    }
  }

  await play(
    'the service',
    async () => {
      process.kill(one.pid, 'SIGSTOP')
      return () => process.kill(one.pid, 'SIGCONT')
    },
    true,
  )
  await play(
    'a backend in a transaction',
    async () => {
      const { pid } = await stopBackend(cluster.url)
      return () => process.kill(pid, 'SIGCONT')
    },
    // It may hold the lock of the WAL, and then nobody commits.
    false,
  )
  await play(
    'the postmaster',
    async () => {
      const pid = await postmasterOf(cluster.url)
      process.kill(pid, 'SIGSTOP')
      return () => process.kill(pid, 'SIGCONT')
    },
    true,
  )

  await sleep(500)
  const settled = await setting.settle(t, bases)
  const [open] = await query<{ n: number }>(
    cluster.url,
    `select count(*)::int as n from pg_stat_activity where application_name like 'farebox-%' and state like 'idle in transaction%'
      and state_change < clock_timestamp() - interval '5 s'`,
  )
  t.equal(open?.n, 0, 'no transaction stands open')
  for (const line of lines) t.comment(`F7: ${line}`)
  t.comment(`F7: ${TIMES} times each; ${settledText(SEED, settled)}`)
})
