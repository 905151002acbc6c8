/** What the service does to its tables, and therefore all that its database role may. */

export type Right = 'select' | 'insert' | 'update' | 'delete'

/** Rows that are written once. Nobody may change or delete them, and a trigger refuses it even to the owner where money hangs on it. */
const APPEND: readonly Right[] = ['select', 'insert']
const CHANGE: readonly Right[] = ['select', 'insert', 'update']
/** Rows that go when they are used up. */
const CONSUME: readonly Right[] = ['select', 'insert', 'update', 'delete']

/** Every table of the schema `public`. One without a line here is closed to the service; a test finds it. */
export const TABLE_RIGHTS: Readonly<Record<string, readonly Right[]>> = {
  _prisma_migrations: ['select'],
  api_keys: CHANGE,
  audit_log: APPEND,
  bonus_rule_versions: APPEND,
  charge_policies: APPEND,
  charges: CHANGE,
  clients: APPEND,
  exchange_rates: APPEND,
  first_payments: APPEND,
  grants: CHANGE,
  idempotency_keys: CHANGE,
  markups: APPEND,
  operation_versions: APPEND,
  outbox: CONSUME,
  package_versions: APPEND,
  payment_customers: CHANGE,
  payments: CHANGE,
  plan_prices: APPEND,
  plan_versions: APPEND,
  price_imports: APPEND,
  price_quarantine: CHANGE,
  price_versions: APPEND,
  promotions: CHANGE,
  provider_events: CONSUME,
  realtime_tickets: ['select', 'insert', 'delete'],
  redemptions: CHANGE,
  reservations: CHANGE,
  sandbox_card_pages: CHANGE,
  sandbox_payments: CHANGE,
  subscriptions: CHANGE,
  top_ups: CHANGE,
  transactions: APPEND,
  wallets: CHANGE,
  watermarks: CHANGE,
}

/** Sequences that the service itself draws from. */
export const SEQUENCES = ['payment_reads'] as const
