import pg from 'pg'
import t, { type Test } from 'tap'
import { INVARIANTS } from '../../src/ledger/invariants.ts'
import { makeRichBook } from '../helpers/rich-book.ts'
import { createService } from '../helpers/service.ts'

/**
 * Every invariant has mutants: edits of a sound book that it must notice. Each names exactly which invariants it trips, on a schema
 * without constraints; what the real schema refuses by itself is in schema.test.ts.
 */

interface Mutant {
  readonly says: string
  /** Ids of all that notice it. The first is the one that it is meant for. */
  readonly trips: readonly string[]
  /** Statements; each has to change something. `:busy` and the like stand for the ids of the rich book. */
  readonly sql: readonly string[]
}

/** The ledger row that carries the whole cost of a one-shot charge without payees or uncollected parts. */
const PLAIN_CHARGE = `(select c.id from charges c where c.wallet_id = :busy and c.reservation_id is null and c.payees is null and c.uncollected = 0
  and c.refunded = 0 and c.cost > 0 order by c.id limit 1)`
/** Priced work under the policy that rounds. */
const ROUNDED_CHARGE = `(select id from charges where wallet_id = :busy and quote->'terms'->>'round_to' = '10000' and quote->'usage' is not null limit 1)`
const FREE_GRANT = `(select id from grants where wallet_id = :busy and remaining - held > 10 order by id limit 1)`
const PINNED_GRANT = '(select id from grants where wallet_id = :busy and held > 0 order by id limit 1)'
const COMMITTED = `(select id from reservations where wallet_id = :busy and reference = 'split')`
const RELEASED = `(select id from reservations where wallet_id = :busy and status = 'released' limit 1)`
const HELD = `(select id from reservations where wallet_id = :busy and status = 'held' limit 1)`

const ORDER = (reference: string) => `(select id from payments where reference = '${reference}')`
/** The grant of what was bought with an order, and of what came on top. */
const BOUGHT = (reference: string) => `(select grant_id from payments where reference = '${reference}')`
const BONUS = (reference: string) => `(select bonus_grant_id from payments where reference = '${reference}')`
/** The order that the wallet's top-up placed. */
const TOP_UP = `(select id from payments where wallet_id = :toppedUp and origin = 'top_up')`
const GIFT = `(select promotion_grant_id from payments where reference = 'promoted')`
/** What the ledger calls a payment. */
const MARK_OF = (payment: string) => `(select 'pay_' || replace(id::text, '-', '') from payments where id = ${payment})`
/** The payments of the periods that a subscription was paid for, of which the second took over what was left of the first. */
const FIRST_PERIOD = `(select id from payments where wallet_id = :subscriber order by id limit 1)`
const SECOND_PERIOD = `(select id from payments where wallet_id = :subscriber order by id desc limit 1)`
/** And of the period that a coupon paid. */
const FREE_PERIOD = `(select id from payments where wallet_id = :lapsed)`
const CREDITS_OF = (payment: string) => `(select grant_id from payments where id = ${payment})`
const TAKEN_OVER = `(select id from grants where wallet_id = :subscriber and kind = 'rollover')`
const VOUCHER = `(select id from redemptions where wallet_id = :promoted and redeemed_at is not null and payment_id is null)`
/** The same for what a code gave by itself. */
const VOUCHER_GRANT = `(select grant_id from redemptions where id = ${VOUCHER})`
/** What the ledger calls an order. */
const MARK = (reference: string) => `(select 'pay_' || replace(id::text, '-', '') from payments where reference = '${reference}')`
/** The same grant once more, with nothing left in it. */
const copyGrant = (grant: string, patch = '') =>
  `insert into grants select (jsonb_populate_record(null::grants, to_jsonb(g) || jsonb_build_object('id', gen_random_uuid(), 'remaining', 0${patch}))).*
    from grants g where g.id = ${grant}`

/** Appends a row that is sound in itself: chained, counted, in the balance and in a grant. */
const append = (
  wallet: string,
  kind: string,
  amount: string,
  account: string,
  chargeId: string,
  actor = `'key:test'`,
  reference = 't.reference',
) => [
  `with before as (select * from wallets where id = ${wallet}),
    row as (
      select (jsonb_populate_record(null::transactions, to_jsonb(t) || jsonb_build_object(
        'seq', b.transaction_seq + 1, 'id', gen_random_uuid(), 'kind', '${kind}', 'amount', (${amount})::bigint, 'counter_account', '${account}',
        'balance_after', b.balance + (${amount})::bigint, 'charge_id', ${chargeId}, 'client_id', null, 'actor', ${actor}, 'reference', ${reference}, 'draws', null, 'metadata', null))).*
      from before b join transactions t on t.wallet_id = b.id and t.seq = b.transaction_seq
    ),
    hashed as (select r.id, sha256(b.head_hash || transaction_canon(r)) as hash from row r, before b),
    moved as (
      update wallets w set balance = w.balance + r.amount, transaction_seq = r.seq, head_hash = h.hash from row r, hashed h where w.id = r.wallet_id
    ),
    lot as (update grants g set remaining = remaining + (${amount})::bigint, amount = amount + greatest((${amount})::bigint, 0)
      where g.id = (select id from grants where wallet_id = ${wallet} and remaining - held > 0 order by remaining - held desc limit 1))
    insert into transactions
    select r.wallet_id, r.seq, r.id, r.kind, r.amount, r.counter_account, r.balance_after, r.draws, r.charge_id, r.reservation_id, r.reverses_id,
      r.client_id, r.actor, r.reference, r.metadata, r.occurred_at, r.created_at, h.hash from row r, hashed h`,
]

