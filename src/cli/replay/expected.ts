import type { Row } from './trace.ts'

/**
 * What a trace must cost, to the micro-credit. This arithmetic is on purpose not that of `kernel` and `pricing`: it is here to
 * find them wrong.
 */

/** What a model costs, as the API publishes it: exact decimals. */
export interface PublishedTerms {
  /** US dollars per million tokens. */
  readonly inputUsd: string
  readonly outputUsd: string
  /** Credits for one US dollar, markup included. */
  readonly creditsPerUsd: string
  /** The least that priced work costs, in credits. */
  readonly minimum: string
}

export type CostOf = (inputTokens: number, outputTokens: number) => bigint

/**
 * The cost of a call in micro-credits under some terms: the exact sum, rounded up once, and at least the minimum. A token at one dollar
 * per million and one credit per dollar costs one micro-credit.
 */
export function costUnder(terms: PublishedTerms): CostOf {
  const input = decimal(terms.inputUsd)
  const output = decimal(terms.outputUsd)
  const credits = decimal(terms.creditsPerUsd)
  const minimum = microOf(terms.minimum)
  const perInput = input.n * output.d * credits.n
  const perOutput = output.n * input.d * credits.n
  const denominator = input.d * output.d * credits.d
  return (inputTokens, outputTokens) => {
    const exact = BigInt(inputTokens) * perInput + BigInt(outputTokens) * perOutput
    if (exact === 0n) return 0n
    const rounded = exact % denominator === 0n ? exact / denominator : exact / denominator + 1n
    return rounded < minimum ? minimum : rounded
  }
}

function decimal(text: string): { n: bigint; d: bigint } {
  const [whole = '0', decimals = ''] = text.split('.')
  return { n: BigInt(whole + decimals), d: 10n ** BigInt(decimals.length) }
}

/** Micro-credits of an amount in an answer, "12.5". */
export function microOf(credits: string): bigint {
  const [, sign, whole, decimals = ''] = /^(-?)(\d+)(?:\.(\d{1,6}))?$/.exec(credits) ?? []
  if (whole === undefined) throw new Error(`not an amount of credits: ${credits}`)
  const micro = BigInt(whole + decimals.padEnd(6, '0'))
  return sign ? -micro : micro
}

/** The same in credits, for a person. */
export function creditsText(micro: bigint): string {
  const digits = (micro < 0n ? -micro : micro).toString().padStart(7, '0')
  return `${micro < 0n ? '-' : ''}${digits.slice(0, -6)}.${digits.slice(-6)}`
}

/** Whole credits that carry every hold of the busiest wallet, even if all were open at once. */
export function creditsNeeded(rows: readonly Row[], wallets: number, holdOf: (row: Row) => bigint): bigint {
  const sums = new BigInt64Array(wallets)
  rows.forEach((row, index) => {
    sums[index % wallets] = (sums[index % wallets] as bigint) + holdOf(row)
  })
  const most = sums.reduce((left, right) => (left > right ? left : right), 0n)
  return most / 1_000_000n + 1n
}
