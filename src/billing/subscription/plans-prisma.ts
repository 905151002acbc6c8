import type { PlanVersion, Prisma, PrismaClient } from '../../generated/prisma/client.ts'
import { formatCredits } from '../../kernel/credits.ts'
import { newId } from '../../kernel/ids.ts'
import { type Instant, toWireTime } from '../../kernel/time.ts'
import type { Speaker } from '../../ledger/book.ts'
import { addingVersion, audit, takesEffect } from '../../ledger/versions-prisma.ts'
import { formatMoney } from '../money.ts'
import type { Provider } from '../payment.ts'
import type { Interval, NewPlan, Plan, PlansByPrice } from './plan.ts'

export interface RecordedPlan extends Plan {
  readonly createdBy: string
  readonly createdAt: Instant
}

export type PlanStore = ReturnType<typeof planStore>

/** Plans on PostgreSQL: insert-only, each version with its author and its audit row. */
export function planStore(prisma: PrismaClient) {
  return {
    async find(id: string): Promise<Plan | null> {
      const row = await prisma.planVersion.findUnique({ where: { id } })
      return row && fromPrisma(row)
    },

    /** The newest version of each plan whose time has come, dearest last. */
    async inForce(at: Date): Promise<Plan[]> {
      const rows = await prisma.planVersion.findMany({
        where: { effectiveFrom: { lte: at } },
        orderBy: { effectiveFrom: 'desc' },
        distinct: ['plan'],
      })
      return rows.map(fromPrisma).sort((a, b) => (a.amount < b.amount ? -1 : a.amount > b.amount ? 1 : a.plan < b.plan ? -1 : 1))
    },

    /** All versions, newest first. @param before only those older than this id */
    async history(named: string | undefined, before: string | null, limit: number): Promise<RecordedPlan[]> {
      const rows = await prisma.planVersion.findMany({
        where: { ...(named !== undefined && { plan: named }), ...(before !== null && { id: { lt: before } }) },
        orderBy: { id: 'desc' },
        take: limit,
      })
      return rows.map((row) => ({ ...fromPrisma(row), createdBy: row.createdBy, createdAt: row.createdAt.getTime() }))
    },

    /** Adds a version. @throws FareboxError `effective_from_past`, `version_exists` */
    add: (version: NewPlan, effectiveFrom: Instant | null, reason: string, speaker: Speaker): Promise<Plan> =>
      addingVersion(() =>
        prisma.$transaction(async (tx) => {
          const { now, from } = await takesEffect(tx, effectiveFrom, 'what was on sale stays as it was')
          const before = await tx.planVersion.findFirst({
            where: { plan: version.plan, effectiveFrom: { lte: from } },
            orderBy: { effectiveFrom: 'desc' },
          })
          const row = await tx.planVersion.create({
            data: { ...version, id: newId(), effectiveFrom: from, createdBy: speaker.actor, createdAt: now },
          })
          await audit(tx, {
            action: 'plan.set',
            targetKind: 'plan',
            targetId: row.id,
            before: before && describe(fromPrisma(before)),
            after: { ...describe(fromPrisma(row)), effective_from: toWireTime(from.getTime()) },
            reason,
            speaker,
            createdAt: now,
          })
          return fromPrisma(row)
        }),
      ),

    /** What a plan is to the provider; null until it was made there. */
    async priceOf(planVersionId: string, provider: Provider, livemode: boolean): Promise<string | null> {
      const row = await prisma.planPrice.findUnique({
        where: { planVersionId_provider_livemode: { planVersionId, provider, livemode } },
      })
      return row?.priceId ?? null
    },

    /** Keeps the first that is told. @returns the one that is kept */
    async keepPrice(
      planVersionId: string,
      provider: Provider,
      livemode: boolean,
      made: { readonly productId: string; readonly priceId: string },
    ): Promise<string> {
      const data = { planVersionId, provider, livemode, ...made, createdAt: new Date() }
      await prisma.planPrice.createMany({ data: [data], skipDuplicates: true })
      return (await this.priceOf(planVersionId, provider, livemode)) ?? made.priceId
    },

    /** The plans behind prices of the provider. Those that are none of ours are missing. */
    async ofPrices(provider: Provider, priceIds: readonly string[]): Promise<PlansByPrice> {
      if (priceIds.length === 0) return new Map()
      const rows = await prisma.planPrice.findMany({
        where: { provider, priceId: { in: [...priceIds] } },
        include: { planVersion: true },
      })
      return new Map(rows.map((row) => [row.priceId, fromPrisma(row.planVersion)]))
    },
  }
}

function describe({ name, currency, amount, interval, credits, rolloverCap, enabled }: Plan): Prisma.InputJsonObject {
  const price = formatMoney(amount, currency)
  return { name, price, currency, interval, credits: formatCredits(credits), rollover_cap: formatCredits(rolloverCap), enabled }
}

function fromPrisma({ effectiveFrom, createdBy: _by, createdAt: _at, interval, ...row }: PlanVersion): Plan {
  return { ...row, interval: interval as Interval, effectiveFrom: effectiveFrom.getTime() }
}
