import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import t from 'tap'
import { z } from 'zod'
import { createServer } from '../helpers/server.ts'

t.test('a wrong request is 400 with a pointer for each wrong field', async (t) => {
  const amount = z.string().regex(/^(?:0|[1-9][0-9]{0,12})(?:\.[0-9]{1,6})?$/, 'must be a decimal string')
  const { app } = await createServer(t, {
    routes(app) {
      app.withTypeProvider<ZodTypeProvider>().post(
        '/v1/things/:thing_id',
        {
          schema: {
            params: z.strictObject({ thing_id: z.string().regex(/^thg_[0-9a-f]{4}$/) }),
            querystring: z.strictObject({
              limit: z
                .string()
                .regex(/^[0-9]{1,3}$/)
                .optional(),
            }),
            headers: z.object({ 'idempotency-key': z.string().max(10).optional() }),
            body: z.strictObject({
              amount,
              usage: z.strictObject({ input_tokens: z.int().min(0) }).optional(),
              items: z
                .array(z.strictObject({ id: z.string() }))
                .max(3)
                .optional(),
              metadata: z.record(z.string().max(5), z.string()).optional(),
              either: z.union([z.strictObject({ a: z.string() }), z.strictObject({ b: z.string(), c: z.string() })]).optional(),
              command: z.discriminatedUnion('op', [z.strictObject({ op: z.literal('x'), n: z.int() })]).optional(),
            }),
          },
        },
        async (request) => request.body,
      )
    },
  })

  async function errorsOf(payload: unknown, url = '/v1/things/thg_00ff', headers: Record<string, string> = {}) {
    const answer = await app.inject({
      method: 'POST',
      url,
      payload: payload as object,
      headers: { 'content-type': 'application/json', ...headers },
    })
    if (answer.statusCode === 200) return 'accepted'
    t.equal(answer.statusCode, 400)
    const problem = answer.json()
    t.equal(problem.code, 'invalid_request')
    return problem.errors as { pointer: string; message: string }[]
  }
  const pointers = (errors: Awaited<ReturnType<typeof errorsOf>>) =>
    typeof errors === 'string' ? errors : errors.map((error) => error.pointer)

  t.equal(await errorsOf({ amount: '12.5' }), 'accepted')
  for (const wrong of [1, 1e3, 1.5, '-1', ' 1', '1e3', '0x10', '٣', '1.0000001', ['1'], {}, true, null, '01', '1.', '+1', '1\n']) {
    t.same(pointers(await errorsOf({ amount: wrong })), ['/amount'], JSON.stringify(wrong))
  }
  t.same(await errorsOf({ amount: 1 }), [{ pointer: '/amount', message: 'must be a string' }])
  t.same(await errorsOf({ amount: '-1' }), [{ pointer: '/amount', message: 'must be a decimal string' }], 'a schema speaks for itself')
  t.same(await errorsOf({}), [{ pointer: '/amount', message: 'is required' }])
  t.same(await errorsOf({ amount: '1', balance: '9', 'a/b~': 1 }), [
    { pointer: '/balance', message: 'is not a known field' },
    { pointer: '/a~1b~0', message: 'is not a known field' },
  ])
  t.same(pointers(await errorsOf({ amount: '1', usage: { input_tokens: 1.5, extra: 1 } })), ['/usage/input_tokens', '/usage/extra'])
  t.same(pointers(await errorsOf({ amount: '1', items: [{ id: 'a' }, { id: 2 }] })), ['/items/1/id'])
  t.same(pointers(await errorsOf({ amount: '1', metadata: { toolong: 'x' } })), ['/metadata/toolong'])
  t.same(pointers(await errorsOf({ amount: '1', either: { b: 'x' } })), ['/either/c'], 'the closest branch speaks')
  t.same(await errorsOf({ amount: '1', either: 5 }), [{ pointer: '/either', message: 'has none of the documented forms' }])
  t.same(pointers(await errorsOf({ amount: '1', command: { op: 'y' } })), ['/command/op'])
  t.same(pointers(await errorsOf({ amount: '1' }, '/v1/things/no')), ['/path/thing_id'])
  t.same(pointers(await errorsOf({ amount: '1' }, '/v1/things/thg_00ff?limit=1e9')), ['/query/limit'])
  t.same(pointers(await errorsOf({ amount: '1' }, '/v1/things/thg_00ff?limit=1&limit=2')), ['/query/limit'])
  t.same(pointers(await errorsOf({ amount: '1' }, '/v1/things/thg_00ff?sort=name%3Bdrop')), ['/query/sort'])
  t.same(pointers(await errorsOf({ amount: '1' }, '/v1/things/thg_00ff', { 'idempotency-key': 'k'.repeat(11) })), [
    '/headers/idempotency-key',
  ])
  t.same(await errorsOf({ amount: '1', usage: { input_tokens: -1 } }), [{ pointer: '/usage/input_tokens', message: 'must be at least 0' }])
  const four = Array.from({ length: 4 }, () => ({ id: 'a' }))
  t.same(await errorsOf({ amount: '1', items: four }), [{ pointer: '/items', message: 'must have at most 3 entries' }])
  t.same(await errorsOf({ amount: '1' }, '/v1/things/thg_00ff', { 'idempotency-key': 'k'.repeat(11) }), [
    { pointer: '/headers/idempotency-key', message: 'must have at most 10 characters' },
  ])
  t.same(pointers(await errorsOf([])), [''])
  t.same(pointers(await errorsOf('null')), [''])

  const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`x${i}`, i]))
  t.equal((await errorsOf({ amount: '1', ...many })).length, 20, 'the answer is bounded')
})
