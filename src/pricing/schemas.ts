import { z } from 'zod'
import * as field from '../http/fields.ts'
import { pageQuery } from '../http/page.ts'
import { formatCredits, parseCredits } from '../kernel/credits.ts'
import { toWireId } from '../kernel/ids.ts'
import { toWireTime, toWireTimeOrNull } from '../kernel/time.ts'
import { costTierOf } from './cost-tier.ts'
import { LIST_FORMATS, type PlannedImport } from './imports/importer.ts'
import { changesOf } from './imports/report.ts'
import { BAND_PERCENT } from './imports/sanity.ts'
import { POOLS, type Pool, type Rates } from './pools.ts'
import {
  type Alias,
  type ChargePolicy,
  COST_TIERS,
  type ExchangeRate,
  type Markup,
  type ModelListing,
  type ModelPrice,
  type OperationPrice,
  type PriceVariant,
  SERVICE_TIERS,
} from './prices.ts'
import { type NewVersion, type PriceImport, QUARANTINE_STATUSES, type Quarantined, type Recorded } from './store.ts'

const decimal = (message: string) =>
  z
    .string()
    .regex(/^(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,12})?$/, message)
    .meta({ example: '2.5' })

const usd = decimal('must be US dollars as a plain decimal string such as "2.5": per million tokens, or for one of anything else')

const change = {
  effective_from: field.time.optional().meta({ description: 'Now or later; now when absent. A later version takes effect by itself' }),
  reason: field.text(500).meta({ description: 'For the history and the audit log' }),
  force: z.boolean().default(false).meta({ description: 'Set it although it looks like a mistake' }),
}

// Models.

const rates = z
  .strictObject(Object.fromEntries(POOLS.map((pool) => [pool, usd.optional()])) as Record<Pool, z.ZodOptional<typeof usd>>)
  .refine((given) => Object.keys(given).length > 0, 'must have at least one price')
  .meta({
    id: 'Rates',
    description:
      'US dollars by pool: per million tokens, or for one of anything else. Cached tokens without a price of their own cost what fresh ones do, reasoning and citations what output does; any other pool without a price cannot be billed.',
    example: { input_tokens: '2.5', cache_read_tokens: '1.25', output_tokens: '10' },
  }) as unknown as z.ZodType<Rates>

const timeOfDay = z.string().regex(/^(?:[01][0-9]|2[0-3]):[0-5][0-9]$/, 'must be a time of day in UTC such as "16:30"')

const variant = z
  .strictObject({
    service_tier: z.enum(SERVICE_TIERS).exclude(['standard']).optional(),
    above_prompt_tokens: z
      .int()
      .min(1)
      .max(1_000_000_000)
      .optional()
      .meta({ description: 'For the whole request, when its prompt has more' }),
    hours: z.strictObject({ from: timeOfDay, to: timeOfDay }).optional().meta({ description: 'UTC, from the first to before the second' }),
    rates,
  })
  .refine((given) => given.service_tier !== undefined || given.above_prompt_tokens !== undefined || given.hours !== undefined, {
    path: ['service_tier'],
    message: 'at least one of service_tier, above_prompt_tokens and hours is required',
  })
  .meta({ id: 'PriceVariant', description: 'Prices that replace those of the base where all conditions hold; the last that applies wins' })

const aliasText = z.string().min(1).max(200)
const alias = z
  .union([
    z.strictObject({ equals: field.modelId }),
    z.strictObject({ starts_with: aliasText }),
    z.strictObject({ ends_with: aliasText }),
    z.strictObject({ contains: aliasText }),
  ])
  .meta({ id: 'Alias', description: 'Another name of the model, or what such names have in common' })

const capability = z.string().regex(/^[a-z][a-z0-9_]{0,49}$/, 'must be a word such as "vision"')

