import type Stripe from 'stripe'
import { noBilling } from '../blank.ts'
import { referMethod, type TestCard } from '../cards.ts'
import { change, emit, patch } from '../events.ts'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, type Table } from '../table.ts'
import { find, refer, type World } from '../world.ts'

interface Owner {
  email?: string | null
  name?: string | null
}

function newMethod(world: World, owner: Owner, details: Pick<Stripe.PaymentMethod, 'type' | 'card' | 'sepa_debit'>): Stripe.PaymentMethod {
  return world.tables.paymentMethods.add({
    id: world.id('pm'),
    object: 'payment_method',
    allow_redisplay: 'unspecified',
    billing_details: noBilling(owner),
    ...details,
    created: world.clock.now(),
    customer: null,
    customer_account: null,
    livemode: false,
    metadata: {},
  } as Stripe.PaymentMethod)
}

export function newCardMethod(world: World, card: TestCard, owner: Owner = {}): Stripe.PaymentMethod {
  const { brand, last4, fingerprint } = card
  const method = newMethod(world, owner, {
    type: 'card',
    card: {
      brand,
      checks: { address_line1_check: null, address_postal_code_check: null, cvc_check: 'pass' },
      country: 'US',
      display_brand: brand,
      exp_month: card.expMonth,
      exp_year: card.expYear,
      fingerprint,
      funding: 'credit',
      generated_from: null,
      last4,
      networks: { available: [brand], preferred: null },
      regulated_status: null,
      three_d_secure_usage: { supported: true },
      wallet: null,
    },
  })
  world.cards.set(method.id, card)
  return method
}

/** An account whose debits take days to succeed or to fail. */
export function newDebitMethod(world: World, owner: Owner = {}): Stripe.PaymentMethod {
  return newMethod(world, owner, {
    type: 'sepa_debit',
    sepa_debit: {
      bank_code: '37040044',
      branch_code: '',
      country: 'DE',
      fingerprint: 'fp_test_debit',
      generated_from: { charge: null, setup_attempt: null },
      last4: '3000',
    },
  })
}

/** The payment method that a parameter names. */
export function methodNamed(world: World, id: string, param: string): Stripe.PaymentMethod {
  return referMethod(world, id, param, (card) => newCardMethod(world, card))
}

export function attach(world: World, method: Stripe.PaymentMethod, customer: string): void {
  if (method.customer === customer) return
  if (method.customer !== null) throw invalid('The payment method you provided has already been attached to a customer.')
  if (world.detached.has(method.id))
    throw invalid(
      'This PaymentMethod was previously used without being attached to a Customer or was detached from a Customer, and may not be used again.',
      { param: 'payment_method' },
    )
  patch(method, { customer })
  emit(world, 'payment_method.attached', method)
}

const listing = { ...p.page, type: p.text.optional() }

function list(world: World, customer: string | undefined, params: p.Page & { type?: string | undefined }, url: string) {
  const table: Table<Stripe.PaymentMethod> = world.tables.paymentMethods
  return pageOf(table, url, params, (row) => row.customer === customer && (params.type === undefined || row.type === params.type))
}

export const paymentMethodRoutes = [
  route('GET', '/v1/payment_methods', { ...listing, customer: p.text }, (world, params, { url }) => {
    refer(world, 'customers', params.customer, 'customer')
    return list(world, params.customer, params, url)
  }),
  route('GET', '/v1/customers/:id/payment_methods', listing, (world, params, { id, url }) =>
    list(world, find(world, 'customers', id).id, params, url),
  ),
  route('GET', '/v1/payment_methods/:id', {}, (world, _, { id }) => find(world, 'paymentMethods', id)),
  route('POST', '/v1/payment_methods/:id', { metadata: p.metadata.optional() }, (world, params, { id }) => {
    const method = find(world, 'paymentMethods', id)
    change(world, 'payment_method.updated', method, { metadata: p.mergeMetadata(method.metadata, params.metadata) })
    return method
  }),
  route('POST', '/v1/payment_methods/:id/attach', { customer: p.text }, (world, params, { id }) => {
    const customer = refer(world, 'customers', params.customer, 'customer')
    const method = methodNamed(world, id, 'payment_method')
    attach(world, method, customer.id)
    return method
  }),
  route('POST', '/v1/payment_methods/:id/detach', {}, (world, _, { id }) => {
    const method = find(world, 'paymentMethods', id)
    const { customer } = method
    if (typeof customer !== 'string')
      throw invalid('The payment method you provided is not attached to a customer so detachment is impossible.')
    change(world, 'payment_method.detached', method, { customer: null })
    world.detached.add(method.id)
    const owner = world.tables.customers.get(customer)
    if (owner?.invoice_settings.default_payment_method === method.id)
      change(world, 'customer.updated', owner, { invoice_settings: { ...owner.invoice_settings, default_payment_method: null } })
    return method
  }),
]
