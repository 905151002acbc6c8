import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Lines of one failure's diagnosis that are shown. */
const DIAGNOSIS_LINES_MAX = 30

/**
 * The assertions that failed, as text: file, name, diagnosis. A run prints tens of thousands of lines, of which a CI keeps the
 * last, so what failed has to stand there.
 * @param results the folder into which tap wrote what each file printed
 * @param since the run's beginning, milliseconds since 1970; files that are older are of another run
 */
export function failures(results: string, since: number): string[] {
  const found: string[] = []
  for (const name of readdirSync(results, { recursive: true, encoding: 'utf8' }).sort()) {
    const path = join(results, name)
    if (!name.endsWith('.tap') || statSync(path).mtimeMs < since) continue
    const lines = readFileSync(path, 'utf8').split('\n')
    for (const [at, line] of lines.entries()) {
      const [, indent, title] = /^( *)not ok \d+ - (.*)$/.exec(line) ?? []
      if (indent === undefined || /# (SKIP|TODO)/i.test(line)) continue
      // The plan of a subtest stands right before its own line: the failure is further up.
      if (/^ +1\.\.\d+/.test(lines.slice(0, at).findLast((before) => before.trim() !== '') ?? '') && !line.includes('timeout')) continue
      const diagnosis: string[] = []
      let quoting = false
      for (const next of lines.slice(at + 1)) {
        if (!next.startsWith(`${indent}  `) || diagnosis.length === DIAGNOSIS_LINES_MAX) break
        // The source is in the repository.
        if (/^ {2}\S/.test(next.slice(indent.length))) quoting = next.trim().startsWith('source:')
        if (!quoting) diagnosis.push(next.slice(indent.length))
      }
      found.push([`${name.slice(0, -'.tap'.length)}: ${title}`, ...diagnosis].join('\n'))
    }
  }
  return found
}
