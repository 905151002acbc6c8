/**
 * npm run bench [-- --json] [--rounds N] [--seconds N] [--only name,name]
 *
 * Measures the service against what it is made of and against the usual way, all in one run on one machine: see bench/README.md.
 * Exits with an error when something answered wrongly, never because it was slow.
 */
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { freePort } from '../tools/free-port.ts'
import { interruptible } from '../tools/interruptible.ts'
import { coreTicks } from './cpu.ts'
import { addClient, type BenchClient, load, memoryOf, openDatabase, openWallets, type Service, startService } from './environment.ts'
import type { LoadPlan } from './load.ts'
import { type Pgbench, preparePgbench } from './pgbench.ts'
import { type Measured, median, type Report, render, targets } from './report.ts'

const WALLETS = 500
const CONNECTIONS = 256
const BATCH_SIZE = 500
const BATCH_CONNECTIONS = 4
/** The benchmark that Cycles publishes for its server (bench/README.md): so many clients reserve on one shared budget. */
const CYCLES = { clients: 50, perSecond: 998.8, p99Ms: 113.8 }
const WARMUP_SECONDS = 2
const SMOKE_WARMUP_SECONDS = 1
const PGBENCH_TRIAL_SECONDS = 4

const here = import.meta.dirname
const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    only: { type: 'string' },
  },
})
const rounds = Number(options.rounds)
const seconds = Number(options.seconds)
const only = options.only?.split(',')

