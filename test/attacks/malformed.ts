import { Ajv2020 } from 'ajv/dist/2020.js'
import type { DocumentedRoute } from '../helpers/document.ts'

/**
 * Requests that are wrong in one place, made from the documented schemas. The schema is also the judge: what it takes is no attack, what
 * it does not take must be refused. The validator is another one than the service's.
 */

/** A JSON schema, as far as it is walked. */
interface Schema {
  readonly $ref?: string
  readonly type?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
}

export interface Malformed {
  /** The JSON text. */
  readonly body: string
  /** The place of what is wrong in it, as a JSON pointer. */
  readonly pointer: string
  readonly what: string
}

const LONG = 65_536
const STAND_IN = '\u0001stand-in\u0001'

/** What stands in the place of a value, as JSON: of a wrong type, a wrong form or a wrong size, or up to something. */
const WRONG = [
  ...['null', 'true', '0', '-1', '0.5', '1e400', '9007199254740993', '100000000000000000000000'],
  ...['""', '" x "', '"a\\nb"', '"\\u0000"', '"\\u001b[31m"', '"\\ud800"', "\"' or '1'='1\"", '"-1"', '"1e3"', '"99999999999999999999"'],
  ...['[]', '["x"]', '[[[[1]]]]', '{}', '{"x":1}'],
  ...['{"__proto__":{"isAdmin":true}}', '{"\\u005f_proto__":1}', '{"constructor":{"prototype":{"isAdmin":true}}}'],
] as const

/** Whole bodies that no route takes, whatever its fields are. */
export const POISON: readonly string[] = [
  ...['[]', '"text"', '1', 'true', ' ', '{} {}', '{"a":1}/**/', "{'a':1}", '\ufeff{}'],
  ...['{"amount":"1","amount":"2"}', '{"amount":"1","\\u0061mount":"2"}', '{"reason":"x","wallet":{"a":1,"a":2}}', '{"Amount":"1"}'],
  ...['{"__proto__":{"isAdmin":true}}', '{"\\u005f\\u005fproto__":{"isAdmin":true}}', '{"constructor":{"prototype":{"isAdmin":true}}}'],
  ...['{"metadata":{"__proto__":"x"},"reason":"x"}', '{"reason":"x","reason ":"y"}', '{"amount":"1","balance":"9"}'],
  ...['{"reason":"\\u0000"}', '{"reason":"\\ud800"}', '{"reason":1e400}', '{"a":9007199254740993}'],
  ...[`${'['.repeat(30_000)}${']'.repeat(30_000)}`, `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`, `{"reason":"${'x'.repeat(60_000)}"}`],
]

