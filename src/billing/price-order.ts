import { about, refusal } from '../kernel/errors.ts'
import type { Instant } from '../kernel/time.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { inForce, type PriceBook, rateKey } from '../pricing/prices.ts'
import { creditsFor } from '../pricing/terms.ts'
import { aboutADollar, formatMoney, parseMoney, tooManyDecimals } from './money.ts'
import type { Package } from './package.ts'
import type { Order } from './place-order.ts'
import { type BonusRule, bonusBy } from './promotion/bonus-rule.ts'
import { creditsOf, type Promotion } from './promotion/promotion.ts'

/** What is asked for: a package by name, or credits for an amount of money. */
export type Wanted = { readonly package: string } | { readonly amount: string; readonly currency: string }

/** What a request asks for. Its schema has seen to it that it names either. */
export function wantedOf(body: {
  readonly package?: string | undefined
  readonly amount?: string | undefined
  readonly currency?: string | undefined
}): Wanted {
  return body.package === undefined ? { amount: body.amount ?? '', currency: body.currency ?? '' } : { package: body.package }
}

/** Bounds of an order without a package, in what is about a dollar. */
const UNITS_MIN = 5n
const UNITS_MAX = 10_000n

/** What an order comes to: the package as it is on sale, or an amount at the purchase rate in force. */
export function priceOrder(wanted: Wanted, packages: readonly Package[], book: PriceBook, at: Instant): Outcome<Order> {
  if ('package' in wanted) {
    const found = packages.find((one) => one.package === wanted.package && one.enabled)
    if (!found) return refuse(about('/package', refusal('package_not_sold', `No package "${wanted.package}" is on sale.`)))
    return done(plain({ ...found, packageVersionId: found.id }))
  }
  const { currency } = wanted
  const rate = inForce(book.exchangeRates.get(rateKey(currency, 'purchase')), at)
  if (!rate) return refuse(about('/currency', refusal('rate_missing', `Credits are not sold for ${currency}.`)))
  const amount = parseMoney(wanted.amount, currency)
  if (amount === null) return notPayable(`An amount ${tooManyDecimals(currency)}.`)
  const unit = aboutADollar(currency)
  if (amount < UNITS_MIN * unit || amount > UNITS_MAX * unit) {
    const bounds = `${formatMoney(UNITS_MIN * unit, currency)} to ${formatMoney(UNITS_MAX * unit, currency)} ${currency}`
    return notPayable(`An order is for ${bounds}.`)
  }
  const credits = creditsFor(formatMoney(amount, currency), rate)
  if (credits === 0n) return notPayable('This buys less than a millionth of a credit.')
  return done(plain({ packageVersionId: null, currency, amount, credits, bonus: 0n }))
}

function notPayable(why: string): Outcome<Order> {
  return refuse(about('/amount', refusal('amount_not_payable', why)))
}

function plain({ packageVersionId, currency, amount, credits, bonus }: Omit<Order, 'firstBonus' | 'promotion' | 'redemptionId'>): Order {
  return { packageVersionId, currency, amount, credits, bonus, firstBonus: 0n, promotion: 0n, redemptionId: null }
}

/** The order with what the rules in force give on top, and its promotion, if it names one. */
export function withBonuses(
  order: Order,
  rules: readonly BonusRule[],
  claimed: { readonly promotion: Promotion; readonly redemptionId: string } | null,
): Order {
  const promotion = claimed ? creditsOf(claimed.promotion, order.credits) : 0n
  return {
    ...order,
    bonus: order.bonus + bonusBy(rules, 'volume', order) + promotion,
    firstBonus: bonusBy(rules, 'first_purchase', order),
    promotion,
    // A promotion of so few percent that nothing comes of it is not used up.
    redemptionId: promotion > 0n ? (claimed?.redemptionId ?? null) : null,
  }
}
