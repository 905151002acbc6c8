/** Subscriptions as time and customers change them: the next period, an upgrade, another cycle. */
import type Stripe from 'stripe'
import type { z } from 'zod'
import { cardBehind, declineError } from '../cards.ts'
import { change } from '../events.ts'
import { StripeFailure } from '../failure.ts'
import type { World } from '../world.ts'
import { collect, methodOf, wouldPay } from './invoice-payments.ts'
import { finalizeInvoice, newInvoice } from './invoices.ts'
import { endSubscription } from './subscription-end.ts'
import { type changedItem, changeItems, itemsOf, nextPeriod, periodOf, recurringOf } from './subscription-items.ts'
import { lineOf, prorationLines } from './subscription-lines.ts'

/** The period is over: the end, or an invoice for the next one. */
export function advance(world: World, subscription: Stripe.Subscription): Stripe.Invoice | null {
  if (subscription.status === 'canceled' || subscription.status === 'incomplete')
    throw new Error(`${subscription.id} is ${subscription.status}`)
  if (subscription.cancel_at_period_end) {
    endSubscription(world, subscription, 'cancellation_requested')
    return null
  }
  const over = periodOf(subscription)
  const items = itemsOf(subscription).map((item) => {
    const { start, end } = nextPeriod(subscription.billing_cycle_anchor, over.end, item.price)
    return { ...item, current_period_start: start, current_period_end: end }
  })
  const lines = items.map((item) => lineOf(world, item, { period: { start: item.current_period_start, end: item.current_period_end } }))
  const invoice = newInvoice(world, subscription, { reason: 'subscription_cycle', lines, period: over })
  change(world, 'customer.subscription.updated', subscription, {
    items: { ...subscription.items, data: items },
    latest_invoice: invoice.id,
  })
  // Nobody asks a card again once the subscription was given up: the drafts pile up.
  if (subscription.status === 'unpaid') return invoice
  finalizeInvoice(world, invoice)
  collect(world, invoice, methodOf(world, subscription), { offSession: true })
  return invoice
}

export interface ItemsChange {
  items: readonly z.output<typeof changedItem>[]
  prorations: 'create_prorations' | 'always_invoice' | 'none'
  resetCycle: boolean
  mustPay: boolean
}

/** Other items, or other prices. A price of another interval begins a new cycle now. */
export function changePlan(
  world: World,
  subscription: Stripe.Subscription,
  { items: given, prorations, resetCycle, mustPay }: ItemsChange,
  rest: Partial<Stripe.Subscription>,
): void {
  const before = itemsOf(subscription)
  const period = periodOf(subscription)
  const after = changeItems(world, subscription, given)
  const lines = prorations === 'none' ? [] : prorationLines(world, before, after, period)
  const resets = resetCycle || intervalOf(before) !== intervalOf(after)
  const changes: Partial<Stripe.Subscription> = { ...rest }
  if (resets) {
    const at = world.clock.now()
    changes.billing_cycle_anchor = at
    for (const item of after) {
      const next = nextPeriod(at, at, item.price)
      item.current_period_start = next.start
      item.current_period_end = next.end
    }
    // What was left of the old period is given back; the new one is paid in full.
    const credits = lines.filter((line) => line.amount < 0)
    lines.splice(0, lines.length, ...credits, ...after.map((item) => lineOf(world, item, { period: nextPeriod(at, at, item.price) })))
  }
  const immediate = resets || (prorations === 'always_invoice' && lines.length > 0)
  if (immediate && mustPay) insist(world, subscription, lines)
  changes.items = { ...subscription.items, data: after }
  if (!immediate) {
    if (lines.length > 0) world.pendingLines.set(subscription.id, [...(world.pendingLines.get(subscription.id) ?? []), ...lines])
    change(world, 'customer.subscription.updated', subscription, changes)
    return
  }
  const invoice = newInvoice(world, subscription, {
    reason: 'subscription_update',
    lines,
    period: { start: period.start, end: world.clock.now() },
  })
  change(world, 'customer.subscription.updated', subscription, { ...changes, latest_invoice: invoice.id })
  finalizeInvoice(world, invoice)
  collect(world, invoice, methodOf(world, subscription), { offSession: true })
}

function intervalOf(items: readonly Stripe.SubscriptionItem[]): string {
  const first = items[0]
  if (first === undefined) return ''
  const { interval, interval_count } = recurringOf(first.price)
  return `${interval_count} ${interval}`
}

/** With `error_if_incomplete` a change that the card would not pay is not made. */
function insist(world: World, subscription: Stripe.Subscription, lines: readonly Stripe.InvoiceLineItem[]): void {
  const owed = lines.reduce((sum, line) => sum + line.amount, 0)
  const method = methodOf(world, subscription)
  if (owed <= 0 || wouldPay(world, method)) return
  const verdict = method === undefined ? 'authenticate' : cardBehind(world, method).offSession
  throw new StripeFailure(402, declineError(typeof verdict === 'string' ? 'authentication_required' : verdict.decline))
}
