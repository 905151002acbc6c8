import t from 'tap'
import { createServer } from '../helpers/server.ts'

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

t.test('requests, their ids, hosts and log lines', async (t) => {
  const server = await createServer(t, {
    routes(app) {
      app.get('/v1/things/:id', async (request) => ({ id: request.id }))
      app.post('/v1/things/:id', async () => 'made')
    },
  })
  const get = (headers: Record<string, string>) => server.app.inject({ url: '/v1/things/secret-id?token=canary', headers })

  t.test('a plain request id is kept, anything else is replaced', async (t) => {
    for (const id of ['abc', 'A-1_2.3', 'x'.repeat(64)]) {
      const answer = await get({ 'x-request-id': id })
      t.equal(answer.headers['x-request-id'], id)
      t.equal(answer.json().id, id)
    }
    for (const id of ['', 'x'.repeat(65), 'x'.repeat(10_240), 'a b', '{"level":60', 'a,b', 'ü', '../x', 'a\tb']) {
      const answer = await get({ 'x-request-id': id })
      t.match(answer.headers['x-request-id'], UUID_V7, id.slice(0, 20))
    }
    t.match((await get({})).headers['x-request-id'], UUID_V7)
  })

  t.test('every answer has the common headers', async (t) => {
    for (const answer of [await get({}), await server.app.inject('/nowhere'), await server.app.inject('/v1/%zz')]) {
      t.match(answer.headers, { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store', 'x-request-id': UUID_V7 })
    }
  })

  t.test('hosts that are none are refused', async (t) => {
    for (const host of ['localhost', 'api.example.com:8443', '127.0.0.1:3000', '[::1]:3000', 'fare_box', 'EXAMPLE.com.']) {
      t.equal((await get({ host })).statusCode, 200, host)
    }
    for (const host of [
      'localhost/#@attacker',
      'a b',
      'user@host',
      'host:port',
      'host:123456',
      '-',
      'a?b',
      'a\\b',
      '[::1',
      'x'.repeat(300),
      'a%00',
    ]) {
      const answer = await get({ host })
      t.equal(answer.statusCode, 400, host)
      t.match(answer.json(), { code: 'invalid_request', errors: [{ pointer: '/headers/host' }] })
    }
  })

  t.test('a NUL in the path reaches nobody', async (t) => {
    t.match((await server.app.inject('/v1/things/%00')).json(), { status: 400, code: 'invalid_request' })
    t.match((await server.app.inject('/v1/things/x?q=%00')).json(), { status: 400, code: 'invalid_request' })
    t.match((await server.app.inject('/v1/things/%zz')).json(), { status: 400, code: 'invalid_request' })
    t.match((await server.app.inject(`/v1/things/${'x'.repeat(201)}`)).json(), { status: 400, code: 'invalid_request' })
  })

  t.test('a request leaves one line with the route and no URL', async (t) => {
    const before = server.logs().length
    await get({ 'x-request-id': 'line-1', authorization: 'Bearer canary' })
    const lines = server.logs().slice(before)
    t.match(lines, [
      { level: 'debug', msg: 'request', request_id: 'line-1', method: 'GET', route: '/v1/things/:id', status: 200, client_id: null },
    ])
    t.type(lines[0]?.ms, 'number')
    await server.app.inject('/nowhere/canary')
    t.match(server.logs().at(-1), { level: 'info', route: 'unmatched', status: 404 })
    await server.app.inject('/v1/%zz')
    t.match(server.logs().at(-1), { level: 'info', status: 400 })
    t.notMatch(server.logText(), /canary|secret-id/)
  })
})

t.test('with a list of hosts, others are refused', async (t) => {
  const { app } = await createServer(t, {
    allowedHosts: ['api.example.com', 'localhost:3000'],
    routes: (app) => void app.get('/x', async () => 'ok'),
  })
  for (const host of ['api.example.com', 'API.example.com:8443', 'localhost:3000']) {
    t.equal((await app.inject({ url: '/x', headers: { host } })).statusCode, 200, host)
  }
  for (const host of ['localhost', 'localhost:3001', 'api.example.com.evil', 'example.com']) {
    t.equal((await app.inject({ url: '/x', headers: { host } })).statusCode, 400, host)
  }
})

t.test('at level info good requests leave no line', async (t) => {
  const server = await createServer(t, { level: 'info', routes: (app) => void app.get('/x', async () => 'ok') })
  await server.app.inject('/x')
  t.equal(server.logs().length, 0)
  await server.app.inject('/y')
  t.equal(server.logs().length, 1)
})
