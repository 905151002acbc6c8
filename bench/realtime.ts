/**
 * node bench/realtime.ts [--sockets 1000] [--seconds 5] [--rounds 5] [--only latency,slow,kill,lane]
 *
 * What the feed costs and how late it is. Three services on one database (embedded, fsync on, or BENCH_DATABASE_URL) and a Redis of
 * their own: money moves on A, the sockets are on B, and both meet in Redis; the clients are a process of their own. Everything shares
 * this machine's cores. A frame's age counts from the decision under the wallet's lock, so it holds the write and the COMMIT; and, of the
 * last frame of each wallet, from the moment at which PostgreSQL began its COMMIT.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Pool } from 'pg'
import { toWireId } from '../src/kernel/ids.ts'
import { freePort } from '../tools/free-port.ts'
import { interruptible } from '../tools/interruptible.ts'
import { addClient, ask, load, memoryOf, openDatabase, openWallets, type Service, startService } from './environment.ts'
import type { LoadResult } from './load.ts'
import type { ClientReport, Order } from './realtime-clients.ts'

const here = import.meta.dirname
const { values: options } = parseArgs({
  options: {
    sockets: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: 'latency,slow,kill,lane' },
  },
})
const API = [join(here, '../src/main.ts'), '--role', 'api']
const SOCKETS = Number(options.sockets)
const SECONDS = Number(options.seconds)
const LANE_ROUNDS = Number(options.rounds)
const ONLY = options.only.split(',')
/** Changes a second, one request each, and in batches of a hundred. */
const SINGLES_PER_SECOND = [100, 300] as const
const UPDATES_PER_SECOND = 2_000
const BATCH = 100
const PAUSED = 100
/** What each paused reader follows: the system buffers some 4 MB between the two, which so many frames fill in half a minute. */
const PAUSED_WALLETS = 300
const PAUSED_SECONDS = 75
const LANE_CONNECTIONS = 64
const MIB = 2 ** 20

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

