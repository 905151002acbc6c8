import { gzipSync } from 'node:zlib'
import t from 'tap'
import { atSandbox } from '../helpers/sandbox.ts'
import { listen, sendRaw } from '../helpers/server.ts'
import { type Answer, createService } from '../helpers/service.ts'

/** Bodies, paths and queries that try to be taken for something else. Nothing is coerced, rounded or dropped, and nothing is a 500. */

const NOT_AMOUNTS: readonly (readonly [raw: string, what: string])[] = [
  ['1', 'a number'],
  ['1e3', 'an exponent'],
  ['1.5', 'a fraction'],
  ['0', 'zero as a number'],
  ['-1', 'a negative number'],
  ['9007199254740993', 'a number beyond double precision'],
  ['1e400', 'infinity'],
  ['"-1"', 'negative'],
  ['"+1"', 'a plus'],
  ['" 1"', 'a space before'],
  ['"1 "', 'a space after'],
  ['"1\\n"', 'a line end'],
  ['"1e3"', 'an exponent in a string'],
  ['"0x10"', 'hexadecimal'],
  ['"1_000"', 'an underscore'],
  ['"1,5"', 'a comma'],
  ['"٣"', 'an Arabic digit'],
  ['"１"', 'a full-width digit'],
  ['"1.0000001"', 'seven decimals'],
  ['"0.0000000"', 'seven zeros'],
  ['"01"', 'a leading zero'],
  ['".5"', 'no whole part'],
  ['"1."', 'no decimals'],
  ['""', 'nothing'],
  ['"NaN"', 'NaN'],
  ['"Infinity"', 'Infinity'],
  ['"1000000000000.000001"', 'above the largest'],
  ['"9223372036854775808"', 'above BIGINT'],
  ['"99999999999999999999999999999999999999"', 'far above BIGINT'],
  ['["1"]', 'an array'],
  ['{}', 'an object'],
  ['{"value":"1"}', 'an object with a value'],
  ['true', 'true'],
  ['null', 'null'],
]

/** What is no code of a promotion, as JSON. The long s is a capital S to whoever makes capitals of it. */
const NOT_CODES = [
  ...['""', '"AB"', '" CODE"', '"CODE "', '"CODE\\n"', '"CO DE"', '"-CODE"', '"C\u00d6DE"', '"\u017fPRING"', '"__proto__"', '"CODE%"'],
  ...[`"${'X'.repeat(41)}"`, `"' or '1'='1"`, '"CODE\\u0000"', '12345', 'true', 'null', '["CODE"]', '{"code":"CODE"}'],
]

/** What is no name of a plan, as JSON. */
const NOT_PLANS = [
  ...['""', '"Pro"', '"pro "', '" pro"', '"pro\\n"', '"1pro"', '"_pro"', '"pro-1"', '"pr\u00f6"', '"__proto__"', '"pro%"', '"pro;--"'],
  ...[`"p${'x'.repeat(50)}"`, `"' or '1'='1"`, '"pro\\u0000"', '1', 'true', 'null', '["pro"]', '{"plan":"pro"}'],
]

const PACKAGE = '"package":"p","name":"P","currency":"USD","reason":"x"'
const PLAN = '"plan":"p","name":"P","currency":"USD","reason":"x"'
const RULE = '"rule":"r","kind":"volume","currency":"USD","reason":"x"'

