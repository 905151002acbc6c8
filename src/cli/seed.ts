import type { Command as CliCommand } from 'commander'
import { createClient } from '../auth/create-client.ts'
import { issueKey } from '../auth/issue-key.ts'
import type { Client, KeyStore } from '../auth/key-store.ts'
import { createKeyStore } from '../auth/key-store-prisma.ts'
import type { Scope } from '../auth/principal.ts'
import { grantOperations } from '../grants/operations.ts'
import { toWireId } from '../kernel/ids.ts'
import type { Command } from '../ledger/command.ts'
import { type Operation, toCommand } from '../ledger/operation.ts'
import { createPrisma } from '../platform/prisma.ts'
import { examples, Failure, newCommand, type Ports, print } from './command.ts'
import { readDatabaseConfig, requireSchema, withDatabase } from './database.ts'
import { changeBecause } from './keys.ts'

const CLIENT = 'demo'
const SCOPES: readonly Scope[] = [
  ...(['wallets:read', 'wallets:write', 'usage:write', 'grants:write', 'refunds:write'] as const),
  ...(['payments:read', 'payments:write'] as const),
]
const WALLETS = 5
/** What each wallet gets: credits that burn first, and credits that were paid for. */
const GRANTS = [
  { kind: 'bonus', amount: '50', source: 'welcome' },
  { kind: 'purchase', amount: '1000', source: 'starter package', cost_basis: { amount: '10.00', currency: 'USD' } },
] as const

export function command(ports: Ports): CliCommand {
  return newCommand('seed', 'Add the first price list and the first packages where there are none. What is there already stays as it is.')
    .option('--demo', `also a client "${CLIENT}" with an API key, and ${WALLETS} wallets with credits`)
    .addHelpText(
      'after',
      `${examples('farebox seed', 'farebox seed --demo')}
Safe to run again: what was added before is not added twice.`,
    )
    .action(({ demo }: { demo?: true }) =>
      withDatabase(readDatabaseConfig(ports.env), { make: true }, async (database) => {
        await requireSchema(ports, database, true)
        const { prices, packages } = await ports.seedLists(database.url)
        let added = prices + packages
        if (prices > 0) print(`added  ${prices} prices: models, operations, markup, exchange rates and charge policy`)
        if (packages > 0) print(`added  ${packages} packages of credits`)
        if (demo) added += await seedDemo(ports, database.url)
        if (added === 0) print('Nothing was added: everything is there already.')
      }),
    )
}

async function seedDemo(ports: Ports, url: string): Promise<number> {
  const prisma = createPrisma(url)
  try {
    const store = createKeyStore(prisma)
    const found = await store.findClient({ name: CLIENT })
    const client = found ?? (await createClient(store, CLIENT, changeBecause('Demo data.')))
    if (!found) print(`added  client ${CLIENT} (${toWireId('client', client.id)})`)
    const added = (await seedWallets(ports, url, client)) + (await seedKey(store, client))
    return found ? added : added + 1
  } finally {
    await prisma.$disconnect()
  }
}

/** Grants go through the lane like all money, with keys of their own: a second run replays them. */
async function seedWallets(ports: Ports, url: string, client: Client): Promise<number> {
  const lane = await ports.openLane(url)
  try {
    let added = 0
    for (let n = 1; n <= WALLETS; n += 1) {
      const owner = { kind: 'user', id: `demo-${n}` }
      const opened = await lane.openWallet(client.id, owner, `Demo wallet ${n}`)
      const commands = GRANTS.map((grant) => grantCommand(client, `user:${owner.id}`, grant))
      const answers = await lane.submitAll(commands)
      const refused = answers.find((answer) => answer.status !== 201)
      if (refused) throw new Failure(`The grant of user:${owner.id} was refused: ${refused.body}`)
      const fresh = GRANTS.filter((_, index) => answers[index]?.replayed === false)
      if (opened) print(`added  wallet user:${owner.id}`)
      for (const { kind, amount } of fresh) print(`added  ${amount} credits to user:${owner.id} (${kind})`)
      added += (opened ? 1 : 0) + fresh.length
    }
    return added
  } finally {
    await lane.close()
  }
}

function grantCommand(client: Client, wallet: string, grant: (typeof GRANTS)[number]): Command {
  const operation = grantOperations.find(({ name }) => name === 'grant') as Operation
  const speaker = { clientId: client.id, everyClient: false, actor: 'system:seed', requestId: 'seed' }
  return toCommand(operation, { speaker, isAdmin: false }, `seed:${wallet}:${grant.kind}`, {}, { wallet, ...grant })
}

async function seedKey(store: KeyStore, client: Client): Promise<number> {
  if ((await store.listKeys(client.id, { limit: 1, afterId: null })).length > 0) return 0
  const asked = { clientId: client.id, name: 'demo key', scopes: SCOPES, expiresAt: null }
  const { key } = await issueKey(store, asked, changeBecause('Demo data.'))
  print(`added  an API key for ${SCOPES.join(' ')}, shown only now:`)
  print(key)
  return 1
}
