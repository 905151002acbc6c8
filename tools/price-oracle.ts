/**
 * node tools/price-oracle.ts USAGES.json PRICES.json [DATE]
 *
 * Compares us with an implementation that shares no code with ours: genai-prices' data set of recorded response bodies, with the
 * usage that it reads from each as each provider and API flavor, the price that it works out, and its price list. Prices are those of
 * DATE, now when absent. Lists every miss with its reason; exits 1 where more than 3 % of the usages or of the prices differ.
 */
import { readFileSync } from 'node:fs'
import { add, decimalOf, type Ratio, ZERO } from '../src/kernel/ratio.ts'
import { readGenaiPrices } from '../src/pricing/imports/genai-prices.ts'
import { decimalTimes } from '../src/pricing/imports/source.ts'
import { PROMPT_POOLS } from '../src/pricing/pools.ts'
import { EMPTY_PRICE_BOOK, type ModelPrice, type PriceBook, rateKey } from '../src/pricing/prices.ts'
import { linesOf, type QuoteLine, quoteWhole } from '../src/pricing/quote.ts'
import { termsAt } from '../src/pricing/terms.ts'
import type { Reported } from '../src/pricing/usage/counters.ts'
import { FORMATS, type Format, type FormatName, formatOf } from '../src/pricing/usage/formats.ts'
import { reportedUsage, toPools } from '../src/pricing/usage/normalise.ts'
import { place } from '../src/pricing/usage/places.ts'
import { reportedModel } from '../src/pricing/usage/report.ts'

interface UsageRow {
  readonly body: { readonly file?: string; readonly [member: string]: unknown }
  readonly model?: string
  readonly extracted: readonly { readonly usage: Reported; readonly extractors: readonly Extractor[] }[]
}

interface Extractor {
  readonly provider_id: string
  readonly api_flavor: string
  /** US dollars as decimals; absent where the model has no price there. */
  readonly input_price?: string
  readonly output_price?: string
  readonly total_price?: string
}

type TheirStep = string | { readonly field: string; readonly match: { readonly equals: string } }

interface PriceList {
  readonly id: string
  readonly extractors?: readonly {
    readonly api_flavor: string
    readonly root: string | readonly string[]
    readonly model_path: string
    readonly mappings: readonly { readonly path: string | readonly TheirStep[]; readonly dest: string; readonly required: boolean }[]
  }[]
}

/** One body read as one provider and flavor would. */
interface Case {
  readonly title: string
  readonly row: UsageRow
  readonly expected: Reported
  readonly extractor: Extractor
  readonly format: FormatName | undefined
}

/** Counts what matches and keeps what does not. */
class Tally {
  readonly name: string
  readonly misses: string[] = []
  total = 0

  constructor(name: string) {
    this.name = name
  }

  /** @param reason why it does not match, or null where it does */
  count(title: string, reason: string | null): void {
    this.total += 1
    if (reason !== null) this.misses.push(`${title}: ${reason}`)
  }

  print(): void {
    console.log(`${this.name}: ${this.total - this.misses.length}/${this.total}`)
    for (const miss of this.misses) console.log(`  ${miss}`)
  }
}

function sameJson(ours: unknown, theirs: unknown): string | null {
  const [a, b] = [JSON.stringify(ours), JSON.stringify(theirs)]
  return a === b ? null : `ours ${a}, theirs ${b}`
}

