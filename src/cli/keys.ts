import { userInfo } from 'node:os'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { createClient, DEFAULT_CLIENT_NAME } from '../auth/create-client.ts'
import { issueKey } from '../auth/issue-key.ts'
import type { ApiKey, Change, Client, KeyStore } from '../auth/key-store.ts'
import { createKeyStore } from '../auth/key-store-prisma.ts'
import { isScope, SCOPES, type Scope } from '../auth/principal.ts'
import { PRINCIPAL_KEPT_MS } from '../auth/principal-cache.ts'
import { revokeKey } from '../auth/revoke-key.ts'
import { FareboxError } from '../kernel/errors.ts'
import { fromWireId, newId, toWireId } from '../kernel/ids.ts'
import { DAY_MS, toWireTime } from '../kernel/time.ts'
import { createPrisma } from '../platform/prisma.ts'
import { examples, Failure, integer, newCommand, note, type Ports, print } from './command.ts'
import { readDatabaseConfig, requireSchema, withDatabase } from './database.ts'

/** What a product backend needs that reserves and commits. */
const SCOPES_DEFAULT: readonly Scope[] = ['wallets:read', 'wallets:write', 'usage:write']
const PAGE = 200
const NAME_LENGTH_MAX = 100

export function command(ports: Ports): Command {
  const create = newCommand('create', 'Make an API key. It is printed this once, alone on standard output, and stored nowhere.')
    .requiredOption('--name <name>', 'where the key is used', parseName)
    .option('--client <name>', 'the client that the key belongs to', DEFAULT_CLIENT_NAME)
    .option('--new-client', 'add the client first where there is none of this name')
    .addOption(
      new Option('--scope <scope>', `repeatable: ${SCOPES.join(', ')} (default: ${SCOPES_DEFAULT.join(', ')})`).argParser(collectScope),
    )
    .option('--expires-in-days <days>', 'the key ends by itself then (default: never)', integer(1, 3_650))
    .addHelpText(
      'after',
      examples(
        'farebox keys create --name "production backend"',
        'farebox keys create --name operator --scope admin --expires-in-days 30',
        'farebox keys create --name shop --client shop --new-client --scope usage:write',
        'export FAREBOX_API_KEY=$(farebox keys create --name ci)',
      ),
    )
    .action((options: CreateOptions) => withStore(ports, true, (store) => createKey(store, options)))

  const list = newCommand('list', 'List the API keys of every client, newest first, revoked ones included.').action(() =>
    withStore(ports, false, listKeys),
  )

  const revoke = newCommand('revoke', 'Revoke an API key for good.')
    .argument('<id>', 'its id, key_…, as "farebox keys list" shows it', parseKeyId)
    .option('--reason <reason>', 'for the audit log', 'Not given')
    .addHelpText('after', examples('farebox keys revoke key_0192… --reason "left in a public repository"'))
    .action((id: string, { reason }: { reason: string }) => withStore(ports, false, (store) => endKey(store, id, reason)))

  return newCommand('keys', 'Create, list and revoke API keys.')
    .addCommand(create)
    .addCommand(list)
    .addCommand(revoke)
    .addHelpText('after', examples('farebox keys create --name backend', 'farebox keys list', 'farebox keys revoke key_…'))
}

interface CreateOptions {
  readonly name: string
  readonly client: string
  readonly newClient?: true
  readonly scope?: readonly Scope[]
  readonly expiresInDays?: number
}

async function createKey(store: KeyStore, options: CreateOptions): Promise<void> {
  const change = changeBecause('Made on the command line.')
  const client = await findClient(store, options, change)
  const scopes = options.scope ?? SCOPES_DEFAULT
  const expiresAt = options.expiresInDays === undefined ? null : change.at + options.expiresInDays * DAY_MS
  const { apiKey, key } = await issueKey(store, { clientId: client.id, name: options.name, scopes, expiresAt }, change)
  note(
    `Key ${toWireId('apiKey', apiKey.id)} of client ${client.name}: ${scopes.join(' ')}${expiresAt === null ? '' : `, until ${toWireTime(expiresAt)}`}.`,
  )
  note('It is shown only now:')
  print(key)
}

