import t, { type Test } from 'tap'
import { type Answer, type Body, createService, type TestService } from '../helpers/service.ts'

/**
 * What work consumes, on every way in: the provider's own usage object or pools, a text that is yet to be sent, tiers, long prompts, names.
 * All figures are worked out by hand at 120 credits a dollar: a token at 1 dollar a million costs 120 micro-credits.
 */

interface Sample {
  readonly format: string
  readonly model: string
  readonly body: object
  readonly usage: Readonly<Record<string, number>>
  readonly cost: string
}

const SAMPLES: readonly Sample[] = [
  {
    // 1,000 × 300 + 3,000 × 150 + 50 × 1,200 + 30 × 1,200
    format: 'openai.chat',
    model: 'gpt-4o',
    body: {
      prompt_tokens: 4_000,
      completion_tokens: 80,
      total_tokens: 4_080,
      prompt_tokens_details: { cached_tokens: 3_000, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 30, accepted_prediction_tokens: 0 },
    },
    usage: {
      input_tokens: 1_000,
      cache_read_tokens: 3_000,
      input_audio_tokens: 0,
      output_tokens: 50,
      reasoning_tokens: 30,
    },
    cost: '0.846',
  },
  {
    // The whole answer: 1,500 × 150 + 500 × 15 + 100 × 1,200 + 200 × 1,200
    format: 'openai.responses',
    model: 'gpt-5',
    body: {
      id: 'resp_1',
      model: 'gpt-5-2025-08-07',
      output: [{ type: 'message', content: [{ text: 'Grüße 🌍' }] }],
      usage: {
        input_tokens: 2_000,
        input_tokens_details: { cached_tokens: 500 },
        output_tokens: 300,
        output_tokens_details: { reasoning_tokens: 200 },
      },
    },
    usage: { input_tokens: 1_500, cache_read_tokens: 500, output_tokens: 100, reasoning_tokens: 200 },
    cost: '0.5925',
  },
  {
    // 100 × 360 + 2,000 × 36 + 600 × 450 + 400 × 720 + 50 × 1,800, and two searches at 1.2 credits
    format: 'anthropic',
    model: 'claude-sonnet-4-5',
    body: {
      input_tokens: 100,
      cache_creation_input_tokens: 1_000,
      cache_read_input_tokens: 2_000,
      cache_creation: { ephemeral_5m_input_tokens: 600, ephemeral_1h_input_tokens: 400 },
      output_tokens: 50,
      server_tool_use: { web_search_requests: 2 },
      service_tier: 'standard',
    },
    usage: {
      input_tokens: 100,
      cache_read_tokens: 2_000,
      cache_write_5m_tokens: 600,
      cache_write_1h_tokens: 400,
      output_tokens: 50,
      searches: 2,
    },
    cost: '3.156',
  },
  {
    // 300 × 36 + 400 × 3.6 + 300 × 120 + 30 × 300 + 70 × 300
    format: 'google',
    model: 'gemini-2.5-flash',
    body: {
      candidates: [],
      modelVersion: 'gemini-2.5-flash',
      usageMetadata: {
        promptTokenCount: 1_000,
        cachedContentTokenCount: 400,
        candidatesTokenCount: 30,
        thoughtsTokenCount: 70,
        totalTokenCount: 1_100,
        promptTokensDetails: [
          { modality: 'TEXT', tokenCount: 700 },
          { modality: 'AUDIO', tokenCount: 300 },
        ],
        cacheTokensDetails: [{ modality: 'TEXT', tokenCount: 400 }],
      },
    },
    usage: { input_tokens: 300, cache_read_tokens: 400, input_audio_tokens: 300, output_tokens: 30, reasoning_tokens: 70 },
    cost: '0.07824',
  },
  {
    // 100 × 120 + 50 × 12 + 10 × 150 + 5 × 600
    format: 'aws',
    model: 'claude-haiku-4-5',
    body: { inputTokens: 100, outputTokens: 5, totalTokens: 165, cacheReadInputTokens: 50, cacheWriteInputTokens: 10 },
    usage: { input_tokens: 100, cache_read_tokens: 50, cache_write_5m_tokens: 10, output_tokens: 5 },
    cost: '0.0171',
  },
  {
    // The reasoning is not in the completion: 700 × 360 + 300 × 90 + 20 × 1,800 + 80 × 1,800
    format: 'xai.chat',
    model: 'grok-4',
    body: {
      prompt_tokens: 1_000,
      completion_tokens: 20,
      prompt_tokens_details: { cached_tokens: 300 },
      completion_tokens_details: { reasoning_tokens: 80 },
    },
    usage: { input_tokens: 700, cache_read_tokens: 300, output_tokens: 20, reasoning_tokens: 80 },
    cost: '0.459',
  },
  {
    // 750 × 18 + 250 × 9 + 40 × 72
    format: 'ai_sdk.6',
    model: 'gpt-4o-mini',
    body: {
      inputTokens: 1_000,
      outputTokens: 40,
      totalTokens: 1_040,
      inputTokenDetails: { cacheReadTokens: 250 },
      outputTokenDetails: { textTokens: 40 },
    },
    usage: { input_tokens: 750, cache_read_tokens: 250, output_tokens: 40 },
    cost: '0.01863',
  },
]

