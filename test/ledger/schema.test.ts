import pg from 'pg'
import t from 'tap'
import { createTestDatabase } from '../helpers/database.ts'
import { makeRichBook } from '../helpers/rich-book.ts'
import { createService } from '../helpers/service.ts'

/**
 * What the database refuses by itself, whoever asks: every CHECK, key and foreign key of the schema has a row here that breaks it
 * and nothing else, and the append-only tables take no change.
 */

/** A row of this table as it is, with these columns replaced. */
interface Broken {
  readonly table: string
  readonly patch: Readonly<Record<string, unknown>>
  /** Which row to start from; any when absent. */
  readonly where?: string
}

const LONG = (n: number) => 'x'.repeat(n)
const BYTES = (n: number) => `\\x${'00'.repeat(n)}`

const CHECKS: Readonly<Record<string, Broken>> = {
  clients_name_check: { table: 'clients', patch: { name: LONG(101) } },
  api_keys_name_check: { table: 'api_keys', patch: { name: '' } },
  api_keys_sha256_check: { table: 'api_keys', patch: { sha256: BYTES(31) } },
  wallets_held_check: { table: 'wallets', patch: { held: -1 } },
  wallets_debt_check: { table: 'wallets', patch: { debt: -1, balance: 5 }, where: 'held = 0' },
  wallets_overdraft_limit_check: { table: 'wallets', patch: { overdraft_limit: -1 } },
  wallets_low_balance_threshold_check: { table: 'wallets', patch: { low_balance_threshold: -1 } },
  wallets_top_up_threshold_check: { table: 'wallets', patch: { top_up_threshold: 0 } },
  wallets_status_check: { table: 'wallets', patch: { status: 'blocked' } },
  wallets_version_check: { table: 'wallets', patch: { version: 0 } },
  wallets_transaction_seq_check: { table: 'wallets', patch: { transaction_seq: -1 }, where: 'head_hash is not null' },
  wallets_held_covered: { table: 'wallets', patch: { balance: 10, debt: 0, held: 11 } },
  wallets_chain_has_head: { table: 'wallets', patch: { head_hash: null }, where: 'transaction_seq > 0' },
  grants_kind_check: { table: 'grants', patch: { kind: 'gift' } },
  grants_amount_check: { table: 'grants', patch: { amount: 0, remaining: 0, held: 0 } },
  grants_priority_check: { table: 'grants', patch: { priority: 1001 } },
  grants_figures_nested: { table: 'grants', patch: { amount: 10, remaining: 11, held: 0, spent_at: null }, where: 'posted_at is not null' },
  grants_scheduled_is_in_no_figure: { table: 'grants', patch: { posted_at: null, remaining: 1, held: 0, spent_at: null } },
  grants_spent_is_empty: {
    table: 'grants',
    patch: { spent_at: '2026-01-01T00:00:00Z', remaining: 1, held: 0 },
    where: 'posted_at is not null',
  },
  grants_times_ordered: { table: 'grants', patch: { effective_at: '2026-01-01T00:00:00Z', expires_at: '2026-01-01T00:00:00Z' } },
  reservations_status_check: { table: 'reservations', patch: { status: 'lost' } },
  reservations_requested_check: { table: 'reservations', patch: { requested: -1 } },
  reservations_amount_check: { table: 'reservations', patch: { amount: -1 } },
  reservations_cost_check: { table: 'reservations', patch: { cost: -1 } },
  reservations_parts_fit: { table: 'reservations', patch: { amount: 10, captured: 6, released: 5 }, where: `status = 'held'` },
  reservations_final_is_settled: { table: 'reservations', patch: { amount: 10, captured: 5, released: 4 }, where: `status = 'committed'` },
  reservations_final_has_time: { table: 'reservations', patch: { finalized_at: null }, where: `status = 'committed'` },
  charges_basis_check: { table: 'charges', patch: { basis: 'guessed' } },
  charges_parts_add_up: { table: 'charges', patch: { cost: 10, captured: 5, overage: 6, uncollected: 0 } },
  charges_refunds_fit: { table: 'charges', patch: { cost: 10, captured: 5, overage: 5, uncollected: 0, refunded: 11 } },
  transactions_seq_check: { table: 'transactions', patch: { seq: 0 } },
  transactions_kind_check: { table: 'transactions', patch: { kind: 'gift' } },
  transactions_amount_check: { table: 'transactions', patch: { amount: 0 } },
  transactions_counter_account_check: { table: 'transactions', patch: { counter_account: 'pocket' } },
  transactions_hash_check: { table: 'transactions', patch: { hash: BYTES(31) } },
  idempotency_keys_key_check: { table: 'idempotency_keys', patch: { key: '' } },
  idempotency_keys_fingerprint_check: { table: 'idempotency_keys', patch: { fingerprint: BYTES(33) } },
  idempotency_keys_status_check: { table: 'idempotency_keys', patch: { status: 500, effect_id: null } },
  idempotency_refusal_has_no_effect: { table: 'idempotency_keys', patch: { status: 402 }, where: 'effect_id is not null' },
  audit_log_reason_check: { table: 'audit_log', patch: { reason: '' } },
  price_versions_model_check: { table: 'price_versions', patch: { model: '' } },
  price_versions_provider_check: { table: 'price_versions', patch: { provider: '' } },
  price_versions_rates_check: { table: 'price_versions', patch: { rates: { input_tokens: '-1' } } },
  price_versions_variants_check: { table: 'price_versions', patch: { variants: [{ rates: { input_tokens: '1' } }] } },
  price_versions_aliases_check: { table: 'price_versions', patch: { aliases: {} } },
  price_versions_context_window_check: { table: 'price_versions', patch: { context_window: 0 } },
  price_versions_max_output_tokens_check: { table: 'price_versions', patch: { max_output_tokens: 0 } },
  price_versions_cost_tier_check: { table: 'price_versions', patch: { cost_tier: 'free' } },
  operation_versions_operation_check: { table: 'operation_versions', patch: { operation: LONG(101) } },
  operation_versions_flat_cost_check: { table: 'operation_versions', patch: { flat_cost: -1 } },
  operation_versions_unit_cost_check: { table: 'operation_versions', patch: { unit_cost: -1 } },
  markups_scope_check: { table: 'markups', patch: { scope: 'model:' } },
  markups_percent_check: { table: 'markups', patch: { percent: -1 } },
  exchange_rates_currency_check: { table: 'exchange_rates', patch: { currency: 'usd' } },
  exchange_rates_purpose_check: { table: 'exchange_rates', patch: { purpose: 'both' } },
  exchange_rates_credits_per_unit_check: { table: 'exchange_rates', patch: { credits_per_unit: 0 } },
  charge_policies_minimum_charge_check: { table: 'charge_policies', patch: { minimum_charge: -1 } },
  charge_policies_maximum_charge_check: { table: 'charge_policies', patch: { maximum_charge: 0 } },
  charge_policies_round_to_check: { table: 'charge_policies', patch: { round_to: 0 } },
  price_imports_inserted_check: { table: 'price_imports', patch: { inserted: -1 } },
  price_imports_quarantined_check: { table: 'price_imports', patch: { quarantined: -1 } },
  price_imports_unchanged_check: { table: 'price_imports', patch: { unchanged: -1 } },
  price_imports_skipped_check: { table: 'price_imports', patch: { skipped: -1 } },
  realtime_tickets_sha256_check: { table: 'realtime_tickets', patch: { sha256: BYTES(31) } },
  realtime_tickets_holder_check: { table: 'realtime_tickets', patch: { holder: [] } },
  package_versions_package_check: { table: 'package_versions', patch: { package: 'Basic' } },
  package_versions_name_check: { table: 'package_versions', patch: { name: LONG(101) } },
  package_versions_currency_check: { table: 'package_versions', patch: { currency: 'usd' } },
  package_versions_amount_check: { table: 'package_versions', patch: { amount: 0 } },
  package_versions_credits_check: { table: 'package_versions', patch: { credits: 0 } },
  package_versions_bonus_check: { table: 'package_versions', patch: { bonus: -1 } },
  payments_origin_check: { table: 'payments', patch: { origin: 'gift' } },
  payments_kind_check: { table: 'payments', patch: { kind: 'gift' } },
  payments_currency_check: { table: 'payments', patch: { currency: 'EURO' } },
  payments_amount_check: { table: 'payments', patch: { amount: 0 }, where: `origin = 'purchase'` },
  payments_credits_check: { table: 'payments', patch: { credits: 0 } },
  payments_bonus_check: { table: 'payments', patch: { bonus: -1 } },
  payments_provider_check: { table: 'payments', patch: { provider: 'cash' } },
  payments_status_check: { table: 'payments', patch: { status: 'lost' } },
  payments_refunded_check: { table: 'payments', patch: { refunded: -1 } },
  payments_withdrawn_check: { table: 'payments', patch: { withdrawn: -1 } },
  payments_package_named: { table: 'payments', patch: { package_version_id: null }, where: `kind = 'package'` },
  payments_reversed_fits: { table: 'payments', patch: { credits: 10, bonus: 5, reversed: 16 }, where: `reference = 'part'` },
  payments_paid_is_granted: { table: 'payments', patch: { paid_at: null }, where: `status = 'paid'` },
  payments_bonus_is_granted: { table: 'payments', patch: { bonus_grant_id: null }, where: `status = 'paid' and bonus > promotion` },
  payments_first_bonus_check: { table: 'payments', patch: { first_bonus: -1 } },
  payments_promotion_check: { table: 'payments', patch: { promotion: -1 } },
  payments_promotion_is_granted: { table: 'payments', patch: { promotion_grant_id: null }, where: `reference = 'promoted'` },
  payments_promotion_is_bonus: { table: 'payments', patch: { bonus: 5, promotion: 6 }, where: `reference = 'promoted'` },
  payments_promotion_is_claimed: { table: 'payments', patch: { redemption_id: null }, where: `reference = 'promoted'` },
  payments_subscription_has_invoice: { table: 'payments', patch: { invoice_id: null }, where: `origin = 'subscription'` },
  payments_subscription_is_paid: { table: 'payments', patch: { bonus: 1 }, where: `origin = 'subscription'` },
  payments_unpaid_takes_nothing: { table: 'payments', patch: { reversed: 1 }, where: `status = 'pending'` },
  outbox_topic_check: { table: 'outbox', patch: { topic: LONG(101) } },
  outbox_attempts_check: { table: 'outbox', patch: { attempts: -1 } },
  top_ups_threshold_check: { table: 'top_ups', patch: { threshold: 0 } },
  top_ups_amount_check: { table: 'top_ups', patch: { package: null, amount: 0 } },
  top_ups_currency_check: { table: 'top_ups', patch: { currency: 'usd' } },
  top_ups_cap_amount_check: { table: 'top_ups', patch: { cap_amount: 0 } },
  top_ups_cap_days_check: { table: 'top_ups', patch: { cap_days: 367 } },
  top_ups_status_check: { table: 'top_ups', patch: { status: 'lost' } },
  top_ups_stopped_reason_check: { table: 'top_ups', patch: { status: 'stopped', stopped_reason: 'tired' } },
  top_ups_declines_check: { table: 'top_ups', patch: { declines: '{}' } },
  top_ups_period_spent_check: { table: 'top_ups', patch: { period_spent: -1 } },
  top_ups_buy_one_thing: { table: 'top_ups', patch: { amount: 1 }, where: 'package is not null' },
  top_ups_stopped_has_reason: { table: 'top_ups', patch: { status: 'stopped' }, where: 'stopped_reason is null' },
  top_ups_spent_in_a_period: { table: 'top_ups', patch: { period_start: null }, where: 'period_spent > 0' },
  bonus_rule_versions_rule_check: { table: 'bonus_rule_versions', patch: { rule: 'Volume' } },
  bonus_rule_versions_kind_check: { table: 'bonus_rule_versions', patch: { kind: 'loyalty' } },
  bonus_rule_versions_currency_check: { table: 'bonus_rule_versions', patch: { currency: 'usd' } },
  bonus_rule_versions_from_amount_check: { table: 'bonus_rule_versions', patch: { from_amount: -1 } },
  bonus_rule_versions_percent_check: { table: 'bonus_rule_versions', patch: { percent: 0 } },
  bonus_rule_versions_most_credits_check: { table: 'bonus_rule_versions', patch: { most_credits: 0 } },
  promotions_code_check: { table: 'promotions', patch: { code: 'spring' } },
  promotions_percent_check: { table: 'promotions', patch: { percent: '1000.0001' }, where: 'percent is not null' },
  promotions_credits_check: { table: 'promotions', patch: { credits: 0 }, where: 'credits is not null' },
  promotions_most_redemptions_check: { table: 'promotions', patch: { most_redemptions: 0 } },
  promotions_grant_days_check: { table: 'promotions', patch: { grant_days: 3661 } },
  promotions_give_one_thing: { table: 'promotions', patch: { credits: 1 }, where: 'percent is not null' },
  promotions_percent_of_a_purchase: { table: 'promotions', patch: { needs_purchase: false }, where: 'percent is not null' },
  promotions_first_of_purchases: { table: 'promotions', patch: { first_purchase_only: true }, where: 'not needs_purchase' },
  promotions_times_ordered: { table: 'promotions', patch: { starts_at: '2100-01-01T00:00:00Z' }, where: 'ends_at is not null' },
  redemptions_credits_check: { table: 'redemptions', patch: { credits: -1 }, where: 'redeemed_at is not null' },
  redemptions_redeemed_has_grant: { table: 'redemptions', patch: { grant_id: null }, where: 'redeemed_at is not null' },
  plan_versions_plan_check: { table: 'plan_versions', patch: { plan: 'Monthly' } },
  plan_versions_name_check: { table: 'plan_versions', patch: { name: LONG(101) } },
  plan_versions_currency_check: { table: 'plan_versions', patch: { currency: 'usd' } },
  plan_versions_amount_check: { table: 'plan_versions', patch: { amount: 0 } },
  plan_versions_interval_check: { table: 'plan_versions', patch: { interval: 'week' } },
  plan_versions_credits_check: { table: 'plan_versions', patch: { credits: 0 } },
  plan_versions_rollover_cap_check: { table: 'plan_versions', patch: { rollover_cap: -1 } },
  plan_prices_provider_check: { table: 'plan_prices', patch: { provider: 'cash' } },
  subscriptions_provider_check: { table: 'subscriptions', patch: { provider: 'cash' } },
  sandbox_card_pages_saved_has_time: { table: 'sandbox_card_pages', patch: { saved_at: null }, where: 'method_id is not null' },
  subscriptions_status_check: { table: 'subscriptions', patch: { status: 'lost' } },
  subscriptions_rolled_over_check: { table: 'subscriptions', patch: { rolled_over: -1 } },
  subscriptions_begun_has_object: { table: 'subscriptions', patch: { object_id: null }, where: `status = 'active'` },
  subscriptions_ended_has_time: { table: 'subscriptions', patch: { ended_at: null }, where: `status = 'canceled'` },
  subscriptions_period_whole: { table: 'subscriptions', patch: { period_end: null }, where: 'period_start is not null' },
  subscriptions_credited_whole: { table: 'subscriptions', patch: { credited_plan_id: null }, where: 'credited_from is not null' },
  payment_customers_provider_check: { table: 'payment_customers', patch: { provider: 'cash' } },
  provider_events_provider_check: { table: 'provider_events', patch: { provider: 'cash' } },
  provider_events_id_check: { table: 'provider_events', patch: { id: LONG(256) } },
  provider_events_status_check: { table: 'provider_events', patch: { status: 'lost' } },
  provider_events_attempts_check: { table: 'provider_events', patch: { attempts: -1 } },
  provider_events_waiting_has_time: { table: 'provider_events', patch: { next_attempt_at: null }, where: `status = 'received'` },
  provider_events_dismissed_by_somebody: { table: 'provider_events', patch: { dismissed_by: 'me' } },
  provider_events_parked_has_reason: { table: 'provider_events', patch: { status: 'parked', reason: null } },
  price_quarantine_reasons_check: { table: 'price_quarantine', patch: { reasons: [] }, where: `status = 'accepted'` },
  price_quarantine_status_check: { table: 'price_quarantine', patch: { status: 'lost' }, where: `status = 'accepted'` },
  price_quarantine_check: { table: 'price_quarantine', patch: { decided_at: null }, where: `status = 'accepted'` },
}

