import { refusal } from '../../kernel/errors.ts'
import { type Outcome, refuse } from '../../ledger/command.ts'
import type { Usage } from '../pools.ts'
import { FORMAT_NAMES, isFormatName } from './formats.ts'
import { reportedUsage } from './report.ts'
import { toPools } from './to-pools.ts'

export { reportedUsage } from './report.ts'
export { toPools } from './to-pools.ts'

/**
 * The pools of a provider's own usage object, or of the response body that has it. Nothing is guessed: what is not a count, or does
 * not add up, is refused, because either way of reading it would bill somebody wrongly.
 * @returns `invalid_request`; its `errors` have the pointer of a wrong value, counted from `usage`
 */
export function normalise(format: string, usage: unknown): Outcome<Usage> {
  if (!isFormatName(format)) {
    return refuse(refusal('invalid_request', `There is no usage format of this name; there are ${FORMAT_NAMES.join(', ')}.`))
  }
  const reported = reportedUsage(format, usage)
  return reported.ok ? toPools(reported.value) : reported
}
