import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { dataOf } from '../../src/platform/embedded/cluster.ts'
import { childEnvironment } from '../../src/platform/embedded/environment.ts'
import { isReady } from '../../src/platform/embedded/pid-file.ts'
import { settle } from '../../src/platform/embedded/place.ts'
import { freePort } from './cli.ts'

/** Clusters of the PostgreSQL that is installed with its tools, to be backed up and restored as docs/backup.md says. */

const SYSTEM = '/usr/lib/postgresql'
const NEEDED = ['initdb', 'postgres', 'pg_basebackup', 'pg_dump', 'pg_restore', 'psql'] as const
const START_MS_MAX = 60_000
const SETTINGS = { listen_addresses: '127.0.0.1', unix_socket_directories: '', max_connections: '100', shared_buffers: '64MB' }

/** Where the newest version is that has all tools. */
const tools = (existsSync(SYSTEM) ? readdirSync(SYSTEM) : [])
  .sort((a, b) => Number(b) - Number(a))
  .map((version) => join(SYSTEM, version, 'bin'))
  .find((directory) => NEEDED.every((name) => existsSync(join(directory, name))))

/** Why there is nothing to back up with, or false. */
export function noBackupTools(): string | false {
  return tools ? false : 'there is no PostgreSQL with pg_basebackup and pg_dump on this machine'
}

export interface PlainCluster {
  readonly url: string
  /** A new directory that the server's account may write, which goes with the test. */
  directory(name: string): string
  /** Runs one of the server's tools as the server's account. @throws with what it says when it fails */
  run(tool: (typeof NEEDED)[number], args: readonly string[]): Promise<void>
  stop(): Promise<void>
}

/**
 * Starts a cluster in a directory of its own.
 * @param fill puts a base backup into the data directory; a new cluster is made where there is none
 */
export async function startCluster(t: Test, fill?: (data: string) => Promise<void>): Promise<PlainCluster> {
  const root = mkdtempSync(join(tmpdir(), 'farebox-backup-'))
  // As root the server runs as another user, who must be able to pass.
  chmodSync(root, 0o711)
  t.teardown(() => rmSync(root, { recursive: true, force: true, maxRetries: 3 }))
  const place = settle(root, { info() {}, warn: console.error })
  const { account } = place
  const own = (path: string) => {
    mkdirSync(path, { mode: 0o700 })
    if (account) chownSync(path, account.uid, account.gid)
    return path
  }
  const data = own(dataOf(place))
  const port = await freePort()
  const spawned = (tool: (typeof NEEDED)[number], args: readonly string[]) =>
    spawn(join(tools as string, tool), args, { ...account, cwd: data, env: childEnvironment(), stdio: ['ignore', 'ignore', 'pipe'] })
  const run = async (tool: (typeof NEEDED)[number], args: readonly string[]) => {
    const child = spawned(tool, args)
    let said = ''
    child.stderr?.setEncoding('utf8').on('data', (text) => {
      said += text
    })
    const [status] = (await once(child, 'close')) as [number | null]
    if (status !== 0) throw new Error(`${tool} ended with ${status}: ${said}`)
  }
  if (fill) await fill(data)
  else await run('initdb', ['-D', data, '-U', 'farebox', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync'])

  const settings = Object.entries({ ...SETTINGS, port: String(port) }).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const child: ChildProcess = spawned('postgres', ['-D', data, ...settings])
  let log = ''
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    log = `${log}${text}`.slice(-4_000)
  })
  const ended = once(child, 'exit')
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGINT')
    await ended
  }
  t.teardown(stop)
  const until = performance.now() + START_MS_MAX
  while (!isReady(place, child.pid)) {
    if (child.exitCode !== null || performance.now() > until) throw new Error(`PostgreSQL does not start: ${log}`)
    await sleep(20)
  }
  const url = `postgresql://farebox@127.0.0.1:${port}/farebox`
  if (!fill) await run('psql', ['-q', '-c', 'create database farebox', `postgresql://farebox@127.0.0.1:${port}/postgres`])
  return { url, run, stop, directory: (name) => own(join(place.root, name)) }
}

/** Puts a base backup in the place of an empty data directory, as its owner. */
export function copyInto(backup: string, data: string): void {
  const { status, stderr } = spawnSync('cp', ['-a', `${backup}/.`, data], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}

/** Tells a base backup to come up as a life of its own: recovered to its end, on a new timeline. As docs/backup.md says. */
export function asRestored(data: string): void {
  appendFileSync(join(data, 'postgresql.auto.conf'), `restore_command = 'false'\n`)
  writeFileSync(join(data, 'recovery.signal'), '')
  spawnSync('chown', ['--reference', data, join(data, 'recovery.signal')])
}
