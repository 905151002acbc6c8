import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { createClient } from '../src/auth/create-client.ts'
import { issueKey } from '../src/auth/issue-key.ts'
import { createKeyStore } from '../src/auth/key-store-prisma.ts'
import { grantRights } from '../src/cli/grant-pg.ts'
import { installJobs } from '../src/jobs/install.ts'
import { startEmbedded } from '../src/platform/embedded.ts'
import { migrate } from '../src/platform/migrate.ts'
import { createPrisma } from '../src/platform/prisma.ts'
import { MIGRATIONS_DIR, seedLists } from '../src/prepare.ts'
import { freePort } from '../tools/free-port.ts'
import type { LoadPlan, LoadResult } from './load.ts'

/** What a measurement runs on: a database of its own, the services as processes of their own, wallets with credits. */

const START_MS_MAX = 30_000
const SEED_CONNECTIONS = 20
const GRANT = '1000000000'
/** The settings of `npm start`, but for room for pgbench's 64 clients. */
const SETTINGS = { max_connections: '120' }
const log = { info() {}, warn: console.error }

export interface Database {
  readonly url: string
  /** As the role that the service runs as. */
  readonly serviceUrl: string
  readonly description: string
  /** The server's first process, where it is one of ours. */
  readonly pid: number | null
  stop(): Promise<void>
}

/**
 * A new database on the server of BENCH_DATABASE_URL, or on an embedded one that does everything a production server would do.
 * @param settings of the embedded server beside the usual ones; the other one must have them
 */
export async function openDatabase(settings: Readonly<Record<string, string>> = {}): Promise<Database> {
  const given = process.env.BENCH_DATABASE_URL
  const database = given ? await createOn(given) : await embedded(settings)
  try {
    const serviceUrl = await fill(database.url)
    const described = await ask(
      database.url,
      `select current_setting('server_version') as v, current_setting('fsync') as fsync,
      current_setting('synchronous_commit') as sync, current_setting('shared_buffers') as buffers`,
    )
    const { v, fsync, sync, buffers } = described[0] as Record<string, string>
    const description = `PostgreSQL ${v}${given ? '' : ', embedded'}: fsync ${fsync}, synchronous_commit ${sync}, shared_buffers ${buffers}`
    return {
      ...database,
      serviceUrl,
      description,
      async stop() {
        await database.stop()
        // Where the server stays, so would the role.
        if (given) await ask(given, `drop role ${new URL(serviceUrl).username}`)
      },
    }
  } catch (error) {
    await database.stop()
    throw error
  }
}

async function embedded(settings: Readonly<Record<string, string>>): Promise<Omit<Database, 'serviceUrl' | 'description'>> {
  const dataDir = await mkdtemp(join(tmpdir(), 'farebox-bench-'))
  // As root the server runs as another user, who must be able to pass.
  await chmod(dataDir, 0o711)
  const clear = (directory: string) => rm(directory, { recursive: true, force: true, maxRetries: 3 })
  try {
    const server = await startEmbedded({ dataDir, fsync: true, settings: { ...SETTINGS, ...settings }, log })
    return {
      url: server.url,
      pid: Number.parseInt(await readFile(join(server.root, 'pg/postmaster.pid'), 'utf8'), 10),
      async stop() {
        await server.stop()
        await clear(server.root)
        await clear(dataDir)
      },
    }
  } catch (error) {
    await clear(dataDir)
    throw error
  }
}

/** A new database, filled like the one of `openDatabase`, beside others on a server. */
export async function addDatabase(server: string): Promise<Pick<Database, 'url' | 'serviceUrl' | 'stop'>> {
  const { url, stop } = await createOn(server)
  return { url, serviceUrl: await fill(url), stop }
}

/** Tables, prices and the role of the service. @returns the database as that role */
async function fill(url: string): Promise<string> {
  await migrate(url, { dir: MIGRATIONS_DIR, log })
  await installJobs(url)
  const role = `${new URL(url).pathname.slice(1)}_service`
  await ask(url, `create role ${role} login password '${role}'`)
  await grantRights(url, role)
  await seedLists(url)
  const asService = new URL(url)
  asService.username = asService.password = role
  return asService.href
}

