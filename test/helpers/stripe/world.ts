import { randomBytes } from 'node:crypto'
import type Stripe from 'stripe'
import type { TestCard } from './cards.ts'
import { missing } from './failure.ts'
import { createTable, type Table } from './table.ts'

/** All that the test Stripe knows. Routes and controls change it at once, without waiting: a request is atomic. */
export interface World {
  readonly settings: Settings
  readonly clock: Clock
  readonly tables: Tables
  /** How the card behind a payment method behaves. */
  readonly cards: Map<string, TestCard>
  /** Payment methods that were taken from their customer: never to be used again. */
  readonly detached: Set<string>
  readonly lineItems: Map<string, Stripe.LineItem[]>
  readonly sessionData: Map<string, SessionData>
  /** Amounts that wait for a subscription's next invoice. */
  readonly pendingLines: Map<string, Stripe.InvoiceLineItem[]>
  /** The API request under way, which its events name. */
  request: { id: string; idempotency_key: string | null } | null
  readonly listeners: Set<(event: Stripe.Event) => void>
  id(prefix: string): string
}

export interface Tables {
  readonly customers: Table<Stripe.Customer>
  readonly products: Table<Stripe.Product>
  readonly prices: Table<Stripe.Price>
  readonly sessions: Table<Stripe.Checkout.Session>
  readonly paymentIntents: Table<Stripe.PaymentIntent>
  readonly setupIntents: Table<Stripe.SetupIntent>
  readonly paymentMethods: Table<Stripe.PaymentMethod>
  readonly charges: Table<Stripe.Charge>
  readonly refunds: Table<Stripe.Refund>
  readonly disputes: Table<Stripe.Dispute>
  readonly invoices: Table<Stripe.Invoice>
  readonly invoicePayments: Table<Stripe.InvoicePayment>
  readonly subscriptions: Table<Stripe.Subscription>
  readonly events: Table<Stripe.Event>
}

export interface Settings {
  readonly apiKey: string
  readonly apiVersion: string
  /** After so many failed attempts at an invoice the subscription becomes what `endsAs` says. */
  readonly dunning: { readonly attemptsMax: number; readonly endsAs: 'canceled' | 'unpaid' | 'past_due' }
}

export interface Clock {
  /** Added to the real time. */
  offsetSeconds: number
  now(): number
  advance(seconds: number): void
}

/** What a checkout session keeps for the objects that it makes when somebody pays. */
export interface SessionData {
  metadata: Record<string, string>
  description: string | null
  setupFutureUsage: 'on_session' | 'off_session' | null
  prorationDiscounts: 'included' | 'itemized'
}

const ID_DIGITS = 8

export function createWorld(settings: Settings, seed: string = randomBytes(3).toString('hex')): World {
  let count = 0
  const clock: Clock = {
    offsetSeconds: 0,
    now: () => Math.floor(Date.now() / 1000) + clock.offsetSeconds,
    advance(seconds) {
      clock.offsetSeconds += seconds
    },
  }
  return {
    settings,
    clock,
    tables: {
      customers: createTable(),
      products: createTable(),
      prices: createTable(),
      sessions: createTable(),
      paymentIntents: createTable(),
      setupIntents: createTable(),
      paymentMethods: createTable(),
      charges: createTable(),
      refunds: createTable(),
      disputes: createTable(),
      invoices: createTable(),
      invoicePayments: createTable(),
      subscriptions: createTable(),
      events: createTable(),
    },
    cards: new Map(),
    detached: new Set(),
    lineItems: new Map(),
    sessionData: new Map(),
    pendingLines: new Map(),
    request: null,
    listeners: new Set(),
    id(prefix) {
      count += 1
      return `${prefix}_${seed}${String(count).padStart(ID_DIGITS, '0')}`
    },
  }
}

const NOUNS: Record<keyof Tables, string> = {
  customers: 'customer',
  products: 'product',
  prices: 'price',
  sessions: 'checkout.session',
  paymentIntents: 'payment_intent',
  setupIntents: 'setupintent',
  paymentMethods: 'PaymentMethod',
  charges: 'charge',
  refunds: 'refund',
  disputes: 'dispute',
  invoices: 'invoice',
  invoicePayments: 'invoice_payment',
  subscriptions: 'subscription',
  events: 'event',
}

export type RowOf<Kind extends keyof Tables> = Tables[Kind] extends Table<infer Row> ? Row : never

/** What the path names, or 404. */
export function find<Kind extends keyof Tables>(world: World, kind: Kind, id: string): RowOf<Kind> {
  const row = world.tables[kind].get(id)
  if (row === undefined) throw missing(NOUNS[kind], id, 'id', 404)
  return row as RowOf<Kind>
}

/** What a parameter names, or 400. */
export function refer<Kind extends keyof Tables>(world: World, kind: Kind, id: string, param: string): RowOf<Kind> {
  const row = world.tables[kind].get(id)
  if (row === undefined || 'deleted' in row) throw missing(NOUNS[kind], id, param, 400)
  return row as RowOf<Kind>
}

/** References are stored as ids and become objects only in answers. */
export function idOf(reference: string | { id: string } | null | undefined): string | null {
  if (reference === null || reference === undefined) return null
  return typeof reference === 'string' ? reference : reference.id
}
