import t from 'tap'
import { issueKey } from '../../src/auth/issue-key.ts'
import { authRoutes } from '../../src/auth/routes.ts'
import { newId, toWireId } from '../../src/kernel/ids.ts'
import { createAuthServer, systemChange } from '../helpers/auth.ts'

async function authServer(t: Parameters<typeof createAuthServer>[0], options: Parameters<typeof createAuthServer>[1] = {}) {
  const server = await createAuthServer(t, {
    ...options,
    routes(app) {
      authRoutes(app, { store: late })
      app.get('/v1/usage', { config: { operation: 'x', scope: 'usage:write' } }, async () => 'ok')
      app.get('/v1/mine', { config: { operation: 'x', scope: 'self', keyScope: 'wallets:read' } }, async (request) => ({
        sub: request.principal?.subject,
        client: request.clientId,
      }))
    },
  })
  Object.assign(late, server.store)
  const admin = await server.client('admin')
  const call = (method: 'GET' | 'POST', url: string, payload?: unknown, headers: Record<string, string> = admin.headers) =>
    server.app.inject({
      method,
      url,
      headers: { ...headers, ...(payload !== undefined && { 'content-type': 'application/json' }) },
      ...(payload !== undefined && { payload: JSON.stringify(payload) }),
    })
  return { ...server, admin, call }
}
// The store exists only after the routes are declared.
const late = {} as Parameters<typeof authRoutes>[1]['store']

