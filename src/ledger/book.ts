import { assert } from '../kernel/errors.ts'
import { derivedId } from '../kernel/ids.ts'
import type { Instant } from '../kernel/time.ts'
import type { Cause, WalletChange } from './changes.ts'
import type { Transaction } from './transaction.ts'
import { available, type Wallet } from './wallet.ts'

/** Of the event that a wallet needs a top-up. */
export const TOP_UP_TOPIC = 'top_up'

/** A row that belongs to a wallet and is guarded by the wallet's lock. */
export interface WalletRow {
  readonly walletId: string
  readonly id: string
}

/** Names a room's rows in the book. Rooms create one each; the book knows tables in general and none in particular. */
export class Table<Row extends WalletRow> {
  readonly name: string
  declare readonly row: Row

  constructor(name: string) {
    this.name = name
  }
}

type AnyTable = Table<WalletRow>

/** An admin command's trace: who did what to what, and why. Written in the same database transaction as its effect. */
export interface AuditEntry {
  readonly action: string
  readonly targetKind: string
  readonly targetId: string
  readonly reason: string
  readonly before: object | null
  readonly after: object | null
}

/** Something that somebody has to act on, written with what caused it. */
export interface OutboxEvent {
  readonly topic: string
  readonly walletId: string
  readonly payload: object
  /** Not to be acted on before; at once when absent. */
  readonly notBefore?: Instant
}

export interface WrittenAuditEntry extends AuditEntry {
  readonly id: string
  readonly clientId: string | null
  readonly actor: string
  readonly requestId: string
  readonly createdAt: Instant
}

/** Who speaks in a command. */
export interface Speaker {
  /** The client whose idempotency keys and wallets these are; null for jobs. */
  readonly clientId: string | null
  /** May reach the wallets of every client. */
  readonly everyClient: boolean
  /** For the ledger: `key:fbx_ab12cd34`, `admin:…`, `system:time`. */
  readonly actor: string
  readonly requestId: string
}

type Rows = Map<string, Map<string, WalletRow>>

/**
 * The state of one lane batch: the rows that were loaded under the locks, and what the commands decided so far made of them.
 * Rows are immutable; a change is a new row in the place of the old.
 */
export class Book {
  readonly #loadedWallets = new Map<string, Wallet>()
  readonly #wallets = new Map<string, Wallet>()
  /** Of each wallet that was changed, what changed it last. */
  readonly #causes = new Map<string, Cause>()
  readonly #tables = new Map<AnyTable, Rows>()
  readonly #loaded = new Map<AnyTable, Set<string>>()
  readonly #changed = new Map<AnyTable, Map<string, WalletRow>>()
  readonly transactions: Transaction[] = []
  readonly audit: WrittenAuditEntry[] = []
  readonly #events: OutboxEvent[] = []
  /** Wallets that some command of the batch took below where they are topped up. */
  readonly #fallen = new Set<string>()

  loadWallet(wallet: Wallet): void {
    this.#loadedWallets.set(wallet.id, wallet)
    this.#wallets.set(wallet.id, wallet)
  }

