import pg from 'pg'
import t, { type Test } from 'tap'
import { ERROR_CODES } from '../../src/kernel/errors.ts'
import { operationsOf } from '../../src/wire.ts'
import { RETURN_URL, WEBHOOK_SECRET } from '../helpers/billing.ts'
import { type DocumentedRoute, documentedRoutes, fillPath } from '../helpers/document.ts'
import { createProxy } from '../helpers/proxy.ts'
import { atSandbox, sandboxId, saveCards, untold } from '../helpers/sandbox.ts'
import { type Answer, type AppOfService, createService, type Send } from '../helpers/service.ts'
import { startTestStripe } from '../helpers/stripe/index.ts'

/**
 * Every route meets each of its documented statuses. Everything that is sent here goes through `call`, which writes down what was
 * met and holds every answer against the documented schema; in the end nothing documented may be left over.
 */

const ABSENT = '00000000000070008000000000000000'
const BODY_LIMIT = 64 * 1024
const LARGE_BODY_LIMIT = 4 * 1024 * 1024
/** What takes more. */
const LARGE_BODY_LIMITS: Readonly<Record<string, number>> = {
  batch: LARGE_BODY_LIMIT,
  reportEvents: LARGE_BODY_LIMIT,
  importPrices: 2 * LARGE_BODY_LIMIT,
}
/** Needs no database: prices are in memory. */
const IN_MEMORY = ['listModels', 'listOperations', 'quote']
const ADMIN = new Set(['void', 'adjust', 'freezeWallet', 'unfreezeWallet', 'closeWallet'])

const met = new Set<string>()
const codesMet = new Set<string>()

interface Call extends Send {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: string
  readonly body?: object | string
  readonly app?: AppOfService
}

