import { z } from 'zod'
import * as field from '../http/fields.ts'
import { formatCredits, parseCredits } from '../kernel/credits.ts'
import { toWireTime } from '../kernel/time.ts'
import type { ModelPrice, OperationPrice } from './prices.ts'
import type { NewVersion } from './store.ts'

const decimal = (message: string) =>
  z
    .string()
    .regex(/^(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,12})?$/, message)
    .meta({ example: '2.5' })

const usdPerMillion = decimal('must be US dollars per million tokens as a plain decimal string such as "2.5"')

const change = {
  effective_from: field.time.optional().meta({ description: 'Now or later; now when absent' }),
  reason: field.text(500).meta({ description: 'For the audit log' }),
}

export const priceBody = z
  .strictObject({
    model: field.modelId,
    provider: field.text(100),
    input_usd_per_million: usdPerMillion,
    output_usd_per_million: usdPerMillion,
    enabled: z.boolean().default(true),
    ...change,
  })
  .meta({ id: 'PriceRequest' })

export const operationBody = z
  .strictObject({ operation: field.operationId, unit_cost: field.creditsOrZero, enabled: z.boolean().default(true), ...change })
  .meta({ id: 'OperationRequest' })

export const markupBody = z
  .strictObject({ percent: decimal('must be a percentage as a plain decimal string such as "20"'), ...change })
  .meta({ id: 'MarkupRequest' })

export const rateBody = z
  .strictObject({
    currency: z.literal('USD'),
    purpose: z.enum(['purchase', 'consumption']),
    credits_per_unit: decimal('must be credits for one unit of the currency as a plain decimal string such as "100"').refine(
      (text) => /[1-9]/.test(text),
      'must be more than 0',
    ),
    ...change,
  })
  .meta({ id: 'ExchangeRateRequest' })

export const policyBody = z
  .strictObject({ minimum_charge: field.creditsOrZero, maximum_charge: field.credits, ...change })
  .refine((body) => (parseCredits(body.minimum_charge) ?? 0n) <= (parseCredits(body.maximum_charge) ?? 0n), {
    path: ['minimum_charge'],
    message: 'must not exceed maximum_charge',
  })
  .meta({ id: 'ChargePolicyRequest' })

export const versionAnswer = z.object({ id: z.string(), effective_from: field.timeOut }).meta({ id: 'VersionResponse' })

export function newPrice(body: z.output<typeof priceBody>): NewVersion {
  return {
    kind: 'model',
    version: {
      model: body.model,
      provider: body.provider,
      inputUsdPerMillion: body.input_usd_per_million,
      outputUsdPerMillion: body.output_usd_per_million,
      enabled: body.enabled,
    },
  }
}

export function newOperation(body: z.output<typeof operationBody>): NewVersion {
  return { kind: 'operation', version: { operation: body.operation, unitCost: parseCredits(body.unit_cost) ?? 0n, enabled: body.enabled } }
}

export function newMarkup(body: z.output<typeof markupBody>): NewVersion {
  return { kind: 'markup', version: { scope: 'default', percent: body.percent } }
}

export function newRate(body: z.output<typeof rateBody>): NewVersion {
  return { kind: 'rate', version: { currency: body.currency, purpose: body.purpose, creditsPerUnit: body.credits_per_unit } }
}

export function newPolicy(body: z.output<typeof policyBody>): NewVersion {
  return {
    kind: 'policy',
    version: { minimumCharge: parseCredits(body.minimum_charge) ?? 0n, maximumCharge: parseCredits(body.maximum_charge) ?? 0n },
  }
}

export const modelObject = z
  .object({
    id: z.string(),
    provider: z.string(),
    input_usd_per_million: z.string(),
    output_usd_per_million: z.string(),
    enabled: z.boolean(),
    effective_from: field.timeOut,
  })
  .meta({ id: 'ModelPrice' })

export const operationObject = z
  .object({ id: z.string(), unit_cost: field.creditsOut, enabled: z.boolean(), effective_from: field.timeOut })
  .meta({ id: 'OperationPrice' })

export function modelToWire(price: ModelPrice) {
  return {
    id: price.model,
    provider: price.provider,
    input_usd_per_million: price.inputUsdPerMillion,
    output_usd_per_million: price.outputUsdPerMillion,
    enabled: price.enabled,
    effective_from: toWireTime(price.effectiveFrom),
  }
}

export function operationToWire(price: OperationPrice) {
  return {
    id: price.operation,
    unit_cost: formatCredits(price.unitCost),
    enabled: price.enabled,
    effective_from: toWireTime(price.effectiveFrom),
  }
}
