import type Stripe from 'stripe'
import type { z } from 'zod'
import { invalid } from '../failure.ts'
import type { World } from '../world.ts'
import type { lineItem, SessionParams } from './checkout-params.ts'
import { priceNamed } from './prices.ts'

export function linesOf(world: World, { mode, line_items }: SessionParams): Stripe.LineItem[] {
  if (mode === 'setup') {
    if (line_items) throw invalid('You can not pass `line_items` in `setup` mode.', { param: 'line_items' })
    return []
  }
  if (line_items === undefined || line_items.length === 0)
    throw invalid('Missing required param: line_items.', { code: 'parameter_missing', param: 'line_items' })
  const lines = line_items.map((line, index) => lineOf(world, line, `line_items[${index}]`))
  if (new Set(lines.map((line) => line.currency)).size > 1)
    throw invalid('All line items must have the same currency.', { param: 'line_items' })
  const recurring = lines.some((line) => line.price?.type === 'recurring')
  if (mode === 'payment' && recurring)
    throw invalid(
      'You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only one-time prices.',
      { param: 'line_items' },
    )
  if (mode === 'subscription' && !recurring)
    throw invalid('You must provide at least one recurring price in `subscription` mode when using prices.', { param: 'line_items' })
  return lines
}

function lineOf(world: World, line: z.output<typeof lineItem>, param: string): Stripe.LineItem {
  if (line.quantity === undefined || line.quantity < 1)
    throw invalid('Quantity is required.', { code: 'parameter_missing', param: `${param}[quantity]` })
  const price = priceNamed(world, line, param)
  const amount = (price.unit_amount ?? 0) * line.quantity
  return {
    id: world.id('li'),
    object: 'item',
    adjustable_quantity: null,
    amount_discount: 0,
    amount_subtotal: amount,
    amount_tax: 0,
    amount_total: amount,
    currency: price.currency,
    description: world.tables.products.get(price.product as string)?.name ?? null,
    metadata: {},
    price,
    quantity: line.quantity,
  }
}
