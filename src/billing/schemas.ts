import { z } from 'zod'
import * as field from '../http/fields.ts'
import { pageQuery } from '../http/page.ts'
import { formatCredits, parseCredits } from '../kernel/credits.ts'
import { toWireId } from '../kernel/ids.ts'
import { toWireTime, toWireTimeOrNull } from '../kernel/time.ts'
import type { Checkout } from './gateway.ts'
import type { StoredEvent } from './inbox.ts'
import { formatMoney, parseMoney, tooManyDecimals } from './money.ts'
import type { NewPackage, Package } from './package.ts'
import { type Payment, PROVIDERS, SHOWN_STATUSES, shownStatus } from './payment.ts'

/** The wire format of packages, orders and events of the payment provider. */

export const money = z
  .string()
  .regex(/^(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,3})?$/, 'must be a plain decimal string such as "45.00"')
  .meta({ description: 'Money, as a decimal string with at most the decimals of its currency', example: '45.00' })
/** Money that somebody pays or gets. */
export const sum = money.refine((text) => /[1-9]/.test(text), 'must be more than 0')
export const moneyOut = z.string().meta({ description: 'Money, as a decimal string with all decimals of its currency', example: '45.00' })
export const currency = z
  .string()
  .regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code such as "USD"')
  .meta({ example: 'USD' })
export const packageId = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,49}$/, 'must be a package such as "basic"')
  .meta({ example: 'basic' })
export const returnUrl = z
  .url({ protocol: /^https?$/, message: 'must be an http or https address' })
  .max(2_000)
  .meta({ example: 'https://app.example.com/credits' })
export const promotionCode = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9-]{2,39}$/, 'must be a code such as "WELCOME-2026"')
  .meta({ example: 'WELCOME-2026' })
/** Whether a price has no more decimals than its currency, and is not nothing. */
export function checkPrice(
  { price, currency: code }: { readonly price: string; readonly currency: string },
  context: z.core.$RefinementCtx,
): void {
  const amount = parseMoney(price, code)
  if (amount === null) context.addIssue({ code: 'custom', path: ['price'], message: tooManyDecimals(code) })
  if (amount === 0n) context.addIssue({ code: 'custom', path: ['price'], message: 'must be more than 0' })
}
const email = z.email().max(254).meta({ example: 'alice@example.com' })

export const packageObject = z
  .object({
    id: packageId,
    name: z.string(),
    price: moneyOut,
    currency: z.string(),
    credits: field.creditsOut,
    bonus: field.creditsOut.meta({ description: 'Credits on top, which burn first' }),
  })
  .meta({ id: 'Package' })

export function packageToWire({ package: id, name, amount, currency: code, credits, bonus }: Package) {
  return { id, name, price: formatMoney(amount, code), currency: code, credits: formatCredits(credits), bonus: formatCredits(bonus) }
}

export const packageBody = z
  .strictObject({
    package: packageId,
    name: field.text(100),
    price: money,
    currency,
    credits: field.credits,
    bonus: field.creditsOrZero.default('0'),
    enabled: z.boolean().default(true).meta({ description: 'False takes it off sale' }),
    effective_from: field.time.optional().meta({ description: 'A time ahead; now when absent' }),
    reason: field.text(500),
  })
  .superRefine(checkPrice)
  .meta({ id: 'PackageRequest' })

export function newPackage(body: z.output<typeof packageBody>): NewPackage {
  return {
    package: body.package,
    name: body.name,
    currency: body.currency,
    amount: parseMoney(body.price, body.currency) ?? 0n,
    credits: parseCredits(body.credits) ?? 0n,
    bonus: parseCredits(body.bonus) ?? 0n,
    enabled: body.enabled,
  }
}

export const packageVersionObject = packageObject
  .extend({
    version_id: field.id('package'),
    enabled: z.boolean(),
    effective_from: field.timeOut,
  })
  .meta({ id: 'PackageVersion' })

export function packageVersionToWire(version: Package) {
  return {
    ...packageToWire(version),
    version_id: toWireId('package', version.id),
    enabled: version.enabled,
    effective_from: toWireTime(version.effectiveFrom),
  }
}

export const packageHistoryObject = packageVersionObject
  .extend({ created_by: z.string(), created_at: field.timeOut })
  .meta({ id: 'PackageVersionRecord' })

