import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { encodeCursor } from '../../src/http/page.ts'
import { POOLS } from '../../src/pricing/pools.ts'
import { type Alias, EMPTY_PRICE_BOOK, type ModelPrice, type PriceBook } from '../../src/pricing/prices.ts'
import { resolveModel } from '../../src/pricing/resolve.ts'
import { type Body, createService, times } from '../helpers/service.ts'

/** What somebody can do to prices and usage with bodies that are large, deep, absurd or about names. */

/** The largest price that can be set, and all that makes it dearer. */
const DEAREST = '999999999.999999999999'

t.test('raw usage', async (t) => {
  const service = await createService(t)
  const { made, post, get } = service
  const wallet = await service.wallet('1000')
  const charge = (body: unknown, more: object = {}) =>
    post('/v1/charges', { wallet, model: 'gpt-4o', raw_usage: { format: 'openai.chat', body }, ...more })
  const counts = { prompt_tokens: 1_000, completion_tokens: 0 }

  t.test('is 16 KiB at most, alone and in many', async (t) => {
    const filled = (length: number, char = 'x') => {
      const bare = JSON.stringify({ ...counts, id: '' }).length
      return { ...counts, id: char.repeat(length - bare) }
    }
    const largest = filled(16_384)
    t.equal(JSON.stringify(largest).length, 16_384)
    const taken = await charge(largest)
    t.equal(taken.status, 201)
    t.same((await get(`/v1/charges/${taken.body.id}`)).body.raw_usage.body, largest)
    t.equal((await charge(filled(16_384, '€'))).status, 201, 'characters, not bytes')
    for (const body of [filled(16_385), filled(60_000)]) {
      t.match(await charge(body), { status: 400, body: { errors: [{ pointer: '/raw_usage/body' }] } })
    }
    t.equal((await charge(filled(70_000))).status, 413)
    // A control character is one in memory and six in JSON.
    t.equal((await charge({ ...counts, id: '\u0001'.repeat(3_000) })).status, 400)
    const events = times(240, (i) => ({
      source: 's',
      id: `${i}`,
      wallet,
      model: 'gpt-4o',
      raw_usage: { format: 'openai.chat', body: largest },
    }))
    const { results } = await made('/v1/events', { events })
    t.ok(
      results.every(({ status }: Body) => status === 201),
      '240 of the largest at once',
    )
    const long = [...events.slice(0, 5), { ...events[5], raw_usage: { format: 'openai.chat', body: filled(16_385) } }]
    t.match(await post('/v1/events', { events: long }), { status: 400, body: { errors: [{ pointer: '/events/5/raw_usage/body' }] } })
  })

  t.test('is as deep as any body may be', async (t) => {
    const nested = (depth: number): object => (depth === 0 ? {} : { deeper: nested(depth - 1) })
    // The body of the request, raw_usage and its body are the first three levels.
    const deep = { ...counts, more: nested(28) }
    const taken = await charge(deep)
    t.equal(taken.status, 201)
    t.same((await get(`/v1/charges/${taken.body.id}`)).body.raw_usage.body, deep)
    const refused = await charge({ ...counts, more: nested(29) })
    t.match(refused, { status: 400, body: { code: 'invalid_request', errors: [{ message: /nested deeper/ }] } })
    const objects = `{"prompt_tokens":1,"completion_tokens":0,"a":${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}}`
    const lists = `{"prompt_tokens":1,"completion_tokens":0,"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`
    for (const body of [objects, lists]) {
      const text = `{"wallet":"${wallet}","model":"gpt-4o","raw_usage":{"format":"openai.chat","body":${body}}}`
      t.equal((await post('/v1/charges', text)).status, 400)
    }
    // Many small things instead of a deep one.
    const wide = { ...counts, ids: times(4_000, (i) => i % 10) }
    t.equal((await charge(wide)).status, 201)
  })

  t.test('has names that mean something to JavaScript', async (t) => {
    const raw = (body: string, more = '') =>
      post('/v1/charges', `{"wallet":"${wallet}","model":"gpt-4o","raw_usage":{"format":"openai.chat","body":${body}}${more}}`)
    for (const poison of [
      '{"__proto__":{"prompt_tokens":1}}',
      '{"\\u005f_proto__":1}',
      '{"constructor":{"prototype":{"x":1}}}',
      '{"a":{"__proto__":null}}',
    ]) {
      t.equal((await raw(`{"prompt_tokens":1,"completion_tokens":0,"more":${poison}}`)).status, 400, poison)
      t.equal((await raw('{"prompt_tokens":1,"completion_tokens":0}', `,"metadata":${poison}`)).status, 400, `metadata ${poison}`)
      t.equal((await raw(poison)).status, 400)
    }
    const names = { constructor: 1, toString: 'x', hasOwnProperty: null, valueOf: 2, prototype: {}, toJSON: 'no function', length: -1 }
    const taken = await charge({ ...counts, ...names })
    t.equal(taken.status, 201)
    t.same(taken.body.raw_usage.body, { ...counts, ...names })
    const { toJSON: _, prototype: __, hasOwnProperty: ___, ...flat } = names
    const kept = await charge(counts, { metadata: flat })
    t.same(JSON.stringify(kept.body.metadata), JSON.stringify(flat))
    // What is inherited is not reported.
    for (const body of [{ constructor: 5, completion_tokens: 1 }, { toString: 5 }]) t.equal((await charge(body)).status, 400)
    for (const usage of ['{"constructor":1}', '{"toString":1}', '{"__proto__":{"input_tokens":1}}', '{"input_tokens":1,"valueOf":1}']) {
      t.equal((await post('/v1/charges', `{"wallet":"${wallet}","model":"gpt-4o","usage":${usage}}`)).status, 400, usage)
    }
    for (const format of [
      '__proto__',
      'constructor',
      'toString',
      'hasOwnProperty',
      'openai.chat ',
      'OPENAI.CHAT',
      '',
      1,
      null,
      {},
      ['openai.chat'],
    ]) {
      t.equal(
        (await post('/v1/charges', { wallet, model: 'gpt-4o', raw_usage: { format, body: counts } })).status,
        400,
        JSON.stringify(format),
      )
    }
    t.notOk('prompt_tokens' in {}, 'no prototype was touched')
  })

  t.test('counts what cannot be counted', async (t) => {
    const before = (await get(`/v1/wallets/${wallet}`)).body
    const raw = (count: string) =>
      post(
        '/v1/charges',
        `{"wallet":"${wallet}","model":"gpt-4o","raw_usage":{"format":"openai.chat","body":{"prompt_tokens":${count},"completion_tokens":0}}}`,
      )
    for (const count of [
      'NaN',
      'Infinity',
      '-0.5',
      '-1',
      '1e999',
      '-1e999',
      '1e-400',
      '9007199254740992',
      '9007199254740993',
      '1e16',
      '0x10',
      '1.0000001',
      '"5"',
      'true',
      '[]',
      '{}',
      'null',
    ]) {
      const answer = await raw(count)
      // 1e-400 is a zero by the time anybody sees it.
      if (count === '1e-400') t.equal(answer.body.cost, '0')
      else t.equal(answer.status, 400, count)
    }
    t.equal((await raw('1e3')).status, 201, 'a thousand, however it is spelled')
    for (const count of ['1000000001', '9007199254740991', '1e15']) {
      const answer = await raw(count)
      t.match(
        answer,
        { status: 400, body: { errors: [{ pointer: '/raw_usage/body', message: /more than 1000000000 input_tokens/ }] } },
        count,
      )
    }
    // Parts that only together are too much.
    const parts = { inputTokens: 600_000_000, cacheReadInputTokens: 0, cacheWriteInputTokens: 9_007_199_254_740_991, outputTokens: 0 }
    t.equal((await post('/v1/charges', { wallet, model: 'gpt-4o', raw_usage: { format: 'aws', body: parts } })).status, 400)
    const { owner } = (await get(`/v1/wallets/${wallet}`)).body
    for (let i = 0; i < 3; i += 1)
      t.equal((await charge({ ...counts, prompt_tokens: 1_000_000_000 }, { resource_owner: owner })).status, 201)
    const totals = await get(`/v1/wallets/${wallet}/usage`)
    t.equal(totals.status, 200)
    t.ok(totals.body.total.usage.input_tokens > 3_000_000_000, 'totals go on')
    t.equal(
      (await get(`/v1/wallets/${wallet}`)).body.balance,
      (Number(before.balance) - 0.3).toFixed(1),
      'one charge, and some that were free',
    )
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

t.test('the most of everything at the dearest price', async (t) => {
  const service = await createService(t)
  const { made, post, get } = service
  const admin = { key: service.adminKey }
  const wallet = await service.wallet('1000')
  const { owner } = (await get(`/v1/wallets/${wallet}`)).body
  const reason = 'x'
  const force = true
  const rates = Object.fromEntries(POOLS.map((pool) => [pool, DEAREST]))
  const usage = Object.fromEntries(POOLS.map((pool) => [pool, 1_000_000_000]))
  await made(
    '/v1/admin/prices',
    { model: 'dear', provider: 'p', rates, variants: [{ above_prompt_tokens: 1, rates }], reason, force },
    admin,
  )
  await made('/v1/admin/markups', { percent: DEAREST, reason, force }, admin)
  await made('/v1/admin/exchange-rates', { currency: 'USD', purpose: 'consumption', credits_per_unit: DEAREST, reason, force }, admin)
  await made('/v1/admin/operations', { operation: 'dear', flat_cost: '1000000000000', unit_cost: '1000000000000', reason, force }, admin)
  const work = { model: 'dear', usage, operation: 'dear', units: 1_000_000 }
  const hold = await made('/v1/reservations', { wallet, amount: '1' })

  t.test('is exact, and refused', async (t) => {
    const quote = await made('/v1/quotes', work)
    // 15 pools per million and 10 for one, at a price of (10²¹ − 1) / 10¹² dollars and (10²¹ − 1) × (10²¹ + 10¹⁴ − 1) / 10²⁶ credits a dollar.
    const dearest = 10n ** 21n - 1n
    const ofUsage = 10n ** 9n * (15n + 10n * 10n ** 6n) * dearest * dearest * (dearest + 10n ** 14n)
    const ofOperation = (10n ** 18n + 10n ** 12n) * 10n ** 44n
    const digits = (ofUsage + ofOperation).toString()
    t.equal(quote.exact, `${digits.slice(0, -44)}.${digits.slice(-44)}`.replace(/0+$/, ''), 'to the last of its 44 decimals')
    for (const [path, body] of [
      ['/v1/charges', { wallet, ...work }],
      ['/v1/reservations', { wallet, ...work }],
      ['/v1/reservations', { wallet, ...work, partial: true }],
      [`/v1/reservations/${hold.id}/commit`, work],
      [`/v1/reservations/${hold.id}/commit`, { ...work, final: false }],
    ] as const) {
      const answer = await post(path, body)
      t.equal(answer.status, 422, path)
      t.ok(['charge_exceeds_maximum', 'commit_exceeds_hold_factor'].includes(answer.body.code), answer.body.code)
    }
    t.match(await made('/v1/check', { wallet, ...work }), { allowed: false, reason: 'charge_exceeds_maximum' })
    const { results } = await made('/v1/events', { events: [{ source: 's', id: '1', wallet, ...work }] })
    t.match(results, [{ status: 422, body: { code: 'charge_exceeds_maximum' } }])
  })

  t.test('also when an admin forces it', async (t) => {
    for (const body of [work, { ...work, final: false }, { model: 'dear', usage }, { operation: 'dear', units: 1_000_000 }]) {
      const answer = await post(`/v1/reservations/${hold.id}/commit`, { ...body, force }, admin)
      t.equal(answer.status, 422, JSON.stringify(body).slice(0, 60))
      t.equal(answer.body.code, 'commit_exceeds_hold_factor')
    }
    t.equal((await post('/v1/charges', { wallet, ...work, force }, admin)).body.code, 'charge_exceeds_maximum')
    const { audits } = (await service.query(`select count(*)::int as audits from audit_log where action = 'charge.force'`))[0]
    t.equal(audits, 0)
    // A trillion is the most that one charge can be.
    const forced = await made(`/v1/reservations/${hold.id}/commit`, { amount: '1000000000000', force, final: false }, admin)
    t.match(forced, { cost: '1000000000000', charged: '1000', uncollected: '999999999000' })
    t.equal((await service.query(`select count(*)::int as n from audit_log where action = 'charge.force'`))[0].n, 2)
  })

  t.test('and nothing where the owner is exempt', async (t) => {
    const free = await made('/v1/charges', { wallet, ...work, resource_owner: owner })
    t.match(free, { cost: '0', usage })
    t.match((await get(`/v1/charges/${free.id}/recompute`)).body, { matches: true, recomputed: '0' })
    t.match((await get(`/v1/charges/${free.id}`)).body.quote, { exempt: true, cost: '0' })
    t.equal((await get(`/v1/wallets/${wallet}/usage`)).status, 200)
  })

  t.test('captures add up to no more than their sum can be', async (t) => {
    await made('/v1/admin/charge-policies', { minimum_charge: '0', maximum_charge: '1000000000000', reason }, admin)
    const rich = await service.wallet()
    await made('/v1/grants', { wallet: rich, kind: 'bonus', amount: '1000000000000' })
    const large = await made('/v1/reservations', { wallet: rich, amount: '1000000000000' })
    const commit = (amount: string) => post(`/v1/reservations/${large.id}/commit`, { amount, final: false })
    for (let i = 0; i < 9; i += 1) t.equal((await commit('1000000000000')).status, 200)
    t.equal((await commit('0.000001')).body.code, 'charge_exceeds_maximum', 'a tenth would not fit a BIGINT')
    t.equal((await commit('0')).status, 200)
  })

  t.test('no column overflowed', async (t) => {
    t.notMatch(service.logText(), /22003|out of range/)
    t.same(await service.unsound(), [])
  })
})

t.test('names', async (t) => {
  const service = await createService(t)
  const { made, post, get } = service
  const admin = { key: service.adminKey }
  const wallet = await service.wallet('1000')
  const usage = { input_tokens: 1_000 }
  const quote = async (model: string, more: object = {}) => (await post('/v1/quotes', { model, usage, ...more })).body
  const price = (body: object) => made('/v1/admin/prices', { provider: 'p', reason: 'x', rates: { input_tokens: '1' }, ...body }, admin)

  t.test('of models are names and no patterns', async (t) => {
    for (const model of [
      'gpt-4o*',
      'gpt-4o(',
      '.*',
      '^gpt',
      'gpt-4o$',
      '[a-z]+',
      'gpt\\d',
      'a|b',
      'gpt-4o?',
      "x'; drop table charges; --",
      '%',
      '_',
      ' ',
      '',
      'x'.repeat(201),
      '-x',
      '.',
      '/x',
      '../gpt-4o',
      'gpt-4o\n',
      'gpt-4o\u0000',
      'ｇｐｔ-4o',
      'gpt-4о',
    ]) {
      const answer = await post('/v1/quotes', { model, usage })
      t.equal(answer.status, 400, JSON.stringify(model).slice(0, 40))
      t.equal(answer.body.errors[0].pointer, '/model')
      t.equal((await get(`/v1/models?model=${encodeURIComponent(model)}`)).status, 400)
      t.equal((await post('/v1/admin/prices', { model, provider: 'p', rates: { input_tokens: '1' }, reason: 'x' }, admin)).status, 400)
    }
    for (const model of [
      'gpt.4o',
      'a+',
      'gpt-4o.',
      'x'.repeat(200),
      'constructor',
      'toString',
      'hasOwnProperty',
      'valueOf',
      'openai/',
      'a//b',
      'models/',
      'a:b@c+d',
    ]) {
      t.equal((await quote(model)).code, 'unknown_model', model.slice(0, 40))
    }
    // What looks like a pattern in an alias is the text that it is.
    await price({
      model: 'literal',
      aliases: [{ contains: 'a.+b' }, { starts_with: '.*' }, { ends_with: '$' }, { contains: '[x]' }, { equals: 'l.t' }],
    })
    for (const model of ['axxb', 'aab', 'anything', 'x', 'lit', 'l-t']) t.equal((await quote(model)).code, 'unknown_model', model)
    for (const model of ['xa.+bx', 'l.t', 'literal']) t.equal((await quote(model)).cost, '0.12', model)
    await price({ model: 'y'.repeat(200), aliases: times(50, (i) => ({ contains: `${'z'.repeat(190)}${i}` })) })
    t.equal((await quote('y'.repeat(200))).cost, '0.12')
    t.equal((await made('/v1/charges', { wallet, model: 'y'.repeat(200), usage })).model, 'y'.repeat(200))
  })

  t.test('an alias that matches nearly everything takes nothing from those who have a name', async (t) => {
    const before = (await get('/v1/models?limit=200')).body.data
    await price({ model: 'greedy', rates: { input_tokens: '9' }, aliases: [{ contains: 'e' }] })
    for (const { id, provider } of before) {
      if (id.length < 200) t.match((await get(`/v1/models?model=${encodeURIComponent(id)}`)).body.data, [{ id, provider }], id)
    }
    t.equal((await quote('claude-haiku-4-5-20251001')).cost, '0.12', 'an alias that says more counts more')
    t.equal((await quote('gpt-4o-2024-08-06')).cost, '0.3')
    t.equal((await quote('gpt-5.4', { usage: { output_tokens: 100 } })).cost, '0.18')
    t.equal((await quote('something-else')).cost, '1.08', 'what nobody else means it does mean')
    t.equal((await quote('nothing-of-its-kind', { provider: 'openai' })).code, 'unknown_model', 'of its own provider only')
    t.equal((await quote('openai/something')).code, 'unknown_model', 'however that is said')
    t.equal((await quote('no-match')).code, 'unknown_model')
    // A date that has no price is caught by it: what an admin says so broadly is meant so broadly.
    await price({ model: 'greedy', rates: { input_tokens: '9' } })
    t.equal((await quote('something-else')).code, 'unknown_model', 'and it is taken back by the next version')
  })

  t.test('ten thousand of them that nobody knows', async (t) => {
    const longest: number[] = []
    for (let round = 0; round < 10; round += 1) {
      const commands = times(1_000, (i) => ({
        operation: 'charge',
        idempotency_key: `unknown-${round}-${i}`,
        body: { wallet, model: `unknown-${round}-${i}-${'x'.repeat(150)}`, usage },
      }))
      const from = performance.now()
      const { results } = await made('/v1/batch', { commands })
      longest.push(performance.now() - from)
      t.ok(results.every(({ body }: Body) => body.code === 'unknown_model'))
    }
    const from = performance.now()
    for (let i = 0; i < 100; i += 1) await quote('gpt-4o')
    const each = (performance.now() - from) / 100
    t.ok(each < 100, 'known names are as fast as ever')
    t.comment(`slowest batch of 1,000 ${Math.round(Math.max(...longest))} ms; a quote of a known model afterwards ${each.toFixed(2)} ms`)
  })

  t.test('and a hundred thousand against a book of three thousand models', async (t) => {
    const models = new Map<string, ModelPrice[]>()
    const aliases = (i: number): Alias[] => [
      { startsWith: `family-${i}-` },
      { equals: `family-${i}-latest` },
      // Public lists have such for one model in fifty.
      ...(i % 50 === 0 ? [{ regex: `^family-${i}-\\d{4}-[a-z]{2}$` }, { all: [{ contains: `-${i}-` }, { endsWith: '-preview' }] }] : []),
    ]
    for (const i of times(3_000, (n) => n)) {
      const id = `family-${i}`
      models.set(id, [
        {
          ...{ id: `price ${i}`, effectiveFrom: 0, model: id, provider: `maker-${i % 50}`, rates: { input_tokens: '1' }, variants: [] },
          ...{
            aliases: aliases(i),
            contextWindow: null,
            maxOutputTokens: null,
            capabilities: [],
            costTier: 'cheap',
            enabled: true,
            source: 'x',
          },
        },
      ])
    }
    const book: PriceBook = { ...EMPTY_PRICE_BOOK, models }
    resolveModel(book, 1, 'warm', null)
    const sample = 2_000
    const started = performance.now()
    for (let i = 0; i < sample; i += 1) resolveModel(book, 1, `maker-${i % 50}/unknown-${i}-${'y'.repeat(150)}`, null)
    const each = (performance.now() - started) / sample
    t.ok(each < 100, `${each.toFixed(2)} ms for a name that is met for the first time`)
    const again = performance.now()
    for (let i = 0; i < sample; i += 1) resolveModel(book, 1, `maker-${i % 50}/unknown-${i}-${'y'.repeat(150)}`, null)
    const known = (performance.now() - again) / sample
    t.ok(known < each / 5, `${(known * 1_000).toFixed(1)} µs for one that was met before`)
    // With few models it costs little to send many names.
    const small: PriceBook = { ...EMPTY_PRICE_BOOK, models: new Map([...models].slice(0, 30)) }
    const before = await heapInUse()
    for (let i = 0; i < 100_000; i += 1) resolveModel(small, 1, `many-${i}-${'y'.repeat(150)}`, null)
    const grown = ((await heapInUse()) - before) / 1024 / 1024
    // All of them would be more than thirty. Both books are still in use.
    for (const kept of [book, small]) t.equal(resolveModel(kept, 1, 'nobody', null), undefined)
    t.ok(grown < 15, `${grown.toFixed(1)} MB more`)
    t.comment(`first time ${each.toFixed(3)} ms, again ${(known * 1_000).toFixed(1)} µs, ${grown.toFixed(1)} MB more after 100,000 names`)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

/** Bytes that are in use once what nobody needs is gone. */
async function heapInUse(): Promise<number> {
  setFlagsFromString('--expose-gc')
  await runInNewContext('gc')({ execution: 'async' })
  return process.memoryUsage().heapUsed
}

t.test('cursors of the new listings', async (t) => {
  const service = await createService(t)
  const { get, made } = service
  const admin = { key: service.adminKey }
  for (const percent of ['21', '22']) await made('/v1/admin/markups', { percent, reason: 'x' }, admin)
  for (const id of ['a', 'b']) await service.propose(`proposed-${id}`)
  const lists = {
    models: 'models',
    operations: 'operations',
    'admin/prices': 'versions.model',
    'admin/operations': 'versions.operation',
    'admin/markups': 'versions.markup',
    'admin/exchange-rates': 'versions.rate',
    'admin/price-quarantine': 'quarantine',
    'admin/price-imports': 'imports',
  }
  const absent = '00000000-0000-7000-8000-000000000000'
  let refused = 0
  for (const [path, name] of Object.entries(lists)) {
    const page = async (query: string) => get(`/v1/${path}?limit=1&${query}`, admin)
    const { next_cursor: cursor } = (await page('')).body
    t.ok(cursor, path)
    t.equal((await page(`cursor=${cursor}`)).status, 200)
    const [position, sum] = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    const forge = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    for (const bad of [
      forge([absent, sum]),
      forge([position, 'x'.repeat(12)]),
      forge([position, sum, 1]),
      forge([position]),
      forge([[position], sum]),
      forge([`${position}' or '1'='1`, sum]),
      forge([{ id: position }, sum]),
      forge({ 0: position, 1: sum }),
      forge(null),
      `${cursor}=`,
      ` ${cursor}`,
      cursor.slice(0, -2),
      cursor.slice(1),
      'x'.repeat(401),
      '',
    ]) {
      const answer = await page(`cursor=${bad}`)
      t.match(answer, { status: 400, body: { code: 'cursor_invalid' } }, `${path} ${bad.slice(0, 40)}`)
      refused += 1
    }
    t.equal((await page('cursor=%00')).status, 400)
    // Whoever knows how the sum is made can still only say where to go on, in the form that positions have.
    for (const position of ["x' or 1=1 --", '\u0000', 'a b', '{}', '*', 'x'.repeat(201)]) {
      const forged = encodeCursor({ name, scope: {} }, position)
      t.equal((await page(`cursor=${encodeURIComponent(forged)}`)).body.code, 'cursor_invalid')
      refused += 1
    }
  }
  const past = encodeCursor({ name: 'models', scope: {} }, 'zzz')
  t.match(
    await get(`/v1/models?cursor=${past}`, admin),
    { status: 200, body: { data: [], next_cursor: null } },
    'behind the last is nothing',
  )
  t.comment(`${refused} cursors refused in ${Object.keys(lists).length} listings`)
})
