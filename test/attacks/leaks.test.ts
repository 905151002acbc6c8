import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createProxy } from '../helpers/proxy.ts'
import { listen, sendRaw } from '../helpers/server.ts'
import { createService } from '../helpers/service.ts'

/** What a failing service says, and what it writes down: never SQL, stacks, hosts or secrets, and nothing that a caller made up as a log line. */

const INTERNALS =
  /select |insert |update |relation|column|constraint|SQLSTATE|\b(?:22|23|42|53|57)[0-9A-Z]{3}\b|Prisma|P2010|node_modules|\/src\/|\.ts:\d|at \w+ \(|postgres|127\.0\.0\.1|ECONN|farebox_test/i

t.test('a failing database', async (t) => {
  const service = await createService(t)
  const wallet = await service.wallet('10')

  t.test('what the database says stays in the log (P2010, 42703)', async (t) => {
    await service.query('alter table charges rename column overage to overage_')
    for (const answer of [
      await service.get(`/v1/wallets/${wallet}/usage`),
      await service.get(`/v1/charges/chg_${'0'.repeat(32)}`),
      await service.post('/v1/charges', { wallet, amount: '1' }),
    ]) {
      t.equal(answer.status, 500)
      t.match(answer.headers['content-type'], /^application\/problem\+json/)
      t.match(answer.body, { code: 'internal', status: 500, retryable: false, instance: answer.headers['x-request-id'] })
      t.notMatch(answer.text, INTERNALS)
      const line = service
        .logText()
        .split('\n')
        .filter(Boolean)
        .map((text) => JSON.parse(text))
        .find((entry) => (entry.request_id ?? entry.requestId) === answer.body.instance && entry.err)
      t.ok(line, 'the log has its cause under the request id')
    }
    await service.query('alter table charges rename column overage_ to overage')
    t.equal((await service.post('/v1/charges', { wallet, amount: '1' })).status, 201)
  })

  t.test('a database that is away is named by no name', async (t) => {
    const proxy = await createProxy(t, service.url)
    const behind = await service.another({ url: proxy.url })
    await behind.get('/v1/wallets')
    await proxy.set('down')
    for (const answer of await Promise.all([
      behind.get('/v1/wallets'),
      behind.get(`/v1/wallets/${wallet}/usage`),
      behind.post('/v1/check', { wallet, amount: '1' }),
      behind.post('/v1/wallets', { owner: 'user:x' }),
      behind.post('/v1/charges', { wallet, amount: '1' }),
      behind.get('/v1/wallets', { key: `fbx_00000000_${'x'.repeat(43)}` }),
      behind.get('/readyz', { key: null }),
    ])) {
      t.equal(answer.status, 503)
      t.notMatch(answer.text, INTERNALS)
    }
  })
  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})

t.test('secrets', async (t) => {
  const service = await createService(t, { level: 'trace' })
  const { client, adminKey } = service
  const secretOf = (key: string) => key.slice(13)
  const canary = `canary${randomBytes(12).toString('hex')}`
  const key = `fbx_${'0'.repeat(8)}_${canary.padEnd(43, 'x')}`
  const wallet = await service.wallet('10')

  t.test('through every path, into no log and no answer', async (t) => {
    const token = await service.tokenFor('alice')
    const answers = [
      await service.get('/v1/wallets', { key }),
      await service.get('/v1/wallets', { key: token }),
      await service.get('/v1/wallets', { key: `${token.slice(0, -3)}abc` }),
      await service.get('/v1/wallets', { key: null, headers: { authorization: `Basic ${key}` } }),
      await service.get(`/v1/wallets/${key}`),
      await service.get(`/v1/wallets/user:${canary}?limit=${key}`),
      await service.get(`/v1/wallets?cursor=${key}`),
      await service.get(`/${key}`),
      await service.post('/v1/charges', { wallet, amount: key }),
      await service.post('/v1/charges', { wallet: key, amount: '1' }),
      await service.post('/v1/charges', { wallet, amount: '1', reference: key, metadata: { password: key, token } }),
      await service.post('/v1/charges', { wallet, amount: '1000', reference: key }),
      await service.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: key }),
      await service.post(
        '/v1/charges',
        { wallet, amount: '1' },
        { headers: { cookie: `session=${key}`, 'x-api-key': key, 'user-agent': key } },
      ),
      await service.post('/v1/charges', `{"wallet":"${key}`, {}),
      await service.post('/v1/admin/clients', { name: 'x', reason: key }, { key: adminKey }),
    ]
    const issued = await service.post(`/v1/admin/clients/${client.wireId}/keys`, { name: 'k', scopes: ['wallets:read'] }, { key: adminKey })
    const logs = service.logText()
    t.ok(logs.split('\n').length > answers.length, 'there are logs')
    for (const [what, secret] of Object.entries({
      'a canary': canary,
      'a token': token.split('.')[2] as string,
      'the secret of a key': secretOf(client.key),
      'the secret of an admin key': secretOf(adminKey),
      'a new key': secretOf(issued.body.key),
      'the secret of tokens': 'a secret of more than thirty-two bytes',
      'the password of the database': decodeURIComponent(new URL(service.url).password) || 'no password',
    })) {
      t.notOk(logs.includes(secret), `${what} is in no log line`)
    }
    for (const answer of answers)
      t.notOk(answer.status >= 400 && answer.text.includes(canary), `${answer.status} does not send back what it was sent`)
    const stored = await service.query('select sha256 from api_keys')
    t.ok(stored.every((row) => !logs.includes(Buffer.from(row.sha256).toString('hex'))))
    const [row] = await service.query(`select count(*)::int as n from api_keys where position($1 in api_keys::text) > 0`, [
      secretOf(client.key),
    ])
    t.equal(row.n, 0, 'nor in the database')
    const audit = await service.query(`select count(*)::int as n from audit_log where position($1 in audit_log::text) > 0`, [
      secretOf(issued.body.key),
    ])
    t.equal(audit[0].n, 0)
  })

  t.test('a caller cannot write a line of the log', async (t) => {
    const port = await listen(service.app)
    const forged = '{"level":60,"msg":"forged"}'
    const before = service.logText().split('\n').length
    await service.post('/v1/charges', { wallet, amount: '1', reference: `x\n${forged}` })
    await service.get(`/v1/wallets/user:x%0a${encodeURIComponent(forged)}`)
    await service.get(`/v1/nothing?x=%0a${encodeURIComponent(forged)}`)
    await service.get('/v1/wallets', { headers: { 'x-request-id': `x ${forged}` } })
    await sendRaw(
      port,
      `GET /${forged.replaceAll(' ', '')} HTTP/1.1\r\nhost: localhost\r\nx-request-id: a\r\n\tb${forged}\r\nconnection: close\r\n\r\n`,
    )
    const lines = service
      .logText()
      .split('\n')
      .slice(before - 1)
      .filter(Boolean)
    t.ok(lines.length >= 4)
    for (const line of lines) t.doesNotThrow(() => JSON.parse(line))
    t.notOk(lines.some((line) => JSON.parse(line).msg === 'forged'))
    t.notOk(service.logText().includes('\n{"level":60'))
  })

  t.test('a request id is a plain word or a new one', async (t) => {
    t.equal((await service.get('/v1/wallets', { headers: { 'x-request-id': 'job-42.a_b' } })).headers['x-request-id'], 'job-42.a_b')
    for (const bad of ['x'.repeat(65), 'x'.repeat(10_000), 'a b', 'a"b', '<script>', 'a;b', '', 'e$']) {
      const answer = await service.get('/v1/nothing', { headers: { 'x-request-id': bad } })
      t.not(answer.headers['x-request-id'], bad)
      t.match(answer.headers['x-request-id'], /^[0-9a-f-]{36}$/)
      t.equal(answer.body.instance, answer.headers['x-request-id'])
    }
    const own = await service.post('/v1/charges', { wallet, amount: '1000' }, { headers: { 'x-request-id': 'mine' } })
    t.equal(own.body.instance, 'mine')
  })

  t.test('the book is sound', async (t) => t.same(await service.unsound(), []))
})
