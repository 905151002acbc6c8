-- Real money and that of tests have customers of their own: an installation that goes live begins with new ones.
alter table payment_customers add column livemode boolean;
update payment_customers c set livemode = coalesce(
  (select bool_or(p.livemode) from payments p where p.wallet_id = c.wallet_id and p.provider = c.provider),
  -- Of a wallet that only saved a card nothing says more than the payments of the others.
  (select bool_or(p.livemode) from payments p where p.provider = c.provider),
  false);
alter table payment_customers alter column livemode set not null;
alter table payment_customers drop constraint payment_customers_pkey;
alter table payment_customers add primary key (wallet_id, provider, livemode);

-- Somebody looked at what was parked and found that there is nothing to do.
alter table provider_events add column dismissed_by text;
alter table provider_events drop constraint provider_events_status_check;
alter table provider_events add constraint provider_events_status_check
  check (status in ('received', 'processed', 'ignored', 'parked', 'dismissed'));
alter table provider_events add constraint provider_events_dismissed_by_somebody
  check ((status = 'dismissed') = (dismissed_by is not null));

-- What is listed, newest first, and what is cleared once nobody will ask for it.
create index provider_events_received_idx on provider_events (received_at, id);
create index provider_events_done_idx on provider_events (processed_at) where status in ('processed', 'ignored', 'dismissed');
-- What waits for a person, by what it is about: it is done with once that was applied.
drop index provider_events_parked_idx;
create index provider_events_parked_idx on provider_events (provider, subject) where status = 'parked';

-- Orders that nobody has paid.
create index payments_pending_idx on payments (created_at) where status = 'pending';