t.test('hostile input', async (t) => {
  const service = await createService(t)
  const wallet = await service.wallet('1000')
  const { id: hold } = await service.made('/v1/reservations', { wallet, amount: '10' })
  const { id: charge } = await service.made('/v1/charges', { wallet, amount: '10' })
  const admin = { key: service.adminKey }
  const state = async () => JSON.stringify((await service.get(`/v1/wallets/${wallet}`)).body)
  const before = await state()

  const topUp = (body: string) => service.send('PUT', `/v1/wallets/${wallet}/top-up`, body)

  /** Every field of money that a request can have: how to send it, and where the error has to point. */
  const money: Record<
    string,
    { send: (raw: string) => Promise<Answer>; pointer: string; zero?: boolean; sign?: boolean; nullable?: boolean }
  > = {
    reserve: { send: (raw) => service.post('/v1/reservations', `{"wallet":"${wallet}","amount":${raw}}`), pointer: '/amount' },
    check: { send: (raw) => service.post('/v1/check', `{"wallet":"${wallet}","amount":${raw}}`), pointer: '/amount' },
    commit: {
      send: (raw) => service.post(`/v1/reservations/${hold}/commit`, `{"amount":${raw},"final":false}`),
      pointer: '/amount',
      zero: true,
    },
    extend: { send: (raw) => service.post(`/v1/reservations/${hold}/extend`, `{"add_amount":${raw}}`), pointer: '/add_amount' },
    charge: { send: (raw) => service.post('/v1/charges', `{"wallet":"${wallet}","amount":${raw}}`), pointer: '/amount', zero: true },
    refund: { send: (raw) => service.post(`/v1/charges/${charge}/refund`, `{"amount":${raw}}`), pointer: '/amount' },
    grant: { send: (raw) => service.post('/v1/grants', `{"wallet":"${wallet}","kind":"bonus","amount":${raw}}`), pointer: '/amount' },
    adjust: {
      send: (raw) => service.post('/v1/adjustments', `{"wallet":"${wallet}","reason":"x","amount":${raw}}`, admin),
      pointer: '/amount',
      sign: true,
    },
    'overdraft limit': {
      send: (raw) => service.patch(`/v1/wallets/${wallet}`, `{"overdraft_limit":${raw}}`),
      pointer: '/overdraft_limit',
      zero: true,
    },
    threshold: {
      send: (raw) => service.patch(`/v1/wallets/${wallet}`, `{"low_balance_threshold":${raw}}`),
      pointer: '/low_balance_threshold',
      zero: true,
      nullable: true,
    },
    'opening limit': {
      send: (raw) => service.post('/v1/wallets', `{"owner":"user:new","overdraft_limit":${raw}}`),
      pointer: '/overdraft_limit',
      zero: true,
    },
    'a command of a batch': {
      send: (raw) =>
        service.post(
          '/v1/batch',
          `{"commands":[{"operation":"charge","idempotency_key":"k","body":{"wallet":"${wallet}","amount":${raw}}}]}`,
        ),
      pointer: '/commands/0/body/amount',
      zero: true,
    },
    event: {
      send: (raw) => service.post('/v1/events', `{"events":[{"source":"s","id":"1","wallet":"${wallet}","amount":${raw}}]}`),
      pointer: '/events/0/amount',
      zero: true,
    },
    CloudEvent: {
      send: (raw) =>
        service.post(
          '/v1/events',
          `{"specversion":"1.0","type":"farebox.usage","source":"s","id":"1","subject":"${wallet}","data":{"amount":${raw}}}`,
        ),
      pointer: '/data/amount',
      zero: true,
    },
    'unit cost': {
      send: (raw) => service.post('/v1/admin/operations', `{"operation":"o","reason":"x","unit_cost":${raw}}`, admin),
      pointer: '/unit_cost',
      zero: true,
    },
    'flat cost': {
      send: (raw) => service.post('/v1/admin/operations', `{"operation":"o","unit_cost":"1","reason":"x","flat_cost":${raw}}`, admin),
      pointer: '/flat_cost',
      zero: true,
    },
    'the credits of a package': {
      send: (raw) => service.post('/v1/admin/packages', `{${PACKAGE},"price":"5.00","credits":${raw}}`, admin),
      pointer: '/credits',
    },
    'the bonus of a package': {
      send: (raw) => service.post('/v1/admin/packages', `{${PACKAGE},"price":"5.00","credits":"1","bonus":${raw}}`, admin),
      pointer: '/bonus',
      zero: true,
    },
    'the price of a package': {
      send: (raw) => service.post('/v1/admin/packages', `{${PACKAGE},"credits":"1","price":${raw}}`, admin),
      pointer: '/price',
    },
    'the credits of a plan': {
      send: (raw) => service.post('/v1/admin/plans', `{${PLAN},"price":"5.00","credits":${raw}}`, admin),
      pointer: '/credits',
    },
    'what of a plan may go over': {
      send: (raw) => service.post('/v1/admin/plans', `{${PLAN},"price":"5.00","credits":"1","rollover_cap":${raw}}`, admin),
      pointer: '/rollover_cap',
      zero: true,
    },
    'the price of a plan': {
      send: (raw) => service.post('/v1/admin/plans', `{${PLAN},"credits":"1","price":${raw}}`, admin),
      pointer: '/price',
    },
    purchase: {
      send: (raw) => service.post('/v1/purchases', `{"wallet":"${wallet}","currency":"USD","amount":${raw}}`),
      pointer: '/amount',
      zero: true,
    },
    'a refund of money': {
      send: (raw) => service.post(`/v1/admin/payments/pay_${'0'.repeat(32)}/refund`, `{"reason":"x","amount":${raw}}`, admin),
      pointer: '/amount',
      zero: true,
    },
    'the threshold of a top-up': {
      send: (raw) => topUp(`{"package":"basic","cap":{"amount":"100"},"threshold":${raw}}`),
      pointer: '/threshold',
    },
    'the amount of a top-up': {
      send: (raw) => topUp(`{"threshold":"1","currency":"USD","cap":{"amount":"100"},"amount":${raw}}`),
      pointer: '/amount',
      zero: true,
    },
    'the cap of a top-up': {
      send: (raw) => topUp(`{"threshold":"1","package":"basic","cap":{"amount":${raw}}}`),
      pointer: '/cap/amount',
      zero: true,
    },
    'the size of an order that gets a bonus': {
      send: (raw) => service.post('/v1/admin/bonus-rules', `{${RULE},"percent":"5","from_amount":${raw}}`, admin),
      pointer: '/from_amount',
      zero: true,
    },
    'the largest bonus': {
      send: (raw) => service.post('/v1/admin/bonus-rules', `{${RULE},"percent":"5","most_credits":${raw}}`, admin),
      pointer: '/most_credits',
    },
    'the percent of a bonus': {
      send: (raw) => service.post('/v1/admin/bonus-rules', `{${RULE},"percent":${raw}}`, admin),
      pointer: '/percent',
    },
    'the percent of a promotion': {
      send: (raw) => service.post('/v1/admin/promotions', `{"code":"PERCENT","reason":"x","percent":${raw}}`, admin),
      pointer: '/percent',
    },
    'the credits of a promotion': {
      send: (raw) => service.post('/v1/admin/promotions', `{"code":"CREDITS","reason":"x","credits":${raw}}`, admin),
      pointer: '/credits',
    },
    'a question of price': { send: (raw) => service.post('/v1/quotes', `{"amount":${raw}}`), pointer: '/amount' },
    'smallest charge': {
      send: (raw) => service.post('/v1/admin/charge-policies', `{"maximum_charge":"1","reason":"x","minimum_charge":${raw}}`, admin),
      pointer: '/minimum_charge',
      zero: true,
    },
    rounding: {
      send: (raw) =>
        service.post('/v1/admin/charge-policies', `{"minimum_charge":"0","maximum_charge":"1","reason":"x","round_to":${raw}}`, admin),
      pointer: '/round_to',
    },
    'largest charge': {
      send: (raw) => service.post('/v1/admin/charge-policies', `{"minimum_charge":"0","reason":"x","maximum_charge":${raw}}`, admin),
      pointer: '/maximum_charge',
    },
  }

  t.test('what is not an amount is 400 with a pointer, in every field of money', async (t) => {
    let sent = 0
    for (const [name, { send, pointer, sign, nullable }] of Object.entries(money)) {
      for (const [raw, what] of NOT_AMOUNTS) {
        if ((sign && raw === '"-1"') || (nullable && raw === 'null')) continue
        const answer = await send(raw)
        sent += 1
        const pointers: string[] = (answer.body.errors ?? []).map((error: { pointer: string }) => error.pointer)
        const right = answer.status === 400 && pointers.some((found) => found.startsWith(pointer))
        t.ok(right, `${name}: ${what} ${raw.slice(0, 30)}`, right ? {} : { status: answer.status, text: answer.text })
      }
    }
    t.equal(await state(), before, 'nothing changed')
    t.comment(`input: ${Object.keys(money).length} fields of money × ${NOT_AMOUNTS.length} forms: ${sent} refused`)
  })

  t.test('zero is an amount only where nothing may be meant', async (t) => {
    for (const [name, { send, zero }] of Object.entries(money)) {
      if (zero) continue
      for (const raw of ['"0"', '"0.0"', '"0.000000"']) t.equal((await send(raw)).status, 400, `${name}: ${raw}`)
    }
    const nothing = await service.made(`/v1/reservations/${hold}/commit`, { amount: '0', final: false })
    t.match(nothing, { cost: '0', charged: '0' })
    t.equal((await service.post('/v1/charges', { wallet, amount: '0' })).status, 400, 'a one-shot charge of nothing')
    t.match((await service.post(`/v1/charges/${nothing.id}/refund`, {})).body, { code: 'charge_free' })
  })

  t.test('the largest amounts are exact, beyond them it is a refusal', async (t) => {
    const rich = await service.wallet()
    for (let i = 0; i < 9; i += 1)
      await service.made('/v1/grants', { wallet: rich, kind: 'bonus', amount: i === 0 ? '999999999999.999999' : '1000000000000' })
    t.equal((await service.get(`/v1/wallets/${rich}/balance`)).body.balance, '8999999999999.999999')
    t.equal((await service.post('/v1/grants', { wallet: rich, kind: 'bonus', amount: '0.000002' })).status, 422)
    t.equal((await service.post('/v1/grants', { wallet: rich, kind: 'bonus', amount: '0.000001' })).body.wallet.balance, '9000000000000')
    const forced = await service.made('/v1/charges', { wallet: rich, amount: '1000000000000', force: true }, admin)
    t.equal(forced.wallet.balance, '8000000000000')
    t.equal((await service.made(`/v1/charges/${forced.id}/refund`, {})).wallet.balance, '9000000000000')
  })

  t.test('an absent amount never means all', async (t) => {
    for (const body of [{}, { final: true }, { force: true }, { metadata: {} }, { model: 'gpt-4o' }]) {
      const answer = await service.post(`/v1/reservations/${hold}/commit`, body)
      t.equal(answer.status, 400, JSON.stringify(body))
      t.equal(answer.body.errors[0].pointer, '/amount')
    }
    t.equal((await service.post(`/v1/reservations/${hold}/commit`)).status, 400, 'no body at all')
    for (const body of [
      { amount: '1', units: 1 },
      { amount: '1', usage: { input_tokens: 1, output_tokens: 1 } },
      { amount: '1', model: 'gpt-4o' },
    ]) {
      t.equal((await service.post(`/v1/reservations/${hold}/commit`, body)).status, 400, `two costs: ${JSON.stringify(body)}`)
    }
  })

  t.test('ids, paths and queries', async (t) => {
    const paths = [
      '/v1/wallets/%00',
      '/v1/wallets/%zz',
      '/v1/wallets/%E0%A4%A',
      `/v1/wallets/${'a'.repeat(101)}`,
      `/v1/wallets/user:${'a'.repeat(129)}`,
      `/v1/wallets/${'a'.repeat(5_000)}`,
      `/v1/wallets/${wallet}%00`,
      `/v1/wallets/${wallet.toUpperCase()}`,
      `/v1/wallets/${wallet.slice(0, -1)}`,
      `/v1/wallets/${wallet}x`,
      `/v1/wallets/${wallet.replace('wal_', 'rsv_')}`,
      "/v1/wallets/user:x'%20or%20'1'='1",
      '/v1/wallets/user:a%2Fb',
      '/v1/wallets/user:%0d%0aset-cookie:x',
      '/v1/wallets/user:',
      '/v1/wallets/:x',
      `/v1/reservations/${wallet}`,
      `/v1/charges/${hold}`,
      '/v1/charges/1',
      '/v1/wallets/..%2f..%2fetc%2fpasswd',
      '/v1/wallets/%2e%2e/healthz/x',
    ]
    for (const path of paths) {
      const answer = await service.get(path)
      t.ok([400, 404, 414].includes(answer.status), `${path.slice(0, 60)} → ${answer.status}`)
      t.notMatch(answer.text, LEAKS)
    }
    const query = async (path: string) => {
      const answer = await service.get(path)
      t.equal(answer.status, 400, path.slice(0, 90))
      t.notMatch(answer.text, LEAKS)
    }
    for (const path of [
      '/v1/wallets',
      `/v1/wallets/${wallet}/transactions`,
      `/v1/wallets/${wallet}/grants`,
      `/v1/wallets/${wallet}/reservations`,
    ]) {
      for (const limit of ['0', '-1', '201', '1000000000', '1e2', '0x10', '1.5', '', ' 1', '1;drop', 'NaN', '١', '50&limit=60'])
        await query(`${path}?limit=${limit}`)
      for (const cursor of [
        'x',
        '',
        'null',
        Buffer.from('["0",""]').toString('base64url'),
        Buffer.from(`["' or 1=1--","x"]`).toString('base64url'),
        'A'.repeat(300),
        '%00',
        'a&cursor=b',
      ]) {
        await query(`${path}?cursor=${cursor}`)
      }
      for (const other of [
        'sort=balance',
        'order=desc;drop%20table%20wallets',
        'offset=1',
        "status='%20or%20'1'='1",
        'limit[]=1',
        '__proto__=1',
        'constructor=1',
        'kind[]=charge',
      ]) {
        await query(`${path}?${other}`)
      }
    }
    for (const more of [
      'from=yesterday',
      'from=2026-13-01T00:00:00Z',
      'from=2026-01-01',
      'to=0000-01-01T00:00:00Z',
      'from=9999-01-01T00:00:00Z',
      "group_by=model'--",
      'from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z',
      'from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z',
    ]) {
      await query(`/v1/wallets/${wallet}/usage?${more}`)
    }
    await query(`/v1/wallets/${wallet}/transactions?kind=gift`)
    await query(`/v1/wallets/${wallet}/transactions?reference=${'x'.repeat(201)}`)
    await query(`/v1/wallets/${wallet}/transactions?reference=%00`)
  })

  t.test('texts that look like code are texts', async (t) => {
    const texts = [
      "'; drop table wallets; --",
      '{"a":1}',
      '\\',
      '"',
      '$1',
      '%s',
      '<script>alert(1)</script>',
      '=1+1',
      '{NULL}',
      'NULL',
      '\\x41',
      ['$', '{7*7}'].join(''),
      '🌍'.repeat(50),
      'é',
      'ﷺ',
      '\u2028',
      '{"\\"}',
      ',',
      '\\N',
    ]
    for (const text of texts) {
      const made = await service.made('/v1/charges', {
        wallet,
        amount: '0.000001',
        reference: text,
        metadata: { [text.slice(0, 64)]: text },
      })
      t.ok(made.reference === text)
      const read = (await service.get(`/v1/charges/${made.id}`)).body
      t.ok(
        JSON.stringify([read.reference, read.metadata]) === JSON.stringify([text, { [text.slice(0, 64)]: text }]),
        encodeURIComponent(text),
      )
      const found = (await service.get(`/v1/wallets/${wallet}/transactions?reference=${encodeURIComponent(text)}`)).body.data
      t.equal(found.length, 1)
      await service.made('/v1/grants', { wallet, kind: 'bonus', amount: '0.000001', source: text, reference: text })
    }
    for (const bad of ['a\nb', 'a\u0000b', '\u001b[31m', 'a\rb', '\u007f', '\u0085', '\ud83c', '']) {
      t.equal(
        (await service.post('/v1/charges', { wallet, amount: '1', reference: bad })).status,
        400,
        encodeURIComponent(bad.toWellFormed()),
      )
    }
  })

  t.test('usage that makes no sense is refused, never billed as nothing', async (t) => {
    const usage = (raw: string) => service.post('/v1/charges', `{"wallet":"${wallet}","model":"gpt-4o","usage":${raw}}`)
    for (const raw of [
      '{"input_tokens":-1,"output_tokens":1}',
      '{"input_tokens":1.5,"output_tokens":1}',
      '{"input_tokens":"1","output_tokens":1}',
      '{"input_tokens":1e10,"output_tokens":1}',
      '{"input_tokens":1000000001,"output_tokens":1}',
      '{"input_tokens":NaN,"output_tokens":1}',
      '{"input_tokens":null,"output_tokens":1}',
      '{"prompt_tokens":1,"completion_tokens":1}',
      '{"input_tokens":1,"output_tokens":1,"cached_tokens":1}',
      '{}',
      '[]',
      'null',
      '5',
    ]) {
      t.equal((await usage(raw)).status, 400, raw)
    }
    t.equal((await usage('{"input_tokens":1000000000,"output_tokens":1000000000}')).body.code, 'charge_exceeds_maximum')
    t.equal((await service.post('/v1/charges', { wallet, usage: { input_tokens: 1, output_tokens: 1 } })).status, 400, 'no model')
    t.equal((await service.post('/v1/charges', { wallet, model: 'gpt-4o' })).status, 400, 'no usage')
    t.equal((await service.post('/v1/charges', { wallet, units: 1 })).status, 400, 'no operation')
    for (const units of [-1, 1.5, 1_000_001, '1', null]) {
      t.equal((await service.post('/v1/charges', { wallet, operation: 'rag_retrieval', units })).status, 400, `units ${units}`)
    }
    for (const model of ['gpt-4o ', 'gpt-4o*', 'gpt-4o\u0000', '', '../gpt-4o', 'constructor', 'toString', 'hasOwnProperty']) {
      t.ok(
        [400, 422].includes((await service.post('/v1/charges', { wallet, model, usage: { input_tokens: 1, output_tokens: 1 } })).status),
        JSON.stringify(model),
      )
    }
  })

  t.test('prices', async (t) => {
    const reason = 'x'
    const price = { model: 'attack', provider: 'p', rates: { input_tokens: '1', output_tokens: '1' }, reason }
    for (const bad of ['0', '0.0', '-1', '1e2', '']) {
      t.equal(
        (await service.post('/v1/admin/exchange-rates', { currency: 'USD', purpose: 'consumption', credits_per_unit: bad, reason }, admin))
          .status,
        400,
        `a rate of ${bad}`,
      )
    }
    t.equal(
      (await service.post('/v1/admin/prices', { ...price, effective_from: '2025-06-01T00:00:00Z' }, admin)).body.code,
      'effective_from_past',
    )
    t.equal((await service.post('/v1/admin/charge-policies', { minimum_charge: '2', maximum_charge: '1', reason }, admin)).status, 400)
    t.equal((await service.post('/v1/admin/prices', { ...price, reason: undefined }, admin)).status, 400, 'no reason, no price')
    t.equal((await service.post('/v1/admin/prices', price, { key: service.client.key })).status, 403)
    const doubled = { ...price, effective_from: new Date(Date.now() + 60_000).toISOString() }
    const both = await Promise.all([service.post('/v1/admin/prices', doubled, admin), service.post('/v1/admin/prices', doubled, admin)])
    t.same(both.map((answer) => answer.status).sort(), [201, 409])
  })

  t.test('what is not a code of a promotion is 400 wherever one is named', async (t) => {
    for (const raw of NOT_CODES) {
      const wrong = (pointer: string) => ({ status: 400, body: { errors: [{ pointer }] } })
      t.match(await service.post('/v1/redemptions', `{"wallet":"${wallet}","code":${raw}}`), wrong('/code'), raw)
      const purchase = `{"wallet":"${wallet}","package":"basic","promotion_code":${raw}}`
      t.match(await service.post('/v1/purchases', purchase), wrong('/promotion_code'), `with a purchase: ${raw}`)
      const promotion = `{"code":${raw},"credits":"1","reason":"x"}`
      t.match(await service.post('/v1/admin/promotions', promotion, admin), wrong('/code'), `of a promotion: ${raw}`)
    }
    for (const percent of ['1000.0001', '1001', '0.00001', '0.0000', '12.5%', '1/2']) {
      t.equal((await service.post('/v1/admin/promotions', { code: 'PERCENT', percent, reason: 'x' }, admin)).status, 400, percent)
    }
    t.same(await service.query('select code from promotions'), [])
  })

  t.test('what is not a plan, an interval or an end is 400 wherever one is named', async (t) => {
    const path = `/v1/wallets/${wallet}/subscription`
    const wrong = (pointer: string) => ({ status: 400, body: { errors: [{ pointer }] } })
    for (const raw of NOT_PLANS) {
      t.match(await service.post(path, `{"plan":${raw}}`), wrong('/plan'), raw)
      t.match(await service.post(`${path}/change`, `{"plan":${raw}}`), wrong('/plan'), `to change to: ${raw}`)
      const plan = `{"plan":${raw},"name":"P","price":"5.00","currency":"USD","credits":"1","reason":"x"}`
      t.match(await service.post('/v1/admin/plans', plan, admin), wrong('/plan'), `to set: ${raw}`)
    }
    for (const raw of ['"week"', '"Month"', '"month "', '""', '1', 'null', '["month"]', '{"month":1}']) {
      const plan = `{${PLAN},"price":"5.00","credits":"1","interval":${raw}}`
      t.match(await service.post('/v1/admin/plans', plan, admin), wrong('/interval'), `each ${raw}`)
    }
    for (const raw of ['"false"', '"true"', '0', '1', '""', 'null', '[]', '{}']) {
      t.match(await service.post(`${path}/cancel`, `{"at_period_end":${raw}}`), wrong('/at_period_end'), `ended ${raw}`)
    }
    for (const raw of ['"javascript:alert(1)"', '"/credits"', '"//elsewhere.example"', '""', '1', 'null', '["https://a.example"]']) {
      for (const url of ['success_url', 'cancel_url']) {
        t.match(await service.post(path, `{"plan":"pro","${url}":${raw}}`), wrong(`/${url}`), `${url}: ${raw}`)
      }
    }
    for (const query of [
      '?plan=Pro',
      '?plan=',
      "?plan=p'--",
      '?plan[]=pro',
      '?plan=a&plan=b',
      '?limit=0',
      '?cursor=x',
      '?interval=month',
    ]) {
      t.equal((await service.get(`/v1/admin/plans${query}`, admin)).status, 400, query)
    }
    t.same(await service.query('select plan from plan_versions'), [])
    t.same(await service.query('select id from subscriptions'), [])
  })

  t.test('the largest bonuses are bounded, and what is paid comes', async (t) => {
    const rich = await service.wallet()
    const most = '1000000000000'
    const huge = { package: 'huge', name: 'Huge', price: '9.00', currency: 'USD', credits: most, bonus: most, reason: 'x' }
    await service.made('/v1/admin/packages', huge, admin)
    for (const kind of ['volume', 'first_purchase']) {
      await service.made('/v1/admin/bonus-rules', { rule: kind, kind, currency: 'USD', percent: '1000', reason: 'x' }, admin)
    }
    await service.made('/v1/admin/promotions', { code: 'TENFOLD', percent: '1000', reason: 'x' }, admin)
    const order = await service.made('/v1/purchases', { wallet: rich, package: 'huge', promotion_code: 'tenfold' })
    t.match(order, { credits: most, bonus: '3000000000000', first_purchase_bonus: most, promotion: most })
    await atSandbox(service, order, 'pay')
    t.equal((await service.get(`/v1/wallets/${rich}/balance`)).body.balance, '5000000000000')
  })

  t.test('money in impossible directions', async (t) => {
    const share = (value: unknown) => service.post('/v1/charges', { wallet, amount: '1', payees: [{ wallet: 'user:payee', share: value }] })
    await service.wallet(undefined, { owner: 'user:payee' })
    for (const bad of ['1.1', '2', '-0.5', '0', '0.0000001', 0.5, '1e-1', '50%', '', null])
      t.equal((await share(bad)).status, 400, `a share of ${JSON.stringify(bad)}`)
    t.equal((await share('1')).status, 201)
    const many = Array.from({ length: 9 }, () => ({ wallet: 'user:payee', share: '0.1' }))
    t.equal((await service.post('/v1/charges', { wallet, amount: '1', payees: many })).status, 400, 'nine payees')
    const two = [
      { wallet: 'user:payee', share: '0.6' },
      { wallet: 'user:payee', share: '0.6' },
    ]
    t.equal((await service.post('/v1/charges', { wallet, amount: '1', payees: two })).body.code, 'payee_share_exceeds_whole')
    t.equal((await service.post('/v1/charges', { wallet, amount: '1', payees: [{ wallet, share: '0.5' }] })).body.code, 'payee_is_payer')
    const refund = await service.made('/v1/charges', { wallet, amount: '1' })
    const { id } = await service.made(`/v1/charges/${refund.id}/refund`, {})
    t.equal((await service.post(`/v1/charges/${id}/refund`, {})).status, 400, 'a refund cannot be refunded: it is no charge')
    t.equal((await service.post(`/v1/charges/${id.replace('txn', 'chg')}/refund`, {})).status, 404)
    for (const ttl of [0, -1, 86_401, 1.5, '60', null])
      t.equal((await service.post('/v1/reservations', { wallet, amount: '1', ttl_seconds: ttl })).status, 400, `a ttl of ${ttl}`)
    t.equal((await service.post('/v1/grants', { wallet, kind: 'refund', amount: '1' })).status, 400, 'only Farebox makes refund grants')
    t.equal((await service.post('/v1/grants', { wallet, kind: 'earning', amount: '1' })).status, 400)
    t.equal((await service.post('/v1/batch', { commands: [] })).status, 400)
    t.equal((await service.post('/v1/events', { events: [] })).status, 400)
    const command = { operation: 'charge', idempotency_key: 'k', body: { wallet, amount: '1' } }
    t.equal((await service.post('/v1/batch', { commands: Array.from({ length: 1_001 }, () => command) })).status, 400, '1,001 commands')
    const unharmed = await state()
    const mixed = await service.post('/v1/batch', { commands: [command, { ...command, body: { wallet, amount: '-1' } }] })
    t.equal(mixed.status, 400)
    t.equal(await state(), unharmed, 'a malformed command stops those before it too')
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

const LEAKS = /SQLSTATE|2202\d|42P01|PrismaClient|prisma|pg_|node_modules|at \w+ \(|\/work\/|\/src\/|postgres(ql)?:|127\.0\.0\.1:\d|stack/i

t.test('hostile bytes at the socket', async (t) => {
  const service = await createService(t)
  const wallet = await service.wallet('10')
  const port = await listen(service.app)
  const head = `host: localhost\r\nauthorization: Bearer ${service.client.key}\r\nidempotency-key: k\r\nconnection: close\r\n`
  const body = JSON.stringify({ wallet, amount: '1' })
  const post = (headers: string, payload: string, path = '/v1/charges') =>
    sendRaw(port, `POST ${path} HTTP/1.1\r\n${head}${headers}\r\n\r\n${payload}`)
  const length = `content-length: ${Buffer.byteLength(body)}`
  const json = 'content-type: application/json'

  t.test('content types', async (t) => {
    for (const type of [
      'application/json\ta',
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/xml',
      'application/jsonp',
      'application/vnd.api+json',
      'application/json, text/plain',
      '*/*',
      ' ',
    ]) {
      t.equal((await post(`content-type: ${type}\r\n${length}`, body)).status, 415, JSON.stringify(type))
    }
    t.equal((await post(length, body)).status, 415, 'none')
    t.equal((await post(`content-type: application/json; charset=utf-16\r\n${length}`, body)).status, 415)
    t.equal((await post(`content-type: application/json; charset=utf-8\r\n${length}`, body)).status, 201)
  })

  t.test('a body that is larger than it says, or says too much', async (t) => {
    const large = 'x'.repeat(70_000)
    t.equal((await post(`${json}\r\ncontent-length: ${large.length}`, large)).status, 413)
    t.equal(
      (await post(`${json}\r\ntransfer-encoding: chunked`, `${large.length.toString(16)}\r\n${large}\r\n0\r\n\r\n`)).status,
      413,
      'in chunks',
    )
    t.equal((await post(`${json}\r\ncontent-length: 99999999999`, body)).status, 413)
    t.ok([400, 413].includes((await post(`${json}\r\ncontent-length: -1`, body)).status))
    const before = process.memoryUsage().rss
    const bomb = gzipSync(Buffer.alloc(50 * 1024 * 1024)).toString('latin1')
    t.equal(
      (await post(`${json}\r\ncontent-encoding: gzip\r\ncontent-length: ${Buffer.byteLength(bomb)}`, bomb)).status,
      415,
      'a gzip bomb',
    )
    const grown = (process.memoryUsage().rss - before) / 1024 / 1024
    t.ok(grown < 60, `${Math.round(grown)} MB more`)
  })

  t.test('smuggling', async (t) => {
    t.equal((await post(`${json}\r\n${length}\r\ntransfer-encoding: chunked`, `0\r\n\r\n`)).status, 400, 'a length and chunks')
    t.equal((await post(`${json}\r\n${length}\r\ncontent-length: 1`, body)).status, 400, 'two lengths')
    t.equal((await post(`${json}\r\ntransfer-encoding: xchunked\r\n${length}`, body)).status, 400)
    t.equal((await sendRaw(port, `GET /v1/wallets HTTP/1.1\r\nconnection: close\r\n\r\n`)).status, 400, 'no Host')
    t.equal((await sendRaw(port, `GET /v1/wallets HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n`)).status, 400, 'two Hosts')
    t.equal((await post(`${json}\r\nidempotency-key: other\r\n${length}`, body)).status, 400, 'two keys')
    t.equal(
      (await sendRaw(port, `GET /v1/wallets HTTP/1.1\r\nhost: localhost\r\nx-long: ${'x'.repeat(20_000)}\r\nconnection: close\r\n\r\n`))
        .status,
      431,
    )
    t.equal((await sendRaw(port, 'GET /v1/wallets\r\n\r\n')).status, 400)
    t.equal((await sendRaw(port, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03')).status, 400, 'TLS')
    t.equal((await sendRaw(port, `GET /v1/wallets HTTP/1.1\r\nhost: localhost\r\nx-a : b\r\nconnection: close\r\n\r\n`)).status, 400)
  })

  t.test('one good request, one charge', async (t) => {
    const [charged] = await service.query('select count(*)::int as n from charges')
    t.equal(charged.n, 1)
  })
  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
