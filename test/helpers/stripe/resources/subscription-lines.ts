/** What a subscription's items cost, line by line: a whole period, or what is left of one after a change. */
import type Stripe from 'stripe'
import { decimal } from '../blank.ts'
import { idOf, type World } from '../world.ts'
import type { Period } from './subscription-items.ts'

const worth = (item: Stripe.SubscriptionItem): number => (item.price.unit_amount ?? 0) * (item.quantity ?? 1)

export function lineOf(
  world: World,
  item: Stripe.SubscriptionItem,
  { period, amount = worth(item), description }: { period: Period; amount?: number; description?: string },
): Stripe.InvoiceLineItem {
  const product = world.tables.products.get(idOf(item.price.product) ?? '')
  return {
    id: world.id('il'),
    object: 'line_item',
    amount,
    currency: item.price.currency,
    description: description ?? `${item.quantity ?? 1} × ${product?.name ?? 'Item'}`,
    discount_amounts: [],
    discountable: description === undefined,
    discounts: [],
    invoice: null,
    livemode: false,
    metadata: {},
    parent: {
      type: 'subscription_item_details',
      invoice_item_details: null,
      subscription_item_details: {
        invoice_item: null,
        proration: description !== undefined,
        proration_details: null,
        subscription: item.subscription,
        subscription_item: item.id,
      },
    },
    period: { start: period.start, end: period.end },
    pretax_credit_amounts: [],
    pricing: {
      type: 'price_details',
      price_details: { price: item.price.id, product: idOf(item.price.product) ?? '' },
      unit_amount_decimal: item.price.unit_amount_decimal,
    },
    quantity: item.quantity ?? 1,
    quantity_decimal: decimal(item.quantity ?? 1),
    subscription: item.subscription,
    subtotal: amount,
    taxes: [],
  }
}

/** The rest of the period back at the old price, and again at the new one. */
export function prorationLines(
  world: World,
  before: readonly Stripe.SubscriptionItem[],
  after: readonly Stripe.SubscriptionItem[],
  { start, end }: Period,
): Stripe.InvoiceLineItem[] {
  const now = Math.min(Math.max(world.clock.now(), start), end)
  const left = (end - now) / (end - start)
  const period = { start: now, end }
  const lines: Stripe.InvoiceLineItem[] = []
  for (const old of before) {
    const now = after.find((item) => item.id === old.id)
    if (now && worth(now) === worth(old) && now.price.id === old.price.id) continue
    lines.push(lineOf(world, old, { period, amount: -Math.round(worth(old) * left), description: 'Unused time' }))
    if (now) lines.push(lineOf(world, now, { period, amount: Math.round(worth(now) * left), description: 'Remaining time' }))
  }
  for (const item of after)
    if (!before.some((old) => old.id === item.id))
      lines.push(lineOf(world, item, { period, amount: Math.round(worth(item) * left), description: 'Remaining time' }))
  return lines
}
