import { invalid } from './failure.ts'
import type { Page, Range } from './params.ts'

/** Rows of a kind in the order in which they were created; none ever goes away. */
export interface Table<Row> {
  add(row: Row): Row
  get(id: string): Row | undefined
  /** Where a row stands; -1 if there is none. */
  place(id: string): number
  readonly rows: readonly Row[]
}

export function createTable<Row extends { id: string }>(): Table<Row> {
  const rows: Row[] = []
  const places = new Map<string, number>()
  return {
    rows,
    add(row) {
      places.set(row.id, rows.length)
      rows.push(row)
      return row
    },
    get(id) {
      const place = places.get(id)
      return place === undefined ? undefined : rows[place]
    },
    place: (id) => places.get(id) ?? -1,
  }
}

export interface List<Row> {
  object: 'list'
  url: string
  has_more: boolean
  data: Row[]
}

export function listOf<Row>(url: string, data: Row[]): List<Row> {
  return { object: 'list', url, has_more: false, data }
}

/** One page of a listing, newest first. */
export function pageOf<Row extends { id: string }>(
  table: Table<Row>,
  url: string,
  { limit, starting_after, ending_before }: Page,
  matches: (row: Row) => boolean,
): List<Row> {
  const backwards = ending_before !== undefined
  if (backwards && starting_after !== undefined)
    throw invalid('You may only specify one of these parameters: ending_before, starting_after.')
  const data: Row[] = []
  let more = false
  const step = backwards ? 1 : -1
  const from = cursor(table, backwards ? 'ending_before' : 'starting_after', ending_before ?? starting_after) ?? table.rows.length
  for (let place = from + step; place >= 0 && place < table.rows.length; place += step) {
    const row = table.rows[place]
    if (row === undefined || !matches(row)) continue
    if (data.length === limit) {
      more = true
      break
    }
    data.push(row)
  }
  return { object: 'list', url, has_more: more, data: backwards ? data.reverse() : data }
}

function cursor<Row>(table: Table<Row>, param: string, id: string | undefined): number | undefined {
  if (id === undefined) return undefined
  const place = table.place(id)
  if (place < 0) throw invalid(`No such object: '${id}'`, { code: 'resource_missing', param })
  return place
}

export function within(at: number, range: Range | undefined): boolean {
  if (range === undefined) return true
  const { gt, gte, lt, lte } = range as { gt?: number; gte?: number; lt?: number; lte?: number }
  return at > (gt ?? -Infinity) && at >= (gte ?? -Infinity) && at < (lt ?? Infinity) && at <= (lte ?? Infinity)
}
