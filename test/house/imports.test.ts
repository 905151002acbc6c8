/**
 * Keeps the two import rules of the house by reading the import lines of src: folders import leftwards only, and each vendor
 * stays in the kinds of file that may know it. The first line that breaks a rule is a decision for whoever changes a table below.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import t from 'tap'

/**
 * A file imports from its own folder and from what stands before it.
 *
 * A commit makes a charge, so charges stand before reservations (docs/decisions/0003). A batch is made of everybody's operations. config.ts reaches the rooms as an argument; the root files wire everything, and
 * nobody else may import them.
 */
const RANK = [
  ...['kernel', 'platform', 'http', 'auth', 'orgs'],
  ...['ledger', 'pricing', 'grants', 'wallets', 'budgets', 'estimates', 'charges', 'reservations'],
  ...['transfers', 'billing', 'batch', 'realtime', 'demo', 'webhooks', 'analytics', 'jobs'],
  ...['config.ts', 'cli', 'root'],
]

/** Folders whose code runs elsewhere, in browsers and in the processes of others. They have no rank: nothing goes in or out. */
const OUTSIDE = ['client']

/** What those may import beside their own: what whoever uses them has anyhow. */
const OUTSIDE_VENDORS: Readonly<Record<string, string>> = { 'client/react.ts': 'react' }

/** Where a package may be imported. A pattern ends at a slash or at the end of the name; types count as much as values. */
const VENDORS: { vendor: RegExp; allowed: RegExp[]; why: string }[] = [
  {
    vendor: /^(fastify|@fastify)(\/|-|$)/,
    allowed: [/^(http|auth)\//, /\/(routes|guard)\.ts$/, /^(app|main)\.ts$/],
    why: 'use cases know nothing of HTTP',
  },
  {
    vendor: /^(@fastify\/websocket|ws)(\/|$)/,
    allowed: [/^realtime\/routes\.ts$/],
    why: 'a session knows the part of a socket that it uses',
  },
  {
    vendor: /^ioredis(\/|$)/,
    allowed: [/-redis\.ts$/],
    why: 'only adapters speak to Redis',
  },
  {
    vendor: /^stripe(\/|$)/,
    allowed: [/^billing\/stripe\//],
    why: 'orders are the same whoever takes the money',
  },
  {
    vendor: /^gpt-tokenizer(\/|$)/,
    allowed: [/^estimates\/vocabulary\.ts$/],
    why: 'whatever counts tokens gets its vocabulary from one place',
  },
  {
    vendor: /^prom-client(\/|$)/,
    allowed: [/^platform\/metrics\.ts$/],
    why: 'rooms are handed functions that count',
  },
  {
    vendor: /^@opentelemetry\//,
    allowed: [/^platform\/tracing\.ts$/],
    why: 'nothing of it is loaded where no collector is configured',
  },
  {
    vendor: /^ipaddr\.js$/,
    allowed: [/^platform\/outbound\.ts$/],
    why: 'one place knows which addresses are nobody else’s',
  },
  {
    vendor: /^pg(\/|$)/,
    allowed: [/^platform\//, /-pg\.ts$/],
    why: 'only adapters speak to PostgreSQL',
  },
  {
    vendor: /^zod(\/|$)/,
    allowed: [/^config\.ts$/, /^http\//, /\/((\w+-)?schemas|routes|operations?)\.ts$/],
    why: 'the wire format is parsed at the edge',
  },
  {
    vendor: /^(generated\/prisma\/|@prisma\/)/,
    allowed: [/^platform\//, /store[^/]*\.ts$/, /-(pg|prisma)\.ts$/],
    why: 'only adapters speak to PostgreSQL',
  },
]

interface Import {
  readonly from: string
  readonly line: number
  /** A path below src for a file of ours, else the package as written. */
  readonly target: string
}

const source = join(import.meta.dirname, '../../src')
const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts') && !path.startsWith('generated/'))
const imports = files.flatMap((file) => importsOf(file, readFileSync(join(source, file), 'utf8')))

/** Finds `import … from`, `export … from`, `import '…'`, `import('…')`, over as many lines as they take. */
function importsOf(file: string, text: string): Import[] {
  const pattern =
    /^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm
  return [...text.matchAll(pattern)].map((match) => {
    const specifier = (match[1] ?? match[2] ?? match[3]) as string
    const target = specifier.startsWith('.') ? posix.join(posix.dirname(file), specifier) : specifier
    const start = match.index + match[0].search(/\S/)
    return { from: file, line: text.slice(0, start).split('\n').length, target }
  })
}

/** The place in RANK; -1 for a folder that has none. */
function rankOf(path: string): number {
  const [first = '', second] = path.split('/')
  if (second !== undefined) return RANK.indexOf(first)
  return RANK.indexOf(first === 'config.ts' ? first : 'root')
}

const isOurs = ({ target }: Import) => files.includes(target)
const isOutside = (path: string) => OUTSIDE.includes(path.split('/')[0] as string)

t.test('every folder has a rank', async (t) => {
  t.same([...new Set(files.filter((file) => rankOf(file) < 0 && !isOutside(file)))], [], 'give the folder its place in RANK')
})

t.test('folders import leftwards only', async (t) => {
  const wrong = imports.filter((one) => isOurs(one) && rankOf(one.target) > rankOf(one.from))
  t.same(
    wrong.map(({ from, line, target }) => `src/${from}:${line} imports ${target}`),
    [],
  )
})

t.test('what runs elsewhere shares nothing with the server', async (t) => {
  const inOrOut = imports.filter((one) => isOurs(one) && isOutside(one.from) !== isOutside(one.target))
  const packages = imports.filter((one) => isOutside(one.from) && !isOurs(one) && one.target !== OUTSIDE_VENDORS[one.from])
  t.same(
    [...inOrOut, ...packages].map(({ from, line, target }) => `src/${from}:${line} imports ${target}`),
    [],
  )
})

for (const { vendor, allowed, why } of VENDORS) {
  t.test(`${vendor.source} stays where it belongs: ${why}`, async (t) => {
    const wrong = imports.filter(({ from, target }) => vendor.test(target) && !allowed.some((place) => place.test(from)))
    t.same(
      wrong.map(({ from, line, target }) => `src/${from}:${line} imports ${target}`),
      [],
    )
  })
}

t.test('the reader sees each form of an import', async (t) => {
  const text = [
    `import a from 'one'`,
    `import {\n  b,\n  type C,\n} from "two"`,
    `export * from './three.ts'`,
    `export type { D } from '../four/five.ts'`,
    `import 'six'`,
    `const e = await import('seven')`,
    `export const f = 'from "no"'`,
    `// import g from 'no'`,
  ].join('\n')
  t.same(
    importsOf('room/file.ts', text).map(({ target }) => target),
    ['one', 'two', 'room/three.ts', 'four/five.ts', 'six', 'seven'],
  )
})
