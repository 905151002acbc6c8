import type Stripe from 'stripe'
import { noTax } from '../blank.ts'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { refer, type World } from '../world.ts'
import { linesOf } from './checkout-lines.ts'
import type { SessionParams } from './checkout-params.ts'
import { newSetupIntent } from './setup-intents.ts'

const LIFE_SECONDS_MIN = 30 * 60
const LIFE_SECONDS_MAX = 24 * 60 * 60
/** A request takes a moment to get here. */
const LIFE_SLACK_SECONDS = 60

export function newSession(world: World, params: SessionParams): Stripe.Checkout.Session {
  const customer = params.customer === undefined ? null : refer(world, 'customers', params.customer, 'customer')
  if (customer && params.customer_email !== undefined)
    throw invalid('You may only specify one of these parameters: customer, customer_email.', { param: 'customer_email' })
  const uiMode = params.ui_mode ?? 'hosted_page'
  if (uiMode === 'hosted_page' && params.success_url === undefined)
    throw invalid('Missing required param: success_url.', { code: 'parameter_missing', param: 'success_url' })
  if (params.mode !== 'payment' && params.payment_intent_data)
    throw invalid('You can not pass `payment_intent_data` in `subscription` mode.', { param: 'payment_intent_data' })
  if (params.mode !== 'subscription' && params.subscription_data)
    throw invalid('You can not pass `subscription_data` in `payment` mode.', { param: 'subscription_data' })
  const expiresAt = expiry(world, params.expires_at)
  const id = world.id('cs_test')
  const lines = linesOf(world, params)
  const total = lines.reduce((sum, line) => sum + line.amount_total, 0)
  const currency = lines[0]?.currency ?? params.currency ?? null
  const metadata = p.mergeMetadata(null, params.metadata)
  const inner = params.payment_intent_data ?? params.subscription_data ?? params.setup_intent_data
  const innerMetadata = p.mergeMetadata(null, inner?.metadata)
  world.lineItems.set(id, lines)
  world.sessionData.set(id, {
    metadata: innerMetadata,
    description: params.payment_intent_data?.description ?? params.subscription_data?.description ?? null,
    setupFutureUsage: params.payment_intent_data?.setup_future_usage ?? null,
    prorationDiscounts: params.subscription_data?.billing_mode?.flexible?.proration_discounts ?? 'included',
  })
  const setup = params.mode === 'setup' ? newSetupIntent(world, customer?.id ?? null, innerMetadata) : null
  return world.tables.sessions.add({
    id,
    object: 'checkout.session',
    adaptive_pricing: { enabled: false },
    after_expiration: null,
    allow_promotion_codes: null,
    allowed_payment_method_types: null,
    amount_subtotal: params.mode === 'setup' ? null : total,
    amount_total: params.mode === 'setup' ? null : total,
    automatic_tax: noTax(),
    billing_address_collection: null,
    cancel_url: params.cancel_url ?? null,
    client_reference_id: params.client_reference_id ?? null,
    client_secret: uiMode === 'hosted_page' ? null : `${id}_secret_test`,
    collected_information: null,
    consent: null,
    consent_collection: null,
    created: world.clock.now(),
    currency,
    currency_conversion: null,
    custom_fields: [],
    custom_text: { after_submit: null, shipping_address: null, submit: null, terms_of_service_acceptance: null },
    customer: customer?.id ?? null,
    customer_account: null,
    customer_creation: params.mode === 'payment' && customer === null ? (params.customer_creation ?? 'if_required') : null,
    customer_details:
      customer === null && params.customer_email === undefined
        ? null
        : detailsOf({ email: customer?.email ?? params.customer_email ?? null, name: customer?.name ?? null }),
    customer_email: params.customer_email ?? null,
    discounts: [],
    expires_at: expiresAt,
    integration_identifier: null,
    invoice: null,
    invoice_creation:
      params.mode === 'payment'
        ? {
            enabled: false,
            invoice_data: {
              account_tax_ids: null,
              custom_fields: null,
              description: null,
              footer: null,
              issuer: null,
              metadata: {},
              rendering_options: null,
            },
          }
        : null,
    livemode: false,
    locale: null,
    managed_payments: null,
    metadata,
    mode: params.mode,
    origin_context: null,
    payment_intent: null,
    payment_link: null,
    payment_method_collection: params.mode === 'subscription' ? 'always' : null,
    payment_method_configuration_details: null,
    payment_method_options: {},
    payment_method_types: params.payment_method_types ?? ['card'],
    payment_status: params.mode === 'setup' ? 'no_payment_required' : 'unpaid',
    permissions: null,
    recovered_from: null,
    saved_payment_method_options: null,
    setup_intent: setup?.id ?? null,
    shipping_address_collection: null,
    shipping_cost: null,
    shipping_options: [],
    status: 'open',
    submit_type: null,
    subscription: null,
    success_url: params.success_url ?? null,
    total_details: params.mode === 'setup' ? null : { amount_discount: 0, amount_shipping: 0, amount_tax: 0 },
    ui_mode: uiMode,
    url: uiMode === 'hosted_page' ? `https://checkout.stripe.com/c/pay/${id}` : null,
    wallet_options: null,
  })
}

export function detailsOf(given: { email?: string | null; name?: string | null }): Stripe.Checkout.Session.CustomerDetails {
  return {
    address: null,
    business_name: null,
    email: given.email ?? null,
    individual_name: null,
    name: given.name ?? null,
    phone: null,
    tax_exempt: 'none',
    tax_ids: [],
  }
}

function expiry(world: World, asked: number | undefined): number {
  const now = world.clock.now()
  if (asked === undefined) return now + LIFE_SECONDS_MAX
  if (asked < now + LIFE_SECONDS_MIN - LIFE_SLACK_SECONDS)
    throw invalid('The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.', { param: 'expires_at' })
  if (asked > now + LIFE_SECONDS_MAX + LIFE_SLACK_SECONDS)
    throw invalid('The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.', { param: 'expires_at' })
  return asked
}