/** What is no price by pool, and no list of variants. */
const NOT_RATES = [
  ...[null, [], 'x', 1, { 'input tokens': '1' }, { '': '1' }, { Input: '1' }, { input_tokens: 1 }, { input_tokens: null }],
  ...['', '-1', '+1', '01', '1.', '.5', '1e3', ' 1', '1 ', '1\n', 'NaN', '1000000000', '٣', '0.000000000000000000001'].map((rate) => ({
    input_tokens: rate,
  })),
  { input_tokens: '1', output_tokens: 'x' },
]
const RATES = [{}, { input_tokens: '0' }, { input_tokens: '999999999.99999999999999999999', requests: '0.000000000001' }]
const NOT_VARIANTS = [
  ...[null, {}, 'x', [null], [[]], ['x'], [{ serviceTier: 'batch' }], [{ rates: { input_tokens: '1' } }], [{ hours: {}, rates: [] }]],
  ...NOT_RATES.map((rates) => [{ serviceTier: 'batch', rates }]),
  [{ serviceTier: 'batch', rates: {} }, { rates: {} }],
]
const VARIANTS = [
  [],
  ...RATES.map((rates) => [
    { serviceTier: 'batch', rates },
    { abovePromptTokens: 1, hours: {}, rates },
  ]),
]

