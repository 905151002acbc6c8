import type Stripe from 'stripe'
import { emit } from '../events.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { refer } from '../world.ts'

export const portalRoutes = [
  route(
    'POST',
    '/v1/billing_portal/sessions',
    {
      customer: p.text,
      return_url: p.text.optional(),
      configuration: p.text.optional(),
      locale: p.text.optional(),
      flow_data: p.ignored.optional(),
    },
    (world, params) => {
      const customer = refer(world, 'customers', params.customer, 'customer')
      const id = world.id('bps')
      const session: Stripe.BillingPortal.Session = {
        id,
        object: 'billing_portal.session',
        configuration: params.configuration ?? 'bpc_test',
        created: world.clock.now(),
        customer: customer.id,
        customer_account: null,
        flow: null,
        livemode: false,
        locale: null,
        on_behalf_of: null,
        return_url: params.return_url ?? null,
        url: `https://billing.stripe.com/p/session/${id}`,
      }
      emit(world, 'billing_portal.session.created', session)
      return session
    },
  ),
]
