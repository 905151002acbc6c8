import t, { type Test } from 'tap'
import { type Answer, createService, type TestService, tally, times } from '../helpers/service.ts'

/**
 * One command whose row the database will not take: it fails alone, whatever batch it is in, and leaves nothing behind. Transient
 * failures of a whole batch are tried again, and each command still has one effect.
 */

const N = 200

/** Sends 200 reserves, one of which (or some) cannot be written, and looks at what became of each. */
async function withPoison(
  t: Test,
  service: TestService,
  poison: ReadonlySet<number>,
  run: string,
  commandOf: (i: number, mark: string) => object,
) {
  const commands = times(N, (i) => commandOf(i, poison.has(i) ? `${run} poison` : `${run} fine`))
  const { results } = await service.made('/v1/batch', { commands })
  const wrong = results.filter((result: Answer, i: number) =>
    poison.has(i) ? result.status !== 500 || result.body.code !== 'internal' : result.status !== 201,
  )
  t.same(wrong, [], `${poison.size} of ${N} failed, the others did not notice`)
  const [row] = await service.query(
    `select (select count(*)::int from reservations where reference = $1) + (select count(*)::int from charges where reference = $1) as fine,
      (select count(*)::int from reservations where reference = $2) + (select count(*)::int from charges where reference = $2) as poison,
      (select count(*)::int from idempotency_keys where key like $3 || '-%') as keys`,
    [`${run} fine`, `${run} poison`, run],
  )
  t.same(row, { fine: N - poison.size, poison: 0, keys: N - poison.size }, 'nothing of the poisonous ones is there, no record either')
  return results
}

