import type Stripe from 'stripe'
import { z } from 'zod'
import { change, emit } from '../events.ts'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, within } from '../table.ts'
import { find, type World } from '../world.ts'

export function newProduct(
  world: World,
  given: {
    id?: string | undefined
    name: string
    description?: string | null | undefined
    active?: boolean | undefined
    metadata: Record<string, string>
  },
): Stripe.Product {
  const at = world.clock.now()
  const product: Stripe.Product = {
    id: given.id ?? world.id('prod'),
    object: 'product',
    active: given.active ?? true,
    created: at,
    default_price: null,
    description: given.description ?? null,
    images: [],
    livemode: false,
    marketing_features: [],
    metadata: given.metadata,
    name: given.name,
    package_dimensions: null,
    shippable: null,
    statement_descriptor: null,
    tax_code: null,
    tax_details: null,
    type: 'service',
    unit_label: null,
    updated: at,
    url: null,
  }
  world.tables.products.add(product)
  emit(world, 'product.created', product)
  return product
}

const fields = {
  active: p.boolean.optional(),
  description: p.clearable.optional(),
  metadata: p.metadata.optional(),
  tax_code: p.ignored.optional(),
}

export const productRoutes = [
  route('POST', '/v1/products', { ...fields, name: p.text, id: p.text.optional() }, (world, params) => {
    if (params.id !== undefined && world.tables.products.get(params.id))
      throw invalid('Product already exists.', { code: 'resource_already_exists', param: 'id' })
    return newProduct(world, { ...params, metadata: p.mergeMetadata(null, params.metadata) })
  }),
  route(
    'GET',
    '/v1/products',
    { ...p.page, active: p.boolean.optional(), ids: z.array(p.text).optional(), created: p.created.optional() },
    (world, params, { url }) =>
      pageOf(
        world.tables.products,
        url,
        params,
        (row) =>
          (params.active === undefined || row.active === params.active) &&
          (params.ids === undefined || params.ids.includes(row.id)) &&
          within(row.created, params.created),
      ),
  ),
  route('GET', '/v1/products/:id', {}, (world, _, { id }) => find(world, 'products', id)),
  route('POST', '/v1/products/:id', { ...fields, name: p.text.optional() }, (world, { name, active, description, metadata }, { id }) => {
    const product = find(world, 'products', id)
    change(world, 'product.updated', product, {
      name: name ?? product.name,
      active: active ?? product.active,
      description: description === undefined ? product.description : description,
      metadata: metadata === undefined ? product.metadata : p.mergeMetadata(product.metadata, metadata),
    })
    return product
  }),
]
