import { randomUUID } from 'node:crypto'
import { globSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SignJWT } from 'jose'
import pg from 'pg'
import t, { type Test } from 'tap'
import { verify } from '../../src/ledger/verify-pg.ts'
import { adminKey, freePort, ready, startService, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { callerAt } from '../helpers/service.ts'

/**
 * F9: the service's clock is wrong, or jumps, and PostgreSQL's is right. What begins and ends with time, holds and grants, goes by the
 * database's clock, so nothing may be early or late. Tokens and keys with an end are checked by the process's own: what is accepted is
 * in docs/clocks.md.
 */

const LIBRARY = globSync('/usr/lib/*/faketime/libfaketimeMT.so.1')[0]
const SECRET = 'a secret of more than thirty-two bytes, for clocks'
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** How long to wait for what is due within seconds, on a machine with other things to do. */
const PATIENCE_MS = 90_000
const ROUNDS = 30
const JUMP_EVERY_MS = 150

const skip = LIBRARY === undefined && 'there is no libfaketime on this machine (Debian: apt-get install libfaketime)'

t.setTimeout(300_000)

for (const [offset, offsetMs] of [
  ['+2h', 2 * HOUR_MS],
  ['-1h', -HOUR_MS],
] as const) {
  t.test(`a service whose clock is wrong by ${offset}`, { skip }, async (t) => {
    const { call, query, now, service, url, startedAt, key } = await serviceAt(t, offset)
    const date = (await fetch(`${service.url}/healthz`)).headers.get('date') as string
    t.ok(Math.abs(Date.parse(date) - Date.now() - offsetMs) < MINUTE_MS, `its clock says ${date}`)

    const wallet = (await call.made('/v1/wallets', { owner: 'user:alice' })).id
    const at = async (ms: number) => new Date((await now()) + ms).toISOString()
    const grant = async (amount: string, times: object) => (await call.made('/v1/grants', { wallet, kind: 'bonus', amount, ...times })).id
    const grants = {
      plain: await grant('100', {}),
      later: await grant('10', { expires_at: await at(30 * MINUTE_MS) }),
      soon: await grant('7', { expires_at: await at(3_000), priority: 90 }),
      begins: await grant('5', { effective_at: await at(3_000) }),
      waits: await grant('3', { effective_at: await at(30 * MINUTE_MS) }),
    }
    const hold = async (seconds: number) => (await call.made('/v1/reservations', { wallet, amount: '1', ttl_seconds: seconds })).id
    const [long, short] = [await hold(1_800), await hold(2)]

    t.test('holds and grants end by the clock of the database', async (t) => {
      await until(async () => {
        const [row] = await query(`select
          (select count(*)::int from reservations where status = 'expired') as holds,
          (select count(*)::int from grants where amount = 7000000 and spent_at is not null) as ended,
          (select count(*)::int from grants where amount = 5000000 and posted_at is not null) as begun`)
        return row.holds === 1 && row.ended === 1 && row.begun === 1
      })
      t.same(await early(query), { holds: 0, grants: 0, scheduled: 0 })
      const [late] = await query(`select
        extract(epoch from max(r.finalized_at - r.expires_at))::float as hold, extract(epoch from max(g.spent_at - g.expires_at))::float as "grant"
        from reservations r, grants g where r.status = 'expired' and g.amount = 7000000`)
      t.ok(late.hold < PATIENCE_MS / 1_000 && late.grant < PATIENCE_MS / 1_000)
      t.comment(`F9: ${offset}: early 0; hold ended ${late.hold} s and grant ${late.grant} s after its time`)

      const listed = (await call.get(`/v1/wallets/${wallet}/grants`)).body.data
      const statusOf = (id: string) => listed.find((one: { id: string }) => one.id === id).status
      t.same(Object.fromEntries(Object.entries(grants).map(([name, id]) => [name, statusOf(id)])), {
        plain: 'active',
        later: 'active',
        soon: 'expired',
        begins: 'active',
        waits: 'scheduled',
      })
      t.equal((await call.get(`/v1/reservations/${long}`)).body.status, 'held')
      t.match((await call.post(`/v1/reservations/${long}/commit`, { amount: '1' })).body, { late: false, reservation_status: 'committed' })
      t.match((await call.post(`/v1/reservations/${short}/commit`, { amount: '1' })).body, { late: true, cost: '1' })
    })

    t.test('tokens and ends of keys are checked by the clock of the process, as documented', async (t) => {
      const read = (credential: string) => call.get('/v1/wallets/user:alice', { key: credential })
      const own = (await call.made('/v1/tokens', { sub: 'alice' }, { key })).token
      t.equal((await read(own)).status, 200, 'its own token')
      const ahead = offsetMs > 0
      t.equal((await read(await tokenUntil(Date.now() + 15 * MINUTE_MS))).status, ahead ? 401 : 200, 'a token of fifteen minutes')
      t.equal((await read(await tokenUntil(Date.now() + 3 * HOUR_MS))).status, 200, 'a token of three hours')
      t.equal((await read(await tokenUntil(Date.now() - 10 * MINUTE_MS))).status, ahead ? 401 : 200, 'one that ended ten minutes ago')
      t.equal((await read(await tokenUntil(Date.now() - 2 * HOUR_MS))).status, 401, 'one that ended two hours ago')
      const ticket = await call.post('/v1/realtime/tickets', null, { key: own })
      t.ok(Math.abs(Date.parse(ticket.body.expires_at) - (await now())) < MINUTE_MS, 'tickets are of the database')
    })

    t.test('every row has the time of the database, and the book is sound', async (t) => {
      t.same(await elsewhen(query, startedAt, await now()), [])
      t.same(await unsound(url), [])
    })
  })
}

t.test('a clock that jumps under load', { skip }, async (t) => {
  const { call, query, now, url, startedAt, jump, key, client } = await serviceAt(t, '+0')
  const wallet = (await call.made('/v1/wallets', { owner: 'user:alice' })).id
  await call.made('/v1/grants', { wallet, kind: 'bonus', amount: '1000' })
  const offsets = ['+2h', '-1h', '+0', '+30m', '-2h']
  let jumps = 0
  const jumping = setInterval(() => {
    jumps += 1
    jump(offsets[jumps % offsets.length] as string)
  }, JUMP_EVERY_MS)
  t.teardown(() => clearInterval(jumping))

  const refused: unknown[] = []
  const kept: string[] = []
  await Promise.all(
    Array.from({ length: 4 }, async (_, worker) => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const held = await call.post('/v1/reservations', { wallet, amount: '1', ttl_seconds: round % 3 === 0 ? 1 : 1_800 })
        if (held.status !== 201) refused.push(held.text)
        else if (round % 3 === 1) {
          const settled = await call.post(`/v1/reservations/${held.body.id}/commit`, { amount: '0.5' })
          if (settled.status !== 200 || settled.body.late !== false) refused.push(settled.text)
        } else if (round % 3 === 2) kept.push(held.body.id)
        if (worker === 0) await sleep(50)
      }
    }),
  )
  t.same(refused, [], 'nothing is refused')
  await until(
    async () =>
      (await query(`select count(*)::int as n from reservations where status = 'held' and expires_at < created_at + interval '1 min'`))[0]
        .n === 0,
  )
  clearInterval(jumping)
  t.same(await early(query), { holds: 0, grants: 0, scheduled: 0 })
  const [states] =
    await query(`select count(*) filter (where status = 'expired')::int as expired, count(*) filter (where status = 'held')::int as held,
    count(*) filter (where status = 'committed')::int as committed from reservations`)
  t.same(states, { expired: (4 * ROUNDS) / 3, held: kept.length, committed: (4 * ROUNDS) / 3 }, 'the short ones have ended, and only they')
  t.same(await elsewhen(query, startedAt, await now()), [])
  t.same(await unsound(url), [])
  t.comment(`F9: ${jumps} jumps, ${4 * ROUNDS} holds, ${states.expired} expired, early 0, refused 0`)

  t.test('a key that was used in a future that did not come is asked about again', async (t) => {
    jump('+2h')
    await until(async () => (await fetchDate(call)) - Date.now() > HOUR_MS)
    t.equal((await call.get('/v1/wallets', { key })).status, 200)
    jump('+0')
    await until(async () => Math.abs((await fetchDate(call)) - Date.now()) < MINUTE_MS)
    await query(`update api_keys set revoked_at = clock_timestamp() where client_id = $1 and name = 'short'`, [client])
    await until(async () => (await call.get('/v1/wallets', { key })).status === 401)
    t.pass('the revoked key is refused')
  })
})