process.exitCode = await interruptible(async (signal) => {
  const opened: { stop(): Promise<unknown> }[] = []
  try {
    const database = await openDatabase({ track_commit_timestamp: 'on' })
    opened.push(database)
    const redis = await startRedis()
    opened.push(redis)
    const secret = randomBytes(32).toString('hex')
    const client = await addClient(database.url)
    const env = { REDIS_URL: redis.url, JWT_SECRET: secret }
    const a = await startService(API, database.serviceUrl, env)
    opened.push(a)
    const wallets = await openWallets(a, client, SOCKETS, 'bench')
    const crowd = startClients({ BENCH_SECRET: secret, BENCH_CLIENT: toWireId('client', client.id), BENCH_KEY: client.key })
    opened.push(crowd)
    const bench: Bench = { databaseUrl: database.url, serviceUrl: database.serviceUrl, env, a, crowd, wallets, key: client.key, opened }
    say(
      `${new Date().toISOString()} · ${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
    )
    say(`${database.description}; Redis ${redis.version}; ${SOCKETS} sockets, ${SECONDS} s a measurement\n`)
    for (const [name, measure] of Object.entries({ latency, slow, kill, lane })) {
      if (!ONLY.includes(name)) continue
      signal.throwIfAborted()
      await measure(bench)
      await crowd.order({ do: 'close' })
      say('')
    }
    return 0
  } finally {
    for (const thing of opened.toReversed()) await thing.stop()
  }
})

interface Bench {
  readonly databaseUrl: string
  readonly serviceUrl: string
  readonly env: Record<string, string>
  readonly a: Service
  readonly crowd: ReturnType<typeof startClients>
  readonly wallets: readonly string[]
  readonly key: string
  readonly opened: { stop(): Promise<unknown> }[]
}

/** How late frames are that came through Redis, and what a socket takes. */
async function latency({ databaseUrl, serviceUrl, env, a, crowd, wallets, key }: Bench): Promise<void> {
  const b = await startService(API, serviceUrl, env)
  try {
    await sleep(1_000)
    const before = memoryOf(b.pid)
    const started = performance.now()
    await crowd.order({ do: 'open', port: b.port, from: 0, count: SOCKETS })
    const opening = performance.now() - started
    await sleep(1_000)
    const perSocket = (memoryOf(b.pid) - before) / SOCKETS / 1024
    say(
      `open and subscribed: ${SOCKETS} sockets, a person and a token each, in ${(opening / 1_000).toFixed(1)} s; ${perSocket.toFixed(1)} KiB of memory a socket`,
    )
    const measure = async (what: string, run: () => Promise<number[]>, changes = 1) => {
      await crowd.order({ do: 'reset' })
      const answers = await run()
      await sleep(500)
      const { p50, p99, max, frames, toldAt } = await crowd.report()
      const afterCommit = await sinceCommit(databaseUrl, toldAt)
      say(`${what}: ${Math.round((answers.length * changes) / SECONDS)} changes/s, ${frames} frames`)
      say(`  decision → frame p50 ${p50} ms, p99 ${p99} ms, max ${max} ms; request → answer ${percentiles(answers)}`)
      say(`  COMMIT → frame ${percentiles(afterCommit)} (the last of each of ${afterCommit.length} wallets)`)
    }
    say(
      `a row and its COMMIT by themselves, ${SINGLES_PER_SECOND[0]} a second: ${percentiles(await commits(databaseUrl, SINGLES_PER_SECOND[0]))}`,
    )
    // What a process does for the first time it does slowly: code that is not compiled yet would be the whole of a hundredth.
    await singles(a, key, wallets, SINGLES_PER_SECOND[0])
    for (const rate of SINGLES_PER_SECOND) await measure('one request a change', () => singles(a, key, wallets, rate))
    await measure('in batches of a hundred', () => batches(a, key, wallets, UPDATES_PER_SECOND), BATCH)
  } finally {
    await crowd.order({ do: 'close' })
    await b.stop()
  }
}

/** A hundred readers that do not read, among the others. */
async function slow({ serviceUrl, env, a, crowd, wallets, key }: Bench): Promise<void> {
  const b = await startService([join(here, 'realtime-server.ts')], serviceUrl, env)
  try {
    await crowd.order({ do: 'open', port: b.port, from: 0, count: SOCKETS - PAUSED })
    await crowd.order({ do: 'reset' })
    await batches(a, key, wallets, UPDATES_PER_SECOND)
    await sleep(500)
    const alone = await crowd.report()
    await crowd.order({ do: 'open', port: b.port, from: 0, count: PAUSED, wallets: wallets.slice(0, PAUSED_WALLETS) })
    await crowd.order({ do: 'reset' })
    await sleep(1_000)
    const before = memoryOf(b.pid)
    let most = before
    const watch = setInterval(() => {
      most = Math.max(most, memoryOf(b.pid))
    }, 100)
    // Frames go on while they fill up, are found stuck after ten seconds, and are cut off.
    const started = performance.now()
    await crowd.order({ do: 'pause' })
    const changes = (await batches(a, key, wallets, UPDATES_PER_SECOND, PAUSED_SECONDS)).length * BATCH
    await sleep(500)
    clearInterval(watch)
    const { p50, p99, max } = await crowd.report()
    const seconds = (performance.now() - started) / 1_000
    await crowd.order({ do: 'resume' })
    for (let waited = 0; waited < 20 && total((await crowd.report()).codes) < PAUSED; waited += 1) await sleep(500)
    const { codes } = await crowd.report()
    say(
      `${PAUSED} of ${SOCKETS} do not read, each following ${Math.min(PAUSED_WALLETS, wallets.length)} wallets, ${Math.round(changes / seconds)} changes/s for ${Math.round(seconds)} s:`,
    )
    say(`  memory +${((most - before) / MIB).toFixed(1)} MiB at most, +${((memoryOf(b.pid) - before) / MIB).toFixed(1)} MiB at the end`)
    say(`  those that read: p50 ${p50} ms, p99 ${p99} ms, max ${max} ms (before: p50 ${alone.p50} ms, p99 ${alone.p99} ms)`)
    say(`  closed: ${JSON.stringify(codes)}`)
  } finally {
    await crowd.order({ do: 'close' })
    await b.stop()
  }
}

/** SIGKILL to the process of the sockets, another one at its address, and all of them back. */
async function kill({ databaseUrl, serviceUrl, env, a, crowd, wallets, key, opened }: Bench): Promise<void> {
  const port = await freePort()
  const start = () => startService(API, serviceUrl, { ...env, PORT: String(port) }, port)
  const b = await start()
  await crowd.order({ do: 'open', port, from: 0, count: SOCKETS })
  await crowd.order({ do: 'reset' })
  const queriesBefore = await snapshots(databaseUrl)
  process.kill(b.pid, 'SIGKILL')
  const killed = Date.now()
  await b.stop()
  const second = await start()
  opened.push(second)
  const up = Date.now() - killed
  // What changed while nobody was there.
  await batches(a, key, wallets, UPDATES_PER_SECOND, 1)
  const until = performance.now() + 120_000
  let seen = await crowd.report()
  while (seen.again.length < SOCKETS && performance.now() < until) {
    await sleep(200)
    seen = await crowd.report()
  }
  await sleep(1_000)
  seen = await crowd.report()
  const after = seen.again.map((at) => at - killed)
  const at = (share: number) => ((after[Math.floor(share * (after.length - 1))] ?? 0) / 1_000).toFixed(1)
  const queries = (await snapshots(databaseUrl)) - queriesBefore
  const truth = new Map((await ask(databaseUrl, 'select owner_id, version::int from wallets')).map((row) => [row.owner_id, row.version]))
  const wrong = seen.versions.filter((version, n) => version !== truth.get(`bench${n}`)).length
  say(`kill -9 of the process with ${SOCKETS} sockets; the next one answers after ${(up / 1_000).toFixed(1)} s`)
  say(
    `  back and resynchronised: ${after.length}, p50 ${at(0.5)} s, p99 ${at(0.99)} s, last ${at(1)} s after the kill (waits at random, up to 8 s)`,
  )
  say(`  wrong states at the end: ${wrong}; refused upgrades: ${JSON.stringify(seen.refused)}; ${queries} transactions of reads`)
  await crowd.order({ do: 'close' })
  await second.stop()
}

/**
 * What the lane loses to sockets that look on: what this process does for them, and what it does for them while they are busy on the
 * same cores, where the clients of a real installation are not.
 */
async function lane({ serviceUrl, env, a, crowd, wallets, key }: Bench): Promise<void> {
  const b = await startService(API, serviceUrl, env)
  const variants = [
    { name: 'no sockets', port: null, reading: false },
    { name: 'sockets on another process', port: b.port, reading: false },
    { name: 'sockets on the same process', port: a.port, reading: false },
    { name: 'sockets on the same process, clients at work', port: a.port, reading: true },
  ]
  const rates = variants.map((): number[] => [])
  try {
    for (let round = 0; round < LANE_ROUNDS; round += 1) {
      for (const [index, { name, port, reading }] of variants.entries()) {
        if (port !== null) await crowd.order({ do: 'open', port, from: 0, count: SOCKETS })
        await crowd.order({ do: 'reset' })
        // A stopped client takes no time of these cores; the system keeps what it is sent.
        if (!reading) crowd.halt()
        const { operations, seconds, p99Ms } = await reserves(a, key, wallets, `${name} ${round}`).finally(crowd.goOn)
        rates[index]?.push(operations / seconds)
        await sleep(500)
        const { frames } = await crowd.report()
        say(`  ${name}: ${Math.round(operations / seconds)} reserves/s, p99 ${p99Ms.toFixed(0)} ms; ${frames} frames`)
        await crowd.order({ do: 'close' })
      }
    }
    const [without = 1, ...beside] = rates.map((values) => values.toSorted((x, y) => x - y)[LANE_ROUNDS >> 1] ?? 0)
    say(`the lane beside ${SOCKETS} sockets, each change a frame, of the rate without, medians of ${LANE_ROUNDS}:`)
    for (const [index, rate] of beside.entries()) say(`  ${variants[index + 1]?.name}: ${(rate / without).toFixed(2)}`)
  } finally {
    await crowd.order({ do: 'close' })
    await b.stop()
  }
}

function reserves(service: Service, key: string, wallets: readonly string[], name: string): Promise<LoadResult> {
  return load({
    port: service.port,
    authorization: `Bearer ${key}`,
    connections: LANE_CONNECTIONS,
    warmupSeconds: 1,
    seconds: SECONDS,
    kind: 'single',
    path: '/v1/reservations',
    size: 1,
    wallets,
    keyPrefix: `${name.replaceAll(' ', '-')}-${randomUUID().slice(0, 8)}-`,
    watch: [],
  })
}

/** What this disk does under everything else: one row and its COMMIT, on one connection, at a steady rate. @returns milliseconds */
async function commits(url: string, perSecond: number): Promise<number[]> {
  const database = new Pool({ connectionString: url, max: 4 })
  try {
    await database.query('create table if not exists bench_commits (at timestamptz)')
    const sent: Promise<number>[] = []
    await steadily(perSecond, SECONDS, () => {
      const started = performance.now()
      sent.push(database.query('insert into bench_commits values (now())').then(() => performance.now() - started))
    })
    return await Promise.all(sent)
  } finally {
    await database.end()
  }
}

/** One charge a request, at a steady rate. @returns milliseconds to each answer */
async function singles(service: Service, key: string, wallets: readonly string[], perSecond: number): Promise<number[]> {
  const sent: Promise<number>[] = []
  await steadily(perSecond, SECONDS, (n) => {
    sent.push(post(service, key, '/v1/charges', { wallet: wallets[n % wallets.length], amount: '0.01' }))
  })
  return await Promise.all(sent)
}

/** Charges in batches over all wallets in turn, at a steady rate. @returns milliseconds to each answer */
async function batches(service: Service, key: string, wallets: readonly string[], perSecond: number, seconds = SECONDS): Promise<number[]> {
  const sent: Promise<number>[] = []
  await steadily(perSecond / BATCH, seconds, (n) => {
    const commands = Array.from({ length: BATCH }, (_, i) => ({
      operation: 'charge',
      idempotency_key: randomUUID(),
      body: { wallet: wallets[(n * BATCH + i) % wallets.length], amount: '0.01' },
    }))
    sent.push(post(service, key, '/v1/batch', { commands }))
  })
  return await Promise.all(sent)
}

async function steadily(perSecond: number, seconds: number, work: (n: number) => void): Promise<void> {
  const started = performance.now()
  const total = Math.round(perSecond * seconds)
  for (let n = 0; n < total; n += 1) {
    const due = started + (n / perSecond) * 1_000
    const early = due - performance.now()
    if (early > 0) await sleep(early)
    work(n)
  }
}

async function post(service: Service, key: string, path: string, body: object): Promise<number> {
  const sent = performance.now()
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'idempotency-key': randomUUID() }
  const answer = await fetch(`http://127.0.0.1:${service.port}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  const text = await answer.text()
  if (!answer.ok || text.includes('"status":4')) throw new Error(`${path} answered ${answer.status}: ${text.slice(0, 300)}`)
  return performance.now() - sent
}

function startClients(env: Record<string, string>) {
  const child: ChildProcess = fork(join(here, 'realtime-clients.ts'), { env: { PATH: process.env.PATH, ...env } })
  const order = async (what: Order): Promise<ClientReport | null> => {
    child.send(what)
    const [answer] = (await once(child, 'message')) as [ClientReport | null]
    return answer
  }
  return {
    order,
    report: async () => (await order({ do: 'report' })) as ClientReport,
    halt: () => child.kill('SIGSTOP'),
    goOn: () => child.kill('SIGCONT'),
    async stop() {
      child.kill('SIGKILL')
    },
  }
}

async function startRedis(): Promise<{ url: string; version: string; stop(): Promise<void> }> {
  const port = await freePort()
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--loglevel', 'warning']
  const child = spawn('redis-server', args, { stdio: 'ignore', cwd: '/tmp' })
  const ended = once(child, 'exit')
  await sleep(500)
  const version = /v=(\S+)/.exec(await output('redis-server', ['--version']))?.[1] ?? ''
  return {
    url: `redis://127.0.0.1:${port}`,
    version,
    async stop() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

async function output(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, [...args], { stdio: ['ignore', 'pipe', 'ignore'] })
  let text = ''
  child.stdout.on('data', (data) => {
    text += data
  })
  await once(child, 'close')
  return text
}

/** Transactions of the database so far: the load of everybody who comes back at once. */
async function snapshots(url: string): Promise<number> {
  const [row] = await ask(url, 'select xact_commit::int as n from pg_stat_database where datname = current_database()')
  return Number(row?.n)
}

/** How long after its COMMIT began the last frame of each wallet came. @param toldAt by number of the owner, 0 for none */
async function sinceCommit(url: string, toldAt: readonly number[]): Promise<number[]> {
  const rows = await ask(url, `select owner_id, extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000 as at from wallets`)
  const committedAt = new Map(rows.map((row) => [row.owner_id, Number(row.at)]))
  return toldAt.flatMap((told, n) => (told === 0 ? [] : [told - (committedAt.get(`bench${n}`) ?? Number.NaN)]))
}

function percentiles(milliseconds: readonly number[]): string {
  const sorted = milliseconds.toSorted((x, y) => x - y)
  const at = (share: number) => Math.round(sorted[Math.floor(share * (sorted.length - 1))] ?? 0)
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`
}

function total(codes: Readonly<Record<string, number>>): number {
  return Object.values(codes).reduce((sum, count) => sum + count, 0)
}
