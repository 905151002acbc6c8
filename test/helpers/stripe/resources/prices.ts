import type Stripe from 'stripe'
import { z } from 'zod'
import { decimal } from '../blank.ts'
import { change, emit } from '../events.ts'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { route } from '../route.ts'
import { pageOf, within } from '../table.ts'
import { find, refer, type World } from '../world.ts'
import { newProduct } from './products.ts'

const recurring = z.strictObject({ interval: z.enum(['day', 'week', 'month', 'year']), interval_count: p.integer.default(1) })
const productData = z.strictObject({
  name: p.text,
  description: p.text.optional(),
  metadata: p.metadata.optional(),
  images: p.ignored.optional(),
  tax_code: p.ignored.optional(),
})

/** A price made on the spot, for a line of a checkout or an item of a subscription. */
export const priceData = z.strictObject({
  currency: p.currency,
  unit_amount: p.integer,
  product: p.text.optional(),
  product_data: productData.optional(),
  recurring: recurring.optional(),
  tax_behavior: p.ignored.optional(),
})

interface PriceExtras {
  nickname?: string | null
  lookup_key?: string | null
  metadata?: Record<string, string>
}

export function newPrice(world: World, data: z.output<typeof priceData>, extras: PriceExtras = {}): Stripe.Price {
  if (data.unit_amount < 0) throw invalid('Invalid non-negative integer', { code: 'parameter_invalid_integer', param: 'unit_amount' })
  const { product, product_data } = data
  if (product === undefined && product_data === undefined)
    throw invalid('You must provide one of `product` or `product_data`.', { param: 'product' })
  const owner =
    product === undefined
      ? newProduct(world, { ...product_data, name: product_data?.name ?? '', metadata: p.mergeMetadata(null, product_data?.metadata) })
      : refer(world, 'products', product, 'product')
  const price: Stripe.Price = {
    id: world.id('price'),
    object: 'price',
    active: true,
    billing_scheme: 'per_unit',
    created: world.clock.now(),
    currency: data.currency,
    custom_unit_amount: null,
    livemode: false,
    lookup_key: extras.lookup_key ?? null,
    metadata: extras.metadata ?? {},
    nickname: extras.nickname ?? null,
    product: owner.id,
    recurring: data.recurring ? { ...data.recurring, meter: null, trial_period_days: null, usage_type: 'licensed' } : null,
    tax_behavior: 'unspecified',
    tiers_mode: null,
    transform_quantity: null,
    type: data.recurring ? 'recurring' : 'one_time',
    unit_amount: data.unit_amount,
    unit_amount_decimal: decimal(data.unit_amount),
  }
  world.tables.prices.add(price)
  emit(world, 'price.created', price)
  return price
}

/** The price that a line names or describes. */
export function priceNamed(
  world: World,
  line: { price?: string | undefined; price_data?: z.output<typeof priceData> | undefined },
  param: string,
): Stripe.Price {
  if (line.price_data) return newPrice(world, line.price_data)
  if (line.price === undefined)
    throw invalid(`Missing required param: ${param}[price].`, { code: 'parameter_missing', param: `${param}[price]` })
  const price = refer(world, 'prices', line.price, `${param}[price]`)
  if (!price.active) throw invalid('The price specified is inactive. This field only accepts active prices.', { param: `${param}[price]` })
  return price
}

export const priceRoutes = [
  route(
    'POST',
    '/v1/prices',
    { ...priceData.shape, nickname: p.text.optional(), lookup_key: p.text.optional(), metadata: p.metadata.optional() },
    (world, { nickname, lookup_key, metadata, ...data }) =>
      newPrice(world, data, { nickname: nickname ?? null, lookup_key: lookup_key ?? null, metadata: p.mergeMetadata(null, metadata) }),
  ),
  route(
    'GET',
    '/v1/prices',
    {
      ...p.page,
      active: p.boolean.optional(),
      product: p.text.optional(),
      type: z.enum(['one_time', 'recurring']).optional(),
      currency: p.currency.optional(),
      lookup_keys: z.array(p.text).optional(),
      created: p.created.optional(),
    },
    (world, params, { url }) =>
      pageOf(
        world.tables.prices,
        url,
        params,
        (row) =>
          (params.active === undefined || row.active === params.active) &&
          (params.product === undefined || row.product === params.product) &&
          (params.type === undefined || row.type === params.type) &&
          (params.currency === undefined || row.currency === params.currency) &&
          (params.lookup_keys === undefined || params.lookup_keys.includes(row.lookup_key ?? '')) &&
          within(row.created, params.created),
      ),
  ),
  route('GET', '/v1/prices/:id', {}, (world, _, { id }) => find(world, 'prices', id)),
  route(
    'POST',
    '/v1/prices/:id',
    { active: p.boolean.optional(), nickname: p.clearable.optional(), metadata: p.metadata.optional() },
    (world, { active, nickname, metadata }, { id }) => {
      const price = find(world, 'prices', id)
      change(world, 'price.updated', price, {
        active: active ?? price.active,
        nickname: nickname === undefined ? price.nickname : nickname,
        metadata: metadata === undefined ? price.metadata : p.mergeMetadata(price.metadata, metadata),
      })
      return price
    },
  ),
]