const FOREIGN_KEYS: Readonly<Record<string, Broken>> = {
  api_keys_client_id_fkey: { table: 'api_keys', patch: { client_id: '00000000-0000-7000-8000-000000000000' } },
  wallets_client_id_fkey: { table: 'wallets', patch: { client_id: '00000000-0000-7000-8000-000000000000' } },
  payments_package_version_id_fkey: {
    table: 'payments',
    patch: { package_version_id: '00000000-0000-7000-8000-000000000000' },
    where: `kind = 'package'`,
  },
  plan_prices_plan_version_id_fkey: { table: 'plan_prices', patch: { plan_version_id: '00000000-0000-7000-8000-000000000000' } },
  subscriptions_plan_version_id_fkey: { table: 'subscriptions', patch: { plan_version_id: '00000000-0000-7000-8000-000000000000' } },
  subscriptions_credited_plan_id_fkey: { table: 'subscriptions', patch: { credited_plan_id: '00000000-0000-7000-8000-000000000000' } },
  redemptions_promotion_id_fkey: { table: 'redemptions', patch: { promotion_id: '00000000-0000-7000-8000-000000000000' } },
  price_quarantine_import_id_fkey: {
    table: 'price_quarantine',
    patch: { import_id: '00000000-0000-7000-8000-000000000000' },
    where: `status = 'accepted'`,
  },
  price_quarantine_current_id_fkey: {
    table: 'price_quarantine',
    patch: { current_id: '00000000-0000-7000-8000-000000000000' },
    where: `status = 'accepted'`,
  },
  price_quarantine_version_id_fkey: {
    table: 'price_quarantine',
    patch: { version_id: '00000000-0000-7000-8000-000000000000' },
    where: `status = 'accepted'`,
  },
}

