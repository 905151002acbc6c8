/**
 * What must hold of every book at every moment, each as one query that returns no row. Numbers are those of the proof plan; `farebox verify` runs them all in one snapshot.
 */
export interface Invariant {
  readonly id: string
  readonly says: string
  /** Returns the ids of what breaks it. */
  readonly sql: string
}

/** Holds may be this late to expire before it counts as stuck. */
const STALE_HOLD = '60 seconds'
/** And events to be acted on: their processes may be starting anew, and what they tried last has a lease of five. */
const STUCK_EVENT = '5 minutes'

export const INVARIANTS: readonly Invariant[] = [
  {
    id: 'I01',
    says: 'a balance is the sum of its transactions',
    sql: `select w.id from wallets w left join transactions t on t.wallet_id = w.id
      group by w.id having w.balance <> coalesce(sum(t.amount), 0)`,
  },
  {
    id: 'I02',
    says: 'sequences are dense and balance_after is the running sum',
    sql: `select id from (
        select id, seq, balance_after, row_number() over p as n, sum(amount) over p as s
        from transactions window p as (partition by wallet_id order by seq)
      ) v where seq <> n or balance_after <> s
      union all
      select w.id from wallets w left join transactions t on t.wallet_id = w.id
      group by w.id having w.transaction_seq <> coalesce(max(t.seq), 0)`,
  },
  {
    id: 'I03',
    says: 'all accounts together are zero, and clearing nets to zero per command',
    sql: `select 'book' as id where (select coalesce(sum(balance), 0) from wallets) <> (select coalesce(sum(amount), 0) from transactions)
      union all
      select coalesce(charge_id::text, reference) from transactions where counter_account = 'clearing' group by 1 having sum(amount) <> 0`,
  },
  {
    id: 'I04',
    says: 'a balance is what remains of its grants, less its debt',
    sql: `select w.id from wallets w left join grants g on g.wallet_id = w.id
      group by w.id having w.balance <> coalesce(sum(g.remaining), 0) - w.debt or w.debt < 0`,
  },
  {
    id: 'I05',
    says: 'held is the sum of open holds, and each grant has pinned what they drew from it',
    sql: `select w.id from wallets w
      left join (select wallet_id, sum(amount - captured - released) as o from reservations where status = 'held' group by 1) r on r.wallet_id = w.id
      left join (select wallet_id, sum(held) as h from grants group by 1) g on g.wallet_id = w.id
      where w.held <> coalesce(r.o, 0) or w.held <> coalesce(g.h, 0)
      union all
      select g.id from grants g left join (
        select r.wallet_id, (d->>'grant')::uuid as grant_id, sum((d->>'amount')::bigint) as pinned
        from reservations r cross join json_array_elements(r.draws) as d where r.status = 'held' group by 1, 2
      ) p on (p.wallet_id, p.grant_id) = (g.wallet_id, g.id) where g.held <> coalesce(p.pinned, 0)`,
  },
  {
    id: 'I06',
    says: 'a grant has 0 ≤ held ≤ remaining ≤ amount',
    sql: 'select id from grants where not (0 <= held and held <= remaining and remaining <= amount)',
  },
  {
    id: 'I07',
    says: 'free credits and debt never coexist',
    sql: `select w.id from wallets w join grants g on g.wallet_id = w.id
      where w.debt > 0 and g.remaining > g.held and (g.expires_at is null or g.expires_at > now())`,
  },
  {
    id: 'I08',
    says: 'debt stays within its limit, but for what was taken back because its payment was',
    sql: `select w.id from wallets w where w.debt > w.overdraft_limit + (
        select coalesce(-sum(t.amount), 0) from transactions t where t.wallet_id = w.id and t.kind in ('clawback', 'reinstatement')
      )`,
  },
  {
    id: 'I09',
    says: 'the parts of a reservation fit, and a final one is settled',
    sql: `select id from reservations where captured < 0 or released < 0 or captured + released > amount
      or (status <> 'held' and captured + released <> amount) or (status = 'held') <> (finalized_at is null)`,
  },
  {
    id: 'I10',
    says: 'the captures and costs of a reservation are those of its charges',
    sql: `select r.id from reservations r left join charges c on (c.wallet_id, c.reservation_id) = (r.wallet_id, r.id)
      group by r.wallet_id, r.id having r.captured <> coalesce(sum(c.captured), 0) or r.cost <> coalesce(sum(c.cost), 0)
      union all
      select id from charges where cost <> captured + overage + uncollected or least(captured, overage, uncollected) < 0`,
  },
  {
    id: 'I11',
    says: 'a charge is its ledger rows',
    sql: `select c.id from charges c
      left join transactions t on (t.wallet_id, t.charge_id) = (c.wallet_id, c.id) and t.kind in ('charge', 'uncollected')
      group by c.wallet_id, c.id having coalesce(-sum(t.amount), 0) <> c.captured + c.overage
        or coalesce(sum(t.amount) filter (where t.kind = 'uncollected'), 0) <> c.uncollected
      union all
      select t.id from transactions t left join charges c on (c.wallet_id, c.id) = (t.wallet_id, t.charge_id)
      where t.kind in ('charge', 'uncollected', 'refund') and c.id is null`,
  },
  {
    id: 'I12',
    says: 'refunds never exceed what a charge collected',
    sql: `select c.id from charges c
      left join transactions t on (t.wallet_id, t.charge_id) = (c.wallet_id, c.id) and t.kind = 'refund'
      group by c.wallet_id, c.id
      having coalesce(sum(t.amount), 0) > c.captured + c.overage or coalesce(sum(t.amount), 0) <> c.refunded or min(t.amount) <= 0`,
  },
  {
    id: 'I13',
    says: 'a reservation ends once',
    sql: `select r.id from reservations r left join charges c on (c.wallet_id, c.reservation_id) = (r.wallet_id, r.id) and c.final
      group by r.wallet_id, r.id having count(c.id) <> (r.status = 'committed')::int
      union all
      select r.id from reservations r join idempotency_keys k on k.effect_id = r.id and k.operation = 'release' and k.status < 300
      group by r.wallet_id, r.id having count(*) > 1 or r.status <> 'released'`,
  },
  {
    id: 'I14',
    says: 'every key has one effect or one refusal, and every effect of a client its key',
    sql: `with effects(op, id) as (
        select 'reserve', id from reservations
        union all select 'charge', id from charges where client_id is not null
        union all select 'grant', id from grants where client_id is not null
        union all select 'void', id from grants where voided_at is not null
        union all select 'purchase', id from payments where origin = 'purchase'
        union all select 'redeem', id from redemptions where redeemed_at is not null and payment_id is null
        union all select 'subscribe', id from subscriptions
        union all select kind, id from transactions where client_id is not null and kind in ('refund', 'adjust')
      ), keys(op, id, key, status) as (
        select case when operation in ('commit', 'event') then 'charge' else operation end, effect_id, key, status
        from idempotency_keys where operation in ('reserve', 'commit', 'event', 'charge', 'grant', 'void', 'refund', 'adjust', 'purchase', 'redeem', 'subscribe')
      )
      select coalesce(e.id::text, k.key) as id from effects e full join keys k on (k.op, k.id) = (e.op, e.id)
      where k.key is null or (k.status < 300) <> (e.id is not null)
      union all
      select id::text from keys where id is not null group by op, id having count(*) > 1`,
  },
  {
    id: 'I15',
    says: 'a paid order or invoice has its grants, once, a code that was redeemed its own, and no more is taken over than was left',
    // Clients issue purchase grants of their own; those of orders have no client. What a subscription takes over is no purchase.
    sql: `select p.id from payments p left join grants g on g.wallet_id = p.wallet_id and g.client_id is null
        and case when p.origin = 'subscription' then g.kind = 'purchase' and g.reference = 'pay_' || replace(p.id::text, '-', '')
          else g.source = p.object_id end
      group by p.wallet_id, p.id, p.status, p.credits, p.bonus
      having count(g.id) filter (where g.kind = 'purchase') <> (p.status = 'paid')::int
        or coalesce(sum(g.amount), 0) <> case when p.status = 'paid' then p.credits + p.bonus else 0 end
        or count(g.id) filter (where g.id in (p.grant_id, p.bonus_grant_id, p.promotion_grant_id)) <> count(g.id)
      union all
      select g.id from grants g left join payments p on p.wallet_id = g.wallet_id and g.id = p.grant_id and p.status = 'paid'
      where g.kind = 'purchase' and g.client_id is null and p.id is null
      union all
      select coalesce(r.id, g.id) from (select * from redemptions where redeemed_at is not null) r
      full join (select * from grants where kind = 'promotion') g on (g.wallet_id, g.id) = (r.wallet_id, r.grant_id)
      where r.id is null or g.id is null or g.amount <> r.credits
      union all
      select g.id from grants g left join subscriptions s on s.wallet_id = g.wallet_id and g.source = 'sbs_' || replace(s.id::text, '-', '')
      where g.kind = 'rollover' and s.id is null
      union all
      select wallet_id from transactions where counter_account = 'expired' group by wallet_id having sum(amount) > 0`,
  },
  {
    id: 'I16',
    says: 'what was taken back for a payment is what its money says, and where it came from adds up',
    sql: `select p.id from payments p
      left join transactions t on t.wallet_id = p.wallet_id and t.kind in ('clawback', 'reinstatement')
        and t.reference = 'pay_' || replace(p.id::text, '-', '')
      group by p.wallet_id, p.id, p.reversed
      having coalesce(-sum(t.amount), 0) <> p.reversed
      union all
      select id from payments
      where reversed <> case when status = 'paid' then coalesce(div((credits + bonus)::numeric * least(amount, refunded + withdrawn), nullif(amount, 0)), 0) else 0 end
        or reversed <> (select coalesce(sum((part->>'amount')::bigint), 0) from json_array_elements(taken) as part)
      union all
      select t.id from transactions t left join payments p on p.wallet_id = t.wallet_id and t.reference = 'pay_' || replace(p.id::text, '-', '')
      where t.kind in ('clawback', 'reinstatement') and p.id is null`,
  },
  {
    id: 'I17',
    says: 'no hold is open long past its deadline',
    sql: `select id from reservations where status = 'held' and expires_at < now() - interval '${STALE_HOLD}'`,
  },
  {
    id: 'I18',
    says: 'nothing that somebody has to act on waits long past its time',
    sql: `select id::text from outbox where published_at is null and next_attempt_at < now() - interval '${STUCK_EVENT}'
      union all
      select id from provider_events where status = 'received' and next_attempt_at < now() - interval '${STUCK_EVENT}'`,
  },
  {
    id: 'I19',
    says: 'the hash chain of every wallet recomputes',
    sql: `select id from (
        select t.id, t.hash, transaction_canon(t) as canon, lag(t.hash) over (partition by t.wallet_id order by t.seq) as previous
        from transactions t
      ) v where hash <> sha256(coalesce(previous, '') || canon)
      union all
      select w.id from wallets w left join transactions t on (t.wallet_id, t.seq) = (w.id, w.transaction_seq)
      where w.head_hash is distinct from t.hash
        or exists (select from transactions later where later.wallet_id = w.id and later.seq > w.transaction_seq)`,
  },
  {
    id: 'I20',
    says: 'the quote of every charge recomputes to its cost',
    // Only priced work is rounded to the policy's multiple; a stated amount costs what it says.
    sql: `select c.id from charges c, jsonb_to_record(c.quote::jsonb) as q(n numeric, d numeric, min numeric, exempt boolean, terms jsonb),
        lateral (select case when c.quote->'usage' is null and c.quote->'units' is null then 1
          else coalesce((q.terms->>'round_to')::numeric, 1) end as step) as rounding
      where c.cost is distinct from case when q.exempt then 0 else greatest(q.min, div(q.n + q.d * step - 1, q.d * step) * step) end
        or q.n is null`,
  },
  {
    id: 'I21',
    says: 'every movement by an admin has its audit row',
    sql: `select t.id from transactions t left join audit_log a on a.target_id = t.id and a.actor = t.actor and a.reason <> ''
      where t.actor like 'admin:%' group by t.id having count(a.id) <> 1`,
  },
  {
    id: 'I22',
    says: 'versions of prices and rates do not overlap',
    sql: `select key as id from (
        select 'price:' || model as key, effective_from from price_versions
        union all select 'operation:' || operation, effective_from from operation_versions
        union all select 'markup:' || scope, effective_from from markups
        union all select 'rate:' || currency || ':' || purpose, effective_from from exchange_rates
        union all select 'policy', effective_from from charge_policies
      ) v group by key, effective_from having count(*) > 1`,
  },
]
