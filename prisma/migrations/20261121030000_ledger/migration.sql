-- Clients, wallets, the ledger and its idempotency records, and dated prices.
-- Hot tables lead their primary key with wallet_id and carry no foreign keys: the wallet row is the lock of them all.

create table clients (
  id uuid primary key,
  name text not null unique check (length(name) between 1 and 100),
  created_at timestamptz(3) not null
);

create table api_keys (
  id uuid primary key,
  client_id uuid not null references clients (id),
  name text not null check (length(name) between 1 and 100),
  prefix text not null,
  sha256 bytea not null unique check (octet_length(sha256) = 32),
  scopes text[] not null,
  expires_at timestamptz(3),
  revoked_at timestamptz(3),
  created_by text not null,
  created_at timestamptz(3) not null
);
create index api_keys_client_id_idx on api_keys (client_id);

create table wallets (
  id uuid primary key,
  client_id uuid not null references clients (id),
  owner_kind text not null,
  owner_id text not null,
  label text,
  balance bigint not null default 0,
  held bigint not null default 0 check (held >= 0),
  debt bigint not null default 0 check (debt >= 0),
  overdraft_limit bigint not null default 0 check (overdraft_limit >= 0),
  low_balance_threshold bigint check (low_balance_threshold >= 0),
  status text not null default 'active' check (status in ('active', 'frozen', 'closed')),
  version bigint not null default 1 check (version > 0),
  transaction_seq bigint not null default 0 check (transaction_seq >= 0),
  head_hash bytea,
  time_zone text not null default 'UTC',
  created_at timestamptz(3) not null,
  updated_at timestamptz(3) not null,
  unique (client_id, owner_kind, owner_id),
  constraint wallets_held_covered check (held <= balance + debt),
  constraint wallets_chain_has_head check ((transaction_seq = 0) = (head_hash is null))
) with (fillfactor = 50);

create table grants (
  wallet_id uuid not null,
  id uuid not null unique,
  kind text not null check (kind in ('bonus', 'purchase', 'adjustment', 'refund', 'earning')),
  amount bigint not null check (amount > 0),
  remaining bigint not null,
  held bigint not null,
  priority integer not null check (priority between 0 and 1000),
  effective_at timestamptz(3) not null,
  expires_at timestamptz(3),
  cost_basis json,
  source text,
  reference text,
  client_id uuid,
  posted_at timestamptz(3),
  voided_at timestamptz(3),
  spent_at timestamptz(3),
  created_at timestamptz(3) not null,
  primary key (wallet_id, id),
  constraint grants_figures_nested check (0 <= held and held <= remaining and remaining <= amount),
  constraint grants_scheduled_is_in_no_figure check (posted_at is not null or remaining = 0),
  constraint grants_spent_is_empty check (spent_at is null or remaining = 0),
  constraint grants_times_ordered check (expires_at > effective_at)
) with (fillfactor = 70);
-- The lane loads what is left, never what was spent: its cost does not grow with a wallet's past.
create index grants_open_idx on grants (wallet_id) where spent_at is null;
create index grants_expiry_idx on grants (expires_at) where spent_at is null and expires_at is not null;
create index grants_scheduled_idx on grants (effective_at) where posted_at is null and spent_at is null;

create table reservations (
  wallet_id uuid not null,
  id uuid not null unique,
  status text not null check (status in ('held', 'committed', 'released', 'expired')),
  requested bigint not null check (requested >= 0),
  amount bigint not null check (amount >= 0),
  captured bigint not null default 0,
  released bigint not null default 0,
  cost bigint not null default 0 check (cost >= 0),
  draws json not null,
  quote json not null,
  usage_total json,
  client_id uuid not null,
  reference text,
  metadata json,
  expires_at timestamptz(3) not null,
  created_at timestamptz(3) not null,
  finalized_at timestamptz(3),
  primary key (wallet_id, id),
  constraint reservations_parts_fit check (captured >= 0 and released >= 0 and captured + released <= amount),
  constraint reservations_final_is_settled check (status = 'held' or captured + released = amount),
  constraint reservations_final_has_time check ((status = 'held') = (finalized_at is null))
) with (fillfactor = 85);
create index reservations_deadline_idx on reservations (expires_at) where status = 'held';