t.test('clients and keys', async (t) => {
  const { app, admin, call, client, prisma } = await authServer(t)

  t.test('a client is created once, listed, and written to the audit log', async (t) => {
    const created = await call('POST', '/v1/admin/clients', { name: 'web shop', reason: 'launch' })
    t.equal(created.statusCode, 201)
    const { id } = created.json()
    t.match(created.json(), { id: /^cli_[0-9a-f]{32}$/, name: 'web shop', created_at: /Z$/ })
    const audit = await prisma.auditEntry.findMany({ where: { action: 'client.create' } })
    t.match(audit.at(-1), {
      actor: `admin:key:${admin.prefix}`,
      targetKind: 'client',
      reason: 'launch',
      clientId: admin.clientId,
      requestId: created.headers['x-request-id'],
      after: { name: 'web shop' },
    })
    const again = await call('POST', '/v1/admin/clients', { name: 'web shop' })
    t.equal(again.statusCode, 409)
    t.match(again.json(), { code: 'client_exists' })
    t.equal(await prisma.auditEntry.count({ where: { action: 'client.create', reason: 'launch' } }), 1)
    t.match((await call('GET', '/v1/admin/clients')).json().data[0], { id, name: 'web shop' }, 'newest first')
  })

  t.test('wrong bodies are refused with the pointer to the field', async (t) => {
    const { id } = (await call('POST', '/v1/admin/clients', { name: 'bodies' })).json()
    const key = { name: 'k', scopes: ['usage:write'] }
    const wrong: [url: string, body: unknown, pointer: string][] = [
      ['/v1/admin/clients', {}, '/name'],
      ['/v1/admin/clients', { name: '' }, '/name'],
      ['/v1/admin/clients', { name: 'x'.repeat(101) }, '/name'],
      ['/v1/admin/clients', { name: 'a\nb' }, '/name'],
      ['/v1/admin/clients', { name: toWireId('client', newId()) }, '/name'],
      ['/v1/admin/clients', { name: 'ok', id: 'cli_1' }, '/id'],
      [`/v1/admin/clients/${id}/keys`, { ...key, scopes: [] }, '/scopes'],
      [`/v1/admin/clients/${id}/keys`, { ...key, scopes: ['everything'] }, '/scopes/0'],
      [`/v1/admin/clients/${id}/keys`, { ...key, scopes: 'admin' }, '/scopes'],
      [`/v1/admin/clients/${id}/keys`, { ...key, expires_at: '2020-01-01T00:00:00Z' }, '/expires_at'],
      [`/v1/admin/clients/${id}/keys`, { ...key, expires_at: 'tomorrow' }, '/expires_at'],
      [`/v1/admin/clients/${id}/keys`, { ...key, key: 'mine' }, '/key'],
      ['/v1/admin/clients/1/keys', key, '/path/client_id'],
      ["/v1/admin/clients/cli_'%20or%201=1/keys", key, '/path/client_id'],
      ['/v1/admin/keys/key_1/revoke', {}, '/path/key_id'],
    ]
    for (const [url, body, pointer] of wrong) {
      const answer = await call('POST', url, body)
      t.equal(answer.statusCode, 400, `${url} ${JSON.stringify(body)}`)
      t.match(answer.json(), { code: 'invalid_request', errors: [{ pointer }] })
    }
  })

  t.test('a key is shown once, works, is listed without itself, and is revoked at once', async (t) => {
    const { id } = (await call('POST', '/v1/admin/clients', { name: 'keys' })).json()
    const made = await call('POST', `/v1/admin/clients/${id}/keys`, {
      name: 'prod',
      scopes: ['usage:write', 'usage:write', 'wallets:read'],
      expires_at: '2199-01-01T00:00:00+02:00',
    })
    t.equal(made.statusCode, 201)
    const { key, ...shown } = made.json()
    t.match(key, /^fbx_/)
    t.match(shown, {
      client_id: id,
      name: 'prod',
      prefix: key.slice(0, 12),
      scopes: ['usage:write', 'wallets:read'],
      expires_at: '2198-12-31T22:00:00.000Z',
      revoked_at: null,
      created_by: `admin:key:${admin.prefix}`,
    })
    t.equal((await call('GET', '/v1/usage', undefined, { authorization: `Bearer ${key}` })).statusCode, 200)

    const list = await call('GET', `/v1/admin/clients/${id}/keys`)
    t.same(list.json(), { data: [shown], next_cursor: null })
    t.notOk(list.body.includes(key.slice(13)))
    const stored = JSON.stringify(await prisma.apiKey.findMany()) + JSON.stringify(await prisma.auditEntry.findMany())
    t.notOk(stored.includes(key.slice(13)), 'neither in the tables')

    const revoked = await call('POST', `/v1/admin/keys/${shown.id}/revoke`, { reason: 'leaked' })
    t.equal(revoked.statusCode, 200)
    t.match(revoked.json(), { id: shown.id, revoked_at: /Z$/ })
    t.equal((await call('GET', '/v1/usage', undefined, { authorization: `Bearer ${key}` })).statusCode, 401)
    const again = await call('POST', `/v1/admin/keys/${shown.id}/revoke`)
    t.same(again.json(), revoked.json(), 'again changes nothing, and needs no body')
    const audit = await prisma.auditEntry.findMany({ where: { targetKind: 'api_key', reason: 'leaked' } })
    t.equal(audit.length, 1)
    t.match(audit[0], {
      action: 'api_key.revoke',
      actor: `admin:key:${admin.prefix}`,
      before: { revoked_at: null },
      after: { revoked_at: revoked.json().revoked_at },
    })
  })

  t.test('ten who revoke at once write one audit row', async (t) => {
    const { keyId } = await client('usage:write')
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => call('POST', `/v1/admin/keys/${toWireId('apiKey', keyId)}/revoke`, {})),
    )
    t.equal(new Set(answers.map((answer) => answer.body)).size, 1)
    t.equal(await prisma.auditEntry.count({ where: { targetId: keyId, action: 'api_key.revoke' } }), 1)
  })

  t.test('what is not there is 404', async (t) => {
    t.match((await call('POST', `/v1/admin/clients/${toWireId('client', newId())}/keys`, { name: 'k', scopes: ['admin'] })).json(), {
      status: 404,
      code: 'client_not_found',
    })
    t.match((await call('GET', `/v1/admin/clients/${toWireId('client', newId())}/keys`)).json(), { status: 404, code: 'client_not_found' })
    t.match((await call('POST', `/v1/admin/keys/${toWireId('apiKey', newId())}/revoke`, {})).json(), {
      status: 404,
      code: 'api_key_not_found',
    })
  })

  t.test('lists have pages whose cursors belong to them', async (t) => {
    const { clientId } = await client('usage:write')
    for (let i = 0; i < 4; i += 1) await client('usage:write')
    const first = (await call('GET', '/v1/admin/clients?limit=2')).json()
    t.equal(first.data.length, 2)
    const second = (await call('GET', `/v1/admin/clients?limit=2&cursor=${first.next_cursor}`)).json()
    t.equal(second.data.length, 2)
    t.ok(second.data[0].id < first.data[1].id)
    const foreign = await call('GET', `/v1/admin/clients/${toWireId('client', clientId)}/keys?cursor=${first.next_cursor}`)
    t.match(foreign.json(), { status: 400, code: 'cursor_invalid' })
    t.match((await call('GET', '/v1/admin/clients?cursor=x')).json(), { status: 400, code: 'cursor_invalid' })
    t.match((await call('GET', '/v1/admin/clients?limit=1000000000')).json(), { status: 400, errors: [{ pointer: '/query/limit' }] })
    t.match((await call('GET', '/v1/admin/clients?sort=name')).json(), { status: 400, errors: [{ pointer: '/query/sort' }] })
  })

  t.test('only an admin may, and a refusal leaves no trace', async (t) => {
    const { headers, keyId, clientId } = await client(
      'usage:write',
      'wallets:read',
      'wallets:write',
      'grants:write',
      'refunds:write',
      'prices:read',
      'prices:write',
      'payments:read',
      'payments:write',
      'metrics:read',
    )
    const token = app.auth.signToken?.({ subject: 'alice', clientId }, Date.now(), Date.now() + 60_000)
    const counts = async () => [
      await prisma.client.count(),
      await prisma.apiKey.count(),
      await prisma.auditEntry.count(),
      await prisma.apiKey.count({ where: { revokedAt: null } }),
    ]
    const before = await counts()
    for (const [given, status] of [
      [headers, 403],
      [{ authorization: `Bearer ${token}` }, 403],
      [{}, 401],
    ] as const) {
      t.equal((await call('POST', '/v1/admin/clients', { name: 'mine' }, given)).statusCode, status)
      t.equal((await call('GET', '/v1/admin/clients', undefined, given)).statusCode, status)
      t.equal(
        (await call('POST', `/v1/admin/clients/${toWireId('client', clientId)}/keys`, { name: 'k', scopes: ['admin'] }, given)).statusCode,
        status,
      )
      t.equal((await call('GET', `/v1/admin/clients/${toWireId('client', clientId)}/keys`, undefined, given)).statusCode, status)
      t.equal((await call('POST', `/v1/admin/keys/${toWireId('apiKey', keyId)}/revoke`, {}, given)).statusCode, status)
    }
    t.same(await counts(), before)
  })
})

