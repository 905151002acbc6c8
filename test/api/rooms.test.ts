import t from 'tap'
import { createService, tally, times } from '../helpers/service.ts'

/** What each room does over the API, figure by figure, where no other file looks. */

t.test('reservations', async (t) => {
  const service = await createService(t)
  const { made, post, get } = service

  t.test('commits less than held and releases the rest', async (t) => {
    const wallet = await service.wallet('100')
    const hold = await made('/v1/reservations', { wallet, amount: '60' })
    t.match(hold, { status: 'held', amount: '60', requested: '60', wallet: { balance: '100', held: '60', available: '40' } })
    const commit = await made(`/v1/reservations/${hold.id}/commit`, { amount: '12.345678' })
    t.match(commit, {
      charged: '12.345678',
      captured: '12.345678',
      overage: '0',
      released: '47.654322',
      wallet: { balance: '87.654322', held: '0' },
    })
    t.equal(commit.wallet.version, hold.wallet.version + 1, 'the version rises with the change')
    t.match((await get(`/v1/reservations/${hold.id}`)).body, { status: 'committed', captured: '12.345678', released: '47.654322' })
  })

  t.test('commits more than held: hold, then available, then debt, then uncollected', async (t) => {
    const wallet = await service.wallet('10', { settings: { overdraft_limit: '3' } })
    const hold = await made('/v1/reservations', { wallet, amount: '6' })
    const commit = await made(`/v1/reservations/${hold.id}/commit`, { amount: '20' })
    t.match(commit, {
      cost: '20',
      captured: '6',
      overage: '7',
      debt: '3',
      uncollected: '7',
      charged: '13',
      wallet: { balance: '-3', held: '0', debt: '3', available: '-3' },
    })
    const rows = (await get(`/v1/wallets/${wallet}/transactions`)).body.data
    t.match(rows, [
      { kind: 'uncollected', amount: '7', balance_after: '-3' },
      { kind: 'charge', amount: '-20', balance_after: '-10' },
      { kind: 'grant', amount: '10' },
    ])
    const repaid = await made('/v1/grants', { wallet, kind: 'purchase', amount: '5' })
    t.match(repaid, { remaining: '2', wallet: { balance: '2', debt: '0' } }, 'the next credits repay the debt first')
  })

  t.test('a hold beside an overdraft limit never draws it', async (t) => {
    const wallet = await service.wallet('10', { settings: { overdraft_limit: '1000' } })
    t.equal((await post('/v1/reservations', { wallet, amount: '10.000001' })).status, 402)
    t.equal((await post('/v1/reservations', { wallet, amount: '10' })).status, 201)
  })

  t.test('captures step by step, with cumulative usage: repeated and late reports add nothing', async (t) => {
    const wallet = await service.wallet('1000')
    const hold = await made('/v1/reservations', { wallet, model: 'gpt-4o', usage: { input_tokens: 1_000, output_tokens: 10_000 } })
    const report = (input_tokens: number, output_tokens: number, final = false) =>
      made(`/v1/reservations/${hold.id}/commit`, { usage_total: { input_tokens, output_tokens }, final })
    // 2.5 and 10 dollars a million, 20 % on top, 100 credits a dollar: 0.0003 and 0.0012 credits a token.
    t.equal((await report(1_000, 100)).cost, '0.42')
    t.equal((await report(1_000, 100)).cost, '0', 'again')
    t.equal((await report(1_000, 50)).cost, '0', 'late')
    t.equal((await report(1_000, 600)).cost, '0.6')
    const last = await report(1_000, 700, true)
    t.equal(last.cost, '0.12')
    t.match((await get(`/v1/reservations/${hold.id}`)).body, { cost: '1.14', captured: '1.14', status: 'committed' })
  })

  t.test('a late commit is billed once and says so; a late release is refused', async (t) => {
    const wallet = await service.wallet('10')
    const [one, two] = await Promise.all(times(2, () => made('/v1/reservations', { wallet, amount: '4', ttl_seconds: 1 })))
    await new Promise((resolve) => setTimeout(resolve, 1_020))
    t.equal((await post(`/v1/reservations/${two.id}/release`)).body.code, 'reservation_expired')
    t.equal((await post(`/v1/reservations/${two.id}/extend`, { ttl_seconds: 60 })).body.code, 'reservation_expired')
    const late = await made(`/v1/reservations/${one.id}/commit`, { amount: '4' })
    t.match(late, { late: true, captured: '0', overage: '4', reservation_status: 'committed' })
    t.equal((await post(`/v1/reservations/${one.id}/commit`, { amount: '4' })).body.code, 'reservation_committed')
    await service.sweep()
    t.match((await get(`/v1/reservations/${two.id}`)).body, { status: 'expired', released: '4' })
    t.match((await get(`/v1/wallets/${wallet}/balance`)).body, { balance: '6', held: '0' })
  })

  t.test('extending ends within seven days of the creation', async (t) => {
    const wallet = await service.wallet('10')
    const hold = await made('/v1/reservations', { wallet, amount: '1', ttl_seconds: 3_600 })
    await service.query(`update reservations set created_at = created_at - interval '6 days 1 s' where id = $1`, [hold.id.slice(4)])
    t.equal((await post(`/v1/reservations/${hold.id}/extend`, { ttl_seconds: 86_400 })).body.code, 'reservation_deadline_too_far')
    const shorter = await made(`/v1/reservations/${hold.id}/extend`, { ttl_seconds: 1 })
    t.equal(shorter.expires_at, hold.expires_at, 'extending never shortens')
  })

  t.test('prices are frozen at reserve', async (t) => {
    const wallet = await service.wallet('1000')
    const admin = { key: service.adminKey }
    const price = (output: string) =>
      made('/v1/admin/prices', { model: 'house', provider: 'us', rates: { input_tokens: '0', output_tokens: output }, reason: 'x' }, admin)
    await price('10')
    const usage = { input_tokens: 0, output_tokens: 1_000 }
    const before = await made('/v1/reservations', { wallet, model: 'house', usage })
    await new Promise((resolve) => setTimeout(resolve, 5))
    await price('20')
    const after = await made('/v1/reservations', { wallet, model: 'house', usage })
    t.equal((await made(`/v1/reservations/${before.id}/commit`, { usage })).cost, '1.2')
    t.equal((await made(`/v1/reservations/${after.id}/commit`, { usage })).cost, '2.4')
  })

  t.test('a question holds nothing and answers as a reserve would', async (t) => {
    const wallet = await service.wallet('10')
    const before = (await get(`/v1/wallets/${wallet}`)).body
    const asked = await Promise.all(
      times(20, (i) => made('/v1/check', { wallet, amount: String(i + 1), partial: i % 2 === 0 }, { idempotencyKey: null })),
    )
    t.same(
      asked.map((answer) => answer.allowed),
      times(20, (i) => i < 10 || i % 2 === 0),
    )
    t.same((await get(`/v1/wallets/${wallet}`)).body, before)
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

t.test('grants', async (t) => {
  const service = await createService(t)
  const { made, get } = service
  const admin = { key: service.adminKey }

  t.test('burn by priority, then expiry, then age', async (t) => {
    const wallet = await service.wallet()
    const later = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString()
    const lots: Record<string, string> = {}
    for (const [name, body] of [
      ['bought', { kind: 'purchase' }],
      ['bought later', { kind: 'purchase' }],
      ['expires late', { kind: 'purchase', expires_at: later(9) }],
      ['expires soon', { kind: 'purchase', expires_at: later(2) }],
      ['bonus', { kind: 'bonus' }],
      ['last', { kind: 'bonus', priority: 1000 }],
      ['first', { kind: 'purchase', priority: 0 }],
    ] as const) {
      lots[name] = (await made('/v1/grants', { wallet, amount: '1', ...body })).id
    }
    const order: string[] = []
    for (let i = 0; i < 7; i += 1) {
      await made('/v1/charges', { wallet, amount: '1' })
      const spent = (await get(`/v1/wallets/${wallet}/grants`)).body.data.filter((grant: { status: string }) => grant.status === 'spent')
      const names = spent.map((grant: { id: string }) => Object.keys(lots).find((name) => lots[name] === grant.id))
      order.push(names.find((name: string) => !order.includes(name)))
    }
    t.same(order, ['first', 'bonus', 'expires soon', 'expires late', 'bought', 'bought later', 'last'])
  })

  t.test('a scheduled grant is in no figure until its time', async (t) => {
    const wallet = await service.wallet('1')
    const at = new Date(Date.now() + 900).toISOString()
    t.match(await made('/v1/grants', { wallet, kind: 'bonus', amount: '5', effective_at: at }), {
      status: 'scheduled',
      remaining: '0',
      wallet: { balance: '1' },
    })
    t.equal((await service.post('/v1/reservations', { wallet, amount: '2' })).status, 402)
    await new Promise((resolve) => setTimeout(resolve, 920))
    t.match(await made('/v1/reservations', { wallet, amount: '6' }), { wallet: { balance: '6', held: '6' } })
  })

  t.test('an expired grant leaves; what is pinned stays spendable and goes when it is released', async (t) => {
    const wallet = await service.wallet()
    const expires = new Date(Date.now() + 900).toISOString()
    await made('/v1/grants', { wallet, kind: 'bonus', amount: '10', expires_at: expires })
    const [spent, released] = await Promise.all(times(2, () => made('/v1/reservations', { wallet, amount: '3' })))
    await new Promise((resolve) => setTimeout(resolve, 920))
    await service.sweep()
    t.match((await get(`/v1/wallets/${wallet}/balance`)).body, { balance: '6', held: '6', available: '0' })
    t.match(await made(`/v1/reservations/${spent.id}/commit`, { amount: '2' }), { captured: '2', wallet: { balance: '3', held: '3' } })
    t.match(await made(`/v1/reservations/${released.id}/release`), { wallet: { balance: '0', held: '0' } })
    const rows = (await get(`/v1/wallets/${wallet}/transactions?kind=expire`)).body.data
    t.same(
      rows.map((row: { amount: string }) => row.amount),
      ['-3', '-1', '-4'],
    )
  })

  t.test('a void takes what is free, and the pinned part when it is released', async (t) => {
    const wallet = await service.wallet()
    const grant = await made('/v1/grants', { wallet, kind: 'bonus', amount: '10' })
    const hold = await made('/v1/reservations', { wallet, amount: '4' })
    t.match(await made(`/v1/grants/${grant.id}/void`, { reason: 'x' }, admin), {
      status: 'void',
      remaining: '4',
      held: '4',
      wallet: { balance: '4' },
    })
    t.match(await made(`/v1/reservations/${hold.id}/release`), { wallet: { balance: '0', held: '0' } })
  })

  t.test('a wallet has at most 1,000 live grants', async (t) => {
    const wallet = await service.wallet()
    const { results } = await made('/v1/batch', {
      commands: times(1_000, (i) => ({ operation: 'grant', idempotency_key: `lot-${i}`, body: { wallet, kind: 'bonus', amount: '0.01' } })),
    })
    t.same(tally(results), { 201: 1_000 })
    t.equal((await service.post('/v1/grants', { wallet, kind: 'bonus', amount: '0.01' })).body.code, 'too_many_grants')
    const started = performance.now()
    t.match(await made('/v1/charges', { wallet, amount: '9.995' }), { charged: '9.995', wallet: { balance: '0.005' } })
    t.comment(`a charge over 1,000 grants: ${Math.round(performance.now() - started)} ms`)
    t.equal((await service.post('/v1/grants', { wallet, kind: 'bonus', amount: '1' })).status, 201, 'spent ones do not count')
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

t.test('charges', async (t) => {
  const service = await createService(t)
  const { made, get, post } = service

  t.test('work is priced exactly, rounded once and upwards', async (t) => {
    const wallet = await service.wallet('1000')
    const charge = async (body: object) => (await made('/v1/charges', { wallet, ...body })).cost
    // claude-haiku: 1 and 5 dollars a million × 1.2 × 100 = 120 and 600 micro-credits a token.
    t.equal(await charge({ model: 'claude-haiku-4-5', usage: { input_tokens: 1_000, output_tokens: 1_000 } }), '0.72')
    // gpt-4o-mini: 0.15 → 18 micro-credits a token; below the minimum.
    t.equal(await charge({ model: 'gpt-4o-mini', usage: { input_tokens: 1, output_tokens: 0 } }), '0.01')
    t.equal(await charge({ model: 'gpt-4o-mini', usage: { input_tokens: 0, output_tokens: 0 } }), '0', 'nothing costs nothing')
    // deepseek: 0.28 × 120 = 33.6 micro-credits a token: 999 tokens are 33566.4, rounded up.
    t.equal(await charge({ model: 'deepseek-chat', usage: { input_tokens: 999, output_tokens: 0 } }), '0.033567')
    t.equal(await charge({ operation: 'voice_creation', units: 3 }), '15')
    t.equal(await charge({ operation: 'script_generation' }), '1')
    t.equal(
      await charge({ operation: 'video_processing', model: 'claude-haiku-4-5', usage: { input_tokens: 1_000, output_tokens: 0 } }),
      '2.12',
      'both together',
    )
    t.equal(await charge({ amount: '0.000001' }), '0.000001', 'stated amounts have no minimum')
  })

  t.test('the owner pays nothing for its own', async (t) => {
    const wallet = await service.wallet('10')
    const { owner } = (await get(`/v1/wallets/${wallet}`)).body
    const own = await made('/v1/charges', { wallet, operation: 'workflow_run', resource_owner: owner })
    t.match(own, { cost: '0', charged: '0' })
    t.match((await get(`/v1/charges/${own.id}`)).body.quote, {
      cost: '0',
      exact: '10',
      residue: '0',
      exempt: true,
      lines: [{ item: 'units', quantity: 1, credits: '10' }],
    })
    t.match(await made('/v1/charges', { wallet, operation: 'workflow_run', resource_owner: 'user:else' }), { cost: '10' })
  })

  t.test('payees earn their share of what is collected, and keep it when it is refunded', async (t) => {
    const wallet = await service.wallet('10')
    const [one, two] = (await Promise.all(times(2, () => service.wallet()))) as [string, string]
    const payees = [
      { wallet: one, share: '0.333333' },
      { wallet: two, share: '0.1' },
    ]
    const charge = await made('/v1/charges', { wallet, amount: '1.000001', payees })
    t.match(charge.earnings, [
      { wallet_id: one, amount: '0.333333' },
      { wallet_id: two, amount: '0.1' },
    ])
    await made(`/v1/charges/${charge.id}/refund`, {})
    t.match((await get(`/v1/wallets/${wallet}/balance`)).body, { balance: '10' })
    t.match((await get(`/v1/wallets/${one}/balance`)).body, { balance: '0.333333' })
    t.match((await get(`/v1/wallets/${one}/transactions`)).body.data, [
      { kind: 'earning', counter_account: 'clearing', charge_id: charge.id },
    ])
  })

  t.test('a refund goes back to the grants it came from, last drawn first', async (t) => {
    const wallet = await service.wallet()
    const bonus = await made('/v1/grants', { wallet, kind: 'bonus', amount: '2' })
    const bought = await made('/v1/grants', { wallet, kind: 'purchase', amount: '5' })
    const charge = await made('/v1/charges', { wallet, amount: '4' })
    await made(`/v1/charges/${charge.id}/refund`, { amount: '3' })
    const left = Object.fromEntries(
      (await get(`/v1/wallets/${wallet}/grants`)).body.data.map((g: { id: string; remaining: string }) => [g.id, g.remaining]),
    )
    t.same(left, { [bonus.id]: '1', [bought.id]: '5' })
  })

  t.test('a commit far above its hold is taken for a mistake, unless an admin forces it', async (t) => {
    const wallet = await service.wallet('1000')
    const hold = await made('/v1/reservations', { wallet, amount: '2' })
    const commit = (amount: string, more = {}, options = {}) =>
      post(`/v1/reservations/${hold.id}/commit`, { amount, final: false, ...more }, options)
    t.equal((await commit('20.000001')).body.code, 'commit_exceeds_hold_factor')
    t.equal((await commit('20')).status, 200)
    t.equal((await commit('0.000001')).body.code, 'commit_exceeds_hold_factor', 'the captures count together')
    t.equal((await commit('5', { force: true })).status, 403)
    t.equal((await commit('5', { force: true }, { key: service.adminKey })).status, 200)
    const audit = await service.query(`select actor, reason from audit_log where action = 'charge.force'`)
    t.match(audit, [{ actor: /^key:fbx_/, reason: /\S/ }])
  })

  t.test('a frozen wallet settles what is open and takes events, but nothing new', async (t) => {
    const wallet = await service.wallet('100')
    const holds = await Promise.all(times(2, () => made('/v1/reservations', { wallet, amount: '5' })))
    await made(`/v1/wallets/${wallet}/freeze`, { reason: 'x' }, { key: service.adminKey })
    t.match((await get(`/v1/wallets/${wallet}/balance`)).body, { blocked: true, exhausted: false })
    t.equal((await post('/v1/reservations', { wallet, amount: '1' })).body.code, 'wallet_frozen')
    t.equal((await post('/v1/charges', { wallet, amount: '1' })).body.code, 'wallet_frozen')
    t.match((await post('/v1/check', { wallet, amount: '1' })).body, { allowed: false, reason: 'wallet_frozen' })
    t.equal((await post(`/v1/reservations/${holds[0].id}/commit`, { amount: '5' })).status, 200)
    t.equal((await post(`/v1/reservations/${holds[1].id}/release`)).status, 200)
    t.match((await made('/v1/events', { events: [{ source: 's', id: '1', wallet, amount: '1' }] })).results, [{ outcome: 'charged' }])
    await made(`/v1/wallets/${wallet}/unfreeze`, { reason: 'x' }, { key: service.adminKey })
    t.equal((await post('/v1/reservations', { wallet, amount: '1' })).status, 201)
  })

  t.test('a price that is missing is never free', async (t) => {
    const wallet = await service.wallet('100')
    const rateless = await createService(t)
    await rateless.query('alter table exchange_rates disable trigger user')
    await rateless.query('delete from exchange_rates')
    await rateless.rooms.prices.refresh()
    const usage = { input_tokens: 1, output_tokens: 1 }
    const poor = await rateless.wallet('5')
    t.equal((await rateless.post('/v1/charges', { wallet: poor, model: 'gpt-4o', usage })).body.code, 'rate_missing')
    t.equal((await post('/v1/charges', { wallet, model: 'gpt-9000', usage })).body.code, 'unknown_model')
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

t.test('an overloaded lane says so at once', async (t) => {
  const service = await createService(t)
  const wallet = await service.wallet('100000')
  const pg = (await import('pg')).default
  const blocker = new pg.Client({ connectionString: service.url })
  await blocker.connect()
  await blocker.query('begin')
  await blocker.query('select id from wallets where id = $1 for update', [wallet.slice(4)])
  const batch = (n: number) =>
    service.post('/v1/batch', {
      commands: times(1_000, (i) => ({ operation: 'charge', idempotency_key: `flood-${n}-${i}`, body: { wallet, amount: '0.01' } })),
    })
  const started = performance.now()
  const answers = times(12, (n) => batch(n).then((answer) => ({ answer, ms: performance.now() - started })))
  const first = await Promise.race(answers)
  t.equal(first.answer.status, 503)
  t.equal(first.answer.body.code, 'overloaded')
  t.match(first.answer.headers, { 'retry-after': '1' })
  t.ok(first.ms < 10_000)
  await blocker.query('rollback')
  await blocker.end()
  const all = (await Promise.all(answers)).map(({ answer }) => answer)
  const refused = all.filter((answer) => answer.status === 503).length
  const results = all.filter((answer) => answer.status === 200).flatMap((answer) => answer.body.results)
  const counts = tally(results)
  t.equal(refused + results.length / 1_000, 12)
  t.ok(refused >= 3 && refused <= 5, 'a batch is queued whole or not at all')
  const [row] = await service.query(`select count(*)::int as n from idempotency_keys where key like 'flood-%'`)
  t.equal(row.n, counts['201'], 'what was done was answered')
  t.comment(`12 × 1,000 commands at once: ${refused} requests refused with overloaded, ${JSON.stringify(counts)}`)
  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