create table charges (
  wallet_id uuid not null,
  id uuid not null unique,
  reservation_id uuid,
  cost bigint not null,
  captured bigint not null,
  overage bigint not null,
  uncollected bigint not null,
  refunded bigint not null default 0,
  final boolean not null,
  late boolean not null,
  basis text not null check (basis in ('actual', 'estimated')),
  model text,
  operation text,
  usage json,
  raw_usage json,
  quote json not null,
  draws json not null,
  payees json,
  client_id uuid,
  reference text,
  metadata json,
  occurred_at timestamptz(3) not null,
  created_at timestamptz(3) not null,
  primary key (wallet_id, id),
  constraint charges_parts_add_up check (cost = captured + overage + uncollected and least(captured, overage, uncollected) >= 0),
  constraint charges_refunds_fit check (refunded between 0 and captured + overage)
) with (fillfactor = 90);

create table transactions (
  wallet_id uuid not null,
  seq bigint not null check (seq > 0),
  id uuid not null,
  kind text not null check (kind in ('grant', 'charge', 'uncollected', 'refund', 'expire', 'void', 'adjust', 'earning')),
  amount bigint not null check (amount <> 0),
  counter_account text not null check (counter_account in
    ('revenue', 'purchases', 'promotions', 'expired', 'adjustments', 'clearing', 'uncollected')),
  balance_after bigint not null,
  draws json,
  charge_id uuid,
  reservation_id uuid,
  reverses_id uuid,
  client_id uuid,
  actor text not null,
  reference text,
  metadata json,
  occurred_at timestamptz(3) not null,
  created_at timestamptz(3) not null,
  hash bytea not null check (octet_length(hash) = 32),
  primary key (wallet_id, seq)
);

create table idempotency_keys (
  client_id uuid not null,
  operation text not null,
  key text not null check (length(key) between 1 and 300),
  fingerprint bytea not null check (octet_length(fingerprint) = 32),
  status smallint not null check (status between 200 and 499),
  body text,
  effect_id uuid,
  wallet_id uuid,
  created_at timestamptz(3) not null,
  primary key (client_id, operation, key),
  constraint idempotency_refusal_has_no_effect check ((status < 300) = (effect_id is not null))
);
create index idempotency_keys_created_at_idx on idempotency_keys using brin (created_at);

create table audit_log (
  id uuid primary key,
  client_id uuid,
  actor text not null,
  action text not null,
  target_kind text not null,
  target_id uuid not null,
  reason text not null check (reason <> ''),
  before json,
  after json,
  request_id text not null,
  created_at timestamptz(3) not null
);
create index audit_log_target_id_idx on audit_log (target_id);

-- How far a background job has come, so that its work does not grow with history.
create table watermarks (
  name text primary key,
  reached_at timestamptz(3) not null
);

-- Prices and rates: exact decimals, dated, never edited. What applies at a time is the newest version not after it.

-- Prices by pool: an object of plain decimal strings, US dollars per million tokens or per piece.
create function rates_valid(rates jsonb) returns boolean language sql immutable as $$
  select jsonb_typeof(rates) = 'object' and not exists (
    select from jsonb_each(case when jsonb_typeof(rates) = 'object' then rates else '{}' end) as rate
    where rate.key !~ '^[a-z0-9_]+$' or jsonb_typeof(rate.value) <> 'string'
      or rate.value #>> '{}' !~ '^(0|[1-9][0-9]{0,8})([.][0-9]{1,20})?$'
  )
$$;

-- Prices that replace those of the base under conditions: a list of objects with rates of their own.
create function variants_valid(variants jsonb) returns boolean language sql immutable as $$
  select jsonb_typeof(variants) = 'array' and not exists (
    select from jsonb_array_elements(case when jsonb_typeof(variants) = 'array' then variants else '[]' end) as variant
    where jsonb_typeof(variant) <> 'object' or not coalesce(rates_valid(variant -> 'rates'), false)
      or not (variant ?| array['serviceTier', 'abovePromptTokens', 'hours'])
  )
$$;

create table price_versions (
  id uuid primary key,
  model text not null check (length(model) between 1 and 200),
  provider text not null check (length(provider) between 1 and 100),
  rates jsonb not null check (rates_valid(rates)),
  variants jsonb not null default '[]' check (variants_valid(variants)),
  aliases jsonb not null default '[]' check (jsonb_typeof(aliases) = 'array'),
  context_window integer check (context_window > 0),
  max_output_tokens integer check (max_output_tokens > 0),
  capabilities text[] not null default '{}',
  cost_tier text not null check (cost_tier in ('cheap', 'medium', 'expensive')),
  enabled boolean not null,
  source text not null,
  effective_from timestamptz(3) not null,
  created_by text not null,
  created_at timestamptz(3) not null,
  unique (model, effective_from)
);