t.test('every route', async (t) => {
  const service = await createService(t)
  const routes = documentedRoutes(service.app)
  const routeOf = new Map(routes.map((route) => [route.operationId, route]))
  const admin = { key: service.adminKey }

  async function call(
    t: Test,
    operationId: string,
    status: number,
    { params = {}, query = '', body, app = service, ...send }: Call,
    code?: string,
  ) {
    const route = routeOf.get(operationId) as DocumentedRoute
    const forAdmins = ADMIN.has(operationId) || route.path.startsWith('/v1/admin/')
    const key = send.key === undefined && forAdmins ? service.adminKey : send.key
    const path = fillPath(route.path, { ...absentParams(route), ...params }) + query
    const answer = await app.send(route.method, path, body, { ...send, ...(key !== undefined && { key }) })
    t.equal(answer.status, status, `${operationId} ${status}${code ? ` ${code}` : ''}`)
    if (answer.status === status) met.add(`${operationId} ${status}`)
    checkForm(t, route, answer, code)
    return answer
  }

  function checkForm(t: Test, route: DocumentedRoute, answer: Answer, code?: string) {
    if (answer.status >= 400) {
      const entry = ERROR_CODES[answer.body.code as keyof typeof ERROR_CODES]
      t.ok(entry, 'a code of the list')
      codesMet.add(answer.body.code)
      if (code) t.equal(answer.body.code, code)
      t.match(answer.headers['content-type'], /^application\/problem\+json/)
      t.match(answer.body, {
        status: answer.status,
        title: entry?.title,
        retryable: entry?.retryable,
        type: `/docs/errors/${answer.body.code}`,
        instance: /^\S{1,64}$/,
        detail: /\S/,
      })
      if (answer.status === 401) t.equal(answer.headers['www-authenticate'], 'Bearer')
      if (answer.status === 429) t.match(answer.headers, { 'retry-after': /^\d+$/, 'ratelimit-limit': /^\d+$/, 'ratelimit-reset': /^\d+$/ })
      if (answer.status === 503) t.match(answer.headers['retry-after'] ?? '', entry?.retryable ? /^\d+$/ : /^$/)
    } else {
      t.match(answer.headers['content-type'], /^application\/json/)
    }
    const schema = route.statuses.includes(answer.status) ? route.answerOf(answer.status) : null
    if (schema) {
      const parsed = schema.safeParse(answer.body)
      t.ok(parsed.success, `the answer has the documented form${parsed.success ? '' : `: ${parsed.error.message}`}`)
    }
    t.match(answer.headers, { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store', 'x-request-id': /\S/ })
  }

  /** Sends two requests that add prices while nobody may, and lets them on when both wait. */
  async function held(send: () => Promise<Answer>[]): Promise<Answer[]> {
    const holder = new pg.Client({ connectionString: service.url })
    await holder.connect()
    try {
      await holder.query('begin')
      await holder.query('lock table price_versions in share mode')
      const sent = send()
      const waiting = `select count(*)::int as n from pg_locks where not granted and relation = 'price_versions'::regclass`
      while ((await holder.query(waiting)).rows[0].n < sent.length) await new Promise((resolve) => setTimeout(resolve, 10))
      await holder.query('commit')
      return await Promise.all(sent)
    } finally {
      await holder.end()
    }
  }

  function absentParams(route: DocumentedRoute): Record<string, string> {
    const kinds: Record<string, string> = {
      wallet: 'wal',
      reservation_id: 'rsv',
      charge_id: 'chg',
      grant_id: 'grt',
      client_id: 'cli',
      key_id: 'key',
      proposal_id: 'prp',
      payment_id: 'pay',
      promotion_id: 'prm',
      event_id: 'evt',
    }
    return Object.fromEntries(route.params.map((name) => [name, `${kinds[name]}_${ABSENT}`]))
  }

  t.test('without a credential it is 401, whatever else is wrong', async (t) => {
    for (const route of routes.filter(({ statuses }) => statuses.includes(401))) {
      const first = await call(
        t,
        route.operationId,
        401,
        { key: null, body: route.hasBody ? '{"nonsense":' : undefined } as Call,
        'unauthenticated',
      )
      t.equal((await call(t, route.operationId, 401, { key: 'fbx_nonsense' })).body.detail, first.body.detail)
    }
  })

  t.test('with a key of another scope it is 403', async (t) => {
    const prices = await service.newKey(['prices:write'])
    for (const route of routes.filter(({ statuses }) => statuses.includes(403))) {
      await call(t, route.operationId, 403, { key: prices, body: route.hasBody ? '{}' : undefined } as Call, 'forbidden')
    }
  })

  t.test('more than may come in a minute is 429', async (t) => {
    const limits = { RATE_LIMIT_USAGE: '1', RATE_LIMIT_READS: '1', RATE_LIMIT_ADMIN: '1' }
    const app = await service.another({ env: limits }, t)
    for (const route of routes.filter(({ statuses }) => statuses.includes(429))) {
      // The first of its class, and of each minute.
      const path = fillPath(route.path, absentParams(route))
      const { key } = ADMIN.has(route.operationId) || route.path.startsWith('/v1/admin/') ? admin : { key: service.client.key }
      for (let tries = 0; tries < 2; tries += 1) await app.send(route.method, path, null, { key })
      await call(t, route.operationId, 429, { app }, 'rate_limited')
    }
  })

  t.test('a body of another kind is 415', async (t) => {
    for (const route of routes.filter(({ statuses }) => statuses.includes(415))) {
      await call(t, route.operationId, 415, { body: '{}', headers: { 'content-type': 'text/plain' } }, 'unsupported_media_type')
      await call(t, route.operationId, 415, { body: '{}', headers: { 'content-encoding': 'gzip' } }, 'unsupported_media_type')
    }
  })

  t.test('a body of one byte too many is 413', async (t) => {
    for (const route of routes.filter(({ statuses }) => statuses.includes(413))) {
      const limit = LARGE_BODY_LIMITS[route.operationId] ?? BODY_LIMIT
      await call(t, route.operationId, 413, { body: `{"text":"${'x'.repeat(limit - 10)}"}` }, 'payload_too_large')
      const fits = await service.send(
        route.method,
        fillPath(route.path, absentParams(route)),
        `{"text":"${'x'.repeat(limit - 11)}"}`,
        admin,
      )
      t.equal(fits.status, 400, 'one less is read')
    }
  })

  t.test('what is not in its documented form is 400', async (t) => {
    for (const route of routes.filter(({ statuses }) => statuses.includes(400))) {
      const { operationId, params, hasBody, query, keyed } = route
      if (hasBody) {
        const unknown = await call(t, operationId, 400, { body: { nonsense: 1 } }, 'invalid_request')
        t.ok(unknown.body.errors.length > 0, 'that names the field')
        await call(t, operationId, 400, { body: '{"a":1,"a":2}' }, 'duplicate_json_key')
        await call(t, operationId, 400, { body: '{' }, 'invalid_json')
      }
      if (params[0]) {
        const wrong = await call(
          t,
          operationId,
          400,
          { params: { [params[0]]: 'non-sense' }, ...(hasBody && { body: {} }) },
          'invalid_request',
        )
        t.equal(wrong.body.errors[0].pointer, `/path/${params[0]}`)
      }
      if (query.length > 0) {
        const wrong = await call(t, operationId, 400, { query: '?nonsense=1' }, 'invalid_request')
        t.equal(wrong.body.errors[0].pointer, '/query/nonsense')
      }
      if (keyed) {
        const sendable = VALID[operationId] as object
        await call(t, operationId, 400, { body: sendable, idempotencyKey: null }, 'idempotency_key_missing')
        await call(t, operationId, 400, { body: sendable, idempotencyKey: '' }, 'idempotency_key_invalid')
      }
    }
  })

  t.test('what is not there is 404', async (t) => {
    for (const route of routes.filter(({ statuses }) => statuses.includes(404))) {
      const { operationId, hasBody, params } = route
      if (params.length === 0 && operationId !== 'check' && !(operationId in VALID)) continue
      await call(t, operationId, 404, hasBody ? { body: VALID[operationId] ?? { reason: 'x' } } : {})
    }
  })

  t.test('money moves, and is refused', async (t) => {
    const id = await service.wallet('100')
    const { owner } = (await service.get(`/v1/wallets/${id}`)).body
    const poor = await service.wallet()
    const frozen = await service.wallet('10')
    const held = (await service.made('/v1/reservations', { wallet: frozen, amount: '1' })).id
    await service.made(`/v1/wallets/${frozen}/freeze`, { reason: 'x' }, admin)
    const closed = await service.wallet()
    await service.made(`/v1/wallets/${closed}/close`, { reason: 'x' }, admin)

    // reserve
    const { body: hold } = await call(t, 'reserve', 201, {
      body: { wallet: owner, amount: '10', metadata: { a: 1, b: true, c: 'x' }, reference: 'r' },
    })
    const part = await call(t, 'reserve', 201, {
      body: { wallet: await service.wallet('1'), model: 'gpt-4o', usage: { input_tokens: 100, output_tokens: 900_000 }, partial: true },
    })
    t.ok(part.body.affords.output_tokens > 0)
    const unitsPart = await call(t, 'reserve', 201, {
      body: { wallet: await service.wallet('7.5'), operation: 'script_generation', units: 20, partial: true },
    })
    t.same(unitsPart.body.affords, { units: 7 })
    const refused = await call(t, 'reserve', 402, { body: { wallet: poor, amount: '1' } }, 'insufficient_credits')
    t.match(refused.body, { required: '1', available: '0', held: '0', wallet_id: poor })
    await call(t, 'reserve', 409, { body: { wallet: frozen, amount: '1' } }, 'wallet_frozen')
    await call(t, 'reserve', 409, { body: { wallet: closed, amount: '1' } }, 'wallet_closed')
    await call(
      t,
      'reserve',
      422,
      { body: { wallet: id, model: 'no-such-model', usage: { input_tokens: 1, output_tokens: 1 } } },
      'unknown_model',
    )
    await call(t, 'reserve', 422, { body: { wallet: id, operation: 'no_such_operation' } }, 'unknown_operation')
    await call(t, 'reserve', 422, { body: { wallet: id, amount: '100000.000001' } }, 'charge_exceeds_maximum')
    const once = { idempotencyKey: 'once' }
    await call(t, 'reserve', 201, { body: { wallet: id, amount: '1' }, ...once })
    await call(t, 'reserve', 422, { body: { wallet: id, amount: '2' }, ...once }, 'idempotency_key_reused')
    const replayed = await call(t, 'reserve', 201, { body: { wallet: id, amount: '1' }, ...once })
    t.equal(replayed.headers['idempotent-replayed'], 'true')

    // extend
    await call(t, 'extend', 200, { params: { reservation_id: hold.id }, body: { ttl_seconds: 600, add_amount: '2' } })
    await call(t, 'extend', 402, { params: { reservation_id: hold.id }, body: { add_amount: '1000' } }, 'insufficient_credits')
    await call(t, 'extend', 409, { params: { reservation_id: held }, body: { add_amount: '1' } }, 'wallet_frozen')
    await call(t, 'extend', 422, { params: { reservation_id: hold.id }, body: { add_amount: '100000' } }, 'charge_exceeds_maximum')

    // commit
    const { body: capture } = await call(t, 'commit', 200, { params: { reservation_id: hold.id }, body: { amount: '3', final: false } })
    t.match(capture, { charged: '3', final: false, reservation_status: 'held', released: '0' })
    const { body: committed } = await call(t, 'commit', 200, { params: { reservation_id: hold.id }, body: { amount: '4' } })
    t.match(committed, { charged: '4', released: '5', reservation_status: 'committed', late: false })
    await call(t, 'commit', 409, { params: { reservation_id: hold.id }, body: { amount: '4' } }, 'reservation_committed')
    const { body: small } = await call(t, 'reserve', 201, { body: { wallet: id, amount: '1' } })
    const at = { params: { reservation_id: small.id } }
    await call(t, 'commit', 422, { ...at, body: { amount: '11' } }, 'commit_exceeds_hold_factor')
    await call(t, 'commit', 422, { ...at, body: { usage: { input_tokens: 1, output_tokens: 1 } } }, 'usage_mismatch')
    await call(t, 'commit', 422, { ...at, body: { amount: '1', payees: [{ wallet: id, share: '0.5' }] } }, 'payee_is_payer')
    await call(t, 'commit', 404, { ...at, body: { amount: '1', payees: [{ wallet: 'user:nobody', share: '0.5' }] } }, 'payee_not_found')
    await call(t, 'commit', 409, { ...at, body: { amount: '1', payees: [{ wallet: closed, share: '0.5' }] } }, 'payee_closed')
    const shares = [0.6, 0.5].map((share) => ({ wallet: poor, share: String(share) }))
    await call(t, 'commit', 422, { ...at, body: { amount: '1', payees: shares } }, 'payee_share_exceeds_whole')
    await call(t, 'commit', 403, { ...at, body: { amount: '11', force: true } }, 'forbidden')
    await call(t, 'commit', 200, { ...at, body: { amount: '11', force: true }, ...admin })

    // release
    const { body: unused } = await call(t, 'reserve', 201, { body: { wallet: id, amount: '5' } })
    await call(t, 'release', 200, { params: { reservation_id: unused.id }, ...once })
    await call(t, 'release', 409, { params: { reservation_id: unused.id } }, 'reservation_released')
    await call(t, 'commit', 409, { params: { reservation_id: unused.id }, body: { amount: '1' } }, 'reservation_released')
    await call(t, 'release', 422, { params: { reservation_id: hold.id }, ...once }, 'idempotency_key_reused')
    await call(t, 'release', 200, { params: { reservation_id: held } })

    // charge, refund
    const { body: charge } = await call(t, 'charge', 201, {
      body: { wallet: id, model: 'gpt-4o-mini', usage: { input_tokens: 9_000, output_tokens: 90 }, operation: 'rag_retrieval' },
    })
    await call(t, 'charge', 402, { body: { wallet: poor, amount: '1' } }, 'insufficient_credits')
    await call(t, 'charge', 409, { body: { wallet: frozen, amount: '1' } }, 'wallet_frozen')
    await call(t, 'charge', 422, { body: { wallet: id, amount: '100001' } }, 'charge_exceeds_maximum')
    await call(t, 'refund', 422, { params: { charge_id: charge.id }, body: { amount: '50' } }, 'refund_exceeds_charge')
    await call(t, 'refund', 201, { params: { charge_id: charge.id }, body: {} })
    await call(t, 'refund', 409, { params: { charge_id: charge.id }, body: {} }, 'charge_refunded')
    const { body: free } = await call(t, 'charge', 201, { body: { wallet: id, operation: 'voice_creation', resource_owner: owner } })
    t.equal(free.cost, '0')
    await call(t, 'refund', 409, { params: { charge_id: free.id }, body: {} }, 'charge_free')

    // grant, void, adjust
    const { body: grant } = await call(t, 'grant', 201, {
      body: {
        wallet: id,
        kind: 'bonus',
        amount: '3',
        expires_at: '2100-01-01T00:00:00Z',
        cost_basis: { amount: '1.00', currency: 'USD' },
        source: 's',
        priority: 5,
      },
    })
    await call(t, 'grant', 409, { body: { wallet: closed, kind: 'bonus', amount: '3' } }, 'wallet_closed')
    await call(
      t,
      'grant',
      422,
      { body: { wallet: id, kind: 'bonus', amount: '3', expires_at: '2001-01-01T00:00:00Z' } },
      'grant_times_invalid',
    )
    const full = await service.wallet()
    for (let i = 0; i < 9; i += 1) await service.made('/v1/grants', { wallet: full, kind: 'bonus', amount: '1000000000000' })
    await call(t, 'grant', 422, { body: { wallet: full, kind: 'bonus', amount: '0.000001' } }, 'balance_limit_exceeded')
    await call(t, 'void', 200, { params: { grant_id: grant.id }, body: { reason: 'x' }, ...once })
    await call(t, 'void', 409, { params: { grant_id: grant.id }, body: { reason: 'x' } }, 'grant_voided')
    await call(t, 'void', 422, { params: { grant_id: grant.id }, body: { reason: 'y' }, ...once }, 'idempotency_key_reused')
    const spent = await service.wallet()
    const { id: spentGrant } = await service.made('/v1/grants', { wallet: spent, kind: 'bonus', amount: '1' })
    await service.made('/v1/charges', { wallet: spent, amount: '1' })
    await call(t, 'void', 409, { params: { grant_id: spentGrant }, body: { reason: 'x' } }, 'grant_spent')
    await call(t, 'adjust', 201, { body: { wallet: id, amount: '-1.5', reason: 'x', reference: 'a', metadata: { b: 'c' } } })
    await call(t, 'adjust', 402, { body: { wallet: id, amount: '-5000', reason: 'x' } }, 'insufficient_credits')
    await call(t, 'adjust', 409, { body: { wallet: closed, amount: '5', reason: 'x' } }, 'wallet_closed')
    await call(t, 'adjust', 422, { body: { wallet: full, amount: '1', reason: 'x' } }, 'balance_limit_exceeded')

    // many at once
    const { body: batch } = await call(t, 'batch', 200, {
      body: {
        commands: [
          { operation: 'reserve', idempotency_key: 'b1', body: { wallet: id, amount: '1' } },
          { operation: 'charge', idempotency_key: 'b2', body: { wallet: poor, amount: '1' } },
          { operation: 'release', idempotency_key: 'b3', reservation_id: `rsv_${ABSENT}` },
        ],
      },
    })
    t.same(
      batch.results.map((result: Answer) => result.status),
      [201, 402, 404],
    )
    const operations = operationsOf(service.rooms.prices, service.rooms.estimate)
    const reserve = operations.batchable.find(({ name }) => name === 'reserve')
    t.ok(reserve?.answer.safeParse(batch.results[0].body).success)
    const { body: events } = await call(t, 'reportEvents', 200, { body: { events: [{ source: 's', id: '1', wallet: id, amount: '1' }] } })
    t.equal(events.results[0].outcome, 'charged')
    const chargeOperation = operations.batchable.find(({ name }) => name === 'charge')
    t.ok(chargeOperation?.answer.safeParse(events.results[0].body).success)
    t.match((await call(t, 'check', 200, { body: { wallet: id, amount: '1' } })).body, {
      allowed: true,
      reason: null,
      required: '1',
      amount: '1',
    })
    t.match((await call(t, 'check', 200, { body: { wallet: poor, amount: '1' } })).body, { allowed: false, reason: 'insufficient_credits' })
    await call(
      t,
      'check',
      422,
      { body: { wallet: id, model: 'no-such-model', usage: { input_tokens: 1, output_tokens: 1 } } },
      'unknown_model',
    )

    // wallets
    await call(t, 'openWallet', 201, {
      body: { owner: 'org:acme', label: 'Acme', overdraft_limit: '5', low_balance_threshold: '1', time_zone: 'Europe/Berlin' },
    })
    const exists = await call(t, 'openWallet', 409, { body: { owner: 'org:acme' } }, 'wallet_exists')
    t.match(exists.body.wallet_id, /^wal_/)
    const at2 = { params: { wallet: 'org:acme' } }
    await call(t, 'configureWallet', 200, { ...at2, body: { label: null, overdraft_limit: '2' } })
    await call(t, 'configureWallet', 409, { params: { wallet: closed }, body: { label: 'x' } }, 'wallet_closed')
    await service.made('/v1/charges', { wallet: 'org:acme', amount: '2' })
    await call(t, 'configureWallet', 422, { ...at2, body: { overdraft_limit: '1' } }, 'overdraft_limit_below_debt')
    await call(t, 'freezeWallet', 200, { ...at2, body: { reason: 'x' } })
    await call(t, 'freezeWallet', 409, { params: { wallet: closed }, body: { reason: 'x' } }, 'wallet_closed')
    await call(t, 'unfreezeWallet', 200, { ...at2, body: { reason: 'x' } })
    await call(t, 'unfreezeWallet', 409, { params: { wallet: closed }, body: { reason: 'x' } }, 'wallet_closed')
    await call(t, 'closeWallet', 409, { ...at2, body: { reason: 'x' } }, 'wallet_not_empty')
    await call(t, 'closeWallet', 200, { params: { wallet: await service.wallet() }, body: { reason: 'x' } })

    // reads
    for (const operationId of ['getWallet', 'getBalance', 'listTransactions', 'listGrants', 'listReservations', 'getUsage']) {
      for (const wallet of [id, owner, 'org:acme', frozen]) await call(t, operationId, 200, { params: { wallet } })
    }
    await call(t, 'listWallets', 200, {})
    await call(t, 'getReservation', 200, { params: { reservation_id: hold.id } })
    await call(t, 'getCharge', 200, { params: { charge_id: charge.id } })
    await call(t, 'getCharge', 200, { params: { charge_id: committed.id } })
    await call(t, '/healthz', 200, { key: null })
    await call(t, '/readyz', 200, { key: null })
    // Text, and no JSON.
    t.equal((await service.get('/metrics')).status, 200)
    met.add('readMetrics 200')
  })

  t.test('prices, clients and keys', async (t) => {
    const reason = 'x'
    const at = new Date(Date.now() + 3_600_000).toISOString()
    const bodies: Record<string, object> = {
      addPrice: { model: 'm', provider: 'p', rates: { input_tokens: '1', output_tokens: '2.000000000001' } },
      addOperation: { operation: 'o', unit_cost: '0.5' },
      addMarkup: { percent: '25' },
      addExchangeRate: { currency: 'USD', purpose: 'consumption', credits_per_unit: '100' },
      addChargePolicy: { minimum_charge: '0.01', maximum_charge: '100000' },
    }
    for (const [operationId, body] of Object.entries(bodies)) {
      await call(t, operationId, 201, { body: { ...body, reason } })
      await call(t, operationId, 201, { body: { ...body, reason, effective_from: at } })
      await call(t, operationId, 409, { body: { ...body, reason, effective_from: at } }, 'version_exists')
      await call(t, operationId, 422, { body: { ...body, reason, effective_from: '2024-01-01T00:00:00Z' } }, 'effective_from_past')
    }
    const doubtful: Record<string, object> = {
      addPrice: { rates: { input_tokens: '1000', output_tokens: '2' } },
      addOperation: { unit_cost: '500' },
      addMarkup: { percent: '2500' },
      addExchangeRate: { credits_per_unit: '1' },
    }
    for (const [operationId, change] of Object.entries(doubtful)) {
      const body = { ...bodies[operationId], ...change, reason }
      const refused = await call(t, operationId, 422, { body }, 'price_implausible')
      t.equal(refused.body.doubts.length, 1, 'and why')
    }
    for (const operationId of [
      'listModels',
      'listOperations',
      ...Object.keys(bodies).map((name) => `${name.replace('add', 'list')}Versions`),
    ]) {
      await call(t, operationId, 200, {})
      await call(t, operationId, 200, { query: '?limit=1' })
    }
    await call(t, 'addPrice', 201, { body: { ...bodies.addPrice, model: 'off', enabled: false, reason } })
    const usage = { input_tokens: 1, output_tokens: 1 }
    await call(t, 'reserve', 422, { body: { wallet: await service.wallet('5'), model: 'off', usage } }, 'model_disabled')

    // Questions of price.
    const priced = { model: 'gpt-4o-mini', usage: { input_tokens: 1_000, output_tokens: 100 } }
    await call(t, 'quote', 200, { body: { ...priced, operation: 'rag_retrieval', units: 2 } })
    await call(t, 'quote', 200, { body: { amount: '5' } })
    await call(t, 'quote', 200, { body: { model: 'gpt-4o-mini', input_text: 'Guten Tag', max_output_tokens: 10 } })
    await call(t, 'quote', 422, { body: { ...priced, model: 'gpt-9' } }, 'unknown_model')
    await call(t, 'quote', 422, { body: { ...priced, model: 'off' } }, 'model_disabled')
    await call(t, 'quote', 422, { body: { ...priced, service_tier: 'flex' } }, 'service_tier_unpriced')
    await call(t, 'quote', 422, { body: { ...priced, usage: { input_audio_tokens: 1 } } }, 'pool_unpriced')
    await call(t, 'quote', 422, { body: { operation: 'nothing' } }, 'unknown_operation')
    const { body: charge } = await call(t, 'charge', 201, { body: { wallet: await service.wallet('5'), ...priced } })
    await call(t, 'recomputeCharge', 200, { params: { charge_id: charge.id } })
    for (const purpose of ['consumption', 'purchase']) {
      await call(t, 'previewExchangeRate', 200, { body: { currency: 'USD', purpose, credits_per_unit: '110' } })
    }
    await call(t, 'previewExchangeRate', 200, { body: { currency: 'EUR', purpose: 'purchase', credits_per_unit: '110' } })

    // Imported prices.
    const list = (...models: object[]) => JSON.stringify([{ id: 'acme', models }])
    const now = { id: 'imported', prices: { input_mtok: 1, output_mtok: 2 } }
    const later = { constraint: { type: 'start_date', start_date: '2100-01-01' }, prices: { input_mtok: 1.1, output_mtok: 2 } }
    const imported = { format: 'genai-prices', document: list(now), reason }
    const asked = await call(t, 'importPrices', 200, { body: imported })
    t.match(asked.body, { id: null, inserted: 1, changes: [{ changes: ['new'] }] })
    t.match((await call(t, 'importPrices', 200, { body: { ...imported, apply: true } })).body, { id: /^imp_/, inserted: 1 })
    t.match((await call(t, 'importPrices', 200, { body: { ...imported, apply: true } })).body, { id: null, unchanged: 1 }, 'once is enough')
    await call(t, 'importPrices', 422, { body: { ...imported, document: '[]' } }, 'price_list_invalid')
    const dated = { ...imported, apply: true, document: list({ ...now, prices: [{ prices: now.prices }, later] }) }
    // Both have made their plans before either may write.
    const both = await held(() => [0, 1].map(() => service.post('/v1/admin/price-imports', dated, admin)))
    t.same(both.map(({ status }) => status).sort(), [200, 409])
    const [first, second] = both.toSorted((a, b) => a.status - b.status) as [Answer, Answer]
    t.match([first.body, second.body], [{ inserted: 1 }, { code: 'version_exists' }])
    met.add('importPrices 409')
    checkForm(t, routeOf.get('importPrices') as DocumentedRoute, second, 'version_exists')
    t.equal((await call(t, 'listImports', 200, {})).body.data.length, 2)
    const accepted = { params: { proposal_id: await service.propose('proposed') } }
    const rejected = { params: { proposal_id: await service.propose('gpt-4o', { rates: { input_tokens: '9', output_tokens: '9' } }) } }
    await call(t, 'listQuarantine', 200, {})
    await call(t, 'listQuarantine', 200, { query: '?status=pending&source=litellm&limit=1' })
    await call(t, 'acceptProposal', 200, { ...accepted, body: { reason } })
    await call(t, 'acceptProposal', 409, { ...accepted, body: { reason } }, 'quarantine_decided')
    await call(t, 'rejectProposal', 200, { ...rejected, body: { reason } })
    await call(t, 'rejectProposal', 409, { ...rejected, body: { reason } }, 'quarantine_decided')
    await call(t, 'acceptProposal', 404, { body: { reason } }, 'quarantine_not_found')
    const clash = Date.parse(at)
    const clashing = { params: { proposal_id: await service.propose('m', {}, { effectiveFrom: clash }) } }
    await call(t, 'acceptProposal', 409, { ...clashing, body: { reason } }, 'version_exists')

    const { body: client } = await call(t, 'createClient', 201, { body: { name: 'web shop', reason } })
    await call(t, 'createClient', 409, { body: { name: 'web shop' } }, 'client_exists')
    await call(t, 'listClients', 200, {})
    const at2 = { params: { client_id: client.id } }
    const { body: key } = await call(t, 'createApiKey', 201, { ...at2, body: { name: 'k', scopes: ['usage:write'], expires_at: at } })
    await call(t, 'listApiKeys', 200, at2)
    await call(t, 'revokeApiKey', 200, { params: { key_id: key.id }, body: { reason } })
    await call(t, 'revokeApiKey', 200, { params: { key_id: key.id } })
    await call(t, 'issueToken', 201, { body: { sub: 'alice', ttl_seconds: 60 } })
    const secretless = await service.another({ env: { JWT_SECRET: '' } }, t)
    await call(t, 'issueToken', 409, { app: secretless, body: { sub: 'alice' } }, 'tokens_not_issued')
  })

  t.test('packages are set, and credits are bought', async (t) => {
    const wallet = await service.wallet()
    const closed = await service.wallet()
    await service.made(`/v1/wallets/${closed}/close`, { reason: 'x' }, admin)
    const at = new Date(Date.now() + 3_600_000).toISOString()
    const tiny = { package: 'tiny', name: 'Tiny', price: '5.00', currency: 'USD', credits: '500', reason: 'x' }
    t.match((await call(t, 'setPackage', 201, { body: tiny })).body, { id: 'tiny', version_id: /^pkg_/, bonus: '0', enabled: true })
    await call(t, 'setPackage', 201, { body: { ...tiny, bonus: '5', effective_from: at } })
    await call(t, 'setPackage', 409, { body: { ...tiny, effective_from: at } }, 'version_exists')
    await call(t, 'setPackage', 422, { body: { ...tiny, effective_from: '2024-01-01T00:00:00Z' } }, 'effective_from_past')
    for (const price of ['5.005', '0', '0.00']) await call(t, 'setPackage', 400, { body: { ...tiny, price } }, 'invalid_request')
    await call(t, 'setPackage', 201, { body: { ...tiny, package: 'gone', enabled: false } })
    await call(t, 'listPackages', 400, { query: '?nonsense=1' }, 'invalid_request')
    const onSale = (await call(t, 'listPackages', 200, {})).body.data.map(({ id }: { id: string }) => id)
    t.same(onSale, ['tiny', 'starter', 'basic', 'pro', 'business', 'enterprise'], 'dearest last')
    const versions = await call(t, 'listPackageVersions', 200, { query: '?package=tiny' })
    t.same(
      versions.body.data.map(({ bonus }: { bonus: string }) => bonus),
      ['5', '0'],
    )
    await call(t, 'listPackageVersions', 200, { query: `?limit=1` })

    // purchase
    const email = 'alice@example.com'
    const { body: order } = await call(t, 'purchase', 201, {
      body: { wallet, package: 'basic', email, reference: 'r', metadata: { a: 1 } },
    })
    t.match(order, { status: 'pending', provider: 'sandbox', amount: '45.00', bonus: '500', checkout: { url: /\/sandbox\/checkout\// } })
    const byAmount = { wallet, amount: '12.34', currency: 'USD' }
    t.match((await call(t, 'purchase', 201, { body: byAmount })).body, { kind: 'amount', amount: '12.34', credits: '1234', bonus: '0' })
    for (const body of [
      { wallet },
      { wallet, amount: '10' },
      { wallet, currency: 'USD' },
      { wallet, package: 'basic', amount: '45.00', currency: 'USD' },
      { ...byAmount, amount: '1e1' },
      { wallet, package: 'basic', success_url: 'javascript:alert(1)' },
    ]) {
      await call(t, 'purchase', 400, { body }, 'invalid_request')
    }
    for (const named of ['gone', 'never_was']) await call(t, 'purchase', 422, { body: { wallet, package: named } }, 'package_not_sold')
    for (const amount of ['4.99', '10000.01', '10.005']) {
      await call(t, 'purchase', 422, { body: { ...byAmount, amount } }, 'amount_not_payable')
    }
    await call(t, 'purchase', 422, { body: { ...byAmount, currency: 'XTS' } }, 'rate_missing')
    for (const url of ['success_url', 'cancel_url']) {
      const elsewhere = { wallet, package: 'basic', [url]: 'https://elsewhere.example/' }
      await call(t, 'purchase', 422, { body: elsewhere }, 'return_url_not_allowed')
    }
    await call(t, 'purchase', 409, { body: { wallet: closed, package: 'basic' } }, 'wallet_closed')
    const once = { idempotencyKey: 'bought once' }
    const first = await call(t, 'purchase', 201, { body: { wallet, package: 'tiny' }, ...once })
    const again = await call(t, 'purchase', 201, { body: { wallet, package: 'tiny' }, ...once })
    t.equal(again.headers['idempotent-replayed'], 'true')
    t.same(again.body, first.body)
    await call(t, 'purchase', 422, { body: { wallet, package: 'pro' }, ...once }, 'idempotency_key_reused')

    // What became of it.
    await atSandbox(service, order, 'pay')
    t.match((await call(t, 'getPayment', 200, { params: { payment_id: order.id } })).body, { status: 'paid', metadata: { a: 1 } })
    const listed = await call(t, 'listPayments', 200, { params: { wallet }, query: '?status=paid' })
    t.same(
      listed.body.data.map(({ id }: { id: string }) => id),
      [order.id],
    )
    await call(t, 'listPayments', 200, { params: { wallet }, query: '?limit=1' })
    await call(t, 'listPayments', 400, { params: { wallet }, query: '?status=lost' }, 'invalid_request')
    const all = await call(t, 'listAllPayments', 200, { query: `?provider_payment_id=${sandboxId(order)}` })
    t.match(all.body.data, [{ id: order.id }])
    await call(t, 'listAllPayments', 400, { query: '?origin=heaven' }, 'invalid_request')
    await call(t, 'cancelPayment', 409, { params: { payment_id: order.id } }, 'payment_not_cancellable')

    // refundPayment
    const give = { params: { payment_id: order.id } }
    await call(t, 'refundPayment', 409, { params: { payment_id: first.body.id }, body: { reason: 'x' } }, 'payment_not_paid')
    await call(t, 'refundPayment', 400, { ...give, body: { amount: '1.005', reason: 'x' } }, 'invalid_request')
    const back = await call(t, 'refundPayment', 200, { ...give, body: { amount: '15.00', reason: 'x' } })
    t.match(back.body, { amount: '15.00', payment: { status: 'partially_refunded', credits_reversed: '1833.333333' } })
    const beyond = await call(t, 'refundPayment', 422, { ...give, body: { amount: '30.01', reason: 'x' } }, 'refund_exceeds_payment')
    t.equal(beyond.body.refundable, '30.00')
    await call(t, 'refundPayment', 400, { ...give, body: { amount: '0', reason: 'x' } }, 'invalid_request')
    const left = await call(t, 'purchase', 201, { body: { wallet, package: 'tiny' } })
    t.match((await call(t, 'cancelPayment', 200, { params: { payment_id: left.body.id } })).body, { status: 'failed' })
    await untold(service, order, 'dispute')
    await call(t, 'refundPayment', 422, { ...give, body: { reason: 'x' } }, 'payment_refused')
    await atSandbox(service, order, 'win')
    const part = { ...give, idempotencyKey: 'given back once' }
    await call(t, 'refundPayment', 200, { ...part, body: { amount: '1.00', reason: 'x' } })
    await call(t, 'refundPayment', 200, { ...part, body: { amount: '1.00', reason: 'x' } })
    await call(t, 'refundPayment', 422, { ...part, body: { amount: '2.00', reason: 'x' } }, 'idempotency_key_reused')
    t.match((await call(t, 'refundPayment', 200, { ...give, body: { reason: 'x' } })).body, { payment: { status: 'refunded' } })
    await call(t, 'refundPayment', 422, { ...give, body: { reason: 'x' } }, 'refund_exceeds_payment')

    // Events.
    const event = { provider: 'sandbox', type: 'x', payload: '{}', livemode: false, occurredAt: new Date() } as const
    await service.rooms.billing.inbox.receive({ ...event, id: 'evt_of_payment', subject: sandboxId(order) })
    await service.rooms.billing.inbox.receive({ ...event, id: 'evt_of_nothing', subject: null })
    await call(t, 'listPaymentEvents', 200, {})
    const ignored = await call(t, 'listPaymentEvents', 200, { query: '?status=ignored&limit=1' })
    t.match(ignored.body.data, [{ id: 'evt_of_nothing', status: 'ignored', reason: /\S/ }])
    const retried = await call(t, 'retryPaymentEvent', 202, { params: { event_id: 'evt_of_payment' } })
    t.match(retried.body, { status: 'received', subject: sandboxId(order) })
    await call(t, 'retryPaymentEvent', 404, { params: { event_id: 'evt_of_nothing' } }, 'payment_event_not_found')
    await service.rooms.billing.inbox.receive({ ...event, id: 'evt_of_something', subject: null, unreadable: 'what it is' })
    const dismissed = await call(t, 'dismissPaymentEvent', 200, { params: { event_id: 'evt_of_something' }, body: { reason: 'x' } })
    t.match(dismissed.body, { status: 'dismissed', reason: 'x' })
    await call(
      t,
      'dismissPaymentEvent',
      404,
      { params: { event_id: 'evt_of_something' }, body: { reason: 'x' } },
      'payment_event_not_found',
    )
    await call(t, 'dismissPaymentEvent', 400, { params: { event_id: 'evt_of_something' }, body: {} }, 'invalid_request')
    await service.rooms.billing.processEvents()
    t.match((await call(t, 'listPaymentEvents', 200, { query: '?status=processed' })).body.data, [{ id: 'evt_of_payment' }])

    // At Stripe, on its bad days too.
    const stripe = await startTestStripe()
    t.teardown(() => stripe.close())
    const env = { STRIPE_SECRET_KEY: stripe.apiKey, STRIPE_API_URL: stripe.url, STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET }
    const app = await service.another({ env: { ...env, CHECKOUT_RETURN_ORIGINS: 'https://app.example.com' } }, t)
    const noUrl = await call(t, 'purchase', 400, { app, body: { wallet, package: 'tiny' } }, 'invalid_request')
    t.match(noUrl.body.errors, [{ pointer: '/success_url' }])
    const body = { wallet, package: 'tiny', success_url: 'https://app.example.com/credits?paid=1' }
    const key = { idempotencyKey: 'bought at Stripe', app, body }
    const down = stripe.controls.fail({ match: { method: 'POST' }, how: 'error500', shouldRetry: false })
    await call(t, 'purchase', 503, key, 'payment_provider_unavailable')
    down.stop()
    const { body: page } = await call(t, 'purchase', 201, key)
    t.match(page, { status: 'pending', provider: 'stripe', checkout: { url: /^https?:/, client_secret: null } })
    t.match((await call(t, 'purchase', 201, { app, body: { ...body, flow: 'payment_intent' } })).body.checkout, {
      url: null,
      client_secret: /\S/,
    })
    // The order of that key was made at the sandbox.
    const moved = await service.another({ env: { ...env, CHECKOUT_RETURN_URL: RETURN_URL } }, t)
    await call(t, 'purchase', 503, { app: moved, body: { wallet, package: 'tiny' }, ...once }, 'payments_not_configured')
    const session = stripe.controls.rows('sessions').find(({ metadata }) => metadata?.farebox_payment === page.id)
    stripe.controls.payCheckout(session?.id ?? '')
    await app.rooms.billing.sync(session?.id ?? '', 'test')
    const ask = { app, params: { payment_id: page.id }, body: { reason: 'x' } }
    const silent = stripe.controls.fail({ match: { path: /refunds/ }, how: 'error500', shouldRetry: false })
    await call(t, 'refundPayment', 503, ask, 'payment_provider_unavailable')
    silent.stop()
    await call(t, 'refundPayment', 503, { ...ask, app: service }, 'payments_not_configured')
    const intent = stripe.controls.rows('paymentIntents').find(({ metadata }) => metadata.farebox_payment === page.id)
    stripe.controls.refund(intent?.id ?? '', 100)
    await call(t, 'refundPayment', 422, { ...ask, body: { amount: '4.01', reason: 'x' } }, 'payment_refused')
    await call(t, 'refundPayment', 200, { ...ask, body: { amount: '4.00', reason: 'x' } })
    const unconfigured = await service.another({ env: { NODE_ENV: 'production', DATABASE_URL: service.url } }, t)
    await call(t, 'purchase', 503, { app: unconfigured, body: { wallet, package: 'tiny' } }, 'payments_not_configured')
    await call(t, 'refundPayment', 503, { ...ask, app: unconfigured }, 'payments_not_configured')
  })

  t.test('credits buy themselves with a saved card', async (t) => {
    const at = { params: { wallet: await service.wallet('50') } }
    const closed = { params: { wallet: await service.wallet() } }
    await service.made(`/v1/wallets/${closed.params.wallet}/close`, { reason: 'x' }, admin)
    const body = { threshold: '100', package: 'basic', cap: { amount: '100' } }
    await call(t, 'setTopUp', 422, { ...at, body }, 'card_not_found')

    // Cards.
    t.same((await call(t, 'listCards', 200, at)).body, { data: [], next_cursor: null })
    t.match((await call(t, 'saveCard', 201, { ...at, body: {} })).body, { url: /^http.*\/sandbox\/cards\/sandbox_page_/, expires_at: null })
    t.same((await call(t, 'listCards', 200, at)).body.data, [], 'a page that nobody used saves nothing')
    await saveCards(service, at.params.wallet, ['declined', 'good'])
    for (const url of ['success_url', 'cancel_url']) {
      await call(t, 'saveCard', 422, { ...at, body: { [url]: 'https://elsewhere.example/' } }, 'return_url_not_allowed')
      await call(t, 'saveCard', 400, { ...at, body: { [url]: 'javascript:alert(1)' } }, 'invalid_request')
    }
    await call(t, 'saveCard', 400, { ...at, body: { currency: 'usd' } }, 'invalid_request')
    t.match((await call(t, 'listCards', 200, at)).body.data, [
      { payment_method_id: 'sandbox_card', label: 'sandbox 4242' },
      { payment_method_id: 'sandbox_card_declined' },
    ])

    // What cannot be set.
    await call(t, 'getTopUp', 404, at, 'top_up_not_found')
    const byAmount = { threshold: '100', amount: '25.00', currency: 'USD', cap: { amount: '100', days: 7 } }
    for (const [wrong, pointer] of [
      [{ ...body, package: undefined }, '/package'],
      [{ ...body, amount: '25.00', currency: 'USD' }, '/package'],
      [{ ...byAmount, amount: undefined }, '/amount'],
      [{ ...byAmount, currency: undefined }, '/currency'],
      [{ ...body, threshold: '0' }, '/threshold'],
      [{ ...body, cap: { amount: '100', days: 0 } }, '/cap/days'],
      [{ ...body, cap: { amount: '100', days: 367 } }, '/cap/days'],
      [{ ...body, cap: { amount: '100.005' } }, '/cap/amount'],
      [{ ...body, payment_method_id: 'a card' }, '/payment_method_id'],
    ] as const) {
      t.equal((await call(t, 'setTopUp', 400, { ...at, body: wrong }, 'invalid_request')).body.errors[0].pointer, pointer)
    }
    await call(t, 'setTopUp', 422, { ...at, body: { ...body, package: 'never_was' } }, 'package_not_sold')
    for (const wrong of [
      { amount: '0' },
      { amount: '4.99' },
      { amount: '25.005' },
      { cap: { amount: '24.99' } },
      { cap: { amount: '0' } },
    ]) {
      await call(t, 'setTopUp', 422, { ...at, body: { ...byAmount, ...wrong } }, 'amount_not_payable')
    }
    await call(t, 'setTopUp', 422, { ...at, body: { ...byAmount, currency: 'XTS' } }, 'rate_missing')
    await call(t, 'setTopUp', 422, { ...at, body: { ...body, payment_method_id: 'sandbox_other' } }, 'card_not_found')
    await saveCards(service, closed.params.wallet, ['good'])
    await call(t, 'setTopUp', 409, { ...closed, body }, 'wallet_closed')
    await call(t, 'getTopUp', 404, at, 'top_up_not_found')
    await call(t, 'switchTopUp', 404, { ...at, body: { enabled: false } }, 'top_up_not_found')

    // What can, and what comes of it.
    const declined = { ...byAmount, payment_method_id: 'sandbox_card_declined' }
    t.match((await call(t, 'setTopUp', 200, { ...at, body: { ...declined, enabled: false } })).body, { status: 'off', package: null })
    await service.rooms.billing.runTopUps()
    t.match((await call(t, 'setTopUp', 200, { ...at, body: declined })).body, { status: 'active', amount: '25.00', cap: { days: 7 } })
    await service.rooms.billing.runTopUps()
    t.match((await call(t, 'getTopUp', 200, at)).body, { failures: 1, cap: { spent: '0.00', resets_at: null } })
    t.match((await call(t, 'setTopUp', 200, { ...at, body })).body, { failures: 0, package: 'basic', card: { label: 'sandbox 4242' } })
    await service.rooms.billing.runTopUps()
    t.match((await call(t, 'getTopUp', 200, at)).body, {
      status: 'active',
      payment_in_flight: null,
      cap: { spent: '45.00', resets_at: /^20/ },
    })
    t.equal((await service.get(`/v1/wallets/${at.params.wallet}/balance`)).body.balance, '5550')
    t.match((await call(t, 'switchTopUp', 200, { ...at, body: { enabled: false } })).body, { status: 'off', cap: { spent: '45.00' } })
    t.match((await call(t, 'switchTopUp', 200, { ...at, body: { enabled: true } })).body, { status: 'active', package: 'basic' })
    for (const wrong of [{}, { enabled: 1 }, { enabled: true, threshold: '1' }])
      await call(t, 'switchTopUp', 400, { ...at, body: wrong }, 'invalid_request')
    const over = { params: { wallet: await service.wallet() } }
    await saveCards(service, over.params.wallet, ['good'])
    await call(t, 'setTopUp', 200, { ...over, body: { ...body, enabled: false } })
    await service.made(`/v1/wallets/${over.params.wallet}/close`, { reason: 'x' }, admin)
    await call(t, 'switchTopUp', 409, { ...over, body: { enabled: true } }, 'wallet_closed')
    await call(t, 'switchTopUp', 200, { ...over, body: { enabled: false } })

    // At Stripe, on its bad days too.
    const stripe = await startTestStripe()
    t.teardown(() => stripe.close())
    const env = { STRIPE_SECRET_KEY: stripe.apiKey, STRIPE_API_URL: stripe.url, STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET }
    const app = await service.another({ env: { ...env, CHECKOUT_RETURN_URL: RETURN_URL } }, t)
    const there = { app, params: { wallet: await service.wallet('50') } }
    const down = stripe.controls.fail({ match: {}, how: 'error500', shouldRetry: false })
    await call(t, 'saveCard', 503, { ...there, body: {} }, 'payment_provider_unavailable')
    down.stop()
    t.match((await call(t, 'saveCard', 201, { ...there, body: {} })).body, { url: /^http/, expires_at: /^20/ })
    stripe.controls.saveCard(stripe.controls.rows('customers')[0]?.id ?? '', 'good')
    const silent = stripe.controls.fail({ match: {}, how: 'error500', shouldRetry: false })
    await call(t, 'listCards', 503, there, 'payment_provider_unavailable')
    await call(t, 'setTopUp', 503, { ...there, body }, 'payment_provider_unavailable')
    silent.stop()
    t.match((await call(t, 'listCards', 200, there)).body.data, [{ payment_method_id: /^pm_/, label: 'visa 4242' }])
    await call(t, 'setTopUp', 200, { ...there, body })
    const lost = stripe.controls.fail({ match: { method: 'POST' }, how: 'error500', shouldRetry: false })
    await app.rooms.billing.runTopUps()
    lost.stop()
    t.match((await call(t, 'getTopUp', 200, there)).body, { payment_in_flight: /^pay_/, cap: { spent: '45.00' } })
    const euros = { package: 'euros', name: 'Euros', price: '5.00', currency: 'EUR', credits: '500', reason: 'x' }
    await call(t, 'setPackage', 201, { body: euros })
    await call(t, 'setTopUp', 409, { ...there, body: { ...body, package: 'euros' } }, 'top_up_in_flight')
    await service.query('update outbox set next_attempt_at = now() where published_at is null')
    await app.rooms.billing.runTopUps()
    t.match((await call(t, 'setTopUp', 200, { ...there, body: { ...body, package: 'euros' } })).body, {
      currency: 'EUR',
      cap: { spent: '45.00' },
    })
    await call(t, 'setPackage', 201, { body: { ...euros, enabled: false } })

    const unconfigured = await service.another({ env: { NODE_ENV: 'production', DATABASE_URL: service.url } }, t)
    await call(t, 'listCards', 503, { ...there, app: unconfigured }, 'payments_not_configured')
    await call(t, 'saveCard', 503, { ...there, app: unconfigured, body: {} }, 'payments_not_configured')
    await call(t, 'setTopUp', 503, { ...there, app: unconfigured, body }, 'payments_not_configured')
    await call(t, 'switchTopUp', 503, { ...there, app: unconfigured, body: { enabled: true } }, 'payments_not_configured')
    t.match((await call(t, 'getTopUp', 200, { ...there, app: unconfigured })).body, { package: 'euros' }, 'what was set can be seen')
  })

  t.test('rules and codes give more', async (t) => {
    const wallet = await service.wallet()
    const closed = await service.wallet()
    await service.made(`/v1/wallets/${closed}/close`, { reason: 'x' }, admin)
    const at = new Date(Date.now() + 3_600_000).toISOString()

    // Bonus rules.
    const rule = { rule: 'volume_20', kind: 'volume', currency: 'USD', from_amount: '20.00', percent: '12.5', reason: 'x' }
    const set = await call(t, 'setBonusRule', 201, { body: { ...rule, most_credits: '300' } })
    t.match(set.body, { version_id: /^bon_/, from_amount: '20.00', percent: '12.5', most_credits: '300', enabled: true })
    await call(t, 'setBonusRule', 201, { body: { ...rule, enabled: false, effective_from: at } })
    await call(t, 'setBonusRule', 409, { body: { ...rule, effective_from: at } }, 'version_exists')
    await call(t, 'setBonusRule', 422, { body: { ...rule, effective_from: '2024-01-01T00:00:00Z' } }, 'effective_from_past')
    await call(t, 'setBonusRule', 400, { body: { ...rule, from_amount: '20.005' } }, 'invalid_request')
    await call(t, 'listBonusRules', 400, { query: '?nonsense=1' }, 'invalid_request')
    t.match((await call(t, 'listBonusRules', 200, {})).body, { data: [{ rule: 'volume_20', most_credits: '300' }], next_cursor: null })
    const versions = await call(t, 'listBonusRuleVersions', 200, { query: '?rule=volume_20' })
    t.match(versions.body.data, [{ enabled: false }, { enabled: true, created_by: /^admin:key:/ }])
    t.ok((await call(t, 'listBonusRuleVersions', 200, { query: '?limit=1' })).body.next_cursor)

    // Promotions.
    const spring = { code: 'Spring-26', percent: '10', grant_days: 30, most_redemptions: 2, reason: 'x' }
    const { body: added } = await call(t, 'addPromotion', 201, { body: spring })
    t.match(added, { id: /^prm_/, code: 'SPRING-26', percent: '10', credits: null, needs_purchase: true, ends_at: null })
    await call(t, 'addPromotion', 409, { body: { ...spring, code: 'SPRING-26' } }, 'promotion_exists')
    const past = new Date(Date.now() - 1_000).toISOString()
    for (const [wrong, pointer] of [
      [{ credits: '5' }, '/percent'],
      [{ percent: undefined }, '/percent'],
      [{ needs_purchase: false }, '/percent'],
      [{ percent: undefined, credits: '5', needs_purchase: false, first_purchase_only: true }, '/first_purchase_only'],
      [{ ends_at: past }, '/ends_at'],
      [{ starts_at: at, ends_at: at }, '/ends_at'],
      [{ most_redemptions: 0 }, '/most_redemptions'],
      [{ grant_days: 3_661 }, '/grant_days'],
    ] as const) {
      const refused = await call(t, 'addPromotion', 400, { body: { ...spring, code: 'WRONG', ...wrong } }, 'invalid_request')
      t.equal(refused.body.errors[0].pointer, pointer)
    }
    const hello = { code: 'HELLO', credits: '25', needs_purchase: false, reason: 'x' }
    const { body: alone } = await call(t, 'addPromotion', 201, { body: { ...hello, ends_at: at } })
    await call(t, 'addPromotion', 201, { body: { ...hello, code: 'LATER', starts_at: at } })
    await call(t, 'addPromotion', 201, { body: { ...spring, code: 'FIRST', first_purchase_only: true } })

    // A code with a purchase.
    const buy = { wallet, package: 'basic', promotion_code: 'spring-26' }
    const { body: order } = await call(t, 'purchase', 201, { body: buy })
    t.match(order, { bonus: '1300', promotion: '500', first_purchase_bonus: '0' }, 'the package’s own, the rule’s and the promotion’s')
    await call(t, 'purchase', 404, { body: { ...buy, promotion_code: 'LATER' } }, 'promotion_not_found')
    await call(t, 'purchase', 422, { body: { ...buy, promotion_code: 'HELLO' } }, 'promotion_not_applicable')
    await call(t, 'purchase', 400, { body: { ...buy, promotion_code: 'no code' } }, 'invalid_request')
    await atSandbox(service, order, 'pay')
    t.match((await call(t, 'getPayment', 200, { params: { payment_id: order.id } })).body, { bonus: '1300', promotion: '500' })
    t.match((await call(t, 'listGrants', 200, { params: { wallet } })).body.data, [{ kind: 'promotion', expires_at: /^20/ }, {}, {}])
    await call(t, 'purchase', 409, { body: buy }, 'promotion_used')
    await call(t, 'purchase', 422, { body: { ...buy, promotion_code: 'FIRST' } }, 'promotion_not_applicable')

    // A code by itself.
    const once = { idempotencyKey: 'redeemed once' }
    const { body: gift } = await call(t, 'redeem', 201, { body: { wallet, code: 'hello' }, ...once })
    t.match(gift, { kind: 'promotion', amount: '25', source: 'promotion:HELLO', wallet: { id: wallet } })
    const again = await call(t, 'redeem', 201, { body: { wallet, code: 'hello' }, ...once })
    t.equal(again.headers['idempotent-replayed'], 'true')
    t.same(again.body, gift)
    await call(t, 'redeem', 422, { body: { wallet, code: 'later' }, ...once }, 'idempotency_key_reused')
    await call(t, 'redeem', 409, { body: { wallet, code: 'HELLO' } }, 'promotion_used')
    await call(t, 'redeem', 409, { body: { wallet: closed, code: 'HELLO' } }, 'wallet_closed')
    const poor = await service.wallet()
    for (const code of ['NEVER-WAS', 'LATER']) await call(t, 'redeem', 404, { body: { wallet: poor, code } }, 'promotion_not_found')
    await call(t, 'redeem', 422, { body: { wallet: poor, code: 'SPRING-26' } }, 'promotion_not_applicable')
    await call(t, 'endPromotion', 200, { params: { promotion_id: alone.id }, body: { reason: 'x' } })
    const { body: ended } = await call(t, 'endPromotion', 200, { params: { promotion_id: alone.id }, body: { reason: 'x' } })
    await call(t, 'redeem', 422, { body: { wallet: poor, code: 'HELLO' } }, 'promotion_ended')
    const listed = await call(t, 'listPromotions', 200, {})
    t.match(listed.body.data, [
      { code: 'FIRST' },
      { code: 'LATER' },
      { code: 'HELLO', redeemed: 1, ends_at: ended.ends_at },
      { redeemed: 1 },
    ])
    t.ok((await call(t, 'listPromotions', 200, { query: '?limit=1' })).body.next_cursor)
  })

  t.test('plans are set, and wallets subscribe to them', async (t) => {
    const at = new Date(Date.now() + 3_600_000).toISOString()
    const monthly = { plan: 'monthly', name: 'Monthly', price: '30.00', currency: 'USD', credits: '1000', reason: 'x' }
    const set = await call(t, 'setPlan', 201, { body: { ...monthly, rollover_cap: '200' } })
    t.match(set.body, { id: 'monthly', version_id: /^pln_/, price: '30.00', interval: 'month', rollover_cap: '200', enabled: true })
    await call(t, 'setPlan', 201, { body: { ...monthly, enabled: false, effective_from: at } })
    await call(t, 'setPlan', 409, { body: { ...monthly, effective_from: at } }, 'version_exists')
    await call(t, 'setPlan', 422, { body: { ...monthly, effective_from: '2024-01-01T00:00:00Z' } }, 'effective_from_past')
    for (const [wrong, pointer] of [
      [{ price: '30.005' }, '/price'],
      [{ price: '0.00' }, '/price'],
      [{ credits: '0' }, '/credits'],
      [{ rollover_cap: '-1' }, '/rollover_cap'],
      [{ interval: 'week' }, '/interval'],
      [{ plan: 'Monthly' }, '/plan'],
    ] as const) {
      const refused = await call(t, 'setPlan', 400, { body: { ...monthly, ...wrong } }, 'invalid_request')
      t.equal(refused.body.errors[0].pointer, pointer)
    }
    const dearer = { ...monthly, price: '90.00', credits: '4000' }
    await call(t, 'setPlan', 201, { body: { ...dearer, plan: 'large' } })
    await call(t, 'setPlan', 201, { body: { ...dearer, plan: 'euros', currency: 'EUR' } })
    await call(t, 'setPlan', 201, { body: { ...dearer, plan: 'gone', enabled: false } })
    await call(t, 'listPlans', 400, { query: '?nonsense=1' }, 'invalid_request')
    const onSale = (await call(t, 'listPlans', 200, {})).body.data.map(({ id }: { id: string }) => id)
    t.same(onSale, ['monthly', 'euros', 'large'], 'cheapest first')
    const versions = await call(t, 'listPlanVersions', 200, { query: '?plan=monthly' })
    t.match(versions.body.data, [{ enabled: false }, { enabled: true, created_by: /^admin:key:/ }])
    t.ok((await call(t, 'listPlanVersions', 200, { query: '?limit=1' })).body.next_cursor)

    // The sandbox keeps no calendar.
    const there = { params: { wallet: await service.wallet() } }
    const [begin, change] = [
      { ...there, body: { plan: 'monthly' } },
      { ...there, body: { plan: 'large' } },
    ]
    await call(t, 'subscribe', 503, begin, 'subscriptions_need_stripe')
    await call(t, 'changeSubscription', 503, change, 'subscriptions_need_stripe')
    for (const operationId of ['cancelSubscription', 'resumeSubscription']) {
      await call(t, operationId, 503, { ...there, body: {} }, 'subscriptions_need_stripe')
    }
    await call(t, 'getSubscription', 404, there, 'subscription_not_found')

    // At Stripe, on its bad days too.
    const stripe = await startTestStripe()
    t.teardown(() => stripe.close())
    const env = { STRIPE_SECRET_KEY: stripe.apiKey, STRIPE_API_URL: stripe.url, STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET }
    const app = await service.another({ env: { ...env, CHECKOUT_RETURN_URL: RETURN_URL } }, t)
    const closed = await service.wallet()
    await service.made(`/v1/wallets/${closed}/close`, { reason: 'x' }, admin)
    await call(t, 'subscribe', 409, { ...begin, app, params: { wallet: closed } }, 'wallet_closed')
    for (const named of ['gone', 'never_was']) await call(t, 'subscribe', 422, { ...there, app, body: { plan: named } }, 'plan_not_sold')
    for (const url of ['success_url', 'cancel_url']) {
      const elsewhere = { plan: 'monthly', [url]: 'https://elsewhere.example/' }
      await call(t, 'subscribe', 422, { ...there, app, body: elsewhere }, 'return_url_not_allowed')
    }
    const once = { ...begin, app, idempotencyKey: 'subscribed once' }
    const down = stripe.controls.fail({ match: { method: 'POST' }, how: 'error500', shouldRetry: false })
    await call(t, 'subscribe', 503, once, 'payment_provider_unavailable')
    down.stop()
    const { body: begun } = await call(t, 'subscribe', 201, once)
    t.match(begun, { status: 'pending', plan: { id: 'monthly' }, checkout: { url: /^https:/ }, provider_subscription_id: null })
    const again = await call(t, 'subscribe', 201, once)
    t.equal(again.headers['idempotent-replayed'], 'true')
    t.same(again.body, begun)
    await call(t, 'subscribe', 422, { ...once, body: { plan: 'large' } }, 'idempotency_key_reused')
    await call(t, 'changeSubscription', 409, { ...change, app }, 'subscription_not_active')
    t.match((await call(t, 'getSubscription', 200, there)).body, { id: begun.id, status: 'pending' })
    const page = stripe.controls.rows('sessions').find(({ metadata }) => metadata?.farebox_subscription === begun.id)
    const objectId = String(stripe.controls.payCheckout(page?.id ?? '').session.subscription)
    await app.rooms.billing.sync(objectId, 'test')
    const [invoice] = stripe.controls.rows('invoices')
    await app.rooms.billing.sync(invoice?.id ?? '', 'test')
    const active = await call(t, 'getSubscription', 200, there)
    t.match(active.body, { status: 'active', provider_subscription_id: objectId, credited_until: /^20/, cancels_at: null })
    const second = await call(t, 'subscribe', 409, { ...begin, app }, 'subscription_exists')
    t.equal(second.body.subscription_id, begun.id)
    await call(t, 'closeWallet', 409, { ...there, body: { reason: 'x' } }, 'wallet_subscribed')

    // Another plan.
    for (const named of ['gone', 'never_was']) {
      await call(t, 'changeSubscription', 422, { ...there, app, body: { plan: named } }, 'plan_not_sold')
    }
    await call(t, 'changeSubscription', 422, { ...there, app, body: { plan: 'euros' } }, 'plan_not_changeable')
    const method = String(stripe.controls.rows('subscriptions')[0]?.default_payment_method)
    stripe.controls.changeCard(method, 'declined')
    await call(t, 'changeSubscription', 402, { ...change, app }, 'payment_declined')
    stripe.controls.changeCard(method, 'good')
    const silent = stripe.controls.fail({ match: {}, how: 'error500', shouldRetry: false })
    await call(t, 'changeSubscription', 503, { ...change, app }, 'payment_provider_unavailable')
    await call(t, 'cancelSubscription', 503, { ...there, app, body: {} }, 'payment_provider_unavailable')
    await call(t, 'resumeSubscription', 503, { ...there, app, body: {} }, 'payment_provider_unavailable')
    silent.stop()
    t.match((await call(t, 'changeSubscription', 200, { ...change, app })).body, { status: 'active', plan: { id: 'large' } })

    // Its end.
    t.match((await call(t, 'cancelSubscription', 200, { ...there, app, body: {} })).body, { status: 'active', cancels_at: /^20/ })
    t.match((await call(t, 'resumeSubscription', 200, { ...there, app, body: {} })).body, { status: 'active', cancels_at: null })
    const unconfigured = await service.another({ env: { NODE_ENV: 'production', DATABASE_URL: service.url } }, t)
    await call(t, 'subscribe', 503, { ...begin, app: unconfigured }, 'payments_not_configured')
    await call(t, 'changeSubscription', 503, { ...change, app: unconfigured }, 'payments_not_configured')
    await call(t, 'cancelSubscription', 503, { ...there, app: unconfigured, body: {} }, 'payments_not_configured')
    await call(t, 'resumeSubscription', 503, { ...there, app: unconfigured, body: {} }, 'payments_not_configured')
    t.match(
      (await call(t, 'getSubscription', 200, { ...there, app: unconfigured })).body,
      { status: 'active' },
      'what there is can be seen',
    )
    // Somebody ended it in Stripe's own console a moment ago, and nobody has told yet.
    await call(t, 'cancelSubscription', 200, { ...there, app, body: { at_period_end: true } })
    await app.rooms.billing.gateway?.subscriptions?.cancel(objectId, 'now')
    await call(t, 'cancelSubscription', 422, { ...there, app, body: {} }, 'subscription_refused')
    await call(t, 'changeSubscription', 422, { ...there, app, body: { plan: 'monthly' } }, 'subscription_refused')
    await call(t, 'resumeSubscription', 422, { ...there, app, body: {} }, 'subscription_refused')
    t.match((await call(t, 'cancelSubscription', 200, { ...there, app, body: { at_period_end: false } })).body, {
      status: 'canceled',
      ended_at: /^20/,
    })
    await call(t, 'changeSubscription', 409, { ...change, app }, 'subscription_ended')
    for (const operationId of ['cancelSubscription', 'resumeSubscription']) {
      await call(t, operationId, 409, { ...there, app, body: {} }, 'subscription_ended')
    }
    t.match((await call(t, 'getSubscription', 200, there)).body, { status: 'canceled' })
  })

  t.test('without its database it is 503', async (t) => {
    const proxy = await createProxy(t, service.url)
    const behind = await service.another({ url: proxy.url }, t)
    // Both keys are known from then on, as in a running service.
    await behind.get('/v1/wallets')
    await behind.get('/v1/wallets', admin)
    await proxy.set('down')
    const valid: Record<string, object> = {
      ...VALID,
      addPrice: { model: 'm2', provider: 'p', rates: { input_tokens: '1', output_tokens: '2' }, reason: 'x' },
      addOperation: { operation: 'o2', unit_cost: '0.5', reason: 'x' },
      addMarkup: { percent: '25', reason: 'x' },
      addExchangeRate: { currency: 'USD', purpose: 'consumption', credits_per_unit: '100', reason: 'x' },
      addChargePolicy: { minimum_charge: '0.01', maximum_charge: '100000', reason: 'x' },
      setPackage: { package: 'small', name: 'Small', price: '5.00', currency: 'USD', credits: '500', reason: 'x' },
      setBonusRule: { rule: 'volume', kind: 'volume', currency: 'USD', percent: '5', reason: 'x' },
      addPromotion: { code: 'ANOTHER', credits: '5', reason: 'x' },
      endPromotion: { reason: 'x' },
      setPlan: { plan: 'weekly', name: 'Weekly', price: '5.00', currency: 'USD', credits: '500', reason: 'x' },
      createClient: { name: 'another shop' },
      createApiKey: { name: 'k', scopes: ['usage:write'] },
      revokeApiKey: {},
      openWallet: { owner: 'user:x' },
      configureWallet: { label: 'x' },
      freezeWallet: { reason: 'x' },
      unfreezeWallet: { reason: 'x' },
      closeWallet: { reason: 'x' },
      issueToken: { sub: 'alice' },
      quote: { amount: '1' },
      previewExchangeRate: { currency: 'USD', purpose: 'consumption', credits_per_unit: '100' },
      importPrices: { format: 'openrouter', document: '{"data":[]}', reason: 'x' },
      acceptProposal: { reason: 'x' },
      rejectProposal: { reason: 'x' },
      dismissPaymentEvent: { reason: 'x' },
      batch: { commands: [{ operation: 'reserve', idempotency_key: 'k', body: VALID.reserve }] },
      reportEvents: { events: [{ source: 's', id: '1', wallet: 'user:x', amount: '1' }] },
    }
    const special = ['batch', 'reportEvents', 'issueToken', '/readyz', ...IN_MEMORY]
    const unknown = await service.newKey(['usage:write', 'prices:read'])
    await Promise.all([
      ...routes
        .filter(({ statuses, operationId }) => statuses.includes(503) && !special.includes(operationId))
        .map(({ operationId, hasBody }) =>
          call(t, operationId, 503, { app: behind, ...(hasBody && { body: valid[operationId] ?? {} }) }, 'storage_unavailable'),
        ),
      // Each result of a batch stands for itself.
      ...['batch', 'reportEvents'].map(async (operationId) => {
        const { body } = await call(t, operationId, 200, { app: behind, body: valid[operationId] as object })
        t.equal(body.results[0].status, 503)
        t.equal(body.results[0].body.code, 'storage_unavailable')
      }),
      // A key that has to be looked up stands before everything.
      ...['batch', 'reportEvents', 'issueToken', ...IN_MEMORY]
        .filter((operationId) => routeOf.get(operationId)?.statuses.includes(503))
        .map((operationId) => {
          const body = valid[operationId]
          return call(t, operationId, 503, { app: behind, ...(body && { body }), key: unknown }, 'storage_unavailable')
        }),
    ])
    t.equal((await behind.get('/readyz', { key: null })).status, 503)
    await proxy.set('pass')
  })

  t.test('a service that is stopping says so', async (t) => {
    const stopping = await service.another({}, t)
    await stopping.get('/v1/wallets')
    await stopping.rooms.lane.stop()
    await call(t, 'reserve', 503, { app: stopping, body: VALID.reserve as object }, 'shutting_down')
    await call(
      t,
      'batch',
      503,
      { app: stopping, body: { commands: [{ operation: 'reserve', idempotency_key: 'k', body: VALID.reserve }] } },
      'shutting_down',
    )
  })

  t.test('realtime', async (t) => {
    await call(t, 'createTicket', 201, {})
    await call(t, 'createTicket', 400, { body: '{' }, 'invalid_json')
    // A stream has no end: it is looked at over a real socket, and left.
    const { base } = await service.listen()
    const wallet = await service.wallet('1')
    const leave = new AbortController()
    const stream = await fetch(`${base}/v1/wallets/${wallet}/stream`, {
      headers: { authorization: `Bearer ${service.client.key}` },
      signal: leave.signal,
    })
    t.equal(stream.status, 200)
    t.match(stream.headers.get('content-type'), /^text\/event-stream/)
    leave.abort()
    met.add('streamWallet 200')
  })

  t.test('nothing that is documented was never met', async (t) => {
    const documented = routes.flatMap(({ operationId, statuses }) => statuses.map((status) => `${operationId} ${status}`))
    const unmet = documented.filter((pair) => !met.has(pair))
    t.same(unmet, [], 'each documented status was met')
    t.same(
      [...met].filter((pair) => !documented.includes(pair)),
      [],
      'and nothing undocumented was',
    )
    t.comment(
      `${routes.length} routes, ${documented.length} documented statuses, ${documented.length - unmet.length} met, ${codesMet.size} codes of ${Object.keys(ERROR_CODES).length}`,
    )
    t.comment(
      `codes not met here: ${Object.keys(ERROR_CODES)
        .filter((code) => !codesMet.has(code))
        .join(', ')}`,
    )
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

/** Bodies that are well-formed and name what is not there. */
const VALID: Record<string, object> = {
  reserve: { wallet: 'user:nobody', amount: '1' },
  check: { wallet: 'user:nobody', amount: '1' },
  commit: { amount: '1' },
  release: {},
  extend: { ttl_seconds: 60 },
  charge: { wallet: 'user:nobody', amount: '1' },
  refund: {},
  grant: { wallet: 'user:nobody', kind: 'bonus', amount: '1' },
  void: { reason: 'x' },
  adjust: { wallet: 'user:nobody', amount: '1', reason: 'x' },
  configureWallet: { label: 'x' },
  purchase: { wallet: 'user:nobody', package: 'basic' },
  refundPayment: { reason: 'x' },
  saveCard: {},
  setTopUp: { threshold: '100', package: 'basic', cap: { amount: '100' } },
  switchTopUp: { enabled: false },
  redeem: { wallet: 'user:nobody', code: 'NEVER-WAS' },
  subscribe: { plan: 'monthly' },
  changeSubscription: { plan: 'monthly' },
  cancelSubscription: {},
  resumeSubscription: {},
  createApiKey: { name: 'k', scopes: ['usage:write'] },
  revokeApiKey: {},
}