/** The counts that are not zero, which is how the data set writes them, in alphabetical order. */
function nonZero(usage: Reported): object {
  return Object.fromEntries(
    Object.entries(usage)
      .filter(([, count]) => count !== 0)
      .sort(byName),
  )
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function list<T>(oneOrMany: T | readonly T[]): readonly T[] {
  return Array.isArray(oneOrMany) ? oneOrMany : [oneOrMany as T]
}

/** Whether our table of formats says the same as their price list. */
function checkFormats(providers: readonly PriceList[]): Tally {
  const tally = new Tally('formats')
  for (const { id, extractors = [] } of providers) {
    for (const { api_flavor: flavor, root, model_path: model, mappings } of extractors) {
      const format = formatOf(id, flavor)
      const theirs = mappings.map(({ path, dest, required }) => sortable(dest, list(path), required)).sort()
      const reason = format ? sameJson(described(FORMATS[format]), { root: list(root), model, mappings: theirs }) : 'we have no such format'
      tally.count(`${id} ${flavor}`, reason)
    }
  }
  return tally
}

function described({ roots: [root = ''], model, counters }: Format): object {
  const mappings = Object.entries(counters).flatMap(([counter, texts]) =>
    texts.map((text) => {
      const { steps, required } = place(text)
      return sortable(
        counter,
        steps.map((step) => (typeof step === 'string' ? step : { field: step.field, match: { equals: step.equals } })),
        required,
      )
    }),
  )
  return { root: root.split('.'), model, mappings: mappings.sort() }
}

function sortable(counter: string, steps: readonly TheirStep[], required: boolean): string {
  const path = steps.map((step) => (typeof step === 'string' ? step : `${step.field}=${step.match.equals}`)).join(' ')
  return `${counter} < ${path}${required ? ' (required)' : ''}`
}

function casesOf(rows: readonly UsageRow[]): Case[] {
  return rows.flatMap((row, index) =>
    row.extracted.flatMap(({ usage, extractors }) =>
      extractors.map((extractor) => ({
        title: `row ${index} ${row.model ?? 'without a model'} as ${extractor.provider_id} ${extractor.api_flavor}`,
        row,
        expected: usage,
        extractor,
        format: formatOf(extractor.provider_id, extractor.api_flavor),
      })),
    ),
  )
}

/** Whether we read the same counts, and the same model, from a body. */
function checkUsage({ row, expected, format }: Case): string | null {
  if (!format) return 'we have no such format'
  const reported = reportedUsage(format, row.body)
  if (!reported.ok) return reported.refusal.detail
  return sameJson(nonZero(reported.value), nonZero(expected)) ?? sameJson(reportedModel(format, row.body), row.model)
}

/** Why the counts of a body cannot be split into pools. */
function checkPools({ row, format }: Case): string | null {
  const reported = format && reportedUsage(format, row.body)
  if (!reported?.ok) return 'no usage'
  const pools = toPools(reported.value)
  return pools.ok ? null : pools.refusal.detail
}

/** A price book with nothing but their list, in which a US dollar is a credit. */
function bookOf(text: string): PriceBook {
  const versions = readGenaiPrices(text).listed.map(
    ({ listing, effectiveFrom }, index): ModelPrice => ({
      ...listing,
      id: `price ${index}`,
      effectiveFrom: effectiveFrom ?? 0,
      source: 'genai-prices',
    }),
  )
  const newestFirst = versions.toSorted((a, b) => b.effectiveFrom - a.effectiveFrom)
  const rate = { id: 'rate', effectiveFrom: 0, currency: 'USD', purpose: 'consumption', creditsPerUnit: '1' } as const
  return {
    ...EMPTY_PRICE_BOOK,
    models: Map.groupBy(newestFirst, ({ model }) => model),
    exchangeRates: new Map([[rateKey('USD', 'consumption'), [rate]]]),
  }
}

/** Whether we come to the same US dollars, to the last decimal. */
function checkPrice(book: PriceBook, at: number, { row, format, extractor }: Case): string | null {
  const reported = format && reportedUsage(format, row.body)
  if (!reported?.ok) return 'no usage'
  const usage = toPools(reported.value)
  if (!usage.ok) return usage.refusal.detail
  const terms = termsAt(book, at, { model: row.model ?? '', provider: extractor.provider_id, operation: null })
  if (!terms.ok) return terms.refusal.detail
  const quote = quoteWhole(
    terms.value,
    { model: '', provider: null, operation: null, units: null, usage: usage.value, serviceTier: 'standard' },
    false,
  )
  if (!quote.ok) return quote.refusal.detail
  const lines = linesOf(quote.value)
  const isPrompt = ({ pool }: QuoteLine) => PROMPT_POOLS.some((one) => one === pool)
  const isAnswer = (line: QuoteLine) => !isPrompt(line) && line.per > 1
  const ours = { input: usd(lines.filter(isPrompt)), output: usd(lines.filter(isAnswer)), total: usd(lines) }
  // Their decimals come as Python prints them: 8E-7, 0.00.
  const plain = (decimal: string | undefined) => decimalTimes(decimal, 0)
  const { input_price: input, output_price: output, total_price: total } = extractor
  const theirs = { input: plain(input), output: plain(output), total: plain(total ?? ours.total) }
  return sameJson(ours, theirs)
}

/** US dollars as a plain decimal. */
function usd(lines: readonly QuoteLine[]): string {
  const { n, d }: Ratio = lines.reduce((sum, line) => add(sum, line.micro), ZERO)
  return decimalOf({ n, d: d * 1_000_000n })
}

const [usagesFile, pricesFile, date] = process.argv.slice(2)
const at = date === undefined ? Date.now() : Date.parse(date)
if (!usagesFile || !pricesFile || Number.isNaN(at)) {
  console.error('node tools/price-oracle.ts USAGES.json PRICES.json [DATE]')
  process.exit(2)
}
const book = bookOf(readFileSync(pricesFile, 'utf8'))
const rows = JSON.parse(readFileSync(usagesFile, 'utf8')) as UsageRow[]
const prices = JSON.parse(readFileSync(pricesFile, 'utf8')) as PriceList[]

const formats = checkFormats(prices)
const usage = new Tally('usage')
const usageOfModels = new Tally('usage, rows that name a model')
const pools = new Tally('pools')
const priced = new Tally('prices')
for (const one of casesOf(rows)) {
  const [usageMiss, poolsMiss] = [checkUsage(one), checkPools(one)]
  usage.count(one.title, usageMiss)
  if (one.row.model !== undefined) usageOfModels.count(one.title, usageMiss)
  pools.count(one.title, poolsMiss)
  if (one.extractor.input_price !== undefined) priced.count(one.title, checkPrice(book, at, one))
}
for (const tally of [formats, usage, usageOfModels, pools, priced]) tally.print()
const MISSES_MAX = 0.03
process.exitCode = [usage, priced].every(({ misses, total }) => misses.length <= total * MISSES_MAX) ? 0 : 1
