import { ask } from './environment.ts'

/**
 * What wallets leave behind in years, written in bulk: for each transaction a reservation that was committed, its charge, and the records
 * of its two keys, whose answers were cleared as the retention job does. Ids are in order of time, as the service makes them. Figures stay
 * what they would be; the hash chain is not real.
 */

/** Rows of one statement for each table. */
const STEP = 500_000
const AMOUNT = 1_000

const statements = `
create function pg_temp.uuid_at(at timestamptz, random text) returns uuid language sql immutable return
  (regexp_replace(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), '(.{8})', '\\1-') || '-7' || substr(random, 16))::uuid;
create temporary table step as
  select *, pg_temp.uuid_at(at, gen_random_uuid()::text) as rsv, pg_temp.uuid_at(at, gen_random_uuid()::text) as chg,
    pg_temp.uuid_at(at, gen_random_uuid()::text) as txn
  from (
    select w.id as wallet_id, w.client_id, w.transaction_seq + n as seq, w.balance - n * ${AMOUNT} as balance_after,
      now() - interval '60 days' + (w.transaction_seq + n) * interval '100 seconds' as at,
      (select g.id from grants g where g.wallet_id = w.id and g.spent_at is null limit 1) as grant_id
    from generate_series(1, $each) n, wallets w order by n
  ) as happened;
insert into reservations (wallet_id, id, status, requested, amount, captured, released, cost, draws, quote, client_id, expires_at, created_at, finalized_at)
  select wallet_id, rsv, 'committed', ${AMOUNT}, ${AMOUNT}, ${AMOUNT}, 0, ${AMOUNT}, json_build_array(json_build_object('grant', grant_id, 'amount', '${AMOUNT}')),
    '{"n":"${AMOUNT}","d":"1","min":"0","exempt":false,"terms":{"policy":null,"minimum":"10000","maximum":"1000000000000"}}', client_id, at, at, at from step;
insert into charges (wallet_id, id, reservation_id, cost, captured, overage, uncollected, final, late, basis, quote, draws, client_id, occurred_at, created_at)
  select wallet_id, chg, rsv, ${AMOUNT}, ${AMOUNT}, 0, 0, true, false, 'actual',
    '{"n":"${AMOUNT}","d":"1","min":"0","exempt":false,"terms":{"policy":null,"minimum":"10000","maximum":"1000000000000"}}',
    json_build_array(json_build_object('grant', grant_id, 'amount', '${AMOUNT}')), client_id, at, at from step;
insert into transactions (wallet_id, seq, id, kind, amount, counter_account, balance_after, draws, charge_id, reservation_id, client_id, actor, occurred_at, created_at, hash)
  select wallet_id, seq, txn, 'charge', -${AMOUNT}, 'revenue', balance_after, json_build_array(json_build_object('grant', grant_id, 'amount', '${AMOUNT}')),
    chg, rsv, client_id, 'client:bench', at, at, sha256(txn::text::bytea) from step;
insert into idempotency_keys (client_id, operation, key, fingerprint, status, body, effect_id, wallet_id, created_at)
  select client_id, operation, operation || '-' || txn, sha256(txn::text::bytea), status, null, effect, wallet_id, at
  from step, lateral (values ('reserve', 201, rsv), ('commit', 200, chg)) as record(operation, status, effect);
update grants g set remaining = remaining - ${AMOUNT} * $each where id in (select grant_id from step);
update wallets w set balance = balance - ${AMOUNT} * $each, transaction_seq = transaction_seq + $each, version = version + 2 * $each,
  head_hash = (select t.hash from transactions t where t.wallet_id = w.id order by seq desc limit 1);
drop table step;
drop function pg_temp.uuid_at;
`

/** Writes a history of so many transactions, spread evenly over the wallets of a database. */
export async function writeHistory(url: string, transactions: number, wallets: number, say: (line: string) => void): Promise<void> {
  const started = performance.now()
  for (let done = 0; done < transactions; ) {
    const each = Math.ceil(Math.min(STEP, transactions - done) / wallets)
    await ask(url, `set synchronous_commit = off; begin; ${statements.replaceAll('$each', String(each))} commit;`)
    done += each * wallets
    say(`  ${done} of ${transactions} transactions of history, ${Math.round((performance.now() - started) / 1_000)} s`)
  }
  await ask(url, 'vacuum (analyze)')
  await ask(url, 'checkpoint')
}
