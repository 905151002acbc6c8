-- Subscriptions: plans, what wallets subscribe to, and payments of invoices.

-- Plan versions are insert-only, like packages: the newest whose time has come is on sale; who subscribed keeps theirs.
create table plan_versions (
  id uuid primary key,
  plan text not null check (plan ~ '^[a-z][a-z0-9_]{0,49}$'),
  name text not null check (length(name) between 1 and 100),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- Of the currency's smallest unit, for one period.
  amount bigint not null check (amount > 0),
  interval text not null check (interval in ('month', 'year')),
  -- Of one period, and how many that are left of it the next one takes over.
  credits bigint not null check (credits > 0),
  rollover_cap bigint not null check (rollover_cap >= 0),
  enabled boolean not null,
  effective_from timestamptz(3) not null,
  created_by text not null,
  created_at timestamptz(3) not null,
  unique (plan, effective_from)
);
create trigger append_only before update or delete on plan_versions for each row execute function refuse_change();
create trigger never_truncated before truncate on plan_versions for each statement execute function refuse_change();

-- What a plan is to the provider, made once. Invoices name prices, so what they pay for is read from here.
create table plan_prices (
  plan_version_id uuid not null references plan_versions (id),
  provider text not null check (provider in ('stripe', 'sandbox')),
  livemode boolean not null,
  product_id text not null,
  price_id text not null,
  created_at timestamptz(3) not null,
  primary key (plan_version_id, provider, livemode),
  unique (provider, price_id)
);

-- Written by the lane, under the wallet's lock.
create table subscriptions (
  wallet_id uuid not null,
  id uuid not null unique,
  client_id uuid not null,
  -- What the provider bills at the end of the period.
  plan_version_id uuid not null references plan_versions (id),
  provider text not null check (provider in ('stripe', 'sandbox')),
  livemode boolean not null,
  -- As the provider has it; pending while nobody has paid on the page, expired when nobody did.
  status text not null check (status in
    ('pending', 'incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled', 'expired')),
  -- The provider's subscription, once there is one, and the page that it begins on.
  object_id text,
  checkout_id text,
  cancels_at timestamptz(3),
  period_start timestamptz(3),
  period_end timestamptz(3),
  -- The newest period that credits were paid for, on which plan, and how many credits it took over.
  credited_plan_id uuid references plan_versions (id),
  credited_from timestamptz(3),
  credited_until timestamptz(3),
  rolled_over bigint not null default 0 check (rolled_over >= 0),
  -- The number of the newest reading of the provider's state that was applied: an older one changes nothing.
  applied_read bigint not null default 0,
  created_at timestamptz(3) not null,
  updated_at timestamptz(3) not null,
  ended_at timestamptz(3),
  primary key (wallet_id, id),
  constraint subscriptions_begun_has_object check (object_id is not null or status in ('pending', 'expired')),
  constraint subscriptions_ended_has_time check ((status in ('canceled', 'expired')) = (ended_at is not null)),
  constraint subscriptions_period_whole check ((period_start is null) = (period_end is null) and period_end > period_start),
  constraint subscriptions_credited_whole check (
    (credited_from is null) = (credited_until is null) and (credited_from is null) = (credited_plan_id is null)
    and credited_until > credited_from and (rolled_over = 0 or credited_until is not null)),
  -- A constraint and not a unique index: a batch that ends one and begins another is looked at as a whole.
  constraint subscriptions_one_live exclude using btree (wallet_id with =)
    where (status not in ('canceled', 'expired')) deferrable initially deferred
) with (fillfactor = 85);
create unique index subscriptions_object_idx on subscriptions (provider, object_id);
create unique index subscriptions_checkout_idx on subscriptions (provider, checkout_id);

-- The payment of an invoice is an order that nobody placed: it is written when the invoice is paid, once.
alter table payments add column invoice_id text;
alter table payments add column subscription_id uuid;
alter table payments drop constraint payments_origin_check;
alter table payments drop constraint payments_kind_check;
alter table payments drop constraint payments_amount_check;
alter table payments
  add constraint payments_origin_check check (origin in ('purchase', 'top_up', 'subscription')) not valid,
  add constraint payments_kind_check check (kind in ('package', 'amount', 'plan')) not valid,
  -- Coupons and credit at the provider pay for credits too.
  add constraint payments_amount_check check (amount > 0 or (amount = 0 and origin = 'subscription')) not valid,
  add constraint payments_subscription_has_invoice check (
    (origin = 'subscription') = (invoice_id is not null) and (origin = 'subscription') = (subscription_id is not null)
    and (origin = 'subscription') = (kind = 'plan')) not valid,
  add constraint payments_subscription_is_paid check (origin <> 'subscription' or (status = 'paid' and bonus = 0)) not valid;
alter table payments validate constraint payments_origin_check;
alter table payments validate constraint payments_kind_check;
alter table payments validate constraint payments_amount_check;
alter table payments validate constraint payments_subscription_has_invoice;
alter table payments validate constraint payments_subscription_is_paid;
create unique index payments_invoice_idx on payments (provider, invoice_id);

-- Credits of a period that the next one took over.
alter table grants drop constraint grants_kind_check;
alter table grants add constraint grants_kind_check
  check (kind in ('bonus', 'purchase', 'adjustment', 'refund', 'earning', 'promotion', 'rollover')) not valid;
alter table grants validate constraint grants_kind_check;