const APPEND_ONLY = [
  ...['transactions', 'audit_log', 'price_versions', 'operation_versions', 'markups', 'exchange_rates', 'charge_policies'],
  ...['package_versions', 'bonus_rule_versions', 'plan_versions'],
]
/** What a foreign key points at cannot be truncated alone, trigger or not. */
const REFERENCED = ['price_versions', 'package_versions', 'plan_versions']

/** Rows that a key counts: of two that lack what it is about, neither is a second one. */
const COUNTED: Readonly<Record<string, string>> = {
  payments_object_idx: 'object_id is not null',
  payments_checkout_idx: 'checkout_id is not null',
  payments_invoice_idx: 'invoice_id is not null',
  subscriptions_object_idx: 'object_id is not null',
  subscriptions_checkout_idx: 'checkout_id is not null',
}

/** Rows beside which there may be no other, and others that may stand beside them. */
const EXCLUSIONS: Readonly<Record<string, { readonly refused: Broken; readonly taken: readonly Broken[] }>> = {
  subscriptions_one_live: {
    refused: { table: 'subscriptions', patch: { status: 'pending' }, where: `status = 'active'` },
    taken: [
      { table: 'subscriptions', patch: { status: 'canceled' }, where: `status = 'active'` },
      { table: 'subscriptions', patch: { status: 'expired' }, where: `status = 'active'` },
      { table: 'subscriptions', patch: { wallet_id: '00000000-0000-7000-8000-000000000000' }, where: `status = 'active'` },
    ],
  },
}

