-- More credits for the same money: bonus rules, and promotion codes.

-- Versions of rules are insert-only, like prices: the newest whose time has come is in force.
create table bonus_rule_versions (
  id uuid primary key,
  rule text not null check (rule ~ '^[a-z][a-z0-9_]{0,49}$'),
  kind text not null check (kind in ('volume', 'first_purchase')),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- Orders of at least so much, of the currency's smallest unit.
  from_amount bigint not null check (from_amount >= 0),
  percent numeric not null check (percent > 0 and percent <= 1000),
  -- At most so many micro-credits.
  most_credits bigint check (most_credits > 0),
  enabled boolean not null,
  effective_from timestamptz(3) not null,
  created_by text not null,
  created_at timestamptz(3) not null,
  unique (rule, effective_from)
);
create trigger append_only before update or delete on bonus_rule_versions for each row execute function refuse_change();
create trigger never_truncated before truncate on bonus_rule_versions for each statement execute function refuse_change();

create table promotions (
  id uuid primary key,
  -- Capitals, digits and dashes: how it is written does not matter to whoever types it.
  code text not null unique check (code ~ '^[A-Z0-9][A-Z0-9-]{2,39}$'),
  percent numeric check (percent > 0 and percent <= 1000),
  credits bigint check (credits > 0),
  -- With a purchase, or by itself.
  needs_purchase boolean not null,
  first_purchase_only boolean not null,
  most_redemptions integer check (most_redemptions > 0),
  grant_days integer check (grant_days between 1 and 3660),
  starts_at timestamptz(3) not null,
  ends_at timestamptz(3),
  created_by text not null,
  created_at timestamptz(3) not null,
  constraint promotions_give_one_thing check ((percent is null) <> (credits is null)),
  constraint promotions_percent_of_a_purchase check (percent is null or needs_purchase),
  constraint promotions_first_of_purchases check (needs_purchase or not first_purchase_only),
  constraint promotions_times_ordered check (ends_at > starts_at)
);

-- One per wallet and promotion. Claimed when an order names the code; redeemed, by the lane, when credits came of it.
create table redemptions (
  wallet_id uuid not null,
  id uuid not null unique,
  promotion_id uuid not null references promotions (id),
  payment_id uuid,
  grant_id uuid,
  credits bigint not null default 0 check (credits >= 0),
  claimed_at timestamptz(3) not null,
  redeemed_at timestamptz(3),
  primary key (wallet_id, id),
  unique (promotion_id, wallet_id),
  constraint redemptions_redeemed_has_grant check ((redeemed_at is null) = (grant_id is null) and (redeemed_at is null) = (credits = 0))
);

-- The first order that a wallet paid: what is for first purchases is for one.
create table first_payments (
  wallet_id uuid primary key,
  payment_id uuid not null,
  paid_at timestamptz(3) not null
);
insert into first_payments (wallet_id, payment_id, paid_at)
  select distinct on (wallet_id) wallet_id, id, paid_at from payments where status = 'paid' order by wallet_id, paid_at, id;

alter table payments
  add column first_bonus bigint not null default 0 check (first_bonus >= 0),
  add column promotion bigint not null default 0 check (promotion >= 0),
  add column redemption_id uuid,
  add column promotion_grant_id uuid,
  drop constraint payments_bonus_is_granted,
  add constraint payments_bonus_is_granted check ((bonus_grant_id is not null) = (status = 'paid' and bonus > promotion)),
  add constraint payments_promotion_is_granted check ((promotion_grant_id is not null) = (status = 'paid' and promotion > 0)),
  add constraint payments_promotion_is_bonus check (promotion <= bonus),
  add constraint payments_promotion_is_claimed check (promotion = 0 or redemption_id is not null);

alter table grants drop constraint grants_kind_check;
alter table grants add constraint grants_kind_check
  check (kind in ('bonus', 'purchase', 'adjustment', 'refund', 'earning', 'promotion')) not valid;
alter table grants validate constraint grants_kind_check;
