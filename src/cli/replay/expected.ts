import type { Row } from './trace.ts'

/**
 * What a trace must cost, to the micro-credit. This arithmetic is on purpose not that of `kernel` and `pricing`: it is here to
 * find them wrong.
 */

export interface Fraction {
  readonly n: bigint
  readonly d: bigint
}

/** The frozen terms of a reservation, as the API shows them. */
export interface PublishedTerms {
  /** Micro-credits per token, "n/d". */
  readonly input: string
  readonly output: string
  /** The least that priced work costs, in micro-credits. */
  readonly minimum: string
}

export type CostOf = (inputTokens: number, outputTokens: number) => bigint

/** The cost of a call in micro-credits under some terms: the exact sum, rounded up once, and at least the minimum. */
export function costUnder(terms: PublishedTerms): CostOf {
  const input = fraction(terms.input)
  const output = fraction(terms.output)
  const minimum = BigInt(terms.minimum)
  const perInput = input.n * output.d
  const perOutput = output.n * input.d
  const denominator = input.d * output.d
  return (inputTokens, outputTokens) => {
    const exact = BigInt(inputTokens) * perInput + BigInt(outputTokens) * perOutput
    if (exact === 0n) return 0n
    const rounded = exact % denominator === 0n ? exact / denominator : exact / denominator + 1n
    return rounded < minimum ? minimum : rounded
  }
}

/** The factor between a list price and the frozen cost of a token; null where the list price is nothing. */
export function factorOf(perToken: string, usdPerMillion: string): Fraction | null {
  const cost = fraction(perToken)
  const [whole = '0', decimals = ''] = usdPerMillion.split('.')
  const price = { n: BigInt(whole + decimals), d: 10n ** BigInt(decimals.length) }
  return price.n === 0n ? null : { n: cost.n * price.d, d: cost.d * price.n }
}

export function isSame(a: Fraction, b: Fraction): boolean {
  return a.n * b.d === b.n * a.d
}

export function fractionText({ n, d }: Fraction): string {
  if (n % d === 0n) return (n / d).toString()
  return (Number(n) / Number(d)).toString()
}

function fraction(text: string): Fraction {
  const [n = '0', d = '1'] = text.split('/')
  return { n: BigInt(n), d: BigInt(d) }
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
