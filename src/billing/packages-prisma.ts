import type { PackageVersion, Prisma, PrismaClient } from '../generated/prisma/client.ts'
import { formatCredits } from '../kernel/credits.ts'
import { newId } from '../kernel/ids.ts'
import { type Instant, toWireTime } from '../kernel/time.ts'
import type { Speaker } from '../ledger/book.ts'
import { addingVersion, audit, takesEffect } from '../ledger/versions-prisma.ts'
import { formatMoney } from './money.ts'
import type { NewPackage, Package } from './package.ts'

export interface RecordedPackage extends Package {
  readonly createdBy: string
  readonly createdAt: Instant
}

export type PackageStore = ReturnType<typeof packageStore>

/** Packages on PostgreSQL: insert-only, each version with its author, and with an audit row when somebody adds it. */
export function packageStore(prisma: PrismaClient) {
  return {
    /** The newest version of each package whose time has come, the most credits last. */
    async inForce(at: Date): Promise<Package[]> {
      const rows = await prisma.packageVersion.findMany({
        where: { effectiveFrom: { lte: at } },
        orderBy: { effectiveFrom: 'desc' },
        distinct: ['package'],
      })
      return rows.map(fromPrisma).sort((a, b) => (a.credits < b.credits ? -1 : a.credits > b.credits ? 1 : a.package < b.package ? -1 : 1))
    },

    /** What a version is called; its name never changes. */
    async nameOf(versionId: string): Promise<string | null> {
      return (await prisma.packageVersion.findUnique({ where: { id: versionId }, select: { name: true } }))?.name ?? null
    },

    /** All versions, newest first. @param before only those older than this id */
    async history(named: string | undefined, before: string | null, limit: number): Promise<RecordedPackage[]> {
      const rows = await prisma.packageVersion.findMany({
        where: { ...(named !== undefined && { package: named }), ...(before !== null && { id: { lt: before } }) },
        orderBy: { id: 'desc' },
        take: limit,
      })
      return rows.map((row) => ({ ...fromPrisma(row), createdBy: row.createdBy, createdAt: row.createdAt.getTime() }))
    },

    /** Adds a version. @throws FareboxError `effective_from_past`, `version_exists` */
    add: (version: NewPackage, effectiveFrom: Instant | null, reason: string, speaker: Speaker): Promise<Package> =>
      addingVersion(() =>
        prisma.$transaction(async (tx) => {
          const { now, from } = await takesEffect(tx, effectiveFrom, 'what was on sale stays as it was')
          const before = await tx.packageVersion.findFirst({
            where: { package: version.package, effectiveFrom: { lte: from } },
            orderBy: { effectiveFrom: 'desc' },
          })
          const row = await tx.packageVersion.create({
            data: { ...version, id: newId(), effectiveFrom: from, createdBy: speaker.actor, createdAt: now },
          })
          await audit(tx, {
            action: 'package.set',
            targetKind: 'package',
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

    /** Adds the packages that have no version yet. @returns how many */
    async seed(versions: readonly NewPackage[], effectiveFrom: Instant): Promise<number> {
      const known = new Set(
        (await prisma.packageVersion.findMany({ select: { package: true }, distinct: ['package'] })).map((row) => row.package),
      )
      const { count } = await prisma.packageVersion.createMany({
        data: versions
          .filter((version) => !known.has(version.package))
          .map((version) => ({
            ...version,
            id: newId(),
            effectiveFrom: new Date(effectiveFrom),
            createdBy: 'system:seed',
            createdAt: new Date(),
          })),
        // Another process seeds the same database.
        skipDuplicates: true,
      })
      return count
    },
  }
}

function describe({ name, currency, amount, credits, bonus, enabled }: Package): Prisma.InputJsonObject {
  return { name, price: formatMoney(amount, currency), currency, credits: formatCredits(credits), bonus: formatCredits(bonus), enabled }
}

function fromPrisma({ effectiveFrom, createdBy: _by, createdAt: _at, ...row }: PackageVersion): Package {
  return { ...row, effectiveFrom: effectiveFrom.getTime() }
}
