/**
 * npm test [-- files or tap options]
 *
 * Gives the tests a real PostgreSQL and a migrated template database, runs tap, and takes everything down again. The server is
 * a throw-away one, or the one that TEST_DATABASE_URL names (its user must be able to create databases); there the template
 * gets a name of its own and is dropped at the end.
 *
 * The tests see of our environment what the machine needs and nothing of the application's, so that a variable which happens
 * to be set cannot change a result. REDIS_URL is passed on as TEST_REDIS_URL.
 */
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { migrate } from '../src/platform/migrate.ts'
import { interruptible } from '../tools/interruptible.ts'
import { startThrowaway } from '../tools/throwaway-postgres.ts'

const root = join(import.meta.dirname, '..')
const tap = join(root, 'node_modules/tap/dist/esm/run.mjs')

/** How long interrupted tests may take to tidy up. */
const INTERRUPTED_MS_MAX = 10_000

/** What src/config.ts reads, and what the `pg` driver and libpq read by themselves. */
const APPLICATION_VARIABLE = new RegExp(
  `^(${[
    ...['NODE_ENV', 'HOST', 'PORT', 'LOG_LEVEL', 'DATA_DIR', 'DOCS', 'JOBS', 'ALLOWED_HOSTS', 'ALLOWED_ORIGINS', 'TRUSTED_PROXIES'],
    ...['(DATABASE|REDIS|JWT|JWKS|STRIPE|CHECKOUT|FAREBOX|TEST)_\\w+', 'PG\\w+'],
  ].join('|')})$`,
)

process.exitCode = await interruptible(async (signal) => {
  const built = buildTap()
  if (built !== 0) return built
  const server = await openServer()
  try {
    const template = `farebox_template_${process.pid}_${randomBytes(3).toString('hex')}`
    try {
      await createTemplate(server.url, template)
      return await runTap({ TEST_DATABASE_URL: server.url, TEST_TEMPLATE: template }, signal)
    } finally {
      await dropTemplate(server.url, template)
    }
  } finally {
    await server.stop()
  }
})

async function openServer(): Promise<{ url: string; stop(): Promise<void> }> {
  const given = process.env.TEST_DATABASE_URL
  if (given) return { url: given, async stop() {} }
  const server = await startThrowaway()
  return { url: server.adminUrl, stop: server.stop }
}

/** Nobody may connect to the template: a single connection would make every CREATE DATABASE from it fail. */
async function createTemplate(url: string, template: string): Promise<void> {
  await administer(url, `create database ${template}`)
  const address = new URL(url)
  address.pathname = `/${template}`
  await migrate(address.href, { dir: join(root, 'prisma/migrations'), log: { info() {}, warn: console.error } })
  await administer(url, `alter database ${template} allow_connections false`)
}

async function dropTemplate(url: string, template: string): Promise<void> {
  await administer(url, `drop database if exists ${template} with (force)`).catch((error) =>
    console.error(`${template} is left behind: ${error.message}`),
  )
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
 * the plugin out, and tap must be built once before it obeys.
 */
function buildTap(): number {
  const generated = join(root, 'node_modules/@tapjs/test/test-built/dist/esm/index.js')
  if (existsSync(generated) && !readFileSync(generated, 'utf8').includes('@tapjs/typescript')) return 0
  const { status } = spawnSync(process.execPath, [tap, 'build'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
  return status ?? 1
}

function runTap(variables: Record<string, string>, signal: AbortSignal): Promise<number> {
  const environment: NodeJS.ProcessEnv = { ...variables, TZ: 'UTC' }
  for (const [name, value] of Object.entries(process.env)) if (!APPLICATION_VARIABLE.test(name)) environment[name] ??= value
  if (process.env.REDIS_URL) environment.TEST_REDIS_URL = process.env.REDIS_URL
  const args = process.argv.slice(2)
  // Some of the tests cannot cover all of the source, and are no failure for it.
  if (args.some((argument) => !argument.startsWith('-'))) args.push('--allow-incomplete-coverage')
  // A group of its own, since tap itself waits for its tests when it gets a signal: it has to reach all of them.
  const grouped = process.platform !== 'win32'
  const child = spawn(process.execPath, [tap, ...args], { cwd: root, env: environment, stdio: 'inherit', detached: grouped })
  const end = (reason: NodeJS.Signals) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    if (grouped) process.kill(-child.pid, reason)
    else child.kill(reason)
  }
  const interrupt = () => {
    end('SIGINT')
    setTimeout(() => end('SIGKILL'), INTERRUPTED_MS_MAX).unref()
  }
  if (signal.aborted) interrupt()
  else signal.addEventListener('abort', interrupt)
  return new Promise((done, failed) => {
    child.once('error', failed)
    child.once('exit', (status) => done(status ?? 1))
  })
}
