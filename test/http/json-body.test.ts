import { gzipSync } from 'node:zlib'
import t from 'tap'
import { createServer } from '../helpers/server.ts'

t.test('only uncompressed JSON in UTF-8 is read', async (t) => {
  const { app } = await createServer(t, { routes: (app) => void app.post('/v1/things', async (request) => ({ got: request.body })) })
  const post = (payload: string | Buffer, headers: Record<string, string>) =>
    app.inject({ method: 'POST', url: '/v1/things', payload, headers })

  const read = [
    'application/json',
    'Application/JSON; charset=UTF-8',
    'application/json;charset="utf-8"',
    'application/cloudevents+json',
    'application/cloudevents-batch+json',
  ]
  for (const type of read) t.same((await post('{"a":1}', { 'content-type': type })).json(), { got: { a: 1 } }, type)

  const refused = [
    'application/json\ta',
    'application/json a',
    'text/plain',
    'application/jsonp',
    'text/json',
    'multipart/form-data; boundary=x',
    'application/x-www-form-urlencoded',
    'application/json; charset=latin1',
    'application/json; charset=utf-16',
    'application/octet-stream',
    'json',
  ]
  for (const type of refused) {
    const answer = await post('{"a":1}', { 'content-type': type })
    t.equal(answer.statusCode, 415, type)
    t.match(answer.json(), { code: 'unsupported_media_type' })
  }

  const bomb = gzipSync(Buffer.alloc(50_000_000, ' '))
  t.ok(bomb.length < 65_536)
  t.equal((await post(bomb, { 'content-type': 'application/json', 'content-encoding': 'gzip' })).statusCode, 415)
  t.equal((await post('{}', { 'content-type': 'application/json', 'content-encoding': 'identity' })).statusCode, 200)
  t.same((await post('', { 'content-type': 'application/json' })).json(), {}, 'no body is no body, whatever its type says')
  t.match((await post('{"a":"1","a":"2"}', { 'content-type': 'application/json' })).json(), {
    code: 'duplicate_json_key',
    status: 400,
    errors: [{ pointer: '/a' }],
  })

  const limit = 64 * 1024
  const ofLength = (length: number) => `"${'x'.repeat(length - 2)}"`
  t.equal((await post(ofLength(limit), { 'content-type': 'application/json' })).statusCode, 200)
  t.match((await post(ofLength(limit + 1), { 'content-type': 'application/json' })).json(), { code: 'payload_too_large', status: 413 })
})