// biome-ignore lint/suspicious/noExplicitAny: figures of any statement
type Query = (text: string, values?: unknown[]) => Promise<any[]>

/** A service with jobs, on a database whose clock is right. */
async function serviceAt(t: Test, offset: string) {
  const { url } = await createTestDatabase(t)
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  pool.on('error', () => {})
  t.teardown(() => pool.end())
  const query: Query = async (text, values) => (await pool.query(text, values)).rows
  const now = async () => (await query('select clock_timestamp() as now'))[0]?.now.getTime() as number
  const startedAt = await now()
  const dataDir = temporary(t)
  const file = join(dataDir, 'clock')
  const jump = (to: string) => writeFileSync(file, `${to}\n`)
  jump(offset)
  const service = await startService(
    {
      DATA_DIR: dataDir,
      DATABASE_URL: url,
      JWT_SECRET: SECRET,
      LD_PRELOAD: LIBRARY as string,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      DONT_FAKE_MONOTONIC: '1',
    },
    await freePort(),
  )
  t.teardown(() => service.kill())
  await ready(service)
  const admin = adminKey(dataDir)
  const call = callerAt(service.url, () => admin)
  const client = (await call.get('/v1/admin/clients')).body.data[0].id
  const key = (await call.made(`/v1/admin/clients/${client}/keys`, { name: 'short', scopes: ['wallets:read', 'usage:write'] })).key
  const clientId = (await query('select id from clients limit 1'))[0]?.id as string
  return { call, query, now, service, url, startedAt, jump, key, client: clientId }
}

