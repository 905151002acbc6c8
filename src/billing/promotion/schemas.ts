import { z } from 'zod'
import * as field from '../../http/fields.ts'
import { pageQuery } from '../../http/page.ts'
import { formatCredits, parseCredits } from '../../kernel/credits.ts'
import { toWireId } from '../../kernel/ids.ts'
import { toWireTime, toWireTimeOrNull } from '../../kernel/time.ts'
import { formatMoney, parseMoney } from '../money.ts'
import { currency, money, moneyOut, promotionCode } from '../schemas.ts'
import type { BonusRule, NewBonusRule } from './bonus-rule.ts'
import { type NewPromotion, normalCode, type Promotion } from './promotion.ts'
import type { CountedPromotion, RecordedRule } from './store-prisma.ts'

/** The wire format of bonus rules and promotions. */

/** It starts a moment after its request was read, and has to start before it ends. */
const END_AHEAD_MS_MIN = 1_000

const percent = z
  .string()
  .regex(/^(?:0|[1-9][0-9]{0,3})(?:\.[0-9]{1,4})?$/, 'must be a plain decimal string such as "12.5"')
  .refine((text) => /[1-9]/.test(text) && Number(text) <= 1_000, 'must be more than 0 and at most 1000')
  .meta({ description: 'Of the credits that are bought', example: '10' })

const ruleId = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,49}$/, 'must be a name such as "volume_100"')
  .meta({ example: 'volume_100' })

export const bonusRuleBody = z
  .strictObject({
    rule: ruleId,
    kind: z.enum(['volume', 'first_purchase']),
    currency,
    from_amount: money.default('0').meta({ description: 'Orders of at least so much' }),
    percent,
    most_credits: field.credits.optional().meta({ description: 'At most so many' }),
    enabled: z.boolean().default(true),
    effective_from: field.time.optional().meta({ description: 'A time ahead; now when absent' }),
    reason: field.text(500),
  })
  .superRefine(({ from_amount: from, currency: code }, context) => {
    if (parseMoney(from, code) === null) {
      context.addIssue({ code: 'custom', path: ['from_amount'], message: `must not have more decimals than ${code} has` })
    }
  })
  .meta({ id: 'BonusRuleRequest' })

export function newBonusRule(body: z.output<typeof bonusRuleBody>): NewBonusRule {
  return {
    rule: body.rule,
    kind: body.kind,
    currency: body.currency,
    fromAmount: parseMoney(body.from_amount, body.currency) ?? 0n,
    percent: body.percent,
    mostCredits: body.most_credits === undefined ? null : parseCredits(body.most_credits),
    enabled: body.enabled,
  }
}

export const bonusRuleObject = z
  .object({
    rule: z.string(),
    kind: z.enum(['volume', 'first_purchase']),
    currency: z.string(),
    from_amount: moneyOut,
    percent: z.string(),
    most_credits: field.creditsOut.nullable(),
  })
  .meta({ id: 'BonusRule' })

export function bonusRuleToWire(rule: BonusRule) {
  return {
    rule: rule.rule,
    kind: rule.kind,
    currency: rule.currency,
    from_amount: formatMoney(rule.fromAmount, rule.currency),
    percent: rule.percent,
    most_credits: rule.mostCredits === null ? null : formatCredits(rule.mostCredits),
  }
}

export const bonusRuleVersionObject = bonusRuleObject
  .extend({ version_id: field.id('bonusRule'), enabled: z.boolean(), effective_from: field.timeOut })
  .meta({ id: 'BonusRuleVersion' })

export function bonusRuleVersionToWire(rule: BonusRule) {
  return {
    ...bonusRuleToWire(rule),
    version_id: toWireId('bonusRule', rule.id),
    enabled: rule.enabled,
    effective_from: toWireTime(rule.effectiveFrom),
  }
}

export const bonusRuleHistoryObject = bonusRuleVersionObject
  .extend({ created_by: z.string(), created_at: field.timeOut })
  .meta({ id: 'BonusRuleVersionRecord' })

export function bonusRuleHistoryToWire(rule: RecordedRule) {
  return { ...bonusRuleVersionToWire(rule), created_by: rule.createdBy, created_at: toWireTime(rule.createdAt) }
}