export const priceBody = z
  .strictObject({
    model: field.modelId,
    provider: field.providerId,
    rates,
    variants: z.array(variant).max(32).default([]),
    aliases: z.array(alias).max(50).default([]),
    context_window: z.int().min(1).max(2_000_000_000).optional(),
    max_output_tokens: z.int().min(1).max(2_000_000_000).optional(),
    capabilities: z.array(capability).max(50).default([]),
    cost_tier: z
      .enum(COST_TIERS)
      .optional()
      .meta({ description: 'From the price of three prompt tokens and one of the answer, when absent' }),
    enabled: z.boolean().default(true),
    ...change,
  })
  .meta({ id: 'PriceRequest' })

export function newPrice(body: z.output<typeof priceBody>): NewVersion {
  return {
    kind: 'model',
    version: {
      model: body.model,
      provider: body.provider,
      rates: body.rates,
      variants: body.variants.map(variantFromWire),
      aliases: body.aliases.map(aliasFromWire),
      contextWindow: body.context_window ?? null,
      maxOutputTokens: body.max_output_tokens ?? null,
      capabilities: [...new Set(body.capabilities)].sort(),
      costTier: body.cost_tier ?? costTierOf(body.rates),
      enabled: body.enabled,
      source: 'manual',
    },
  }
}

function variantFromWire({ service_tier, above_prompt_tokens, hours, rates }: z.output<typeof variant>): PriceVariant {
  return {
    ...(service_tier !== undefined && { serviceTier: service_tier }),
    ...(above_prompt_tokens !== undefined && { abovePromptTokens: above_prompt_tokens }),
    ...(hours !== undefined && { hours }),
    rates,
  }
}

function aliasFromWire(given: z.output<typeof alias>): Alias {
  if ('starts_with' in given) return { startsWith: given.starts_with }
  if ('ends_with' in given) return { endsWith: given.ends_with }
  return given
}

type WireAlias =
  | { equals: string }
  | { starts_with: string }
  | { ends_with: string }
  | { contains: string }
  | { regex: string }
  | { all: WireAlias[] }

function aliasToWire(given: Alias): WireAlias {
  if ('startsWith' in given) return { starts_with: given.startsWith }
  if ('endsWith' in given) return { ends_with: given.endsWith }
  if ('all' in given) return { all: given.all.map(aliasToWire) }
  return given
}

const listing = {
  provider: z.string(),
  rates: z.partialRecord(z.enum(POOLS), z.string()),
  variants: z.array(
    z.object({
      service_tier: z.enum(SERVICE_TIERS).optional(),
      above_prompt_tokens: z.int().optional(),
      hours: z.object({ from: z.string(), to: z.string() }).optional(),
      rates: z.partialRecord(z.enum(POOLS), z.string()),
    }),
  ),
  aliases: z.array(z.record(z.string(), z.unknown())).meta({ description: 'One of equals, starts_with, ends_with, contains, regex, all' }),
  context_window: z.int().nullable(),
  max_output_tokens: z.int().nullable(),
  capabilities: z.array(z.string()),
  cost_tier: z.enum(COST_TIERS),
  enabled: z.boolean(),
}

function listingToWire(price: ModelListing) {
  return {
    provider: price.provider,
    rates: price.rates,
    variants: price.variants.map(({ serviceTier, abovePromptTokens, hours, rates }) => ({
      ...(serviceTier !== undefined && { service_tier: serviceTier }),
      ...(abovePromptTokens !== undefined && { above_prompt_tokens: abovePromptTokens }),
      ...(hours !== undefined && { hours }),
      rates,
    })),
    aliases: price.aliases.map(aliasToWire),
    context_window: price.contextWindow,
    max_output_tokens: price.maxOutputTokens,
    capabilities: [...price.capabilities],
    cost_tier: price.costTier,
    enabled: price.enabled,
  }
}

export const modelObject = z
  .object({ id: z.string(), ...listing, source: z.string(), price_id: field.id('price'), effective_from: field.timeOut })
  .meta({ id: 'Model' })

export function modelToWire(price: ModelPrice): z.input<typeof modelObject> {
  return {
    id: price.model,
    ...listingToWire(price),
    source: price.source,
    price_id: toWireId('price', price.id),
    effective_from: toWireTime(price.effectiveFrom),
  }
}