export const packageHistoryQuery = pageQuery.extend({ package: packageId.optional() })

const purchaseFields = {
  wallet: field.wallet,
  flow: z
    .enum(['checkout', 'payment_intent'])
    .default('checkout')
    .meta({ description: "`checkout`: a page of the provider's; `payment_intent`: a client secret for a form of your own" }),
  success_url: returnUrl.optional().meta({ description: 'Where the customer goes after paying; its origin must be allowed' }),
  cancel_url: returnUrl.optional().meta({ description: 'Where the customer goes without paying' }),
  email: email.optional().meta({ description: "Where the provider's receipt goes" }),
  promotion_code: promotionCode.optional().meta({ description: 'A code for more credits, once to a wallet' }),
  reference: field.reference.optional(),
  metadata: field.metadata.optional(),
}

export const purchaseBody = z
  .strictObject({ ...purchaseFields, package: packageId.optional(), amount: sum.optional(), currency: currency.optional() })
  .superRefine((body, context) => {
    const byPackage = body.package !== undefined
    const byAmount = body.amount !== undefined || body.currency !== undefined
    if (byPackage === byAmount) {
      context.addIssue({
        code: 'custom',
        path: ['package'],
        message: 'is required unless amount and currency are given, and excludes them',
      })
    } else if (byAmount && body.amount === undefined) {
      context.addIssue({ code: 'custom', path: ['amount'], message: 'is required with a currency' })
    } else if (byAmount && body.currency === undefined) {
      context.addIssue({ code: 'custom', path: ['currency'], message: 'is required with an amount' })
    }
  })
  .meta({ id: 'PurchaseRequest' })

const origin = z.enum(['purchase', 'top_up', 'subscription'])

export const paymentObject = z
  .object({
    id: field.id('payment'),
    wallet_id: field.id('wallet'),
    kind: z.enum(['package', 'amount', 'plan']),
    origin: origin.meta({ description: "Who asked for it: somebody, the wallet's automatic top-up, or its subscription" }),
    package_version_id: field.id('package').nullable().meta({ description: 'The package as it was on sale then' }),
    status: z.enum(SHOWN_STATUSES).meta({ description: '`disputed`: a bank holds some of the money, or took it for good' }),
    failure: z.string().nullable().meta({ description: "Why it is not paid, in the provider's words" }),
    amount: moneyOut,
    currency: z.string(),
    credits: field.creditsOut,
    bonus: field.creditsOut.meta({ description: 'All that comes on top; what is for first orders only once this was one' }),
    first_purchase_bonus: field.creditsOut.meta({
      description: 'What comes on top should this be the first order of the wallet that is paid',
    }),
    promotion: field.creditsOut.meta({ description: 'What of the bonus the promotion gives' }),
    amount_refunded: moneyOut,
    amount_withdrawn: moneyOut.meta({ description: 'What banks hold or took for disputes' }),
    credits_reversed: field.creditsOut.meta({ description: 'Credits taken back for what was refunded or withdrawn' }),
    provider: z.enum(PROVIDERS),
    provider_payment_id: z.string().nullable(),
    provider_invoice_id: z.string().nullable(),
    subscription_id: field.id('subscription').nullable().meta({ description: 'Of what it was billed for' }),
    livemode: z.boolean().meta({ description: 'False for money of a test' }),
    reference: z.string().nullable(),
    metadata: field.metadataOut,
    created_at: field.timeOut,
    paid_at: field.timeOut.nullable(),
  })
  .meta({ id: 'Payment' })

export function paymentToWire(payment: Payment) {
  const { currency: code } = payment
  return {
    id: toWireId('payment', payment.id),
    wallet_id: toWireId('wallet', payment.walletId),
    kind: payment.kind,
    origin: payment.origin,
    package_version_id: payment.packageVersionId === null ? null : toWireId('package', payment.packageVersionId),
    status: shownStatus(payment),
    failure: payment.failure,
    amount: formatMoney(payment.amount, code),
    currency: code,
    credits: formatCredits(payment.credits),
    bonus: formatCredits(payment.bonus),
    first_purchase_bonus: formatCredits(payment.firstBonus),
    promotion: formatCredits(payment.promotion),
    amount_refunded: formatMoney(payment.refunded, code),
    amount_withdrawn: formatMoney(payment.withdrawn, code),
    credits_reversed: formatCredits(payment.reversed),
    provider: payment.provider,
    provider_payment_id: payment.objectId,
    provider_invoice_id: payment.invoiceId,
    subscription_id: payment.subscriptionId === null ? null : toWireId('subscription', payment.subscriptionId),
    livemode: payment.livemode,
    reference: payment.reference,
    metadata: payment.metadata === null ? null : JSON.parse(payment.metadata),
    created_at: toWireTime(payment.createdAt),
    paid_at: toWireTimeOrNull(payment.paidAt),
  }
}

