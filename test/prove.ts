/**
 * npm run prove [-- --short] [parts or rows]
 *
 * Runs the long forms of the tests, one after the other, and writes what they said into docs/proof.md. Ends with 0 only when every row
 * was run, printed its figures and did not fail.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Client } from 'pg'
import { interruptible } from '../tools/interruptible.ts'
import { machine, render } from './prove/report.ts'
import { PARTS, ROWS, type Row } from './prove/rows.ts'
import { type Result, runRow } from './prove/run-row.ts'
import { buildTap, ROOT, testEnvironment, withTestServer } from './server.ts'

const DOCUMENT = join(ROOT, 'docs/proof.md')

const { values, positionals } = parseArgs({ options: { short: { type: 'boolean', default: false } }, allowPositionals: true })
const unknown = positionals.filter((name) => !PARTS.some((part) => part === name) && !ROWS.some((row) => row.name === name))
const asked = ROWS.filter(({ part, name }) => positionals.length === 0 || positionals.includes(part) || positionals.includes(name))

if (unknown.length > 0) {
  console.error(
    `There is no part or row ${unknown.join(', ')}. Parts: ${PARTS.join(', ')}. Rows: ${ROWS.map(({ name }) => name).join(', ')}.`,
  )
  process.exitCode = 2
} else {
  process.exitCode = await interruptible(async (signal) => {
    const built = buildTap()
    return built === 0 ? withTestServer((variables) => prove(asked, variables, signal)) : built
  })
}

async function prove(
  rows: readonly Row[],
  variables: Readonly<Record<'TEST_DATABASE_URL' | 'TEST_TEMPLATE', string>>,
  signal: AbortSignal,
) {
  const postgres = await versionOf(variables.TEST_DATABASE_URL)
  const results: Result[] = []
  for (const row of rows) {
    if (signal.aborted) break
    console.log(`\n=== ${row.name} (${row.of}): ${row.shows}`)
    const environment = testEnvironment(row.ownServer ? {} : variables)
    const result = await runRow(row, { root: ROOT, isShort: values.short, environment, signal, say: (line) => console.log(line) })
    if (signal.aborted) break
    results.push(result)
    console.log([`=== ${row.name}: ${result.outcome} in ${result.seconds.toFixed(0)} s`, ...result.reasons].join('\n    '))
    // After each row, so that an interrupted run loses nothing.
    const before = existsSync(DOCUMENT) ? readFileSync(DOCUMENT, 'utf8') : ''
    writeFileSync(DOCUMENT, render(before, [result], { machine: machine(postgres), date: new Date().toISOString().slice(0, 10) }))
  }
  const shown = results.filter(({ outcome }) => outcome === 'ok').length
  console.log(`\n${shown} of ${rows.length} rows shown`)
  for (const { row, outcome } of results) if (outcome !== 'ok') console.log(`${outcome}: ${row.name}`)
  return shown === rows.length ? 0 : 1
}

async function versionOf(url: string): Promise<string> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await client.query<{ server_version: string }>('show server_version')
    return rows[0]?.server_version.split(' ')[0] ?? 'unknown'
  } finally {
    await client.end()
  }
}