export const bonusRuleHistoryQuery = pageQuery.extend({ rule: ruleId.optional() })

export const promotionBody = z
  .strictObject({
    code: promotionCode,
    percent: percent.optional(),
    credits: field.credits.optional(),
    needs_purchase: z.boolean().default(true).meta({ description: 'False: the code alone gives its credits' }),
    first_purchase_only: z.boolean().default(false),
    most_redemptions: z.int().min(1).max(1_000_000_000).optional(),
    grant_days: z.int().min(1).max(3_660).optional().meta({ description: 'How long its credits last; for ever when absent' }),
    starts_at: field.time.optional().meta({ description: 'Now when absent' }),
    ends_at: field.time.optional(),
    reason: field.text(500),
  })
  .superRefine((body, context) => {
    const issue = (name: string, message: string) => context.addIssue({ code: 'custom', path: [name], message })
    if ((body.percent === undefined) === (body.credits === undefined))
      issue('percent', 'is required unless credits is given, and excludes it')
    else if (body.percent !== undefined && !body.needs_purchase) issue('percent', 'is of a purchase: a code by itself gives credits')
    if (body.first_purchase_only && !body.needs_purchase) issue('first_purchase_only', 'needs a purchase')
    const endsAt = body.ends_at === undefined ? Number.POSITIVE_INFINITY : Date.parse(body.ends_at)
    if (endsAt <= Date.now() + END_AHEAD_MS_MIN || (body.starts_at !== undefined && endsAt <= Date.parse(body.starts_at))) {
      issue('ends_at', 'must lie ahead, and behind starts_at')
    }
  })
  .meta({ id: 'PromotionRequest' })

/** @param now when it starts unless it says when */
export function newPromotion(body: z.output<typeof promotionBody>, now: number): NewPromotion {
  return {
    code: normalCode(body.code),
    percent: body.percent ?? null,
    credits: body.credits === undefined ? null : parseCredits(body.credits),
    needsPurchase: body.needs_purchase,
    firstPurchaseOnly: body.first_purchase_only,
    mostRedemptions: body.most_redemptions ?? null,
    grantDays: body.grant_days ?? null,
    startsAt: body.starts_at === undefined ? now : Date.parse(body.starts_at),
    endsAt: body.ends_at === undefined ? null : Date.parse(body.ends_at),
  }
}

export const promotionObject = z
  .object({
    id: field.id('promotion'),
    code: z.string(),
    percent: z.string().nullable(),
    credits: field.creditsOut.nullable(),
    needs_purchase: z.boolean(),
    first_purchase_only: z.boolean(),
    most_redemptions: z.int().nullable(),
    grant_days: z.int().nullable(),
    starts_at: field.timeOut,
    ends_at: field.timeOut.nullable(),
  })
  .meta({ id: 'Promotion' })

export function promotionToWire(promotion: Promotion) {
  return {
    id: toWireId('promotion', promotion.id),
    code: promotion.code,
    percent: promotion.percent,
    credits: promotion.credits === null ? null : formatCredits(promotion.credits),
    needs_purchase: promotion.needsPurchase,
    first_purchase_only: promotion.firstPurchaseOnly,
    most_redemptions: promotion.mostRedemptions,
    grant_days: promotion.grantDays,
    starts_at: toWireTime(promotion.startsAt),
    ends_at: toWireTimeOrNull(promotion.endsAt),
  }
}

export const countedPromotionObject = promotionObject
  .extend({ redeemed: z.int(), created_by: z.string(), created_at: field.timeOut })
  .meta({ id: 'PromotionRecord' })

export function countedPromotionToWire(promotion: CountedPromotion) {
  const { redeemed, createdBy, createdAt } = promotion
  return { ...promotionToWire(promotion), redeemed, created_by: createdBy, created_at: toWireTime(createdAt) }
}

export const promotionParams = z.strictObject({ promotion_id: field.id('promotion') })

export const endPromotionBody = z.strictObject({ reason: field.text(500) }).meta({ id: 'EndPromotionRequest' })

export const redeemBody = z.strictObject({ wallet: field.wallet, code: promotionCode }).meta({ id: 'RedemptionRequest' })

export const promotionsQuery = pageQuery
