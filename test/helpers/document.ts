import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

/** The generated OpenAPI document, as tests walk it. */

export interface DocumentedRoute {
  readonly operationId: string
  readonly method: string
  /** As documented: `/v1/wallets/{wallet}`. */
  readonly path: string
  readonly params: readonly string[]
  readonly statuses: readonly number[]
  /** Whether it takes a body. */
  readonly hasBody: boolean
  /** The schema of its body as it stands in the document, or null. */
  readonly bodySchema: object | null
  /** What it reads from the query, with the schema as it stands in the document. */
  readonly query: readonly { readonly name: string; readonly schema: object }[]
  /** Whether it asks for an Idempotency-Key. */
  readonly keyed: boolean
  /** The schema of a JSON answer with this status, strict: a field that is not documented is an error. */
  answerOf(status: number): z.ZodType | null
}

interface Document {
  readonly paths: Record<string, Record<string, Operation>>
  readonly components: { readonly schemas: Record<string, object> }
}

interface Operation {
  readonly operationId?: string
  readonly parameters?: readonly { readonly in: string; readonly name: string; readonly schema: object }[]
  readonly requestBody?: { readonly content: Record<string, { readonly schema: object }> }
  readonly responses: Record<string, { readonly content?: Record<string, { readonly schema: object }> }>
}

/** The schemas that the document names. */
export function documentedSchemas(app: FastifyInstance): Readonly<Record<string, object>> {
  return (app.swagger() as unknown as Document).components.schemas
}

/** Every route of the document. */
export function documentedRoutes(app: FastifyInstance): DocumentedRoute[] {
  const document = app.swagger() as unknown as Document
  // zod reads definitions from `$defs`.
  const local = (schema: object) => JSON.parse(JSON.stringify(schema).replaceAll('#/components/schemas/', '#/$defs/'))
  const definitions = local(document.components.schemas)
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(
      ([method, operation]): DocumentedRoute => ({
        operationId: operation.operationId ?? path,
        method: method.toUpperCase(),
        path,
        params: [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as string),
        statuses: Object.keys(operation.responses).map(Number),
        hasBody: operation.requestBody !== undefined,
        bodySchema: Object.values(operation.requestBody?.content ?? {})[0]?.schema ?? null,
        query: (operation.parameters ?? []).filter((parameter) => parameter.in === 'query'),
        keyed: (operation.parameters ?? []).some(
          (parameter) => parameter.in === 'header' && parameter.name.toLowerCase() === 'idempotency-key',
        ),
        answerOf(status) {
          const content = Object.values(operation.responses[status]?.content ?? {})[0]
          return content ? z.fromJSONSchema({ ...local(content.schema), $defs: definitions }) : null
        },
      }),
    ),
  )
}

/** The path with its parameters filled in. */
export function fillPath(path: string, params: Readonly<Record<string, string>>): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = params[name]
    if (value === undefined) throw new Error(`${path} needs ${name}`)
    return value
  })
}
