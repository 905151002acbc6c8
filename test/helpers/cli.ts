import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

export { freePort } from '../../tools/free-port.ts'

/** The command line and the service as processes of their own, as a person starts them. */

const CLI = join(import.meta.dirname, '../../src/cli.ts')

export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `farebox …` to its end. @param env what it is told beside the machine's own variables */
export async function farebox(args: readonly string[], env: Readonly<Record<string, string>> = {}, cwd?: string): Promise<Ended> {
  const child = spawn(process.execPath, [CLI, ...args], { env: environment(env), stdio: ['ignore', 'pipe', 'pipe'], ...(cwd && { cwd }) })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, stdout, stderr }
}

/** The machine's variables without those of the test run: no coverage, which makes each start slow, and nothing of the application's. */
function environment(env: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, NODE_V8_COVERAGE: _coverage, TEST_DATABASE_URL: _url, TEST_TEMPLATE: _template, ...machine } = process.env
  return { ...machine, ...env }
}

export interface Service {
  readonly url: string
  readonly child: ChildProcess
  /** Everything it has said so far. */
  output(): string
  /** Ends it in order and waits. */
  stop(): Promise<void>
  /** Kills it and waits until it is gone. */
  kill(): Promise<void>
}

/** Starts `farebox start` and returns at once; `ready` waits for it. */
export async function startService(env: Readonly<Record<string, string>>, port: number): Promise<Service> {
  const child = spawn(process.execPath, [CLI, 'start'], {
    env: environment({ LOG_LEVEL: 'warn', PORT: String(port), ...env }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (more) => {
      text += more
    })
  }
  const ended = once(child, 'exit')
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    await ended
  }
  return { url: `http://127.0.0.1:${port}`, child, output: () => text, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') }
}

/** Waits until a service answers, and has said so. @throws with what it said when it ends instead */
export async function ready(service: Service): Promise<void> {
  for (;;) {
    if (service.child.exitCode !== null || service.child.signalCode !== null) throw new Error(`the service ended: ${service.output()}`)
    const answer = await fetch(`${service.url}/readyz`).catch(() => null)
    if (answer?.ok && /Farebox is ready at/.test(service.output())) return
    await sleep(50)
  }
}

/** A directory that goes with the test. */
export function temporary(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'farebox-cli-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }))
  return directory
}

/** A trace of `count` rows, always the same ones, as Azure writes them. */
export function writeTrace(file: string, count: number): string {
  const lines = ['TIMESTAMP,ContextTokens,GeneratedTokens']
  const from = Date.parse('2023-11-16T18:15:46Z')
  let state = 42
  const random = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return Math.floor((state / 2 ** 31) * below)
  }
  for (let row = 0; row < count; row += 1) {
    const time = new Date(from + row * 180 + random(100)).toISOString().replace('T', ' ').replace('Z', '0000')
    lines.push(`${time},${random(5_000)},${random(1_200)}`)
  }
  writeFileSync(file, lines.join('\r\n'))
  return file
}

/** The admin key of a service that has made its first start. */
export function adminKey(dataDir: string): string {
  return readFileSync(join(dataDir, 'admin-key'), 'utf8').trim()
}
