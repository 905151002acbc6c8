import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { ATTACKS } from '../attacks/rows.ts'
import { render } from './report.ts'
import { PARTS, ROWS, type Row } from './rows.ts'
import { type Result, runRow } from './run-row.ts'

/** The runner of the proof: its rows are there, and it cannot be content with a test that showed nothing. */

const ROOT = join(import.meta.dirname, '../..')

/** The source of a test with that of the helpers beside it. */
function sourceOf(file: string): string {
  const source = readFileSync(join(ROOT, file), 'utf8')
  const near = [...source.matchAll(/from '(\.\.?\/[^']+\.ts)'/g)].map((match) => join(ROOT, dirname(file), match[1] as string))
  return [source, ...near.filter((path) => !path.includes('/src/')).map((path) => readFileSync(path, 'utf8'))].join('\n')
}

t.test('every row is a test that is there, takes its flags and prints its figures', async (t) => {
  for (const { name, file, long, short } of ROWS) {
    t.ok(existsSync(join(ROOT, file)), file)
    const source = sourceOf(file)
    for (const flag of [...long, ...short]) {
      const [, option] = /^--([a-z-]+)(?:=|$)/.exec(flag) ?? []
      t.ok(option && new RegExp(`\\b${option}'?: \\{ type:`).test(source), `${name} takes ${flag}`)
    }
    t.ok(source.includes(`\`${name}: `) || source.includes(`'${name}: `), `${name} prints lines of its name`)
  }
  const names = ROWS.map((row) => row.name)
  t.equal(new Set(names).size, names.length, 'no two have one name')
  t.notOk(
    names.some((name) => name !== 'conformance' && name !== 'mutants' && PARTS.some((part) => part === name)),
    'and none that of a part, unless it is all that is told of it',
  )
})

t.test('the parts have a command each', async (t) => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  for (const part of PARTS) t.equal(scripts[`prove:${part}`], `npm run prove -- ${part}`)
})

t.test('docs/proof.md has every row, and is as the runner writes it', async (t) => {
  const document = readFileSync(join(ROOT, 'docs/proof.md'), 'utf8')
  for (const { name } of ROWS) t.ok(document.includes(`\n| ${name} | `), name)
  t.equal(render(document, [], { date: '', machine: '' }), document, '"npm run prove" writes it; nobody else does')
})

t.test('each attack of the proof has a test, or a reason for having none', async (t) => {
  t.same(
    ATTACKS.map(({ rows }) => Number(rows)),
    Array.from({ length: 50 }, (_, i) => i + 1),
  )
  for (const { rows, shownBy, open } of ATTACKS) {
    t.ok(shownBy.length > 0 || open, `attack ${rows}`)
    for (const [file, title] of shownBy) t.ok(readFileSync(join(ROOT, 'test', file), 'utf8').includes(`'${title}'`), `${file}: ${title}`)
  }
})

/** Runs a row whose test prints this and ends with this status. */
function run(t: Test, script: string): Promise<Result> {
  const root = t.testdir({ 'row.mjs': script })
  const row: Row = { name: 'F0', of: 'F0', part: 'faults', shows: 'a test', file: 'row.mjs', long: ['--n=1'], short: ['--n=2'] }
  return runRow(row, { root, isShort: false, environment: process.env, signal: new AbortController().signal, say() {} })
}

const FIGURE = `console.log('    # F0: 5 of 5, argument ' + process.argv[2])`

t.test('a row is shown by a test that ends well and prints figures', async (t) => {
  t.match(await run(t, FIGURE), { outcome: 'ok', figures: ['5 of 5, argument --n=1'], reasons: [], command: 'npm run prove -- F0' })
})

t.test('and by nothing else', async (t) => {
  const ways: Record<string, [script: string, found: object]> = {
    'a status': [`${FIGURE}; process.exitCode = 1`, { outcome: 'failed', reasons: ['ended with 1'] }],
    'a failed test that nobody counted': [
      `${FIGURE}; console.log('    not ok 3 - it holds')`,
      { outcome: 'failed', reasons: ['it holds'] },
    ],
    'a signal': [`${FIGURE}; process.kill(process.pid, 'SIGKILL')`, { outcome: 'failed', reasons: ['ended by SIGKILL'] }],
    'no figure': [`console.log('ok 1 - fine')`, { outcome: 'failed', reasons: [/printed no line that begins with "F0: "/] }],
    'the figure of another row': [`console.log('# F00: 5 of 5')`, { outcome: 'failed' }],
    'a part that was skipped': [
      `${FIGURE}; console.log('ok 1 - clock # SKIP no libfaketime')`,
      { outcome: 'skipped', reasons: ['clock: no libfaketime'] },
    ],
    'a file that cannot be read': ['import "./nothing.mjs"', { outcome: 'failed' }],
  }
  for (const [name, [script, found]] of Object.entries(ways)) await t.test(name, async (t) => t.match(await run(t, script), found))
})

t.test('a run rewrites the rows that it ran, and leaves the others', async (t) => {
  const [first, second] = ROWS as unknown as [Row, Row]
  const result = (row: Row, ...figures: string[]): Result => ({
    ...{ row, outcome: 'ok', command: `npm run prove -- ${row.name}`, figures, reasons: [], seconds: 3 },
  })
  const one = render('', [result(first, 'old | figure', 'second figure'), result(second, 'kept')], {
    date: '2026-01-01',
    machine: 'a machine',
  })
  const two = render(one, [result(first, 'new')], { date: '2026-02-02', machine: 'another' })
  const of = (row: Row) => `### ${row.name}\n\n- `
  t.match(one, new RegExp(`\\| ${first.name} \\|.*2026-01-01 \\| a machine`))
  t.ok(one.includes(`${of(first)}old | figure\n- second figure\n`))
  t.ok(two.includes(`${of(first)}new\n\n`) && !two.includes('second figure'))
  t.match(two, new RegExp(`\\| ${first.name} \\|.*2026-02-02 \\| another`))
  t.ok(two.includes(`${of(second)}kept\n\n`))
  t.match(two, new RegExp(`\\| ${second.name} \\|.*2026-01-01 \\| a machine`))
  const failed = render(two, [{ ...result(second, 'kept'), outcome: 'failed', figures: [], reasons: ['it broke'] }], {
    date: 'd',
    machine: 'm',
  })
  t.match(failed, new RegExp(`\\| ${second.name} \\|.* failed<br>it broke \\| d \\| m`))
  t.notOk(failed.includes('kept'), 'a row that fails does not keep its old figures')
})
