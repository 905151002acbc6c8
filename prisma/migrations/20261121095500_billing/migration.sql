-- Money in: what is sold, orders and what became of them, and what the payment provider told us.

-- Package versions are insert-only, like prices: the newest whose time has come is on sale.
create table package_versions (
  id uuid primary key,
  package text not null check (package ~ '^[a-z][a-z0-9_]{0,49}$'),
  name text not null check (length(name) between 1 and 100),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- Of the currency's smallest unit, as providers count.
  amount bigint not null check (amount > 0),
  credits bigint not null check (credits > 0),
  bonus bigint not null check (bonus >= 0),
  enabled boolean not null,
  effective_from timestamptz(3) not null,
  created_by text not null,
  created_at timestamptz(3) not null,
  unique (package, effective_from)
);
create trigger append_only before update or delete on package_versions for each row execute function refuse_change();
create trigger never_truncated before truncate on package_versions for each statement execute function refuse_change();

-- One order each, and all that its payment has done to the wallet. Written by the lane, under the wallet's lock.
create table payments (
  wallet_id uuid not null,
  id uuid not null unique,
  client_id uuid not null,
  kind text not null check (kind in ('package', 'amount')),
  package_version_id uuid references package_versions (id),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  amount bigint not null check (amount > 0),
  credits bigint not null check (credits > 0),
  bonus bigint not null check (bonus >= 0),
  provider text not null check (provider in ('stripe', 'sandbox')),
  livemode boolean not null,
  status text not null check (status in ('pending', 'paid', 'failed')),
  failure text,
  -- The provider's payment, once there is one, and the page it was paid on.
  object_id text,
  checkout_id text,
  -- What the provider has given back, and what banks have taken, of the amount.
  refunded bigint not null default 0 check (refunded >= 0),
  withdrawn bigint not null default 0 check (withdrawn >= 0),
  disputed boolean not null default false,
  -- Credits taken back for it, and where they came from.
  reversed bigint not null default 0,
  taken json not null default '[]',
  grant_id uuid,
  bonus_grant_id uuid,
  -- The number of the newest reading of the provider's state that was applied: an older one changes nothing.
  applied_read bigint not null default 0,
  reference text,
  metadata json,
  created_at timestamptz(3) not null,
  updated_at timestamptz(3) not null,
  paid_at timestamptz(3),
  primary key (wallet_id, id),
  constraint payments_package_named check ((kind = 'package') = (package_version_id is not null)),
  constraint payments_reversed_fits check (reversed between 0 and credits + bonus),
  constraint payments_paid_is_granted check ((status = 'paid') = (grant_id is not null) and (status = 'paid') = (paid_at is not null)),
  constraint payments_bonus_is_granted check ((bonus_grant_id is not null) = (status = 'paid' and bonus > 0)),
  constraint payments_unpaid_takes_nothing check (status = 'paid' or reversed = 0)
) with (fillfactor = 85);
-- The provider's payment pays for one order, whatever arrives.
create unique index payments_object_idx on payments (provider, object_id);
create unique index payments_checkout_idx on payments (provider, checkout_id);
create index payments_disputed_idx on payments (id) where disputed;

-- Numbers for readings of the provider's state, taken before the reading begins: of two, the later is the newer.
create sequence payment_reads;

-- Who a wallet's owner is to the provider.
create table payment_customers (
  wallet_id uuid not null,
  provider text not null check (provider in ('stripe', 'sandbox')),
  customer_id text not null,
  created_at timestamptz(3) not null,
  primary key (wallet_id, provider),
  unique (provider, customer_id)
);

-- What the provider told, stored before it is looked at.
create table provider_events (
  provider text not null check (provider in ('stripe', 'sandbox')),
  id text not null check (length(id) between 1 and 255),
  type text not null,
  -- What the event is about, and so what to read anew.
  subject text,
  payload json not null,
  livemode boolean not null,
  status text not null check (status in ('received', 'processed', 'ignored', 'parked')),
  reason text,
  attempts integer not null default 0 check (attempts >= 0),
  next_attempt_at timestamptz(3),
  occurred_at timestamptz(3) not null,
  received_at timestamptz(3) not null,
  processed_at timestamptz(3),
  primary key (provider, id),
  constraint provider_events_waiting_has_time check ((status = 'received') = (next_attempt_at is not null)),
  constraint provider_events_parked_has_reason check (status <> 'parked' or reason is not null)
);
create index provider_events_waiting_idx on provider_events (next_attempt_at) where status = 'received';
create index provider_events_parked_idx on provider_events (received_at) where status = 'parked';

-- The books of the provider that development pays with, when no other is configured.
create table sandbox_payments (
  id text primary key,
  state json not null,
  updated_at timestamptz(3) not null
);

alter table transactions drop constraint transactions_kind_check;
alter table transactions add constraint transactions_kind_check
  check (kind in ('grant', 'charge', 'uncollected', 'refund', 'expire', 'void', 'adjust', 'earning', 'clawback', 'reinstatement')) not valid;
alter table transactions validate constraint transactions_kind_check;
