import t from 'tap'
import { renderProblem, retryAfterSeconds, statusOf } from '../../src/http/problem.ts'
import { ERROR_CODES, type ErrorCode, fail, refusal } from '../../src/kernel/errors.ts'
import { createServer } from '../helpers/server.ts'

t.test('a refusal becomes problem details with its code, its figures and the request id', async (t) => {
  const { status, body } = renderProblem(refusal('insufficient_credits', 'Short by 5.', { available: '7.5', required: '12.5' }), 'req-1')
  t.equal(status, 402)
  t.same(JSON.parse(body), {
    type: '/docs/errors/insufficient_credits',
    title: 'The wallet does not have enough available credits',
    status: 402,
    detail: 'Short by 5.',
    instance: 'req-1',
    code: 'insufficient_credits',
    retryable: false,
    available: '7.5',
    required: '12.5',
  })
})

t.test('figures never take the place of the standard members, and a delay is a header only', async (t) => {
  const overloaded = refusal('overloaded', 'Full.', { status: 'full', code: 'x', retry_after_seconds: 2.2 })
  const problem = JSON.parse(renderProblem(overloaded, 'r').body)
  t.equal(problem.status, 503)
  t.equal(problem.code, 'overloaded')
  t.notOk('retry_after_seconds' in problem)
  t.equal(retryAfterSeconds(overloaded), 3)
})

t.test('errors are there only when there are any', async (t) => {
  t.notOk('errors' in JSON.parse(renderProblem({ code: 'invalid_request', detail: 'x', errors: [] }, 'r').body))
  const errors = [{ pointer: '/a', message: 'b' }]
  t.same(JSON.parse(renderProblem({ code: 'invalid_request', detail: 'x', errors }, 'r').body).errors, errors)
})

t.test('every code has a status, and only what may be sent again says when', async (t) => {
  const codes = Object.keys(ERROR_CODES) as ErrorCode[]
  for (const code of codes) {
    const status = statusOf(code)
    t.ok(status >= 400 && status < 600, `${code} is ${status}`)
    t.equal(retryAfterSeconds(refusal(code, '')) !== null, ERROR_CODES[code].retryable && (status === 503 || status === 429), code)
  }
  t.equal(statusOf('headers_too_large'), 431)
})

t.test('answers to errors', async (t) => {
  const errors: Record<string, unknown> = {
    refusal: fail('wallet_frozen', 'Frozen.'),
    overloaded: fail('overloaded', 'Full.', { retry_after_seconds: 7 }),
    plain: new Error('select * from secrets where password=1'),
    thrown: 'a string',
    refused: Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:5432'), { code: 'ECONNREFUSED' }),
    full: Object.assign(new Error('could not extend file'), { code: '53100' }),
    serialization: Object.assign(new Error('x'), { code: '40001' }),
    constraint: Object.assign(new Error('duplicate key value violates wallets_pkey'), { code: '23505' }),
    raw: Object.assign(new Error('Raw query failed'), { code: 'P2010', meta: { code: '22P02', message: 'invalid input syntax' } }),
    unauthenticated: fail('unauthenticated', 'Who?'),
  }
  const server = await createServer(t, {
    routes(app) {
      for (const [name, error] of Object.entries(errors)) {
        app.get(`/${name}`, async () => {
          throw error
        })
      }
      app.post('/things', async () => 'made')
      app.get('/things', async () => 'read')
    },
  })
  const get = (url: string) => server.app.inject({ url, headers: { 'x-request-id': 'r-1' } })

  t.test('a refusal is answered as it is', async (t) => {
    const answer = await get('/refusal')
    t.equal(answer.statusCode, 409)
    t.match(answer.headers['content-type'], /^application\/problem\+json/)
    t.match(answer.json(), { code: 'wallet_frozen', detail: 'Frozen.', instance: 'r-1', status: 409 })
    t.equal((await get('/overloaded')).headers['retry-after'], '7')
  })

  t.test('a fault of ours shows nothing but the request id, and is logged with its cause', async (t) => {
    for (const name of ['plain', 'thrown', 'constraint', 'raw']) {
      const answer = await get(`/${name}`)
      t.equal(answer.statusCode, 500, name)
      t.match(answer.json(), { code: 'internal', instance: 'r-1', retryable: false })
      t.notMatch(answer.body, /select|secrets|duplicate|wallets_pkey|22P02|a string|invalid input|\.ts/)
    }
    t.ok(server.logs().some((line) => line.level === 'error' && JSON.stringify(line).includes('select * from secrets')))
    t.ok(server.logs().some((line) => line.level === 'error' && line.status === 500 && line.request_id === 'r-1'))
  })

  t.test('a database that cannot be reached or cannot write is 503 and retryable', async (t) => {
    for (const name of ['refused', 'full', 'serialization']) {
      const answer = await get(`/${name}`)
      t.equal(answer.statusCode, 503, name)
      t.equal(answer.headers['retry-after'], '1')
      t.match(answer.json(), { code: 'storage_unavailable', retryable: true })
      t.notMatch(answer.body, /10\.0\.0\.1|extend/)
    }
  })

  t.test('401 says how to authenticate', async (t) => {
    t.equal((await get('/unauthenticated')).headers['www-authenticate'], 'Bearer')
  })

  t.test('an unknown route is 404, a known one with another method 405 with what it takes', async (t) => {
    t.match((await get('/nowhere?x=1')).json(), { code: 'route_not_found', status: 404 })
    const answer = await server.app.inject({ method: 'DELETE', url: '/things?x=%zz' })
    t.equal(answer.statusCode, 405)
    t.equal(answer.headers.allow, 'GET, POST, HEAD')
    t.match(answer.json(), { code: 'method_not_allowed' })
  })
})
