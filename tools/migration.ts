/**
 * npm run migration:new -- <name>   writes the SQL that brings a migrated database to prisma/schema.prisma
 * npm run migration:check           fails when the migrations and the schema say different things
 *
 * Both apply the migrations to a throw-away PostgreSQL and let Prisma's schema engine compare. The engine is the WebAssembly
 * build from npm: the native one is a download.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PrismaPg } from '@prisma/adapter-pg'
import {
  bindMigrationAwareSqlAdapterFactory,
  type ColumnType,
  ColumnTypeEnum,
  type SqlMigrationAwareDriverAdapterFactory,
  type SqlQuery,
  type SqlResultSet,
} from '@prisma/driver-adapter-utils'
import { migrate } from '../src/platform/migrate.ts'
import { interruptible } from './interruptible.ts'
import { startThrowaway } from './throwaway-postgres.ts'

const root = join(import.meta.dirname, '..')
const migrations = join(root, 'prisma/migrations')

/** The part of lib.dom that loads the engine; the rest of lib.dom is no use on a server. */
declare const WebAssembly: {
  instantiate(
    bytes: Uint8Array,
    imports: Record<string, unknown>,
  ): Promise<{ instance: { exports: { __wbindgen_start(): void } & Record<string, unknown> } }>
}

interface SchemaFile {
  readonly path: string
  readonly content: string
}

interface SchemaEngine {
  diff(params: {
    from: { tag: 'schemaDatasource'; files: SchemaFile[]; configDir: string }
    to: { tag: 'schemaDatamodel'; files: SchemaFile[] }
    script: true
    exitCode: null
    filters: { externalTables: string[]; externalEnums: string[] }
  }): Promise<{ stdout: string | null }>
}

// A signal waits for the second that this takes: the server must not be left behind.
process.exitCode = await interruptible(() => main(process.argv.slice(2)))

async function main([command, name, ...rest]: string[]): Promise<number> {
  if (command === 'check' && name === undefined) return check()
  if (command === 'new' && name !== undefined && rest.length === 0) return create(name)
  console.error('Usage: npm run migration:new -- <name> | npm run migration:check')
  return 2
}

async function check(): Promise<number> {
  const difference = await differenceToSchema()
  if (difference === '') {
    console.log('The migrations and prisma/schema.prisma agree.')
    return 0
  }
  console.error(`The migrations do not lead to prisma/schema.prisma. What is missing:\n\n${difference}\n`)
  console.error('Run "npm run migration:new -- <name>", or correct the schema.')
  return 1
}

async function create(name: string): Promise<number> {
  if (!/^[a-z][a-z0-9_]{0,63}$/.test(name)) {
    console.error('The name of a migration is lower case letters, digits and underscores, such as add_price_tiers.')
    return 2
  }
  const difference = await differenceToSchema()
  const timestamp = new Date().toISOString().replace(/\D/g, '').slice(0, 14)
  const directory = join(migrations, `${timestamp}_${name}`)
  await mkdir(directory)
  const file = join(directory, 'migration.sql')
  await writeFile(
    file,
    difference === ''
      ? '-- The schema needs no change. Write here what it cannot say: checks, triggers, partial indexes.\n'
      : `${difference}\n`,
  )
  console.log(file)
  return 0
}

/** The SQL from what the migrations make to what the schema says; empty when that is the same. */
async function differenceToSchema(): Promise<string> {
  const files = [{ path: 'schema.prisma', content: await readFile(join(root, 'prisma/schema.prisma'), 'utf8') }]
  const server = await startThrowaway()
  try {
    await migrate(server.url, { dir: migrations, log: { info() {}, warn: console.error } })
    const engine = await loadEngine(files, server.url)
    const { stdout } = await engine.diff({
      from: { tag: 'schemaDatasource', files, configDir: '.' },
      to: { tag: 'schemaDatamodel', files },
      script: true,
      exitCode: null,
      filters: { externalTables: [], externalEnums: [] },
    })
    return (stdout ?? '').replace('-- This is an empty migration.', '').trim()
  } finally {
    await server.stop()
  }
}

async function loadEngine(files: SchemaFile[], url: string): Promise<SchemaEngine> {
  const id = '@prisma/schema-engine-wasm/schema_engine_bg'
  const glue = await import(id)
  // The package exports the glue but not the engine itself, which lies beside it.
  const bytes = await readFile(fileURLToPath(import.meta.resolve(id)).replace(/\.js$/, '.wasm'))
  const { instance } = await WebAssembly.instantiate(bytes, { './schema_engine_bg.js': glue })
  glue.__wbg_set_wasm(instance.exports)
  instance.exports.__wbindgen_start()
  const datamodels = files.map(({ path, content }) => [path, content])
  return glue.SchemaEngine.new({ datamodels }, () => {}, bindMigrationAwareSqlAdapterFactory(readingCatalogs(new PrismaPg(url))))
}

/**
 * The engine reads PostgreSQL's catalogs, and adapter-pg 7.10 refuses their one-byte type "char" (oid 18): for the adapter we
 * pass such a column off as text, and for the engine as the character that it is.
 */
function readingCatalogs(factory: PrismaPg): SqlMigrationAwareDriverAdapterFactory {
  const CHAR = 18
  const TEXT = 25
  interface Internals {
    performIO(query: SqlQuery): Promise<{ fields: { dataTypeID: number }[] }>
    queryRaw(query: SqlQuery): Promise<SqlResultSet>
  }
  const connect = factory.connect.bind(factory)
  factory.connect = async () => {
    const adapter = await connect()
    const internals = adapter as unknown as Internals
    const characterColumns = new WeakMap<SqlQuery, number[]>()
    const performIO = internals.performIO.bind(adapter)
    internals.performIO = async (query) => {
      const result = await performIO(query)
      const columns = result.fields.flatMap(({ dataTypeID }, index) => (dataTypeID === CHAR ? [index] : []))
      characterColumns.set(query, columns)
      const fields = result.fields.map((field) => (field.dataTypeID === CHAR ? { ...field, dataTypeID: TEXT } : field))
      return { ...result, fields }
    }
    const queryRaw = internals.queryRaw.bind(adapter)
    internals.queryRaw = async (query) => {
      const result = await queryRaw(query)
      const columns = characterColumns.get(query) ?? []
      const columnTypes = result.columnTypes.map((type: ColumnType, index: number) =>
        columns.includes(index) ? ColumnTypeEnum.Character : type,
      )
      return { ...result, columnTypes }
    }
    return adapter
  }
  return factory
}
