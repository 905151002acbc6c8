import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { Agent } from 'undici'
import type { Config } from '../config.ts'
import { parseCredits } from '../kernel/credits.ts'
import { verify } from '../ledger/verify-pg.ts'
import { examples, Failure, integer, newCommand, note, type Ports, print } from './command.ts'
import { readDatabaseConfig, shown, withDatabase } from './database.ts'
import { type CostOf, costUnder, creditsNeeded, microOf } from './replay/expected.ts'
import { fly, type Tally } from './replay/flights.ts'
import { showProgress } from './replay/progress.ts'
import { isClean, reportLines, type Sums } from './replay/report.ts'
import { forEach, type Target } from './replay/service.ts'
import { balanceOf, fundWallets, openWallets, readTerms } from './replay/setup.ts'
import { outputLimit, parseTrace, type Row } from './replay/trace.ts'
import { findingLine, summaryLine } from './verify.ts'

interface Options {
  readonly url: string
  readonly key?: string
  readonly wallets: number
  readonly model: string
  readonly speed: number
  readonly concurrency: number
  readonly credits?: string
  readonly limit?: number
  readonly runId: string
  readonly retryForSeconds: number
  readonly verify: boolean
}

const READS_AT_ONCE = 32

export function command(ports: Ports): Command {
  return newCommand('replay', 'Replay a recorded trace of model calls against a running service, and check every credit of it.')
    .argument('<file...>', 'traces with the columns TIMESTAMP,ContextTokens,GeneratedTokens; several are merged by time')
    .option('--url <url>', 'the service', parseUrl, 'http://127.0.0.1:8080')
    .addOption(new Option('--key <key>', 'an admin API key (default: the one in DATA_DIR/admin-key)').env('FAREBOX_API_KEY'))
    .option('--wallets <n>', 'wallets that the rows are spread over', integer(1, 100_000), 500)
    .option('--model <id>', 'the model that every row is priced as', 'gpt-4o-mini')
    .option('--speed <x>', '1 as recorded, 10 ten times as fast, 0 as fast as it goes', parseSpeed, 0)
    .option('--concurrency <n>', 'rows under way at once, each on its own connection', integer(1, 10_000), 256)
    .option('--credits <amount>', 'credits for each wallet (default: enough for all its rows)', parseAmount)
    .option('--limit <n>', 'only the first n rows', integer(1, 100_000_000))
    .option('--run-id <id>', 'names the run: a second run with the same id resumes the first', parseRunId, newRunId())
    .option('--retry-for-seconds <n>', 'how long a command is tried again while the service is away', integer(0, 86_400), 60)
    .option('--no-verify', 'do not check the database at the end')
    .addHelpText(
      'after',
      `
Each row is a POST /v1/reservations with an upper bound of its tokens, then a
commit with its real ones. The idempotency keys are made of the run id and the
row: neither a retry nor a second run with the same id ever charges twice. At
the end the sum of the answers, the sum worked out from the trace, and what the
wallets really spent must be equal to the micro-credit.
${examples(
  'farebox replay trace.csv',
  'farebox replay conv.csv code.csv --speed 60 --wallets 2000',
  'farebox replay trace.csv --limit 1000 --run-id nightly',
)}`,
    )
    .action((files: string[], options: Options) => replay(readDatabaseConfig(ports.env), files, options))
}

async function replay(config: Config, files: readonly string[], options: Options): Promise<void> {
  const rows = readRows(files, options.limit)
  const agent = new Agent({ connections: READS_AT_ONCE })
  const target: Target = {
    dispatcher: agent,
    origin: options.url,
    authorization: `Bearer ${options.key ?? adminKey(config)}`,
    retryForMs: options.retryForSeconds * 1_000,
  }
  try {
    const terms = await readTerms(target, options.model)
    const costOf = costUnder(terms)
    const wallets = await openWallets(target, options.runId, options.wallets)
    const credits = options.credits ?? creditsNeeded(rows, options.wallets, (row) => costOf(row.inputTokens, outputLimit(row))).toString()
    await fundWallets(target, options.runId, wallets, credits)
    note(
      `Run ${options.runId}: ${rows.length} rows of ${files.length === 1 ? '1 file' : `${files.length} files`}, ${wallets.length} wallets with ${credits} credits each`,
    )

    const startedAt = performance.now()
    const { tally, done } = fly({ ...target, ...options, rows, wallets })
    const stopProgress = showProgress(rows.length, () => tally)
    await done
    stopProgress()
    const seconds = (performance.now() - startedAt) / 1_000

    const sums = await sumUp(target, rows, tally, costOf, wallets, microOf(credits))
    for (const line of reportLines(tally, sums, seconds)) print(line)
    if (!isClean(tally, sums)) process.exitCode = 1
  } finally {
    await agent.close()
  }
  if (options.verify) await verifyAfterwards(config)
}

async function sumUp(
  target: Target,
  rows: readonly Row[],
  tally: Tally,
  costOf: CostOf,
  wallets: readonly string[],
  granted: bigint,
): Promise<Sums> {
  let [charged, expected, spent, stillHeld] = [0n, 0n, 0n, 0n]
  const wrongRows: number[] = []
  rows.forEach((row, index) => {
    const cost = costOf(row.inputTokens, row.outputTokens)
    const answered = tally.charged[index] as bigint
    expected += cost
    if (answered >= 0n) charged += answered
    if (answered !== cost) wrongRows.push(index)
  })
  await forEach(wallets.length, READS_AT_ONCE, async (index) => {
    const { balance, held } = await balanceOf(target, wallets[index] as string)
    spent += granted - balance
    stillHeld += held
  })
  return { charged, expected, spent, stillHeld, wrongRows }
}

async function verifyAfterwards(config: Config): Promise<void> {
  await withDatabase(config, {}, async ({ url }) => {
    const findings = await verify(url)
    for (const finding of findings) if (finding.broken > 0) print(findingLine(finding))
    print(`verify        ${summaryLine(findings)}`)
    if (findings.some((finding) => finding.broken > 0)) process.exitCode = 1
  })
}

function readRows(files: readonly string[], limit: number | undefined): readonly Row[] {
  const rows = files.flatMap((file) => {
    if (!existsSync(file)) throw new Failure(`There is no file ${file}.`)
    return parseTrace(readFileSync(file, 'utf8'), file)
  })
  // Within a file the order is kept, also where the recording did not keep it.
  if (files.length > 1) rows.sort((left, right) => left.at - right.at)
  if (rows.length === 0) throw new Failure('The trace has no rows.')
  return limit === undefined ? rows : rows.slice(0, limit)
}

function adminKey(config: Config): string {
  const file = join(config.DATA_DIR, 'admin-key')
  if (existsSync(file)) return readFileSync(file, 'utf8').trim()
  throw new Failure(`There is no ${shown(file)}. Name a key with --key, or make one with: farebox keys create --name replay --scope admin`)
}

function newRunId(): string {
  return `${Date.now().toString(36)}-${randomBytes(3).toString('hex')}`
}

function parseUrl(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new InvalidArgumentError('must be such as http://127.0.0.1:8080')
  return new URL(text).origin
}

function parseSpeed(text: string): number {
  const speed = /^\d{1,6}(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(speed)) throw new InvalidArgumentError('must be a number such as 0, 0.5 or 60')
  return speed
}

function parseAmount(text: string): string {
  if ((parseCredits(text) ?? 0n) <= 0n) throw new InvalidArgumentError('must be credits such as 250 or 12.5')
  return text
}

function parseRunId(text: string): string {
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(text)) throw new InvalidArgumentError('must be 1 to 64 letters, digits or . _ -')
  return text
}
