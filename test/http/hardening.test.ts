import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { createServer, listen, sendRaw } from '../helpers/server.ts'

const HEAD = 'host: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n'

t.test('hazards at the socket', { jobs: 16 }, async (t) => {
  let reached = 0
  const { app } = await createServer(t, {
    level: 'info',
    routes(app) {
      app.post('/v1/things', async (request) => {
        reached += 1
        return { got: request.body }
      })
      app.get('/v1/things', async () => 'ok')
    },
  })
  const port = await listen(app)

  t.test('slow headers end with 408 after five seconds', async (t) => {
    const answer = await sendRaw(
      port,
      'GET /v1/things HTTP/1.1\r\n',
      ...Array.from({ length: 14 }, (_, i) => [500, `x-${i}: y\r\n`]).flat(),
    )
    t.equal(answer.status, 408)
    t.match(JSON.parse(answer.body), { code: 'request_timeout', status: 408, retryable: true })
    t.ok(answer.ms > 4_500 && answer.ms < 10_000, `${Math.round(answer.ms)} ms`)
  })

  t.test('an idle connection ends as well', async (t) => {
    const answer = await sendRaw(port)
    t.ok(answer.ms < 10_000, `${Math.round(answer.ms)} ms`)
  })

  t.test('a dripped body ends with 408 within 11.5 s', async (t) => {
    const answer = await sendRaw(
      port,
      `POST /v1/things HTTP/1.1\r\n${HEAD}content-length: 5000\r\n\r\n`,
      ...Array.from({ length: 30 }, () => [500, ' ']).flat(),
    )
    t.equal(answer.status, 408)
    t.match(JSON.parse(answer.body), { code: 'request_timeout' })
    t.ok(answer.ms > 9_000 && answer.ms < 16_000, `${Math.round(answer.ms)} ms`)
  })

  t.test('1,000 slow and idle clients do not slow the others', async (t) => {
    const beginnings = ['GET /v1/things HTTP/1.1\r\nx: ', `POST /v1/things HTTP/1.1\r\n${HEAD}content-length: 5000\r\n\r\n `, null]
    const slow = Array.from({ length: 1_000 }, (_, i) => {
      const beginning = beginnings[i % 3] as string | null
      return beginning === null ? sendRaw(port) : sendRaw(port, beginning)
    })
    let slowest = 0
    for (let i = 0; i < 100; i += 1) {
      const answer = await sendRaw(port, `GET /v1/things HTTP/1.1\r\n${HEAD}\r\n`)
      t.equal(answer.status, 200)
      slowest = Math.max(slowest, answer.ms)
    }
    const ended = await Promise.all(slow)
    t.ok(
      ended.every(({ status }, i) => i % 3 === 2 || status === 408),
      'whoever began a request is told that it came too late',
    )
    const longest = Math.max(...ended.map(({ ms }) => ms))
    t.ok(longest < 15_000, 'and all of them are gone')
    t.comment(`1,000 slow and idle clients, the last gone after ${Math.round(longest)} ms; slowest of 100 others ${Math.round(slowest)} ms`)
  })

  t.test('requests that two parsers could read in two ways are refused', async (t) => {
    const smuggled = [
      `POST /v1/things HTTP/1.1\r\n${HEAD}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      `POST /v1/things HTTP/1.1\r\n${HEAD}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`,
      `POST /v1/things HTTP/1.1\r\n${HEAD}transfer-encoding: xchunked\r\n\r\n{}`,
      `POST /v1/things HTTP/1.1\r\n${HEAD}content-length : 2\r\n\r\n{}`,
      'GET /v1/things HTTP/1.1\r\nconnection: close\r\n\r\n',
      'GET /v1/things HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n',
      'GET /v1/things HTTP/1.1\r\nhost: localhost/#@attacker\r\nconnection: close\r\n\r\n',
      `GET /v1/things HTTP/1.1\r\n${HEAD}authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n`,
      `POST /v1/things HTTP/1.1\r\n${HEAD}idempotency-key: a\r\nidempotency-key: b\r\ncontent-length: 2\r\n\r\n{}`,
      `GET /v1/%zz HTTP/1.1\r\n${HEAD}\r\n`,
      'GET /v1/things HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n',
      'HELLO\r\n\r\n',
    ]
    for (const text of smuggled) {
      const answer = await sendRaw(port, text)
      t.equal(answer.status, 400, JSON.stringify(text.slice(0, 140)))
      t.match(answer.headers['content-type'], /^application\/problem\+json/)
      t.match(JSON.parse(answer.body), { code: 'invalid_request', status: 400 })
      t.match(answer.headers['x-request-id'], /^[0-9a-f-]{36}$/)
    }
  })

  t.test('a head of 20 KB is 431, a chunked body over the limit 413', async (t) => {
    const head = await sendRaw(port, `GET /v1/things HTTP/1.1\r\n${HEAD}x: ${'y'.repeat(20_000)}\r\n\r\n`)
    t.equal(head.status, 431)
    t.match(JSON.parse(head.body), { code: 'headers_too_large', status: 431 })
    const chunk = `4000\r\n${' '.repeat(0x4000)}\r\n`
    const body = await sendRaw(port, `POST /v1/things HTTP/1.1\r\n${HEAD}transfer-encoding: chunked\r\n\r\n`, ...Array(6).fill(chunk))
    t.equal(body.status, 413)
    t.match(JSON.parse(body.body), { code: 'payload_too_large' })
    const claimed = await sendRaw(port, `POST /v1/things HTTP/1.1\r\n${HEAD}content-length: 70000\r\n\r\n`)
    t.equal(claimed.status, 413)
  })

  t.test('a client that leaves in the middle of its body harms nobody', async (t) => {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`POST /v1/things HTTP/1.1\r\n${HEAD}content-length: 50\r\n\r\n{"a"`)
    await new Promise((resolve) => setTimeout(resolve, 50))
    socket.resetAndDestroy()
    t.equal((await sendRaw(port, `GET /v1/things HTTP/1.1\r\n${HEAD}\r\n`)).status, 200)
  })

  t.test('an expectation and a pipelined pair are served', async (t) => {
    const answer = await sendRaw(port, `POST /v1/things HTTP/1.1\r\n${HEAD}expect: 100-continue\r\ncontent-length: 2\r\n\r\n`, 50, '{}')
    t.equal(answer.status, 100)
    t.match(answer.body, /"got":\{\}/)
    const keepAlive = 'host: localhost\r\n'
    const pair = await sendRaw(port, `GET /v1/things HTTP/1.1\r\n${keepAlive}\r\nGET /v1/things HTTP/1.1\r\n${HEAD}\r\n`)
    t.equal(pair.body.match(/HTTP\/1\.1 200 OK/g)?.length, 1, 'the second answer follows the first')
  })

  t.teardown(() => t.comment(`handler reached ${reached} times`))
})

t.test('while closing, a request on an open connection is served and the connection ends', async (t) => {
  let release = () => {}
  const { app } = await createServer(t, {
    routes(app) {
      app.get('/slow', () => new Promise((resolve) => (release = () => resolve('done'))))
      app.get('/quick', async () => 'ok')
    },
  })
  const port = await listen(app)
  const slow = sendRaw(port, 'GET /slow HTTP/1.1\r\nhost: x\r\n\r\n', 100, 'GET /quick HTTP/1.1\r\nhost: x\r\n\r\n')
  await new Promise((resolve) => setTimeout(resolve, 60))
  const closed = app.close()
  await new Promise((resolve) => setTimeout(resolve, 100))
  release()
  const answer = await slow
  await closed
  t.equal(answer.status, 200)
  t.match(answer.body, /done/)
  t.notMatch(answer.body, /HTTP\/1\.1 503/)
})