async function findClient(store: KeyStore, { client: name, newClient }: CreateOptions, change: Change): Promise<Client> {
  const found = await store.findClient({ name })
  if (found) return found
  // Every token that names no client belongs to this one, and production has no first start that makes it.
  if (name === DEFAULT_CLIENT_NAME) return store.findOrCreateClient({ id: newId(), name, createdAt: change.at })
  if (!newClient) throw new Failure(`There is no client named ${name}. Add --new-client to add it.`)
  if (!/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$/.test(name) || name.startsWith('cli_')) {
    throw new Failure('The name of a client is 1 to 100 letters, digits, spaces, dots, dashes or underscores, and not like a client id.')
  }
  return createClient(store, name, change)
}

async function listKeys(store: KeyStore): Promise<void> {
  const rows: string[][] = []
  const now = Date.now()
  for (const client of await all((afterId) => store.listClients({ limit: PAGE, afterId }))) {
    for (const key of await all((afterId) => store.listKeys(client.id, { limit: PAGE, afterId }))) {
      rows.push([toWireId('apiKey', key.id), stateOf(key, now), key.prefix, client.name, key.name, key.scopes.join(' ')])
    }
  }
  if (rows.length === 0) return note('There are no keys. Make one with: farebox keys create --name backend')
  const table = [['ID', 'STATE', 'PREFIX', 'CLIENT', 'NAME', 'SCOPES'], ...rows]
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? []
  for (const row of table)
    print(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}

function stateOf(key: ApiKey, now: number): string {
  if (key.revokedAt !== null) return `revoked ${toWireTime(key.revokedAt).slice(0, 10)}`
  if (key.expiresAt === null) return 'active'
  return `${key.expiresAt <= now ? 'expired' : 'until'} ${toWireTime(key.expiresAt).slice(0, 10)}`
}

async function endKey(store: KeyStore, id: string, reason: string): Promise<void> {
  try {
    const before = await store.findKey(id)
    const key = await revokeKey(store, id, changeBecause(reason))
    if (before?.revokedAt !== null && before !== null) return print(`${key.prefix} was revoked already.`)
    print(`${key.prefix} is revoked. Running processes stop taking it within ${PRINCIPAL_KEPT_MS / 1_000} seconds.`)
  } catch (error) {
    if (error instanceof FareboxError) throw new Failure(error.refusal.detail)
    throw error
  }
}

/** Everything of a listing, page by page. */
async function all<Item extends { readonly id: string }>(read: (afterId: string | null) => Promise<readonly Item[]>): Promise<Item[]> {
  const items: Item[] = []
  for (;;) {
    const page = await read(items.at(-1)?.id ?? null)
    items.push(...page)
    if (page.length < PAGE) return items
  }
}

/** Who made a change from the command line, for the audit log: the user of the machine is all that is known. */
export function changeBecause(reason: string): Change {
  return { speaker: { clientId: null, actor: `cli:${userName()}`, requestId: 'cli' }, reason, at: Date.now() }
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    // A container's user may have no name.
    return String(process.getuid?.() ?? 'unknown')
  }
}

async function withStore(ports: Ports, make: boolean, work: (store: KeyStore) => Promise<void>): Promise<void> {
  await withDatabase(readDatabaseConfig(ports.env), { make }, async (database) => {
    await requireSchema(ports, database, make)
    const { url } = database
    const prisma = createPrisma(url)
    try {
      await work(createKeyStore(prisma))
    } finally {
      await prisma.$disconnect()
    }
  })
}

function parseName(text: string): string {
  if (text.length < 1 || text.length > NAME_LENGTH_MAX || /\p{Cc}/u.test(text)) {
    throw new InvalidArgumentError(`must be 1 to ${NAME_LENGTH_MAX} characters without control characters`)
  }
  return text
}

function collectScope(text: string, before: readonly Scope[] = []): readonly Scope[] {
  if (!isScope(text)) throw new InvalidArgumentError(`must be one of ${SCOPES.join(', ')}`)
  return [...before, text]
}

function parseKeyId(text: string): string {
  const id = fromWireId('apiKey', text)
  if (id === null) throw new InvalidArgumentError('must be an id such as key_0192f3c4d5e67abc8def0123456789ab')
  return id
}
