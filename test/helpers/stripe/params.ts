/**
 * The words that the routes' parameters are made of, and their failures as Stripe tells them. A parameter that a route does not list is
 * refused, also one that the real Stripe has: better a clear failure than a test that passes because something was ignored.
 */
import { z } from 'zod'
import { invalid, type StripeFailure } from './failure.ts'
import type { Form } from './form.ts'

export const text = z.string().min(1)
/** An empty text takes the value away. */
export const clearable = z.string().transform((value) => (value === '' ? null : value))
export const integer = z
  .string()
  .regex(/^-?\d{1,15}$/, { error: 'integer' })
  .transform(Number)
export const boolean = z.enum(['true', 'false']).transform((value) => value === 'true')
export const currency = z
  .string()
  .regex(/^[a-z]{3}$/i, { error: 'currency' })
  .transform((value) => value.toLowerCase())
export const created = z
  .union([integer, z.strictObject({ gt: integer.optional(), gte: integer.optional(), lt: integer.optional(), lte: integer.optional() })])
  .transform((value) => (typeof value === 'number' ? { gte: value, lte: value } : value))

/** A list whose names happen to be 0, 1, 2 was read as one. */
const entries = z.union([
  z.record(z.string(), z.string()),
  z.array(z.string()).transform((list) => Object.fromEntries(list.entries()) as Record<string, string>),
])
/** Null takes away all of it. */
export const metadata = z.union([z.literal('').transform(() => null), entries])
/** Taken as it comes, for what changes nothing here. */
export const ignored = z.unknown()

export const page = {
  limit: integer.pipe(z.number().int().min(1, 'limit').max(100, 'limit')).default(10),
  starting_after: text.optional(),
  ending_before: text.optional(),
}

export type Page = { limit: number; starting_after?: string | undefined; ending_before?: string | undefined }
export type Range = z.output<typeof created>

export const METADATA_KEYS_MAX = 50
const METADATA_KEY_MAX = 40
const METADATA_VALUE_MAX = 500

/** An empty value removes its key, as at Stripe. */
export function mergeMetadata(
  before: Record<string, string> | null,
  given: Record<string, string> | null | undefined,
): Record<string, string> {
  if (given === null) return {}
  const merged = { ...before }
  for (const [key, value] of Object.entries(given ?? {})) {
    if (key.length > METADATA_KEY_MAX)
      throw invalid(`Metadata keys may be up to ${METADATA_KEY_MAX} characters: ${key}`, { param: 'metadata' })
    if (value.length > METADATA_VALUE_MAX)
      throw invalid(`Metadata values may be up to ${METADATA_VALUE_MAX} characters, but you passed in a value that is ${value.length}.`, {
        param: `metadata[${key}]`,
      })
    if (value === '') delete merged[key]
    else merged[key] = value
  }
  if (Object.keys(merged).length > METADATA_KEYS_MAX) throw invalid('Metadata can only have up to 50 keys', { param: 'metadata' })
  return merged
}

export function readParams<S extends z.ZodType>(schema: S, form: Form): z.output<S> {
  const read = schema.safeParse(form)
  if (read.success) return read.data
  throw failureOf(read.error.issues[0])
}

function failureOf(issue: z.core.$ZodIssue | undefined): StripeFailure {
  if (issue === undefined) return invalid('Invalid request')
  // Of the ways to read a value, the one that came furthest says what is wrong.
  if (issue.code === 'invalid_union') {
    const deepest = issue.errors.flat().sort((a, b) => b.path.length - a.path.length)[0]
    if (deepest && deepest.path.length > 0) return failureOf({ ...deepest, path: [...issue.path, ...deepest.path] })
  }
  if (issue.code === 'unrecognized_keys') {
    const param = nameOf([...issue.path, issue.keys[0] ?? ''])
    return invalid(`Received unknown parameter: ${param} (or one that the test Stripe does not support)`, {
      code: 'parameter_unknown',
      param,
    })
  }
  const param = nameOf(issue.path)
  if (issue.code === 'invalid_type' && issue.input === undefined)
    return invalid(`Missing required param: ${param}.`, { code: 'parameter_missing', param })
  if (issue.message === 'integer') return invalid(`Invalid integer: ${issue.input ?? param}`, { code: 'parameter_invalid_integer', param })
  if (issue.code === 'too_small' && issue.origin === 'string')
    return invalid(`You passed an empty string for '${param}'.`, { code: 'parameter_invalid_empty', param })
  return invalid(`Invalid ${param}: ${issue.message}`, { param })
}

function nameOf(path: readonly PropertyKey[]): string {
  const [first, ...rest] = path.map(String)
  return `${first ?? ''}${rest.map((part) => `[${part}]`).join('')}`
}
