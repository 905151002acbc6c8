import { cpus, loadavg, totalmem } from 'node:os'
import { ATTACKS } from '../attacks/rows.ts'
import { PARTS, ROWS } from './rows.ts'
import type { Result } from './run-row.ts'

/** docs/proof.md: what was run, where, and what it said. Rows that were not run this time stay as they were. */

const HEAD = `# Proof

What the long forms of the tests have shown, on the machine and the day that each row names. \`npm run prove\` runs all of them,
\`npm run prove:faults\`, \`prove:model\`, \`prove:attacks\`, \`prove:conformance\` and \`prove:mutants\` a part, \`npm run prove -- F1 keys\` some rows, and
\`--short\` a form that takes two minutes at most for each. A run rewrites the rows that it ran; the others keep their older date. A row that was
skipped, or that printed no figure, has shown nothing and fails the run.

Under each table stands what the tests printed. The second column names what a row is about: a fault (F1–F20), an attack by its number
in the table at the end, or invariants of [invariants.ts](../src/ledger/invariants.ts). Times are those of a machine as busy as its load average says.
`

const COLUMNS = ['row', 'of', 'shows', 'result', 'date', 'machine', 'command']
const NEVER = 'not run yet'

/** A cell of a table: one line, no bars of its own. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}

function line(cells: readonly string[]): string {
  return `| ${cells.map(cell).join(' | ')} |`
}

/** The machine in a few words, and how busy it is. @param postgres the version of the test server */
export function machine(postgres: string): string {
  const [first] = cpus()
  const model = (first?.model ?? 'unknown').replace(/\s+/g, ' ').trim()
  return `${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, PostgreSQL ${postgres}, Node ${process.versions.node}, load ${loadavg()[0]?.toFixed(1)}`
}

/** What a row printed, under a heading of its own. */
function block(name: string, figures: readonly string[]): string {
  return [`### ${name}`, '', ...figures.map((figure) => `- ${figure.replaceAll('\n', ' ')}`)].join('\n')
}

/**
 * @param before the document as it is, or an empty text
 * @param results what was run now
 */
export function render(before: string, results: readonly Result[], on: { readonly date: string; readonly machine: string }): string {
  const lines = new Map([...before.matchAll(/^\| (\S+) \|.*$/gm)].map(([text, name]) => [name as string, text]))
  const blocks = new Map([...before.matchAll(/^### (\S+)\n\n(?:- .*\n)+/gm)].map(([text, name]) => [name as string, text.trimEnd()]))
  for (const { row, outcome, figures, reasons, seconds, command } of results) {
    const result = [outcome === 'ok' ? `ok in ${seconds.toFixed(0)} s` : outcome, ...reasons].join('<br>')
    lines.set(row.name, line([row.name, row.of, row.shows, result, on.date, on.machine, `\`${command}\``]))
    if (figures.length > 0) blocks.set(row.name, block(row.name, figures))
    else blocks.delete(row.name)
  }
  const parts = PARTS.map((part) => {
    const rows = ROWS.filter((row) => row.part === part)
    const table = rows.map(
      ({ name, of, shows }) => lines.get(name) ?? line([name, of, shows, NEVER, '–', '–', `\`npm run prove -- ${name}\``]),
    )
    const printed = rows.map(({ name }) => blocks.get(name)).filter((text) => text !== undefined)
    const head = [`## ${part[0]?.toUpperCase()}${part.slice(1)}`, '', line(COLUMNS), line(COLUMNS.map(() => '---')), ...table].join('\n')
    return [head, ...printed].join('\n\n')
  })
  const attacks = ATTACKS.map(({ rows, sent, shownBy, open }) =>
    line([
      rows,
      sent,
      [...shownBy.map(([file, title]) => `[${file}](../test/${file}): ${title}`), ...(open ? [`open: ${open}`] : [])].join('<br>'),
    ]),
  )
  const table = [
    ['## Attacks, one by one', '', 'Which test sends what, and looks at what comes of it.', ''],
    [line(['attack', 'sent', 'shown by']), line(['---', '---', '---']), ...attacks],
  ].flat()
  return `${HEAD}\n${parts.join('\n\n')}\n\n${table.join('\n')}\n`
}