t.test('tokens for people', async (t) => {
  const { call, client, store } = await authServer(t)

  t.test('read what is theirs, for a quarter of an hour unless asked otherwise', async (t) => {
    const backend = await client('usage:write')
    const made = await call('POST', '/v1/tokens', { sub: 'alice' }, backend.headers)
    t.equal(made.statusCode, 201)
    t.match(made.json(), { token_type: 'Bearer', expires_at: /Z$/ })
    t.ok(made.json().expires_in_seconds > 895 && made.json().expires_in_seconds <= 900)
    const bearer = { authorization: `Bearer ${made.json().token}` }
    t.same((await call('GET', '/v1/mine', undefined, bearer)).json(), { sub: 'alice', client: backend.clientId })
    t.equal((await call('POST', '/v1/tokens', { sub: 'bob' }, bearer)).statusCode, 403, 'and do not make others')
  })

  t.test('are bounded', async (t) => {
    const { headers } = await client('usage:write')
    for (const body of [
      {},
      { sub: 'a b' },
      { sub: 'user:a' },
      { sub: 'a', ttl_seconds: 59 },
      { sub: 'a', ttl_seconds: 3_601 },
      { sub: 'a', ttl_seconds: '60' },
      { sub: 'a', role: 'admin' },
    ]) {
      t.equal((await call('POST', '/v1/tokens', body, headers)).statusCode, 400, JSON.stringify(body))
    }
    t.equal((await call('POST', '/v1/tokens', { sub: 'a', ttl_seconds: 3_600 }, headers)).statusCode, 201)
    t.equal((await call('POST', '/v1/tokens', { sub: 'a' }, (await client('wallets:read')).headers)).statusCode, 403)
  })

  t.test('do not outlive the key that asked for them', async (t) => {
    const { clientId } = await client()
    const { key } = await issueKey(
      store,
      { clientId, name: 'brief', scopes: ['usage:write'], expiresAt: Date.now() + 100_000 },
      systemChange(),
    )
    const made = (await call('POST', '/v1/tokens', { sub: 'alice', ttl_seconds: 3_600 }, { authorization: `Bearer ${key}` })).json()
    t.ok(made.expires_in_seconds <= 100)
  })
})

t.test('without a secret no tokens are made', async (t) => {
  const { call, client } = await authServer(t, { jwt: { secret: null } })
  const answer = await call('POST', '/v1/tokens', { sub: 'alice' }, (await client('usage:write')).headers)
  t.equal(answer.statusCode, 409)
  t.match(answer.json(), { code: 'tokens_not_issued' })
})

t.test('the default client is found or made once', async (t) => {
  const { store, prisma } = await authServer(t)
  const made = await Promise.all(
    Array.from({ length: 10 }, () => store.findOrCreateClient({ id: newId(), name: 'default', createdAt: Date.now() })),
  )
  t.equal(new Set(made.map((client) => client.id)).size, 1)
  t.equal(await prisma.client.count({ where: { name: 'default' } }), 1)
})
