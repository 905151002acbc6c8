import { creditsText } from './expected.ts'
import type { Tally } from './flights.ts'

/** What a replay found, in lines for a person. */

export interface Sums {
  /** Micro-credits, by the answers to the commits. */
  readonly charged: bigint
  /** By the trace and the published terms. */
  readonly expected: bigint
  /** By what the wallets have less than they were granted. */
  readonly spent: bigint
  readonly stillHeld: bigint
  /** Rows whose charge is not the expected one. */
  readonly wrongRows: readonly number[]
}

const WRONG_SHOWN_MAX = 5

export function reportLines(tally: Tally, sums: Sums, seconds: number): string[] {
  const rows = tally.charged.length
  const refused = [...tally.refusals.values()].reduce((sum, count) => sum + count, 0)
  const lines = [
    `operations    ${rows * 2} (${rows} reserves, ${rows} commits)`,
    `acknowledged  ${tally.acknowledged}, of them ${tally.replayed} replayed answers`,
    `retries       ${tally.retries}`,
    `refused       ${refused}`,
    ...[...tally.refusals].map(([code, count]) => `              ${count} × ${code}`),
    `time          ${seconds.toFixed(2)} s, ${Math.round(tally.acknowledged / seconds)} operations a second`,
    `reserve       ${latencyText(tally.reserveMs)}`,
    `commit        ${latencyText(tally.commitMs)}`,
    `charged       ${creditsText(sums.charged)} credits by the answers`,
    `expected      ${creditsText(sums.expected)} credits by the trace: ${verdict(sums.expected, sums.charged)}`,
    `spent         ${creditsText(sums.spent)} credits by the wallets: ${verdict(sums.spent, sums.charged)}`,
  ]
  if (sums.stillHeld !== 0n) lines.push(`held          ${creditsText(sums.stillHeld)} credits are still held`)
  if (sums.wrongRows.length > 0) {
    const shown = sums.wrongRows.slice(0, WRONG_SHOWN_MAX).map((row) => row + 1)
    lines.push(
      `wrong         ${sums.wrongRows.length} rows are not charged as expected: ${shown.join(', ')}${sums.wrongRows.length > shown.length ? ' …' : ''}`,
    )
  }
  return lines
}

/** Whether every command was acknowledged and all three sums are the same to the micro-credit. */
export function isClean(tally: Tally, sums: Sums): boolean {
  const sumsAgree = sums.charged === sums.expected && sums.spent === sums.charged && sums.stillHeld === 0n
  return sumsAgree && sums.wrongRows.length === 0 && tally.refusals.size === 0 && tally.acknowledged === tally.charged.length * 2
}

function verdict(sum: bigint, charged: bigint): string {
  return sum === charged ? 'equal' : `DIFFERENT by ${creditsText(sum - charged)}`
}

function latencyText(samples: Float64Array): string {
  const sorted = samples.filter((ms) => ms > 0).sort()
  if (sorted.length === 0) return 'none'
  const at = (share: number) => (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number).toFixed(1)
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`
}
