import { readFile, stat } from 'node:fs/promises'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { FareboxError } from '../kernel/errors.ts'
import { fromWireId, toWireId } from '../kernel/ids.ts'
import type { Speaker } from '../ledger/book.ts'
import { createPrisma } from '../platform/prisma.ts'
import { applyImport, isIdle, LIST_FORMATS, type ListFormat, prepareImport } from '../pricing/imports/importer.ts'
import { reportOf } from '../pricing/imports/report.ts'
import { BAND_PERCENT } from '../pricing/imports/sanity.ts'
import { importToWire } from '../pricing/schemas.ts'
import type { PriceStore, Quarantined } from '../pricing/store.ts'
import { priceStore } from '../pricing/store-prisma.ts'
import { examples, Failure, integer, newCommand, note, type Ports, print } from './command.ts'
import { readDatabaseConfig, requireSchema, withDatabase } from './database.ts'
import { changeBecause } from './keys.ts'

const DOCUMENT_BYTES_MAX = 64 * 1024 * 1024
const FETCH_MS_MAX = 60_000
const PAGE = 200

export function command(ports: Ports): Command {
  const importer = newCommand('import', 'Compare a public price list with the prices there are, and with --apply take it over.')
    .argument('<format>', `one of ${LIST_FORMATS.join(', ')}`, parseFormat)
    .argument('<source>', 'a file, or the URL that the list is published at')
    .option('--apply', 'add the versions and quarantine what is implausible (default: only say what would change)')
    .option('--band <percent>', 'by how much a price may change without a person looking', integer(1, 1_000_000), BAND_PERCENT)
    .option('--reason <reason>', 'for the history and the audit log', 'Imported from a public price list')
    .option('--all', 'every line of the report')
    .option('--json', 'one JSON object instead of the report')
    .addHelpText(
      'after',
      examples(
        'farebox prices import litellm model_prices_and_context_window.json',
        'farebox prices import genai-prices data.json --apply --reason "August prices"',
        'farebox prices import openrouter https://openrouter.ai/api/v1/models',
      ),
    )
    .action((format: ListFormat, source: string, options: ImportOptions) =>
      withPrices(ports, (store) => importList(store, format, source, options)),
    )

  const quarantine = newCommand('quarantine', 'List the imported prices that wait for a decision, newest first.')
    .addOption(new Option('--status <status>', 'which ones').choices(['pending', 'accepted', 'rejected', 'superseded']).default('pending'))
    .action(({ status }: { status: Quarantined['status'] }) => withPrices(ports, (store) => listQuarantine(store, status)))

  const decision = (verb: 'accept' | 'reject', says: string) =>
    newCommand(verb, says)
      .argument('<id>', 'its id, prp_…, as "farebox prices quarantine" shows it', parseProposalId)
      .requiredOption('--reason <reason>', 'for the history and the audit log')
      .action((id: string, { reason }: { reason: string }) => withPrices(ports, (store) => decide(store, verb, id, reason)))

  return newCommand('prices', 'Import public price lists and decide on what is implausible in them.')
    .addCommand(importer)
    .addCommand(quarantine)
    .addCommand(decision('accept', 'Accept a quarantined price: it becomes a version.'))
    .addCommand(decision('reject', 'Reject a quarantined price: the same one is not proposed again.'))
    .addHelpText('after', examples('farebox prices import litellm prices.json', 'farebox prices quarantine'))
}

interface ImportOptions {
  readonly apply?: true
  readonly band: number
  readonly reason: string
  readonly all?: true
  readonly json?: true
}

async function importList(store: PriceStore, format: ListFormat, source: string, options: ImportOptions): Promise<void> {
  const document = await readDocument(source)
  const planned = await prepareImport(store, await store.readBook(), format, document, options.band)
  const idle = isIdle(planned)
  const id = options.apply && !idle ? (await applyImport(store, planned, options.reason, speakerFor(options.reason))).id : null
  if (options.json) {
    print(JSON.stringify(importToWire(id, planned)))
    return
  }
  process.stdout.write(reportOf(planned.plan, planned.list, { all: options.all === true }))
  if (idle) note('Nothing to change.')
  else if (id === null) note('Nothing was changed. With --apply it is.')
  else note(`Applied as ${toWireId('priceImport', id)}. Running processes use the prices within a second.`)
  if (id !== null && planned.plan.quarantine.length > 0) note('Decide on what was held back: farebox prices quarantine')
}

async function listQuarantine(store: PriceStore, status: Quarantined['status']): Promise<void> {
  let before: string | null = null
  let shown = 0
  for (;;) {
    const page: Quarantined[] = await store.quarantine({ status }, before, PAGE)
    for (const row of page) print(`${toWireId('proposal', row.id)}  ${row.source}  ${row.model}  ${row.reasons.join('; ')}`)
    shown += page.length
    before = page.at(-1)?.id ?? null
    if (page.length < PAGE) break
  }
  if (shown === 0) note(`There are no ${status} prices.`)
}

async function decide(store: PriceStore, verb: 'accept' | 'reject', id: string, reason: string): Promise<void> {
  const decided = await store.decide(id, verb === 'accept', reason, speakerFor(reason))
  note(verb === 'accept' ? `Accepted: ${decided.model} has a new version.` : `Rejected: ${decided.model} keeps its price.`)
}

/** @throws Failure when the file or the URL cannot be read */
async function readDocument(source: string): Promise<string> {
  if (!/^https?:\/\//.test(source)) {
    try {
      if ((await stat(source)).size > DOCUMENT_BYTES_MAX) throw new Failure(`${source} is larger than ${DOCUMENT_BYTES_MAX} bytes.`)
      return await readFile(source, 'utf8')
    } catch (error) {
      if (error instanceof Failure) throw error
      throw new Failure(`${source} cannot be read: ${reasonOf(error)}`)
    }
  }
  try {
    const answer = await fetch(source, { signal: AbortSignal.timeout(FETCH_MS_MAX) })
    if (!answer.ok) throw new Failure(`${source} answered ${answer.status}.`)
    const chunks: Uint8Array[] = []
    let bytes = 0
    for await (const chunk of answer.body ?? []) {
      bytes += chunk.length
      if (bytes > DOCUMENT_BYTES_MAX) throw new Failure(`${source} sent more than ${DOCUMENT_BYTES_MAX} bytes.`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString('utf8')
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(`${source} cannot be fetched: ${reasonOf(error)}`)
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}

async function withPrices(ports: Ports, work: (store: PriceStore) => Promise<void>): Promise<void> {
  await withDatabase(readDatabaseConfig(ports.env), {}, async (database) => {
    await requireSchema(ports, database)
    const prisma = createPrisma(database.url)
    try {
      await work(priceStore(prisma))
    } catch (error) {
      if (error instanceof FareboxError) throw new Failure(error.refusal.detail)
      throw error
    } finally {
      await prisma.$disconnect()
    }
  })
}

function speakerFor(reason: string): Speaker {
  return { ...changeBecause(reason).speaker, everyClient: true }
}

function parseFormat(text: string): ListFormat {
  const format = LIST_FORMATS.find((name) => name === text)
  if (!format) throw new InvalidArgumentError(`must be one of ${LIST_FORMATS.join(', ')}`)
  return format
}

function parseProposalId(text: string): string {
  const id = fromWireId('proposal', text)
  if (id === null) throw new InvalidArgumentError('must be the id of a quarantined price, prp_…')
  return id
}
