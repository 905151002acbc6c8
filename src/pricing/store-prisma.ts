import { Prisma, type PrismaClient } from '../generated/prisma/client.ts'
import { fail } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import { type Instant, toWireTime } from '../kernel/time.ts'
import type { Speaker } from '../ledger/book.ts'
import type { ModelPrice, OperationPrice, PriceBook, Version } from './prices.ts'
import type { NewVersion, PriceStore } from './store.ts'

/** A request that took a moment to arrive does not lie in the past. */
const PAST_TOLERANCE_MS = 1_000

const UNIQUE_VIOLATION = 'P2002'

/** Prices on PostgreSQL: insert-only, each version with its author, and with an audit row when an admin adds it. */
export function priceStore(prisma: PrismaClient): PriceStore {
  return {
    async readBook(): Promise<PriceBook> {
      const newestFirst = { orderBy: { effectiveFrom: 'desc' } } as const
      const [models, operations, markups, rates, policies] = await prisma.$transaction([
        prisma.priceVersion.findMany(newestFirst),
        prisma.operationVersion.findMany(newestFirst),
        prisma.markup.findMany({ where: { scope: 'default' }, ...newestFirst }),
        prisma.exchangeRate.findMany({ where: { currency: 'USD', purpose: 'consumption' }, ...newestFirst }),
        prisma.chargePolicy.findMany(newestFirst),
      ])
      return {
        models: groupBy(
          models.map(
            (row): ModelPrice => ({
              ...dated(row),
              model: row.model,
              provider: row.provider,
              inputUsdPerMillion: row.inputUsdPerMillion.toFixed(),
              outputUsdPerMillion: row.outputUsdPerMillion.toFixed(),
              enabled: row.enabled,
            }),
          ),
          (price) => price.model,
        ),
        operations: groupBy(
          operations.map(
            (row): OperationPrice => ({ ...dated(row), operation: row.operation, unitCost: row.unitCost, enabled: row.enabled }),
          ),
          (price) => price.operation,
        ),
        markups: markups.map((row) => ({ ...dated(row), scope: row.scope, percent: row.percent.toFixed() })),
        consumptionRates: rates.map((row) => ({
          ...dated(row),
          currency: row.currency,
          purpose: 'consumption' as const,
          creditsPerUnit: row.creditsPerUnit.toFixed(),
        })),
        policies: policies.map((row) => ({ ...dated(row), minimumCharge: row.minimumCharge, maximumCharge: row.maximumCharge })),
      }
    },

    async add(added, effectiveFrom, reason, speaker) {
      const [clock] = await prisma.$queryRaw<[{ now: Date }]>`select clock_timestamp() as now`
      const now = clock.now.getTime()
      if (effectiveFrom !== null && effectiveFrom < now - PAST_TOLERANCE_MS) {
        throw fail('effective_from_past', `It is ${toWireTime(now)}; a price that was in force stays in force.`)
      }
      const row = { id: newId(), effectiveFrom: new Date(effectiveFrom ?? now), createdBy: speaker.actor, createdAt: clock.now }
      try {
        await prisma.$transaction([insert(prisma, added, row), audit(prisma, added, row, reason, speaker)])
      } catch (error) {
        if (error instanceof Prisma.PrismaClientKnownRequestError && error.code === UNIQUE_VIOLATION) {
          throw fail('version_exists', `There is a version that takes effect at ${row.effectiveFrom.toISOString()} already.`)
        }
        throw error
      }
      return { id: row.id, effectiveFrom: row.effectiveFrom.getTime() }
    },

    async seed(versions, effectiveFrom) {
      let added = 0
      for (const version of versions) {
        if (await exists(prisma, version)) continue
        const row = { id: newId(), effectiveFrom: new Date(effectiveFrom), createdBy: 'system:seed', createdAt: new Date() }
        try {
          await insert(prisma, version, row)
          added += 1
        } catch (error) {
          // Another process seeds the same database.
          if (!(error instanceof Prisma.PrismaClientKnownRequestError && error.code === UNIQUE_VIOLATION)) throw error
        }
      }
      return added
    },
  }
}

interface NewRow {
  readonly id: string
  readonly effectiveFrom: Date
  readonly createdBy: string
  readonly createdAt: Date
}

function insert(prisma: PrismaClient, { kind, version }: NewVersion, row: NewRow): Prisma.PrismaPromise<unknown> {
  switch (kind) {
    case 'model':
      return prisma.priceVersion.create({ data: { ...row, ...version } })
    case 'operation':
      return prisma.operationVersion.create({ data: { ...row, ...version } })
    case 'markup':
      return prisma.markup.create({ data: { ...row, ...version } })
    case 'rate':
      return prisma.exchangeRate.create({ data: { ...row, ...version } })
    case 'policy':
      return prisma.chargePolicy.create({ data: { ...row, ...version } })
  }
}

async function exists(prisma: PrismaClient, { kind, version }: NewVersion): Promise<boolean> {
  switch (kind) {
    case 'model':
      return (await prisma.priceVersion.count({ where: { model: version.model } })) > 0
    case 'operation':
      return (await prisma.operationVersion.count({ where: { operation: version.operation } })) > 0
    case 'markup':
      return (await prisma.markup.count({ where: { scope: version.scope } })) > 0
    case 'rate':
      return (await prisma.exchangeRate.count({ where: { currency: version.currency, purpose: version.purpose } })) > 0
    case 'policy':
      return (await prisma.chargePolicy.count()) > 0
  }
}

function audit(prisma: PrismaClient, added: NewVersion, row: NewRow, reason: string, speaker: Speaker) {
  return prisma.auditEntry.create({
    data: {
      id: newId(),
      clientId: speaker.clientId,
      actor: speaker.actor,
      action: `price.${added.kind}`,
      targetKind: added.kind,
      targetId: row.id,
      reason,
      after: JSON.parse(
        JSON.stringify({ ...added.version, effectiveFrom: row.effectiveFrom }, (_key, value) =>
          typeof value === 'bigint' ? value.toString() : value,
        ),
      ),
      requestId: speaker.requestId,
      createdAt: row.createdAt,
    },
  })
}

function dated(row: { id: string; effectiveFrom: Date }): Version {
  return { id: row.id, effectiveFrom: row.effectiveFrom.getTime() as Instant }
}

function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group) group.push(item)
    else groups.set(keyOf(item), [item])
  }
  return groups
}
