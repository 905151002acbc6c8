import type { Command } from 'commander'
import { type Finding, verify } from '../ledger/verify-pg.ts'
import { examples, newCommand, type Ports, print } from './command.ts'
import { readDatabaseConfig, requireSchema, withDatabase } from './database.ts'

export function command(ports: Ports): Command {
  return newCommand('verify', 'Check every invariant of the book, while money moves or not. Exits with 1 when one is broken.')
    .option('--json', 'one JSON object instead of lines')
    .addHelpText('after', examples('farebox verify', 'farebox verify --json | jq .broken'))
    .action(({ json }: { json?: true }) =>
      withDatabase(readDatabaseConfig(ports.env), {}, async (database) => {
        await requireSchema(ports, database)
        const findings = await verify(database.url, json ? undefined : (finding) => print(findingLine(finding)))
        const broken = findings.filter((finding) => finding.broken > 0)
        if (json) print(JSON.stringify({ ok: broken.length === 0, invariants: findings.length, broken: broken.length, findings }))
        else print(summaryLine(findings))
        if (broken.length > 0) process.exitCode = 1
      }),
    )
}

/** What was found of one invariant. */
export function findingLine({ id, says, broken, examples, ms }: Finding): string {
  const time = `${ms.toFixed(0)} ms`.padStart(9)
  if (broken === 0) return `${id}  ok     ${time}  ${says}`
  const more = broken > examples.length ? ' …' : ''
  return `${id}  BROKEN ${time}  ${says}: ${broken} times, at ${examples.join(', ')}${more}`
}

export function summaryLine(findings: readonly Finding[]): string {
  const broken = findings.filter((finding) => finding.broken > 0)
  const ms = findings.reduce((sum, finding) => sum + finding.ms, 0).toFixed(0)
  if (broken.length === 0) return `All ${findings.length} invariants hold (${ms} ms).`
  return `${broken.length} of ${findings.length} invariants are broken: ${broken.map(({ id }) => id).join(', ')} (${ms} ms).`
}