t.test('poison', async (t) => {
  const service = await createService(t)
  const wallet = await service.wallet('100000')
  const reserve = (run: string) => (i: number, mark: string) => ({
    operation: 'reserve',
    idempotency_key: `${run}-${i}`,
    body: { wallet, amount: '1', reference: mark },
  })
  const charge = (run: string) => (i: number, mark: string) => ({
    operation: 'charge',
    idempotency_key: `${run}-${i}`,
    body: { wallet, amount: '1', reference: mark },
  })

  t.test('one in 200 breaks a CHECK of the database', async (t) => {
    await service.query(`alter table reservations add constraint poison check (reference is distinct from 'check poison')`)
    const statements = await countStatements(service, () => withPoison(t, service, new Set([77]), 'check', reserve('check')))
    t.comment(`poison: found by halves: ${statements} inserts of reservations for 199 rows`)
    await service.query('alter table reservations drop constraint poison')
    const again = await service.post('/v1/reservations', { wallet, amount: '1', reference: 'check poison' }, { idempotencyKey: 'check-77' })
    t.equal(again.status, 201, 'once the cause is gone the same key works: a failure is not remembered')
    t.notOk('idempotent-replayed' in again.headers)
  })

  t.test('the first, the last and five others', async (t) => {
    await service.query(`alter table charges add constraint poison check (reference is distinct from 'many poison')`)
    await withPoison(t, service, new Set([0, 1, 50, 51, 128, 198, 199]), 'many', charge('many'))
    await service.query('alter table charges drop constraint poison')
  })

  t.test('a number out of range (22003)', async (t) => {
    await service.query(`
      create function overflow() returns trigger language plpgsql as $$
      begin if new.reference = 'range poison' then new.amount := (9223372036854775807 - new.amount); end if; return new; end $$`)
    await service.query('create trigger overflow before insert on transactions for each row execute function overflow()')
    await withPoison(t, service, new Set([111]), 'range', charge('range'))
    await service.query('drop trigger overflow on transactions')
  })

  t.test('what fails only at COMMIT (a deferred constraint)', async (t) => {
    await service.query(`
      create function late_refusal() returns trigger language plpgsql as $$
      begin if new.reference = 'deferred poison' then raise exception 'no' using errcode = '23514'; end if; return null; end $$`)
    await service.query(`create constraint trigger late_refusal after insert on reservations deferrable initially deferred
      for each row execute function late_refusal()`)
    await withPoison(t, service, new Set([13, 150]), 'deferred', reserve('deferred'))
    await service.query('drop trigger late_refusal on reservations')
  })

  t.test('alone on its own route it answers 500 with a problem that tells nothing of the database', async (t) => {
    await service.query(`alter table reservations add constraint poison check (reference is distinct from 'alone')`)
    const answer = await service.post('/v1/reservations', { wallet, amount: '1', reference: 'alone' })
    t.equal(answer.status, 500)
    t.equal(answer.body.code, 'internal')
    t.notMatch(answer.text, /constraint|poison|23514|reservations_|select|insert/i)
    t.match(service.logText(), /23514|poison/, 'the log does')
    await service.query('alter table reservations drop constraint poison')
  })

  t.test('beside two hundred requests on routes of their own', async (t) => {
    await service.query(`alter table reservations add constraint poison check (reference is distinct from 'beside')`)
    const answers = await Promise.all(
      times(N, (i) => service.post('/v1/reservations', { wallet, amount: '1', ...(i === 100 && { reference: 'beside' }) })),
    )
    t.same(tally(answers), { 201: N - 1, '500 internal': 1 })
    await service.query('alter table reservations drop constraint poison')
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

async function countStatements(service: TestService, work: () => Promise<unknown>): Promise<number> {
  const read = async () => {
    const [row] = await service.query(`select coalesce(last_value, 0)::int as n from pg_sequences where sequencename = 'inserts_seen'`)
    return row.n as number
  }
  await service.query('create sequence inserts_seen start 1')
  await service.query(
    `create function count_insert() returns trigger language plpgsql security definer as $$ begin perform nextval('inserts_seen'); return null; end $$`,
  )
  await service.query('create trigger count_insert before insert on reservations for each statement execute function count_insert()')
  await work()
  await service.query('drop trigger count_insert on reservations')
  return read()
}

t.test('transient failures', async (t) => {
  const service = await createService(t)
  const second = await service.another()
  await service.query('create sequence batches_seen start 1')
  /** Raises this SQLSTATE in every n-th batch, before its keys are written. The sequence does not roll back. */
  const raiseEvery = (n: number, sqlstate: string, timing = 'before') =>
    service.query(`
      create or replace function transient() returns trigger language plpgsql security definer as $$
      begin if nextval('batches_seen') % ${n} = 0 then raise exception 'test' using errcode = '${sqlstate}'; end if; return null; end $$;
      create trigger transient ${timing} insert on idempotency_keys for each statement execute function transient()`)
  const stop = () => service.query('drop trigger transient on idempotency_keys')
  const attempts = async () =>
    (await service.query(`select coalesce(last_value, 0)::int as n from pg_sequences where sequencename = 'batches_seen'`))[0].n

  for (const [sqlstate, says] of [
    ['40001', 'serialization_failure'],
    ['40P01', 'deadlock_detected'],
    ['55P03', 'lock_not_available'],
    ['57014', 'query_canceled'],
  ] as const) {
    t.test(`${sqlstate} ${says} in every third batch: all done, one effect each`, async (t) => {
      const wallets = await Promise.all(times(4, () => service.wallet('1000')))
      const before = await attempts()
      await raiseEvery(3, sqlstate)
      const n = 300
      const answers: Answer[] = []
      // In waves, so that there are batches enough to fail.
      for (let wave = 0; wave < 15; wave += 1) {
        answers.push(
          ...(await Promise.all(
            times(n / 15, (i) =>
              (i % 2 ? service : second).post(
                '/v1/charges',
                { wallet: wallets[i % 4], amount: '1', reference: sqlstate },
                { idempotencyKey: `${sqlstate}-${wave}-${i}` },
              ),
            ),
          )),
        )
      }
      await stop()
      t.same(tally(answers), { 201: n })
      const [row] = await service.query('select count(*)::int as n, sum(cost)::bigint as cost from charges where reference = $1', [
        sqlstate,
      ])
      t.same(row, { n, cost: String(n * 1_000_000) })
      const seen = (await attempts()) - before
      t.ok(seen >= 15, 'batches failed')
      t.comment(`poison: ${n} charges, ${seen} batches, ${Math.floor(seen / 3)} of them failed with ${sqlstate}, 0 given up`)
    })
  }

  t.test('a batch that fails for five seconds is given up with 503, and nothing of it is written', async (t) => {
    const wallet = await service.wallet('100')
    await raiseEvery(1, '40001')
    const started = performance.now()
    const answers = await Promise.all(
      times(20, (i) => service.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: `given-up-${i}` })),
    )
    const seconds = (performance.now() - started) / 1000
    await stop()
    t.same(tally(answers), { '503 storage_unavailable': 20 })
    t.ok(
      answers.every((answer) => answer.headers['retry-after'] === '1' && answer.body.retryable === true),
      'they may come back',
    )
    t.ok(seconds > 4.5 && seconds < 12, `after ${seconds.toFixed(1)} s`)
    t.equal((await service.query(`select count(*)::int as n from idempotency_keys where key like 'given-up-%'`))[0].n, 0)
    const again = await Promise.all(
      times(20, (i) => service.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: `given-up-${i}` })),
    )
    t.same(tally(again), { 201: 20 }, 'the same keys do it later')
    t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '80' })
  })

  t.test('a full disk (53100) answers 503 at once and is over when there is room again', async (t) => {
    const wallet = await service.wallet('100')
    await raiseEvery(1, '53100')
    const started = performance.now()
    const answer = await service.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: 'disk' })
    t.equal(answer.status, 503)
    t.equal(answer.body.code, 'storage_unavailable')
    t.ok(performance.now() - started < 4_500, 'without waiting')
    const counted = async () =>
      Number(/^farebox_refusals_total\{code="storage_unavailable"\} (\d+)$/m.exec(await service.rooms.metrics.text())?.[1] ?? 0)
    const before = await counted()
    const commands = times(2, (i) => ({ operation: 'charge', idempotency_key: `disk-${i}`, body: { wallet, amount: '1' } }))
    const batch = await service.post('/v1/batch', { commands })
    t.same(
      batch.body.results.map(({ status }: { status: number }) => status),
      [503, 503],
    )
    t.equal(await counted(), before + 2, 'what a batch could not do is counted')
    await stop()
    t.equal((await service.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: 'disk' })).status, 201)
  })

  t.test('a wallet row that somebody holds: its commands wait or answer 503, wallets of the other track are served', async (t) => {
    const busy = await service.wallet('100')
    // Which track a wallet has, only its id tells; that all of these have the track of the held one happens once in 2^32 runs.
    const others = await Promise.all(times(32, () => service.wallet('100')))
    const blocker = new (await import('pg')).default.Client({ connectionString: service.url })
    await blocker.connect()
    await blocker.query('begin')
    await blocker.query('select id from wallets where id = $1 for update', [busy.slice(4)])
    const charge = async (wallet: string) => {
      const answer = await service.post('/v1/charges', { wallet, amount: '1' })
      return { answer, held }
    }
    let held = true
    const stuck = charge(busy)
    await new Promise((resolve) => setTimeout(resolve, 100))
    const charged = others.map(charge)
    await Promise.race(charged)
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    held = false
    await blocker.query('rollback')
    await blocker.end()
    t.match(await stuck, { answer: { status: 201 }, held: false }, 'the one that waited goes through when the row is free')
    const answers = await Promise.all(charged)
    t.same(tally(answers.map(({ answer }) => answer)), { 201: others.length }, 'so do those behind it')
    const meanwhile = answers.filter(({ held }) => held).length
    t.ok(meanwhile > 0, `${meanwhile} of ${others.length} wallets were served meanwhile, by the other track`)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
