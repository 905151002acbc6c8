import t, { type Test } from 'tap'
import { type Body, createService, type Send, times } from '../helpers/service.ts'

/** Listings, their pages and filters, usage totals, and what a person sees of it all. */

t.test('history', async (t) => {
  const service = await createService(t)
  const { made, get } = service
  const admin = { key: service.adminKey }

  /** Follows the cursors to the end. */
  async function all(path: string, limit: number, options: Send = {}): Promise<{ rows: Body[]; pages: number; cursors: string[] }> {
    const rows: Body[] = []
    const cursors: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const join = path.includes('?') ? '&' : '?'
      const { status, body } = await get(`${path}${join}limit=${limit}${cursor ? `&cursor=${cursor}` : ''}`, options)
      if (status !== 200) throw new Error(`${path} answered ${status}: ${JSON.stringify(body)}`)
      rows.push(...body.data)
      cursor = body.next_cursor
      if (cursor) cursors.push(cursor)
    }
    return { rows, pages: cursors.length + 1, cursors }
  }

  const wallet = await service.wallet('1000')
  const other = await service.wallet('1000')
  for (const [i] of times(25, (n) => [n]).entries()) {
    const hold = await made('/v1/reservations', { wallet, amount: '2', reference: `r-${i % 5}` })
    if (i % 3 === 0) await made(`/v1/reservations/${hold.id}/commit`, { amount: '1', reference: `r-${i % 5}` })
    if (i % 3 === 1) await made(`/v1/reservations/${hold.id}/release`)
    await made('/v1/grants', { wallet, kind: 'bonus', amount: '0.5', reference: `g-${i}` })
  }
  await made('/v1/reservations', { wallet: other, amount: '2' })

  const lists = [
    { path: `/v1/wallets/${wallet}/transactions`, order: (row: Body) => -row.seq, rows: 35 },
    { path: `/v1/wallets/${wallet}/grants`, order: (row: Body) => row.id, rows: 26 },
    { path: `/v1/wallets/${wallet}/reservations`, order: (row: Body) => row.id, rows: 25 },
    { path: '/v1/wallets', order: (row: Body) => row.id, rows: 2 },
    { path: '/v1/admin/clients', order: (row: Body) => row.id, rows: 2, ...admin },
    { path: `/v1/admin/clients/${service.client.wireId}/keys`, order: (row: Body) => row.id, rows: 2, ...admin },
  ]

  t.test('every listing gives the same rows in pages of any size, newest first', async (t) => {
    for (const { path, order, rows, ...options } of lists) {
      const whole = await all(path, 200, options)
      t.equal(whole.rows.length, rows, path)
      for (const limit of [1, 2, 7, rows, rows + 1]) {
        const paged = await all(path, limit, options)
        t.same(paged.rows, whole.rows, `${path} by ${limit}`)
        t.equal(paged.pages, Math.ceil(rows / limit), 'with no empty page at the end')
      }
      const keys = whole.rows.map(order)
      const sorted = keys.toSorted((a, b) => (typeof a === 'number' ? a - b : a < b ? 1 : -1))
      t.same(keys, sorted, 'in order')
      t.equal(new Set(whole.rows.map((row) => row.id)).size, rows, 'each once')
    }
    const many = await service.newClient()
    for (let i = 0; i < 55; i += 1) await service.wallet(undefined, { key: many.key, owner: `user:many-${i}` })
    const first = (await get('/v1/wallets', { key: many.key })).body
    t.equal(first.data.length, 50, 'fifty when nothing is said')
    t.ok(first.next_cursor)
  })

  t.test('rows that come meanwhile neither shift nor repeat a page', async (t) => {
    const busy = await service.wallet('100')
    for (let i = 0; i < 9; i += 1) await made('/v1/charges', { wallet: busy, amount: '1' })
    const path = `/v1/wallets/${busy}/transactions`
    const first = (await get(`${path}?limit=4`)).body
    await made('/v1/charges', { wallet: busy, amount: '1' })
    const second = (await get(`${path}?limit=4&cursor=${first.next_cursor}`)).body
    t.same(
      [...first.data, ...second.data].map((row) => row.seq),
      [10, 9, 8, 7, 6, 5, 4, 3],
    )
  })

  t.test('a cursor belongs to its listing, its wallet, its filters and its reader', async (t) => {
    const { next_cursor: cursor } = (await get(`/v1/wallets/${wallet}/transactions?limit=3`)).body
    const refused = async (path: string, options: Send = {}) => {
      const answer = await get(path, options)
      t.equal(answer.status, 400, path.slice(0, 110))
      t.equal(answer.body.code, 'cursor_invalid')
    }
    t.equal((await get(`/v1/wallets/${wallet}/transactions?limit=9&cursor=${cursor}`)).status, 200, 'the page size may change')
    await refused(`/v1/wallets/${other}/transactions?cursor=${cursor}`)
    await refused(`/v1/wallets/${wallet}/grants?cursor=${cursor}`)
    await refused(`/v1/wallets/${wallet}/transactions?kind=charge&cursor=${cursor}`)
    await refused(`/v1/wallets/${wallet}/transactions?reference=r-1&cursor=${cursor}`)
    await refused(`/v1/wallets/${wallet}/transactions?from=2026-01-01T00:00:00Z&cursor=${cursor}`)
    const [position, sum] = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    for (const altered of [
      [String(Number(position) - 1), sum],
      [position, `${sum.slice(0, -1)}${sum.endsWith('A') ? 'B' : 'A'}`],
      [position],
      [position, sum, ''],
      [Number(position), sum],
      ['9'.repeat(19), sum],
    ]) {
      await refused(`/v1/wallets/${wallet}/transactions?cursor=${Buffer.from(JSON.stringify(altered)).toString('base64url')}`)
    }
    await refused(`/v1/wallets/${wallet}/transactions?cursor=${cursor}=`)
    await refused(`/v1/wallets/${wallet}/transactions?cursor=${cursor.slice(1)}`)
    const wallets = (await get('/v1/wallets?limit=1')).body.next_cursor
    await refused(`/v1/wallets?cursor=${wallets}`, { key: service.other.key })
    await refused(`/v1/wallets?status=active&cursor=${wallets}`)
    await refused(`/v1/wallets?cursor=${wallets}`, { key: await service.tokenFor('owner-1') })
  })

  t.test('limits have bounds', async (t) => {
    for (const limit of ['1', '200']) t.equal((await get(`/v1/wallets?limit=${limit}`)).status, 200)
    for (const limit of ['0', '201', '-1', '1.0', 'all']) {
      const answer = await get(`/v1/wallets?limit=${limit}`)
      t.equal(answer.status, 400)
      t.equal(answer.body.errors[0].pointer, '/query/limit')
    }
  })

  t.test('transactions by kind, reference and time', async (t) => {
    const path = `/v1/wallets/${wallet}/transactions`
    const whole = (await all(path, 200)).rows
    for (const kind of ['grant', 'charge', 'refund']) {
      t.same(
        (await all(`${path}?kind=${kind}`, 4)).rows,
        whole.filter((row) => row.kind === kind),
        kind,
      )
    }
    const mine = (await all(`${path}?reference=r-0`, 2)).rows
    t.same(
      mine,
      whole.filter((row) => row.reference === 'r-0'),
    )
    t.ok(mine.length > 1)
    const at = whole[10].created_at
    const younger = (await all(`${path}?from=${at}`, 5)).rows
    const older = (await all(`${path}?to=${at}`, 5)).rows
    t.same([...younger, ...older], whole, 'from is in, to is out')
    t.ok(younger.some((row) => row.created_at === at))
    t.same((await all(`${path}?from=${at}&to=${at}`, 5)).rows, [])
    const zoned = new Date(Date.parse(at) + 2 * 3_600_000).toISOString().replace('Z', '+02:00')
    t.same((await all(`${path}?from=${encodeURIComponent(zoned)}`, 50)).rows, younger, 'an offset is understood')
    const sum = whole.reduce((total, row) => total + Number(row.amount), 0)
    t.equal(sum, Number((await get(`/v1/wallets/${wallet}`)).body.balance), 'the rows add up to the balance')
    t.equal(whole[0].balance_after, (await get(`/v1/wallets/${wallet}`)).body.balance)
  })

  t.test('reservations by status, wallets by status and kind of owner', async (t) => {
    const path = `/v1/wallets/${wallet}/reservations`
    const whole = (await all(path, 200)).rows
    for (const [status, n] of Object.entries({ held: 8, committed: 9, released: 8, expired: 0 })) {
      const rows = (await all(`${path}?status=${status}`, 3)).rows
      t.equal(rows.length, n, status)
      t.same(
        rows,
        whole.filter((row) => row.status === status),
      )
    }
    const client = await service.newClient()
    const as = { key: client.key }
    for (const owner of ['user:a', 'user:b', 'org:a', 'team:x']) await service.wallet(undefined, { ...as, owner })
    await made('/v1/wallets/org%3Aa/freeze', { reason: 'x' }, { key: await service.newKey(['admin'], client) })
    const owners = async (query: string) => (await all(`/v1/wallets${query}`, 1, as)).rows.map((row) => row.owner)
    t.same(await owners(''), ['team:x', 'org:a', 'user:b', 'user:a'])
    t.same(await owners('?owner_kind=user'), ['user:b', 'user:a'])
    t.same(await owners('?status=frozen'), ['org:a'])
    t.same(await owners('?status=active&owner_kind=org'), [])
  })

  t.test('grants: all of them, or those that are open', async (t) => {
    const lots = await service.wallet()
    const soon = new Date(Date.now() + 900).toISOString()
    const statuses: Record<string, string> = {}
    const add = async (name: string, body: object) => {
      statuses[(await made('/v1/grants', { wallet: lots, kind: 'bonus', amount: '1', ...body })).id] = name
    }
    await add('spent', { priority: 0 })
    await made('/v1/charges', { wallet: lots, amount: '1' })
    await add('active', {})
    await add('expired', { expires_at: soon })
    await add('scheduled', { effective_at: '2100-01-01T00:00:00Z' })
    await add('void', {})
    await made(`/v1/grants/${Object.keys(statuses).at(-1)}/void`, { reason: 'x' }, admin)
    await new Promise((resolve) => setTimeout(resolve, 920))
    await service.sweep()
    const rows = (await all(`/v1/wallets/${lots}/grants`, 2)).rows
    for (const row of rows) t.equal(row.status, statuses[row.id])
    t.equal(rows.length, 5)
    const open = (await all(`/v1/wallets/${lots}/grants?open=true`, 1)).rows
    t.same(open.map((row) => row.status).sort(), ['active', 'scheduled'])
  })

  t.test('usage totals are exact, by model, operation and day', async (t) => usageTotals(t))

  async function usageTotals(t: Test) {
    const spender = await service.wallet('100', { settings: { time_zone: 'America/New_York', overdraft_limit: '1' } })
    const model = (name: string, input_tokens: number, output_tokens: number) =>
      made('/v1/charges', { wallet: spender, model: name, usage: { input_tokens, output_tokens } })
    // claude-haiku-4-5: 0.00012 and 0.0006 credits a token; deepseek-chat: 33.6 and 50.4 micro-credits.
    await model('claude-haiku-4-5', 1_000, 100)
    await model('claude-haiku-4-5', 7, 1_000)
    // A tenth of the price of fresh tokens. What is reported as zero is a zero in the totals.
    await made('/v1/charges', {
      wallet: spender,
      model: 'claude-haiku-4-5',
      usage: { cache_read_tokens: 1_000, reasoning_tokens: 0, searches: 0 },
    })
    await model('deepseek-chat', 999, 1)
    await made('/v1/charges', { wallet: spender, operation: 'voice_creation', units: 3 })
    await made('/v1/charges', { wallet: spender, operation: 'script_generation' })
    const refunded = await made('/v1/charges', { wallet: spender, amount: '2.5' })
    await made(`/v1/charges/${refunded.id}/refund`, { amount: '0.75' })
    const over = await made('/v1/reservations', { wallet: spender, amount: '20' })
    await made(`/v1/reservations/${over.id}/commit`, { amount: '150' })
    const { owner } = (await get(`/v1/wallets/${spender}`)).body
    await made('/v1/charges', { wallet: spender, operation: 'script_generation', resource_owner: owner })

    const usage = async (query: string) => (await get(`/v1/wallets/${spender}/usage?${query}`)).body
    const byModel = await usage('group_by=model')
    const row = (group: string | null, charges: number, cost: string, more: object = {}) => ({
      group,
      charges,
      cost,
      charged: cost,
      uncollected: '0',
      refunded: '0',
      usage: {},
      units: 0,
      ...more,
    })
    // 100 − 0.18 − 0.60084 … are left before the commit of 150; one more credit goes into debt, the rest is uncollected.
    t.same(byModel.data, [
      row(null, 5, '168.5', { charged: '100.923543', uncollected: '67.576457', refunded: '0.75', units: 5 }),
      row('claude-haiku-4-5', 3, '0.79284', {
        usage: { input_tokens: 1_007, cache_read_tokens: 1_000, output_tokens: 1_100, reasoning_tokens: 0, searches: 0 },
      }),
      row('deepseek-chat', 1, '0.033617', { usage: { input_tokens: 999, output_tokens: 1 } }),
    ])
    const byOperation = await usage('group_by=operation')
    t.same(byOperation.data.slice(1), [row('voice_creation', 1, '15', { units: 3 }), row('script_generation', 2, '1', { units: 2 })])
    for (const totals of [byModel, byOperation, await usage('group_by=day'), await usage('')]) {
      t.match(totals.total, {
        charges: 9,
        cost: '169.326457',
        charged: '101.75',
        uncollected: '67.576457',
        refunded: '0.75',
        usage: { input_tokens: 2_006, cache_read_tokens: 1_000, output_tokens: 1_101, reasoning_tokens: 0, searches: 0 },
        units: 5,
      })
      t.equal(totals.wallet_id, spender)
    }

    // The same charges at chosen times: a midnight in New York is none in UTC.
    const ids = await service.query(`select id from charges where wallet_id = $1 order by id`, [spender.slice(4)])
    const at = ['2026-03-08T04:59:59.999Z', '2026-03-08T05:00:00Z', '2026-03-09T03:59:59.999Z', '2026-03-09T04:00:00Z']
    for (const [i, { id }] of ids.entries()) {
      const moment = at[i % at.length] as string
      const moved = `${Date.parse(moment).toString(16).padStart(12, '0')}${id.replaceAll('-', '').slice(12)}`
      await service.query('update charges set id = $1, created_at = $2 where id = $3', [moved, moment, id])
    }
    const days = async (query: string) => (await usage(`group_by=day&${query}`)).data.map((day: Body) => [day.group, day.charges])
    const window = 'from=2026-03-01T00:00:00Z&to=2026-04-01T00:00:00Z'
    t.same(
      await days(window),
      [
        ['2026-03-07', 3],
        ['2026-03-08', 4],
        ['2026-03-09', 2],
      ],
      'days of New York, the short one of March 8 included',
    )
    await service.patch(`/v1/wallets/${spender}`, { time_zone: 'Asia/Tokyo' })
    t.same(await days(window), [
      ['2026-03-08', 5],
      ['2026-03-09', 4],
    ])
    await service.patch(`/v1/wallets/${spender}`, { time_zone: 'UTC' })
    t.same(await days(window), [
      ['2026-03-08', 5],
      ['2026-03-09', 4],
    ])
    t.same(
      await days('from=2026-03-08T05:00:00Z&to=2026-03-09T04:00:00Z'),
      [
        ['2026-03-08', 2],
        ['2026-03-09', 2],
      ],
      'from is in, to is out',
    )
    t.same(await days('from=2026-03-10T00:00:00Z&to=2026-03-11T00:00:00Z'), [])
    t.equal((await get(`/v1/wallets/${spender}/usage?from=2025-03-01T00:00:00Z&to=2026-03-02T00:00:00Z`)).status, 200, '366 days')
    t.equal((await get(`/v1/wallets/${spender}/usage?from=2025-03-01T00:00:00Z&to=2026-03-02T00:00:00.001Z`)).status, 400)
    t.equal((await service.patch(`/v1/wallets/${spender}`, { time_zone: 'Mars/Olympus' })).status, 400)
  }

  t.test('a person sees the own wallets and nothing else', async (t) => {
    const client = await service.newClient()
    const as = { key: client.key }
    const own = await service.wallet('50', { ...as, owner: 'user:alice' })
    const foreign = await service.wallet('50', { ...as, owner: 'user:bob' })
    const org = await service.wallet('50', { ...as, owner: 'org:alice' })
    const charge = await made('/v1/charges', { wallet: own, amount: '1' }, as)
    const hold = await made('/v1/reservations', { wallet: own, amount: '1' }, as)
    const strange = await made('/v1/charges', { wallet: foreign, amount: '1' }, as)
    const key = await service.tokenFor('alice', client)
    t.same(
      (await all('/v1/wallets', 1, { key })).rows.map((row) => row.id),
      [own],
    )
    for (const path of ['', '/balance', '/transactions', '/grants', '/reservations', '/usage']) {
      t.equal((await get(`/v1/wallets/${own}${path}`, { key })).status, 200, `own ${path}`)
      t.equal((await get(`/v1/wallets/user:alice${path}`, { key })).status, 200)
      for (const wallet of [foreign, org, 'user:bob', 'org:alice'])
        t.equal((await get(`/v1/wallets/${wallet}${path}`, { key })).status, 404, `${wallet} ${path}`)
    }
    t.equal((await get(`/v1/charges/${charge.id}`, { key })).status, 200)
    t.equal((await get(`/v1/reservations/${hold.id}`, { key })).status, 200)
    t.equal((await get(`/v1/charges/${strange.id}`, { key })).status, 404)
    t.equal((await get('/v1/models', { key })).status, 403)
    t.same((await all('/v1/wallets?owner_kind=org', 1, { key })).rows, [])
  })

  t.test('the book is sound', async (t) => {
    // The charges that were moved in time have other ids than their ledger rows and keys.
    t.same(
      (await service.unsound()).filter((found) => !/^I1[1-4]/.test(found)),
      [],
    )
  })
})