const flag = z.enum(['true', 'false']).transform((text) => text === 'true')

export const modelQuery = pageQuery.extend({
  model: field.modelId.optional().meta({ description: 'The one model that this name means: an id or an alias' }),
  provider: field.providerId.optional(),
  cost_tier: z.enum(COST_TIERS).optional(),
  capability: capability.optional(),
  enabled: flag.optional().meta({ type: 'boolean' }),
})

// Operations.

export const operationBody = z
  .strictObject({
    operation: field.operationId,
    flat_cost: field.creditsOrZero.default('0').meta({ description: 'Credits once a charge' }),
    unit_cost: field.creditsOrZero.meta({ description: 'Credits per unit' }),
    enabled: z.boolean().default(true),
    ...change,
  })
  .meta({ id: 'OperationRequest' })

export function newOperation(body: z.output<typeof operationBody>): NewVersion {
  return {
    kind: 'operation',
    version: {
      operation: body.operation,
      flatCost: parseCredits(body.flat_cost) ?? 0n,
      unitCost: parseCredits(body.unit_cost) ?? 0n,
      enabled: body.enabled,
    },
  }
}

export const operationObject = z
  .object({
    id: z.string(),
    flat_cost: field.creditsOut,
    unit_cost: field.creditsOut,
    enabled: z.boolean(),
    price_id: field.id('price'),
    effective_from: field.timeOut,
  })
  .meta({ id: 'OperationPrice' })

export function operationToWire(price: OperationPrice): z.input<typeof operationObject> {
  return {
    id: price.operation,
    flat_cost: formatCredits(price.flatCost),
    unit_cost: formatCredits(price.unitCost),
    enabled: price.enabled,
    price_id: toWireId('price', price.id),
    effective_from: toWireTime(price.effectiveFrom),
  }
}

// Markups, exchange rates and policies.

export const markupBody = z
  .strictObject({
    model: field.modelId.optional().meta({ description: 'For this model only' }),
    provider: field.providerId.optional().meta({ description: 'For the models of this provider that have none of their own' }),
    percent: decimal('must be a percentage as a plain decimal string such as "20"'),
    ...change,
  })
  .refine((body) => body.model === undefined || body.provider === undefined, {
    path: ['provider'],
    message: 'must not come together with model',
  })
  .meta({ id: 'MarkupRequest' })

export function newMarkup(body: z.output<typeof markupBody>): NewVersion {
  const scope = body.model !== undefined ? `model:${body.model}` : body.provider !== undefined ? `provider:${body.provider}` : 'default'
  return { kind: 'markup', version: { scope, percent: body.percent } }
}

const markupOut = { model: z.string().nullable(), provider: z.string().nullable(), percent: z.string() }

function markupToWire({ scope, percent }: Markup) {
  const colon = scope.indexOf(':')
  const name = scope.slice(colon + 1)
  return { model: scope.startsWith('model:') ? name : null, provider: scope.startsWith('provider:') ? name : null, percent }
}

const currency = z
  .string()
  .regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code such as "USD"')
  .meta({ example: 'USD' })
const purpose = z
  .enum(['purchase', 'consumption'])
  .meta({ description: 'What money buys, or what a provider’s price in money costs; the latter is always looked up for USD' })
const creditsPerUnit = decimal('must be credits for one unit of the currency as a plain decimal string such as "100"').refine(
  (text) => /[1-9]/.test(text),
  'must be more than 0',
)

export const rateBody = z
  .strictObject({ currency, purpose, credits_per_unit: creditsPerUnit, ...change })
  .meta({ id: 'ExchangeRateRequest' })

export function newRate(body: z.output<typeof rateBody>): NewVersion {
  return { kind: 'rate', version: { currency: body.currency, purpose: body.purpose, creditsPerUnit: body.credits_per_unit } }
}

const rateOut = { currency: z.string(), purpose: z.enum(['purchase', 'consumption']), credits_per_unit: z.string() }

