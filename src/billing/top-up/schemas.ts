import { z } from 'zod'
import * as field from '../../http/fields.ts'
import { formatCredits, parseCredits } from '../../kernel/credits.ts'
import { toWireId } from '../../kernel/ids.ts'
import { DAY_MS, toWireTime } from '../../kernel/time.ts'
import type { Card } from '../gateway.ts'
import { formatMoney, parseMoney } from '../money.ts'
import { currency, money, moneyOut, packageId, returnUrl } from '../schemas.ts'
import { failuresOf } from './decline.ts'
import type { TopUpSettings } from './set-top-up.ts'
import { spentIn, type TopUp } from './top-up.ts'

/** The wire format of automatic top-ups and saved cards. */

const cap = z
  .strictObject({ amount: money, days: z.int().min(1).max(366).default(30) })
  .meta({ description: 'At most so much money in so many days, in the currency of what is bought' })

export const topUpBody = z
  .strictObject({
    enabled: z.boolean().default(true),
    threshold: field.credits.meta({ description: 'Buys when fewer credits are available', example: '100' }),
    package: packageId.optional(),
    amount: money.optional(),
    currency: currency.optional(),
    cap,
    payment_method_id: z
      .string()
      .regex(/^[A-Za-z0-9_]{1,255}$/, 'must be the id of a saved card')
      .optional()
      .meta({ description: 'One of the wallet’s saved cards; the newest when absent' }),
  })
  .superRefine((body, context) => {
    const byAmount = body.amount !== undefined || body.currency !== undefined
    if ((body.package !== undefined) === byAmount) {
      context.addIssue({
        code: 'custom',
        path: ['package'],
        message: 'is required unless amount and currency are given, and excludes them',
      })
    } else if (byAmount && (body.amount === undefined || body.currency === undefined)) {
      const missing = body.amount === undefined ? 'amount' : 'currency'
      context.addIssue({ code: 'custom', path: [missing], message: 'is required: amount and currency come together' })
    }
  })
  .meta({ id: 'TopUpRequest' })

export const topUpSwitchBody = z.strictObject({ enabled: z.boolean() }).meta({ id: 'TopUpSwitchRequest' })

/** What was asked for, in the currency that its package or itself names; null where the money has too many decimals for it. */
export function settingsOf(body: z.output<typeof topUpBody>, code: string): TopUpSettings | null {
  const amount = body.amount === undefined ? null : parseMoney(body.amount, code)
  const capAmount = parseMoney(body.cap.amount, code)
  if (capAmount === null || (body.amount !== undefined && amount === null)) return null
  return {
    enabled: body.enabled,
    threshold: parseCredits(body.threshold) ?? 0n,
    package: body.package ?? null,
    amount,
    currency: code,
    capAmount,
    capDays: body.cap.days,
  }
}

export const topUpObject = z
  .object({
    wallet_id: field.id('wallet'),
    status: z.enum(['active', 'capped', 'stopped', 'off']),
    stopped_reason: z
      .enum(['card_declined', 'authentication_required', 'not_for_sale', 'payment_reversed'])
      .nullable()
      .meta({ description: '`payment_reversed`: money of a top-up was refunded or disputed; nothing is charged until it is set again' }),
    threshold: field.creditsOut,
    package: z.string().nullable(),
    amount: moneyOut.nullable(),
    currency: z.string(),
    cap: z.object({ amount: moneyOut, days: z.int(), spent: moneyOut, resets_at: field.timeOut.nullable() }),
    card: z.object({ payment_method_id: z.string(), label: z.string() }),
    failures: z.int().meta({
      description: 'Attempts in a row that the card declined; it is tried again after as many hours, and after three not any more',
    }),
    payment_in_flight: field.id('payment').nullable(),
    action: z
      .object({ payment_id: field.id('payment'), url: z.string().nullable() })
      .nullable()
      .meta({ description: 'What the owner has to pay in person before it goes on, and where' }),
    updated_at: field.timeOut,
  })
  .meta({ id: 'TopUp' })

export function topUpToWire(topUp: TopUp, now: number) {
  const { currency: code, capDays } = topUp
  const { start, spent } = spentIn(topUp, now)
  return {
    wallet_id: toWireId('wallet', topUp.walletId),
    status: topUp.status,
    stopped_reason: topUp.stoppedReason,
    threshold: formatCredits(topUp.threshold),
    package: topUp.package,
    amount: topUp.amount === null ? null : formatMoney(topUp.amount, code),
    currency: code,
    cap: {
      amount: formatMoney(topUp.capAmount, code),
      days: capDays,
      spent: formatMoney(spent, code),
      resets_at: spent === 0n ? null : toWireTime(start + capDays * DAY_MS),
    },
    card: { payment_method_id: topUp.methodId, label: topUp.card },
    failures: failuresOf(topUp.declines, topUp.fingerprint, now),
    payment_in_flight: topUp.inFlightId === null ? null : toWireId('payment', topUp.inFlightId),
    action: topUp.actionId === null ? null : { payment_id: toWireId('payment', topUp.actionId), url: topUp.actionUrl },
    updated_at: toWireTime(topUp.updatedAt),
  }
}

export const cardObject = z.object({ payment_method_id: z.string(), label: z.string().meta({ example: 'visa 4242' }) }).meta({ id: 'Card' })

export function cardToWire({ methodId, card }: Card) {
  return { payment_method_id: methodId, label: card }
}

export const cardPageBody = z
  .strictObject({ currency: currency.default('USD'), success_url: returnUrl.optional(), cancel_url: returnUrl.optional() })
  .meta({ id: 'CardPageRequest' })

export const cardPageAnswer = z.object({ url: z.string().nullable(), expires_at: field.timeOut.nullable() }).meta({ id: 'CardPage' })
