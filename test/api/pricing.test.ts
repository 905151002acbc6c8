import t from 'tap'
import { verifyCharges } from '../../src/charges/verify-charges.ts'
import { createProxy } from '../helpers/proxy.ts'
import { type AppOfService, type Body, createService, times } from '../helpers/service.ts'

/**
 * Prices over time, end to end: frozen at reserve and used at commit, worked out again from the stored versions alone, in force at
 * their moment on every process, and there while the database is not.
 */

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Asks until the answer is right. @returns after how many milliseconds it was */
async function until(right: () => Promise<boolean>, msMax: number): Promise<number> {
  const from = performance.now()
  while (!(await right())) {
    if (performance.now() - from > msMax) throw new Error(`not within ${msMax} ms`)
    await sleep(5)
  }
  return performance.now() - from
}

t.test('prices are frozen at reserve', async (t) => {
  const service = await createService(t)
  const { made, get, query } = service
  const admin = { key: service.adminKey }
  const set = (path: string, body: object) => made(`/v1/admin/${path}`, { reason: 'a test', force: true, ...body }, admin)
  const wallet = await service.wallet('10000')
  const { owner } = (await get(`/v1/wallets/${wallet}`)).body

  const usage = { input_tokens: 1_000, output_tokens: 500 }
  const used = { input_tokens: 1_000, output_tokens: 250 }
  const reserve = (body: object) => made('/v1/reservations', { wallet, ...body })
  const commit = ({ id }: { id: string }, body: object): Promise<Body> => made(`/v1/reservations/${id}/commit`, body)

  // 20 % on top and 100 credits a dollar: a token at 1 dollar a million is 120 micro-credits, a dollar for a request 120 credits.
  await set('prices', { model: 'house', provider: 'us', rates: { input_tokens: '1', output_tokens: '2', requests: '0.001' } })
  await set('prices', {
    model: 'long',
    provider: 'us',
    rates: { input_tokens: '1', output_tokens: '2' },
    variants: [{ above_prompt_tokens: 1_500, rates: { input_tokens: '2' } }],
  })
  await set('operations', { operation: 'crawl', flat_cost: '0.5', unit_cost: '0.25' })

  const before = {
    whole: await reserve({ model: 'house', usage }),
    late: await reserve({ model: 'house', usage, ttl_seconds: 1 }),
    parts: await reserve({ model: 'house', usage }),
    other: await reserve({ model: 'house', usage }),
    long: await reserve({ model: 'long', usage: { input_tokens: 2_000, output_tokens: 500 } }),
    operation: await reserve({ operation: 'crawl', units: 4 }),
    both: await reserve({ model: 'house', usage, operation: 'crawl', units: 1 }),
    tiny: await reserve({ model: 'house', usage }),
    own: await reserve({ model: 'house', usage, resource_owner: owner }),
  }
  // 0.12 for the input, 0.12 for the output, 0.12 for the request.
  t.equal(before.whole.requested, '0.36')
  t.equal(before.operation.requested, '1.5')
  const quoted = (await get(`/v1/reservations/${before.whole.id}`)).body.quote

  await sleep(5)
  await set('prices', { model: 'house', provider: 'us', rates: { input_tokens: '2', output_tokens: '4', requests: '0.002' } })
  await set('prices', { model: 'long', provider: 'us', rates: { input_tokens: '5', output_tokens: '5' } })
  await set('operations', { operation: 'crawl', flat_cost: '5', unit_cost: '2.5' })
  await set('markups', { model: 'house', percent: '50' })
  await set('exchange-rates', { currency: 'USD', purpose: 'consumption', credits_per_unit: '200' })
  await set('charge-policies', { minimum_charge: '2', maximum_charge: '100000', round_to: '0.5', owner_exempt: false })

  t.test('commits cost what they would have cost then', async (t) => {
    const whole = await commit(before.whole, { usage: used })
    t.match(whole, { cost: '0.3', late: false })
    // 1,000 × 120 and 250 × 240 and a request of 120,000 micro-credits.
    const { quote } = (await get(`/v1/charges/${whole.id}`)).body
    t.match(quote, { exact: '0.3', residue: '0', credits_per_usd: '120', minimum: '0.01', versions: quoted.versions })
    t.same(
      quote.lines.map((line: Body) => [line.pool, line.quantity, line.usd, line.per, line.credits]),
      [
        ['input_tokens', 1_000, '1', 1_000_000, '0.12'],
        ['output_tokens', 250, '2', 1_000_000, '0.06'],
        ['requests', 1, '0.001', 1, '0.12'],
      ],
    )
    t.equal((await commit(before.operation, { units: 2 })).cost, '1', 'an operation: once 0.5, twice 0.25')
    t.equal((await commit(before.both, { usage: used, units: 3 })).cost, '1.55', 'both: 0.3 and 0.5 and three times 0.25')
    t.equal((await commit(before.tiny, { usage: { input_tokens: 0, output_tokens: 0 } })).cost, '0.12', 'the request alone')
    t.equal((await commit(before.own, { usage: used })).cost, '0', 'free for the owner, as it was')
  })

  t.test('so do captures, of parts and of running totals', async (t) => {
    t.equal((await commit(before.parts, { usage: { input_tokens: 400 }, final: false })).cost, '0.048')
    t.equal((await commit(before.parts, { usage: { input_tokens: 600, output_tokens: 250 } })).cost, '0.252', 'the request comes last')
    // 1,200 of the prompt at 120, then 2,000 at 240: what is paid already comes off.
    t.equal((await commit(before.long, { usage_total: { input_tokens: 1_200 }, final: false })).cost, '0.144')
    t.equal((await commit(before.long, { usage_total: { input_tokens: 1_200 }, final: false })).cost, '0', 'said twice')
    t.equal((await commit(before.long, { usage_total: { input_tokens: 2_000, output_tokens: 100 } })).cost, '0.36')
  })

  t.test('work that was not reserved has the price of the day of the reservation', async (t) => {
    // gpt-4o at 2.5 and 10 dollars, at 120 credits a dollar.
    t.equal((await commit(before.other, { model: 'gpt-4o', usage: used, final: false })).cost, '0.6')
    t.equal(
      (await commit(before.other, { operation: 'crawl', units: 1, final: false })).cost,
      '0.25',
      'what is paid once comes with the last',
    )
    t.equal((await commit(before.other, { model: 'house', usage: used })).cost, '0.3')
  })

  t.test('late ones too', async (t) => {
    await sleep(Math.max(0, Date.parse(before.late.expires_at) - Date.now() + 20))
    await service.sweep()
    t.equal((await get(`/v1/reservations/${before.late.id}`)).body.status, 'expired')
    t.match(await commit(before.late, { usage: used }), { cost: '0.3', late: true, captured: '0', overage: '0.3' })
  })

  t.test('what is reserved now has the new prices', async (t) => {
    // 600, 1,200 and 0.6 credits for the request: 0.6 + 0.3 + 0.6 goes up to a multiple of 0.5, and to the minimum.
    const after = await reserve({ model: 'house', usage })
    t.equal(after.requested, '2')
    const charge = await commit(after, { usage: { input_tokens: 1_000, output_tokens: 2_000 } })
    t.equal(charge.cost, '4', '0.6 + 2.4 + 0.6 = 3.6 goes up to 4')
    const { quote } = (await get(`/v1/charges/${charge.id}`)).body
    t.match(quote, { cost: '4', exact: '3.6', residue: '0.4', minimum: '2', credits_per_usd: '300' })
    t.equal((await commit(await reserve({ operation: 'crawl', units: 1 }), { units: 2 })).cost, '10')
    t.equal((await commit(await reserve({ model: 'house', usage, resource_owner: owner }), { usage })).cost, '2', 'and nobody is exempt')
    t.equal((await made('/v1/charges', { wallet, amount: '0.123456' })).cost, '0.123456', 'a stated amount is what it is')
  })

  const chargeIds = async (): Promise<string[]> =>
    (await query(`select id from charges order by id`)).map(({ id }) => `chg_${id.replaceAll('-', '')}`)
  const recomputed = async (id: string): Promise<Body> => (await get(`/v1/charges/${id}/recompute`)).body

  t.test('every charge comes to the same from the stored versions alone', async (t) => {
    const ids = await chargeIds()
    for (const id of ids) {
      const charge = (await get(`/v1/charges/${id}`)).body
      const again = await recomputed(id)
      t.match(again, { charge_id: id, cost: charge.cost, recomputed: charge.cost, matches: true, missing_versions: [] })
      t.same(again.quote, charge.quote, 'line by line')
    }
    t.ok(ids.length >= 15)
    const verified = await verifyCharges(service.rooms.chargeReads, service.rooms.prices.current())
    t.same(verified, { charges: ids.length, different: 0, examples: [] })
    t.comment(`${ids.length} charges recomputed`)
  })

  t.test('and says so when somebody has changed it', async (t) => {
    const ids = await chargeIds()
    const [id] = ids as [string]
    const [{ quote }] = (await query('select quote from charges where id = $1', [id.slice(4)])) as [{ quote: Body }]
    const cost = '0.3'
    const tamper = (change: string) => query(`update charges set ${change} where id = $1`, [id.slice(4)])
    await tamper('cost = cost + 1, uncollected = uncollected + 1')
    t.match(await recomputed(id), { cost: '0.300001', recomputed: cost, matches: false, missing_versions: [] })
    await tamper('cost = cost - 1, uncollected = uncollected - 1')

    // A change of the figures that were frozen with it changes nothing: the versions speak.
    const model = { ...quote.terms.model, credits_per_usd: '1', rates: { input_tokens: '0', output_tokens: '0', requests: '0' } }
    for (const forged of [
      { ...quote, n: '1', d: '1' },
      { ...quote, terms: { ...quote.terms, model } },
      { ...quote, terms: { ...quote.terms, minimum: '99999999', round_to: '1000000' } },
    ]) {
      await query('update charges set quote = $2 where id = $1', [id.slice(4), JSON.stringify(forged)])
      t.match(await recomputed(id), { cost, recomputed: cost, matches: true })
    }
    const absent = '00000000-0000-7000-8000-000000000000'
    const nowhere = { ...quote, terms: { ...quote.terms, model: { ...quote.terms.model, markup: absent } } }
    await query('update charges set quote = $2 where id = $1', [id.slice(4), JSON.stringify(nowhere)])
    const missing = [`prc_${absent.replaceAll('-', '')}`]
    t.match(await recomputed(id), { cost, recomputed: null, matches: false, missing_versions: missing, quote: null })
    const verified = await verifyCharges(service.rooms.chargeReads, service.rooms.prices.current())
    t.match(verified, { charges: ids.length, different: 1 })
    t.match(verified.examples, [new RegExp(`^${id} cost 0.3 and needs versions ${absent}$`)])
    await query('update charges set quote = $2 where id = $1', [id.slice(4), JSON.stringify(quote)])
    t.match(await recomputed(id), { matches: true })
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

t.test('a price takes effect at its time, on every process', async (t) => {
  const service = await createService(t)
  const other = await service.another()
  const admin = { key: service.adminKey }
  const apps: Record<string, AppOfService> = { one: service, other }
  const wallet = await service.wallet('10000')
  const price = (input: string, more: object = {}) =>
    service.made('/v1/admin/prices', { model: 'timed', provider: 'us', rates: { input_tokens: input }, reason: 'x', ...more }, admin)
  await price('1')
  await until(async () => (await other.get('/v1/models?model=timed')).body.data.length === 1, 2_000)

  t.test('by itself, with nobody doing anything', async (t) => {
    const at = Date.now() + 2_000
    const announced = await price('3', { effective_from: new Date(at).toISOString() })
    t.equal(announced.effective_from, new Date(at).toISOString())
    const charges: Body[] = []
    const usage = { input_tokens: 1_000 }
    const hold = await service.made('/v1/reservations', { wallet, model: 'timed', usage })
    while (Date.now() < at + 600) {
      for (const app of Object.values(apps)) {
        const events = [{ source: 's', id: `${charges.length}`, wallet, model: 'timed', usage }]
        charges.push(
          await app.made('/v1/charges', { wallet, model: 'timed', usage }),
          (await app.made('/v1/events', { events })).results[0].body,
        )
      }
      await sleep(20)
    }
    const [early, late] = [charges.filter((c) => Date.parse(c.created_at) < at), charges.filter((c) => Date.parse(c.created_at) >= at)]
    t.ok(early.length >= 20 && late.length >= 10, `${early.length} charges before, ${late.length} after`)
    t.same([...new Set(early.map(({ cost }) => cost))], ['0.12'], 'each at the price of its moment')
    t.same([...new Set(late.map(({ cost }) => cost))], ['0.36'])
    t.equal((await service.made(`/v1/reservations/${hold.id}/commit`, { usage })).cost, '0.12', 'what was reserved before stays')
    for (const app of Object.values(apps)) {
      t.match((await app.get('/v1/models?model=timed')).body.data, [{ rates: { input_tokens: '3' }, price_id: announced.id }])
    }
    const quote = async (when: number) => (await other.made('/v1/quotes', { model: 'timed', usage, at: new Date(when).toISOString() })).cost
    t.same([await quote(at - 1), await quote(at), await quote(at + 86_400_000)], ['0.12', '0.36', '0.36'], 'quotes of any moment')
    t.comment(`${early.length} charges before it and ${late.length} after it, on two processes`)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

t.test('processes tell each other of new prices', async (t) => {
  const service = await createService(t)
  const other = await service.another()
  const admin = { key: service.adminKey }
  let prices = 0

  /** Sets a price through one process. @returns after how long the other one uses it */
  async function told(msMax: number): Promise<number> {
    prices += 1
    const usage = { input_tokens: 1_000 }
    const cost = String(12 * prices)
    const rates = { input_tokens: String(100 * prices) }
    await service.made('/v1/admin/prices', { model: 'told', provider: 'us', rates, reason: 'x', force: true }, admin)
    return until(async () => (await other.post('/v1/quotes', { model: 'told', usage })).body.cost === cost, msMax)
  }
  const OF_LISTENERS = `application_name = 'farebox-listener' and datname = current_database()`
  const listeners = async () =>
    (await service.query(`select pid from pg_stat_activity where ${OF_LISTENERS}`)).map(({ pid }) => pid as number)
  /** Ends both listeners' connections. @returns whose they were: they may be seen for a moment more */
  async function kill(): Promise<number[]> {
    const pids = await listeners()
    t.equal(pids.length, 2)
    await service.query('select pg_terminate_backend(pid) from unnest($1::int[]) as pid', [pids])
    return pids
  }
  /** @param gone connections that do not count */
  const bothListen = async (gone: readonly number[] = []) => (await listeners()).filter((pid) => !gone.includes(pid)).length === 2
  await until(bothListen, 30_000)

  t.test('at once', async (t) => {
    const spans: number[] = []
    for (let i = 0; i < 10; i += 1) spans.push(await told(5_000))
    t.comment(`median ${Math.round(spans.toSorted((a, b) => a - b)[5] ?? 0)} ms, slowest ${Math.round(Math.max(...spans))} ms`)
  })

  t.test('every kind of price', async (t) => {
    const quote = async (body: object) => (await other.post('/v1/quotes', body)).body
    const usage = { input_tokens: 1_000 }
    const set = (path: string, body: object) => service.made(`/v1/admin/${path}`, { reason: 'x', force: true, ...body }, admin)
    await set('operations', { operation: 'told', unit_cost: '7' })
    await until(async () => (await quote({ operation: 'told' })).cost === '7', 5_000)
    await set('markups', { provider: 'openai', percent: '0' })
    await until(async () => (await quote({ model: 'gpt-4o', usage })).credits_per_usd === '100', 5_000)
    await set('exchange-rates', { currency: 'USD', purpose: 'consumption', credits_per_unit: '50' })
    await until(async () => (await quote({ model: 'gpt-4o', usage })).credits_per_usd === '50', 5_000)
    await set('charge-policies', { minimum_charge: '3', maximum_charge: '10' })
    await until(async () => (await quote({ model: 'gpt-4o', usage })).cost === '3', 5_000)
    const proposal = await service.propose('gpt-4o', { rates: { input_tokens: '100' } })
    await service.made(`/v1/admin/price-quarantine/${proposal}/accept`, { reason: 'x' }, admin)
    await until(async () => (await quote({ model: 'gpt-4o', usage })).cost === '5', 5_000)
    await set('exchange-rates', { currency: 'USD', purpose: 'consumption', credits_per_unit: '100' })
    await set('charge-policies', { minimum_charge: '0', maximum_charge: '100000' })
    await until(async () => (await quote({ model: 'gpt-4o', usage })).maximum === '100000', 5_000)
    t.pass('each was used by the other process in time')
  })

  t.test('also after their connections were killed', async (t) => {
    for (let i = 0; i < 3; i += 1) {
      const killed = await kill()
      const back = await until(() => bothListen(killed), 30_000)
      const span = await told(5_000)
      t.comment(`listening again after ${Math.round(back)} ms, told within ${Math.round(span)} ms`)
    }
    await kill()
    // What is announced while nobody listens is found on coming back.
    const span = await told(10_000)
    t.comment(`while the listeners were away: ${Math.round(span)} ms`)
    t.match(service.logText(), /"channel":"farebox_prices".*the listener lost its connection/)
  })
})

t.test('prices are there while the database is away', async (t) => {
  const service = await createService(t)
  const proxy = await createProxy(t, service.url)
  const behind = await service.another({ url: proxy.url })
  const admin = { key: service.adminKey }
  const usage = { input_tokens: 1_000, output_tokens: 100 }
  const body = { model: 'gpt-4o', usage, operation: 'voice_creation', units: 2 }
  const here = await behind.post('/v1/quotes', body)
  t.equal(here.body.cost, '10.42')

  await proxy.set('down')
  for (const answer of await Promise.all(times(20, () => behind.post('/v1/quotes', body)))) t.same(answer.body, here.body)
  t.match((await behind.post('/v1/quotes', { model: 'gpt-4o', input_text: 'one two three', max_output_tokens: 10 })).body, {
    estimate: 'tokenizer',
    usage: { input_tokens: 3, output_tokens: 10 },
  })
  t.equal((await behind.get('/v1/models')).body.data.length, 31)
  t.equal((await behind.get('/v1/operations')).body.data.length, 5)
  t.equal((await behind.post('/v1/quotes', { ...body, model: 'gpt-9' })).body.code, 'unknown_model')
  t.equal((await behind.get('/v1/wallets')).status, 503, 'it is away')

  // What was set meanwhile is known soon after it is back.
  await service.made('/v1/admin/prices', { model: 'meanwhile', provider: 'us', rates: { input_tokens: '1' }, reason: 'x' }, admin)
  await proxy.set('pass')
  const span = await until(async () => (await behind.get('/v1/models?model=meanwhile')).body.data.length === 1, 5_000)
  t.comment(`known ${Math.round(span)} ms after it was back`)
})