function rateToWire(rate: ExchangeRate) {
  return { currency: rate.currency, purpose: rate.purpose, credits_per_unit: rate.creditsPerUnit }
}

export const policyBody = z
  .strictObject({
    minimum_charge: field.creditsOrZero,
    maximum_charge: field.credits,
    round_to: field.credits.default('0.000001').meta({ description: 'Costs of priced work are rounded up to a multiple of this' }),
    owner_exempt: z.boolean().default(true).meta({ description: 'Whether work on what the payer owns (resource_owner) is free' }),
    ...change,
  })
  .refine((body) => (parseCredits(body.minimum_charge) ?? 0n) <= (parseCredits(body.maximum_charge) ?? 0n), {
    path: ['minimum_charge'],
    message: 'must not exceed maximum_charge',
  })
  .refine((body) => (parseCredits(body.round_to) ?? 0n) <= (parseCredits(body.maximum_charge) ?? 0n), {
    path: ['round_to'],
    message: 'must not exceed maximum_charge',
  })
  .meta({ id: 'ChargePolicyRequest' })

export function newPolicy(body: z.output<typeof policyBody>): NewVersion {
  return {
    kind: 'policy',
    version: {
      minimumCharge: parseCredits(body.minimum_charge) ?? 0n,
      maximumCharge: parseCredits(body.maximum_charge) ?? 0n,
      roundTo: parseCredits(body.round_to) ?? 1n,
      ownerExempt: body.owner_exempt,
    },
  }
}

const policyOut = {
  minimum_charge: field.creditsOut,
  maximum_charge: field.creditsOut,
  round_to: field.creditsOut,
  owner_exempt: z.boolean(),
}

function policyToWire(policy: ChargePolicy) {
  return {
    minimum_charge: formatCredits(policy.minimumCharge),
    maximum_charge: formatCredits(policy.maximumCharge),
    round_to: formatCredits(policy.roundTo),
    owner_exempt: policy.ownerExempt,
  }
}

// History: the versions of a kind with who added them and why.

export const versionAnswer = z.object({ id: field.id('price'), effective_from: field.timeOut }).meta({ id: 'VersionResponse' })

export function versionToWire(id: string, effectiveFrom: string): z.input<typeof versionAnswer> {
  return { id: toWireId('price', id), effective_from: effectiveFrom }
}

const recorded = {
  id: field.id('price'),
  effective_from: field.timeOut,
  created_by: z.string(),
  created_at: field.timeOut,
  reason: z.string().nullable(),
}

function recordedToWire({ version, createdBy, createdAt, reason }: Recorded) {
  return {
    id: toWireId('price', version.id),
    effective_from: toWireTime(version.effectiveFrom),
    created_by: createdBy,
    created_at: toWireTime(createdAt),
    reason,
  }
}

export const priceVersionObject = z.object({ model: z.string(), ...listing, source: z.string(), ...recorded }).meta({ id: 'PriceVersion' })
export const priceVersionToWire = (row: Recorded) => {
  const price = row.version as ModelPrice
  return { model: price.model, ...listingToWire(price), source: price.source, ...recordedToWire(row) }
}

const { id: _id, price_id: _priceId, effective_from: _from, ...operationOut } = operationObject.shape
export const operationVersionObject = z.object({ operation: z.string(), ...operationOut, ...recorded }).meta({ id: 'OperationVersion' })
export const operationVersionToWire = (row: Recorded) => {
  const { id, price_id: _, ...rest } = operationToWire(row.version as OperationPrice)
  return { operation: id, ...rest, ...recordedToWire(row) }
}

export const markupVersionObject = z.object({ ...markupOut, ...recorded }).meta({ id: 'MarkupVersion' })
export const markupVersionToWire = (row: Recorded) => ({ ...markupToWire(row.version as Markup), ...recordedToWire(row) })

