import { hash } from 'node:crypto'
import { z } from 'zod'
import { fail } from '../kernel/errors.ts'

/**
 * Cursor pagination. A cursor is opaque: the position of the last row sent, and a checksum over it, the listing's name and
 * everything that the listing depends on. A cursor of another wallet or another filter is refused instead of skipping rows.
 * The checksum is no secret: a cursor gives no access, it only says where to go on, and its position is checked by pattern.
 */

export const PAGE_LIMIT_MAX = 200
export const PAGE_LIMIT_DEFAULT = 50
/** A position may be the name of a model, of up to 200 characters. */
const CURSOR_LENGTH_MAX = 400
const CHECKSUM_LENGTH = 12

/** A UUID or a sequence number: what rows are ordered by. */
const POSITION = /^(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9]{1,18})$/

/** A listing as one caller sees it. */
export interface Listing<Row> {
  /** `wallets`, `transactions`, … */
  readonly name: string
  /** Whose rows these are and the filters in force. Undefined ones do not count. */
  readonly scope: Readonly<Record<string, string | number | boolean | null | undefined>>
  /** What the listing is ordered by, unique in it. */
  position(row: Row): string
  /** The form of a position, where a UUID and a number would not both do. */
  readonly pattern?: RegExp
  /** Rows in order, those behind the position only. */
  read(before: string | null, limit: number): Promise<readonly Row[]>
}

/** The query of every listing; `extend` it with filters. */
export const pageQuery = z.strictObject({
  limit: z
    .string()
    .refine(
      (text) => /^[1-9][0-9]{0,2}$/.test(text) && Number(text) <= PAGE_LIMIT_MAX,
      `must be a whole number from 1 to ${PAGE_LIMIT_MAX}`,
    )
    .transform(Number)
    .optional()
    .meta({ type: 'integer', minimum: 1, maximum: PAGE_LIMIT_MAX, description: `Rows in one page; ${PAGE_LIMIT_DEFAULT} when absent` }),
  cursor: z.string().optional().meta({ description: '`next_cursor` of the page before; it belongs to this listing with these filters' }),
})

/**
 * One page of a listing in wire form.
 * @throws FareboxError `cursor_invalid` where the cursor is altered or belongs to another listing
 */
export async function paginate<Row, Wire>(
  listing: Listing<Row>,
  query: { readonly limit?: number | undefined; readonly cursor?: string | undefined },
  toWire: (row: Row) => Wire,
): Promise<{ data: Wire[]; next_cursor: string | null }> {
  const limit = query.limit ?? PAGE_LIMIT_DEFAULT
  const before = query.cursor === undefined ? null : decodeCursor(listing, query.cursor)
  // One more than asked for tells whether there is a next page.
  const rows = await listing.read(before, limit + 1)
  const kept = rows.slice(0, limit)
  const last = kept.at(-1)
  const more = rows.length > limit && last !== undefined
  return { data: kept.map(toWire), next_cursor: more ? encodeCursor(listing, listing.position(last)) : null }
}

type Bound = Pick<Listing<never>, 'name' | 'scope' | 'pattern'>

/** The cursor behind a row at this position. */
export function encodeCursor(listing: Bound, position: string): string {
  return Buffer.from(JSON.stringify([position, checksum(listing, position)])).toString('base64url')
}

/** The position that a cursor of this listing holds. @throws FareboxError `cursor_invalid` */
export function decodeCursor(listing: Bound, cursor: string): string {
  const [position, sum, ...rest] = cursor.length > CURSOR_LENGTH_MAX ? [] : partsOf(cursor)
  const intact =
    typeof position === 'string' &&
    (listing.pattern ?? POSITION).test(position) &&
    rest.length === 0 &&
    sum === checksum(listing, position) &&
    // Base64url has several spellings of the same bytes; only the one that was given out counts.
    encodeCursor(listing, position) === cursor
  if (!intact) throw fail('cursor_invalid', 'This cursor was not given out for this listing with these filters. Start without one.')
  return position
}

function checksum(listing: Bound, position: string): string {
  const scope = Object.entries(listing.scope).filter(([, value]) => value !== undefined)
  const bound = JSON.stringify([listing.name, scope.toSorted(([a], [b]) => (a < b ? -1 : 1)), position])
  return hash('sha256', bound, 'base64url').slice(0, CHECKSUM_LENGTH)
}

function partsOf(cursor: string): readonly unknown[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    return Array.isArray(parts) ? parts : []
  } catch {
    return []
  }
}
