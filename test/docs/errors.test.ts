import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { statusOf } from '../../src/http/problem.ts'
import { ERROR_CODES, type ErrorCode } from '../../src/kernel/errors.ts'

const FILE = join(import.meta.dirname, '../../docs/errors.md')

t.test('docs/errors.md', { skip: !existsSync(FILE) && 'there is no docs/errors.md yet' }, async (t) => {
  const text = readFileSync(FILE, 'utf8')
  const rows = [...text.matchAll(/^(?:\||#+) *`([a-z_]+)`(?: *\| *(\d{3}))?(?: *\| *(.+?) *\|$)?/gm)].map(([, code, status, meaning]) => ({
    code,
    status,
    meaning,
  }))
  const codes = Object.keys(ERROR_CODES) as ErrorCode[]

  t.test('has every code of the source, once, and no other', async (t) => {
    t.same(rows.map(({ code }) => code).sort(), codes.toSorted())
    t.comment(`${codes.length} codes`)
  })
  t.test('gives each the status it has', async (t) => {
    for (const { code, status } of rows) if (status) t.equal(Number(status), statusOf(code as ErrorCode), String(code))
  })
  t.test('says of each what it means', async (t) => {
    for (const { code, meaning } of rows) t.ok(meaning === undefined || meaning.length > 15, String(code))
  })
})

t.test('every code is used somewhere in the source', async (t) => {
  const root = join(import.meta.dirname, '../../src')
  const { globSync } = await import('node:fs')
  const source = globSync('**/*.ts', { cwd: root, exclude: (name) => name === 'generated' })
    .filter((file) => !file.endsWith('kernel/errors.ts'))
    .map((file) => readFileSync(join(root, file), 'utf8'))
    .join('\n')
  for (const code of Object.keys(ERROR_CODES)) t.ok(source.includes(`'${code}'`), code)
})