export const rateVersionObject = z.object({ ...rateOut, ...recorded }).meta({ id: 'ExchangeRateVersion' })
export const rateVersionToWire = (row: Recorded) => ({ ...rateToWire(row.version as ExchangeRate), ...recordedToWire(row) })

export const policyVersionObject = z.object({ ...policyOut, ...recorded }).meta({ id: 'ChargePolicyVersion' })
export const policyVersionToWire = (row: Recorded) => ({ ...policyToWire(row.version as ChargePolicy), ...recordedToWire(row) })

export const priceHistoryQuery = pageQuery.extend({ model: field.modelId.optional(), provider: field.providerId.optional() })
export const operationHistoryQuery = pageQuery.extend({ operation: field.operationId.optional() })
export const markupHistoryQuery = pageQuery.extend({ model: field.modelId.optional(), provider: field.providerId.optional() })
export const policyHistoryQuery = pageQuery
export const importQuery = pageQuery
export const operationQuery = pageQuery
export const rateHistoryQuery = pageQuery.extend({ currency: currency.optional(), purpose: purpose.optional() })

// Preview of an exchange rate.

export const PREVIEW_CHARGES_MAX = 200

export const previewBody = z
  .strictObject({
    currency,
    purpose,
    credits_per_unit: creditsPerUnit,
    charges: z.int().min(0).max(PREVIEW_CHARGES_MAX).default(20).meta({ description: 'How many of the last charges to price anew' }),
  })
  .meta({ id: 'ExchangeRatePreviewRequest' })

export const previewAnswer = z
  .object({
    currency: z.string(),
    purpose: z.enum(['purchase', 'consumption']),
    present: z.string().nullable().meta({ description: 'Credits for one unit of the currency now' }),
    proposed: z.string(),
    change_percent: z.string().nullable(),
    implausible: z.array(z.string()).meta({ description: 'Why setting it would need force' }),
    purchases: z.array(
      z.object({
        amount: z.string(),
        currency: z.string(),
        credits_now: field.creditsOut.nullable(),
        credits_then: field.creditsOut.nullable(),
      }),
    ),
    charges: z.array(
      z.object({
        id: field.id('charge'),
        wallet_id: field.id('wallet'),
        model: z.string(),
        charged: field.creditsOut,
        cost_now: field.creditsOut,
        cost_then: field.creditsOut,
      }),
    ),
    total: z.object({ charges: z.int(), cost_now: field.creditsOut, cost_then: field.creditsOut }),
  })
  .meta({ id: 'ExchangeRatePreviewResponse' })

// Quarantine.

export const quarantineQuery = pageQuery.extend({ status: z.enum(QUARANTINE_STATUSES).optional(), source: field.text(50).optional() })
export const quarantineParams = z.strictObject({ proposal_id: field.id('proposal') })
export const decisionBody = z.strictObject({ reason: field.text(500) }).meta({ id: 'QuarantineDecisionRequest' })

export const quarantineObject = z
  .object({
    id: field.id('proposal'),
    import_id: field.id('priceImport'),
    source: z.string(),
    model: z.string(),
    provider: z.string(),
    proposal: z.object(listing).meta({ description: 'Disabled where the model vanished from its list' }),
    effective_from: field.timeOut.nullable().meta({ description: 'null for as soon as it is accepted' }),
    current_price_id: field.id('price').nullable().meta({ description: 'What was in force when it was proposed' }),
    reasons: z.array(z.string()),
    status: z.enum(QUARANTINE_STATUSES),
    price_id: field.id('price').nullable().meta({ description: 'The version that accepting it added' }),
    decided_by: z.string().nullable(),
    decided_reason: z.string().nullable(),
    decided_at: field.timeOut.nullable(),
    created_at: field.timeOut,
  })
  .meta({ id: 'QuarantinedPrice' })

const idOrNull = (id: string | null) => (id === null ? null : toWireId('price', id))

