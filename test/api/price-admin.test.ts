import t, { type Test } from 'tap'
import { type Answer, type Body, createService, type Send, type TestService, tally, times } from '../helpers/service.ts'

/** How people set prices: what is refused, who did it and why, what a new rate would do, and what an import leaves to them. */

const TABLES = ['price_versions', 'operation_versions', 'markups', 'exchange_rates', 'charge_policies'] as const

interface Kind {
  readonly path: string
  readonly table: (typeof TABLES)[number]
  /** In the audit log. */
  readonly target: string
  /** The n-th version, each a little different. */
  readonly body: (n: number) => object
  /** What the listing says of it. */
  readonly says: (n: number) => object
}

const KINDS: readonly Kind[] = [
  {
    path: '/v1/admin/prices',
    table: 'price_versions',
    target: 'model',
    body: (n) => ({ model: 'house', provider: 'us', rates: { input_tokens: `1.0${n}`, output_tokens: '2' } }),
    says: (n) => ({
      model: 'house',
      provider: 'us',
      rates: { input_tokens: `1.0${n}`, output_tokens: '2' },
      source: 'manual',
      enabled: true,
    }),
  },
  {
    path: '/v1/admin/operations',
    table: 'operation_versions',
    target: 'operation',
    body: (n) => ({ operation: 'crawl', flat_cost: `0.5${n}`, unit_cost: '0.25' }),
    says: (n) => ({ operation: 'crawl', flat_cost: `0.5${n}`.replace(/0$/, ''), unit_cost: '0.25', enabled: true }),
  },
  {
    path: '/v1/admin/markups',
    table: 'markups',
    target: 'markup',
    body: (n) => ({ provider: 'us', percent: `20.${n}` }),
    says: (n) => ({ provider: 'us', model: null, percent: `20.${n}`.replace('.0', '') }),
  },
  {
    path: '/v1/admin/exchange-rates',
    table: 'exchange_rates',
    target: 'rate',
    body: (n) => ({ currency: 'EUR', purpose: 'purchase', credits_per_unit: `110.${n}` }),
    says: (n) => ({ currency: 'EUR', purpose: 'purchase', credits_per_unit: `110.${n}`.replace('.0', '') }),
  },
  {
    path: '/v1/admin/charge-policies',
    table: 'charge_policies',
    target: 'policy',
    body: (n) => ({ minimum_charge: `0.0${n + 1}`, maximum_charge: '1000' }),
    says: (n) => ({ minimum_charge: `0.0${n + 1}`.replace(/0$/, ''), maximum_charge: '1000', round_to: '0.000001', owner_exempt: true }),
  },
]

/** Everything that anybody set, and the log of it. */
async function everything(service: TestService): Promise<string> {
  const sums = await Promise.all(
    [...TABLES, 'price_imports', 'price_quarantine', 'audit_log'].map((table) =>
      service.query(`select md5(coalesce(string_agg(x::text, '|' order by x::text), '')) as sum from ${table} x`),
    ),
  )
  return JSON.stringify(sums)
}

