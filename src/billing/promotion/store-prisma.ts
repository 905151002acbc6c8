import type { BonusRuleVersion, Prisma, PrismaClient, Promotion as PromotionRow } from '../../generated/prisma/client.ts'
import { fail, refusal } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import { DAY_MS, type Instant, toWireTime } from '../../kernel/time.ts'
import type { Speaker } from '../../ledger/book.ts'
import { done, type Outcome, refuse } from '../../ledger/command.ts'
import { addingVersion, audit, takesEffect } from '../../ledger/versions-prisma.ts'
import { databaseClock, isUniqueViolation } from '../../platform/prisma.ts'
import type { BonusRule, NewBonusRule } from './bonus-rule.ts'
import type { NewPromotion, Promotion } from './promotion.ts'

/** A claim whose order is not paid holds its place among the redemptions for so long: as long as a page of Stripe's can be paid. */
const CLAIM_MS = DAY_MS

export interface RecordedRule extends BonusRule {
  readonly createdBy: string
  readonly createdAt: Instant
}

/** A promotion with who made it, and how often it was redeemed. */
export interface CountedPromotion extends Promotion {
  readonly redeemed: number
  readonly createdBy: string
  readonly createdAt: Instant
}

export type PromotionStore = ReturnType<typeof promotionStore>

/** Bonus rules and promotions on PostgreSQL, each with its audit row. */
export function promotionStore(prisma: PrismaClient) {
  return {
    /** The newest version of each rule whose time has come. */
    async rulesInForce(at: Date): Promise<BonusRule[]> {
      const rows = await prisma.bonusRuleVersion.findMany({
        where: { effectiveFrom: { lte: at } },
        orderBy: { effectiveFrom: 'desc' },
        distinct: ['rule'],
      })
      return rows.map(ruleFromPrisma).filter(({ enabled }) => enabled)
    },

    /** All versions, newest first. @param before only those older than this id */
    async ruleHistory(rule: string | undefined, before: string | null, limit: number): Promise<RecordedRule[]> {
      const rows = await prisma.bonusRuleVersion.findMany({
        where: { ...(rule !== undefined && { rule }), ...(before !== null && { id: { lt: before } }) },
        orderBy: { id: 'desc' },
        take: limit,
      })
      return rows.map((row) => ({ ...ruleFromPrisma(row), createdBy: row.createdBy, createdAt: row.createdAt.getTime() }))
    },

    /** Adds a version of a rule. @throws FareboxError `effective_from_past`, `version_exists` */
    addRule: (rule: NewBonusRule, effectiveFrom: Instant | null, reason: string, speaker: Speaker): Promise<BonusRule> =>
      addingVersion(() =>
        prisma.$transaction(async (tx) => {
          const { now, from } = await takesEffect(tx, effectiveFrom, 'what was in force stays as it was')
          const data = { ...rule, id: newId(), effectiveFrom: from, createdBy: speaker.actor, createdAt: now }
          const row = await tx.bonusRuleVersion.create({ data })
          const after = { ...describeRule(rule), from: toWireTime(from.getTime()) }
          await audit(tx, { action: 'bonusRule.set', targetKind: 'bonus_rule', targetId: row.id, after, reason, speaker, createdAt: now })
          return ruleFromPrisma(row)
        }),
      ),

    /** Adds a promotion. @throws FareboxError `promotion_exists` */
    async addPromotion(promotion: NewPromotion, reason: string, speaker: Speaker): Promise<Promotion> {
      try {
        return await prisma.$transaction(async (tx) => {
          const now = new Date(await databaseClock(tx))
          const { startsAt, endsAt, ...rest } = promotion
          const times = { startsAt: new Date(startsAt), endsAt: endsAt === null ? null : new Date(endsAt), createdAt: now }
          const row = await tx.promotion.create({ data: { ...rest, ...times, id: newId(), createdBy: speaker.actor } })
          await audit(tx, { ...aboutPromotion(row), action: 'promotion.add', reason, speaker, createdAt: now })
          return promotionFromPrisma(row)
        })
      } catch (error) {
        if (!isUniqueViolation(error)) throw error
        throw fail('promotion_exists', `There is a promotion with the code ${promotion.code} already.`, undefined, error)
      }
    },

    /** Ends a promotion now. What was redeemed stays. @returns null where there is none with this id */
    endPromotion: (id: string, reason: string, speaker: Speaker): Promise<Promotion | null> =>
      prisma.$transaction(async (tx) => {
        const now = new Date(await databaseClock(tx))
        const row = await tx.promotion.findUnique({ where: { id } })
        if (!row) return null
        if (row.endsAt !== null && row.endsAt <= now) return promotionFromPrisma(row)
        // One that has not begun never does.
        const endsAt = row.startsAt < now ? now : new Date(row.startsAt.getTime() + 1)
        await audit(tx, { ...aboutPromotion(row), action: 'promotion.end', reason, speaker, createdAt: now })
        return promotionFromPrisma(await tx.promotion.update({ where: { id }, data: { endsAt } }))
      }),

    /** Promotions, newest first. @param before only those older than this id */
    async promotions(before: string | null, limit: number): Promise<CountedPromotion[]> {
      const rows = await prisma.promotion.findMany({
        where: { ...(before !== null && { id: { lt: before } }) },
        orderBy: { id: 'desc' },
        take: limit,
        include: { _count: { select: { redemptions: { where: { redeemedAt: { not: null } } } } } },
      })
      return rows.map((row) => {
        const made = { createdBy: row.createdBy, createdAt: row.createdAt.getTime() }
        return { ...promotionFromPrisma(row), redeemed: row._count.redemptions, ...made }
      })
    },

    /**
     * Claims a wallet's place among the redemptions of a code, the same one however often it asks. The promotion's row is locked, so
     * that no more claim it than it has places.
     * @param withPurchase whether an order names it, or somebody redeems it by itself
     */
    claim: (code: string, walletId: string, withPurchase: boolean): Promise<Outcome<{ promotion: Promotion; redemptionId: string }>> =>
      prisma.$transaction(async (tx) => {
        const now = new Date(await databaseClock(tx))
        const [locked] = await tx.$queryRaw<{ id: string }[]>`select id from promotions where code = ${code} for update`
        const row = locked ? await tx.promotion.findUnique({ where: { id: locked.id } }) : null
        if (!row || row.startsAt > now) return refuse(refusal('promotion_not_found', `There is no promotion with the code ${code}.`))
        const promotion = promotionFromPrisma(row)
        if (promotion.needsPurchase !== withPurchase) {
          const how = promotion.needsPurchase ? 'with a purchase' : 'by itself: POST /v1/redemptions'
          return refuse(refusal('promotion_not_applicable', `This code is redeemed ${how}.`))
        }
        const known = await tx.redemption.findUnique({ where: { promotionId_walletId: { promotionId: row.id, walletId } } })
        if (known?.redeemedAt) return refuse(refusal('promotion_used', 'This wallet has redeemed the code before.'))
        if (row.endsAt !== null && row.endsAt <= now)
          return refuse(refusal('promotion_ended', `The promotion ended at ${row.endsAt.toISOString()}.`))
        if (row.firstPurchaseOnly && (await tx.firstPayment.findUnique({ where: { walletId } }))) {
          return refuse(refusal('promotion_not_applicable', 'This code is for a first purchase.'))
        }
        const since = new Date(now.getTime() - CLAIM_MS)
        if (row.mostRedemptions !== null && (!known || known.claimedAt < since)) {
          const taken = await tx.redemption.count({
            where: { promotionId: row.id, walletId: { not: walletId }, OR: [{ redeemedAt: { not: null } }, { claimedAt: { gte: since } }] },
          })
          if (taken >= row.mostRedemptions) {
            return refuse(refusal('promotion_ended', 'The promotion has been redeemed as often as it can be.'))
          }
        }
        if (known) await tx.redemption.updateMany({ where: { id: known.id }, data: { claimedAt: now } })
        const redemptionId = known?.id ?? newId()
        if (!known) await tx.redemption.create({ data: { id: redemptionId, walletId, promotionId: row.id, claimedAt: now } })
        return done({ promotion, redemptionId })
      }),
  }
}

