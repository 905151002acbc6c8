import { z } from 'zod'
import { PROBLEM_MEDIA_TYPE } from './problem.ts'

/** For the documentation only: problems are rendered by `problem.ts` as text and never pass a serializer. */
const problem = z
  .looseObject({
    type: z.string().meta({ description: 'The page of the code in the documentation' }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string().meta({ description: 'The request id' }),
    code: z.string().meta({ description: 'Stable: branch on this, never on texts. docs/errors.md lists them all' }),
    retryable: z.boolean(),
    errors: z.array(z.object({ pointer: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem details. Some codes add figures, such as available and required' })

const DESCRIPTIONS: Record<number, string> = {
  400: 'The request does not have the documented form',
  401: 'A valid API key or token is required',
  402: 'The wallet does not have enough available credits',
  403: 'This key or token may not do that',
  404: 'Not there, or not yours',
  409: 'The state of what is named does not allow it',
  413: 'The body is too large',
  415: 'The body is not uncompressed JSON',
  422: 'Understood, and refused',
  429: 'Too many requests in this minute: come back after Retry-After; RateLimit-Limit says how many it takes',
  503: 'Overloaded, stopping, or without its database: come back after Retry-After',
}

type ProblemResponse = { description: string; content: Record<string, { schema: typeof problem }> }

/**
 * The documented problem answers of a route: these, and 429, which every route has.
 * @param own what a status means here, where that is something else
 */
export function problemResponses<Status extends number>(
  statuses: readonly Status[],
  own: Readonly<Record<number, string>> = {},
): Record<Status | 429, ProblemResponse> {
  const entries = [...statuses, 429].map((status) => [
    status,
    { description: own[status] ?? DESCRIPTIONS[status] ?? 'Refused', content: { [PROBLEM_MEDIA_TYPE]: { schema: problem } } },
  ])
  return Object.fromEntries(entries) as Record<Status | 429, ProblemResponse>
}

/** A page of a listing: `next_cursor` is null on the last one. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ data: z.array(item), next_cursor: z.string().nullable() })
}