t.test('the history of prices', async (t) => {
  const service = await createService(t)
  const { made, get, post } = service
  const admin = { key: service.adminKey }

  async function all(path: string, limit: number, options: Send = admin): Promise<Body[]> {
    const rows: Body[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { status, body }: Answer = await get(
        `${path}${path.includes('?') ? '&' : '?'}limit=${limit}${cursor && `&cursor=${cursor}`}`,
        options,
      )
      if (status !== 200) throw new Error(`${path} answered ${status}: ${JSON.stringify(body)}`)
      rows.push(...body.data)
      cursor = body.next_cursor
    }
    return rows
  }

  for (const { path, table, target, body, says } of KINDS) {
    t.test(`${path}: who, when and why, the last first`, async (t) => {
      const seeds = (await all(path, 200)).length
      const added: Body[] = []
      for (const n of times(5, (i) => i)) added.push(await made(path, { ...body(n), reason: `the ${n}th time` }, admin))
      const later = new Date(Date.now() + 3_600_000).toISOString()
      added.push(await made(path, { ...body(5), effective_from: later, reason: 'for later' }, admin))
      t.equal(added[5].effective_from, later)

      const whole = await all(path, 200)
      t.equal(whole.length, seeds + 6)
      for (const limit of [1, 2, 5, whole.length, 200]) t.same(await all(path, limit), whole, `in pages of ${limit}`)
      for (const n of times(6, (i) => i)) {
        const row = whole[5 - n]
        t.match(row, { ...says(n), id: added[n].id, effective_from: added[n].effective_from })
        t.match(row, { reason: n === 5 ? 'for later' : `the ${n}th time`, created_by: /^admin:|^key:/ })
        t.ok(Math.abs(Date.parse(row.created_at) - Date.now()) < 60_000)
      }
      if (seeds > 0) t.match(whole.at(-1), { created_by: 'system:seed', reason: null })

      // Each with its audit row, of the same transaction, with what was before and after.
      const rows = await service.query(
        `select v.id, v.xmin::text = a.xmin::text as together, a.actor = v.created_by as same_actor, a.action, a.reason, a.before, a.after, a.request_id, a.client_id
          from ${table} v left join audit_log a on a.target_id = v.id and a.target_kind = $1
          where v.created_by <> 'system:seed' order by v.id`,
        [target],
      )
      t.equal(rows.length, 6)
      for (const [n, row] of rows.entries()) {
        t.match(row, { together: true, same_actor: true, action: `price.${target}`, client_id: service.client.id, request_id: /\S/ })
        t.equal(row.after.effectiveFrom, added[n].effective_from)
        if (n > 0) t.equal(row.before.id, rows[n - 1].id, 'after the one before it')
      }
    })
  }

  t.test('filters', async (t) => {
    const ids = async (path: string) =>
      (await all(`/v1/admin/${path}`, 3)).map((row) => row.model ?? row.operation ?? row.currency ?? row.provider)
    const only = async (path: string, n: number, name: string | null) => {
      const found = await ids(path)
      t.equal(found.length, n, path)
      t.same([...new Set(found)], [name])
    }
    await only('prices?model=house', 6, 'house')
    await only('prices?model=gpt-4o', 1, 'gpt-4o')
    await only('prices?provider=us', 6, 'house')
    await only('prices?model=gpt-4o&provider=openai', 1, 'gpt-4o')
    t.equal((await ids('prices?model=gpt-4o&provider=us')).length, 0)
    t.equal((await ids('prices?provider=openai')).length, 13)
    await only('operations?operation=crawl', 6, 'crawl')
    await only('markups?provider=us', 6, 'us')
    t.equal((await ids('markups?model=us')).length, 0)
    t.equal((await ids('markups')).length, 7)
    await only('exchange-rates?currency=EUR', 6, 'EUR')
    await only('exchange-rates?purpose=consumption', 1, 'USD')
    await only('exchange-rates?currency=USD&purpose=purchase', 1, 'USD')
    for (const wrong of [
      'prices?model=a%20b',
      'prices?source=x',
      'exchange-rates?currency=eur',
      'exchange-rates?purpose=both',
      'operations?model=x',
    ]) {
      t.equal((await get(`/v1/admin/${wrong}`, admin)).status, 400, wrong)
    }
  })

  t.test('a cursor belongs to its listing and its filters', async (t) => {
    const cursorOf = async (path: string) => (await get(`${path}${path.includes('?') ? '&' : '?'}limit=1`, admin)).body.next_cursor
    const prices = await cursorOf('/v1/admin/prices')
    for (const path of [
      '/v1/admin/prices?provider=us',
      '/v1/admin/prices?model=house',
      '/v1/admin/operations',
      '/v1/admin/markups',
      '/v1/admin/price-imports',
    ]) {
      const answer = await get(`${path}${path.includes('?') ? '&' : '?'}cursor=${prices}`, admin)
      t.match(answer, { status: 400, body: { code: 'cursor_invalid' } }, path)
    }
    const models = await cursorOf('/v1/models')
    for (const path of ['/v1/models?provider=openai', '/v1/models?enabled=true', '/v1/operations']) {
      t.equal((await get(`${path}${path.includes('?') ? '&' : '?'}cursor=${models}`)).body.code, 'cursor_invalid', path)
    }
  })

  t.test('the models of now, in pages and by what they are', async (t) => {
    const whole = await all('/v1/models', 200, {})
    t.equal(whole.length, 32)
    const ids = whole.map(({ id }) => id)
    t.same(ids, ids.toSorted(), 'in order')
    for (const limit of [1, 7, 31, 32, 33]) t.same(await all('/v1/models', limit, {}), whole, `in pages of ${limit}`)
    const some = async (query: string) => await all(`/v1/models?${query}`, 4, {})
    t.same(
      await some('provider=google'),
      whole.filter(({ provider }) => provider === 'google'),
    )
    t.same(
      await some('cost_tier=expensive'),
      whole.filter(({ cost_tier }) => cost_tier === 'expensive'),
    )
    t.same(
      await some('capability=vision&cost_tier=cheap'),
      whole.filter((m) => m.capabilities.includes('vision') && m.cost_tier === 'cheap'),
    )
    t.same(await some('enabled=false'), [])
    t.match(
      whole.find(({ id }) => id === 'house'),
      { rates: { input_tokens: '1.04', output_tokens: '2' }, price_id: /^prc_/ },
      'the version in force, not one that is to come',
    )
    await made('/v1/admin/prices', { ...KINDS[0]?.body(6), enabled: false, reason: 'withdrawn' }, admin)
    t.match(await some('enabled=false'), [{ id: 'house', enabled: false }])
    t.equal((await some('enabled=true')).length, 31)
    t.same(await all('/v1/operations', 2, {}), await all('/v1/operations', 200, {}))
    for (const wrong of ['enabled=yes', 'cost_tier=free', 'capability=', 'limit=0', 'sort=price']) {
      t.equal((await get(`/v1/models?${wrong}`)).status, 400, wrong)
    }
  })

  t.test('what is refused leaves nothing, not in the log either', async (t) => {
    const keys = [service.client.key, await service.newKey(['prices:write', 'prices:read'])]
    for (const { path, body } of KINDS) {
      const at = new Date(Date.now() + 7_200_000).toISOString()
      await made(path, { ...body(7), effective_from: at, reason: 'x' }, admin)
      const before = await everything(service)
      t.match(
        await post(path, { ...body(8), effective_from: at, reason: 'x' }, admin),
        { status: 409, body: { code: 'version_exists' } },
        path,
      )
      const past = new Date(Date.now() - 2_000).toISOString()
      const refused = await post(path, { ...body(8), effective_from: past, reason: 'x' }, admin)
      t.match(refused, { status: 422, body: { code: 'effective_from_past' } })
      for (const key of keys) {
        t.equal((await post(path, { ...body(8), reason: 'x' }, { key })).status, 403)
        t.equal((await get(path, { key })).status, 403)
      }
      t.equal(await everything(service), before)
      // A request that took a moment is not late.
      const justNow = new Date(Date.now() - 300).toISOString()
      t.equal((await post(path, { ...body(8), effective_from: justNow, reason: 'x' }, admin)).status, 201)
      const both = await Promise.all(
        times(2, () => post(path, { ...body(9), effective_from: new Date(Date.parse(at) + 1).toISOString(), reason: 'x' }, admin)),
      )
      t.same(tally(both), { 201: 1, '409 version_exists': 1 }, 'one of two at once')
    }
  })
})

