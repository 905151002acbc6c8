import type { PriceQuarantine, Prisma, PrismaClient } from '../generated/prisma/client.ts'
import { fail } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import { type Instant, toWireTime } from '../kernel/time.ts'
import type { Speaker } from '../ledger/book.ts'
import { addingVersion, asJson, audit, auditRow, type Tx, takesEffect } from '../ledger/versions-prisma.ts'
import { databaseClock, isUniqueViolation } from '../platform/prisma.ts'
import { inOrder, type Rates } from './pools.ts'
import {
  type Alias,
  type ChargePolicy,
  type CostTier,
  type ExchangeRate,
  type Markup,
  type ModelListing,
  type ModelPrice,
  type OperationPrice,
  type PriceBook,
  type PriceVariant,
  rateKey,
  type Version,
} from './prices.ts'
import type { HistoryFilter, NewVersion, PriceStore, ProposedPrice, Quarantined, QuarantineStatus, Recorded, VersionKind } from './store.ts'

/** An import of all public models writes thousands of rows. */
const IMPORT_TIMEOUT_MS = 60_000

/** Prices on PostgreSQL: insert-only, each version with its author, and with an audit row when somebody adds it. */
export function priceStore(prisma: PrismaClient): PriceStore {
  return {
    async readBook(): Promise<PriceBook> {
      const newestFirst = { orderBy: { effectiveFrom: 'desc' } } as const
      // Not one transaction: what is added between two of these reads is announced, and read again. A pool's connection that is broken off
      // while it is handed to a transaction has nobody who listens to its error, which would end the process.
      const [models, operations, markups, rates, policies] = await Promise.all([
        prisma.priceVersion.findMany(newestFirst),
        prisma.operationVersion.findMany(newestFirst),
        prisma.markup.findMany(newestFirst),
        prisma.exchangeRate.findMany(newestFirst),
        prisma.chargePolicy.findMany(newestFirst),
      ])
      return {
        models: Map.groupBy(models.map(toModelPrice), (price) => price.model),
        operations: Map.groupBy(operations.map(toOperationPrice), (price) => price.operation),
        markups: Map.groupBy(markups.map(toMarkup), (markup) => markup.scope),
        exchangeRates: Map.groupBy(rates.map(toExchangeRate), (rate) => rateKey(rate.currency, rate.purpose)),
        policies: policies.map(toPolicy),
      }
    },

    add: (added, effectiveFrom, reason, speaker) =>
      inTransaction(prisma, async (tx) => {
        const { now, from } = await takesEffect(tx, effectiveFrom, 'a price that was in force stays in force')
        return addVersion(tx, added, { from: from.getTime(), now: now.getTime(), reason, speaker })
      }),

    async seed(versions, effectiveFrom) {
      let added = 0
      for (const version of versions) {
        if ((await newest(prisma, version)) !== null) continue
        try {
          await insert(prisma, version, {
            id: newId(),
            effectiveFrom: new Date(effectiveFrom),
            createdBy: 'system:seed',
            createdAt: new Date(),
          })
          added += 1
        } catch (error) {
          // Another process seeds the same database.
          if (!isUniqueViolation(error)) throw error
        }
      }
      return added
    },

    async history(kind, filter, before, limit) {
      const rows = await readHistory(prisma, kind, filter, before, limit)
      const audits = await prisma.auditEntry.findMany({
        where: { targetId: { in: rows.map(({ version }) => version.id) }, targetKind: kind },
        select: { targetId: true, reason: true },
      })
      const reasons = new Map(audits.map((audit) => [audit.targetId, audit.reason]))
      return rows.map((row) => ({ ...row, reason: reasons.get(row.version.id) ?? null }))
    },

    applyImport: ({ source, insert: listed, quarantine, supersede, unchanged, skipped }, reason, speaker) =>
      inTransaction(prisma, async (tx) => {
        const now = await databaseClock(tx)
        const createdAt = new Date(now)
        const id = newId()
        await tx.priceImport.create({
          data: {
            id,
            source,
            inserted: listed.length,
            quarantined: quarantine.length,
            unchanged,
            skipped,
            reason,
            createdBy: speaker.actor,
            createdAt,
          },
        })
        await addListed(tx, source, listed, { now, reason, speaker })
        await tx.priceQuarantine.updateMany({
          where: { id: { in: [...supersede] }, status: 'pending' },
          data: { status: 'superseded', decidedBy: speaker.actor, decidedReason: reason, decidedAt: createdAt },
        })
        const held = await inForceAt(
          tx,
          quarantine.map(({ listing }) => listing.model),
          createdAt,
        )
        await tx.priceQuarantine.createMany({
          data: quarantine.map(({ listing, effectiveFrom, reasons }) => ({
            id: newId(),
            importId: id,
            source,
            model: listing.model,
            provider: listing.provider,
            proposal: asJson(listing),
            effectiveFrom: effectiveFrom === null ? null : new Date(effectiveFrom),
            currentId: held.get(listing.model)?.id ?? null,
            reasons: [...reasons],
            status: 'pending',
            createdAt,
          })),
        })
        return { id }
      }),

    async imports(before, limit) {
      const rows = await prisma.priceImport.findMany({
        where: { ...(before !== null && { id: { lt: before } }) },
        orderBy: { id: 'desc' },
        take: limit,
      })
      return rows.map((row) => ({ ...row, createdAt: row.createdAt.getTime() }))
    },

    async quarantine(filter, before, limit) {
      const rows = await prisma.priceQuarantine.findMany({
        where: { ...given(filter), ...(before !== null && { id: { lt: before } }) },
        orderBy: { id: 'desc' },
        take: limit,
      })
      return rows.map(toQuarantined)
    },

    async decided(source) {
      const rows = await prisma.priceQuarantine.findMany({ where: { source, status: { in: ['pending', 'rejected'] } } })
      return rows.map(toQuarantined)
    },

    decide: (id, accept, reason, speaker) =>
      inTransaction(prisma, async (tx) => {
        const now = await databaseClock(tx)
        const decided = { decidedBy: speaker.actor, decidedReason: reason, decidedAt: new Date(now) }
        // The row lock makes one of two deciders wait, and find the proposal decided.
        const { count } = await tx.priceQuarantine.updateMany({
          where: { id, status: 'pending' },
          data: { status: accept ? 'accepted' : 'rejected', ...decided },
        })
        const row = await tx.priceQuarantine.findUnique({ where: { id } })
        if (!row) throw fail('quarantine_not_found', 'No proposal has this id.')
        if (count === 0) throw fail('quarantine_decided', `It was ${row.status} by ${row.decidedBy}.`)
        if (!accept) {
          const about = { action: 'price.reject', targetKind: 'quarantine', targetId: id, after: row.proposal }
          await audit(tx, { ...about, reason, speaker, createdAt: decided.decidedAt })
          return toQuarantined(row)
        }
        const listing = row.proposal as unknown as ModelListing
        const from = Math.max(row.effectiveFrom?.getTime() ?? now, now)
        const version = await addVersion(tx, { kind: 'model', version: { ...listing, source: row.source } }, { from, now, reason, speaker })
        return toQuarantined(await tx.priceQuarantine.update({ where: { id }, data: { versionId: version.id } }))
      }),
  }
}