/** Hashes a wallet's chain anew, as somebody would who edits a row and knows how the chain is made. */
const rechain = (wallet: string) => [
  `with recursive chain as (
      select t.seq, sha256(transaction_canon(t)) as hash from transactions t where t.wallet_id = ${wallet} and t.seq = 1
      union all
      select t.seq, sha256(c.hash || transaction_canon(t)) from chain c join transactions t on t.wallet_id = ${wallet} and t.seq = c.seq + 1
    )
    update transactions t set hash = c.hash from chain c where t.wallet_id = ${wallet} and t.seq = c.seq`,
  `update wallets w set head_hash = t.hash from transactions t where w.id = ${wallet} and t.wallet_id = w.id and t.seq = w.transaction_seq`,
]

const MUTANTS: readonly Mutant[] = [
  { says: 'a balance is one less', trips: ['I01', 'I03', 'I04'], sql: ['update wallets set balance = balance - 1 where id = :busy'] },
  {
    says: 'credits move from one wallet to another past the ledger',
    trips: ['I01', 'I04'],
    sql: [`update wallets set balance = balance + case id when :busy then -1 else 1 end where id in (:busy, :payee)`],
  },
  {
    says: 'a row in the middle is deleted',
    trips: ['I02', 'I01', 'I03', 'I19'],
    sql: [
      `delete from transactions where wallet_id = :busy and seq = (select min(seq) from transactions where wallet_id = :busy and kind = 'grant' and seq > 1)`,
    ],
  },
  {
    says: 'the last balance_after is one more',
    trips: ['I02', 'I19'],
    sql: [
      'update transactions set balance_after = balance_after + 1 where wallet_id = :busy and seq = (select transaction_seq from wallets where id = :busy)',
    ],
  },
  {
    says: 'the last balance_after is one more, and the chain is hashed anew',
    trips: ['I02'],
    sql: [
      'update transactions set balance_after = balance_after + 1 where wallet_id = :busy and seq = (select transaction_seq from wallets where id = :busy)',
      ...rechain(':busy'),
    ],
  },
  {
    says: 'the sequence of a wallet is one ahead',
    trips: ['I02', 'I19'],
    sql: ['update wallets set transaction_seq = transaction_seq + 1 where id = :busy'],
  },
  {
    says: 'a wallet forgets its last row',
    trips: ['I02', 'I19'],
    sql: [
      `update wallets w set transaction_seq = w.transaction_seq - 1, head_hash = t.hash from transactions t
        where w.id = :busy and t.wallet_id = w.id and t.seq = w.transaction_seq - 1`,
    ],
  },
  {
    says: 'the leg of a payee is dropped',
    trips: ['I03', 'I01', 'I02', 'I19'],
    sql: [`delete from transactions where wallet_id = :payee and kind = 'earning' and seq = 1`],
  },
  {
    says: 'a clearing leg is one less, everything else with it',
    trips: ['I03', 'I11'],
    sql: [
      `update transactions set amount = amount + 1 where wallet_id = :busy and seq = (select max(seq) from transactions where wallet_id = :busy and kind = 'charge' and counter_account = 'clearing')`,
      `update transactions t set balance_after = balance_after + 1 where wallet_id = :busy
        and seq >= (select max(seq) from transactions where wallet_id = :busy and kind = 'charge' and counter_account = 'clearing')`,
      'update wallets set balance = balance + 1 where id = :busy',
      `update grants set remaining = remaining + 1, amount = amount + 1 where id = ${FREE_GRANT}`,
      ...rechain(':busy'),
    ],
  },
  {
    says: 'a leg is booked to the wrong account',
    trips: ['I03', 'I19'],
    sql: [
      `update transactions set counter_account = 'revenue' where wallet_id = :busy and seq = (select max(seq) from transactions where wallet_id = :busy and counter_account = 'clearing')`,
    ],
  },
  { says: 'a grant has one less', trips: ['I04'], sql: [`update grants set remaining = remaining - 1 where id = ${FREE_GRANT}`] },
  { says: 'debt is forgiven', trips: ['I04'], sql: ['update wallets set debt = debt - 1 where id = :indebted'] },
  { says: 'a grant is deleted', trips: ['I04', 'I14'], sql: [`delete from grants where wallet_id = :aged and kind = 'purchase'`] },
  { says: 'held is one more', trips: ['I05'], sql: ['update wallets set held = held + 1 where id = :busy'] },
  { says: 'a grant has one less pinned', trips: ['I05'], sql: [`update grants set held = held - 1 where id = ${PINNED_GRANT}`] },
  {
    says: 'an open hold is one larger',
    trips: ['I05'],
    sql: [`update reservations set amount = amount + 1, requested = requested + 1 where id = ${HELD}`],
  },
  {
    says: 'a pin moves from one grant of the wallet to another',
    trips: ['I05'],
    sql: [
      `update grants set held = held + case when id = ${PINNED_GRANT} then -1 else 1 end where wallet_id = :busy and (id = ${PINNED_GRANT}
        or id = (select id from grants where wallet_id = :busy and id <> ${PINNED_GRANT} and remaining > held order by id limit 1))`,
    ],
  },
  {
    says: 'a grant was smaller than what is left of it',
    trips: ['I06'],
    sql: [`update grants set amount = remaining - 1 where id = ${FREE_GRANT}`],
  },
  {
    says: 'a grant has more pinned than it has',
    trips: ['I06', 'I05'],
    sql: [`update grants set held = remaining + 1 where id = ${FREE_GRANT}`],
  },
  {
    says: 'free credits beside debt',
    trips: ['I07'],
    sql: [
      'update grants set remaining = remaining + 5 where id = (select id from grants where wallet_id = :indebted and amount >= 5000000 limit 1)',
      'update wallets set debt = debt + 5, overdraft_limit = overdraft_limit + 5 where id = :indebted',
    ],
  },
  {
    says: 'free credits beside debt beyond its limit',
    trips: ['I07', 'I08'],
    sql: [
      'update grants set remaining = remaining + 5 where id = (select id from grants where wallet_id = :indebted and amount >= 5000000 limit 1)',
      'update wallets set debt = debt + 5 where id = :indebted',
    ],
  },
  {
    says: 'credits that were taken back for a payment are an adjustment, and the chain is hashed anew',
    trips: ['I08', 'I16'],
    sql: [`update transactions set kind = 'adjust' where wallet_id = :reversed and kind = 'clawback'`, ...rechain(':reversed')],
  },
  {
    says: 'debt is explained by credits that were given back since',
    trips: ['I08', 'I07'],
    sql: [
      `update grants set remaining = remaining + 5 where id = ${BOUGHT('won')}`,
      'update wallets set debt = debt + 5 where id = :contested',
    ],
  },
  { says: 'the limit is below the debt', trips: ['I08'], sql: ['update wallets set overdraft_limit = debt - 1 where id = :indebted'] },
  {
    says: 'a released hold released one less',
    trips: ['I09'],
    sql: [`update reservations set released = released - 1 where id = ${RELEASED}`],
  },
  { says: 'a final reservation has no time', trips: ['I09'], sql: [`update reservations set finalized_at = null where id = ${RELEASED}`] },
  { says: 'an open hold has an end', trips: ['I09'], sql: [`update reservations set finalized_at = now() where id = ${HELD}`] },
  {
    says: 'more is captured and released than was held',
    trips: ['I09'],
    sql: [`update reservations set released = released + 1 where id = ${RELEASED}`],
  },
  {
    says: 'an ended hold is open again',
    trips: ['I09', 'I13'],
    sql: [`update reservations set status = 'held', expires_at = now() + interval '1 h' where id = ${RELEASED}`],
  },
  {
    says: 'a reservation captured one less',
    trips: ['I10'],
    sql: [`update reservations set captured = captured - 1, released = released + 1 where id = ${COMMITTED}`],
  },
  {
    says: 'the cost of a reservation is one more',
    trips: ['I10'],
    sql: [`update reservations set cost = cost + 1 where id = ${COMMITTED}`],
  },
  {
    says: 'a charge took less from the hold and more from elsewhere',
    trips: ['I10'],
    sql: [
      `update charges set captured = captured - 1, overage = overage + 1 where id = (select id from charges where reservation_id = ${COMMITTED} limit 1)`,
    ],
  },
  {
    says: 'the parts of a charge do not add up',
    trips: ['I10', 'I11'],
    sql: [`update charges set overage = overage + 1 where id = ${PLAIN_CHARGE}`],
  },
  {
    says: 'a part of a charge is negative',
    trips: ['I10', 'I11'],
    sql: [`update charges set uncollected = -1, overage = overage + 1 where id = ${PLAIN_CHARGE}`],
  },
  {
    says: 'less of a charge was collected than the ledger says',
    trips: ['I11'],
    sql: [`update charges set overage = overage - 1, uncollected = uncollected + 1 where id = ${PLAIN_CHARGE}`],
  },
  {
    says: 'what could not be collected is silent',
    trips: ['I11'],
    sql: [
      'update charges set overage = overage + 1, uncollected = uncollected - 1 where wallet_id = :indebted and reservation_id is not null',
    ],
  },
  { says: 'a charge is deleted', trips: ['I11', 'I14'], sql: [`delete from charges where id = ${PLAIN_CHARGE}`] },
  { says: 'a charge has one row more', trips: ['I11'], sql: append(':busy', 'charge', '-1', 'revenue', PLAIN_CHARGE) },
  {
    says: 'a refund of nothing',
    trips: ['I11'],
    sql: append(':busy', 'refund', '1', 'revenue', 'gen_random_uuid()'),
  },
  {
    says: 'one refund more',
    trips: ['I12'],
    sql: append(':busy', 'refund', '1', 'revenue', `(select id from charges where reference = 'shared')`),
  },
  {
    says: 'one refund too many, and the charge knows it',
    trips: ['I12'],
    sql: [
      ...append(':busy', 'refund', '25000001', 'revenue', `(select id from charges where reference = 'shared')`),
      `update charges set refunded = refunded + 25000001 where reference = 'shared'`,
    ],
  },
  {
    says: 'a charge says that more was refunded',
    trips: ['I12'],
    sql: [`update charges set refunded = refunded + 1 where id = ${PLAIN_CHARGE}`],
  },
  {
    says: 'a refund that takes',
    trips: ['I12'],
    sql: [...append(':busy', 'refund', '-1', 'revenue', PLAIN_CHARGE), `update charges set refunded = -1 where id = ${PLAIN_CHARGE}`],
  },
  {
    says: 'a release answered 200 on a committed hold',
    trips: ['I13'],
    sql: [
      `insert into idempotency_keys select client_id, 'release', 'mutant', fingerprint, 200, body, ${COMMITTED}, wallet_id, created_at
        from idempotency_keys where operation = 'release' limit 1`,
    ],
  },
  {
    says: 'a hold was released twice',
    trips: ['I13'],
    sql: [
      `insert into idempotency_keys select client_id, 'release', 'mutant', fingerprint, 200, body, effect_id, wallet_id, created_at
        from idempotency_keys where operation = 'release' and status = 200 limit 1`,
    ],
  },
  {
    says: 'a reservation has two final charges',
    trips: ['I13'],
    sql: [`update charges set final = true where reservation_id = ${COMMITTED} and not final`],
  },
  {
    says: 'a committed reservation has no final charge',
    trips: ['I13'],
    sql: [`update charges set final = false where reservation_id = ${COMMITTED} and final`],
  },
  {
    says: 'an open hold has a final charge',
    trips: ['I13'],
    sql: [`update charges set final = true where reservation_id = ${HELD}`],
  },
  ...['reserve', 'commit', 'charge', 'event', 'grant', 'void', 'refund', 'adjust', 'purchase', 'redeem', 'subscribe'].map((operation) => ({
    says: `the key of a ${operation} is deleted`,
    trips: ['I14'],
    sql: [
      `delete from idempotency_keys where (client_id, operation, key) in (select client_id, operation, key from idempotency_keys
        where operation = '${operation}' and status < 300 limit 1)`,
    ],
  })),
  { says: 'an order is deleted', trips: ['I14'], sql: [`delete from payments where id = ${ORDER('pending')}`] },
  {
    says: 'an order of a top-up says that somebody placed it',
    trips: ['I14'],
    sql: [`update payments set origin = 'purchase' where id = ${TOP_UP}`],
  },
  {
    says: 'an order that somebody placed says that a top-up did',
    trips: ['I14'],
    sql: [`update payments set origin = 'top_up' where id = ${ORDER('paid')}`],
  },
  {
    says: 'a subscription that nobody has paid for is deleted',
    trips: ['I14'],
    sql: [`delete from subscriptions where wallet_id = :lapsed and status = 'pending'`],
  },
  {
    says: 'two keys have one subscription',
    trips: ['I14'],
    sql: [
      `insert into idempotency_keys select client_id, operation, 'mutant', fingerprint, status, body, effect_id, wallet_id, created_at
        from idempotency_keys where operation = 'subscribe' limit 1`,
    ],
  },
  {
    says: 'the payment of a period says that somebody ordered it',
    trips: ['I14', 'I15'],
    sql: [`update payments set origin = 'purchase' where id = ${FREE_PERIOD}`],
  },
  {
    says: 'an order that somebody placed says that a subscription did',
    trips: ['I14', 'I15'],
    sql: [`update payments set origin = 'subscription' where id = ${ORDER('paid')}`],
  },
  {
    says: 'a voucher says that it came with an order',
    trips: ['I14'],
    sql: [`update redemptions set payment_id = ${ORDER('promoted')} where id = ${VOUCHER}`],
  },
  {
    says: 'a code that came with an order says that it was redeemed by itself',
    trips: ['I14'],
    sql: [`update redemptions set payment_id = null where payment_id = ${ORDER('promoted')}`],
  },
  {
    says: 'two keys have one voucher',
    trips: ['I14'],
    sql: [
      `insert into idempotency_keys select client_id, operation, 'mutant', fingerprint, status, body, effect_id, wallet_id, created_at
        from idempotency_keys where effect_id = ${VOUCHER}`,
    ],
  },
  {
    says: 'two keys have one order',
    trips: ['I14'],
    sql: [
      `insert into idempotency_keys select client_id, operation, 'mutant', fingerprint, status, body, effect_id, wallet_id, created_at
        from idempotency_keys where effect_id = ${ORDER('paid')}`,
    ],
  },
  {
    says: 'the key of an order says refused',
    trips: ['I14'],
    sql: [`update idempotency_keys set status = 402 where effect_id = ${ORDER('paid')}`],
  },
  {
    says: 'a key says done, and there is no effect',
    trips: ['I14'],
    sql: [
      `insert into idempotency_keys select client_id, operation, 'mutant', fingerprint, status, body, gen_random_uuid(), wallet_id, created_at
        from idempotency_keys where operation = 'reserve' and status = 201 limit 1`,
    ],
  },
  {
    says: 'a key says done, and names no effect',
    trips: ['I14'],
    sql: [`update idempotency_keys set status = 201 where operation = 'charge' and status = 402`],
  },
  {
    says: 'a key says refused, and there is an effect',
    trips: ['I14'],
    sql: [
      `update idempotency_keys set status = 402 where (client_id, operation, key) in (select client_id, operation, key from idempotency_keys
        where operation = 'charge' and status = 201 limit 1)`,
    ],
  },
  {
    says: 'two keys have one effect',
    trips: ['I14'],
    sql: [
      `insert into idempotency_keys select client_id, operation, 'mutant', fingerprint, status, body, effect_id, wallet_id, created_at
        from idempotency_keys where operation = 'grant' and status = 201 limit 1`,
    ],
  },
  {
    says: 'what an order bought was given away',
    trips: ['I15'],
    sql: [`update grants set kind = 'bonus' where id = ${BOUGHT('paid')}`],
  },
  { says: 'an order was granted twice', trips: ['I15'], sql: [copyGrant(BOUGHT('paid'))] },
  { says: 'an order has a second grant of nothing', trips: ['I15'], sql: [copyGrant(BOUGHT('paid'), ", 'amount', 0")] },
  { says: 'the bonus of an order came twice', trips: ['I15'], sql: [copyGrant(BONUS('paid'))] },
  { says: 'a paid order was not granted', trips: ['I15'], sql: [`delete from grants where id = ${BOUGHT('reversed')}`] },
  { says: 'the bonus of a paid order was not granted', trips: ['I15'], sql: [`delete from grants where id = ${BONUS('reversed')}`] },
  { says: 'an order was granted one more', trips: ['I15'], sql: [`update grants set amount = amount + 1 where id = ${BONUS('paid')}`] },
  { says: 'an order is for one less', trips: ['I15'], sql: [`update payments set credits = credits - 1 where id = ${ORDER('paid')}`] },
  { says: 'a grant is of another payment', trips: ['I15'], sql: [`update grants set source = 'pi_nobody' where id = ${BOUGHT('paid')}`] },
  { says: 'the promotion of a paid order was not granted', trips: ['I15'], sql: [`delete from grants where id = ${GIFT}`] },
  { says: 'the promotion of an order came twice', trips: ['I15'], sql: [copyGrant(GIFT)] },
  { says: 'a promotion came twice, without a word of the order', trips: ['I15'], sql: [copyGrant(GIFT, ", 'source', null")] },
  { says: 'what a promotion gave is a bonus', trips: ['I15'], sql: [`update grants set kind = 'bonus' where id = ${GIFT}`] },
  { says: 'a promotion gave one more', trips: ['I15'], sql: [`update grants set amount = amount + 1 where id = ${GIFT}`] },
  {
    says: 'a redemption is for one more than its grant',
    trips: ['I15'],
    sql: [`update redemptions set credits = credits + 1 where payment_id = ${ORDER('promoted')}`],
  },
  {
    says: 'an order does not know its promotion',
    trips: ['I15'],
    sql: [`update payments set promotion_grant_id = null where id = ${ORDER('promoted')}`],
  },
  {
    says: 'an order was granted what was for a first one only',
    trips: ['I15'],
    sql: [`update payments set bonus = bonus + first_bonus where id = ${ORDER('too late')}`],
  },
  {
    says: 'a top-up that was paid was not granted',
    trips: ['I15', 'I04'],
    sql: [`delete from grants where wallet_id = :toppedUp and source like 'sandbox_%' and kind = 'purchase'`],
  },
  { says: 'a voucher was redeemed, and nothing came of it', trips: ['I15'], sql: [`delete from grants where id = ${VOUCHER_GRANT}`] },
  { says: 'a voucher gave twice', trips: ['I15'], sql: [copyGrant(VOUCHER_GRANT)] },
  { says: 'a voucher gave one more', trips: ['I15'], sql: [`update grants set amount = amount + 1 where id = ${VOUCHER_GRANT}`] },
  {
    says: 'a redemption is deleted with its key, and its credits stay',
    trips: ['I15'],
    sql: [`delete from idempotency_keys where effect_id = ${VOUCHER}`, `delete from redemptions where id = ${VOUCHER}`],
  },
  {
    says: 'a voucher was never redeemed, and its credits stay',
    trips: ['I15', 'I14'],
    sql: [`update redemptions set redeemed_at = null where id = ${VOUCHER}`],
  },
  {
    says: 'a claim names what another redemption gave',
    trips: ['I15', 'I14'],
    sql: [
      `update redemptions set redeemed_at = claimed_at, grant_id = ${GIFT}, credits = 1 where wallet_id = :promoted and redeemed_at is null`,
    ],
  },
  {
    says: 'an order does not know its bonus',
    trips: ['I15'],
    sql: [`update payments set bonus_grant_id = null where id = ${ORDER('paid')}`],
  },
  {
    says: 'an order names the grant of another',
    trips: ['I15'],
    sql: [`update payments set grant_id = ${BOUGHT('disputed')} where id = ${ORDER('paid')}`],
  },
  {
    says: 'an order that was granted is not paid',
    trips: ['I15'],
    sql: [`update payments set status = 'pending' where id = ${ORDER('by amount')}`],
  },
  {
    says: 'an order is paid, and nothing came of it',
    trips: ['I15'],
    sql: [`update payments set status = 'paid' where id = ${ORDER('pending')}`],
  },
  { says: 'credits were bought without an order', trips: ['I15'], sql: [copyGrant(BOUGHT('paid'), ", 'source', 'pi_nobody'")] },
  {
    says: 'an order that nobody paid names a grant',
    trips: ['I15'],
    sql: [
      copyGrant(BOUGHT('paid'), ", 'id', '00000000-0000-7000-8000-000000000001', 'source', 'pi_nobody'"),
      `update payments set grant_id = '00000000-0000-7000-8000-000000000001' where id = ${ORDER('pending')}`,
    ],
  },
  {
    says: 'an order is deleted with its key, and its credits stay',
    trips: ['I15'],
    sql: [`delete from idempotency_keys where effect_id = ${ORDER('by amount')}`, `delete from payments where id = ${ORDER('by amount')}`],
  },
  {
    says: 'a client says that it issued what was bought',
    trips: ['I15', 'I14'],
    sql: [`update grants set client_id = gen_random_uuid() where id = ${BOUGHT('paid')}`],
  },
  { says: 'an order stands twice', trips: ['I15'], sql: [`insert into payments select * from payments where id = ${ORDER('paid')}`] },
  {
    says: 'the payment of a period stands twice',
    trips: ['I15'],
    sql: [`insert into payments select * from payments where id = ${FIRST_PERIOD}`],
  },
  { says: 'a period was credited twice', trips: ['I15'], sql: [copyGrant(CREDITS_OF(FIRST_PERIOD))] },
  {
    says: 'a period that was paid for was not credited',
    trips: ['I15'],
    sql: [`delete from grants where id = ${CREDITS_OF(FIRST_PERIOD)}`],
  },
  { says: 'a period gave one more', trips: ['I15'], sql: [`update grants set amount = amount + 1 where id = ${CREDITS_OF(FIRST_PERIOD)}`] },
  { says: 'a period was paid for less', trips: ['I15'], sql: [`update payments set credits = credits - 1 where id = ${FIRST_PERIOD}`] },
  {
    says: 'what a period brought was given away',
    trips: ['I15'],
    sql: [`update grants set kind = 'bonus' where id = ${CREDITS_OF(FREE_PERIOD)}`],
  },
  {
    says: 'what a period brought is of no payment',
    trips: ['I15'],
    sql: [`update grants set reference = null where id = ${CREDITS_OF(FIRST_PERIOD)}`],
  },
  {
    says: 'the payments of two periods change their grants',
    trips: ['I15'],
    sql: [
      `update payments p set grant_id = o.grant_id from payments o where p.wallet_id = :subscriber and o.wallet_id = :subscriber and o.id <> p.id`,
    ],
  },
  {
    says: 'a period that was credited is not paid',
    trips: ['I15'],
    sql: [`update payments set status = 'failed' where id = ${FIRST_PERIOD}`],
  },
  { says: 'what was taken over was bought', trips: ['I15'], sql: [`update grants set kind = 'purchase' where id = ${TAKEN_OVER}`] },
  { says: 'what was taken over is of no subscription', trips: ['I15'], sql: [`update grants set source = null where id = ${TAKEN_OVER}`] },
  {
    says: "what was taken over is of another wallet's subscription",
    trips: ['I15'],
    sql: [
      `update grants set source = (select 'sbs_' || replace(id::text, '-', '') from subscriptions where wallet_id = :lapsed and status = 'canceled') where id = ${TAKEN_OVER}`,
    ],
  },
  {
    says: 'a subscription is deleted with its key, and what it took over stays',
    trips: ['I15'],
    sql: [
      `delete from idempotency_keys where effect_id = (select id from subscriptions where wallet_id = :subscriber and status = 'active')`,
      `delete from subscriptions where wallet_id = :subscriber and status = 'active'`,
    ],
  },
  {
    says: 'more was taken over than had expired',
    trips: ['I15'],
    sql: append(':aged', 'grant', '100000000', 'expired', 'null'),
  },
  {
    says: 'more money of a period went back than credits',
    trips: ['I16'],
    sql: [`update payments set refunded = refunded + 1 where id = ${SECOND_PERIOD}`],
  },
  {
    says: 'more was taken back for a period than its payment says',
    trips: ['I16'],
    sql: append(':subscriber', 'clawback', '-1', 'purchases', 'null', `'provider:stripe'`, MARK_OF(SECOND_PERIOD)),
  },
  {
    says: 'credits were taken back for what a coupon paid, and everybody knows it',
    trips: ['I16'],
    sql: [
      ...append(':lapsed', 'clawback', '-1', 'purchases', 'null', `'provider:stripe'`, MARK_OF(FREE_PERIOD)),
      `update payments set reversed = 1, taken = '[{"grant":null,"amount":"1"}]' where id = ${FREE_PERIOD}`,
    ],
  },
  {
    says: 'more was taken back than the order says',
    trips: ['I16'],
    sql: append(':buyer', 'clawback', '-1', 'purchases', 'null', `'provider:sandbox'`, MARK('paid')),
  },
  {
    says: 'what was given back is an adjustment, and the chain is hashed anew',
    trips: ['I16'],
    sql: [`update transactions set kind = 'adjust' where wallet_id = :contested and kind = 'reinstatement'`, ...rechain(':contested')],
  },
  {
    says: 'what was taken back for one order is booked to another, and the chain is hashed anew',
    trips: ['I16'],
    sql: [
      `update transactions set reference = ${MARK('paid')} where wallet_id = :buyer and reference = ${MARK('disputed')} and kind = 'clawback'`,
      ...rechain(':buyer'),
    ],
  },
  {
    says: 'an order has lost more and says where it came from, and the ledger has no row of it',
    trips: ['I16'],
    sql: [
      `update payments set reversed = credits, taken = json_build_array(json_build_object('grant', null, 'amount', credits::text)), refunded = amount where id = ${ORDER('by amount')}`,
    ],
  },
  {
    says: 'more money went back than credits',
    trips: ['I16'],
    sql: [`update payments set refunded = refunded + 1 where id = ${ORDER('part')}`],
  },
  { says: 'a bank took nothing', trips: ['I16'], sql: [`update payments set withdrawn = 0 where id = ${ORDER('disputed')}`] },
  {
    says: 'credits were taken back for an order that was never paid, and everybody knows it',
    trips: ['I16'],
    sql: [
      ...append(':buyer', 'clawback', '-1000000000', 'purchases', 'null', `'provider:sandbox'`, MARK('failed')),
      `update payments set reversed = credits, refunded = amount, taken = '[{"grant":null,"amount":"1000000000"}]' where id = ${ORDER('failed')}`,
    ],
  },
  {
    says: 'nobody knows where credits were taken from',
    trips: ['I16'],
    sql: [`update payments set taken = '[]' where id = ${ORDER('reversed')}`],
  },
  {
    says: 'one credit less is known to be taken',
    trips: ['I16'],
    sql: [
      `update payments set taken = jsonb_set(taken::jsonb, '{0,amount}', to_jsonb(((taken->0->>'amount')::bigint - 1)::text)) where id = ${ORDER('part')}`,
    ],
  },
  ...[`'pay_' || repeat('0', 32)`, MARK('reversed'), 'null'].map((reference) => ({
    says: `credits were taken back for ${reference === 'null' ? 'nothing' : reference === MARK('reversed') ? "another wallet's order" : 'no order'}`,
    trips: ['I16'],
    sql: append(':buyer', 'clawback', '-1', 'purchases', 'null', `'provider:sandbox'`, reference),
  })),
  {
    says: 'a hold is two minutes past its deadline',
    trips: ['I17'],
    sql: [`update reservations set expires_at = now() - interval '2 minutes' where id = ${HELD}`],
  },
  {
    says: 'a wallet has waited for its top-up for six minutes',
    trips: ['I18'],
    sql: [`update outbox set next_attempt_at = now() - interval '6 minutes' where published_at is null`],
  },
  {
    says: 'an event of the payment provider has waited for six minutes',
    trips: ['I18'],
    sql: [`update provider_events set status = 'received', next_attempt_at = now() - interval '6 minutes' where id = 'evt_of_won'`],
  },
  ...[
    [`actor = 'key:somebody'`, 'an actor'],
    ['reference = null', 'a reference'],
    [`metadata = '{"step":3}'`, 'metadata'],
    [`draws = null`, 'draws'],
    [`created_at = created_at + interval '1 ms'`, 'a time'],
    [`occurred_at = occurred_at - interval '1 day'`, 'the time in the world'],
    ['client_id = gen_random_uuid()', 'the client'],
    ['reservation_id = gen_random_uuid()', 'the reservation'],
    ['reverses_id = gen_random_uuid()', 'what is reversed'],
    ['id = gen_random_uuid()', 'an id'],
    [`hash = sha256('x')`, 'the hash'],
  ].map(([set, what]) => ({
    says: `${what} of a row is edited`,
    trips: ['I19'],
    // The first row of the split reservation's charges has all of these.
    sql: [
      `update transactions set ${set} where wallet_id = :busy and seq = (select min(seq) from transactions where wallet_id = :busy and kind = 'charge'
        and metadata is not null)`,
    ].map((text) => (set === 'reference = null' ? text.replace('and metadata is not null', 'and reference is not null') : text)),
  })),
  {
    says: 'the last row is deleted',
    trips: ['I19', 'I01', 'I02', 'I03'],
    sql: [
      `delete from transactions where wallet_id = :payee and seq = (select transaction_seq from wallets where id = :payee) and counter_account = 'clearing'`,
    ],
  },
  { says: 'the head hash is another', trips: ['I19'], sql: [`update wallets set head_hash = sha256('x') where id = :busy`] },
  { says: 'the head hash of an empty wallet', trips: ['I19'], sql: [`update wallets set head_hash = sha256('x') where id = :empty`] },
  {
    says: 'two rows change places',
    trips: ['I19'],
    sql: [
      `update transactions t set seq = 3 - t.seq,
        balance_after = case when t.seq = 2 then t.amount else (select sum(amount) from transactions where wallet_id = :payee and seq <= 2) end
        where wallet_id = :payee and t.seq <= 2`,
    ],
  },
  {
    says: 'a cost is one more than its quote',
    trips: ['I20', 'I11'],
    sql: [`update charges set cost = cost + 1, uncollected = uncollected + 1 where id = ${PLAIN_CHARGE}`],
  },
  {
    says: 'the quote of another charge',
    trips: ['I20'],
    sql: [`update charges set quote = (select quote from charges where reference = 'shared') where id = ${PLAIN_CHARGE}`],
  },
  {
    says: 'a quote rounds down',
    trips: ['I20'],
    sql: [
      `update charges set quote = jsonb_set(quote::jsonb, '{n}', to_jsonb(((quote->>'n')::numeric - (quote->>'d')::numeric)::text)) where id = ${PLAIN_CHARGE}`,
    ],
  },
  {
    says: 'a quote was exempt',
    trips: ['I20'],
    sql: [`update charges set quote = jsonb_set(quote::jsonb, '{exempt}', 'true') where id = ${PLAIN_CHARGE}`],
  },
  {
    says: 'a quote had a minimum',
    trips: ['I20'],
    sql: [`update charges set quote = jsonb_set(quote::jsonb, '{min}', '"99999999999"') where id = ${PLAIN_CHARGE}`],
  },
  ...['1', '10000000'].map((multiple) => ({
    says: `a cost that was rounded up to a hundredth should be one of ${multiple} micro-credits`,
    trips: ['I20'],
    sql: [`update charges set quote = jsonb_set(quote::jsonb, '{terms,round_to}', '"${multiple}"') where id = ${ROUNDED_CHARGE}`],
  })),
  {
    says: 'a quote is empty',
    trips: ['I20'],
    sql: [`update charges set quote = '{}' where id = ${PLAIN_CHARGE}`],
  },
  {
    says: 'a quote has no numerator',
    trips: ['I20'],
    sql: [`update charges set quote = (quote::jsonb - 'n')::json where id = ${PLAIN_CHARGE}`],
  },
  { says: 'an audit row is deleted', trips: ['I21'], sql: [`delete from audit_log where action = 'grant.void'`] },
  { says: 'an audit row has no reason', trips: ['I21'], sql: [`update audit_log set reason = '' where action = 'grant.void'`] },
  {
    says: 'an audit row names another',
    trips: ['I21'],
    sql: [`update audit_log set actor = 'admin:somebody' where action = 'wallet.adjust' and reason = 'goodwill'`],
  },
  { says: 'an audit row stands twice', trips: ['I21'], sql: [`insert into audit_log select * from audit_log where action = 'grant.void'`] },
  {
    says: 'an admin moved credits without a word',
    trips: ['I21'],
    sql: append(':busy', 'adjust', '1', 'adjustments', 'null', `'admin:key:x'`),
  },
  ...['price_versions', 'operation_versions', 'markups', 'exchange_rates', 'charge_policies'].map((table) => ({
    says: `two ${table.replace('_', ' ')} take effect at one time`,
    trips: ['I22'],
    sql: [`insert into ${table} select * from ${table} limit 1`],
  })),
]