t.test('a provider’s own usage', async (t) => {
  const service = await createService(t)
  const { made, get } = service
  const wallet = await service.wallet('1000')

  for (const { format, model, body, usage, cost } of SAMPLES) {
    t.test(`${format}, on every way in`, async (t) => {
      const raw_usage = { format, body }
      const work = { wallet, model, raw_usage }
      const quote = await made('/v1/quotes', { model, raw_usage }, { idempotencyKey: null })
      t.match(quote, { cost, residue: '0' })
      t.same(quote.usage, usage)
      t.equal((await made('/v1/check', work, { idempotencyKey: null })).required, cost)

      const reservations = [
        await made('/v1/reservations', work),
        ...(await made('/v1/batch', { commands: [{ operation: 'reserve', idempotency_key: `${format}-r`, body: work }] })).results.map(
          (result: Body) => result.body,
        ),
      ]
      const batch = [
        { operation: 'charge', idempotency_key: `${format}-c`, body: work },
        { operation: 'commit', idempotency_key: `${format}-d`, reservation_id: reservations[1].id, body: { raw_usage } },
      ]
      const cloudEvent = { specversion: '1.0', type: 'farebox.usage', source: 's', id: `${format}-cloud`, subject: wallet }
      const charges: Body[] = [
        await made('/v1/charges', work),
        await made(`/v1/reservations/${reservations[0].id}/commit`, { raw_usage }),
        ...(await made('/v1/batch', { commands: batch })).results.map((result: Body) => result.body),
        (await made('/v1/events', { events: [{ source: 's', id: format, ...work }] })).results[0].body,
        (await made('/v1/events', { ...cloudEvent, data: { model, raw_usage } })).results[0].body,
      ]
      for (const { requested } of reservations) t.equal(requested, cost)
      for (const charge of charges) {
        t.match(charge, { cost, model, basis: 'actual' })
        t.same(charge.usage, usage)
        t.equal(JSON.stringify(charge.raw_usage), JSON.stringify(raw_usage), 'kept as it came')
        const read = (await get(`/v1/charges/${charge.id}`)).body
        t.same([read.raw_usage, read.usage], [raw_usage, usage])
        t.match((await get(`/v1/charges/${charge.id}/recompute`)).body, { matches: true, recomputed: cost })
      }
    })
  }

  t.test('a capture keeps its part, and what was given as pools has none', async (t) => {
    const usage = { input_tokens: 1_000, output_tokens: 100 }
    const hold = await made('/v1/reservations', { wallet, model: 'gpt-4o', usage })
    const part = (prompt_tokens: number) => ({ format: 'openai.chat', body: { prompt_tokens, completion_tokens: 0 } })
    for (const tokens of [10, 20]) {
      const capture = await made(`/v1/reservations/${hold.id}/commit`, { raw_usage: part(tokens), final: false })
      t.same(capture.raw_usage, part(tokens))
    }
    t.equal((await made(`/v1/reservations/${hold.id}/commit`, { usage })).raw_usage, null)
    t.equal((await made('/v1/charges', { wallet, amount: '1' })).raw_usage, null)
  })

  t.test('is one request however it is spelled, and another one with other counts', async (t) => {
    const once = { idempotencyKey: 'raw' }
    const send = (format: string, body: string) =>
      service.post('/v1/charges', `{"wallet":"${wallet}","model":"gpt-4o","raw_usage":{"format":"${format}","body":${body}}}`, once)
    const first = await send('openai.chat', '{"prompt_tokens":10,"completion_tokens":1,"id":"x"}')
    t.equal(first.status, 201)
    for (const same of [
      '{"id":"x","completion_tokens":1,"prompt_tokens":10}',
      '{ "id": "\\u0078", "prompt_tokens": 1e1, "completion_tokens": 1.0 }',
    ]) {
      t.equal((await send('openai.chat', same)).text, first.text)
    }
    for (const [format, other] of [
      ['openai.chat', '{"prompt_tokens":11,"completion_tokens":1,"id":"x"}'],
      ['openai.chat', '{"prompt_tokens":10,"completion_tokens":1,"id":"y"}'],
      ['openai.chat', '{"prompt_tokens":10,"completion_tokens":1}'],
      ['mistral', '{"prompt_tokens":10,"completion_tokens":1,"id":"x"}'],
    ] as const) {
      t.equal((await send(format, other)).body.code, 'idempotency_key_reused', `${format} ${other}`)
    }
  })

  t.test('what does not add up is refused with its place', async (t) => {
    const refused = async (format: string, body: unknown, pointer: string) => {
      const raw_usage = { format, body }
      for (const [path, request, prefix] of [
        ['/v1/charges', { wallet, model: 'gpt-4o', raw_usage }, ''],
        ['/v1/quotes', { model: 'gpt-4o', raw_usage }, ''],
        ['/v1/events', { events: [{ source: 's', id: 'x', wallet, model: 'gpt-4o', raw_usage }] }, '/events/0'],
      ] as const) {
        const answer = await service.post(path, request)
        t.equal(answer.status, 400, `${path} ${JSON.stringify(body)}`)
        t.match(answer.body.errors, [{ pointer: `${prefix}/raw_usage${pointer}` }])
      }
    }
    const before = (await get(`/v1/wallets/${wallet}`)).body
    await refused('openai.chat', {}, '/body/prompt_tokens')
    await refused('openai.chat', { prompt_tokens: 10 }, '/body/completion_tokens')
    await refused('openai.chat', { prompt_tokens: -1, completion_tokens: 1 }, '/body/prompt_tokens')
    await refused('openai.chat', { prompt_tokens: 1.5, completion_tokens: 1 }, '/body/prompt_tokens')
    await refused('openai.chat', { prompt_tokens: '10', completion_tokens: 1 }, '/body/prompt_tokens')
    await refused(
      'openai.chat',
      { usage: { prompt_tokens: 10, completion_tokens: 1, prompt_tokens_details: { cached_tokens: [] } } },
      '/body/usage/prompt_tokens_details/cached_tokens',
    )
    await refused('openai.chat', { prompt_tokens: 10, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 11 } }, '/body')
    await refused('openai.chat', { prompt_tokens: 10, completion_tokens: 1, usage: { prompt_tokens: 9, completion_tokens: 1 } }, '/body')
    await refused('openai.chat', [], '/body')
    await refused('openai', { prompt_tokens: 10, completion_tokens: 1 }, '/format')
    await refused('constructor', { prompt_tokens: 10, completion_tokens: 1 }, '/format')
    t.same((await get(`/v1/wallets/${wallet}`)).body, before)
  })

  t.test('an explicit zero stays zero', async (t) => {
    const zeros = { input_tokens: 0, cache_read_tokens: 0, output_tokens: 0, searches: 0, input_audio_tokens: 0 }
    const nothing = await made('/v1/charges', { wallet, model: 'gpt-4o', usage: zeros })
    t.equal(nothing.cost, '0', 'also of what has no price')
    t.same(nothing.usage, zeros)
    t.same((await get(`/v1/charges/${nothing.id}`)).body.usage, zeros)
    const body = { prompt_tokens: 1_000, completion_tokens: 0, prompt_tokens_details: { cached_tokens: 0 } }
    const charge = await made('/v1/charges', { wallet, model: 'gpt-4o', raw_usage: { format: 'openai.chat', body } })
    t.match(charge, { cost: '0.3', raw_usage: { body } })
    t.same(charge.usage, { input_tokens: 1_000, cache_read_tokens: 0, output_tokens: 0 })
    const { lines } = (await get(`/v1/charges/${charge.id}`)).body.quote
    t.same(
      lines.map((line: Body) => [line.pool, line.quantity, line.credits]),
      [
        ['input_tokens', 1_000, '0.3'],
        ['cache_read_tokens', 0, '0'],
        ['output_tokens', 0, '0'],
      ],
    )
    t.equal((await made('/v1/charges', { wallet, operation: 'rag_retrieval', units: 0 })).cost, '0')
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

t.test('what has no price is refused by name, everywhere', async (t) => {
  const service = await createService(t)
  const { post, made } = service
  const wallet = await service.wallet('100')
  const usage = { input_tokens: 10, searches: 2, input_audio_tokens: 5, output_images: 0 }
  const cheap = { input_tokens: 10, output_tokens: 1 }
  const hold = await made('/v1/reservations', { wallet, model: 'gpt-4o', usage: { input_tokens: 100_000 } })
  const raw = { format: 'anthropic', body: { input_tokens: 1, output_tokens: 1, server_tool_use: { web_search_requests: 1 } } }

  const counts = async () => {
    const tables = ['wallets', 'grants', 'reservations', 'charges', 'transactions', 'audit_log']
    const sums = await Promise.all(
      tables.map((table) => service.query(`select md5(coalesce(string_agg(x::text, '|' order by x::text), '')) as sum from ${table} x`)),
    )
    return JSON.stringify(sums)
  }
  const keys = async () => (await service.query('select count(*)::int as n from idempotency_keys where status = 422'))[0].n
  const before = await counts()
  const keysBefore = await keys()

  const refused = (t: Test, body: Body, pools: string[]) => {
    t.match(body, { status: 422, code: 'pool_unpriced', retryable: false, detail: /never billed as zero/ })
    t.same(body.pools, pools)
  }
  t.test('and nothing is written but the refusal', async (t) => {
    const pools = ['input_audio_tokens', 'searches']
    const inOrder = (body: Body): Body => ({ ...body, pools: body.pools?.toSorted() })
    const work = { wallet, model: 'gpt-4o', usage }
    for (const path of ['/v1/quotes', '/v1/check']) {
      const { wallet: _wallet, ...question } = work
      const answer = await post(path, path === '/v1/quotes' ? question : work, { idempotencyKey: null })
      refused(t, inOrder(answer.body), pools)
    }
    t.equal(await keys(), keysBefore, 'a question leaves nothing at all')
    const commands: [string, object][] = [
      ['/v1/reservations', work],
      ['/v1/charges', work],
      [`/v1/reservations/${hold.id}/commit`, { usage }],
      [`/v1/reservations/${hold.id}/commit`, { usage, final: false }],
      [`/v1/reservations/${hold.id}/commit`, { usage_total: usage, final: false }],
    ]
    for (const [i, [path, body]] of commands.entries()) {
      const once = { idempotencyKey: `refused-${i}` }
      const answer = await post(path, body, once)
      t.equal(answer.status, 422, path)
      refused(t, inOrder(answer.body), pools)
      const again = await post(path, body, once)
      t.equal(again.headers['idempotent-replayed'], 'true', 'which is what a replay gets')
    }
    t.equal(await keys(), keysBefore + commands.length)
    const batch = [
      { operation: 'reserve', idempotency_key: 'b1', body: work },
      { operation: 'charge', idempotency_key: 'b2', body: { ...work, usage: undefined, raw_usage: raw } },
      { operation: 'commit', idempotency_key: 'b3', reservation_id: hold.id, body: { raw_usage: raw } },
    ]
    const { results } = await made('/v1/batch', { commands: batch })
    for (const [i, { status, body }] of (results as Answer[]).entries()) {
      t.equal(status, 422)
      refused(t, inOrder(body), i === 0 ? pools : ['searches'])
    }
    const events = await made('/v1/events', { events: [{ source: 's', id: '1', ...work }] })
    t.match(events.results, [{ outcome: 'refused', status: 422 }])
    refused(t, inOrder(events.results[0].body), pools)
    t.equal(await keys(), keysBefore + commands.length + 4)
    t.equal(await counts(), before, 'no wallet, no hold, no charge')
  })

  t.test('until it has a price', async (t) => {
    await made(
      '/v1/admin/prices',
      {
        model: 'gpt-4o',
        provider: 'openai',
        rates: { input_tokens: '2.5', output_tokens: '10', searches: '0.01', input_audio_tokens: '40' },
        reason: 'x',
      },
      { key: service.adminKey },
    )
    // 10 × 300 + 2 × 1,200,000 + 5 × 4,800
    t.equal((await made('/v1/charges', { wallet, model: 'gpt-4o', usage })).cost, '2.427')
    t.equal(
      (await post(`/v1/reservations/${hold.id}/commit`, { usage })).body.code,
      'pool_unpriced',
      'but not for what was reserved before',
    )
    t.equal((await made(`/v1/reservations/${hold.id}/commit`, { usage: cheap, final: false })).cost, '0.0042')
    t.equal((await made(`/v1/reservations/${hold.id}/commit`, { amount: '2.427' })).cost, '2.427', 'an amount helps')
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

t.test('a text that is yet to be sent', async (t) => {
  const service = await createService(t, { level: 'trace' })
  const { post, made, get } = service
  const wallet = await service.wallet('1000')
  const canary = 'canary-of-the-prompt'
  // By o200k: six tokens.
  const input_text = 'one two three four five six'
  const secret = `${canary} ${input_text}`
  const body = { model: 'gpt-4o', input_text, max_output_tokens: 100 }
  const usage = { input_tokens: 6, output_tokens: 100 }
  // 6 × 300 + 100 × 1,200
  const cost = '0.1218'

  t.test('is counted on every way in', async (t) => {
    const quote = await made('/v1/quotes', body, { idempotencyKey: null })
    t.match(quote, { cost, usage, estimate: 'tokenizer' })
    t.match(await made('/v1/check', { wallet, ...body }, { idempotencyKey: null }), { allowed: true, required: cost })
    const hold = await made('/v1/reservations', { wallet, ...body })
    t.equal(hold.requested, cost)
    t.match((await get(`/v1/reservations/${hold.id}`)).body.quote, { usage, estimate: 'tokenizer', cost })
    const commit = await made(`/v1/reservations/${hold.id}/commit`, { usage: { input_tokens: 9, output_tokens: 20 } })
    t.match(commit, { cost: '0.0267', basis: 'actual' })
    const charge = await made('/v1/charges', { wallet, ...body })
    t.match(charge, { cost, basis: 'estimated', raw_usage: null })
    t.same(charge.usage, usage)
    t.match((await get(`/v1/charges/${charge.id}/recompute`)).body, { matches: true })
    t.equal((await made('/v1/charges', { wallet, ...body, basis: 'actual' })).basis, 'actual', 'unless the caller knows better')
    const commands = ['reserve', 'charge'].map((operation) => ({ operation, idempotency_key: `k-${operation}`, body: { wallet, ...body } }))
    const { results } = await made('/v1/batch', { commands })
    t.match(results, [
      { status: 201, body: { requested: cost } },
      { status: 201, body: { cost, basis: 'estimated' } },
    ])
  })

  t.test('says how well it was counted', async (t) => {
    const method = async (model: string, text = input_text) =>
      (await made('/v1/quotes', { model, input_text: text }, { idempotencyKey: null })).estimate
    t.equal(await method('gpt-4o'), 'tokenizer')
    t.equal(await method('gpt-4o-2024-08-06'), 'tokenizer', 'by an alias too')
    t.equal(await method('claude-sonnet-4-5'), 'approximate')
    t.equal(await method('gemini-2.5-flash'), 'approximate')
    t.match(await made('/v1/quotes', { model: 'gpt-4o', input_text: '<|endoftext|>' }), { usage: { input_tokens: 7 } }, 'as plain text')
    const empty = await made('/v1/quotes', { model: 'gpt-4o', input_text: '' })
    t.match(empty, { usage: { input_tokens: 0 }, cost: '0' })
    t.equal((await made('/v1/quotes', { model: 'gpt-4o', usage })).estimate, null)
    t.equal((await post('/v1/quotes', { model: 'gpt-9', input_text })).body.code, 'unknown_model')
  })

  t.test('is idempotent by what was sent', async (t) => {
    for (const path of ['/v1/reservations', '/v1/charges']) {
      const once = { idempotencyKey: 'same text' }
      const first = await post(path, { wallet, ...body }, once)
      const again = await post(path, { wallet, ...body }, once)
      t.equal(again.text, first.text, 'byte for byte')
      t.equal(again.headers['idempotent-replayed'], 'true')
      // The same count is not the same text.
      for (const other of [
        { ...body, input_text: 'one two three four five seven' },
        { ...body, max_output_tokens: 101 },
        { model: 'gpt-4o', usage },
      ]) {
        t.equal((await post(path, { wallet, ...other }, once)).body.code, 'idempotency_key_reused')
      }
    }
  })

  t.test('comes instead of a usage, and before the work', async (t) => {
    const hold = await made('/v1/reservations', { wallet, amount: '1' })
    for (const [path, request, pointer] of [
      ['/v1/charges', { wallet, ...body, usage }, '/amount'],
      ['/v1/charges', { wallet, input_text }, '/model'],
      ['/v1/charges', { wallet, model: 'gpt-4o', usage, max_output_tokens: 5 }, '/amount'],
      ['/v1/charges', { wallet, amount: '1', max_output_tokens: 5 }, '/amount'],
      ['/v1/charges', { wallet, ...body, max_output_tokens: -1 }, '/max_output_tokens'],
      ['/v1/charges', { wallet, ...body, input_text: 5 }, '/input_text'],
      [`/v1/reservations/${hold.id}/commit`, body, '/input_text'],
      ['/v1/events', { events: [{ source: 's', id: '1', wallet, ...body }] }, '/events/0/input_text'],
    ] as const) {
      const answer = await post(path, request)
      t.equal(answer.status, 400, `${path} ${JSON.stringify(request)}`)
      t.ok(
        answer.body.errors.some((error: Body) => error.pointer === pointer),
        pointer,
      )
    }
  })

  t.test('is not kept: not in the database, not in the log, not in an answer', async (t) => {
    const answers = [
      await post('/v1/quotes', { ...body, input_text: secret }),
      await post('/v1/check', { wallet, ...body, input_text: secret }),
      await post('/v1/reservations', { wallet, ...body, input_text: secret }),
      await post('/v1/charges', { wallet, ...body, input_text: secret }),
      await post('/v1/charges', { wallet: 'user:nobody', ...body, input_text: secret }),
      await post('/v1/charges', { wallet, ...body, model: 'gpt-9', input_text: secret }),
      await post('/v1/charges', { wallet, ...body, max_output_tokens: -1, input_text: secret }),
      await post('/v1/batch', {
        commands: [{ operation: 'charge', idempotency_key: 'secret', body: { wallet, ...body, input_text: secret } }],
      }),
    ]
    t.same(
      answers.map(({ status }) => status),
      [200, 200, 201, 201, 404, 422, 400, 200],
    )
    for (const { text } of answers) t.notOk(text.includes(canary))
    t.notOk(service.logText().includes(canary))
    t.ok(service.logText().length > 1_000, 'there is a log')
    t.same(await tablesWith(service, canary), [])
    await made('/v1/charges', { wallet, amount: '1', reference: canary })
    t.ok((await tablesWith(service, canary)).includes('charges'), 'the search finds what is there')
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

/** Tables of the database that have a text in any row. */
async function tablesWith(service: TestService, text: string): Promise<string[]> {
  const tables = await service.query(
    `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
      where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`,
  )
  const found = await Promise.all(
    tables.map(async ({ name }) => {
      const [row] = await service.query(`select exists (select from ${name} x where position($1 in x::text) > 0) as found`, [text])
      return row.found ? name.replace('public.', '') : null
    }),
  )
  return found.filter((name) => name !== null)
}

t.test('tiers, long prompts, requests and names', async (t) => {
  const service = await createService(t)
  const { post, made, get } = service
  const admin = { key: service.adminKey }
  const wallet = await service.wallet('10000')
  const price = (body: object) => made('/v1/admin/prices', { provider: 'us', reason: 'x', ...body }, admin)
  const quote = async (body: object) => (await post('/v1/quotes', body, { idempotencyKey: null })).body
  const costOf = async (body: object) => (await quote(body)).cost

  t.test('a service tier has its own prices', async (t) => {
    await price({
      model: 'tiered',
      rates: { input_tokens: '2', output_tokens: '10' },
      variants: [
        { service_tier: 'batch', rates: { input_tokens: '1', output_tokens: '5' } },
        { service_tier: 'flex', rates: { input_tokens: '1.5' } },
        { service_tier: 'batch', above_prompt_tokens: 1_000, rates: { input_tokens: '0.5' } },
      ],
    })
    const usage = { input_tokens: 1_000, output_tokens: 100 }
    const work = { model: 'tiered', usage }
    t.equal(await costOf(work), '0.36')
    t.equal(await costOf({ ...work, service_tier: 'standard' }), '0.36')
    t.equal(await costOf({ ...work, service_tier: 'batch' }), '0.18')
    t.equal(await costOf({ ...work, service_tier: 'flex' }), '0.3', 'what it does not replace costs what it always does')
    t.equal(await costOf({ ...work, service_tier: 'batch', usage: { input_tokens: 2_000, output_tokens: 100 } }), '0.18', 'both conditions')
    t.equal(await costOf({ ...work, usage: { input_tokens: 2_000, output_tokens: 100 } }), '0.6')
    t.match(await quote({ ...work, service_tier: 'priority' }), { code: 'service_tier_unpriced', status: 422 })
    t.equal((await post('/v1/quotes', { ...work, service_tier: 'express' })).status, 400)
    t.equal((await post('/v1/quotes', { amount: '1', service_tier: 'batch' })).status, 400)
    for (const [path, body] of [
      ['/v1/charges', { wallet, ...work, service_tier: 'priority' }],
      ['/v1/reservations', { wallet, ...work, service_tier: 'priority' }],
    ] as const) {
      t.equal((await post(path, body)).body.code, 'service_tier_unpriced')
    }
    const hold = await made('/v1/reservations', { wallet, ...work, service_tier: 'batch' })
    t.equal(hold.requested, '0.18')
    const commit = (body: object) => post(`/v1/reservations/${hold.id}/commit`, { usage, final: false, ...body })
    t.equal((await commit({})).body.cost, '0.18', 'as it was reserved')
    t.equal((await commit({ service_tier: 'standard' })).body.cost, '0.36', 'or as it was served')
    t.equal((await commit({ service_tier: 'priority' })).body.code, 'service_tier_unpriced')
    const last = (await commit({ service_tier: 'flex', final: true })).body
    t.equal(last.cost, '0.3')
    t.match((await get(`/v1/charges/${last.id}`)).body.quote, { service_tier: 'flex' })
    t.match((await get(`/v1/charges/${last.id}/recompute`)).body, { matches: true })
  })

  t.test('a long prompt has its price for all of it, from one token on', async (t) => {
    // claude-sonnet-4-5: 3 and 15 dollars up to 200,000 tokens of prompt, 6 and 22.5 above; cached 0.3 and 0.6.
    const of = (usage: object) => costOf({ model: 'claude-sonnet-4-5', usage })
    t.equal(await of({ input_tokens: 200_000, output_tokens: 1_000 }), '73.8', '200,000 × 360 + 1,000 × 1,800')
    t.equal(await of({ input_tokens: 200_001, output_tokens: 1_000 }), '146.70072', '200,001 × 720 + 1,000 × 2,700')
    t.equal(await of({ input_tokens: 100_000, cache_read_tokens: 100_000 }), '39.6', 'cached tokens count')
    t.equal(await of({ input_tokens: 100_000, cache_read_tokens: 99_999, input_image_tokens: 2 }), '79.201368', 'as images do')
    t.equal(await of({ input_tokens: 1, output_tokens: 300_000 }), '540.00036', 'the answer does not')
    const lines = (await quote({ model: 'claude-sonnet-4-5', usage: { input_tokens: 200_001 } })).lines
    t.match(lines, [{ pool: 'input_tokens', quantity: 200_001, usd: '6', per: 1_000_000 }])
  })

  t.test('the price of a request comes once', async (t) => {
    await price({ model: 'asked', rates: { input_tokens: '1', requests: '0.01' } })
    const usage = { input_tokens: 1_000 }
    const work = { wallet, model: 'asked', usage }
    t.match(await made('/v1/charges', work), { cost: '1.32', usage: { input_tokens: 1_000, requests: 1 } })
    t.equal(await costOf({ model: 'asked', usage: { ...usage, requests: 3 } }), '3.72', 'unless they are counted')
    t.equal(await costOf({ model: 'asked', usage: { ...usage, requests: 0 } }), '0.12', 'and none is none')
    const commits = async (bodies: object[]) => {
      const hold = await made('/v1/reservations', work)
      t.equal(hold.requested, '1.32')
      const costs: string[] = []
      for (const [i, body] of bodies.entries()) {
        const final = i === bodies.length - 1
        costs.push((await made(`/v1/reservations/${hold.id}/commit`, { ...body, final })).cost)
      }
      return costs
    }
    t.same(await commits([{ usage }, { usage }, { usage }]), ['0.12', '0.12', '1.32'])
    t.same(await commits([{ usage_total: usage }, { usage_total: { input_tokens: 1_500 } }, { usage_total: { input_tokens: 1_500 } }]), [
      '0.12',
      '0.06',
      '1.2',
    ])
    t.same(await commits([{ usage: { input_tokens: 0 } }]), ['1.2'])
    t.same(await commits([{ usage: { ...usage, requests: 2 } }, { usage: { input_tokens: 0, requests: 0 } }]), ['2.52', '0'])
  })

  t.test('an operation costs something once, and something for each', async (t) => {
    await made('/v1/admin/operations', { operation: 'crawl', flat_cost: '0.5', unit_cost: '0.25', reason: 'x' }, admin)
    t.equal(await costOf({ operation: 'crawl' }), '0.75')
    t.equal(await costOf({ operation: 'crawl', units: 10 }), '3')
    t.equal(await costOf({ operation: 'crawl', units: 0 }), '0.5', 'coming is not free')
    const { lines } = await quote({ operation: 'crawl', units: 2, model: 'gpt-4o', usage: { output_tokens: 100 } })
    t.same(
      lines.map((line: Body) => [line.item, line.quantity, line.credits]),
      [
        ['usage', 100, '0.12'],
        ['units', 2, '0.5'],
        ['flat', 1, '0.5'],
      ],
    )
    const hold = await made('/v1/reservations', { wallet, operation: 'crawl', units: 10 })
    const commit = async (units: number, final: boolean) =>
      (await made(`/v1/reservations/${hold.id}/commit`, { units, operation: 'crawl', final })).cost
    t.same([await commit(1, false), await commit(2, false), await commit(3, true)], ['0.25', '0.5', '1.25'])
    t.match(
      (await get('/v1/operations')).body.data.filter(({ id }: Body) => id === 'crawl'),
      [{ flat_cost: '0.5', unit_cost: '0.25' }],
    )
  })

  t.test('a model has many names and one price', async (t) => {
    const usage = { input_tokens: 1_000 }
    for (const name of ['gpt-4o', 'gpt-4o-2024-08-06', 'openai/gpt-4o', 'openai/gpt-4o-2024-11-20', 'GPT-4o']) {
      t.match(await made('/v1/charges', { wallet, model: name, usage }), { cost: '0.3', model: 'gpt-4o' }, name)
      t.match((await get(`/v1/models?model=${encodeURIComponent(name)}`)).body.data, [{ id: 'gpt-4o' }])
    }
    t.equal(await costOf({ model: 'models/gemini-2.5-flash', usage }), '0.036', 'as Google spells it')
    t.equal(await costOf({ model: 'gpt-4o', provider: 'openai', usage }), '0.3')
    for (const name of ['gpt-4o-2024-05-13', 'gpt-4o-', 'gpt-4', 'openai/', 'anthropic/gpt-4o', 'gpt-4o@2024', 'azure/gpt-4o']) {
      t.equal((await quote({ model: name, usage })).code, 'unknown_model', name)
    }
    t.equal((await quote({ model: 'gpt-4o', provider: 'azure', usage })).code, 'unknown_model')
    await price({ model: 'azure/gpt-4o', provider: 'azure', rates: { input_tokens: '5' }, aliases: [{ starts_with: 'gpt-4o-' }] })
    for (const body of [
      { model: 'azure/gpt-4o' },
      { model: 'gpt-4o', provider: 'azure' },
      { model: 'gpt-4o-eu', provider: 'azure' },
      { model: 'azure/gpt-4o-2024-05-13' },
    ]) {
      t.equal(await costOf({ ...body, usage }), '0.6', JSON.stringify(body))
    }
    t.equal(await costOf({ model: 'gpt-4o', usage }), '0.3', 'a name without a provider is the maker’s')
    t.equal((await quote({ model: 'gpt-4o-eu', usage })).code, 'unknown_model')
    t.equal((await post('/v1/quotes', { provider: 'azure', amount: '1' })).status, 400)
    t.equal((await post('/v1/quotes', { provider: 'azure', operation: 'rag_retrieval' })).status, 400)

    await price({ model: 'house-mini', rates: { input_tokens: '1' }, aliases: [{ starts_with: 'house-' }] })
    await price({ model: 'house-max', rates: { input_tokens: '10' }, aliases: [{ starts_with: 'house-max-' }, { equals: 'house-best' }] })
    for (const [model, cost] of Object.entries({ 'house-x': '0.12', 'house-max-2': '1.2', 'house-best': '1.2', 'house-max': '1.2' })) {
      t.equal(await costOf({ model, usage }), cost, model)
    }

    // The reserved model by another of its names is the reserved one, at its price.
    const hold = await made('/v1/reservations', { wallet, model: 'house-max-2', usage })
    await price({ model: 'house-max', rates: { input_tokens: '20' }, aliases: [{ starts_with: 'house-max-' }] })
    const commit = async (model: string) => (await made(`/v1/reservations/${hold.id}/commit`, { model, usage, final: false })).cost
    t.same([await commit('house-max-2'), await commit('house-max'), await commit('us/house-max')], ['1.2', '1.2', '1.2'])
    t.equal(await costOf({ model: 'house-max-2', usage }), '2.4')
    t.equal((await quote({ model: 'house-best', usage })).cost, '0.12', 'a name that it has lost means another now')
  })

  t.test('costs go up to what the policy rounds to', async (t) => {
    const policy = (body: object) =>
      made('/v1/admin/charge-policies', { minimum_charge: '0.01', maximum_charge: '1000', reason: 'x', ...body }, admin)
    await policy({ round_to: '0.05' })
    const of = (input_tokens: number) => made('/v1/charges', { wallet, model: 'gpt-4o', usage: { input_tokens } })
    t.equal((await of(500)).cost, '0.15', 'a multiple stays')
    t.equal((await of(501)).cost, '0.2')
    t.equal((await of(1)).cost, '0.05', 'which is above the minimum')
    t.equal((await of(0)).cost, '0')
    const charge = await of(501)
    t.match((await get(`/v1/charges/${charge.id}`)).body.quote, { exact: '0.1503', residue: '0.0497' })
    t.match((await get(`/v1/charges/${charge.id}/recompute`)).body, { matches: true, recomputed: '0.2' })
    await policy({ minimum_charge: '0.07', round_to: '0.05' })
    t.equal((await of(1)).cost, '0.07', 'the minimum need not be a multiple')
    t.equal((await made('/v1/charges', { wallet, amount: '0.000001' })).cost, '0.000001')
    await policy({ owner_exempt: false })
    const { owner } = (await get(`/v1/wallets/${wallet}`)).body
    t.equal((await made('/v1/charges', { wallet, operation: 'workflow_run', resource_owner: owner })).cost, '10', 'owners pay')
    await policy({})
    t.equal((await made('/v1/charges', { wallet, operation: 'workflow_run', resource_owner: owner })).cost, '0', 'owners do not')
    t.equal((await of(501)).cost, '0.1503')
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
