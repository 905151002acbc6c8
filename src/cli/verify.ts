import type { Command } from 'commander'
import { chargeReads } from '../charges/reads-prisma.ts'
import { type ChargesVerified, verifyCharges } from '../charges/verify-charges.ts'
import { type Finding, verify } from '../ledger/verify-pg.ts'
import { createPrisma } from '../platform/prisma.ts'
import { priceStore } from '../pricing/store-prisma.ts'
import { examples, newCommand, type Ports, print } from './command.ts'
import { readDatabaseConfig, requireSchema, withDatabase } from './database.ts'

export function command(ports: Ports): Command {
  return newCommand('verify', 'Check every invariant of the book, while money moves or not. Exits with 1 when one is broken.')
    .option('--charges', 'also work every charge out again from the stored versions of prices')
    .option('--json', 'one JSON object instead of lines')
    .addHelpText('after', examples('farebox verify', 'farebox verify --charges', 'farebox verify --json | jq .broken'))
    .action(({ json, charges }: { json?: true; charges?: true }) =>
      withDatabase(readDatabaseConfig(ports.env), {}, async (database) => {
        await requireSchema(ports, database)
        const findings = await verify(database.url, json ? undefined : (finding) => print(findingLine(finding)))
        const broken = findings.filter((finding) => finding.broken > 0)
        const recomputed = charges ? await recomputeCharges(database.url) : null
        const ok = broken.length === 0 && (recomputed === null || recomputed.different === 0)
        if (json) {
          print(
            JSON.stringify({
              ok,
              invariants: findings.length,
              broken: broken.length,
              findings,
              ...(recomputed && { charges: recomputed }),
            }),
          )
        } else {
          print(summaryLine(findings))
          if (recomputed) for (const line of chargesLines(recomputed)) print(line)
        }
        if (!ok) process.exitCode = 1
      }),
    )
}

async function recomputeCharges(url: string): Promise<ChargesVerified> {
  const prisma = createPrisma(url)
  try {
    return await verifyCharges(chargeReads(prisma), await priceStore(prisma).readBook())
  } finally {
    await prisma.$disconnect()
  }
}

/** What came of working the charges out again. */
export function chargesLines({ charges, different, examples }: ChargesVerified): string[] {
  if (different === 0) return [`All ${charges} charges are what the stored versions of prices come to.`]
  const more = different > examples.length ? [`… and ${different - examples.length} more`] : []
  return [`${different} of ${charges} charges differ from what the stored versions of prices come to:`, ...examples, ...more]
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