/** Leaves no constraint and no trigger; only the keys that the queries group by. In a transaction that is rolled back. */
async function withoutConstraints(client: pg.Client): Promise<void> {
  await client.query('set local session_replication_role = replica')
  const { rows } = await client.query<{ tab: string; name: string }>(
    `select conrelid::regclass::text as tab, conname as name from pg_constraint
      where connamespace = 'public'::regnamespace and (contype in ('c', 'u', 'f', 'x')
        or contype = 'p' and conrelid::regclass::text not in ('wallets', 'reservations', 'charges'))`,
  )
  for (const { tab, name } of rows) await client.query(`alter table ${tab} drop constraint if exists ${name} cascade`)
  const { rows: indexes } = await client.query<{ name: string }>(
    `select indexrelid::regclass::text as name from pg_index where indisunique
      and indrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)
      and not exists (select from pg_constraint where conindid = indexrelid)`,
  )
  for (const { name } of indexes) await client.query(`drop index ${name}`)
}

async function tripped(client: pg.Client): Promise<string[]> {
  const found: string[] = []
  for (const { id, sql } of INVARIANTS) {
    const { rows } = await client.query(`select count(*)::int as n from (${sql}) as v`)
    if (rows[0].n > 0) found.push(id)
  }
  return found
}

t.test('the invariants', async (t) => {
  const service = await createService(t)
  const book = await makeRichBook(service)
  const client = new pg.Client({ connectionString: service.url })
  await client.connect()
  t.teardown(() => client.end())

  const fill = (text: string) =>
    text.replace(
      /:(busy|payee|indebted|aged|empty|buyer|reversed|contested|toppedUp|declined|promoted|subscriber|lapsed)\b/g,
      (_, name: 'busy') => `'${(book[name] as string).slice(4)}'::uuid`,
    )
  const only = async (t: Test, mutant: Mutant) => {
    await client.query('savepoint mutant')
    try {
      for (const text of mutant.sql) {
        const { rowCount } = await client.query(fill(text))
        t.ok((rowCount ?? 0) > 0, 'the mutant changes something')
      }
      t.same(await tripped(client), [...mutant.trips].sort(), `trips ${[...mutant.trips].sort().join(', ')} and nothing else`)
    } finally {
      await client.query('rollback to savepoint mutant')
    }
  }

  t.test('a sound book with everything in it trips none', async (t) => {
    t.same(await service.unsound(), [])
    const [seen] = await service.query(
      `select
      (select array_agg(distinct kind order by kind) from transactions) as kinds,
      (select array_agg(distinct counter_account order by counter_account) from transactions) as accounts,
      (select array_agg(distinct status order by status) from reservations) as statuses,
      (select array_agg(distinct operation order by operation) from idempotency_keys) as operations,
      (select array_agg(distinct status order by status) from payments) as orders,
      (select array_agg(distinct status order by status) from payments where origin = 'top_up') as top_ups,
      (select array_agg(distinct kind order by kind) from grants) as lots,
      (select array_agg(status order by id) from subscriptions) as subscriptions,
      (select array_agg(rolled_over order by id) from subscriptions where credited_until is not null) as taken_over,
      (select array_agg(amount order by id) from payments where origin = 'subscription') as periods,
      (select array_agg(promotion order by id) from payments where wallet_id = $1) as promotions,
      (select json_build_object('all', count(*), 'redeemed', count(redeemed_at), 'with an order', count(payment_id)) from redemptions) as redemptions,
      (select json_build_object('published', count(published_at), 'waiting', count(*) filter (where published_at is null and next_attempt_at > now())) from outbox) as told,
      (select count(*)::int from payments where disputed) as disputed,
      (select count(*)::int from payments where reversed > 0 and reversed < credits + bonus) as partly,
      (select count(*)::int from payments p where exists (select from json_array_elements(p.taken) as part where part->>'grant' is null)) as owed,
      (select count(*)::int from idempotency_keys where status >= 400) as refusals,
      (select count(*)::int from charges where late) as late, (select count(*)::int from charges where cost = 0) as free,
      (select count(*)::int from charges where uncollected > 0) as uncollected, (select count(*)::int from transactions) as rows`,
      [book.promoted.slice(4)],
    )
    t.same(seen.kinds, ['adjust', 'charge', 'clawback', 'earning', 'expire', 'grant', 'refund', 'reinstatement', 'uncollected', 'void'])
    t.same(seen.accounts, ['adjustments', 'clearing', 'expired', 'promotions', 'purchases', 'revenue', 'uncollected'])
    t.same(seen.statuses, ['committed', 'expired', 'held', 'released'])
    t.same(seen.orders, ['failed', 'paid', 'pending'])
    t.same(seen.top_ups, ['failed', 'paid'])
    t.same(seen.lots, ['adjustment', 'bonus', 'earning', 'promotion', 'purchase', 'refund', 'rollover'])
    t.same(seen.subscriptions, ['expired', 'active', 'canceled', 'pending'])
    t.same(seen.taken_over, ['200000000', '0'])
    t.same(seen.periods, ['3000', '0', '3000'], 'the second was paid with a coupon')
    t.same(seen.promotions, ['1000000000', '0', '7000000'], 'the second was paid too late, the third is not paid')
    t.same(seen.redemptions, { all: 3, redeemed: 2, 'with an order': 1 })
    t.match(seen.told, { published: 2, waiting: 1 })
    t.ok(seen.disputed >= 1 && seen.partly >= 1 && seen.owed >= 1)
    t.ok(seen.refusals >= 5 && seen.late >= 3 && seen.free >= 2 && seen.uncollected >= 2)
    t.comment(`invariants: ${INVARIANTS.length} on ${seen.rows} ledger rows: 0 broken`)
  })

  t.test('each mutant trips exactly what it should', async (t) => {
    await client.query('begin')
    await withoutConstraints(client)
    t.same(await tripped(client), [], 'without constraints the book is as sound as with them')
    for (const mutant of MUTANTS) await t.test(`${mutant.trips[0]}: ${mutant.says}`, (t) => only(t, mutant))
    await client.query('rollback')
    t.comment(`invariants: ${MUTANTS.length} mutants of ${INVARIANTS.length} invariants`)
  })

  t.test('every invariant has a mutant of its own', async (t) => {
    const aimedAt = new Set(MUTANTS.map((mutant) => mutant.trips[0]))
    t.same(
      INVARIANTS.filter(({ id }) => !aimedAt.has(id)).map(({ id }) => id),
      [],
    )
  })

  t.test('verify says what it found, and leaves the book alone', async (t) => {
    await service.query('update wallets set held = held + 1 where id = $1', [book.busy.slice(4)])
    t.same(await service.unsound(), [
      `I05: 1 (${(await service.query('select id from wallets where id = $1', [book.busy.slice(4)]))[0].id})`,
    ])
    await service.query('update wallets set held = held - 1 where id = $1', [book.busy.slice(4)])
    t.same(await service.unsound(), [])
  })
})
