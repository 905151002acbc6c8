import { arrayParameter, type SqlType, type SqlValue } from './array-parameter.ts'

/** Set-based SQL: many rows in one statement, each column one array. Free of any driver; `platform/connection-pg.ts` runs it. */

/** A prepared statement's name, its text and the parameters of one execution. */
export interface Statement {
  readonly name: string
  readonly text: string
  /** Buffers are sent in PostgreSQL's binary form, texts in its text form. */
  readonly values: readonly (string | Buffer | null)[]
}

/** A column: its name, its PostgreSQL type, and where its value comes from in a row. */
export type Column<Row> = readonly [name: string, type: SqlType, value: (row: Row) => SqlValue]

function columnValues<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Buffer[] {
  return columns.map(([, type, value]) => arrayParameter(type, rows, value))
}

/** An array of ids as a parameter. */
export function uuids(values: readonly string[]): Buffer {
  return arrayParameter('uuid', values, (id) => id)
}

/** An array of texts as a parameter. */
export function texts(values: readonly string[]): Buffer {
  return arrayParameter('text', values, (text) => text)
}

function unnest<Row>(columns: readonly Column<Row>[]): string {
  return `unnest(${columns.map(([, type], index) => `$${index + 1}::${type}[]`).join(', ')})`
}

/** `insert into … select … from unnest(…)` for a table's rows. */
export function insertStatement<Row>(table: string, columns: readonly Column<Row>[]): (rows: readonly Row[]) => Statement {
  const names = columns.map(([name]) => name).join(', ')
  const text = `insert into ${table} (${names}) select * from ${unnest(columns)}`
  return (rows) => ({ name: `${table}_insert`, text, values: columnValues(columns, rows) })
}

/** `update … from unnest(…)`, the first `keys` columns telling which row. */
export function updateStatement<Row>(
  table: string,
  keys: number,
  columns: readonly Column<Row>[],
  name = `${table}_update`,
): (rows: readonly Row[]) => Statement {
  const names = columns.map(([name]) => name)
  const set = names.slice(keys).map((name) => `${name} = v.${name}`)
  const where = names.slice(0, keys).map((name) => `t.${name} = v.${name}`)
  const text = `update ${table} t set ${set.join(', ')} from ${unnest(columns)} as v(${names.join(', ')}) where ${where.join(' and ')}`
  return (rows) => ({ name, text, values: columnValues(columns, rows) })
}
