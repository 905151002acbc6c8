import type { OpenAPIV3_1 } from 'openapi-types'

/** What the generated OpenAPI document says besides the routes. */
export const document: Partial<OpenAPIV3_1.Document> = {
  openapi: '3.1.0',
  info: {
    title: 'Farebox',
    version: '1',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    description: [
      'Metering for products that sell AI by the credit: reserve credits before a model call, commit what it really used, release or refund the rest.',
      'Amounts are decimal strings of credits with at most six decimals. Every money-moving POST needs an `Idempotency-Key`.',
      'Errors are `application/problem+json`; branch on `code`.',
    ].join('\n\n'),
  },
  servers: [{ url: '/' }],
  components: {
    securitySchemes: {
      bearer: { type: 'http', scheme: 'bearer', description: 'An API key (`fbx_…`) of a product backend, or a JWT of a person' },
    },
  },
  security: [{ bearer: [] }],
}

type Json = { [key: string]: Json | undefined } | Json[] | string | number | boolean | null

const SCHEMAS = '#/components/schemas/'

/**
 * The transform emits every named schema twice: for requests, with `Input` behind its name, and for answers. This keeps those that are
 * used, and gives the plain name to the only one of a pair. It also says that an Idempotency-Key is required, which the schema
 * leaves to a check with an error code of its own, and that a body which may be null may be left out.
 */
export function tidy(document: object): Partial<OpenAPIV3_1.Document> {
  const { components, ...rest } = structuredClone(document) as OpenAPIV3_1.Document
  correct(rest as unknown as Json)
  const schemas = (components?.schemas ?? {}) as Record<string, Json>
  const used = new Set<string>()
  const pending = referencesIn(rest as unknown as Json)
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (used.has(name)) continue
    used.add(name)
    pending.push(...referencesIn(schemas[name]))
  }
  const newNames = new Map<string, string>()
  for (const name of used) {
    const plain = name.replace(/Input$/, '')
    newNames.set(name, used.has(plain) ? name : plain)
  }
  const kept = Object.fromEntries([...used].sort().map((name) => [newNames.get(name) as string, schemas[name]]))
  return rename({ ...rest, components: { ...components, schemas: kept } } as unknown as Json, newNames) as Partial<OpenAPIV3_1.Document>
}

function referencesIn(value: Json | undefined): string[] {
  if (typeof value !== 'object' || value === null) return []
  if (Array.isArray(value)) return value.flatMap(referencesIn)
  const { $ref } = value
  const own = typeof $ref === 'string' && $ref.startsWith(SCHEMAS) ? [$ref.slice(SCHEMAS.length)] : []
  return [...own, ...Object.values(value).flatMap(referencesIn)]
}

function rename(value: Json, names: ReadonlyMap<string, string>): Json {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => rename(item, names))
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      if (key !== '$ref' || typeof item !== 'string' || !item.startsWith(SCHEMAS)) return [key, rename(item ?? null, names)]
      const name = item.slice(SCHEMAS.length)
      return [key, SCHEMAS + (names.get(name) ?? name)]
    }),
  )
}

function correct(value: Json | undefined): void {
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    for (const item of value) correct(item)
    return
  }
  if (value.in === 'header' && value.name === 'idempotency-key') {
    value.name = 'Idempotency-Key'
    value.required = true
  }
  if (value.requestBody) makeOptional(value.requestBody as unknown as RequestBody)
  for (const item of Object.values(value)) correct(item)
}

interface Schema {
  type?: string
  anyOf?: Schema[]
}

interface RequestBody {
  required?: boolean
  content: Record<string, { schema: Schema }>
}

function makeOptional(body: RequestBody): void {
  for (const media of Object.values(body.content)) {
    const [some, none, ...others] = media.schema.anyOf ?? []
    if (!some || none?.type !== 'null' || others.length > 0) continue
    media.schema = some
    body.required = false
  }
}
