import { fastify } from 'fastify'
import t from 'tap'
import { guardPlugin, principalOf, speakerOf } from '../../src/auth/guard.ts'
import { SCOPES } from '../../src/auth/principal.ts'
import { createAuthServer, JWT } from '../helpers/auth.ts'
import { createServer } from '../helpers/server.ts'

const store = { findActiveKey: async () => null, findClient: async () => null }

t.test('a route that does not say who may call it stops the start', async (t) => {
  const start = (config: object | undefined, url = '/v1/x') =>
    createServer(t, {
      async routes(app) {
        await app.register(guardPlugin, { store, jwt: JWT, publicPrefixes: ['/docs'] })
        app.get(url, { ...(config && { config }) }, async () => 'x')
        await app.ready()
      },
    })
  for (const config of [undefined, {}, { operation: 'x' }, { scope: 'admin' }, { operation: 'x', scope: 'self' }]) {
    await t.rejects(start(config), /does not declare its operation and scope/, JSON.stringify(config))
  }
  for (const config of [
    { operation: 'x', scope: 'public' },
    { operation: 'x', scope: 'self', keyScope: 'wallets:read' },
  ])
    await t.resolves(start(config))
  await t.resolves(start(undefined, '/docs/static/*'))
  await t.rejects(start(undefined, '/docsy'), 'a prefix ends at a slash')
})

t.test('the guard wants its neighbours before it', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => {
    await app.register(guardPlugin, { store, jwt: JWT })
    await app.ready()
  }, /farebox-context/)
})

