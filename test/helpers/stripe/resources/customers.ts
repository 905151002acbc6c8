import type Stripe from 'stripe'
import { z } from 'zod'
import { change, emit } from '../events.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, within } from '../table.ts'
import { find, refer, type World } from '../world.ts'
import { attach, methodNamed } from './payment-methods.ts'

export function newCustomer(
  world: World,
  given: {
    email?: string | null
    name?: string | null
    phone?: string | null
    description?: string | null
    metadata?: Record<string, string>
  },
): Stripe.Customer {
  const customer: Stripe.Customer = {
    id: world.id('cus'),
    object: 'customer',
    address: null,
    balance: 0,
    created: world.clock.now(),
    currency: null,
    customer_account: null,
    default_source: null,
    delinquent: false,
    description: given.description ?? null,
    discount: null,
    email: given.email ?? null,
    invoice_prefix: world.id('INV').slice(-8).toUpperCase(),
    invoice_settings: { custom_fields: null, default_payment_method: null, footer: null, rendering_options: null },
    livemode: false,
    metadata: given.metadata ?? {},
    name: given.name ?? null,
    next_invoice_sequence: 1,
    phone: given.phone ?? null,
    preferred_locales: [],
    shipping: null,
    tax_exempt: 'none',
    test_clock: null,
  }
  world.tables.customers.add(customer)
  emit(world, 'customer.created', customer)
  return customer
}

const fields = {
  email: p.clearable.optional(),
  name: p.clearable.optional(),
  phone: p.clearable.optional(),
  description: p.clearable.optional(),
  metadata: p.metadata.optional(),
  address: p.ignored.optional(),
  preferred_locales: p.ignored.optional(),
}

const settings = z.strictObject({ default_payment_method: p.clearable.optional() })

export const customerRoutes = [
  route('POST', '/v1/customers', { ...fields, payment_method: p.text.optional() }, (world, params) => {
    const metadata = p.mergeMetadata(null, params.metadata)
    const { email, name, phone, description } = params
    const customer = newCustomer(world, {
      metadata,
      email: email ?? null,
      name: name ?? null,
      phone: phone ?? null,
      description: description ?? null,
    })
    if (params.payment_method) attach(world, methodNamed(world, params.payment_method, 'payment_method'), customer.id)
    return customer
  }),
  route('GET', '/v1/customers', { ...p.page, email: p.text.optional(), created: p.created.optional() }, (world, params, { url }) =>
    pageOf(
      world.tables.customers,
      url,
      params,
      (row) => !('deleted' in row) && (params.email === undefined || row.email === params.email) && within(row.created, params.created),
    ),
  ),
  route('GET', '/v1/customers/:id', {}, (world, _, { id }) => {
    const customer = find(world, 'customers', id)
    return 'deleted' in customer ? { id, object: 'customer', deleted: true } : customer
  }),
  route(
    'POST',
    '/v1/customers/:id',
    { ...fields, invoice_settings: settings.optional() },
    (world, { metadata, invoice_settings, email, name, phone, description }, { id }) => {
      const customer = find(world, 'customers', id)
      const changes: Partial<Stripe.Customer> = {}
      if (email !== undefined) changes.email = email
      if (name !== undefined) changes.name = name
      if (phone !== undefined) changes.phone = phone
      if (description !== undefined) changes.description = description
      if (metadata !== undefined) changes.metadata = p.mergeMetadata(customer.metadata, metadata)
      const method = invoice_settings?.default_payment_method
      if (method !== undefined) {
        if (method !== null) refer(world, 'paymentMethods', method, 'invoice_settings[default_payment_method]')
        changes.invoice_settings = { ...customer.invoice_settings, default_payment_method: method }
      }
      change(world, 'customer.updated', customer, changes)
      return customer
    },
  ),
  route('DELETE', '/v1/customers/:id', {}, (world, _, { id }) => {
    const customer = find(world, 'customers', id)
    Object.assign(customer, { deleted: true })
    emit(world, 'customer.deleted', customer)
    return { id, object: 'customer', deleted: true }
  }),
]
