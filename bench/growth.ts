/**
 * node bench/growth.ts [--sizes 0,1000000,10000000] [--rounds 5] [--seconds 4]
 *
 * Whether an operation costs more when there is more history: one server, a database for each size with the same 500 wallets, a service
 * on each of them, and the load on one after the other within a round, so that what the machine does besides falls on all of them.
 */
import { availableParallelism, cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { interruptible } from '../tools/interruptible.ts'
import {
  addClient,
  addDatabase,
  ask,
  type BenchClient,
  load,
  openDatabase,
  openWallets,
  type Service,
  startService,
} from './environment.ts'
import { writeHistory } from './history.ts'
import type { LoadPlan } from './load.ts'
import { median, table } from './report.ts'

const WALLETS = 500
const CONNECTIONS = 64
const WARMUP_SECONDS = 2
const TABLES = ['wallets', 'grants', 'reservations', 'charges', 'transactions', 'idempotency_keys']

const { values: options } = parseArgs({
  options: {
    sizes: { type: 'string', default: '0,1000000,10000000' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
  },
})
const sizes = options.sizes.split(',').map(Number)
const rounds = Number(options.rounds)
const seconds = Number(options.seconds)

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

interface Grown {
  readonly size: number
  readonly url: string
  readonly service: Service
  readonly client: BenchClient
  readonly wallets: readonly string[]
}

const LOADS: readonly {
  readonly name: string
  readonly plan: (wallets: readonly string[]) => Partial<LoadPlan>
  readonly perOperation: number
}[] = [
  { name: 'reserve', plan: () => ({}), perOperation: 1 },
  { name: 'pair', plan: () => ({ kind: 'pair' }), perOperation: 2 },
  { name: 'hot', plan: (wallets) => ({ wallets: wallets.slice(0, 1) }), perOperation: 1 },
]

process.exitCode = await interruptible(async (signal) => {
  const opened: { stop(): Promise<unknown> }[] = []
  try {
    const server = await openDatabase()
    opened.push(server)
    say(
      `${new Date().toISOString()} · ${availableParallelism()} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
    )
    say(`${server.description}; ${rounds} interleaved rounds, ${seconds} s each; ${CONNECTIONS} connections, ${WALLETS} wallets\n`)
    const grown: Grown[] = []
    for (const size of sizes) {
      signal.throwIfAborted()
      const database = await addDatabase(server.url)
      opened.push(database)
      const client = await addClient(database.url)
      const main = join(import.meta.dirname, '../src/main.ts')
      const first = await startService([main], database.serviceUrl)
      const wallets = await openWallets(first, client, WALLETS, 'grown').finally(first.stop)
      if (size > 0) await writeHistory(database.url, size, WALLETS, say)
      const service = await startService([main], database.serviceUrl)
      opened.push(service)
      grown.push({ size, url: database.url, service, client, wallets })
    }
    const rates = new Map<string, number[]>()
    for (let round = 0; round < rounds; round += 1) {
      for (const { name, plan, perOperation } of LOADS) {
        // There and back, so that nobody is always the first.
        for (const { size, service, client, wallets } of round % 2 === 0 ? grown : grown.toReversed()) {
          signal.throwIfAborted()
          const result = await load({
            port: service.port,
            watch: [],
            authorization: client.authorization,
            connections: CONNECTIONS,
            warmupSeconds: WARMUP_SECONDS,
            seconds,
            kind: 'single',
            path: '/v1/reservations',
            size: 1,
            wallets,
            keyPrefix: `${name}-${round}-`,
            ...plan(wallets),
          })
          const key = `${name} ${size}`
          rates.set(key, [...(rates.get(key) ?? []), result.operations / perOperation / result.seconds])
        }
      }
    }
    const [least = 0] = sizes
    const rows = LOADS.flatMap(({ name }) =>
      sizes.map((size) => {
        const rate = rates.get(`${name} ${size}`) as number[]
        const base = rates.get(`${name} ${least}`) as number[]
        return [
          name,
          String(size),
          String(Math.round(median(rate))),
          median(rate.map((value, round) => value / (base[round] as number))).toFixed(2),
        ]
      }),
    )
    for (const line of table(['load', 'transactions before', 'per second', `of the rate at ${least}`], rows)) say(line)
    say('')
    const measured = await Promise.all(grown.map(async ({ size, url }) => ({ size, of: await sizesOf(url) })))
    const sizeRows = TABLES.map((name) => [name, ...measured.map(({ of }) => of.get(name) ?? '')])
    for (const line of table(['rows; table, indexes in MiB', ...sizes.map(String)], sizeRows)) say(line)
    return 0
  } finally {
    for (const thing of opened.toReversed()) await thing.stop()
  }
})

async function sizesOf(url: string): Promise<Map<string, string>> {
  const rows = await ask(
    url,
    `select relname as name, reltuples::bigint as rows, pg_table_size(oid) >> 20 as heap, pg_indexes_size(oid) >> 20 as indexes
     from pg_class where relname = any($1) and relkind = 'r'`,
    [TABLES],
  )
  return new Map(rows.map(({ name, rows: count, heap, indexes }) => [String(name), `${count}; ${heap}, ${indexes}`]))
}
