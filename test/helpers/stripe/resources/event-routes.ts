import { z } from 'zod'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, within } from '../table.ts'
import { find } from '../world.ts'

const TYPES_MAX = 20

/** `charge.*` names all that begin so. */
function names(pattern: string, type: string): boolean {
  return pattern.endsWith('*') ? type.startsWith(pattern.slice(0, -1)) : pattern === type
}

export const eventRoutes = [
  route(
    'GET',
    '/v1/events',
    { ...p.page, type: p.text.optional(), types: z.array(p.text).optional(), created: p.created.optional() },
    (world, params, { url }) => {
      const { type, types } = params
      if (type !== undefined && types !== undefined)
        throw invalid('You may only specify one of these parameters: type, types.', { param: 'types' })
      if (types && types.length > TYPES_MAX) throw invalid(`You may pass up to ${TYPES_MAX} event types.`, { param: 'types' })
      const wanted = types ?? (type === undefined ? null : [type])
      return pageOf(
        world.tables.events,
        url,
        params,
        (row) => (wanted === null || wanted.some((pattern) => names(pattern, row.type))) && within(row.created, params.created),
      )
    },
  ),
  route('GET', '/v1/events/:id', {}, (world, _, { id }) => find(world, 'events', id)),
]