process.exitCode = await interruptible(async (signal) => {
  const database = await openDatabase()
  const opened: { stop(): Promise<void> }[] = [database]
  try {
    const client = await addClient(database.url)
    const service = await startService([join(here, '../src/main.ts')], database.serviceUrl)
    opened.push(service)
    const idleBytes = memoryOf(service.pid)
    const barePort = await freePort()
    const bench = await startService([join(here, 'server.ts')], database.serviceUrl, { BARE_PORT: String(barePort) })
    opened.push(bench)
    const spread = await openWallets(service, client, WALLETS, 'spread')
    const hot = await openWallets(service, client, 1, 'hot')
    const pgbench = await preparePgbench(database.url, client.id, WALLETS)
    if (pgbench) opened.push({ stop: pgbench.close })

    const variants = variantsOf({ databasePid: database.pid, service, bench, barePort, client, spread, hot, pgbench }).filter(
      ({ name }) => !only || only.includes(name),
    )
    const measured: Measured[] = variants.map(({ name, unit, what }) => ({
      name,
      unit,
      what,
      perSecond: [],
      p50Ms: [],
      p99Ms: [],
      loadCpu: [],
      serviceMicros: [],
      databaseMicros: [],
    }))
    const notes: string[] = []
    for (const variant of variants) await variant.prepare?.(notes)
    const ticksBefore = coreTicks()
    for (let round = 0; round < rounds; round += 1) {
      for (const [index, variant] of variants.entries()) {
        signal.throwIfAborted()
        const result = await variant.run(round)
        const target = measured[index] as Measured
        target.perSecond.push(result.perSecond)
        if (result.p50Ms !== undefined) target.p50Ms.push(result.p50Ms)
        if (result.p99Ms !== undefined) target.p99Ms.push(result.p99Ms)
        if (result.cpu !== undefined) target.loadCpu.push(result.cpu)
        const [serviceMicros, databaseMicros] = result.watched ?? []
        if (serviceMicros) target.serviceMicros.push(serviceMicros)
        if (databaseMicros) target.databaseMicros.push(databaseMicros)
        if (!options.json)
          process.stderr.write(`round ${round + 1}/${rounds}  ${variant.name.padEnd(16)} ${Math.round(result.perSecond)}/s\n`)
      }
    }
    const crowd = measured.find(({ name }) => name === 'hot-50')
    if (crowd) {
      const times = (median(crowd.perSecond) / CYCLES.perSecond).toFixed(1)
      notes.push(
        `hot-50 is ${times} times the ${CYCLES.perSecond} reserves/s that Cycles publishes (wanted: 5), with a p99 of ${median(crowd.p99Ms).toFixed(1)} ms where theirs is ${CYCLES.p99Ms} ms (wanted: below 40).`,
      )
    }
    const report: Report = {
      at: new Date().toISOString(),
      machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${process.arch}, Node ${process.version}`,
      database: database.description,
      method: `${rounds} interleaved rounds, ${WARMUP_SECONDS} s warm-up and ${seconds} s measured each; medians; ${CONNECTIONS} connections, ${WALLETS} wallets`,
      cores: coresBetween(ticksBefore, coreTicks()),
      measured,
      memory: { idleMiB: toMiB(idleBytes), afterMiB: toMiB(memoryOf(service.pid)) },
      targets: targets(measured),
      notes,
    }
    console.log(options.json ? JSON.stringify(report, null, 2) : render(report))
    return 0
  } finally {
    for (const thing of opened.toReversed()) await thing.stop()
  }
})

interface Variant {
  readonly name: string
  readonly what: string
  readonly unit: string
  prepare?(notes: string[]): Promise<void>
  run(round: number): Promise<{ perSecond: number; p50Ms?: number; p99Ms?: number; cpu?: number; watched?: readonly (number | null)[] }>
}

function variantsOf(parts: {
  readonly databasePid: number | null
  readonly service: Service
  readonly bench: Service
  readonly barePort: number
  readonly client: BenchClient
  readonly spread: readonly string[]
  readonly hot: readonly string[]
  readonly pgbench: Pgbench | null
}): Variant[] {
  const { service, bench, barePort, spread, hot, pgbench } = parts
  const http = (name: string, what: string, server: Service, plan: Partial<LoadPlan>, unit = 'requests', perOperation = 1): Variant => ({
    name,
    what,
    unit,
    async run(round) {
      const result = await load({
        port: server.port,
        watch: parts.databasePid === null ? [server.pid] : [server.pid, parts.databasePid],
        authorization: parts.client.authorization,
        connections: CONNECTIONS,
        warmupSeconds: WARMUP_SECONDS,
        seconds,
        kind: 'single',
        path: '/v1/reservations',
        size: 1,
        wallets: spread,
        keyPrefix: `${name}-${round}-`,
        ...plan,
      })
      return { ...result, perSecond: result.operations / perOperation / result.seconds }
    },
  })
  const variants = [
    http('noop', 'the same route without the lane', bench, { path: '/bench/noop' }),
    http('reserve', 'reserve, 500 wallets', service, {}),
    http('hot', 'reserve, one wallet', service, { wallets: hot }),
    http('owner', 'reserve, 500 wallets named by owner', service, { wallets: spread.map((_, n) => `user:spread${n}`) }),
    http('pair', 'reserve, then commit', service, { kind: 'pair' }, 'pairs', 2),
    http(
      'batch',
      `POST /v1/batch of ${BATCH_SIZE} reserves, ${BATCH_CONNECTIONS} connections`,
      service,
      { kind: 'batch', path: '/v1/batch', size: BATCH_SIZE, connections: BATCH_CONNECTIONS },
      'commands',
    ),
    http('naive', 'one Prisma transaction a request, 500 wallets', bench, { path: '/bench/naive' }),
    http('naive-hot', 'one Prisma transaction a request, one wallet', bench, { path: '/bench/naive', wallets: hot }),
    http('hot-50', `reserve, one wallet, ${CYCLES.clients} clients`, service, { wallets: hot, connections: CYCLES.clients }),
    http(
      'pair-50',
      `reserve, then commit, one wallet, ${CYCLES.clients} clients`,
      service,
      { kind: 'pair', wallets: hot, connections: CYCLES.clients },
      'pairs',
      2,
    ),
    http('naive-hot-50', `one Prisma transaction a request, one wallet, ${CYCLES.clients} clients`, bench, {
      path: '/bench/naive',
      wallets: hot,
      connections: CYCLES.clients,
    }),
    http('bare', 'hooks, authentication, parsing, validation; a fixed answer', bench, { port: barePort, path: '/bench/bare' }),
    http('idle', 'reserve, one connection on an idle service', service, { connections: 1, warmupSeconds: SMOKE_WARMUP_SECONDS }),
  ]
  if (!pgbench) return variants
  return [
    ...variants,
    pgbenchVariant(pgbench, 'bench_reserve', 'pgbench', 'the same rows by one PL/pgSQL call, no HTTP'),
    pgbenchVariant(pgbench, 'bench_one_row', 'pgbench-row', 'one row by one PL/pgSQL call, no HTTP'),
  ]
}

function pgbenchVariant(pgbench: Pgbench, call: 'bench_reserve' | 'bench_one_row', name: string, what: string): Variant {
  let clients = 0
  return {
    name,
    what,
    unit: 'calls',
    async prepare(notes) {
      const best = await pgbench.best(call, PGBENCH_TRIAL_SECONDS)
      clients = best.clients
      notes.push(
        `${name}: ${clients} clients were best of ${Object.entries(best.tried)
          .map(([count, rate]) => `${count} → ${rate}/s`)
          .join(', ')}`,
      )
    },
    run: async () => ({ perSecond: await pgbench.run(call, clients, seconds) }),
  }
}

function coresBetween(before: ReturnType<typeof coreTicks>, after: ReturnType<typeof coreTicks>): Report['cores'] {
  if (!before || !after) return null
  const all = after.all - before.all
  return { idle: (after.idle - before.idle) / all, stolen: (after.stolen - before.stolen) / all }
}

function toMiB(bytes: number): number {
  return Math.round(bytes / 2 ** 20)
}
