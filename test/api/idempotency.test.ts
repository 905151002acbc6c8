import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { clearOldAnswers } from '../../src/jobs/retention.ts'
import { retentionStore, SLICE } from '../../src/jobs/retention-store-prisma.ts'
import { createPrisma } from '../../src/platform/prisma.ts'
import { createProxy } from '../helpers/proxy.ts'
import { type Answer, createService, type Send, times } from '../helpers/service.ts'

/** What an Idempotency-Key promises: one effect, the same answer byte for byte, and nothing for anybody else. */

const REPLAYED = 'idempotent-replayed'

t.test('idempotency', async (t) => {
  const service = await createService(t)
  const admin = { key: service.adminKey }
  const { post, made } = service

  /** Sends something twice under one key; the second answer must be the first one, marked. */
  async function twice(t: Test, path: string, body: object | undefined, status: number, options: Send = {}): Promise<Answer> {
    const idempotencyKey = randomUUID()
    const first = await post(path, body, { ...options, idempotencyKey })
    t.equal(first.status, status, `${path} ${status}`)
    t.notOk(REPLAYED in first.headers, 'the first time is the first time')
    const second = await post(path, body, { ...options, idempotencyKey })
    t.equal(second.status, first.status)
    t.equal(second.text, first.text, 'byte for byte')
    t.equal(second.headers[REPLAYED], 'true')
    t.equal(second.headers['content-type'], first.headers['content-type'])
    const other = await post(path, { ...(body ?? {}), reference: 'another', reason: 'another' }, { ...options, idempotencyKey })
    t.ok([400, 422].includes(other.status), 'another body is no replay')
    return first
  }

  t.test('every operation replays what it did, byte for byte', async (t) => {
    const wallet = await service.wallet('1000')
    const reserved = await twice(t, '/v1/reservations', { wallet, amount: '10' }, 201)
    await twice(t, `/v1/reservations/${reserved.body.id}/extend`, { ttl_seconds: 600 }, 200)
    await twice(t, `/v1/reservations/${reserved.body.id}/commit`, { amount: '3', final: false }, 200)
    await twice(t, `/v1/reservations/${reserved.body.id}/commit`, { amount: '3' }, 200)
    const other = await made('/v1/reservations', { wallet, amount: '10' })
    await twice(t, `/v1/reservations/${other.id}/release`, undefined, 200)
    const charged = await twice(t, '/v1/charges', { wallet, amount: '7' }, 201)
    await twice(t, `/v1/charges/${charged.body.id}/refund`, { amount: '2' }, 201)
    const granted = await twice(t, '/v1/grants', { wallet, kind: 'bonus', amount: '4' }, 201)
    await twice(t, `/v1/grants/${granted.body.id}/void`, { reason: 'x' }, 200, admin)
    await twice(t, '/v1/adjustments', { wallet, amount: '5', reason: 'x' }, 201, admin)
    t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '994', held: '0' }, 'each once')
  })

  t.test('refusals are remembered too: the same answer when the reason is gone', async (t) => {
    const wallet = await service.wallet()
    const key = { idempotencyKey: randomUUID() }
    const refused = await post('/v1/reservations', { wallet, amount: '5' }, key)
    t.equal(refused.status, 402)
    await made('/v1/grants', { wallet, kind: 'bonus', amount: '50' })
    const again = await post('/v1/reservations', { wallet, amount: '5' }, key)
    t.equal(again.text, refused.text)
    t.equal(again.headers[REPLAYED], 'true')
    t.match(again.headers['content-type'], /^application\/problem\+json/)
    t.equal((await post('/v1/reservations', { wallet, amount: '5' })).status, 201, 'a new key is a new question')

    await twice(t, '/v1/charges', { wallet: 'user:nobody', amount: '1' }, 404)
    await twice(t, '/v1/charges', { wallet, amount: '100001' }, 422)
    await twice(t, '/v1/charges', { wallet, amount: '1000' }, 402)
    const released = await made('/v1/reservations', { wallet, amount: '1' })
    await made(`/v1/reservations/${released.id}/release`)
    await twice(t, `/v1/reservations/${released.id}/commit`, { amount: '1' }, 409)
    // A wallet that comes into being later changes nothing of the answer.
    const unborn = { idempotencyKey: randomUUID() }
    const nobody = await post('/v1/grants', { wallet: 'user:unborn', kind: 'bonus', amount: '1' }, unborn)
    t.equal(nobody.status, 404)
    await service.wallet(undefined, { owner: 'user:unborn' })
    t.equal((await post('/v1/grants', { wallet: 'user:unborn', kind: 'bonus', amount: '1' }, unborn)).text, nobody.text)
  })

  t.test('the record comes before the state', async (t) => {
    const wallet = await service.wallet('100')
    const key = { idempotencyKey: randomUUID() }
    const reserved = await post('/v1/reservations', { wallet, amount: '5' }, key)
    await made(`/v1/reservations/${reserved.body.id}/release`)
    await made(`/v1/wallets/${wallet}/freeze`, { reason: 'x' }, admin)
    t.equal((await post('/v1/reservations', { wallet, amount: '5' }, key)).text, reserved.text, 'released and frozen meanwhile')
    await made('/v1/adjustments', { wallet, amount: '-100', reason: 'x' }, admin)
    await made(`/v1/wallets/${wallet}/close`, { reason: 'x' }, admin)
    t.equal((await post('/v1/reservations', { wallet, amount: '5' }, key)).text, reserved.text, 'closed meanwhile')
  })

  t.test('another body under the same key is 422, and does nothing', async (t) => {
    const wallet = await service.wallet('100')
    const key = { idempotencyKey: randomUUID() }
    const first = await post('/v1/charges', { wallet, amount: '5' }, key)
    const other = await post('/v1/charges', { wallet, amount: '6' }, key)
    t.equal(other.status, 422)
    t.equal(other.body.code, 'idempotency_key_reused')
    t.notOk(REPLAYED in other.headers)
    t.equal((await post('/v1/charges', { wallet, amount: '5' }, key)).text, first.text, 'the first is still remembered')
    const elsewhere = await post('/v1/charges', { wallet: await service.wallet('100'), amount: '5' }, key)
    t.equal(elsewhere.body.code, 'idempotency_key_reused', 'another wallet is another body')
    t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '95' })

    // The path belongs to the fingerprint.
    const [one, two] = await Promise.all(times(2, () => made('/v1/reservations', { wallet, amount: '1' })))
    const path = { idempotencyKey: randomUUID() }
    t.equal((await post(`/v1/reservations/${one.id}/release`, undefined, path)).status, 200)
    t.equal((await post(`/v1/reservations/${two.id}/release`, undefined, path)).body.code, 'idempotency_key_reused')
  })

  t.test('a key belongs to a client and an operation', async (t) => {
    const wallet = await service.wallet('100')
    const theirs = await service.wallet('100', { key: service.other.key })
    const key = { idempotencyKey: randomUUID() }
    const mine = await post('/v1/charges', { wallet, amount: '5' }, key)
    t.equal(mine.status, 201)
    const other = await post('/v1/charges', { wallet: theirs, amount: '5' }, { ...key, key: service.other.key })
    t.equal(other.status, 201, 'another client has keys of its own')
    t.notOk(REPLAYED in other.headers)
    const stolen = await post('/v1/charges', { wallet, amount: '5' }, { idempotencyKey: randomUUID(), key: service.other.key })
    t.equal(stolen.status, 404)
    const sameBody = await post('/v1/charges', { wallet, amount: '5' }, { ...key, key: service.other.key })
    t.equal(sameBody.status, 422, 'its own record answers, not mine')
    t.notMatch(sameBody.text, mine.body.id)
    t.equal((await post('/v1/reservations', { wallet, amount: '5' }, key)).status, 201, 'another operation is another key')
    const second = await service.newKey(['usage:write'])
    t.equal(
      (await post('/v1/charges', { wallet, amount: '5' }, { ...key, key: second })).text,
      mine.text,
      'two API keys of one client share',
    )
    const reader = await service.newKey(['wallets:read'])
    t.equal(
      (await post('/v1/charges', { wallet, amount: '5' }, { ...key, key: reader })).status,
      403,
      'who may not charge may not look either',
    )
  })

  t.test('a key is 1 to 255 printable ASCII characters, bare or quoted', async (t) => {
    const wallet = await service.wallet('100')
    const charge = (idempotencyKey: string, headers = {}) => post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey, headers })
    for (const good of ['a', ' ~'.trim(), 'x'.repeat(255), 'with space', `"${'q'.repeat(255)}"`, 'a"b', '{}', "'", '0']) {
      t.equal((await charge(good)).status, 201, JSON.stringify(good.slice(0, 20)))
    }
    const bare = await charge('the-same')
    t.equal((await charge('"the-same"')).text, bare.text, 'quoted is the same key as bare')
    for (const bad of ['', ' ', '""', '" "', 'x'.repeat(256), `"${'x'.repeat(256)}"`, 'é', 'a\tb', 'a\u0001b', 'a\u007fb']) {
      const answer = await charge(bad)
      t.equal(answer.status, 400, JSON.stringify(bad.slice(0, 20)))
      t.ok(['idempotency_key_invalid', 'idempotency_key_missing', 'invalid_request'].includes(answer.body.code), answer.body.code)
    }
    t.equal((await post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: null })).body.code, 'idempotency_key_missing')
    t.equal(
      (await service.query('select count(*)::int as n from charges where wallet_id = $1', [wallet.slice(4)]))[0].n,
      10,
      'no refused one did anything',
    )
  })

  t.test('what never reached the lane is not remembered', async (t) => {
    const wallet = await service.wallet('100')
    const good = { wallet, amount: '1' }
    const reader = await service.newKey(['wallets:read'])
    const attempts: Record<string, (idempotencyKey: string) => Promise<Answer>> = {
      400: (idempotencyKey) => post('/v1/charges', { ...good, nonsense: 1 }, { idempotencyKey }),
      401: (idempotencyKey) => post('/v1/charges', good, { idempotencyKey, key: null }),
      403: (idempotencyKey) => post('/v1/charges', good, { idempotencyKey, key: reader }),
      413: (idempotencyKey) => post('/v1/charges', `{"text":"${'x'.repeat(70_000)}"}`, { idempotencyKey }),
      415: (idempotencyKey) => post('/v1/charges', JSON.stringify(good), { idempotencyKey, headers: { 'content-type': 'text/plain' } }),
    }
    for (const [status, attempt] of Object.entries(attempts)) {
      const idempotencyKey = `not-stored-${status}`
      t.equal((await attempt(idempotencyKey)).status, Number(status))
      const answer = await post('/v1/charges', good, { idempotencyKey })
      t.equal(answer.status, 201)
      t.notOk(REPLAYED in answer.headers, `${status} left no record`)
    }
    const proxy = await createProxy(t, service.url)
    const behind = await service.another({ url: proxy.url })
    await behind.get('/v1/wallets')
    await proxy.set('down')
    t.equal((await behind.post('/v1/charges', good, { idempotencyKey: 'not-stored-503' })).status, 503)
    await proxy.set('pass')
    const later = await behind.post('/v1/charges', good, { idempotencyKey: 'not-stored-503' })
    t.equal(later.status, 201)
    t.notOk(REPLAYED in later.headers, '503 left no record')
  })

  t.test('the fingerprint sees values, not spelling', async (t) => {
    const wallet = await service.wallet('1000')
    const { owner } = (await service.get(`/v1/wallets/${wallet}`)).body
    const text = JSON.stringify({ wallet, amount: '1.5', reference: 'Grüße/🌍', metadata: { b: 1, a: true, c: '"' } })
    const same = [
      `{"amount":"1.5","metadata":{"c":"\\"","a":true,"b":1},"reference":"Grüße/🌍","wallet":"${wallet}"}`,
      `  {\n "wallet" : "${wallet}",\t"amount":"1.5", "reference":"Gr\\u00fc\\u00DFe\\/\\ud83c\\udf0d","metadata":{"b":1.0,"a":true,"c":"\\u0022"}}\r\n`,
      `{"\\u0077allet":"${wallet}","amount":"\\u0031.5","reference":"Grüße/🌍","metadata":{"b":1e0,"a":true,"c":"\\""}}`,
      // Defaults that are said out loud.
      JSON.stringify({ ...JSON.parse(text), basis: 'actual', force: false, payees: [] }),
    ]
    const key = { idempotencyKey: randomUUID() }
    const first = await post('/v1/charges', text, key)
    t.equal(first.status, 201)
    for (const body of same) {
      const answer = await post('/v1/charges', body, key)
      t.equal(answer.text, first.text, body)
      t.equal(answer.headers[REPLAYED], 'true')
    }
    const other: object[] = [
      { amount: '1.500001' },
      { amount: '1.50' },
      { reference: 'Grüße/🌎' },
      { reference: 'grüße/🌍' },
      { reference: undefined },
      { metadata: { b: 2, a: true, c: '"' } },
      { metadata: { b: '1', a: true, c: '"' } },
      { metadata: { b: 1, a: true } },
      { metadata: { b: 1, a: true, c: '"', d: 'e' } },
      { metadata: {} },
      { metadata: undefined },
      { basis: 'estimated' },
      { resource_owner: 'user:somebody' },
      { occurred_at: '2026-01-01T00:00:00Z' },
      { payees: [{ wallet: 'user:x', share: '0.1' }] },
      { wallet: owner },
    ]
    for (const change of other) {
      const answer = await post('/v1/charges', { ...JSON.parse(text), ...change }, key)
      t.equal(answer.body.code, 'idempotency_key_reused', JSON.stringify(change))
    }
    t.comment(`${same.length} spellings of one body, ${other.length} other bodies`)
    t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '998.5' })
  })

  t.test('/v1/batch and the single routes share their keys', async (t) => {
    const wallet = await service.wallet('100')
    const single = await post('/v1/charges', { wallet, amount: '2' }, { idempotencyKey: 'shared-1' })
    const { results } = await made('/v1/batch', {
      commands: [
        { operation: 'charge', idempotency_key: 'shared-1', body: { wallet, amount: '2' } },
        { operation: 'charge', idempotency_key: 'shared-1', body: { wallet, amount: '3' } },
        { operation: 'charge', idempotency_key: 'shared-2', body: { wallet, amount: '4' } },
        { operation: 'charge', idempotency_key: 'shared-2', body: { wallet, amount: '4' } },
        { operation: 'reserve', idempotency_key: 'shared-2', body: { wallet, amount: '4' } },
      ],
    })
    t.same(
      results.map((result: { status: number; replayed: boolean }) => [result.status, result.replayed]),
      [
        [201, true],
        [422, false],
        [201, false],
        [201, true],
        [201, false],
      ],
    )
    t.same(results[0].body, single.body)
    t.same(results[3].body, results[2].body)
    const later = await post('/v1/charges', { wallet, amount: '4' }, { idempotencyKey: 'shared-2' })
    t.equal(later.headers[REPLAYED], 'true')
    t.equal(later.text, JSON.stringify(results[2].body), 'the bytes of the batch')
    const bare = await made('/v1/reservations', { wallet, amount: '1' })
    await made(`/v1/reservations/${bare.id}/release`, undefined, { idempotencyKey: 'shared-4' })
    const again = await made('/v1/batch', { commands: [{ operation: 'release', idempotency_key: 'shared-4', reservation_id: bare.id }] })
    t.match(again.results, [{ status: 200, replayed: true }], 'a release without a body is the same over both')
    const release = await made('/v1/batch', {
      commands: [{ operation: 'release', idempotency_key: 'shared-3', reservation_id: results[4].body.id, body: {} }],
    })
    t.equal(release.results[0].status, 200)
    const alone = await post(`/v1/reservations/${results[4].body.id}/release`, {}, { idempotencyKey: 'shared-3' })
    t.equal(alone.headers[REPLAYED], 'true', 'a release with an empty body is the same over both')
  })

  t.test('an absent body and an empty one are the same release', async (t) => {
    const wallet = await service.wallet('100')
    const hold = await made('/v1/reservations', { wallet, amount: '1' })
    const key = { idempotencyKey: randomUUID() }
    const first = await post(`/v1/reservations/${hold.id}/release`, undefined, key)
    t.equal(first.status, 200)
    for (const body of ['{}', 'null']) {
      const again = await post(`/v1/reservations/${hold.id}/release`, body, key)
      t.equal(again.headers[REPLAYED], 'true', `${body} means nothing too`)
    }
  })

  t.test('usage events are told apart by source and id', async (t) => {
    const wallet = await service.wallet('100')
    const event = { source: 'worker-1', id: 'e-1', wallet, amount: '2' }
    const send = async (events: object[], options: Send = {}) => (await made('/v1/events', { events }, options)).results
    const outcomes = (results: { outcome: string }[]) => results.map((result) => result.outcome)
    const first = await send([event, event, { ...event, id: 'e-2' }, { ...event, source: 'worker-2' }])
    t.same(outcomes(first), ['charged', 'duplicate', 'charged', 'charged'])
    t.same(first[1].body, first[0].body, 'a duplicate tells the same')
    t.same(outcomes(await send([event])), ['duplicate'])
    const changed = await send([{ ...event, amount: '3' }])
    t.match(changed[0], { outcome: 'refused', status: 422, body: { code: 'idempotency_key_reused' } })
    t.same(
      outcomes(await send([{ ...event, wallet: await service.wallet('5', { key: service.other.key }) }], { key: service.other.key })),
      ['charged'],
    )
    const cloud = { specversion: '1.0', type: 'farebox.usage', source: 'worker-1', id: 'e-1', subject: wallet, data: { amount: '2' } }
    const structured = await service.post('/v1/events', cloud, { headers: { 'content-type': 'application/cloudevents+json' } })
    t.same(outcomes(structured.body.results), ['duplicate'], 'a CloudEvent is the same event')
    const batched = await service.post('/v1/events', [cloud, { ...cloud, id: 'e-3' }], {
      headers: { 'content-type': 'application/cloudevents-batch+json' },
    })
    t.same(outcomes(batched.body.results), ['duplicate', 'charged'])
    // The identity is a pair, not a text: neither half can run into the other, nor into a key.
    t.same(
      outcomes(
        await send([
          { ...event, source: 'a', id: 'b","c' },
          { ...event, source: 'a","b', id: 'c' },
        ]),
      ),
      ['charged', 'charged'],
    )
    t.equal((await post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: '["worker-1","e-1"]' })).status, 201)
    t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '87' }, '6 events and a charge')
    const [one, two] = await Promise.all(
      times(2, () => service.made('/v1/events', { events: times(500, (i) => ({ ...event, id: `many-${i}`, amount: '0.01' })) })),
    )
    const all = [...outcomes(one.results), ...outcomes(two.results)]
    t.equal(all.filter((outcome) => outcome === 'charged').length, 500)
    t.equal(all.filter((outcome) => outcome === 'duplicate').length, 500)
    t.comment('500 events sent twice at once: 500 charged, 500 duplicates')
  })

  t.test('an answer is kept for 30 days, the key for good', async (t) => {
    const wallet = await service.wallet('100')
    const key = { idempotencyKey: randomUUID() }
    await made('/v1/charges', { wallet, amount: '2' }, key)
    const old = { idempotencyKey: randomUUID() }
    await made('/v1/charges', { wallet, amount: '3' }, old)
    await service.query(`update idempotency_keys set created_at = created_at - interval '30 days 1 s' where key = $1`, [old.idempotencyKey])
    await service.query(`update clients set created_at = created_at - interval '40 days'`)
    const prisma = createPrisma(service.url)
    t.teardown(() => prisma.$disconnect())
    // More in one second than a statement clears, and a night in which nothing happened.
    const many = 2 * SLICE + 7
    await service.query(
      `insert into idempotency_keys (client_id, operation, key, fingerprint, status, body, effect_id, wallet_id, created_at)
       select client_id, operation, key || n, fingerprint, status, body, effect_id, wallet_id, now() - interval '35 days' from idempotency_keys,
         generate_series(1, $1::int) n where key = $2`,
      [many, old.idempotencyKey],
    )
    t.equal(await clearOldAnswers(retentionStore(prisma)), 1 + many)
    t.equal(await clearOldAnswers(retentionStore(prisma)), 0)
    await service.query(`delete from idempotency_keys where created_at < now() - interval '34 days'`)
    const answer = await post('/v1/charges', { wallet, amount: '3' }, old)
    t.equal(answer.status, 409)
    t.equal(answer.body.code, 'idempotency_answer_expired')
    t.equal((await post('/v1/charges', { wallet, amount: '4' }, old)).body.code, 'idempotency_key_reused')
    t.equal((await post('/v1/charges', { wallet, amount: '2' }, key)).headers[REPLAYED], 'true', 'younger ones are still told')
    t.match((await service.get(`/v1/wallets/${wallet}/balance`)).body, { balance: '95' }, 'nothing was done again')
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