t.test('mistakes', async (t) => {
  const service = await createService(t)
  const { post, made } = service
  const admin = { key: service.adminKey }
  const reason = 'x'
  const base: Record<string, object> = {
    prices: { model: 'm', provider: 'p', rates: { input_tokens: '2', output_tokens: '8' }, reason },
    operations: { operation: 'o', flat_cost: '1', unit_cost: '2', reason },
    markups: { percent: '20', reason },
    'exchange-rates': { currency: 'USD', purpose: 'consumption', credits_per_unit: '100', reason },
    'charge-policies': { minimum_charge: '0.01', maximum_charge: '100', reason },
  }
  for (const [path, body] of Object.entries(base)) await made(`/v1/admin/${path}`, body, admin)
  const before = await everything(service)
  const set = (path: string, change: object) => post(`/v1/admin/${path}`, { ...base[path], ...change }, admin)

  t.test('zero and orders of magnitude are refused unless somebody insists', async (t) => {
    const rates = (input_tokens: string, output_tokens = '8') => ({ rates: { input_tokens, output_tokens } })
    const doubtful: [path: string, change: object][] = [
      ...['0', '0.000', '2000', '0.002', '2000000', '0.000002', '200', '0.02'].map((rate): [string, object] => ['prices', rates(rate)]),
      ['prices', rates('0', '0')],
      ['prices', rates('2', '0.008')],
      ['prices', { variants: [{ service_tier: 'batch', rates: { input_tokens: '2000' } }] }],
      ['prices', { model: 'new', ...rates('0', '0') }],
      ['operations', { flat_cost: '0', unit_cost: '0' }],
      ['operations', { flat_cost: '1000' }],
      ['operations', { unit_cost: '0.002' }],
      ['operations', { operation: 'new', unit_cost: '0', flat_cost: '0' }],
      ['markups', { percent: '20000' }],
      ['exchange-rates', { credits_per_unit: '100000' }],
      ['exchange-rates', { credits_per_unit: '0.1' }],
    ]
    for (const [path, change] of doubtful) {
      const answer = await set(path, change)
      t.match(answer, { status: 422, body: { code: 'price_implausible', retryable: false } }, `${path} ${JSON.stringify(change)}`)
      t.ok(answer.body.doubts?.length > 0 && answer.body.doubts.every((doubt: unknown) => typeof doubt === 'string'), 'says why')
    }
    t.equal(await everything(service), before, 'nothing was set')
    for (const [path, change] of [
      ['prices', rates('20')],
      ['prices', rates('3', '9')],
      ['operations', { unit_cost: '3' }],
      ['markups', { percent: '0' }],
      ['exchange-rates', { credits_per_unit: '120' }],
    ] as const) {
      t.equal((await set(path, change)).status, 201, `${path} ${JSON.stringify(change)} is believed`)
    }
    for (const [path, change] of doubtful) t.equal((await set(path, { ...change, force: true })).status, 201, `${path} forced`)
    t.equal((await set('prices', { ...rates('0', '0'), enabled: false })).status, 201, 'what cannot be used cannot be wrong')
  })

  t.test('what is not a price is 400, with its place, and nothing changes', async (t) => {
    const unchanged = await everything(service)
    const rates = (value: unknown) => ({ rates: { input_tokens: value } })
    const notDecimals = [
      '-1',
      '-0',
      '1e3',
      '1E-6',
      '.5',
      '1.',
      '',
      '0.0000000000001',
      '1000000000',
      '01',
      ' 1',
      '1 ',
      '+1',
      '0x1',
      '1_0',
      '1,5',
      'NaN',
      '١',
      1,
      0.5,
      null,
      ['1'],
      {},
      true,
    ]
    const wrong: [path: string, change: object, pointer: string][] = [
      ...notDecimals.map((value): [string, object, string] => ['prices', rates(value), '/rates/input_tokens']),
      ...notDecimals.map((value): [string, object, string] => ['markups', { percent: value }, '/percent']),
      ...notDecimals.map((value): [string, object, string] => ['exchange-rates', { credits_per_unit: value }, '/credits_per_unit']),
      ['exchange-rates', { credits_per_unit: '0' }, '/credits_per_unit'],
      ['exchange-rates', { credits_per_unit: '0.000' }, '/credits_per_unit'],
      ['prices', { rates: {} }, '/rates'],
      ['prices', { rates: [] }, '/rates'],
      ['prices', { rates: null }, '/rates'],
      ['prices', { rates: undefined }, '/rates'],
      ['prices', { rates: { input_tokens: '1', tokens: '1' } }, '/rates/tokens'],
      ['prices', { rates: { input_usd_per_million: '1' } }, '/rates/input_usd_per_million'],
      ['prices', { rates: { constructor: '1' } }, '/rates/constructor'],
      ['prices', { input_usd_per_million: '1' }, '/input_usd_per_million'],
      ['prices', { variants: [{ rates: { input_tokens: '1' } }] }, '/variants/0/service_tier'],
      ['prices', { variants: [{ service_tier: 'standard', rates: { input_tokens: '1' } }] }, '/variants/0/service_tier'],
      ['prices', { variants: [{ service_tier: 'batch', rates: {} }] }, '/variants/0/rates'],
      ['prices', { variants: [{ service_tier: 'batch', rates: { input_tokens: 1 } }] }, '/variants/0/rates/input_tokens'],
      ['prices', { variants: [{ above_prompt_tokens: 0, rates: { input_tokens: '1' } }] }, '/variants/0/above_prompt_tokens'],
      ['prices', { variants: [{ hours: { from: '24:00', to: '08:00' }, rates: { input_tokens: '1' } }] }, '/variants/0/hours/from'],
      ['prices', { variants: times(33, () => ({ service_tier: 'batch', rates: { input_tokens: '1' } })) }, '/variants'],
      ['prices', { aliases: [{ equals: 'a b' }] }, '/aliases/0/equals'],
      ['prices', { aliases: [{ contains: '' }] }, '/aliases/0/contains'],
      ['prices', { aliases: times(51, (i) => ({ equals: `m-${i}` })) }, '/aliases'],
      ['prices', { model: 'a b' }, '/model'],
      ['prices', { model: 'x'.repeat(201) }, '/model'],
      ['prices', { provider: 'Open AI' }, '/provider'],
      ['prices', { context_window: 0 }, '/context_window'],
      ['prices', { capabilities: ['Vision'] }, '/capabilities/0'],
      ['prices', { cost_tier: 'free' }, '/cost_tier'],
      ['prices', { enabled: 'true' }, '/enabled'],
      ['prices', { force: 'yes' }, '/force'],
      ['prices', { reason: '' }, '/reason'],
      ['prices', { reason: undefined }, '/reason'],
      ['prices', { reason: 'x'.repeat(501) }, '/reason'],
      ['prices', { effective_from: 'tomorrow' }, '/effective_from'],
      ['prices', { effective_from: '2026-13-01T00:00:00Z' }, '/effective_from'],
      ['prices', { effective_from: 1_800_000_000_000 }, '/effective_from'],
      ['operations', { operation: 'Crawl' }, '/operation'],
      ['operations', { price: '1' }, '/price'],
      ['markups', { model: 'm', provider: 'p' }, '/provider'],
      ['markups', { scope: 'default' }, '/scope'],
      ['exchange-rates', { currency: 'usd' }, '/currency'],
      ['exchange-rates', { purpose: 'both' }, '/purpose'],
      ['charge-policies', { minimum_charge: '101' }, '/minimum_charge'],
      ['charge-policies', { round_to: '101' }, '/round_to'],
      ['charge-policies', { round_to: '0' }, '/round_to'],
      ['charge-policies', { maximum_charge: '0' }, '/maximum_charge'],
      ['charge-policies', { owner_exempt: null }, '/owner_exempt'],
    ]
    for (const [path, change, pointer] of wrong) {
      const answer = await set(path, change)
      const says = `${path} ${JSON.stringify(change).slice(0, 80)} at ${pointer}`
      t.equal(answer.status, 400, says)
      t.ok(
        answer.body.errors?.some(
          (error: Body) => error.pointer === pointer || (pointer === '/aliases/0/equals' && error.pointer.startsWith('/aliases/0')),
        ),
        says,
      )
    }
    t.equal(await everything(service), unchanged)
    t.comment(`${wrong.length} refused`)
  })
})

