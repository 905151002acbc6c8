import t from 'tap'
import { createService } from '../helpers/service.ts'
import { createSetting } from './setting.ts'

/** The reckoning of the fault suite is worth what it sees: each of these edits of the database has to be found. */

const SEED = 7
const OPERATIONS = 600

const EDITS: readonly { readonly what: string; readonly sql: string; readonly seen: 'lost' | 'doubled' | 'wrong' }[] = [
  {
    what: 'a charge that is gone',
    sql: 'delete from charges where id = (select id from charges where reservation_id is null limit 1)',
    seen: 'lost',
  },
  {
    what: 'a ledger row of a charge that is gone',
    sql: `delete from transactions where kind = 'charge' and (wallet_id, seq) = (select wallet_id, max(seq) from transactions where kind = 'charge' group by 1 limit 1)`,
    seen: 'lost',
  },
  {
    what: 'a grant that is gone',
    sql: 'delete from grants where id = (select id from grants where client_id is not null limit 1)',
    seen: 'lost',
  },
  {
    what: 'a release that was not made',
    sql: `update reservations set status = 'held', released = 0, finalized_at = null
      where id = (select id from reservations where status = 'released' and released > 0 limit 1)`,
    seen: 'lost',
  },
  {
    what: 'a record of a key that is gone',
    sql: `delete from idempotency_keys where operation = 'reserve' and status = 201`,
    seen: 'lost',
  },
  { what: 'a refusal that is not stored', sql: 'delete from idempotency_keys where status >= 400', seen: 'lost' },
  {
    what: 'a charge made twice',
    sql: `create temporary table twin as select * from charges where reservation_id is null limit 1;
      update twin set id = gen_random_uuid(); insert into charges select * from twin`,
    seen: 'doubled',
  },
  {
    what: 'a refund made twice',
    sql: `create temporary table twin as select * from transactions where kind = 'refund' limit 1;
      update twin set id = gen_random_uuid(), seq = seq + 1000000; insert into transactions select * from twin`,
    seen: 'doubled',
  },
  {
    what: 'an effect that nobody asked for',
    sql: `update reservations set reference = reference || 'x' where id = (select id from reservations limit 1)`,
    seen: 'doubled',
  },
  {
    what: 'a refused charge that was made',
    sql: `update charges set reference = (select key from idempotency_keys where operation = 'charge' and status >= 400 limit 1)
      where id = (select id from charges where reservation_id is null limit 1)`,
    seen: 'wrong',
  },
  {
    what: 'other figures than were answered',
    sql: 'update charges set cost = cost + 1, captured = captured + 1 where id = (select id from charges limit 1)',
    seen: 'wrong',
  },
  {
    what: 'another answer than was sent',
    sql: `update idempotency_keys set body = body || ' ' where key = (select key from idempotency_keys where status = 201 limit 1)`,
    seen: 'wrong',
  },
  {
    what: 'a change that no command made',
    sql: 'update wallets set version = version + 1 where id = (select wallet_id from charges limit 1)',
    seen: 'wrong',
  },
]

t.setTimeout(300_000)

t.test('the reckoning', async (t) => {
  const service = await createService(t)
  const { base } = await service.listen()
  const setting = await createSetting(t, service.url, SEED)
  const load = await setting.load([base])
  await load.reaches(OPERATIONS)
  await load.stop()

  await t.test('finds a sound book sound', async (t) => {
    const { acknowledged, refused, ...findings } = await setting.compare()
    t.same(findings, { lost: [], doubled: [], wrong: [] })
    t.equal(acknowledged, load.acknowledged)
    t.equal(refused, load.refused)
    t.ok(refused > 0)
  })

  for (const { what, sql, seen } of EDITS) {
    await t.test(`finds ${what}`, async (t) => {
      const found = await setting.compare(`set local session_replication_role = replica; ${sql}`)
      t.ok(found[seen].length > 0, `${seen}: ${found[seen][0]}`)
    })
  }
})