/** More rows for the checks that say several things. */
const SEVERAL: Readonly<Record<string, readonly Broken[]>> = {
  payments_subscription_has_invoice: [
    { table: 'payments', patch: { subscription_id: null }, where: `origin = 'subscription'` },
    { table: 'payments', patch: { kind: 'package' }, where: `origin = 'subscription'` },
    { table: 'payments', patch: { kind: 'plan' }, where: `origin = 'purchase'` },
    { table: 'payments', patch: { invoice_id: 'in_1' }, where: `origin = 'purchase'` },
  ],
  payments_subscription_is_paid: [{ table: 'payments', patch: { status: 'pending' }, where: `origin = 'subscription'` }],
  payments_amount_check: [{ table: 'payments', patch: { amount: -1 }, where: `origin = 'subscription'` }],
  subscriptions_ended_has_time: [{ table: 'subscriptions', patch: { ended_at: '2026-01-01T00:00:00Z' }, where: `status = 'active'` }],
  subscriptions_period_whole: [
    { table: 'subscriptions', patch: { period_start: null }, where: 'period_start is not null' },
    { table: 'subscriptions', patch: { period_end: '2000-01-01T00:00:00Z' }, where: 'period_start is not null' },
  ],
  subscriptions_credited_whole: [
    { table: 'subscriptions', patch: { credited_from: null }, where: 'credited_from is not null' },
    { table: 'subscriptions', patch: { credited_until: '2000-01-01T00:00:00Z' }, where: 'credited_from is not null' },
    { table: 'subscriptions', patch: { rolled_over: 1 }, where: 'credited_from is null' },
  ],
}