t.test('who is let in', async (t) => {
  let effects = 0
  const server = await createAuthServer(t, {
    routes(app) {
      for (const scope of SCOPES) {
        app.post(`/v1/${scope.replace(':', '-')}`, { config: { operation: 'x', scope } }, async (request) => {
          effects += 1
          return speakerOf(request)
        })
      }
      app.get('/v1/mine', { config: { operation: 'x', scope: 'self', keyScope: 'wallets:read' } }, async (request) => {
        const { kind, subject } = principalOf(request)
        return { kind, subject }
      })
      app.get('/v1/open', { config: { operation: 'x', scope: 'public' } }, async (request) => ({ principal: request.principal }))
    },
  })
  const { app } = server
  const post = (scope: string, headers: Record<string, string>) =>
    app.inject({ method: 'POST', url: `/v1/${scope.replace(':', '-')}`, headers })

  t.test('without a valid credential: one constant 401 and no effect', async (t) => {
    const bodies = new Set<string>()
    const credentials = [
      '',
      'Bearer',
      "Bearer ' OR '1'='1",
      'Basic YTpi',
      `Bearer fbx_ab12cd34_${'x'.repeat(43)}`,
      'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.',
      'Bearer ü',
      `Bearer ${'x'.repeat(12_000)}`,
    ]
    for (const authorization of [undefined, ...credentials]) {
      const answer = await post('admin', { 'x-request-id': 'same', ...(authorization !== undefined && { authorization }) })
      t.equal(answer.statusCode, 401, authorization?.slice(0, 40) ?? 'none')
      t.equal(answer.headers['www-authenticate'], 'Bearer')
      bodies.add(answer.body)
    }
    t.equal(bodies.size, 1)
    t.equal(effects, 0)
  })

  t.test('a key does what its scopes say, admin everything', async (t) => {
    for (const scope of SCOPES) {
      const { headers, clientId, prefix } = await server.client(scope)
      for (const asked of SCOPES) {
        const answer = await post(asked, headers)
        const allowed = scope === asked || scope === 'admin'
        t.equal(answer.statusCode, allowed ? 200 : 403, `${scope} on ${asked}`)
        if (!allowed) t.match(answer.json(), { code: 'forbidden' })
        else
          t.match(answer.json(), {
            clientId,
            everyClient: scope === 'admin',
            actor: asked === 'admin' ? `admin:key:${prefix}` : `key:${prefix}`,
          })
      }
    }
    const { headers } = await server.client()
    for (const asked of SCOPES) t.equal((await post(asked, headers)).statusCode, 403, `no scope on ${asked}`)
  })

  t.test('a person may call what is personal, and an admin everything', async (t) => {
    const { clientId } = await server.client()
    const sign = app.auth.signToken
    if (!sign) throw new Error('tokens are configured')
    const user = { authorization: `Bearer ${sign({ subject: 'alice', clientId }, Date.now(), Date.now() + 60_000)}` }
    t.same((await app.inject({ url: '/v1/mine', headers: user })).json(), { kind: 'user', subject: 'alice' })
    for (const scope of SCOPES) t.equal((await post(scope, user)).statusCode, 403, scope)
    t.equal((await app.inject({ method: 'HEAD', url: '/v1/mine', headers: user })).statusCode, 200)
    t.equal((await app.inject({ method: 'HEAD', url: '/v1/mine' })).statusCode, 401)
  })

  t.test('keys need their scope on personal routes', async (t) => {
    t.equal((await app.inject({ url: '/v1/mine', headers: (await server.client('wallets:read')).headers })).statusCode, 200)
    t.equal((await app.inject({ url: '/v1/mine', headers: (await server.client('usage:write')).headers })).statusCode, 403)
  })

  t.test('other spellings of an admin path are as guarded as the path', async (t) => {
    const before = effects
    for (const url of [
      '/v1/admin?x',
      '/v1/%61dmin',
      '//v1/admin',
      '/v1/admin/',
      '/v1/admin%2f',
      '/V1/ADMIN',
      '/v1/./admin',
      '/v1/x/../admin',
      'http://evil/v1/admin',
      '/v1/admin;x=1',
      '/v1/admin#x',
    ]) {
      const answer = await app.inject({ method: 'POST', url })
      t.ok([400, 401, 404].includes(answer.statusCode), `${url} is ${answer.statusCode}`)
    }
    for (const host of ['localhost/#@attacker', 'admin', 'localhost:80']) {
      const answer = await app.inject({ method: 'POST', url: '/v1/admin', headers: { host } })
      t.ok([400, 401].includes(answer.statusCode), `${host} is ${answer.statusCode}`)
    }
    t.equal(effects, before)
  })

  t.test('public routes and unknown ones ask for nothing', async (t) => {
    t.same((await app.inject({ url: '/v1/open', headers: { authorization: 'Bearer wrong' } })).json(), { principal: null })
    t.equal((await app.inject('/v1/nowhere')).statusCode, 404)
  })

  t.test('the log names the client and not its key', async (t) => {
    const { headers, clientId, key } = await server.client('admin')
    await post('admin', headers)
    t.match(server.logs().at(-1), { client_id: clientId, status: 200 })
    t.notOk(server.logText().includes(key))
  })
})

t.test('a database that is down is 503 and never 401', async (t) => {
  let now = Date.now()
  const server = await createAuthServer(t, {
    clock: () => now,
    routes: (app) => void app.get('/v1/x', { config: { operation: 'x', scope: 'usage:write' } }, async () => 'ok'),
  })
  const { headers } = await server.client('usage:write')
  const unknown = await server.client('usage:write')
  t.equal((await server.app.inject({ url: '/v1/x', headers })).statusCode, 200)
  server.cutDatabase()
  t.equal((await server.app.inject({ url: '/v1/x', headers })).statusCode, 200, 'a known key goes on for some seconds')
  now += 31_000
  for (const { headers: each } of [{ headers }, unknown]) {
    const answer = await server.app.inject({ url: '/v1/x', headers: each })
    t.equal(answer.statusCode, 503)
    t.match(answer.json(), { code: 'storage_unavailable', retryable: true })
    t.equal(answer.headers['retry-after'], '1')
    t.notMatch(answer.body, /prisma|postgres|farebox_test|ECONN/i)
  }
})
