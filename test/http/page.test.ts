import t from 'tap'
import { z } from 'zod'
import { decodeCursor, encodeCursor, type Listing, pageQuery, paginate } from '../../src/http/page.ts'
import { FareboxError } from '../../src/kernel/errors.ts'
import { newId } from '../../src/kernel/ids.ts'

const rows = Array.from({ length: 125 }, () => ({ id: newId() })).toReversed()

function listing(scope: Listing<unknown>['scope'] = { wallet: 'a', kind: undefined }, name = 'rows'): Listing<{ id: string }> {
  return {
    name,
    scope,
    position: (row) => row.id,
    read: async (before, limit) => rows.filter((row) => before === null || row.id < before).slice(0, limit),
  }
}

function isRefused(decode: () => unknown): boolean {
  try {
    decode()
    return false
  } catch (error) {
    return error instanceof FareboxError && error.refusal.code === 'cursor_invalid'
  }
}

t.test('pages follow each other without gaps or repeats', async (t) => {
  for (const limit of [1, 7, 25, 124, 125, 126, 200, undefined]) {
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const page = await paginate(listing(), { limit, cursor }, (row) => row.id)
      t.ok(page.data.length <= (limit ?? 50))
      seen.push(...page.data)
      cursor = page.next_cursor ?? undefined
    } while (cursor)
    t.same(
      seen,
      rows.map((row) => row.id),
      `limit ${limit}`,
    )
  }
  t.same(await paginate({ ...listing(), read: async () => [] }, {}, (row) => row), { data: [], next_cursor: null })
})

t.test('a cursor belongs to one listing with one set of filters', async (t) => {
  const cursor = encodeCursor(listing(), newId())
  t.match(decodeCursor(listing(), cursor), /^[0-9a-f-]{36}$/)
  t.equal(encodeCursor(listing({ b: 1, a: 2 }), 'x'), encodeCursor(listing({ a: 2, b: 1 }), 'x'), 'the order of filters does not count')
  t.ok(
    isRefused(() => decodeCursor(listing({ wallet: 'b' }), cursor)),
    'another wallet',
  )
  t.ok(
    isRefused(() => decodeCursor(listing({ wallet: 'a', kind: 'refund' }), cursor)),
    'another filter',
  )
  t.ok(
    isRefused(() => decodeCursor(listing(undefined, 'other'), cursor)),
    'another listing',
  )
})

t.test('an altered cursor is refused, whichever character', async (t) => {
  const cursor = encodeCursor(listing(), newId())
  for (let i = 0; i < cursor.length; i += 1) {
    const altered = cursor.slice(0, i) + (cursor[i] === 'A' ? 'B' : 'A') + cursor.slice(i + 1)
    t.ok(
      isRefused(() => decodeCursor(listing(), altered)),
      `character ${i}`,
    )
  }
  for (const text of [
    '',
    'x',
    '!!!',
    cursor.slice(0, -1),
    `${cursor}A`,
    `${cursor}=`,
    ` ${cursor}`,
    'W10',
    'bnVsbA',
    cursor.repeat(10),
    '\0',
  ]) {
    t.ok(
      isRefused(() => decodeCursor(listing(), text)),
      JSON.stringify(text.slice(0, 20)),
    )
  }
  t.ok(
    isRefused(() => decodeCursor(listing(), encodeCursor(listing(), "' or 1=1 --"))),
    'a position that is none',
  )
  const bySequence = { ...listing(), pattern: /^[0-9]{1,18}$/ }
  t.ok(isRefused(() => decodeCursor(bySequence, encodeCursor(bySequence, newId()))))
  t.equal(decodeCursor(bySequence, encodeCursor(bySequence, '17')), '17')
})

t.test('limits are whole numbers from 1 to 200', async (t) => {
  for (const limit of ['1', '50', '200']) t.equal(pageQuery.parse({ limit }).limit, Number(limit))
  for (const limit of ['0', '201', '1000000000', '-1', '1e2', '01', ' 1', '1.0', '', 'x', '0x10']) {
    t.notOk(pageQuery.safeParse({ limit }).success, JSON.stringify(limit))
  }
  t.same(pageQuery.parse({}), {})
  t.match(z.toJSONSchema(pageQuery, { io: 'input' }), { properties: { limit: { type: 'integer', minimum: 1, maximum: 200 } } })
})