export function quarantineToWire(row: Quarantined): z.input<typeof quarantineObject> {
  return {
    id: toWireId('proposal', row.id),
    import_id: toWireId('priceImport', row.importId),
    source: row.source,
    model: row.model,
    provider: row.provider,
    proposal: listingToWire(row.proposal),
    effective_from: toWireTimeOrNull(row.effectiveFrom),
    current_price_id: idOrNull(row.currentId),
    reasons: [...row.reasons],
    status: row.status,
    price_id: idOrNull(row.versionId),
    decided_by: row.decidedBy,
    decided_reason: row.decidedReason,
    decided_at: toWireTimeOrNull(row.decidedAt),
    created_at: toWireTime(row.createdAt),
  }
}

// Imports.

/** How many lines of each kind an answer about an import shows. */
export const IMPORT_LINES_MAX = 200

export const importBody = z
  .strictObject({
    format: z.enum(LIST_FORMATS),
    document: z.string().min(2).meta({ description: 'The price list as it was published, as a text: prices are read from its digits' }),
    apply: z.boolean().default(false).meta({ description: 'Without it nothing is changed: the answer says what would be' }),
    band_percent: z.int().min(1).max(1_000_000).default(BAND_PERCENT).meta({ description: 'A price that changes by more is quarantined' }),
    reason: field.text(500),
  })
  .meta({ id: 'PriceImportRequest' })

const importCounts = {
  inserted: z.int(),
  quarantined: z.int(),
  unchanged: z.int(),
  skipped: z.int(),
}

export const importAnswer = z
  .object({
    id: field.id('priceImport').nullable().meta({ description: 'null where nothing was applied' }),
    format: z.string(),
    ...importCounts,
    pending: z.int().meta({ description: 'Quarantined by an earlier import and not decided' }),
    rejected: z.int().meta({ description: 'Rejected after an earlier import' }),
    changes: z.array(z.object({ model: z.string(), effective_from: field.timeOut, changes: z.array(z.string()) })),
    quarantine: z.array(z.object({ model: z.string(), reasons: z.array(z.string()) })),
    skips: z.array(z.object({ model: z.string(), reason: z.string() })),
    truncated: z.boolean().meta({ description: `Whether one of the lists above has more than the ${IMPORT_LINES_MAX} that are shown` }),
  })
  .meta({ id: 'PriceImportResponse' })

export function importToWire(id: string | null, { plan, list }: PlannedImport): z.input<typeof importAnswer> {
  const skips = [...list.skipped, ...plan.skipped]
  const shown = <Item>(items: readonly Item[]) => items.slice(0, IMPORT_LINES_MAX)
  return {
    id: id === null ? null : toWireId('priceImport', id),
    format: plan.source,
    inserted: plan.insert.length,
    quarantined: plan.quarantine.length,
    unchanged: plan.unchanged.length,
    skipped: skips.length,
    pending: plan.pending.length,
    rejected: plan.rejected.length,
    changes: shown(plan.insert).map(({ listing, effectiveFrom, current }) => ({
      model: listing.model,
      effective_from: toWireTime(effectiveFrom),
      changes: current === null ? ['new'] : changesOf(current, listing),
    })),
    quarantine: shown(plan.quarantine).map(({ listing, reasons }) => ({ model: listing.model, reasons: [...reasons] })),
    skips: shown(skips).map(({ model, reason }) => ({ model, reason })),
    truncated: [plan.insert, plan.quarantine, skips].some((items) => items.length > IMPORT_LINES_MAX),
  }
}

export const importObject = z
  .object({
    id: field.id('priceImport'),
    format: z.string(),
    ...importCounts,
    reason: z.string(),
    created_by: z.string(),
    created_at: field.timeOut,
  })
  .meta({ id: 'PriceImport' })

export function importRunToWire(run: PriceImport): z.input<typeof importObject> {
  return {
    id: toWireId('priceImport', run.id),
    format: run.source,
    inserted: run.inserted,
    quarantined: run.quarantined,
    unchanged: run.unchanged,
    skipped: run.skipped,
    reason: run.reason,
    created_by: run.createdBy,
    created_at: toWireTime(run.createdAt),
  }
}