function aboutPromotion({ id, code }: PromotionRow) {
  return { targetKind: 'promotion', targetId: id, after: { code } }
}

function describeRule({ rule, kind, currency, fromAmount, percent, mostCredits, enabled }: NewBonusRule): Prisma.InputJsonObject {
  return { rule, kind, currency, from_amount: fromAmount.toString(), percent, most_credits: mostCredits?.toString() ?? null, enabled }
}

function ruleFromPrisma(row: BonusRuleVersion): BonusRule {
  return {
    id: row.id,
    rule: row.rule,
    kind: row.kind as BonusRule['kind'],
    currency: row.currency,
    fromAmount: row.fromAmount,
    percent: row.percent.toFixed(),
    mostCredits: row.mostCredits,
    enabled: row.enabled,
    effectiveFrom: row.effectiveFrom.getTime(),
  }
}

function promotionFromPrisma(row: PromotionRow): Promotion {
  return {
    id: row.id,
    code: row.code,
    percent: row.percent?.toFixed() ?? null,
    credits: row.credits,
    needsPurchase: row.needsPurchase,
    firstPurchaseOnly: row.firstPurchaseOnly,
    mostRedemptions: row.mostRedemptions,
    grantDays: row.grantDays,
    startsAt: row.startsAt.getTime(),
    endsAt: row.endsAt?.getTime() ?? null,
  }
}
