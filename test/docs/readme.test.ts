import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createTestDatabase } from '../helpers/database.ts'
import { startProcess } from '../helpers/process.ts'

/** The README is run as a reader would: its shell blocks in order, each answer compared with the one printed below it. */

const README = new URL('../../README.md', import.meta.url)

interface Step {
  readonly script: string
  readonly answer: unknown
}

function stepsOf(markdown: string): Step[] {
  const blocks = [...markdown.matchAll(/^```(sh|json)\n([\s\S]*?)^```/gm)]
  const steps: Step[] = []
  for (const [, language, text] of blocks) {
    if (language === 'sh') steps.push({ script: text as string, answer: undefined })
    else steps.push({ script: (steps.pop() as Step).script, answer: JSON.parse(text as string) })
  }
  return steps
}

/** Ids and times differ from run to run; the README shows them as `wal_…` and `…`. */
function shortened(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shortened)
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shortened(item)]))
  }
  if (typeof value !== 'string') return value
  if (/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return '…'
  return value.replace(/^([a-z]{3})_[0-9a-f]{32}$/, '$1_…')
}

t.test('every command of the README gives the printed answer', async (t) => {
  const { url } = await createTestDatabase(t)
  const directory = await mkdtemp(join(tmpdir(), 'farebox-readme-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const dataDir = join(directory, '.farebox')
  const service = await startProcess(t, { DATABASE_URL: url, DATA_DIR: dataDir, PORT: '0' })

  const steps = stepsOf(await readFile(README, 'utf8'))
  const lines = steps.map(({ script }, index) => `${script.trimEnd()}${index === 0 ? '' : ` > answer-${index}`}`)
  // The first block sets the address and the key; the port of this run is another one.
  const script = lines.join('\n').replace('URL=http://127.0.0.1:8080', `URL=${service.url}`)
  await writeFile(join(directory, 'readme.sh'), script)
  const status = await new Promise((resolve) => {
    spawn('bash', ['-eu', 'readme.sh'], { cwd: directory, stdio: 'inherit' }).once('close', resolve)
  })
  t.equal(status, 0, 'the commands run')

  let compared = 0
  for (const [index, { answer }] of steps.entries()) {
    if (answer === undefined) continue
    const printed = shortened(JSON.parse(await readFile(join(directory, `answer-${index}`), 'utf8')))
    t.same(printed, answer, `answer ${index}`)
    t.equal(JSON.stringify(Object.keys(printed as object)), JSON.stringify(Object.keys(answer as object)), `order of answer ${index}`)
    compared += 1
  }
  t.ok(compared >= 6, `${compared} answers compared`)
})

t.test('every script and command that the README names exists', async (t) => {
  const markdown = await readFile(README, 'utf8')
  const { scripts } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as { scripts: object }
  for (const [, name] of markdown.matchAll(/npm run ([a-z:]+)/g)) t.ok((name as string) in scripts, `npm run ${name}`)
  for (const [, path] of markdown.matchAll(/\]\(([^)#]+)\)/g)) {
    if (/^https?:/.test(path as string)) continue
    await t.resolves(readFile(new URL(`../../${(path as string).replace(/\/$/, '/README.md')}`, import.meta.url)), path as string)
  }
})

t.test('every command and every variable has its row in the README, and every row exists', async (t) => {
  const markdown = await readFile(README, 'utf8')
  const tableBehind = (heading: string) => (markdown.split(`| ${heading} |`)[1] ?? '').split('\n\n')[0] as string
  const firstCells = (table: string) => [...table.matchAll(/^\| (`[^|]+) \|/gm)].map(([, cell]) => cell as string)

  const source = await readFile(new URL('../../src/cli.ts', import.meta.url), 'utf8')
  const commands = [...source.matchAll(/^ {2}\['([a-z]+)', /gm)].map(([, name]) => name as string)
  const rows = firstCells(tableBehind('command | does')).flatMap((cell) =>
    [...cell.matchAll(/`([a-z]+)/g)].map(([, name]) => name as string),
  )
  t.ok(commands.length > 5)
  t.same([...new Set(rows)].sort(), commands.toSorted())

  const config = await readFile(new URL('../../src/config.ts', import.meta.url), 'utf8')
  const keys = [...config.matchAll(/^ {2}([A-Z]+(?:_[A-Z]+)*): /gm)].map(([, key]) => key as string)
  t.ok(keys.length > 15)
  const named = firstCells(tableBehind('variable | meaning | default')).flatMap((cell) => cell.replaceAll('`', '').split(', '))
  // Where Stripe is, is for tests alone.
  t.same(named.toSorted(), keys.filter((key) => key !== 'STRIPE_API_URL').sort())
})