create table operation_versions (
  id uuid primary key,
  operation text not null check (length(operation) between 1 and 100),
  flat_cost bigint not null default 0 check (flat_cost >= 0),
  unit_cost bigint not null check (unit_cost >= 0),
  enabled boolean not null,
  effective_from timestamptz(3) not null,
  created_by text not null,
  created_at timestamptz(3) not null,
  unique (operation, effective_from)
);

create table markups (
  id uuid primary key,
  scope text not null check (scope = 'default' or scope ~ '^(provider|model):.'),
  percent numeric not null check (percent >= 0),
  effective_from timestamptz(3) not null,
  created_by text not null,
  created_at timestamptz(3) not null,
  unique (scope, effective_from)
);

create table exchange_rates (
  id uuid primary key,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  purpose text not null check (purpose in ('purchase', 'consumption')),
  credits_per_unit numeric not null check (credits_per_unit > 0),
  effective_from timestamptz(3) not null,
  created_by text not null,
  created_at timestamptz(3) not null,
  unique (currency, purpose, effective_from)
);

create table charge_policies (
  id uuid primary key,
  minimum_charge bigint not null check (minimum_charge >= 0),
  maximum_charge bigint not null check (maximum_charge > 0),
  round_to bigint not null default 1 check (round_to >= 1),
  owner_exempt boolean not null default true,
  effective_from timestamptz(3) not null unique,
  created_by text not null,
  created_at timestamptz(3) not null
);

-- One run of an import that was applied.
create table price_imports (
  id uuid primary key,
  source text not null,
  inserted integer not null check (inserted >= 0),
  quarantined integer not null check (quarantined >= 0),
  unchanged integer not null check (unchanged >= 0),
  skipped integer not null check (skipped >= 0),
  reason text not null,
  created_by text not null,
  created_at timestamptz(3) not null
);

-- What an import proposed and a person has to look at. The price in force stays until somebody accepts.
create table price_quarantine (
  id uuid primary key,
  import_id uuid not null references price_imports,
  source text not null,
  model text not null,
  provider text not null,
  proposal json not null,
  effective_from timestamptz(3),
  current_id uuid references price_versions,
  reasons text[] not null check (cardinality(reasons) > 0),
  status text not null check (status in ('pending', 'accepted', 'rejected', 'superseded')),
  version_id uuid references price_versions,
  decided_by text,
  decided_reason text,
  decided_at timestamptz(3),
  created_at timestamptz(3) not null,
  check ((status = 'pending') = (decided_at is null))
);
create unique index price_quarantine_pending on price_quarantine (source, model, effective_from) nulls not distinct where status = 'pending';

-- Every process keeps the prices in memory and is told of new ones.
create function announce_prices() returns trigger language plpgsql as $$
begin
  perform pg_notify('farebox_prices', '');
  return null;
end $$;

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end $$;

do $$
declare
  name text;
begin
  foreach name in array array['transactions', 'audit_log', 'price_versions', 'operation_versions', 'markups', 'exchange_rates', 'charge_policies']
  loop
    execute format('create trigger append_only before update or delete on %I for each row execute function refuse_change()', name);
    execute format('create trigger never_truncated before truncate on %I for each statement execute function refuse_change()', name);
  end loop;
  foreach name in array array['price_versions', 'operation_versions', 'markups', 'exchange_rates', 'charge_policies']
  loop
    execute format('create trigger announced after insert on %I for each statement execute function announce_prices()', name);
  end loop;
end $$;

-- The bytes of a ledger row that its hash covers: a JSON array of texts and nulls, in this order, identical with
-- JSON.stringify in src/ledger/hash.ts. Times are integer microseconds; json columns count as the text that was stored.
create function transaction_canon(t transactions) returns bytea language sql immutable as $$
  select convert_to(array_to_json(array[
    t.wallet_id::text, t.seq::text, t.id::text, t.kind, t.amount::text, t.counter_account, t.balance_after::text, t.draws::text,
    t.charge_id::text, t.reservation_id::text, t.reverses_id::text, t.client_id::text, t.actor, t.reference, t.metadata::text,
    (extract(epoch from t.occurred_at) * 1000000)::bigint::text, (extract(epoch from t.created_at) * 1000000)::bigint::text
  ])::text, 'UTF8')
$$;
