import { join } from 'node:path'
import type { Test } from 'tap'
import { createClient } from '../../src/auth/create-client.ts'
import { issueKey } from '../../src/auth/issue-key.ts'
import { createKeyStore } from '../../src/auth/key-store-prisma.ts'
import { createPrisma } from '../../src/platform/prisma.ts'
import { seedLists } from '../../src/prepare.ts'
import { temporary } from '../helpers/cli.ts'
import { type Random, randomFrom } from '../helpers/random.ts'
import { BACKEND_SCOPES, callerAt, JWT_SECRET } from '../helpers/service.ts'
import { type Comparison, compare } from './book.ts'
import { Journal, readJournal } from './journal.ts'
import { type Load, openWallets, startLoad } from './load.ts'
import { type Settled, settle } from './settle.ts'

/** What every fault is played on: a database with prices and a client, a load on it, and the reckoning at the end. */

export interface Setting {
  /** The database. */
  readonly url: string
  readonly key: string
  readonly seed: number
  readonly random: Random
  /** The environment of a service on it. */
  readonly env: Readonly<Record<string, string>>
  /** Opens wallets and starts the clients. */
  load(bases: readonly string[], clients?: number): Promise<Load>
  /** Holds the journal as it is against the book, and asserts nothing. @param edit what is done to the book first, and undone after */
  compare(edit?: string): Promise<Comparison>
  /** Stops the clients, and holds their journal against the book. */
  settle(t: Test, bases: readonly string[], replays?: number): Promise<Settled>
}

const WALLETS = 51

/** @param url a migrated database that nobody else uses */
export async function createSetting(t: Test, url: string, seed: number): Promise<Setting> {
  await seedLists(url)
  const key = await newKey(url)
  const random = randomFrom(seed)
  const directory = temporary(t)
  const run = `f${seed}`
  const file = join(directory, 'journal')
  let [load, journal]: [Load | null, Journal | null] = [null, null]
  t.teardown(async () => {
    await load?.stop()
    journal?.close()
  })
  return {
    ...{ url, key, seed, random },
    env: {
      ...{ DATABASE_URL: url, JWT_SECRET, DATA_DIR: directory, DOCS: 'false', LOG_LEVEL: 'error' },
      // A start is work for a second or three, most of it the compiler's.
      NODE_COMPILE_CACHE: join(directory, 'compiled'),
    },
    async load(bases, clients) {
      const caller = callerAt(bases[0] as string, () => key)
      const wallets = await openWallets(caller.made, WALLETS, run)
      journal = new Journal(file)
      load = startLoad({ bases, key, journal, wallets, random, run, ...(clients && { clients }) })
      return load
    },
    compare: (edit) => compare(url, run, readJournal(file), edit),
    async settle(t, bases, replays) {
      await load?.stop()
      return settle(t, { url, bases, key, file, run, random, ...(replays && { replays }) })
    },
  }
}

/** A key of a client of its own, with every scope but `admin`. */
async function newKey(url: string): Promise<string> {
  const prisma = createPrisma(url)
  try {
    const store = createKeyStore(prisma)
    const change = { speaker: { clientId: null, actor: 'system:test', requestId: 'test' }, reason: 'test', at: Date.now() }
    const { id: clientId } = await createClient(store, 'load', change)
    return (await issueKey(store, { clientId, name: 'load', scopes: BACKEND_SCOPES, expiresAt: null }, change)).key
  } finally {
    await prisma.$disconnect()
  }
}
