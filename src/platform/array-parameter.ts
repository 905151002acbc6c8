/**
 * Array parameters in PostgreSQL's binary form. The server reads them with a copy where it would have to parse text, and no
 * string of the size of the batch is built, escaped and encoded on this side.
 */

/** The types of our columns, with their OIDs, which are the same on every PostgreSQL. */
const OIDS = { boolean: 16, bytea: 17, bigint: 20, smallint: 21, integer: 23, text: 25, json: 114, timestamptz: 1184, uuid: 2950 } as const

export type SqlType = keyof typeof OIDS

/** A timestamptz is given as milliseconds since 1970. */
export type SqlValue = string | bigint | number | boolean | Uint8Array | null

/** PostgreSQL counts time from 2000-01-01, in microseconds. */
const EPOCH_MS = 946_684_800_000
const TWO_TO_32 = 2 ** 32
/** More than any value of a fixed size needs, its length included. */
const FIXED_BYTES_MAX = 24
/** UTF-8 has at most three bytes for each UTF-16 code unit. */
const UTF8_BYTES_MAX = 3
const NULL_LENGTH = -1

const NO_DIGIT = 0xff
const HEX = new Uint8Array(0x1_0000).fill(NO_DIGIT)
for (const [value, digit] of [...'0123456789abcdef'].entries()) HEX[digit.charCodeAt(0)] = value

/** One buffer that grows to the largest parameter; each parameter is copied out of it. */
let buffer = Buffer.allocUnsafeSlow(256 * 1024)
let end = 0

/** A one-dimensional array of a column's values. @throws RangeError for a value that is not of the type */
export function arrayParameter<Row>(type: SqlType, rows: readonly Row[], value: (row: Row) => SqlValue): Buffer {
  end = 0
  writeInt(1)
  writeInt(1) // there may be nulls
  writeInt(OIDS[type])
  writeInt(rows.length)
  writeInt(1)
  const write = WRITERS[type] as (value: SqlValue) => void
  for (let i = 0; i < rows.length; i += 1) {
    ensure(FIXED_BYTES_MAX)
    const item = value(rows[i] as Row)
    if (item === null) writeInt(NULL_LENGTH)
    else write(item)
  }
  return Buffer.from(buffer.subarray(0, end))
}

const WRITERS: Record<SqlType, (value: never) => void> = {
  uuid: writeUuid,
  text: writeText,
  json: writeText,
  bytea: writeBytes,
  bigint(value: bigint) {
    writeInt(8)
    end = buffer.writeBigInt64BE(value, end)
  },
  timestamptz(value: number) {
    const micros = (value - EPOCH_MS) * 1_000
    if (!Number.isSafeInteger(micros)) throw new RangeError(`${value} is no time`)
    const high = Math.floor(micros / TWO_TO_32)
    writeInt(8)
    writeInt(high)
    writeInt(micros - high * TWO_TO_32)
  },
  integer(value: number) {
    writeInt(4)
    end = buffer.writeInt32BE(value, end)
  },
  smallint(value: number) {
    writeInt(2)
    end = buffer.writeInt16BE(value, end)
  },
  boolean(value: boolean) {
    writeInt(1)
    buffer[end++] = value ? 1 : 0
  },
}

function ensure(bytes: number): void {
  if (end + bytes <= buffer.length) return
  const larger = Buffer.allocUnsafeSlow(Math.max(buffer.length * 2, end + bytes))
  buffer.copy(larger, 0, 0, end)
  buffer = larger
}

function writeInt(value: number): void {
  buffer[end] = value >>> 24
  buffer[end + 1] = value >>> 16
  buffer[end + 2] = value >>> 8
  buffer[end + 3] = value
  end += 4
}

function writeUuid(value: string): void {
  if (value.length !== 36) throw new RangeError(`${value} is no UUID`)
  writeInt(16)
  let wrong = 0
  for (let i = 0; i < 36; i += 2) {
    if (i === 8 || i === 13 || i === 18 || i === 23) i += 1
    const high = HEX[value.charCodeAt(i)] as number
    const low = HEX[value.charCodeAt(i + 1)] as number
    wrong |= high | low
    buffer[end++] = (high << 4) | low
  }
  if (wrong > 0x0f) throw new RangeError(`${value} is no UUID`)
}

function writeText(value: string): void {
  ensure(4 + value.length * UTF8_BYTES_MAX)
  const length = buffer.write(value, end + 4, 'utf8')
  writeInt(length)
  end += length
}

function writeBytes(value: Uint8Array): void {
  ensure(4 + value.length)
  writeInt(value.length)
  buffer.set(value, end)
  end += value.length
}
