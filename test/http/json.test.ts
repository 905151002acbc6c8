import fc from 'fast-check'
import t from 'tap'
import { parseJson } from '../../src/http/json.ts'
import { FareboxError } from '../../src/kernel/errors.ts'

function parse(text: string): unknown {
  return parseJson(Buffer.from(text))
}

/** The code and the pointer with which a text is refused. */
function refusalOf(text: string | Buffer): [code: string, pointer: string | undefined] | 'accepted' {
  try {
    parseJson(Buffer.from(text as string))
    return 'accepted'
  } catch (error) {
    if (!(error instanceof FareboxError)) throw error
    return [error.refusal.code, error.refusal.errors?.[0]?.pointer]
  }
}

t.test('whatever JSON.stringify writes is read as JSON.parse reads it', async (t) => {
  const value = fc.jsonValue({ maxDepth: 6 })
  fc.assert(
    fc.property(value, fc.boolean(), (value, pretty) => {
      const text = JSON.stringify(value, null, pretty ? 2 : 0)
      const answer = refusalOf(text)
      if (answer === 'accepted') t.same(parse(text), JSON.parse(text))
      // What is refused is refused for a reason that the value shows.
      else if (!/__proto__|constructor|\\u0000|\\ud[89a-f]|[0-9]e|[0-9]{16}/.test(text)) throw new Error(`${answer} for ${text}`)
    }),
    { numRuns: 2_000 },
  )
  t.pass('2,000 values')
})

t.test('a duplicate key anywhere in any spelling is found and pointed to', async (t) => {
  const word = fc.stringMatching(/^[a-z/~"\\é😀]{1,4}$/u)
  const place = fc.array(fc.oneof(word, fc.nat(2)), { maxLength: 5 })
  const escaped = (key: string) =>
    `"${[...key].map((char) => [...Array(char.length).keys()].map((i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')).join('')}"`
  fc.assert(
    fc.property(place, word, fc.boolean(), (path, key, spelled) => {
      let text = `{ "z_": 1, ${JSON.stringify(key)}: "x", ${spelled ? escaped(key) : JSON.stringify(key)}: {} }`
      for (const step of path.toReversed())
        text = typeof step === 'number' ? `[${'"{\\"", '.repeat(step)}${text}]` : `{${JSON.stringify(step)}: ${text}}`
      const pointer = [...path, key].map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
      t.same(refusalOf(text), ['duplicate_json_key', pointer])
    }),
    { numRuns: 1_000 },
  )
  t.pass('1,000 texts')
})

t.test('the same key in two objects is no duplicate', async (t) => {
  t.same(parse('{"a":{"a":1},"b":[{"a":1},{"a":2}]}'), { a: { a: 1 }, b: [{ a: 1 }, { a: 2 }] })
  t.same(parse('{"":1," ":2,"\\"":3,"\\\\":4}'), { '': 1, ' ': 2, '"': 3, '\\': 4 })
})

t.test('a duplicate that hides a deep value is found without deep recursion', async (t) => {
  t.same(refusalOf(`{"a":${'['.repeat(30_000)}${']'.repeat(30_000)},"a":1}`), ['duplicate_json_key', '/a'])
})

t.test('prototype poisoning is refused, escaped or nested', async (t) => {
  t.same(refusalOf('{"__proto__":{"admin":true}}'), ['invalid_request', '/__proto__'])
  t.same(refusalOf('{"a":[{"\\u005f\\u005fproto\\u005f_":1}]}'), ['invalid_request', '/a/0/__proto__'])
  t.same(refusalOf('{"constructor":{"prototype":{}}}'), ['invalid_request', '/constructor'])
  t.same(refusalOf('{"c\\u006fnstructor":{"proto\\u0074ype":{}}}'), ['invalid_request', '/constructor'])
  t.same(parse('{"constructor":"Ferrari","prototype":1}'), { constructor: 'Ferrari', prototype: 1 })
  t.equal(({} as Record<string, unknown>).admin, undefined)
})

t.test('text that cannot be stored is refused with its place', async (t) => {
  t.same(refusalOf('{"a":"x\\u0000y"}'), ['invalid_request', '/a'])
  t.same(refusalOf('{"a":["\\ud800"]}'), ['invalid_request', '/a/0'])
  t.same(refusalOf('{"\\udc00":1}'), ['invalid_request', '/\uFFFD'])
  t.same(refusalOf('{"k\\u0000":1}'), ['invalid_request', '/k\uFFFD'])
  t.equal(parse('"\\ud83d\\ude00"'), '😀')
  t.equal(parse('"\\\\u0000"'), '\\u0000')
})

t.test('numbers that a double would change are refused', async (t) => {
  t.same(refusalOf('{"n":9007199254740993}'), ['invalid_request', '/n'])
  t.same(refusalOf('{"n":[1e999]}'), ['invalid_request', '/n/0'])
  t.same(refusalOf('-1e400'), ['invalid_request', ''])
  t.same(parse('[9007199254740991,1.5e-3,-0]'), [9007199254740991, 0.0015, -0])
})

t.test('depth is bounded at 32', async (t) => {
  t.equal(refusalOf('['.repeat(32) + ']'.repeat(32)), 'accepted')
  t.same(refusalOf('['.repeat(33) + ']'.repeat(33)), ['invalid_request', '/0'.repeat(32)])
  t.match(refusalOf(`${'{"a":'.repeat(33)}1${'}'.repeat(33)}`), ['invalid_request', /^(\/a){32}$/])
  t.match(refusalOf('['.repeat(30_000) + ']'.repeat(30_000)), ['invalid_request'])
})

t.test('what is not one JSON text in UTF-8 is invalid_json', async (t) => {
  for (const text of ['', ' ', '{', '{}{}', "{'a':1}", '{"a":1,}', 'undefined', '\uFEFF{}', 'NaN', '{"a":"\n"}', '['.repeat(30_000)]) {
    t.equal(refusalOf(text)[0], 'invalid_json', JSON.stringify(text.slice(0, 20)))
  }
  t.equal(refusalOf(Buffer.from([0x22, 0xff, 0x22]))[0], 'invalid_json')
  t.equal(refusalOf(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))[0], 'invalid_json', 'a surrogate in UTF-8')
})

t.test('a key of 60 KB does not come back in the answer', async (t) => {
  const [code, pointer] = refusalOf(`{"${'k'.repeat(60_000)}":"\\u0000"}`)
  t.equal(code, 'invalid_request')
  t.ok((pointer?.length ?? 0) <= 200)
})
