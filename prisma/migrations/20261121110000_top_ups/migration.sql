-- Events that somebody has to act on, written with what caused them, and automatic top-ups.

-- What must reach someone. There is no cursor over ids: transactions do not commit in their order.
create table outbox (
  id bigint generated always as identity primary key,
  topic text not null check (length(topic) between 1 and 100),
  wallet_id uuid not null,
  payload json not null,
  attempts integer not null default 0 check (attempts >= 0),
  next_attempt_at timestamptz(3) not null,
  created_at timestamptz(3) not null,
  published_at timestamptz(3)
);
create index outbox_waiting_idx on outbox (topic, next_attempt_at) where published_at is null;
create index outbox_published_idx on outbox (published_at) where published_at is not null;

-- Set while a top-up is armed: the lane writes an event when available credits fall below it.
alter table wallets add column top_up_threshold bigint check (top_up_threshold > 0);

alter table payments add column origin text not null default 'purchase' check (origin in ('purchase', 'top_up'));

-- One per wallet, written by the lane under the wallet's lock: that is what keeps two attempts apart.
create table top_ups (
  wallet_id uuid primary key,
  threshold bigint not null check (threshold > 0),
  package text,
  amount bigint check (amount > 0),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  cap_amount bigint not null check (cap_amount > 0),
  cap_days integer not null check (cap_days between 1 and 366),
  method_id text not null,
  fingerprint text not null,
  card text not null,
  status text not null check (status in ('active', 'capped', 'stopped', 'off')),
  stopped_reason text check (stopped_reason in ('card_declined', 'authentication_required', 'not_for_sale')),
  failures integer not null default 0 check (failures >= 0),
  -- The order of the attempt under way, and the one that its owner has to pay by hand.
  in_flight_id uuid,
  action_id uuid,
  action_url text,
  period_start timestamptz(3),
  period_spent bigint not null default 0 check (period_spent >= 0),
  created_at timestamptz(3) not null,
  updated_at timestamptz(3) not null,
  constraint top_ups_buy_one_thing check ((package is null) <> (amount is null)),
  constraint top_ups_stopped_has_reason check ((status = 'stopped') = (stopped_reason is not null)),
  constraint top_ups_spent_in_a_period check (period_spent = 0 or period_start is not null)
);
create index top_ups_capped_idx on top_ups (period_start) where status = 'capped';
