import cliProgress from 'cli-progress'
import type { Command } from 'commander'
import type { Reconciled } from '../billing/reconcile.ts'
import { ConfigError, paymentsOf } from '../config.ts'
import { DAY_MS } from '../kernel/time.ts'
import { examples, Failure, newCommand, type Ports, print } from './command.ts'
import { readDatabaseConfig, requireSchema, withDatabase } from './database.ts'

const DAYS_DEFAULT = 3
/** Stripe keeps events for so long; what is older it lists by its making only. */
const DAYS_MAX = 400

export function command(ports: Ports): Command {
  return newCommand('reconcile', "Compare the payment provider's books with ours and make good what events missed.")
    .option('--from <time>', `from when on (RFC 3339 time or date), ${DAYS_DEFAULT} days ago when absent`)
    .option('--to <time>', 'until when, now when absent')
    .option('--json', 'one JSON object instead of lines')
    .addHelpText(
      'after',
      `
It reads the same state as a webhook does, so it can be run at any time and as
often as one likes. Exits with 1 when something disagrees or could not be read.
${examples('farebox reconcile', 'farebox reconcile --from 2026-11-01 --to 2026-11-08', 'farebox reconcile --json | jq .disagreeing')}`,
    )
    .action(async (options: { from?: string; to?: string; json?: true }) => {
      const to = timeOf('--to', options.to) ?? new Date()
      const from = timeOf('--from', options.from) ?? new Date(to.getTime() - DAYS_DEFAULT * DAY_MS)
      if (from >= to) throw new Failure('--from must lie before --to.')
      if (to.getTime() - from.getTime() > DAYS_MAX * DAY_MS) throw new Failure(`At most ${DAYS_MAX} days at once.`)
      const config = readDatabaseConfig(ports.env)
      const payments = paymentsOf(config)
      if (!payments) throw new ConfigError(['STRIPE_SECRET_KEY: is not set, so there are no books to compare with'])
      await withDatabase(config, {}, async (database) => {
        await requireSchema(ports, database)
        const billing = await ports.openBilling(database.url, payments)
        const bar = options.json || !process.stderr.isTTY ? null : new cliProgress.SingleBar({ format: 'checked {value}' })
        try {
          bar?.start(0, 0)
          const result = await billing.reconcile(from, to, (checked) => bar?.update(checked))
          bar?.stop()
          if (options.json) print(JSON.stringify(result))
          else for (const line of linesOf(result)) print(line)
          if (result.disagreeing.length + result.failed.length > 0) process.exitCode = 1
        } finally {
          bar?.stop()
          await billing.close()
        }
      })
    })
}

function timeOf(option: string, text: string | undefined): Date | null {
  if (text === undefined) return null
  const time = /^\d{4}-\d{2}-\d{2}(?:T[\d:.]+(?:Z|[+-]\d{2}:\d{2}))?$/.test(text) ? new Date(text) : new Date(Number.NaN)
  if (Number.isNaN(time.getTime())) throw new Failure(`${option} must be a date or an RFC 3339 time such as 2026-11-01T00:00:00Z.`)
  return time
}

/** What came of it, for a person. */
export function linesOf({ checked, repaired, disagreeing, failed }: Reconciled): string[] {
  const lines = [
    `${checked} payments checked, ${repaired.length} made good, ${disagreeing.length} that disagree, ${failed.length} not read.`,
  ]
  for (const id of repaired) lines.push(`made good   ${id}`)
  for (const { subject, reason } of disagreeing) lines.push(`disagrees   ${subject}: ${reason}`)
  for (const { subject, reason } of failed) lines.push(`not read    ${subject}: ${reason}`)
  return lines
}
