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
  /** Whether it reads anything from the query. */
  readonly hasQuery: boolean
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
  readonly parameters?: readonly { readonly in: string; readonly name: string }[]
  readonly requestBody?: object
  readonly responses: Record<string, { readonly content?: Record<string, { readonly schema: object }> }>
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
        hasQuery: (operation.parameters ?? []).some((parameter) => parameter.in === 'query'),
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