/** Reads the schemas of a document. */
export class Malformer {
  readonly #definitions: Readonly<Record<string, Schema>>
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false })

  constructor(definitions: Readonly<Record<string, object>>) {
    this.#definitions = definitions as Record<string, Schema>
    this.#ajv.addSchema({ $id: 'document', components: { schemas: definitions } })
  }

  /** Whether a route's schema takes this body. */
  takes(route: DocumentedRoute, body: unknown): boolean {
    return this.#judge(route.bodySchema as Schema)(body)
  }

  /** Whether a parameter of a query takes a text: those that are no text are read from one. */
  takesText(schema: object, text: string): boolean {
    const judge = this.#judge(schema as Schema)
    return judge(text) || (/^-?\d{1,15}$/.test(text) && judge(Number(text)))
  }

  /**
   * Places of a body × wrong values, with unknown fields, fields named twice and texts that are too long.
   * @param valid what the route takes
   * @param share one of so many wrong values at each place, another one at the next; 1 for all of them
   */
  *bodies(route: DocumentedRoute, valid: object, share: number): Generator<Malformed> {
    let count = 0
    for (const { path, schema } of this.#places(route.bodySchema as Schema, valid)) {
      const judge = this.#judge(schema)
      const pointer = pointerTo(path)
      const whole = JSON.stringify(withValue(valid, path, STAND_IN))
      for (const raw of WRONG) {
        count += 1
        if (count % share !== 0 || (!isPoison(raw) && judge(JSON.parse(raw)))) continue
        yield { body: whole.replace(JSON.stringify(STAND_IN), () => raw), pointer, what: raw }
      }
      const long = 'x'.repeat(LONG)
      if (!judge(long)) yield { body: JSON.stringify(withValue(valid, path, long)), pointer, what: '64 KB' }
      const twice = `${JSON.stringify(path.at(-1))}:${JSON.stringify(STAND_IN)}`
      if (typeof path.at(-1) === 'string') yield { body: whole.replace(twice, () => `${twice},${twice}`), pointer, what: 'named twice' }
    }
    const judge = this.#judge(route.bodySchema as Schema)
    for (const path of objectsOf(valid)) {
      for (const name of ['balance', 'is_admin', '__proto__x', 'toString', 'amount ']) {
        const body = withValue(valid, [...path, name], 'x')
        if (!judge(body)) yield { body: JSON.stringify(body), pointer: pointerTo([...path, name]), what: 'unknown' }
      }
    }
  }

  #judge(schema: Schema): (body: unknown) => boolean {
    const local = JSON.parse(JSON.stringify(schema).replaceAll('#/components/', 'document#/components/'))
    const validate = this.#ajv.compile(local)
    return (body) => validate(body) === true
  }

  /** All fields that a body of this schema can have; of a union those of the branch that the value at hand is of. */
  *#places(schema: Schema, valid: unknown, path: readonly (string | number)[] = []): Generator<Place> {
    if (path.length > 0) yield { path, schema }
    if (path.length > DEPTH_MAX) return
    const named = this.#resolved(schema)
    const branches = named.anyOf ?? named.oneOf
    const branch = branches?.find((one) => this.#judge(one)(valid)) ?? branches?.[0]
    const { properties = {}, items } = branch ? this.#resolved(branch) : named
    const value = (name: string | number) => (valid as Record<string | number, unknown> | undefined)?.[name]
    for (const [name, inner] of Object.entries(properties)) yield* this.#places(inner, value(name), [...path, name])
    if (items) yield* this.#places(items, value(0), [...path, 0])
  }

  #resolved(schema: Schema): Schema {
    return schema.$ref === undefined ? schema : (this.#definitions[schema.$ref.split('/').at(-1) ?? ''] as Schema)
  }
}

interface Place {
  readonly path: readonly (string | number)[]
  readonly schema: Schema
}

function pointerTo(path: readonly (string | number)[]): string {
  return path.map((name) => `/${name}`).join('')
}

/** Of places within places: a command of a batch has a body, which has a usage, which has pools. */
const DEPTH_MAX = 5

/** Names that are refused wherever they stand, and numbers that JavaScript cannot tell from others. */
function isPoison(raw: string): boolean {
  return /proto|1e400|9007199254740993|100000000000000000000000|ud800/.test(raw)
}

/** A copy with a value at a path; what is missing on the way is made. */
function withValue(of: unknown, path: readonly (string | number)[], value: unknown): unknown {
  const [name, ...rest] = path
  if (name === undefined) return value
  if (typeof name === 'number')
    return [withValue((of as unknown[] | undefined)?.[name], rest, value), ...((of as unknown[] | undefined)?.slice(1) ?? [])]
  return { ...(of as object | undefined), [name]: withValue((of as Record<string, unknown> | undefined)?.[name], rest, value) }
}

/** The paths of the objects in a body whose fields are known. */
function* objectsOf(value: unknown, path: readonly (string | number)[] = []): Generator<readonly (string | number)[]> {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) yield path
  for (const [name, inner] of Object.entries(value)) yield* objectsOf(inner, [...path, Array.isArray(value) ? Number(name) : name])
}

/** Of a query's parameter, as it stands in the path. */
export const WRONG_QUERIES = [
  '',
  '%20x',
  '%00',
  '-1',
  '0',
  '1e2',
  '0x10',
  '1.5',
  '1000000000',
  '١',
  'NaN',
  "'%20or%20'1'='1",
  'x'.repeat(301),
  '{}',
] as const

/** In the place of an id. */
export const wrongIds = (id: string): string[] => [
  ...[
    '%00',
    '%zz',
    '%E0%A4%A',
    'a'.repeat(101),
    'a'.repeat(5_000),
    '..%2f..%2fetc%2fpasswd',
    "x'%20or%20'1'='1",
    '%0d%0aset-cookie:x',
    '__proto__',
  ],
  ...[`${id}x`, `${id}%00`, id.slice(0, -1), id.toUpperCase(), id.replace(/^[a-z]+/, 'xyz')],
]