function inTransaction<T>(prisma: PrismaClient, work: (tx: Tx) => Promise<T>): Promise<T> {
  return addingVersion(() => prisma.$transaction(work, { timeout: IMPORT_TIMEOUT_MS }))
}

interface Adding {
  readonly from: Instant
  readonly now: Instant
  readonly reason: string
  readonly speaker: Speaker
}

async function addVersion(
  tx: Tx,
  added: NewVersion,
  { from, now, reason, speaker }: Adding,
): Promise<{ id: string; effectiveFrom: Instant }> {
  const row = { id: newId(), effectiveFrom: new Date(from), createdBy: speaker.actor, createdAt: new Date(now) }
  const before = await newest(tx, added, new Date(from))
  await insert(tx, added, row)
  await audit(tx, {
    action: `price.${added.kind}`,
    targetKind: added.kind,
    targetId: row.id,
    before,
    after: { ...added.version, effectiveFrom: toWireTime(from) },
    reason,
    speaker,
    createdAt: row.createdAt,
  })
  return { id: row.id, effectiveFrom: from }
}

/** Thousands of model prices at once, with an audit row each. */
async function addListed(
  tx: Tx,
  source: string,
  listed: readonly ProposedPrice[],
  { now, reason, speaker }: Omit<Adding, 'from'>,
): Promise<void> {
  const before = await inForceAt(
    tx,
    listed.map(({ listing }) => listing.model),
    new Date(now),
  )
  const rows = listed.map(({ listing, effectiveFrom }) => {
    const from = Math.max(effectiveFrom ?? now, now)
    const row = { id: newId(), effectiveFrom: new Date(from), createdBy: speaker.actor, createdAt: new Date(now) }
    return { listing, from, row }
  })
  await tx.priceVersion.createMany({ data: rows.map(({ listing, row }) => ({ ...row, ...modelColumns({ ...listing, source }) })) })
  await tx.auditEntry.createMany({
    data: rows.map(({ listing, from, row }) =>
      auditRow({
        action: 'price.model',
        targetKind: 'model',
        targetId: row.id,
        before: before.get(listing.model) ?? null,
        after: { ...listing, source, effectiveFrom: toWireTime(from) },
        reason,
        speaker,
        createdAt: row.createdAt,
      }),
    ),
  })
}