t.test('a rate is looked at before it is set', async (t) => {
  const service = await createService(t)
  const { made, post } = service
  const admin = { key: service.adminKey }
  const preview = (body: object) => made('/v1/admin/exchange-rates/preview', body, { ...admin, idempotencyKey: null })
  const wallet = await service.wallet('1000')
  const charge = async (body: object): Promise<Body> => made('/v1/charges', { wallet, ...body })

  const small = await charge({ model: 'gpt-4o', usage: { input_tokens: 1 } })
  const exact = await charge({ model: 'gpt-4o', usage: { input_tokens: 1_000, output_tokens: 100 } })
  const both = await charge({ model: 'gpt-4o-mini', usage: { input_tokens: 1_000 }, operation: 'voice_creation', units: 2 })
  await charge({ operation: 'workflow_run' })
  await charge({ amount: '3' })
  const before = await everything(service)

  t.test('a consumption rate: what the last charges of models would cost', async (t) => {
    const seen = await preview({ currency: 'USD', purpose: 'consumption', credits_per_unit: '150' })
    t.match(seen, { currency: 'USD', purpose: 'consumption', present: '100', proposed: '150', change_percent: '+50.0', implausible: [] })
    t.same(
      seen.purchases.map((row: Body) => [row.amount, row.credits_now, row.credits_then]),
      ['5', '10', '25', '50', '100'].map((amount) => [amount, `${Number(amount) * 100}`, `${Number(amount) * 100}`]),
      'money buys what it did',
    )
    t.same(seen.charges, [
      // 10 credits of the operation and 0.018 of the model, half more of which is 0.027.
      { id: both.id, wallet_id: wallet, model: 'gpt-4o-mini', charged: '10.018', cost_now: '10.018', cost_then: '10.027' },
      { id: exact.id, wallet_id: wallet, model: 'gpt-4o', charged: '0.42', cost_now: '0.42', cost_then: '0.63' },
      { id: small.id, wallet_id: wallet, model: 'gpt-4o', charged: '0.01', cost_now: '0.01', cost_then: '0.01' },
    ])
    t.same(seen.total, { charges: 3, cost_now: '10.448', cost_then: '10.667' })
    const one = await preview({ currency: 'USD', purpose: 'consumption', credits_per_unit: '66.6', charges: 1 })
    t.match(one, { change_percent: '-33.4', charges: [{ id: both.id, cost_then: '10.011988' }], total: { charges: 1 } })
    t.match(await preview({ currency: 'USD', purpose: 'consumption', credits_per_unit: '100', charges: 0 }), {
      change_percent: '+0.0',
      charges: [],
    })
  })

  t.test('a purchase rate: what money buys, rounded down', async (t) => {
    const seen = await preview({ currency: 'USD', purpose: 'purchase', credits_per_unit: '99.9999999' })
    t.same(
      seen.purchases.map((row: Body) => [row.amount, row.credits_now, row.credits_then]),
      [
        ['5', '500', '499.999999'],
        ['10', '1000', '999.999999'],
        ['25', '2500', '2499.999997'],
        ['50', '5000', '4999.999995'],
        ['100', '10000', '9999.99999'],
      ],
    )
    t.match(seen, { change_percent: '-0.1', total: { cost_now: '10.448', cost_then: '10.448' } }, 'work costs what it did')
    const first = await preview({ currency: 'EUR', purpose: 'purchase', credits_per_unit: '110' })
    t.match(first, {
      present: null,
      change_percent: null,
      purchases: [{ amount: '5', currency: 'EUR', credits_now: null, credits_then: '550' }],
    })
    t.match(
      await preview({ currency: 'USD', purpose: 'purchase', credits_per_unit: '100000' }),
      { implausible: [/factor/] },
      'and whether it is believed',
    )
  })

  t.test('which is what comes to pass', async (t) => {
    t.equal(await everything(service), before, 'nothing was set by looking')
    await made('/v1/admin/exchange-rates', { currency: 'USD', purpose: 'consumption', credits_per_unit: '150', reason: 'x' }, admin)
    t.equal((await charge({ model: 'gpt-4o', usage: { input_tokens: 1_000, output_tokens: 100 } })).cost, '0.63')
    // What was charged at 100 would cost half more by now: the next rate is compared with the present one.
    const seen = await preview({ currency: 'USD', purpose: 'consumption', credits_per_unit: '300', charges: 3 })
    t.match(seen.charges, [
      { charged: '0.63', cost_now: '0.63', cost_then: '1.26' },
      { id: both.id, charged: '10.018', cost_now: '10.027', cost_then: '10.054' },
      { id: exact.id, charged: '0.42', cost_now: '0.63', cost_then: '1.26' },
    ])
  })

  t.test('is a question of admins, and well-formed', async (t) => {
    const good = { currency: 'USD', purpose: 'consumption', credits_per_unit: '150' }
    for (const [change, pointer] of [
      [{ credits_per_unit: '0' }, '/credits_per_unit'],
      [{ credits_per_unit: 100 }, '/credits_per_unit'],
      [{ charges: 201 }, '/charges'],
      [{ charges: -1 }, '/charges'],
      [{ charges: '5' }, '/charges'],
      [{ reason: 'x' }, '/reason'],
    ] as const) {
      const answer = await post('/v1/admin/exchange-rates/preview', { ...good, ...change }, admin)
      t.match(answer, { status: 400, body: { errors: [{ pointer }] } }, pointer)
    }
    t.equal((await post('/v1/admin/exchange-rates/preview', good)).status, 403)
  })
})

