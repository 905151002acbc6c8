import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import type { Test } from 'tap'
import { prepareBinaries } from '../../src/platform/embedded/binaries.ts'
import { dataOf } from '../../src/platform/embedded/cluster.ts'
import { childEnvironment } from '../../src/platform/embedded/environment.ts'
import { isReady } from '../../src/platform/embedded/pid-file.ts'
import { settle } from '../../src/platform/embedded/place.ts'
import { migrate } from '../../src/platform/migrate.ts'
import { MIGRATIONS_DIR } from '../../src/prepare.ts'
import { freePort } from './cli.ts'

/** A durable PostgreSQL of one's own with page checksums, to be treated badly. Its one database is migrated. */
export interface TestCluster {
  readonly url: string
  /** Such as `postgres (PostgreSQL) 15.20`. */
  readonly version: string
  /** Starts it again, at the same address. */
  start(): Promise<void>
  /** SIGKILLs the postmaster and everything below it, and waits until all of it is gone. */
  killTree(): Promise<void>
  /** Takes aim at one backend that works for the service. @returns what SIGKILLs it; the postmaster then ends all others, and recovers */
  aimAtBackend(): Promise<() => void>
  /** `pg_ctl stop`, and waits. */
  stop(mode: 'fast' | 'immediate'): Promise<void>
  /** Runs one of the server's own tools over the data, or says why it cannot. `pg_checksums` wants the server stopped. */
  tool(
    name: 'pg_checksums' | 'pg_amcheck',
    args: readonly string[],
  ): { readonly missing: string } | { readonly status: number | null; readonly output: string }
}

const SYSTEM = '/usr/lib/postgresql'
const START_MS_MAX = 60_000
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '128MB',
  fsync: 'on',
  full_page_writes: 'on',
  max_wal_size: '1GB',
}
const silent = { info() {}, warn: console.error }

/** Why there can be none, or false. Finding a postmaster's children takes Linux. */
export function noCluster(): string | false {
  return process.platform === 'linux' ? false : 'killing a whole PostgreSQL takes the /proc of Linux'
}

/**
 * Starts a cluster: of the PostgreSQL that is installed with its tools, where there is one, and else of the embedded one, which has none.
 */
export async function createCluster(t: Test): Promise<TestCluster> {
  const directory = mkdtempSync(join(tmpdir(), 'farebox-cluster-'))
  // As root the server runs as another user, who must be able to pass.
  chmodSync(directory, 0o711)
  t.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }))
  const place = settle(directory, silent)
  const data = dataOf(place)
  mkdirSync(data, { mode: 0o700 })
  if (place.account) chownSync(data, place.account.uid, place.account.gid)
  const tools = systemTools()
  const { initdb, postgres, pgCtl } = tools
    ? { initdb: join(tools, 'initdb'), postgres: join(tools, 'postgres'), pgCtl: join(tools, 'pg_ctl') }
    : prepareBinaries(place)
  const run = (command: string, args: readonly string[]) => {
    const ended = spawnSync(command, args, { ...place.account, cwd: data, env: childEnvironment(), encoding: 'utf8' })
    return { status: ended.status, output: `${ended.stdout ?? ''}${ended.stderr ?? ''}${ended.error?.message ?? ''}` }
  }
  const made = run(initdb, ['-D', data, '-k', '-U', 'farebox', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-instructions'])
  if (made.status !== 0) throw new Error(made.output)

  const port = await freePort()
  const options = Object.entries({ ...SETTINGS, port: String(port) }).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const logFile = join(directory, 'postgres.log')
  let child: ChildProcess
  const isRunning = () => child.exitCode === null && child.signalCode === null

  async function start(): Promise<void> {
    const until = performance.now() + START_MS_MAX
    do {
      const log = openSync(logFile, 'a')
      child = spawn(postgres, ['-D', data, ...options], {
        ...place.account,
        cwd: data,
        env: childEnvironment(),
        stdio: ['ignore', log, log],
      })
      closeSync(log)
      while (isRunning() && performance.now() < until) {
        if (isReady(place, child.pid)) return
        await sleep(20)
      }
      // Backends of the one before may still hold its memory.
      await sleep(100)
    } while (performance.now() < until)
    throw new Error(`PostgreSQL does not start: ${readFileSync(logFile, 'utf8').slice(-2_000)}`)
  }

  async function killTree(): Promise<void> {
    if (!isRunning()) return
    const postmaster = child.pid as number
    const gone = once(child, 'exit')
    // Stopped first, so that it makes no more of them.
    process.kill(postmaster, 'SIGSTOP')
    const below = childrenOf(postmaster)
    for (const pid of [postmaster, ...below]) signal(pid, 'SIGKILL')
    await gone
    while (below.some((pid) => signal(pid, 0))) await sleep(5)
  }

  await start()
  t.teardown(killTree)
  const url = `postgresql://farebox@127.0.0.1:${port}/farebox`
  await administer(`postgresql://farebox@127.0.0.1:${port}/postgres`, 'create database farebox')
  await migrate(url, { dir: MIGRATIONS_DIR, log: silent })
  return {
    url,
    version: run(postgres, ['--version']).output.trim(),
    start,
    killTree,
    async aimAtBackend() {
      const [row] = await administer(
        url,
        `select pid from pg_stat_activity where application_name like 'farebox-%' order by (state = 'active') desc, random() limit 1`,
      )
      if (!row) throw new Error('the service has no connection')
      return () => void signal(row.pid, 'SIGKILL')
    },
    async stop(mode) {
      const gone = once(child, 'exit')
      const stopped = spawn(pgCtl, ['-D', data, '-m', mode, '-w', 'stop'], {
        ...place.account,
        cwd: data,
        env: childEnvironment(),
        stdio: 'ignore',
      })
      await Promise.all([gone, once(stopped, 'exit')])
    },
    tool(name, args) {
      if (!tools || !existsSync(join(tools, name))) return { missing: `there is no ${name} on this machine` }
      const target = name === 'pg_checksums' ? ['-D', data] : ['-h', '127.0.0.1', '-p', String(port), '-U', 'farebox', '-d', 'farebox']
      return run(join(tools, name), [...target, ...args])
    },
  }
}

/** The newest PostgreSQL of the system that has its tools, as Debian installs them. */
function systemTools(): string | null {
  const versions = existsSync(SYSTEM) ? readdirSync(SYSTEM).sort((a, b) => Number(b) - Number(a)) : []
  const found = versions.find((version) =>
    ['initdb', 'postgres', 'pg_checksums'].every((name) => existsSync(join(SYSTEM, version, 'bin', name))),
  )
  return found ? join(SYSTEM, found, 'bin') : null
}

/** The processes whose parent is `parent`: PostgreSQL's are all its postmaster's own. */
function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        // After the name, which is in parentheses: state, parent.
        return Number(readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]) === parent
      } catch {
        return false
      }
    })
    .map(Number)
}

/** @returns whether there is such a process that is no zombie */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, name)
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

async function administer(url: string, statement: string): Promise<{ pid: number }[]> {
  const client = new Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(statement)).rows
  } finally {
    await client.end()
  }
}
