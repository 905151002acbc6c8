-- Farebox on Citus: where each table lives. A plan that was never run on Citus: see docs/scale.md, which says what else it takes.
-- The first part is plain PostgreSQL, and a test runs the service on a database that it was applied to.

-- 1. A unique index of a distributed table must hold the column that the table is distributed by. Ids are UUIDv7 and each row's own: they
--    are looked up by these indexes, and nothing relies on the database to refuse a second one.
alter table grants drop constraint grants_id_key;
create index grants_id_idx on grants (id);
alter table reservations drop constraint reservations_id_key;
create index reservations_id_idx on reservations (id);
alter table charges drop constraint charges_id_key;
create index charges_id_idx on charges (id);
-- wallets_client_id_owner_kind_owner_id_key goes too, once something else keeps two wallets of one owner apart: docs/scale.md.

-- 2. From here on Citus. All that is small, or is read by every command, is on every node.
select create_reference_table(name) from unnest(array['clients', 'api_keys', 'price_versions', 'operation_versions', 'markups',
  'exchange_rates', 'charge_policies']) as name;

-- The rows of one wallet are together, so that its lock, its holds and its ledger are one node's transaction.
select create_distributed_table('wallets', 'id', shard_count => 128);
select create_distributed_table(name, 'wallet_id', colocate_with => 'wallets')
  from unnest(array['grants', 'reservations', 'charges', 'transactions']) as name;

-- A key is looked up before its wallet is known, and a refusal may have none: by the key, which spreads evenly.
select create_distributed_table('idempotency_keys', 'key', colocate_with => 'none');

-- Orders, top-ups, subscriptions, events of the provider, audit rows, quarantine and jobs stay on the coordinator: they are few.
