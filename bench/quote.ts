/**
 * node bench/quote.ts [--seconds=1]
 *
 * How many quotes a second one core makes, in process, from a warm book of 2,000 models: as a reserve does it (find the model, take
 * its terms, price the work, round), and as a commit does it, from the terms that were frozen with the reservation, as they come out of the
 * database. No request, no database, no answer: what pricing itself takes.
 */
import { parseArgs } from 'node:util'
import type { Usage } from '../src/pricing/pools.ts'
import type { ModelPrice, PriceBook, PriceVariant } from '../src/pricing/prices.ts'
import { type CostRequest, costOf, quoteWhole } from '../src/pricing/quote.ts'
import { type Terms, termsAt } from '../src/pricing/terms.ts'

type WorkRequest = Extract<CostRequest, { readonly amount?: undefined }>

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '1' } } })
const SECONDS = Number(values.seconds)
const MODELS = 2_000
const PROVIDERS = 20
/** Quotes between two looks at the clock. */
const ROUND = 2_000
const NOW = Date.UTC(2026, 0, 1, 12)

/** Prices as lists have them: most flat, some with a cache, long prompts, a batch tier; a few with hours. */
function bookOfModels(): PriceBook {
  const models = new Map<string, ModelPrice[]>()
  for (let n = 0; n < MODELS; n += 1) {
    const provider = `provider${n % PROVIDERS}`
    const model = n % 4 === 3 ? `${provider}/model-${n}` : `model-${n}`
    const input = (0.05 + (n % 97) / 10).toFixed(3)
    const variants: PriceVariant[] = []
    if (n % 5 === 0) variants.push({ abovePromptTokens: 200_000, rates: { input_tokens: `${input}5`, output_tokens: '22.5' } })
    if (n % 7 === 0) variants.push({ serviceTier: 'batch', rates: { input_tokens: '0.075', output_tokens: '5' } })
    if (n % 50 === 1) variants.push({ hours: { from: '16:30', to: '00:30' }, rates: { input_tokens: '0.135' } })
    const price: ModelPrice = {
      id: `price of ${model}`,
      effectiveFrom: 0,
      model,
      provider,
      rates: {
        input_tokens: input,
        output_tokens: '15.000',
        ...(n % 2 === 0 && { cache_read_tokens: '0.0375', cache_write_5m_tokens: '3.75' }),
        ...(n % 3 === 0 && { input_audio_tokens: '40', output_audio_tokens: '80', input_image_tokens: '5' }),
        ...(n % 9 === 0 && { searches: '0.01', requests: '0.005' }),
      },
      variants,
      aliases: [{ equals: `model-${n}-2026-01-01` }, ...(n % 10 === 0 ? [{ startsWith: `model-${n}-v` }] : [])],
      contextWindow: 200_000,
      maxOutputTokens: null,
      capabilities: [],
      costTier: 'medium',
      enabled: true,
      source: 'bench',
    }
    models.set(model, [price])
  }
  const version = { id: 'version', effectiveFrom: 0 }
  return {
    models,
    operations: new Map([['scan', [{ ...version, operation: 'scan', flatCost: 0n, unitCost: 1_000_000n, enabled: true }]]]),
    markups: new Map([
      ['default', [{ ...version, scope: 'default', percent: '20' }]],
      ['provider:provider7', [{ ...version, scope: 'provider:provider7', percent: '12.5' }]],
    ]),
    exchangeRates: new Map([
      ['USD consumption', [{ ...version, currency: 'USD', purpose: 'consumption' as const, creditsPerUnit: '100' }]],
    ]),
    policies: [{ ...version, minimumCharge: 10_000n, maximumCharge: 10n ** 15n, roundTo: 1n, ownerExempt: true }],
  }
}

/** Of every model a request; `nameOf` says how it is named. */
function requests(book: PriceBook, nameOf: (price: ModelPrice) => readonly [name: string, provider: string | null]): WorkRequest[] {
  return [...book.models.values()].map(([price], n) => {
    const [model, provider] = nameOf(price as ModelPrice)
    const usage: Usage = {
      input_tokens: 1_200 + n,
      output_tokens: 350 + (n % 100),
      ...(n % 2 === 0 && { cache_read_tokens: n * 10, cache_write_5m_tokens: n }),
      ...(n % 3 === 0 && { input_image_tokens: 258 }),
    }
    return { model, provider, operation: null, units: null, usage, serviceTier: n % 14 === 0 ? 'batch' : 'standard' }
  })
}

/** Runs one quote after the other for a while. @returns quotes a second, and a second of processor time: other work lowers only the first */
function measure(quote: (n: number) => bigint): { readonly perSecond: number; readonly perCpuSecond: number } {
  let sum = 0n
  // Everything is compiled and remembered before the clock starts.
  for (let n = 0; n < 5 * MODELS; n += 1) sum += quote(n % MODELS)
  const started = performance.now()
  const cpu = process.cpuUsage()
  let done = 0
  while (performance.now() - started < SECONDS * 1_000) {
    for (let n = 0; n < ROUND; n += 1) sum += quote((done + n) % MODELS)
    done += ROUND
  }
  const seconds = (performance.now() - started) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  if (sum <= 0n) throw new Error('nothing was quoted')
  return { perSecond: done / seconds, perCpuSecond: done / ((user + system) / 1e6) }
}

function wholeCost(terms: Terms, request: WorkRequest): bigint {
  const quote = quoteWhole(terms, request, false)
  if (!quote.ok) throw new Error(quote.refusal.detail)
  return costOf(quote.value)
}

const book = bookOfModels()

function reserving(asked: readonly WorkRequest[]): (n: number) => bigint {
  return (n) => {
    const request = asked[n] as WorkRequest
    const terms = termsAt(book, NOW, request)
    if (!terms.ok) throw new Error(terms.refusal.detail)
    return wholeCost(terms.value, request)
  }
}

const byName = requests(book, ({ model }) => [model, null])
const frozen = byName.map((request) => {
  const terms = termsAt(book, NOW, request)
  if (!terms.ok) throw new Error(terms.refusal.detail)
  return JSON.stringify(terms.value)
})

const RUNS: readonly (readonly [what: string, quote: (n: number) => bigint])[] = [
  ['reserve, models by their names', reserving(byName)],
  ['reserve, with the provider', reserving(requests(book, ({ model, provider }) => [model.replace(`${provider}/`, ''), provider]))],
  [
    'reserve, by an alias',
    reserving(requests(book, ({ model, provider }) => [`${model.replace(`${provider}/`, '')}-2026-01-01`, provider])),
  ],
  ['commit, from frozen terms as JSON', (n) => wholeCost(JSON.parse(frozen[n] as string) as Terms, byName[n] as WorkRequest)],
]

const show = (figure: number) => Math.round(figure).toLocaleString('en').padStart(10)
for (const [what, quote] of RUNS) {
  const { perSecond, perCpuSecond } = measure(quote)
  console.log(`${what.padEnd(36)} ${show(perSecond)} quotes/s  ${show(perCpuSecond)} a second of processor time`)
}