/** The versions of models that are in force at a time, by model. */
async function inForceAt(tx: Tx, models: readonly string[], at: Date): Promise<Map<string, ModelPrice>> {
  const rows = await tx.priceVersion.findMany({
    where: { model: { in: [...models] }, effectiveFrom: { lte: at } },
    orderBy: { effectiveFrom: 'desc' },
    distinct: ['model'],
  })
  return new Map(rows.map((row) => [row.model, toModelPrice(row)]))
}

function modelColumns({ rates, variants, aliases, capabilities, ...rest }: Omit<ModelPrice, keyof Version>) {
  return { ...rest, rates: asJson(rates), variants: asJson(variants), aliases: asJson(aliases), capabilities: [...capabilities] }
}

interface NewRow {
  readonly id: string
  readonly effectiveFrom: Date
  readonly createdBy: string
  readonly createdAt: Date
}

async function insert(db: Tx, { kind, version }: NewVersion, row: NewRow): Promise<void> {
  switch (kind) {
    case 'model':
      await db.priceVersion.create({ data: { ...row, ...modelColumns(version) } })
      return
    case 'operation':
      await db.operationVersion.create({ data: { ...row, ...version } })
      return
    case 'markup':
      await db.markup.create({ data: { ...row, ...version } })
      return
    case 'rate':
      await db.exchangeRate.create({ data: { ...row, ...version } })
      return
    case 'policy':
      await db.chargePolicy.create({ data: { ...row, ...version } })
  }
}

/** The version that another one follows, at a time or at all. */
async function newest(db: Tx, { kind, version }: NewVersion, at?: Date): Promise<Version | null> {
  const where = at ? { effectiveFrom: { lte: at } } : {}
  const orderBy = { effectiveFrom: 'desc' } as const
  switch (kind) {
    case 'model':
      return orNull(await db.priceVersion.findFirst({ where: { ...where, model: version.model }, orderBy }), toModelPrice)
    case 'operation':
      return orNull(await db.operationVersion.findFirst({ where: { ...where, operation: version.operation }, orderBy }), toOperationPrice)
    case 'markup':
      return orNull(await db.markup.findFirst({ where: { ...where, scope: version.scope }, orderBy }), toMarkup)
    case 'rate':
      return orNull(
        await db.exchangeRate.findFirst({ where: { ...where, currency: version.currency, purpose: version.purpose }, orderBy }),
        toExchangeRate,
      )
    case 'policy':
      return orNull(await db.chargePolicy.findFirst({ where, orderBy }), toPolicy)
  }
}

