import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Row } from './rows.ts'

/** What became of a row. A row that was skipped, or that printed no figure, has shown nothing. */
export interface Result {
  readonly row: Row
  readonly outcome: 'ok' | 'failed' | 'skipped'
  /** The command that runs it by hand. */
  readonly command: string
  /** What it printed under its name. */
  readonly figures: readonly string[]
  /** What went wrong or is missing. */
  readonly reasons: readonly string[]
  readonly seconds: number
}

const REASONS_MAX = 5
/** For tests that do not say themselves how long they may take: a busy machine is no failure. */
const SECONDS_MAX = 600

/** Runs a row's test to its end. @param say is told what happens, line by line */
export async function runRow(
  row: Row,
  options: {
    readonly root: string
    readonly isShort: boolean
    readonly environment: NodeJS.ProcessEnv
    readonly signal: AbortSignal
    readonly say: (line: string) => void
  },
): Promise<Result> {
  const flags = options.isShort ? row.short : row.long
  const isShorter = flags.join() !== row.long.join()
  const started = performance.now()
  // A group of its own: with a test, the services that it started have to go as well.
  const child = spawn(process.execPath, [join(options.root, row.file), ...flags], {
    cwd: options.root,
    env: { ...options.environment, TAP_TIMEOUT: String(SECONDS_MAX) },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const stop = () => child.pid !== undefined && child.exitCode === null && process.kill(-child.pid, 'SIGTERM')
  options.signal.addEventListener('abort', stop)
  const figures: string[] = []
  const failures: string[] = []
  const skips: string[] = []
  const read = (line: string) => {
    const comment = /^ *# (.*)$/.exec(line)?.[1]
    if (comment?.startsWith(`${row.name}: `)) figures.push(comment.slice(row.name.length + 2))
    const skip = /^ *(?:not )?ok \d+ - (.*?) # SKIP ?(.*)$/i.exec(line)
    const failure = /^ *not ok \d+ - (.*?)(?: \{| # time|$)/.exec(line)
    if (skip) skips.push(`${skip[1]}: ${skip[2] || 'no reason given'}`)
    else if (failure) failures.push(failure[1] as string)
    if (comment !== undefined || skip || failure) options.say(line.trim())
  }
  createInterface({ input: child.stdout }).on('line', read)
  createInterface({ input: child.stderr }).on('line', (line) => options.say(line))
  const [status, by] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.once('error', (error) => {
      failures.push(error.message)
      resolve([1, null])
    })
    child.once('close', (code, signal) => resolve([code, signal]))
  })
  options.signal.removeEventListener('abort', stop)
  const reasons = [...failures, ...(by === null ? [] : [`ended by ${by}`]), ...skips]
  const failed = status !== 0 || failures.length > 0
  if (failed && reasons.length === 0) reasons.push(`ended with ${status}`)
  if (!failed && skips.length === 0 && figures.length === 0) reasons.push(`it printed no line that begins with "${row.name}: "`)
  return {
    row,
    outcome: failed ? 'failed' : skips.length > 0 ? 'skipped' : figures.length === 0 ? 'failed' : 'ok',
    command: `npm run prove -- ${isShorter ? '--short ' : ''}${row.name}`,
    figures,
    reasons: reasons.slice(0, REASONS_MAX),
    seconds: (performance.now() - started) / 1000,
  }
}
