/**
 * node bench/soak.ts [--minutes 20] [--share 0.5]
 *
 * A service at half of what it can do, for long: whether its memory, its open files, its latency or the tables' dead rows grow.
 */
import { readdirSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { interruptible } from '../tools/interruptible.ts'
import { addClient, ask, load, memoryOf, openDatabase, openWallets, startService } from './environment.ts'
import type { LoadPlan } from './load.ts'
import { table } from './report.ts'

const WALLETS = 500
const CONNECTIONS = 32
const TRIAL_SECONDS = 8
const SAMPLES = 10
const MIB = 2 ** 20

const { values: options } = parseArgs({
  options: { minutes: { type: 'string', default: '20' }, share: { type: 'string', default: '0.5' } },
})
const secondsEach = (Number(options.minutes) * 60) / SAMPLES

process.exitCode = await interruptible(async (signal) => {
  const database = await openDatabase()
  const opened: { stop(): Promise<unknown> }[] = [database]
  try {
    const client = await addClient(database.url)
    const service = await startService([join(import.meta.dirname, '../src/main.ts')], database.serviceUrl)
    opened.push(service)
    const wallets = await openWallets(service, client, WALLETS, 'soak')
    const plan: LoadPlan = {
      port: service.port,
      watch: [],
      authorization: client.authorization,
      connections: CONNECTIONS,
      warmupSeconds: 2,
      seconds: TRIAL_SECONDS,
      kind: 'pair',
      path: '/v1/reservations',
      size: 1,
      wallets,
      keyPrefix: 'trial-',
    }
    const trial = await load(plan)
    const perSecond = (trial.operations / trial.seconds) * Number(options.share)
    console.log(
      `${new Date().toISOString()} · ${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
    )
    console.log(
      `${database.description}; reserve and commit, ${Math.round(perSecond)}/s of ${Math.round(trial.operations / trial.seconds)}/s\n`,
    )
    const rows: string[][] = []
    const memory: number[] = []
    for (let n = 0; n < SAMPLES; n += 1) {
      signal.throwIfAborted()
      const { operations, seconds, p50Ms, p99Ms } = await load({ ...plan, seconds: secondsEach, perSecond, keyPrefix: `soak-${n}-` })
      const bytes = memoryOf(service.pid)
      memory.push(bytes)
      const [state] = await ask(
        database.url,
        `select sum(n_dead_tup)::bigint as dead, pg_database_size(current_database()) >> 20 as size,
           (select count(*) from pg_stat_activity where datname = current_database()) as connections,
           (select pg_table_size('wallets') >> 10) as wallets from pg_stat_user_tables`,
      )
      const row = [((n + 1) * secondsEach) / 60, operations / seconds, p50Ms, p99Ms, bytes / MIB].map((value) => value.toFixed(1))
      rows.push([...row, String(filesOf(service.pid)), ...['connections', 'dead', 'wallets', 'size'].map((name) => String(state?.[name]))])
      console.error(rows.at(-1)?.join('  '))
    }
    const head = [
      'minute',
      'per second',
      'p50 ms',
      'p99 ms',
      'memory MiB',
      'open files',
      'connections',
      'dead rows',
      'wallets KiB',
      'database MiB',
    ]
    for (const line of table(head, rows)) console.log(line)
    // The first samples are those of a young process, whose code and caches are not there yet.
    const late = memory.slice(SAMPLES >> 1)
    console.log(`\nMemory over the second half: ${slope(late, secondsEach / 3_600).toFixed(1)} MiB/h.`)
    return 0
  } finally {
    for (const thing of opened.toReversed()) await thing.stop()
  }
})

/** Least squares, in MiB an hour. */
function slope(bytes: readonly number[], hoursEach: number): number {
  const middle = (bytes.length - 1) / 2
  const mean = bytes.reduce((sum, value) => sum + value, 0) / bytes.length
  const over = bytes.reduce((sum, value, n) => sum + (n - middle) * (value - mean), 0)
  return over / bytes.reduce((sum, _, n) => sum + (n - middle) ** 2, 0) / hoursEach / MIB
}

/** Sockets and files of a process; NaN where the system does not tell. */
function filesOf(pid: number): number {
  return process.platform === 'linux' ? readdirSync(`/proc/${pid}/fd`).length : Number.NaN
}