t.test('what an import leaves to people', async (t) => {
  const service = await createService(t)
  const other = await service.another()
  const { made, get, post, propose } = service
  const admin = { key: service.adminKey }
  const wallet = await service.wallet('1000')
  const usage = { input_tokens: 1_000 }
  const decide = (id: string, verb: 'accept' | 'reject', app: Pick<TestService, 'post'> = service) =>
    app.post(`/v1/admin/price-quarantine/${id}/${verb}`, { reason: `to ${verb}` }, admin)
  const costOf = async (model: string) => (await made('/v1/quotes', { model, usage })).cost
  const listed = async (query = '') => (await get(`/v1/admin/price-quarantine?limit=200${query}`, admin)).body.data

  t.test('the old price stays until somebody accepts', async (t) => {
    const id = await propose('gpt-4o', { rates: { input_tokens: '25' } })
    t.equal(await costOf('gpt-4o'), '0.3')
    const [row] = await listed()
    t.match(row, { id, model: 'gpt-4o', provider: 'openai', source: 'litellm', status: 'pending', reasons: ['a test'], price_id: null })
    t.match(row, { proposal: { rates: { input_tokens: '25' }, enabled: true }, decided_by: null, decided_at: null, effective_from: null })
    const { body: accepted, status } = await decide(id, 'accept')
    t.equal(status, 200)
    t.match(accepted, { id, status: 'accepted', price_id: /^prc_/, decided_by: /\S/, decided_reason: 'to accept', decided_at: /T/ })
    t.equal(await costOf('gpt-4o'), '3')
    const [version] = (await get('/v1/admin/prices?model=gpt-4o', admin)).body.data
    t.match(version, { id: accepted.price_id, source: 'litellm', reason: 'to accept', rates: { input_tokens: '25' } })
    t.same(Object.keys(version.rates), ['input_tokens'], 'as it was proposed')
    const audit = await service.query(`select before, after, reason from audit_log where target_id = $1`, [version.id.slice(4)])
    t.match(audit, [{ before: { rates: { input_tokens: '2.5' } }, after: { rates: { input_tokens: '25' } }, reason: 'to accept' }])
  })

  t.test('a rejected one changes nothing but itself', async (t) => {
    const id = await propose('gpt-4o-mini', { rates: { input_tokens: '999' } })
    const versions = await service.query('select count(*)::int as n from price_versions')
    t.match((await decide(id, 'reject')).body, { status: 'rejected', price_id: null, decided_reason: 'to reject' })
    t.equal(await costOf('gpt-4o-mini'), '0.018')
    t.same(await service.query('select count(*)::int as n from price_versions'), versions)
    const audit = await service.query(`select action, reason from audit_log where target_id = $1`, [id.slice(4)])
    t.match(audit, [{ action: 'price.reject', reason: 'to reject' }])
  })

  t.test('each is decided once', async (t) => {
    const id = await propose('twice')
    t.equal((await decide(id, 'accept')).status, 200)
    for (const verb of ['accept', 'reject'] as const) {
      const answer = await decide(id, verb)
      t.match(answer, { status: 409, body: { code: 'quarantine_decided', detail: /accepted/ } })
    }
    t.match(await decide(`prp_${'0'.repeat(32)}`, 'accept'), { status: 404, body: { code: 'quarantine_not_found' } })
    t.match(await decide('prp_1', 'accept'), { status: 400, body: { errors: [{ pointer: '/path/proposal_id' }] } })
  })

  t.test('by one of many at once, on two processes', async (t) => {
    const outcomes: Record<string, number> = {}
    for (let i = 0; i < 15; i += 1) {
      const id = await propose(`raced-${i}`)
      const before = (await service.query('select count(*)::int as n from audit_log'))[0].n
      const answers = await Promise.all(times(6, (n) => decide(id, n % 2 === 0 ? 'accept' : 'reject', n < 3 ? service : other)))
      t.same(tally(answers), { 200: 1, '409 quarantine_decided': 5 })
      const { status } = answers.find((answer) => answer.status === 200)?.body ?? {}
      outcomes[status] = (outcomes[status] ?? 0) + 1
      const [{ n }] = await service.query('select count(*)::int as n from price_versions where model = $1', [`raced-${i}`])
      t.equal(n, status === 'accepted' ? 1 : 0, `${status} once`)
      t.equal((await service.query('select count(*)::int as n from audit_log'))[0].n, before + 1)
    }
    t.comment(JSON.stringify(outcomes))
  })

  t.test('a model that has vanished from its list is disabled', async (t) => {
    const hold = await made('/v1/reservations', { wallet, model: 'grok-4', usage })
    const id = await propose('grok-4', { enabled: false })
    t.equal(await costOf('grok-4'), '0.36', 'not before')
    await decide(id, 'accept')
    for (const path of ['/v1/quotes', '/v1/charges', '/v1/reservations']) {
      const body = path === '/v1/quotes' ? { model: 'grok-4', usage } : { wallet, model: 'grok-4', usage }
      t.match(await post(path, body), { status: 422, body: { code: 'model_disabled' } }, path)
    }
    t.match((await get('/v1/models?model=grok-4')).body.data, [{ enabled: false, rates: { input_tokens: '3' } }])
    t.equal((await made(`/v1/reservations/${hold.id}/commit`, { usage })).cost, '0.36', 'what was reserved before is charged')
  })

  t.test('a later date is kept, one that is over is now', async (t) => {
    const at = Date.now() + 3_600_000
    const later = (await decide(await propose('dated', {}, { effectiveFrom: at }), 'accept')).body
    const [version] = (await get('/v1/admin/prices?model=dated', admin)).body.data
    t.match([later.effective_from, version.effective_from], [new Date(at).toISOString(), new Date(at).toISOString()])
    t.equal((await post('/v1/quotes', { model: 'dated', usage })).body.code, 'unknown_model')
    await decide(await propose('overdue', {}, { effectiveFrom: Date.now() - 86_400_000 }), 'accept')
    const [now] = (await get('/v1/admin/prices?model=overdue', admin)).body.data
    t.ok(Math.abs(Date.parse(now.effective_from) - Date.now()) < 10_000, 'history is not rewritten')
    t.equal(await costOf('overdue'), '0.12')
  })

  t.test('a version of the same time stands in the way, and the proposal waits', async (t) => {
    const effectiveFrom = Date.now() + 7_200_000
    const body = {
      model: 'clash',
      provider: 'acme',
      rates: { input_tokens: '5' },
      reason: 'x',
      effective_from: new Date(effectiveFrom).toISOString(),
    }
    await made('/v1/admin/prices', body, admin)
    const id = await propose('clash', {}, { effectiveFrom })
    const audits = await service.query('select count(*)::int as n from audit_log')
    t.match(await decide(id, 'accept'), { status: 409, body: { code: 'version_exists' } })
    t.match(
      (await listed()).find((row: Body) => row.id === id),
      { status: 'pending', decided_by: null },
    )
    t.same(await service.query('select count(*)::int as n from audit_log'), audits)
    t.equal((await decide(id, 'reject')).status, 200)
  })

  t.test('is listed by status and source, in pages', async (t) => {
    for (const i of times(5, (n) => n)) await propose(`paged-${i}`, {}, { source: 'openrouter' })
    const whole = await listed()
    t.same(
      whole.map(({ id }: Body) => id),
      whole
        .map(({ id }: Body) => id)
        .toSorted()
        .reverse(),
      'the newest first',
    )
    for (const status of ['pending', 'accepted', 'rejected', 'superseded']) {
      const rows = await listed(`&status=${status}`)
      t.same(
        rows,
        whole.filter((row: Body) => row.status === status),
        `${rows.length} ${status}`,
      )
    }
    t.equal((await listed('&source=openrouter')).length, 5)
    t.equal((await listed('&source=openrouter&status=accepted')).length, 0)
    const paged: Body[] = []
    let cursor = ''
    do {
      const { body } = await get(`/v1/admin/price-quarantine?source=openrouter&limit=2${cursor && `&cursor=${cursor}`}`, admin)
      paged.push(...body.data)
      cursor = body.next_cursor
    } while (cursor)
    t.same(paged, await listed('&source=openrouter'))
    t.equal((await get('/v1/admin/price-quarantine?status=lost', admin)).status, 400)
    t.equal((await get('/v1/admin/price-quarantine')).status, 403)
  })

  t.test('the book is sound', async (t: Test) => t.same(await service.unsound(), []))
})