interface Constraint {
  readonly tab: string
  readonly name: string
  /** As PostgreSQL calls them; `i` is a unique index that is no constraint. */
  readonly kind: 'c' | 'u' | 'p' | 'f' | 'x' | 'i'
}

t.test('the schema', async (t) => {
  const service = await createService(t)
  await makeRichBook(service)
  await service.made('/v1/realtime/tickets')
  const event = { provider: 'sandbox', type: 'x', payload: '{}', livemode: false, occurredAt: new Date() } as const
  await service.rooms.billing.inbox.receive({ ...event, id: 'evt_1', subject: 'something' })
  await service.post('/v1/admin/charge-policies', { minimum_charge: '0', maximum_charge: '10', reason: 'x' }, { key: service.adminKey })
  const client = new pg.Client({ connectionString: service.url })
  await client.connect()
  t.teardown(() => client.end())
  const { rows: constraints } = await client.query<Constraint>(
    `select conrelid::regclass::text as tab, conname as name, contype as kind from pg_constraint
      where connamespace = 'public'::regnamespace and contype in ('c', 'u', 'p', 'f', 'x')
      union all
      select indrelid::regclass::text, indexrelid::regclass::text, 'i' from pg_index
      where indisunique and indpred is null and indrelid::regclass in (select oid from pg_class where relnamespace = 'public'::regnamespace)
        and not exists (select from pg_constraint where conindid = indexrelid) order by 1, 2`,
  )
  const named = (...kinds: Constraint['kind'][]) => constraints.filter(({ kind }) => kinds.includes(kind)).map(({ name }) => name)

  /** Inserts a copy of a row while only these constraints of its table stand. @returns the SQLSTATE and the constraint, null where it is taken */
  async function insertCopy({ table, patch, where = 'true' }: Broken, standing: (constraint: Constraint) => boolean) {
    await client.query('begin')
    try {
      for (const constraint of constraints) {
        if (constraint.tab !== table || standing(constraint)) continue
        if (constraint.kind === 'i') await client.query(`drop index ${constraint.name}`)
        else await client.query(`alter table ${table} drop constraint ${constraint.name} cascade`)
      }
      const { rowCount } = await client.query(
        `insert into ${table} overriding system value select (jsonb_populate_record(null::${table}, to_jsonb(t) || $1::jsonb)).* from ${table} t where ${where} limit 1`,
        [JSON.stringify(patch)],
      )
      if (rowCount !== 1) throw new Error(`${table} has no such row`)
      // Those that are looked at when all is written.
      await client.query('set constraints all immediate')
      return null
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error
      return { sqlstate: error.code, constraint: error.constraint }
    } finally {
      await client.query('rollback')
    }
  }

  t.test('every CHECK refuses the row that breaks it', async (t) => {
    t.same(Object.keys(CHECKS).sort(), named('c').sort(), 'each has its row here')
    for (const [name, broken] of Object.entries(CHECKS)) {
      t.same(await insertCopy(broken, (constraint) => constraint.name === name), { sqlstate: '23514', constraint: name }, name)
      t.same(await insertCopy({ ...broken, patch: {} }, ({ kind }) => kind === 'c'), null, `${name} takes the row as it was`)
    }
    for (const [name, rows] of Object.entries(SEVERAL)) {
      for (const broken of rows) {
        const says = `${name}: ${JSON.stringify(broken.patch)}`
        t.same(await insertCopy(broken, (constraint) => constraint.name === name), { sqlstate: '23514', constraint: name }, says)
      }
    }
    t.comment(`schema: ${Object.keys(CHECKS).length} checks`)
  })

  t.test('prices by pool are plain decimals, and variants have a condition', async (t) => {
    const says = async (check: string, value: unknown) =>
      (await client.query(`select ${check}($1::jsonb) as valid`, [JSON.stringify(value)])).rows[0].valid
    for (const wrong of NOT_RATES) t.equal(await says('rates_valid', wrong), false, JSON.stringify(wrong))
    for (const right of RATES) t.equal(await says('rates_valid', right), true, JSON.stringify(right))
    for (const wrong of NOT_VARIANTS) t.equal(await says('variants_valid', wrong), false, JSON.stringify(wrong))
    for (const right of VARIANTS) t.equal(await says('variants_valid', right), true, JSON.stringify(right))
  })

  t.test('a list has one undecided proposal of a model for one time', async (t) => {
    for (const effective_from of [null, '2030-01-01T00:00:00Z']) {
      await client.query('begin')
      await client.query(`update price_quarantine set effective_from = $1 where status = 'pending'`, [effective_from])
      await t.rejects(
        client.query(`insert into price_quarantine select (jsonb_populate_record(null::price_quarantine, to_jsonb(q) || jsonb_build_object('id', gen_random_uuid()))).*
          from price_quarantine q where status = 'pending' limit 1`),
        { code: '23505', constraint: 'price_quarantine_pending' },
      )
      await client.query('rollback')
    }
  })

  t.test('every key refuses a second row', async (t) => {
    const keys = constraints.filter(({ kind }) => kind === 'u' || kind === 'p' || kind === 'i')
    for (const { tab, name } of keys) {
      if (tab === 'watermarks' || tab.startsWith('_') || tab.includes('migration')) continue
      t.same(
        await insertCopy({ table: tab, patch: {}, where: COUNTED[name] ?? 'true' }, (constraint) => constraint.name === name),
        { sqlstate: '23505', constraint: name },
        name,
      )
    }
    t.ok(
      named('p').includes('idempotency_keys_pkey') &&
        named('p').includes('transactions_pkey') &&
        named('i').includes('payments_object_idx') &&
        named('u').includes('redemptions_promotion_id_wallet_id_key'),
    )
    t.comment(`schema: ${keys.length} keys`)
  })

  t.test('every exclusion refuses what may not stand beside another, and nothing else', async (t) => {
    t.same(Object.keys(EXCLUSIONS).sort(), named('x').sort())
    for (const [name, { refused, taken }] of Object.entries(EXCLUSIONS)) {
      const alone = (constraint: Constraint) => constraint.name === name
      t.same(await insertCopy(refused, alone), { sqlstate: '23P01', constraint: name }, name)
      for (const row of taken) t.same(await insertCopy(row, alone), null, `${name} takes ${JSON.stringify(row.patch)}`)
    }
  })

  t.test('every foreign key refuses a row that points at nothing', async (t) => {
    t.same(Object.keys(FOREIGN_KEYS).sort(), named('f').sort())
    for (const [name, broken] of Object.entries(FOREIGN_KEYS)) {
      t.same(await insertCopy(broken, (constraint) => constraint.name === name), { sqlstate: '23503', constraint: name }, name)
    }
  })

  t.test('append-only tables take no change', async (t) => {
    for (const table of APPEND_ONLY) {
      const [column] = (
        await client.query(`select attname as name from pg_attribute where attrelid = $1::regclass and attname = 'created_at'`, [table])
      ).rows
      for (const statement of [
        `update ${table} set ${column.name} = ${column.name} + interval '1 s'`,
        `update ${table} set ${column.name} = ${column.name}`,
        `delete from ${table}`,
        `truncate ${table}`,
        `truncate ${table} cascade`,
      ]) {
        const refused = REFERENCED.some((name) => statement === `truncate ${name}`)
          ? { code: '0A000' }
          : { code: '23001', message: /append-only/ }
        await t.rejects(client.query(statement), refused, statement)
      }
      const [row] = (await client.query(`select count(*)::int as n from ${table}`)).rows
      t.ok(row.n > 0, `${table} has its rows still`)
    }
    t.comment(`schema: ${APPEND_ONLY.length} tables, ${APPEND_ONLY.length * 5} changes refused`)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

t.test('checks can be evaluated where nothing is named by its schema, as when a dump is restored', async (t) => {
  const client = new pg.Client({ connectionString: (await createTestDatabase(t)).url })
  await client.connect()
  t.teardown(() => client.end())
  await client.query(`set search_path = ''`)
  const variants = JSON.stringify([{ rates: { input_tokens: '1' }, serviceTier: 'batch' }])
  const { rows } = await client.query('select public.variants_valid($1::jsonb) as valid', [variants])
  t.same(rows, [{ valid: true }])
})
