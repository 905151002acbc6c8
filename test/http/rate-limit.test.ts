import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createRedis, noRedis } from '../helpers/redis.ts'
import { type AppOfService, createService, tally, times } from '../helpers/service.ts'

/** Limits are counted in minutes of the clock. */
const WINDOW_MS = 60_000

/** Waits for the next minute where this one is nearly over, so that what follows happens in one. */
async function withinOneMinute(): Promise<void> {
  const left = WINDOW_MS - (Date.now() % WINDOW_MS)
  if (left < 15_000) await sleep(left + 50)
}

const LOW = { RATE_LIMIT_USAGE: '5', RATE_LIMIT_READS: '4', RATE_LIMIT_ADMIN: '3', RATE_LIMIT_PUBLIC: '6' }

t.test('limits of requests', { jobs: 3 }, async (t) => {
  t.test('each key has its own, by class of route', async (t) => {
    const service = await createService(t)
    const wallet = await service.wallet('100')
    const low = await service.another({ env: LOW })
    await withinOneMinute()
    const charge = (key = service.client.key) => low.post('/v1/charges', { wallet, amount: '1' }, { key })

    t.same(tally(await Promise.all(times(8, () => charge()))), { 201: 5, '429 rate_limited': 3 })
    const refused = await charge()
    t.match(refused.body, { code: 'rate_limited', status: 429, retryable: true, title: /Too many requests/ })
    t.match(refused.headers, {
      'content-type': /^application\/problem\+json/,
      'ratelimit-limit': '5',
      'ratelimit-remaining': '0',
      'cache-control': 'no-store',
      'x-request-id': /\S/,
    })
    const [after, reset] = [Number(refused.headers['retry-after']), Number(refused.headers['ratelimit-reset'])]
    t.ok(after >= 1 && after <= 60, `Retry-After: ${after}`)
    t.ok(Math.abs(after - reset) <= 1)

    const read = await low.get(`/v1/wallets/${wallet}/balance`)
    t.match(read, { status: 200, body: { balance: '95' } }, 'what was refused did nothing, and reads go on')
    t.same(tally(await Promise.all(times(6, () => low.get('/v1/wallets')))), { 200: 3, '429 rate_limited': 3 })
    t.same(tally(await Promise.all(times(5, () => low.get('/v1/admin/clients', { key: service.adminKey })))), {
      200: 3,
      '429 rate_limited': 2,
    })
    const another = await service.newKey(['usage:write'])
    t.equal((await charge(another)).status, 201, 'another key of the same client has its own')
    const unknown = await low.post('/v1/charges', '{"nonsense":', {})
    t.equal(unknown.status, 429, 'a body is not even read')
  })

  t.test('a person has one limit, whatever the number of tokens', async (t) => {
    const service = await createService(t)
    const low = await service.another({ env: LOW })
    const tokens = await Promise.all(times(3, () => service.tokenFor('alice')))
    const other = await service.tokenFor('bob')
    await withinOneMinute()
    const answers = []
    for (let i = 0; i < 6; i += 1) answers.push(await low.get('/v1/wallets', { key: tokens[i % 3] as string }))
    t.same(tally(answers), { 200: 4, '429 rate_limited': 2 })
    t.equal((await low.get('/v1/wallets', { key: other })).status, 200)
  })

  t.test('strangers are counted by address, and those who are known go on beside them', async (t) => {
    const service = await createService(t)
    const low = await service.another({ env: LOW })
    t.equal((await low.get('/v1/wallets')).status, 200)
    await withinOneMinute()
    const attempts = []
    for (let i = 0; i < 10; i += 1) {
      const headers = { 'x-forwarded-for': `203.0.113.${i}`, forwarded: `for=203.0.113.${i}`, 'x-real-ip': `203.0.113.${i}` }
      attempts.push(await low.get('/v1/wallets', { key: `fbx_${String(i).padStart(40, 'x')}`, headers }))
    }
    t.same(tally(attempts.slice(-4)), { '429 rate_limited': 4 }, 'X-Forwarded-For of nobody trusted has no effect')
    t.ok(attempts.slice(0, 5).every(({ status }) => status === 401))
    t.equal((await low.get('/v1/wallets', { key: null })).status, 429, 'without a credential too')
    const open = []
    for (let i = 0; i < 8; i += 1) open.push((await low.get('/docs/errors/internal', { key: null })).status)
    t.same(open, [200, 200, 200, 200, 200, 200, 429, 429], 'what is open to everybody has a limit of its own')
    t.equal((await low.get('/v1/wallets')).status, 200, 'a good key goes on')
    for (const probe of ['/healthz', '/readyz']) {
      const answers = await Promise.all(times(10, () => low.get(probe, { key: null })))
      t.same(tally(answers), { 200: 10 }, `${probe} has no limit`)
      t.notOk(answers[0]?.headers['ratelimit-limit'])
    }
  })

  t.test('behind a proxy that is trusted the address is what it says', async (t) => {
    const service = await createService(t)
    const low = await service.another({ env: { ...LOW, TRUSTED_PROXIES: '127.0.0.1' } })
    await withinOneMinute()
    const from = (address: string) => low.get('/v1/wallets', { key: 'fbx_nonsense', headers: { 'x-forwarded-for': address } })
    for (let i = 0; i < 6; i += 1) t.equal((await from('203.0.113.1')).status, 401)
    t.equal((await from('203.0.113.1')).status, 429)
    t.equal((await from('203.0.113.2')).status, 401)
    t.equal((await from('198.51.100.7, 203.0.113.1')).status, 429, 'what a client writes before it has no effect')
    for (let i = 0; i < 6; i += 1) await from(`2001:db8::${i}`)
    t.equal((await from('2001:db8::ffff')).status, 429, 'an IPv6 network counts as one')
  })

  t.test('processes with a Redis have one limit together, and none waits for it', { skip: noRedis() }, async (t) => {
    const redis = await createRedis(t)
    const service = await createService(t)
    const env = { RATE_LIMIT_READS: '20' }
    const open = () => service.another({ env, rooms: { redisUrl: redis.url } })
    const [one, two] = [await open(), await open()]
    await withinOneMinute()
    const read = (app: AppOfService) => app.get('/v1/wallets')
    t.same(tally(await Promise.all(times(20, () => read(one)))), { 200: 20 })
    let refused = false
    for (let tries = 0; tries < 18 && !refused; tries += 1) {
      refused = (await read(two)).status === 429
      if (!refused) await sleep(600)
    }
    t.ok(refused, 'the second refuses before it has counted twenty itself')

    for (const fault of ['frozen', 'killed'] as const) {
      const third = await open()
      if (fault === 'frozen') redis.freeze()
      else await redis.restart(0)
      const started = performance.now()
      const key = await service.newKey(['wallets:read'])
      const answers = await Promise.all(times(15, () => third.get('/v1/wallets', { key })))
      t.same(tally(answers), { 200: 15 }, `${fault}: nobody is refused`)
      t.comment(`${fault}: 15 reads in ${Math.round(performance.now() - started)} ms`)
      await third.close()
      if (fault === 'frozen') redis.thaw()
    }
  })
})
