import { z } from 'zod'
import * as field from '../../http/fields.ts'
import { pageQuery } from '../../http/page.ts'
import { formatCredits, parseCredits } from '../../kernel/credits.ts'
import { toWireId } from '../../kernel/ids.ts'
import { toWireTime, toWireTimeOrNull } from '../../kernel/time.ts'
import { formatMoney, parseMoney } from '../money.ts'
import { checkPrice, currency, money, moneyOut, returnUrl } from '../schemas.ts'
import type { NewPlan, Plan } from './plan.ts'
import { STATUSES, type Subscription } from './subscription.ts'

/** The wire format of plans and subscriptions. */

export const planId = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,49}$/, 'must be a plan such as "pro"')
  .meta({ example: 'pro' })

const interval = z.enum(['month', 'year'])

export const planObject = z
  .object({
    id: planId,
    name: z.string(),
    price: moneyOut,
    currency: z.string(),
    interval,
    credits: field.creditsOut.meta({ description: 'Credits of one period' }),
    rollover_cap: field.creditsOut.meta({ description: 'Credits left of a period that the next one takes over at most' }),
  })
  .meta({ id: 'Plan' })

export function planToWire({ plan: id, name, amount, currency: code, interval: each, credits, rolloverCap }: Plan) {
  const price = formatMoney(amount, code)
  return { id, name, price, currency: code, interval: each, credits: formatCredits(credits), rollover_cap: formatCredits(rolloverCap) }
}

export const planBody = z
  .strictObject({
    plan: planId,
    name: field.text(100),
    price: money,
    currency,
    interval: interval.default('month'),
    credits: field.credits,
    rollover_cap: field.creditsOrZero.default('0'),
    enabled: z.boolean().default(true).meta({ description: 'False takes it off sale; who subscribed keeps it' }),
    effective_from: field.time.optional().meta({ description: 'A time ahead; now when absent' }),
    reason: field.text(500),
  })
  .superRefine(checkPrice)
  .meta({ id: 'PlanRequest' })

export function newPlan(body: z.output<typeof planBody>): NewPlan {
  return {
    plan: body.plan,
    name: body.name,
    currency: body.currency,
    amount: parseMoney(body.price, body.currency) ?? 0n,
    interval: body.interval,
    credits: parseCredits(body.credits) ?? 0n,
    rolloverCap: parseCredits(body.rollover_cap) ?? 0n,
    enabled: body.enabled,
  }
}

export const planVersionObject = planObject
  .extend({ version_id: field.id('plan'), enabled: z.boolean(), effective_from: field.timeOut })
  .meta({ id: 'PlanVersion' })

export function planVersionToWire(version: Plan) {
  return {
    ...planToWire(version),
    version_id: toWireId('plan', version.id),
    enabled: version.enabled,
    effective_from: toWireTime(version.effectiveFrom),
  }
}

export const planHistoryObject = planVersionObject
  .extend({ created_by: z.string(), created_at: field.timeOut })
  .meta({ id: 'PlanVersionRecord' })

export const planHistoryQuery = pageQuery.extend({ plan: planId.optional() })

export const subscribeBody = z
  .strictObject({
    plan: planId,
    success_url: returnUrl.optional().meta({ description: 'Where the customer goes after paying; its origin must be allowed' }),
    cancel_url: returnUrl.optional().meta({ description: 'Where the customer goes without paying' }),
  })
  .meta({ id: 'SubscribeRequest' })

export const subscriptionObject = z
  .object({
    id: field.id('subscription'),
    wallet_id: field.id('wallet'),
    status: z.enum(STATUSES).meta({
      description:
        '`pending`: nobody has paid on the page yet; `past_due`, `unpaid`: the present period is not paid, and gave no credits; `canceled`: over',
    }),
    plan: planObject.meta({ description: 'What is billed next' }),
    period_start: field.timeOut.nullable(),
    period_end: field.timeOut.nullable(),
    credited_until: field.timeOut.nullable().meta({ description: 'The end of the newest period that credits were paid for' }),
    credits_rolled_over: field.creditsOut.meta({ description: 'What that period took over from the one before' }),
    invoice_url: z.string().nullable().meta({
      description:
        'Where the owner pays what is due, with another card if need be, while it is `incomplete`, `past_due` or `unpaid`; null otherwise',
    }),
    cancels_at: field.timeOut.nullable().meta({ description: 'When it will end; null while it goes on' }),
    provider: z.enum(['stripe', 'sandbox']),
    provider_subscription_id: z.string().nullable(),
    livemode: z.boolean().meta({ description: 'False for money of a test' }),
    created_at: field.timeOut,
    ended_at: field.timeOut.nullable(),
  })
  .meta({ id: 'Subscription' })

export function subscriptionToWire(subscription: Subscription, plan: Plan) {
  return {
    id: toWireId('subscription', subscription.id),
    wallet_id: toWireId('wallet', subscription.walletId),
    status: subscription.status,
    plan: planToWire(plan),
    period_start: toWireTimeOrNull(subscription.periodStart),
    period_end: toWireTimeOrNull(subscription.periodEnd),
    credited_until: toWireTimeOrNull(subscription.creditedUntil),
    credits_rolled_over: formatCredits(subscription.rolledOver),
    invoice_url: subscription.invoiceUrl,
    cancels_at: toWireTimeOrNull(subscription.cancelsAt),
    provider: subscription.provider,
    provider_subscription_id: subscription.objectId,
    livemode: subscription.livemode,
    created_at: toWireTime(subscription.createdAt),
    ended_at: toWireTimeOrNull(subscription.endedAt),
  }
}

export const subscribeAnswer = subscriptionObject
  .extend({
    checkout: z
      .object({ url: z.string().nullable(), expires_at: field.timeOut.nullable() })
      .nullable()
      .meta({ description: 'The page on which it begins; null when it can begin no more' }),
  })
  .meta({ id: 'SubscribeResponse' })

export const changeBody = z.strictObject({ plan: planId }).meta({ id: 'ChangePlanRequest' })

export const cancelBody = z
  .strictObject({
    at_period_end: z
      .boolean()
      .default(true)
      .meta({ description: 'False ends it now; the credits stay until the end of the period that was paid for' }),
  })
  .nullish()
  .meta({ id: 'CancelSubscriptionRequest' })

/** Nothing is asked for, and a body may be left out. */
export const resumeBody = z.strictObject({}).nullish().meta({ id: 'ResumeSubscriptionRequest' })
