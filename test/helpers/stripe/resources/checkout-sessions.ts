import { z } from 'zod'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { listOf, pageOf, within } from '../table.ts'
import { find } from '../world.ts'
import { newSession } from './checkout-create.ts'
import { sessionShape } from './checkout-params.ts'
import { expireSession } from './checkout-pay.ts'

export const sessionRoutes = [
  route('POST', '/v1/checkout/sessions', sessionShape, newSession),
  route(
    'GET',
    '/v1/checkout/sessions',
    {
      ...p.page,
      payment_intent: p.text.optional(),
      subscription: p.text.optional(),
      customer: p.text.optional(),
      status: z.enum(['complete', 'expired', 'open']).optional(),
      created: p.created.optional(),
    },
    (world, params, { url }) =>
      pageOf(
        world.tables.sessions,
        url,
        params,
        (row) =>
          (params.payment_intent === undefined || row.payment_intent === params.payment_intent) &&
          (params.subscription === undefined || row.subscription === params.subscription) &&
          (params.customer === undefined || row.customer === params.customer) &&
          (params.status === undefined || row.status === params.status) &&
          within(row.created, params.created),
      ),
  ),
  route('GET', '/v1/checkout/sessions/:id', {}, (world, _, { id }) => find(world, 'sessions', id)),
  route('GET', '/v1/checkout/sessions/:id/line_items', p.page, (world, _, { id, url }) =>
    listOf(url, world.lineItems.get(find(world, 'sessions', id).id) ?? []),
  ),
  route('POST', '/v1/checkout/sessions/:id/expire', {}, (world, _, { id }) => {
    const session = find(world, 'sessions', id)
    if (session.status !== 'open')
      throw invalid(
        `Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of ${session.status}.`,
      )
    expireSession(world, session)
    return session
  }),
]
