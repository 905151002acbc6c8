/** Items of a subscription, and their periods. */
import type Stripe from 'stripe'
import { z } from 'zod'
import { invalid } from '../failure.ts'
import * as p from '../params.ts'
import { periodEnd } from '../period.ts'
import { idOf, type World } from '../world.ts'
import { priceData, priceNamed } from './prices.ts'

export const newItem = z.strictObject({
  price: p.text.optional(),
  price_data: priceData.optional(),
  quantity: p.integer.optional(),
  metadata: p.metadata.optional(),
})
export const changedItem = newItem.extend({ id: p.text.optional(), deleted: p.boolean.optional() })

export type Period = { start: number; end: number }

export const itemsOf = (subscription: Stripe.Subscription): Stripe.SubscriptionItem[] => subscription.items.data

export function periodOf(subscription: Stripe.Subscription): Period {
  const first = itemsOf(subscription)[0]
  if (first === undefined) throw new Error(`${subscription.id} has no items`)
  return { start: first.current_period_start, end: first.current_period_end }
}

export function recurringOf(price: Stripe.Price): Stripe.Price.Recurring {
  if (price.recurring === null)
    throw invalid(`The price specified is set to \`type=one_time\` but this field only accepts prices with \`type=recurring\`.`, {
      param: 'items',
    })
  return price.recurring
}

export function makeItem(
  world: World,
  subscription: string,
  given: { price: Stripe.Price; quantity: number; metadata: Record<string, string> },
  period: Period,
): Stripe.SubscriptionItem {
  return {
    id: world.id('si'),
    object: 'subscription_item',
    billing_thresholds: null,
    created: world.clock.now(),
    current_period_end: period.end,
    current_period_start: period.start,
    current_trial: null,
    discounts: [],
    metadata: given.metadata,
    plan: planOf(given.price),
    price: given.price,
    quantity: given.quantity,
    subscription,
    tax_rates: [],
  }
}

/** The old word for a price, which Stripe still sends along. */
function planOf(price: Stripe.Price): Stripe.Plan {
  const { interval, interval_count } = recurringOf(price)
  return {
    id: price.id,
    object: 'plan',
    active: price.active,
    amount: price.unit_amount,
    amount_decimal: price.unit_amount_decimal,
    billing_scheme: 'per_unit',
    created: price.created,
    currency: price.currency,
    interval,
    interval_count,
    livemode: false,
    metadata: {},
    meter: null,
    nickname: null,
    product: idOf(price.product),
    tiers_mode: null,
    transform_usage: null,
    trial_period_days: null,
    usage_type: 'licensed',
  }
}

/** The items as the change would leave them. An item without an id is one more, as at Stripe. */
export function changeItems(
  world: World,
  subscription: Stripe.Subscription,
  given: readonly z.output<typeof changedItem>[],
): Stripe.SubscriptionItem[] {
  const items = itemsOf(subscription).map((item) => ({ ...item }))
  for (const [index, change] of given.entries()) {
    const param = `items[${index}]`
    if (change.id === undefined) {
      const price = priceNamed(world, change, param)
      recurringOf(price)
      if (items.some((item) => item.price.id === price.id))
        throw invalid(`An existing Subscription Item is already using the price ${price.id}.`, { param: `${param}[price]` })
      const quantity = change.quantity ?? 1
      const metadata = p.mergeMetadata(null, change.metadata)
      items.push(makeItem(world, subscription.id, { price, quantity, metadata }, periodOf(subscription)))
      continue
    }
    const place = items.findIndex((item) => item.id === change.id)
    const item = items[place]
    if (item === undefined) throw invalid(`No such subscription item: '${change.id}'`, { code: 'resource_missing', param: `${param}[id]` })
    if (change.deleted) {
      items.splice(place, 1)
      continue
    }
    const price = change.price === undefined && change.price_data === undefined ? item.price : priceNamed(world, change, param)
    Object.assign(item, { price, plan: planOf(price), quantity: change.quantity ?? item.quantity })
    item.metadata = p.mergeMetadata(item.metadata, change.metadata)
  }
  if (items.length === 0) throw invalid('A subscription must have at least one active item.', { param: 'items' })
  return items
}

/** The period that begins now, or where the last one ended. */
export function nextPeriod(anchor: number, start: number, price: Stripe.Price): Period {
  return { start, end: periodEnd(anchor, start, recurringOf(price)) }
}
