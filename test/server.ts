/**
 * What tests need of a machine: a PostgreSQL with a migrated template database, an environment without anything of the
 * application's, and a tap that has been built.
 */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { grantRights } from '../src/cli/grant-pg.ts'
import { installJobs } from '../src/jobs/install.ts'
import { migrate } from '../src/platform/migrate.ts'
import { startThrowaway } from '../tools/throwaway-postgres.ts'

export const ROOT = join(import.meta.dirname, '..')
export const TAP = join(ROOT, 'node_modules/tap/dist/esm/run.mjs')

/** What src/config.ts reads, and what the `pg` driver and libpq read by themselves. */
const APPLICATION_VARIABLE = new RegExp(
  `^(${[
    ...['NODE_ENV', 'HOST', 'PORT', 'LOG_LEVEL', 'DATA_DIR', 'DOCS', 'ALLOWED_HOSTS', 'ALLOWED_ORIGINS', 'TRUSTED_PROXIES'],
    ...['(DATABASE|MIGRATION_DATABASE|REDIS|RATE_LIMIT|METRICS|OTEL|JWT|JWKS|STRIPE|CHECKOUT|FAREBOX|TEST)_\\w+', 'PG\\w+'],
  ].join('|')})$`,
)

/** Our environment as tests see it. REDIS_URL is passed on as TEST_REDIS_URL. @param variables what they are told beside it */
export function testEnvironment(variables: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = { ...variables, TZ: 'UTC' }
  for (const [name, value] of Object.entries(process.env)) if (!APPLICATION_VARIABLE.test(name)) environment[name] ??= value
  if (process.env.REDIS_URL) environment.TEST_REDIS_URL = process.env.REDIS_URL
  return environment
}

/**
 * Runs `work` with a throw-away server, or with the one that TEST_DATABASE_URL names (its user must be able to create databases
 * and roles); there the template and the role of the service get names of their own and are dropped at the end.
 * @param work is given the variables by which tests find the server
 */
export async function withTestServer<T>(
  work: (variables: {
    readonly TEST_DATABASE_URL: string
    readonly TEST_TEMPLATE: string
    readonly TEST_SERVICE_ROLE: string
  }) => Promise<T>,
): Promise<T> {
  const server = await openServer()
  try {
    const template = `farebox_template_${process.pid}_${randomBytes(3).toString('hex')}`
    try {
      await createTemplate(server.url, template)
      return await work({ TEST_DATABASE_URL: server.url, TEST_TEMPLATE: template, TEST_SERVICE_ROLE: serviceRole(template) })
    } finally {
      await dropTemplate(server.url, template)
    }
  } finally {
    await server.stop()
  }
}

async function openServer(): Promise<{ url: string; stop(): Promise<void> }> {
  const given = process.env.TEST_DATABASE_URL
  if (given) return { url: given, async stop() {} }
  const server = await startThrowaway()
  return { url: server.adminUrl, stop: server.stop }
}

/** The role as which the tests run the service: one without a right too many. Its password is its name. */
function serviceRole(template: string): string {
  return `${template}_service`
}

/** Nobody may connect to the template: a single connection would make every CREATE DATABASE from it fail. */
async function createTemplate(url: string, template: string): Promise<void> {
  const role = serviceRole(template)
  await administer(url, `create role ${role} login password '${role}'`)
  await administer(url, `create database ${template}`)
  const address = new URL(url)
  address.pathname = `/${template}`
  await migrate(address.href, { dir: join(ROOT, 'prisma/migrations'), log: { info() {}, warn: console.error } })
  await installJobs(address.href)
  await grantRights(address.href, role)
  await administer(url, `alter database ${template} allow_connections false`)
}

async function dropTemplate(url: string, template: string): Promise<void> {
  const left = (error: Error) => console.error(`${template} is left behind: ${error.message}`)
  await administer(url, `drop database if exists ${template} with (force)`).catch(left)
  // Databases of failed tests are kept, and with them the rights of the role.
  await administer(url, `drop role if exists ${serviceRole(template)}`).catch(left)
}

async function administer(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

/**
 * Straight after an install tap still compiles with its TypeScript plugin, which cannot work with TypeScript 7. .taprc takes
 * the plugin out, and tap must be built once before it obeys. @returns its exit status
 */
export function buildTap(): number {
  const generated = join(ROOT, 'node_modules/@tapjs/test/test-built/dist/esm/index.js')
  if (existsSync(generated) && !readFileSync(generated, 'utf8').includes('@tapjs/typescript')) return 0
  const { status } = spawnSync(process.execPath, [TAP, 'build'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] })
  return status ?? 1
}
