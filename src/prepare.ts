import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DEFAULT_CLIENT_NAME } from './auth/create-client.ts'
import { issueKey } from './auth/issue-key.ts'
import { createKeyStore } from './auth/key-store-prisma.ts'
import { PACKAGE_SEED } from './billing/package.ts'
import { packageStore } from './billing/packages-prisma.ts'
import type { Config } from './config.ts'
import { installJobs } from './jobs/install.ts'
import type { Role } from './jobs/role.ts'
import { newId } from './kernel/ids.ts'
import { startEmbedded } from './platform/embedded.ts'
import type { Logger } from './platform/logger.ts'
import { migrate, migrationStatus } from './platform/migrate.ts'
import { createPrisma, type PrismaClient } from './platform/prisma.ts'
import { SEED, SEED_EFFECTIVE_FROM } from './pricing/seed.ts'
import { priceStore } from './pricing/store-prisma.ts'

/** Everything between the configuration and the first request: the database, its schema, first prices, secrets, the first key. */

export const MIGRATIONS_DIR = fileURLToPath(new URL('../prisma/migrations', import.meta.url))

const SECRET_MODE = 0o600
const ADMIN_KEY_FILE = 'admin-key'
const JWT_SECRET_FILE = 'jwt-secret'

export interface Prepared {
  /** With the secrets that development makes up. */
  readonly config: Config
  readonly databaseUrl: string
  /** Tells a person at the terminal what to do next. */
  greet(url: string, role: Role): void
  /** Stops the embedded database, where there is one. */
  stop(): Promise<void>
}

/** @throws one error with a clear message for whatever stands in the way */
export async function prepare(config: Config, logger: Logger): Promise<Prepared> {
  const database = await openDatabase(config, logger)
  try {
    await bringUpToDate(config, database.url, logger)
    const development = config.NODE_ENV !== 'production'
    const notes: string[] = []
    const complete = development ? withSecrets(config, notes) : config
    const key = await withPrisma(database.url, async (prisma) => {
      // Tokens that name no client are of this one.
      const client = await createKeyStore(prisma).findOrCreateClient({ id: newId(), name: DEFAULT_CLIENT_NAME, createdAt: Date.now() })
      if (!development) {
        await examineRole(prisma, logger)
        return null
      }
      await seedInto(prisma)
      return firstKey(config, prisma, client.id)
    })
    return {
      config: complete,
      databaseUrl: database.url,
      greet: (url, role) => (development ? greet(url, role, database.where, key, notes) : logger.info({ url, role }, 'listening')),
      stop: database.stop,
    }
  } catch (error) {
    await database.stop()
    throw error
  }
}

async function openDatabase(config: Config, logger: Logger): Promise<{ url: string; where: string; stop: () => Promise<void> }> {
  if (config.DATABASE_URL) return { url: config.DATABASE_URL, where: 'the PostgreSQL of DATABASE_URL', stop: async () => {} }
  const embedded = await startEmbedded({ dataDir: config.DATA_DIR, log: logger })
  return { url: embedded.url, where: `its own PostgreSQL ${embedded.version} in ${embedded.root}`, stop: embedded.stop }
}

/** Development migrates by itself. In production a person or a deployment step does, once, before the processes start. */
async function bringUpToDate(config: Config, url: string, logger: Logger): Promise<void> {
  if (config.NODE_ENV !== 'production') {
    await migrate(url, { dir: MIGRATIONS_DIR, log: logger })
    await installJobs(url)
    return
  }
  const { pending } = await migrationStatus(url, { dir: MIGRATIONS_DIR })
  if (pending.length > 0) throw new Error(`${pending.length} migrations are pending; run "farebox migrate" first`)
}

/** Makes up the secrets that are missing and keeps them, so that tokens outlive a restart. */
function withSecrets(config: Config, notes: string[]): Config {
  if (config.JWT_SECRET || config.JWKS_URL) return config
  const file = join(config.DATA_DIR, JWT_SECRET_FILE)
  if (!existsSync(file)) writeSecret(config, JWT_SECRET_FILE, randomBytes(48).toString('base64url'))
  notes.push(`JWT_SECRET is not set: tokens are signed with the generated one in ${shown(file)}`)
  return Object.freeze({ ...config, JWT_SECRET: readFileSync(file, 'utf8').trim() })
}

