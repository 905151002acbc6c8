/**
 * npm test [-- files or tap options]
 *
 * Gives the tests a real PostgreSQL and a migrated template database, runs tap, and takes everything down again. The server is
 * a throw-away one, or the one that TEST_DATABASE_URL names. The tests see of our environment what the machine needs and nothing
 * of the application's, so that a variable which happens to be set cannot change a result.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { interruptible } from '../tools/interruptible.ts'
import { failures } from './failures.ts'
import { buildTap, ROOT, TAP, testEnvironment, withTestServer } from './server.ts'

/** How long interrupted tests may take to tidy up. */
const INTERRUPTED_MS_MAX = 10_000

const RESULTS = join(ROOT, '.tap/test-results')

process.exitCode = await interruptible(async (signal) => {
  const built = buildTap()
  if (built !== 0) return built
  const since = Date.now()
  const status = await withTestServer((variables) => runTap(variables, signal))
  if (status !== 0 && existsSync(RESULTS)) for (const failure of failures(RESULTS, since)) console.error(`\nFailed: ${failure}`)
  return status
})

function runTap(variables: Readonly<Record<string, string>>, signal: AbortSignal): Promise<number> {
  const args = process.argv.slice(2)
  // Some of the tests cannot cover all of the source, and are no failure for it.
  if (args.some((argument) => !argument.startsWith('-'))) args.push('--allow-incomplete-coverage')
  // A group of its own, since tap itself waits for its tests when it gets a signal: it has to reach all of them.
  const grouped = process.platform !== 'win32'
  const child = spawn(process.execPath, [TAP, ...args], { cwd: ROOT, env: testEnvironment(variables), stdio: 'inherit', detached: grouped })
  const end = (reason: NodeJS.Signals) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    if (grouped) process.kill(-child.pid, reason)
    else child.kill(reason)
  }
  const interrupt = () => {
    end('SIGINT')
    setTimeout(() => end('SIGKILL'), INTERRUPTED_MS_MAX).unref()
  }
  if (signal.aborted) interrupt()
  else signal.addEventListener('abort', interrupt)
  return new Promise((done, failed) => {
    child.once('error', failed)
    child.once('exit', (status) => done(status ?? 1))
  })
}