export const purchaseAnswer = paymentObject
  .extend({
    checkout: z
      .object({
        url: z.string().nullable().meta({ description: 'The page on which the customer pays' }),
        client_secret: z.string().nullable().meta({ description: 'For a form of your own, with the flow `payment_intent`' }),
        expires_at: field.timeOut.nullable(),
      })
      .nullable()
      .meta({ description: 'How to pay; null when the order can be paid no more' }),
  })
  .meta({ id: 'PurchaseResponse' })

/** The address of a provider's page; the sandbox's are paths on this service. */
export function pageUrl(url: string | null, ownUrl: string): string | null {
  return url?.startsWith('/') ? ownUrl + url : url
}

export function checkoutToWire(checkout: Checkout | null, ownUrl: string) {
  return (
    checkout && {
      url: pageUrl(checkout.url, ownUrl),
      client_secret: checkout.clientSecret,
      expires_at: toWireTimeOrNull(checkout.expiresAt),
    }
  )
}

export const paymentParams = z.strictObject({ payment_id: field.id('payment') })

const status = z.enum(SHOWN_STATUSES)

export const paymentsQuery = pageQuery.extend({ status: status.optional() })

export const adminPaymentsQuery = pageQuery.extend({
  status: status.optional(),
  origin: origin.optional(),
  provider_payment_id: z
    .string()
    .regex(/^[A-Za-z0-9_]{1,255}$/, "must be the provider's id of a payment")
    .optional()
    .meta({ description: "The provider's own id, such as a PaymentIntent of Stripe's", example: 'pi_3SXcQ0LkdIwHu7ix0' }),
})

export const refundBody = z
  .strictObject({
    amount: sum.optional().meta({ description: "In the payment's currency; all that is left when absent" }),
    reason: field.text(500),
  })
  .meta({ id: 'PaymentRefundRequest' })

export const refundAnswer = z
  .object({
    provider_refund_id: z.string(),
    status: z.enum(['pending', 'succeeded', 'failed']).meta({ description: 'Some banks take days over it' }),
    amount: moneyOut,
    currency: z.string(),
    payment: paymentObject,
  })
  .meta({ id: 'PaymentRefundResponse' })

const eventStatus = z.enum(['received', 'processed', 'ignored', 'parked', 'dismissed'])

export const eventsQuery = pageQuery.extend({ status: eventStatus.optional() })

export const eventParams = z.strictObject({
  event_id: z
    .string()
    .regex(/^[A-Za-z0-9_]{1,255}$/, "must be the provider's id of an event")
    .meta({ example: 'evt_1SXcQ0LkdIwHu7ix' }),
})

export const eventObject = z
  .object({
    id: z.string(),
    provider: z.enum(PROVIDERS),
    type: z.string(),
    subject: z.string().nullable().meta({ description: 'What was read anew because of it' }),
    status: eventStatus,
    reason: z.string().nullable(),
    attempts: z.int(),
    livemode: z.boolean(),
    occurred_at: field.timeOut,
    received_at: field.timeOut,
    processed_at: field.timeOut.nullable(),
    dismissed_by: z.string().nullable().meta({ description: 'Who looked at it and found that there is nothing to do' }),
  })
  .meta({ id: 'PaymentEvent' })

export const dismissBody = z.strictObject({ reason: field.text(500) }).meta({ id: 'DismissRequest' })

export function eventToWire(event: StoredEvent) {
  return {
    id: event.id,
    provider: event.provider,
    type: event.type,
    subject: event.subject,
    status: event.status,
    reason: event.reason,
    attempts: event.attempts,
    livemode: event.livemode,
    occurred_at: event.occurredAt.toISOString(),
    received_at: event.receivedAt.toISOString(),
    processed_at: event.processedAt?.toISOString() ?? null,
    dismissed_by: event.dismissedBy,
  }
}