  load<Row extends WalletRow>(table: Table<Row>, rows: Iterable<Row>): void {
    const loaded = getOrAdd(this.#loaded, table, () => new Set<string>())
    for (const row of rows) {
      loaded.add(row.id)
      this.#place(table, row)
    }
  }

  wallet(id: string): Wallet | undefined {
    return this.#wallets.get(id)
  }

  get<Row extends WalletRow>(table: Table<Row>, walletId: string, id: string): Row | undefined {
    return this.#tables.get(table)?.get(walletId)?.get(id) as Row | undefined
  }

  /** The loaded rows of one wallet, in no particular order. */
  list<Row extends WalletRow>(table: Table<Row>, walletId: string): Iterable<Row> {
    return (this.#tables.get(table)?.get(walletId)?.values() ?? []) as Iterable<Row>
  }

  /** Takes over everything an accepted command decided. @param name the command's, @param effectId of what it made, @param walletId whose it was */
  apply(draft: Draft, name: string, effectId: string, walletId: string): void {
    for (const wallet of draft.wallets()) {
      if (wallet.topUpThreshold !== null && falls(this.#wallets.get(wallet.id), wallet, wallet.topUpThreshold)) this.#fallen.add(wallet.id)
      this.#wallets.set(wallet.id, wallet)
      this.#causes.set(wallet.id, { type: wallet.id === walletId ? name : 'earning', id: effectId })
    }
    for (const [table, rows] of draft.rows()) {
      const changed = getOrAdd(this.#changed, table, () => new Map<string, WalletRow>())
      for (const row of rows.values()) {
        changed.set(row.id, row)
        this.#place(table, row)
      }
    }
    this.transactions.push(...draft.transactions)
    this.audit.push(...draft.audit)
    this.#events.push(...draft.events)
  }

  changedWallets(): Wallet[] {
    return [...this.#causes.keys()].map((id) => this.#wallets.get(id) as Wallet)
  }

  /** The changed wallets with what changed each last, for those who want to know. */
  walletChanges(): WalletChange[] {
    return Array.from(this.#causes, ([id, cause]) => ({ wallet: this.#wallets.get(id) as Wallet, cause }))
  }

  /**
   * What commands told, and the wallets that one of them took below where they are topped up, or unfroze there, and that are there still.
   * Each command is looked at by itself: a wallet that was paid above and spent below again in one batch is not where it was.
   */
  events(): OutboxEvent[] {
    const low = [...this.#fallen].filter((id) => isLow(this.#wallets.get(id) as Wallet))
    return [...this.#events, ...low.map((walletId) => ({ topic: TOP_UP_TOPIC, walletId, payload: {} }))]
  }

  /** Whether the batch changed what an operator sets of this wallet. */
  isConfigured(wallet: Wallet): boolean {
    const loaded = this.#loadedWallets.get(wallet.id)
    return (
      loaded?.status !== wallet.status ||
      loaded.overdraftLimit !== wallet.overdraftLimit ||
      loaded.lowBalanceThreshold !== wallet.lowBalanceThreshold ||
      loaded.topUpThreshold !== wallet.topUpThreshold ||
      loaded.label !== wallet.label ||
      loaded.timeZone !== wallet.timeZone
    )
  }

  /** What the batch made of a table: rows that the database has in an older form, and rows it has not. */
  changes<Row extends WalletRow>(table: Table<Row>): { inserted: Row[]; updated: Row[] } {
    const loaded = this.#loaded.get(table)
    const inserted: Row[] = []
    const updated: Row[] = []
    for (const row of this.#changed.get(table)?.values() ?? []) {
      if (loaded?.has(row.id)) updated.push(row as Row)
      else inserted.push(row as Row)
    }
    return { inserted, updated }
  }

  #place(table: AnyTable, row: WalletRow): void {
    const rows = getOrAdd(this.#tables, table, () => new Map() as Rows)
    getOrAdd(rows, row.walletId, () => new Map<string, WalletRow>()).set(row.id, row)
  }
}

/**
 * One command's view of the book: reads fall through to the book, changes stay here until the command is accepted. A refused
 * command's draft is dropped, so a decision can never leave a partial effect.
 */
export class Draft {
  readonly #book: Book
  readonly #wallets = new Map<string, Wallet>()
  readonly #rows = new Map<AnyTable, Map<string, WalletRow>>()
  #idsTaken = 0
  /** The id of what the command creates: a reservation, a charge, a grant, the ledger row of a refund. */
  readonly commandId: string
  readonly transactions: Transaction[] = []
  readonly audit: WrittenAuditEntry[] = []
  readonly events: OutboxEvent[] = []
  /** The database's time, read once per batch under its locks. */
  readonly now: Instant
  readonly speaker: Speaker

  constructor(book: Book, command: { readonly id: string; readonly speaker: Speaker }, now: Instant) {
    this.#book = book
    this.commandId = command.id
    this.speaker = command.speaker
    this.now = now
  }

  /** An id for a further row that the command creates. */
  nextId(): string {
    this.#idsTaken += 1
    return derivedId(this.commandId, this.#idsTaken)
  }

  /** A wallet the command named, or undefined where there is none that its speaker may reach: not yours is not there. */
  findWallet(id: string | undefined): Wallet | undefined {
    const wallet = id === undefined ? undefined : (this.#wallets.get(id) ?? this.#book.wallet(id))
    if (!wallet) return undefined
    return this.speaker.everyClient || wallet.clientId === this.speaker.clientId ? wallet : undefined
  }

  /** A wallet that is known to be in the book. */
  wallet(id: string): Wallet {
    const wallet = this.#wallets.get(id) ?? this.#book.wallet(id)
    assert(wallet !== undefined, `wallet ${id} is not in the batch`)
    return wallet
  }

  /** Replaces a wallet; its first change in a command raises its version by one. */
  putWallet(wallet: Wallet): void {
    const first = !this.#wallets.has(wallet.id)
    this.#wallets.set(wallet.id, { ...wallet, version: first ? wallet.version + 1n : wallet.version, updatedAt: this.now })
  }

  get<Row extends WalletRow>(table: Table<Row>, walletId: string, id: string): Row | undefined {
    return (this.#rows.get(table)?.get(id) as Row | undefined) ?? this.#book.get(table, walletId, id)
  }

  /** The loaded rows of one wallet in the order of their ids: what a decision does may not depend on how they were read. */
  list<Row extends WalletRow>(table: Table<Row>, walletId: string): Row[] {
    const own = this.#rows.get(table)
    const rows: Row[] = []
    for (const row of this.#book.list(table, walletId)) rows.push((own?.get(row.id) as Row | undefined) ?? row)
    if (own) {
      for (const row of own.values()) {
        if (row.walletId === walletId && !this.#book.get(table, walletId, row.id)) rows.push(row as Row)
      }
    }
    if (rows.length > 1) rows.sort(byId)
    return rows
  }

  put<Row extends WalletRow>(table: Table<Row>, row: Row): void {
    getOrAdd(this.#rows, table, () => new Map<string, WalletRow>()).set(row.id, row)
  }

  append(transaction: Transaction): void {
    this.transactions.push(transaction)
  }

  record(entry: AuditEntry): void {
    const { clientId, actor, requestId } = this.speaker
    this.audit.push({ ...entry, id: this.nextId(), clientId, actor, requestId, createdAt: this.now })
  }

  /** Tells whoever acts on it, once the command is committed. */
  tell(event: OutboxEvent): void {
    this.events.push(event)
  }

  wallets(): Iterable<Wallet> {
    return this.#wallets.values()
  }

  rows(): Iterable<[AnyTable, Map<string, WalletRow>]> {
    return this.#rows
  }
}

/** Whether a change takes an armed wallet below its threshold, or unfreezes it there. */
function falls(before: Wallet | undefined, after: Wallet, threshold: bigint): boolean {
  if (before === undefined || available(after) >= threshold) return false
  return available(before) >= threshold || (before.status === 'frozen' && after.status === 'active')
}

function isLow(wallet: Wallet): boolean {
  return wallet.topUpThreshold !== null && available(wallet) < wallet.topUpThreshold
}

function byId(a: WalletRow, b: WalletRow): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0
}

function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const existing = map.get(key)
  if (existing !== undefined) return existing
  const added = make()
  map.set(key, added)
  return added
}