function writeSecret(config: Config, name: string, secret: string): string {
  mkdirSync(config.DATA_DIR, { recursive: true })
  const file = join(config.DATA_DIR, name)
  // A file that is there already would keep its mode.
  rmSync(file, { force: true })
  writeFileSync(file, `${secret}\n`, { mode: SECRET_MODE })
  return file
}

/**
 * Triggers and rights hold nobody back who is a superuser, and an owner can take the triggers away.
 * @throws for a superuser
 */
async function examineRole(prisma: PrismaClient, logger: Logger): Promise<void> {
  const [role] = await prisma.$queryRaw<{ name: string; isSuperuser: boolean; mayChangeLedger: boolean }[]>`
    select rolname::text as name, rolsuper as "isSuperuser", has_table_privilege('transactions', 'update, delete, truncate') as "mayChangeLedger"
    from pg_roles where rolname = current_user`
  if (role?.isSuperuser) {
    throw new Error(`the database role "${role.name}" is a superuser; give DATABASE_URL one that is not ("farebox doctor" says which)`)
  }
  if (role?.mayChangeLedger)
    logger.warn({ role: role.name }, 'the database role may change the ledger: give it to another role by MIGRATION_DATABASE_URL')
}

async function withPrisma<T>(url: string, work: (prisma: PrismaClient) => Promise<T>): Promise<T> {
  const prisma = createPrisma(url)
  try {
    return await work(prisma)
  } finally {
    await prisma.$disconnect()
  }
}

/** How many versions were added. */
export interface Seeded {
  readonly prices: number
  readonly packages: number
}

/** Adds what the first lists of prices and of packages name and the database does not know. */
export function seedLists(url: string): Promise<Seeded> {
  return withPrisma(url, seedInto)
}

async function seedInto(prisma: PrismaClient): Promise<Seeded> {
  return {
    prices: await priceStore(prisma).seed(SEED, SEED_EFFECTIVE_FROM),
    packages: await packageStore(prisma).seed(PACKAGE_SEED, SEED_EFFECTIVE_FROM),
  }
}

interface FirstKey {
  readonly file: string
  /** The key itself, the first time only. */
  readonly secret: string | null
}

/** Issues an admin key when the database has no keys at all, and keeps it in a file that only its owner can read. */
async function firstKey(config: Config, prisma: PrismaClient, clientId: string): Promise<FirstKey | null> {
  const file = join(config.DATA_DIR, ADMIN_KEY_FILE)
  if ((await prisma.apiKey.count()) > 0) return existsSync(file) ? { file, secret: null } : null
  const { key } = await issueKey(
    createKeyStore(prisma),
    { clientId, name: 'first admin key', scopes: ['admin'], expiresAt: null },
    { speaker: { clientId: null, actor: 'system:start', requestId: 'start' }, reason: 'First start on an empty database.', at: Date.now() },
  )
  writeSecret(config, ADMIN_KEY_FILE, key)
  return { file, secret: key }
}

function shown(file: string): string {
  const path = relative('.', file)
  return path.startsWith('..') ? file : path
}

/* The greeting goes to the terminal as it stands: it is for a person, once. */
function greet(url: string, role: Role, where: string, key: FirstKey | null, notes: readonly string[]): void {
  const lines = ['', `Farebox is ready at ${url} on ${where}.`]
  if (role === 'worker') {
    console.log([...lines, 'It runs the background jobs, and answers /healthz and /readyz only.', ''].join('\n'))
    return
  }
  if (key?.secret) lines.push('', `  Admin key, shown only now and kept in ${shown(key.file)}:`, `  ${key.secret}`)
  else if (key) lines.push(`  Admin key: ${shown(key.file)}`)
  for (const note of notes) lines.push(`  ${note}`)
  if (key) {
    lines.push(
      '',
      'Next, open a wallet:',
      '',
      `  curl -s ${url}/v1/wallets -H "Authorization: Bearer $(cat ${shown(key.file)})" \\`,
      `    -H 'Content-Type: application/json' -d '{"owner":"user:alice"}'`,
    )
  }
  lines.push(
    '',
    `The README goes on from there; every route is described at ${url}/docs.`,
    `A wallet that moves before your eyes: ${url}/demo`,
    '',
  )
  console.log(lines.join('\n'))
}