async function createOn(server: string): Promise<Omit<Database, 'serviceUrl' | 'description'>> {
  const name = `farebox_bench_${process.pid}_${randomBytes(3).toString('hex')}`
  await ask(server, `create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return {
    url: url.href,
    pid: null,
    async stop() {
      await ask(server, `drop database if exists ${name} with (force)`)
    },
  }
}

/** One statement on a connection of its own. */
export async function ask(url: string, text: string, values: readonly unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await client.query(text, [...values])
    return rows as Record<string, unknown>[]
  } finally {
    await client.end()
  }
}

export interface BenchClient {
  readonly id: string
  readonly key: string
  readonly authorization: string
}

/** A product backend with the rights that it needs, and no more. */
export async function addClient(url: string): Promise<BenchClient> {
  const prisma = createPrisma(url)
  try {
    const store = createKeyStore(prisma)
    const change = { speaker: { clientId: null, actor: 'system:bench', requestId: 'bench' }, reason: 'Benchmark', at: Date.now() }
    const client = await createClient(store, 'bench', change)
    const scopes = ['wallets:read', 'wallets:write', 'usage:write', 'grants:write'] as const
    const asked = { clientId: client.id, name: 'bench', scopes, expiresAt: null }
    const { key } = await issueKey(store, asked, change)
    return { id: client.id, key, authorization: `Bearer ${key}` }
  } finally {
    await prisma.$disconnect()
  }
}

/** Runs the load generator in a process of its own. @throws when any answer was not a success */
export async function load(plan: LoadPlan): Promise<LoadResult> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'load.ts'), JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.setEncoding('utf8')
  child.stdout.on('data', (data: string) => {
    text += data
  })
  const [status] = await once(child, 'close')
  if (status !== 0) throw new Error(`the load generator ended with status ${status}`)
  const result = JSON.parse(text) as LoadResult
  if (result.errors > 0) throw new Error(`${plan.path}: ${result.errors} answers were no success, such as\n${result.firstError}`)
  return result
}

/** Bytes of a process that are in memory. */
export function memoryOf(pid: number): number {
  const { stdout } = spawnSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })
  if (stdout?.trim()) return Number(stdout) * 1_024
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1_024
}

export interface Service {
  readonly port: number
  readonly pid: number
  stop(): Promise<void>
}

/** Starts a service as production would, and waits until it is ready. @param command the script and its arguments */
export async function startService(
  command: readonly string[],
  databaseUrl: string,
  extra: Record<string, string> = {},
  port?: number,
): Promise<Service> {
  port ??= await freePort()
  const env: NodeJS.ProcessEnv = {
    PATH: process.env.PATH,
    NODE_ENV: 'production',
    LOG_LEVEL: 'warn',
    JWT_SECRET: randomBytes(32).toString('hex'),
    DATABASE_URL: databaseUrl,
    PORT: String(port),
    ...extra,
  }
  const child = spawn(process.execPath, [...nodeOptions(), ...command], { env, stdio: ['ignore', 'inherit', 'inherit'] })
  const stop = () => end(child)
  try {
    await ready(child, port)
  } catch (error) {
    await stop()
    throw error
  }
  return { port, pid: child.pid as number, stop }
}

/** Such as `--cpu-prof`, to look into a service while it is measured. */
function nodeOptions(): string[] {
  return (process.env.BENCH_NODE_OPTIONS ?? '').split(' ').filter((option) => option !== '')
}

async function ready(child: ChildProcess, port: number): Promise<void> {
  const until = performance.now() + START_MS_MAX
  while (performance.now() < until) {
    if (child.exitCode !== null) throw new Error(`the service ended with status ${child.exitCode}`)
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null)
    if (answer?.ok) return
    await sleep(50)
  }
  throw new Error('the service does not become ready')
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
  await exited
  clearTimeout(timer)
}

/** Opens wallets over HTTP and gives each one grant that no measurement can use up. */
export async function openWallets(service: Service, client: BenchClient, count: number, prefix: string): Promise<string[]> {
  const post = async (path: string, body: object): Promise<Record<string, unknown>> => {
    const headers = {
      authorization: client.authorization,
      'content-type': 'application/json',
      'idempotency-key': randomBytes(12).toString('hex'),
    }
    const answer = await fetch(`http://127.0.0.1:${service.port}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    const json = (await answer.json()) as Record<string, unknown>
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${JSON.stringify(json)}`)
    return json
  }
  const ids: string[] = []
  let next = 0
  const work = async () => {
    for (let n = next++; n < count; n = next++) {
      const wallet = await post('/v1/wallets', { owner: `user:${prefix}${n}` })
      ids[n] = wallet.id as string
      await post('/v1/grants', { wallet: wallet.id, kind: 'purchase', amount: GRANT })
    }
  }
  await Promise.all(Array.from({ length: SEED_CONNECTIONS }, work))
  return ids
}
