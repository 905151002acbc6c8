import type { FastifySchemaCompiler, RouteOptions } from 'fastify'
import { serializerCompiler } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { FareboxError, type FieldError } from '../kernel/errors.ts'
import { fieldError } from './pointer.ts'

/**
 * Validation of requests. The type provider's own compiler joins paths without escaping them and drops the names of unknown
 * fields; this one says exactly where the request is wrong.
 */

/** More wrong fields than anyone reads; a body of ten thousand must not make an answer of ten thousand. */
const ERRORS_MAX = 20

type Issue = z.core.$ZodIssue

/** Where a part of the request is found in pointers; fields of the body need no prefix. */
const PREFIX: Record<string, readonly string[]> = { params: ['path'], querystring: ['query'], headers: ['headers'], body: [] }
const PART: Record<string, string> = { params: 'path', querystring: 'query', headers: 'headers', body: 'body' }

/** Fastify validator compiler for zod schemas: a wrong request is an `invalid_request` with a pointer for each wrong field. */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  const part = httpPart ?? 'body'
  const prefix = PREFIX[part] ?? []
  return (data: unknown) => {
    const result = schema.safeParse(data)
    if (result.success) return { value: result.data }
    return { error: invalidRequest(fieldErrors(result.error.issues, prefix), PART[part]) }
  }
}

export { serializerCompiler }

const NO_QUERY = z.strictObject({})

/** For `onRoute`: a route that describes no query takes none, as no object takes a field that it does not describe. */
export function refuseUnknownQuery(route: RouteOptions): void {
  route.schema = { querystring: NO_QUERY, ...route.schema }
}

/** An `invalid_request` that names the wrong fields. */
export function invalidRequest(errors: readonly FieldError[], part = 'request'): FareboxError {
  const first = errors[0]
  const detail = first ? `The ${part} is not valid: ${first.pointer || 'it'} ${first.message}.` : `The ${part} is not valid.`
  return new FareboxError({ code: 'invalid_request', detail, errors })
}

/** What a zod error says, one entry a field. */
export function fieldErrors(issues: readonly Issue[], prefix: readonly PropertyKey[] = []): FieldError[] {
  const errors: FieldError[] = []
  for (const issue of issues) {
    const path = [...prefix, ...issue.path]
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) errors.push(fieldError([...path, key], 'is not a known field'))
    } else if (issue.code === 'invalid_union') {
      errors.push(...unionErrors(issue, path))
    } else {
      const error = fieldError(path, messageOf(issue))
      // One wrong value may break several rules; the first is enough to mend it.
      if (!errors.some(({ pointer }) => pointer === error.pointer)) errors.push(error)
    }
    if (errors.length >= ERRORS_MAX) break
  }
  return errors.slice(0, ERRORS_MAX)
}

/** Of a union's branches the one that came closest speaks: it is most likely the one that was meant. */
function unionErrors(issue: Extract<Issue, { code: 'invalid_union' }>, path: readonly PropertyKey[]): FieldError[] {
  const branches = issue.errors.filter((branch) => branch.some((inner) => inner.path.length > 0 || inner.code === 'unrecognized_keys'))
  const closest = branches.toSorted((a, b) => a.length - b.length)[0]
  return closest ? fieldErrors(closest, path) : [fieldError(path, 'has none of the documented forms')]
}

/** Zod's own texts, in the form of ours; what a schema says itself stands as it is. */
const ZODS_OWN = /^(?:Invalid|Too big|Too small|Unrecognized|Not a )/

function messageOf(issue: Issue): string {
  const { message } = issue
  if (!ZODS_OWN.test(message)) return message
  if (issue.code === 'invalid_type') return message.endsWith('received undefined') ? 'is required' : `must be ${article(issue.expected)}`
  if (issue.code === 'too_small') return `must ${sizeOf(issue.origin, 'at least', issue.minimum)}`
  if (issue.code === 'too_big') return `must ${sizeOf(issue.origin, 'at most', issue.maximum)}`
  if (issue.code === 'invalid_format' && issue.format === 'regex') return `must match ${issue.pattern}`
  return `is not valid: ${message.replace(/^Invalid \w+: /, '')}`
}

/** "be at least 1", "have at most 64 characters" */
function sizeOf(origin: string, bound: 'at least' | 'at most', size: number | bigint): string {
  if (origin === 'string') return `have ${bound} ${size} characters`
  return origin === 'array' || origin === 'set' ? `have ${bound} ${size} entries` : `be ${bound} ${size}`
}

function article(type: string): string {
  if (type === 'int') return 'a whole number'
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`
}