function orNull<Row, V>(row: Row | null, map: (row: Row) => V): V | null {
  return row === null ? null : map(row)
}

async function readHistory(
  prisma: PrismaClient,
  kind: VersionKind,
  filter: HistoryFilter,
  before: string | null,
  limit: number,
): Promise<Omit<Recorded, 'reason'>[]> {
  const page = {
    where: { ...given(filter), ...(before !== null && { id: { lt: before } }) },
    orderBy: { id: 'desc' },
    take: limit,
  } as const
  const recorded = <Row extends { createdBy: string; createdAt: Date }>(rows: readonly Row[], map: (row: Row) => Version) =>
    rows.map((row) => ({ version: map(row), createdBy: row.createdBy, createdAt: row.createdAt.getTime() }))
  switch (kind) {
    case 'model':
      return recorded(await prisma.priceVersion.findMany(page), toModelPrice)
    case 'operation':
      return recorded(await prisma.operationVersion.findMany(page), toOperationPrice)
    case 'markup':
      return recorded(await prisma.markup.findMany(page), toMarkup)
    case 'rate':
      return recorded(await prisma.exchangeRate.findMany(page), toExchangeRate)
    case 'policy':
      return recorded(await prisma.chargePolicy.findMany(page), toPolicy)
  }
}

/** A filter without the parts that are not set. */
function given<Filter extends object>(filter: Filter): { [Name in keyof Filter]?: Exclude<Filter[Name], undefined> } {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined)) as never
}

function dated(row: { id: string; effectiveFrom: Date }): Version {
  return { id: row.id, effectiveFrom: row.effectiveFrom.getTime() }
}

function toModelPrice(row: Prisma.PriceVersionModel): ModelPrice {
  return {
    ...dated(row),
    model: row.model,
    provider: row.provider,
    rates: inOrder(row.rates as Rates),
    variants: row.variants as unknown as PriceVariant[],
    aliases: row.aliases as unknown as Alias[],
    contextWindow: row.contextWindow,
    maxOutputTokens: row.maxOutputTokens,
    capabilities: row.capabilities,
    costTier: row.costTier as CostTier,
    enabled: row.enabled,
    source: row.source,
  }
}

function toOperationPrice(row: Prisma.OperationVersionModel): OperationPrice {
  return { ...dated(row), operation: row.operation, flatCost: row.flatCost, unitCost: row.unitCost, enabled: row.enabled }
}

function toMarkup(row: Prisma.MarkupModel): Markup {
  return { ...dated(row), scope: row.scope, percent: row.percent.toFixed() }
}

function toExchangeRate(row: Prisma.ExchangeRateModel): ExchangeRate {
  return {
    ...dated(row),
    currency: row.currency,
    purpose: row.purpose as ExchangeRate['purpose'],
    creditsPerUnit: row.creditsPerUnit.toFixed(),
  }
}

function toPolicy(row: Prisma.ChargePolicyModel): ChargePolicy {
  return {
    ...dated(row),
    minimumCharge: row.minimumCharge,
    maximumCharge: row.maximumCharge,
    roundTo: row.roundTo,
    ownerExempt: row.ownerExempt,
  }
}

function toQuarantined(row: PriceQuarantine): Quarantined {
  return {
    id: row.id,
    importId: row.importId,
    source: row.source,
    model: row.model,
    provider: row.provider,
    proposal: row.proposal as unknown as ModelListing,
    effectiveFrom: row.effectiveFrom?.getTime() ?? null,
    currentId: row.currentId,
    reasons: row.reasons,
    status: row.status as QuarantineStatus,
    versionId: row.versionId,
    decidedBy: row.decidedBy,
    decidedReason: row.decidedReason,
    decidedAt: row.decidedAt?.getTime() ?? null,
    createdAt: row.createdAt.getTime(),
  }
}