async function tokenUntil(expiresAt: number): Promise<string> {
  return new SignJWT({ role: 'user', jti: randomUUID() })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject('alice')
    .setIssuer('farebox')
    .setAudience('farebox')
    .setExpirationTime(Math.floor(expiresAt / 1_000))
    .sign(new TextEncoder().encode(SECRET))
}

async function fetchDate(call: ReturnType<typeof callerAt>): Promise<number> {
  return Date.parse((await call.get('/healthz', { key: null })).headers.date as string)
}

/** What ended, or began, before its time. */
async function early(query: Query) {
  const [row] = await query(`select
    (select count(*)::int from reservations where status = 'expired' and finalized_at < expires_at) as holds,
    (select count(*)::int from grants g where exists (
      select from transactions x where x.wallet_id = g.wallet_id and x.kind = 'expire' and x.created_at < g.expires_at and x.amount = -g.amount)) as grants,
    (select count(*)::int from grants where posted_at < effective_at) as scheduled`)
  return row
}

/** Tables with rows of another time than that of the test, by the database's clock. */
async function elsewhen(query: Query, from: number, to: number): Promise<string[]> {
  const found: string[] = []
  for (const table of ['wallets', 'grants', 'reservations', 'charges', 'transactions', 'idempotency_keys']) {
    const [row] = await query(
      `select count(*)::int as n, count(*) filter (where created_at < $1 or created_at > $2)::int as wrong from ${table}`,
      [new Date(from - 1), new Date(to + 1)],
    )
    if (row?.n === 0 || row?.wrong !== 0) found.push(`${table}: ${row?.wrong} of ${row?.n}`)
  }
  return found
}

async function unsound(url: string): Promise<string[]> {
  return (await verify(url)).filter(({ broken }) => broken > 0).map(({ id, broken }) => `${id}: ${broken}`)
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !(await holds()); await sleep(100)) {
    if (performance.now() > end) throw new Error(`waited for ${PATIENCE_MS} ms: ${holds}`)
  }
}
