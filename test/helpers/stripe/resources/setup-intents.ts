import type Stripe from 'stripe'
import { emit, patch } from '../events.ts'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, within } from '../table.ts'
import { find, idOf, refer, type World } from '../world.ts'
import { attach, methodNamed } from './payment-methods.ts'

export function newSetupIntent(world: World, customer: string | null, metadata: Record<string, string>): Stripe.SetupIntent {
  const id = world.id('seti')
  const intent: Stripe.SetupIntent = {
    id,
    object: 'setup_intent',
    allowed_payment_method_types: null,
    application: null,
    automatic_payment_methods: null,
    cancellation_reason: null,
    client_secret: `${id}_secret_test`,
    created: world.clock.now(),
    customer,
    customer_account: null,
    description: null,
    excluded_payment_method_types: null,
    flow_directions: null,
    last_setup_error: null,
    latest_attempt: null,
    livemode: false,
    mandate: null,
    metadata,
    next_action: null,
    on_behalf_of: null,
    payment_method: null,
    payment_method_configuration_details: null,
    payment_method_options: {},
    payment_method_types: ['card'],
    single_use_mandate: null,
    status: 'requires_payment_method',
    usage: 'off_session',
  }
  world.tables.setupIntents.add(intent)
  emit(world, 'setup_intent.created', intent)
  return intent
}

export function completeSetup(world: World, intent: Stripe.SetupIntent, method: Stripe.PaymentMethod): void {
  const customer = idOf(intent.customer)
  if (customer) attach(world, method, customer)
  patch(intent, { status: 'succeeded', payment_method: method.id })
  emit(world, 'setup_intent.succeeded', intent)
}

export const setupIntentRoutes = [
  route(
    'POST',
    '/v1/setup_intents',
    {
      customer: p.text.optional(),
      payment_method: p.text.optional(),
      confirm: p.boolean.optional(),
      usage: p.text.optional(),
      metadata: p.metadata.optional(),
      automatic_payment_methods: p.ignored.optional(),
      payment_method_types: p.ignored.optional(),
    },
    (world, params) => {
      const customer = params.customer === undefined ? null : refer(world, 'customers', params.customer, 'customer').id
      const method = params.payment_method === undefined ? undefined : methodNamed(world, params.payment_method, 'payment_method')
      const intent = newSetupIntent(world, customer, p.mergeMetadata(null, params.metadata))
      if (params.confirm) {
        if (method === undefined) throw invalid('You cannot confirm a SetupIntent without a payment method.', { param: 'payment_method' })
        completeSetup(world, intent, method)
      }
      return intent
    },
  ),
  route('GET', '/v1/setup_intents', { ...p.page, customer: p.text.optional(), created: p.created.optional() }, (world, params, { url }) =>
    pageOf(
      world.tables.setupIntents,
      url,
      params,
      (row) => (params.customer === undefined || row.customer === params.customer) && within(row.created, params.created),
    ),
  ),
  route('GET', '/v1/setup_intents/:id', {}, (world, _, { id }) => find(world, 'setupIntents', id)),
]
