import { type Connection, connect } from '../platform/connection-pg.ts'
import { type Column, insertStatement, type Statement, texts, updateStatement, uuids } from '../platform/sql.ts'
import { ConnectionLost, classify, sqlstateOf } from '../platform/sqlstate.ts'
import { Book, type OutboxEvent, type Table, type WalletRow, type WrittenAuditEntry } from './book.ts'
import type { WalletChange } from './changes.ts'
import type { Answer, Command, Located } from './command.ts'
import { decideBatch, type IdempotencyRecord, type RenderRefusal, recordKey } from './decide-batch.ts'
import type { Places } from './places.ts'
import { type BatchStore, type RowStore, WalletsLocked } from './store.ts'
import type { Transaction } from './transaction.ts'
import type { Wallet, WalletStatus } from './wallet.ts'

/**
 * A batch on PostgreSQL: locate, then in one transaction lock, load, decide, write and commit. Statements that do not depend on
 * each other's rows are sent together, so a batch costs three round trips however many statements it has.
 */
export function createBatchStore(options: {
  readonly url: string
  readonly name: string
  readonly stores: readonly RowStore[]
  readonly renderRefusal: RenderRefusal
  readonly places: Places
  /** Told of what was committed. It must not throw. */
  readonly onCommitted?: (changes: readonly WalletChange[]) => void
}): BatchStore {
  const { stores, renderRefusal, places, onCommitted } = options
  let connection: Connection | null = null

  return {
    async transact(batch, avoid) {
      connection ??= await connect(options.url, options.name)
      try {
        return await runBatch(connection, batch, avoid, stores, renderRefusal, places, onCommitted)
      } catch (error) {
        // A connection in an unknown state is never used again.
        if (classify(error) === 'connection') {
          connection.destroy()
          connection = null
        }
        throw error
      }
    },
    close() {
      connection?.destroy()
      connection = null
    },
  }
}

async function runBatch(
  connection: Connection,
  batch: readonly Command[],
  avoid: ReadonlySet<string>,
  stores: readonly RowStore[],
  renderRefusal: RenderRefusal,
  places: Places,
  onCommitted: ((changes: readonly WalletChange[]) => void) | undefined,
): Promise<Answer[]> {
  const { located, walletIds } = await locate(connection, batch, stores, places)
  const avoided = avoid.size === 0 ? [] : walletIds.filter((id) => avoid.has(id))
  if (avoided.length > 0) throw new WalletsLocked(avoided)
  let open = true
  try {
    const begun = connection.control('begin')
    const locked = connection.query<WalletSqlRow>(lockWallets(walletIds))
    const keyed = connection.query<KeySqlRow>(readKeysAndClock(batch))
    const loads = stores.flatMap((store) => store.loads(walletIds, idsOf(batch, store.table)))
    const loaded = loads.map((load) => connection.query<never>(load.statement))
    await allOrFirstError([begun, locked, keyed, ...loaded])

    const book = new Book()
    for (const row of await locked) book.loadWallet(walletFromRow(row))
    for (const [index, load] of loads.entries()) book.load(load.table, ((await loaded[index]) ?? []).map(load.fromRow))
    const { known, now } = keysFromRows(await keyed)

    const { answers, records } = decideBatch(book, known, batch, located, now, renderRefusal)

    const writes = writeStatements(book, records, stores, now).map((statement) => connection.query<never>(statement))
    const committed = connection.control('commit')
    open = false
    await allOrFirstError([...writes, committed])
    if ((await committed) !== 'COMMIT') throw new ConnectionLost('COMMIT was answered with a rollback')
    for (const { table } of stores) {
      for (const row of book.changes(table).inserted) places.rememberRow(table, row.id, row.walletId)
    }
    // After COMMIT and before anybody is answered: whoever has the answer may count on the others being told.
    onCommitted?.(book.walletChanges())
    return answers
  } catch (error) {
    // A transaction that was told to commit has ended, one way or the other. An open one is rolled back.
    if (open && classify(error) !== 'connection') await connection.control('rollback')
    if (sqlstateOf(error) === LOCK_NOT_AVAILABLE) throw new WalletsLocked(await lockedAmong(connection, walletIds), error)
    throw error
  }
}

const LOCK_NOT_AVAILABLE = '55P03'
/** A wallet that is locked each time we look is not merely in the batch of another process. */
const LOOKS = 3
const LOOK_PAUSE_MS = 50

/** Those of the wallets that somebody holds locked. */
async function lockedAmong(connection: Connection, walletIds: readonly string[]): Promise<string[]> {
  let locked = [...walletIds]
  for (let look = 0; look < LOOKS && locked.length > 0; look += 1) {
    if (look > 0) await new Promise((resolve) => setTimeout(resolve, LOOK_PAUSE_MS))
    const free = new Set((await connection.query<{ id: string }>(findUnlocked(locked))).map((row) => row.id))
    locked = locked.filter((id) => !free.has(id))
  }
  return locked
}

function findUnlocked(walletIds: readonly string[]): Statement {
  return {
    name: 'wallets_unlocked',
    text: 'select id from wallets where id = any($1::uuid[]) for no key update skip locked',
    values: [uuids(walletIds)],
  }
}

/** Waits for all, so that no statement is still under way, and then throws the error that came first. */
async function allOrFirstError(promises: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) {
    if (result.status === 'rejected') throw result.reason
  }
}

// Locate: which wallets do the commands mean? Owners and the wallets of rows never change, so no lock is needed yet.

async function locate(
  connection: Connection,
  batch: readonly Command[],
  stores: readonly RowStore[],
  places: Places,
): Promise<{ located: Located[]; walletIds: string[] }> {
  await findPlaces(connection, batch, stores, places)
  const walletIds = new Set<string>()
  const located = batch.map(({ speaker, wallets, rows }): Located => {
    const place = {
      wallets: wallets.map((ref) => places.walletOf(speaker.clientId, ref)),
      rows: rows.map(({ table, id }) => places.walletOfRow(table, id)),
    }
    for (const id of place.wallets) if (id !== undefined) walletIds.add(id)
    for (const id of place.rows) if (id !== undefined) walletIds.add(id)
    return place
  })
  return { located, walletIds: [...walletIds] }
}

/** Asks the database for the places that are not known yet, if any. */
async function findPlaces(connection: Connection, batch: readonly Command[], stores: readonly RowStore[], places: Places): Promise<void> {
  const owners = new Map<string, readonly [clientId: string, kind: string, id: string]>()
  const rows = new Map<Table<WalletRow>, Set<string>>()
  for (const command of batch) {
    const { clientId } = command.speaker
    for (const ref of command.wallets) {
      if (clientId === null || 'id' in ref || places.walletOf(clientId, ref) !== undefined) continue
      owners.set(`${clientId} ${ref.ownerKind} ${ref.ownerId}`, [clientId, ref.ownerKind, ref.ownerId])
    }
    for (const { table, id } of command.rows) {
      if (places.walletOfRow(table, id) !== undefined) continue
      const ids = rows.get(table)
      if (ids) ids.add(id)
      else rows.set(table, new Set([id]))
    }
  }
  const asked: Promise<void>[] = []
  for (const store of stores) {
    const ids = rows.get(store.table)
    if (!ids) continue
    const found = connection.query<{ id: string; wallet_id: string }>(store.locate([...ids]))
    asked.push(
      found.then((rows) => {
        for (const row of rows) places.rememberRow(store.table, row.id, row.wallet_id)
      }),
    )
  }
  if (owners.size > 0) {
    const found = connection.query<OwnerSqlRow>(locateOwners([...owners.values()]))
    asked.push(
      found.then((rows) => {
        for (const row of rows) places.rememberOwner(row.client_id, row.owner_kind, row.owner_id, row.id)
      }),
    )
  }
  if (asked.length > 0) await allOrFirstError(asked)
}

function idsOf(batch: readonly Command[], table: Table<WalletRow>): string[] {
  const ids = new Set<string>()
  for (const { rows } of batch) for (const row of rows) if (row.table === table) ids.add(row.id)
  return [...ids]
}

interface OwnerSqlRow {
  readonly id: string
  readonly client_id: string
  readonly owner_kind: string
  readonly owner_id: string
}

function locateOwners(owners: readonly (readonly [string, string, string])[]): Statement {
  return {
    name: 'wallets_locate',
    text: `select w.id, w.client_id, w.owner_kind, w.owner_id
      from unnest($1::uuid[], $2::text[], $3::text[]) as o(client_id, owner_kind, owner_id)
      join wallets w using (client_id, owner_kind, owner_id)`,
    values: [uuids(owners.map((owner) => owner[0])), texts(owners.map((owner) => owner[1])), texts(owners.map((owner) => owner[2]))],
  }
}

// Lock and load.

interface WalletSqlRow {
  readonly id: string
  readonly client_id: string
  readonly owner_kind: string
  readonly owner_id: string
  readonly label: string | null
  readonly balance: bigint
  readonly held: bigint
  readonly debt: bigint
  readonly overdraft_limit: bigint
  readonly low_balance_threshold: bigint | null
  readonly top_up_threshold: bigint | null
  readonly status: WalletStatus
  readonly time_zone: string
  readonly version: bigint
  readonly transaction_seq: bigint
  readonly head_hash: Buffer | null
  readonly created_at: number
  readonly updated_at: number
}

/** Locks in id order, so that two batches over the same wallets queue up instead of deadlocking. */
function lockWallets(walletIds: readonly string[]): Statement {
  return {
    name: 'wallets_lock',
    text: `select id, client_id, owner_kind, owner_id, label, balance, held, debt, overdraft_limit, low_balance_threshold,
        top_up_threshold, status, time_zone, version, transaction_seq, head_hash, created_at, updated_at
      from wallets where id = any($1::uuid[]) order by id for no key update`,
    values: [uuids(walletIds)],
  }
}

function walletFromRow(row: WalletSqlRow): Wallet {
  return {
    id: row.id,
    clientId: row.client_id,
    ownerKind: row.owner_kind,
    ownerId: row.owner_id,
    label: row.label,
    balance: row.balance,
    held: row.held,
    debt: row.debt,
    overdraftLimit: row.overdraft_limit,
    lowBalanceThreshold: row.low_balance_threshold,
    topUpThreshold: row.top_up_threshold,
    status: row.status,
    timeZone: row.time_zone,
    version: row.version,
    transactionSeq: row.transaction_seq,
    headHash: row.head_hash,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

interface KeySqlRow {
  readonly now: bigint
  readonly client_id: string | null
  readonly operation: string
  readonly key: string
  readonly fingerprint: Buffer
  readonly status: number
  readonly body: string | null
  readonly effect_id: string | null
  readonly wallet_id: string | null
  readonly created_at: number
}

/**
 * Reads the records of the batch's keys, and the clock. It is a statement of its own after the lock: its snapshot and its time
 * are younger than the wait for the lock. The clock comes in whole milliseconds, and also when there is no record.
 */
function readKeysAndClock(batch: readonly Command[]): Statement {
  const keyed = batch.filter((command) => command.idempotency !== null && command.speaker.clientId !== null)
  return {
    name: 'idempotency_keys_read',
    text: `select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now, k.*
      from (select 1) as clock left join (
        select k.client_id, k.operation, k.key, k.fingerprint, k.status, k.body, k.effect_id, k.wallet_id, k.created_at
        from unnest($1::uuid[], $2::text[], $3::text[]) as asked(client_id, operation, key)
        join idempotency_keys k using (client_id, operation, key)
      ) as k on true`,
    values: [
      uuids(keyed.map((command) => command.speaker.clientId as string)),
      texts(keyed.map((command) => command.idempotency?.operation ?? '')),
      texts(keyed.map((command) => command.idempotency?.key ?? '')),
    ],
  }
}

function keysFromRows(rows: readonly KeySqlRow[]): { known: Map<string, IdempotencyRecord>; now: number } {
  const known = new Map<string, IdempotencyRecord>()
  for (const row of rows) {
    if (row.client_id === null) continue
    known.set(recordKey(row.client_id, row.operation, row.key), {
      clientId: row.client_id,
      operation: row.operation,
      key: row.key,
      fingerprint: row.fingerprint.toString('hex'),
      status: row.status,
      body: row.body,
      effectId: row.effect_id,
      walletId: row.wallet_id,
      createdAt: row.created_at,
    })
  }
  return { known, now: Number((rows[0] as KeySqlRow).now) }
}

// Write.

function writeStatements(book: Book, records: readonly IdempotencyRecord[], stores: readonly RowStore[], now: number): Statement[] {
  const statements: Statement[] = []
  // Keys first and in order: a twin in another process stops the batch before it writes anything else.
  if (records.length > 0) statements.push(insertKeys([...records].sort(byKey)))
  const wallets = book.changedWallets()
  if (wallets.length > 0) statements.push(updateWallets(wallets))
  const configured = wallets.filter((wallet) => book.isConfigured(wallet))
  if (configured.length > 0) statements.push(updateSettings(configured))
  for (const store of stores) {
    const { inserted, updated } = book.changes(store.table)
    if (inserted.length > 0) statements.push(store.insert(inserted))
    if (updated.length > 0) statements.push(store.update(updated))
  }
  if (book.transactions.length > 0) statements.push(insertTransactions(book.transactions))
  if (book.audit.length > 0) statements.push(insertAudit(book.audit))
  const events = book.events()
  if (events.length > 0) statements.push(insertEvents(events.map((event) => ({ ...event, now }))))
  return statements
}

function byKey(a: IdempotencyRecord, b: IdempotencyRecord): number {
  return a.clientId < b.clientId ? -1 : a.clientId > b.clientId ? 1 : a.key < b.key ? -1 : a.key > b.key ? 1 : 0
}

const keyColumns: readonly Column<IdempotencyRecord>[] = [
  ['client_id', 'uuid', (r) => r.clientId],
  ['operation', 'text', (r) => r.operation],
  ['key', 'text', (r) => r.key],
  ['fingerprint', 'bytea', (r) => Buffer.from(r.fingerprint, 'hex')],
  ['status', 'smallint', (r) => r.status],
  ['body', 'text', (r) => r.body],
  ['effect_id', 'uuid', (r) => r.effectId],
  ['wallet_id', 'uuid', (r) => r.walletId],
  ['created_at', 'timestamptz', (r) => r.createdAt],
]
const insertKeys = insertStatement('idempotency_keys', keyColumns)

/** What moving money changes of a wallet. */
const walletColumns: readonly Column<Wallet>[] = [
  ['id', 'uuid', (w) => w.id],
  ['balance', 'bigint', (w) => w.balance],
  ['held', 'bigint', (w) => w.held],
  ['debt', 'bigint', (w) => w.debt],
  ['version', 'bigint', (w) => w.version],
  ['transaction_seq', 'bigint', (w) => w.transactionSeq],
  ['head_hash', 'bytea', (w) => w.headHash],
  ['updated_at', 'timestamptz', (w) => w.updatedAt],
]
const updateWallets = updateStatement('wallets', 1, walletColumns)

/** What an operator sets, written only where it was set: it would be dead weight on every hold. */
const settingsColumns: readonly Column<Wallet>[] = [
  ['id', 'uuid', (w) => w.id],
  ['label', 'text', (w) => w.label],
  ['overdraft_limit', 'bigint', (w) => w.overdraftLimit],
  ['low_balance_threshold', 'bigint', (w) => w.lowBalanceThreshold],
  ['top_up_threshold', 'bigint', (w) => w.topUpThreshold],
  ['status', 'text', (w) => w.status],
  ['time_zone', 'text', (w) => w.timeZone],
]
const updateSettings = updateStatement('wallets', 1, settingsColumns, 'wallets_update_settings')

const transactionColumns: readonly Column<Transaction>[] = [
  ['wallet_id', 'uuid', (t) => t.walletId],
  ['seq', 'bigint', (t) => t.seq],
  ['id', 'uuid', (t) => t.id],
  ['kind', 'text', (t) => t.kind],
  ['amount', 'bigint', (t) => t.amount],
  ['counter_account', 'text', (t) => t.counterAccount],
  ['balance_after', 'bigint', (t) => t.balanceAfter],
  ['draws', 'json', (t) => t.draws],
  ['charge_id', 'uuid', (t) => t.chargeId],
  ['reservation_id', 'uuid', (t) => t.reservationId],
  ['reverses_id', 'uuid', (t) => t.reversesId],
  ['client_id', 'uuid', (t) => t.clientId],
  ['actor', 'text', (t) => t.actor],
  ['reference', 'text', (t) => t.reference],
  ['metadata', 'json', (t) => t.metadata],
  ['occurred_at', 'timestamptz', (t) => t.occurredAt],
  ['created_at', 'timestamptz', (t) => t.createdAt],
  ['hash', 'bytea', (t) => t.hash],
]
const insertTransactions = insertStatement('transactions', transactionColumns)

const auditColumns: readonly Column<WrittenAuditEntry>[] = [
  ['id', 'uuid', (a) => a.id],
  ['client_id', 'uuid', (a) => a.clientId],
  ['actor', 'text', (a) => a.actor],
  ['action', 'text', (a) => a.action],
  ['target_kind', 'text', (a) => a.targetKind],
  ['target_id', 'uuid', (a) => a.targetId],
  ['reason', 'text', (a) => a.reason],
  ['before', 'json', (a) => (a.before === null ? null : JSON.stringify(a.before))],
  ['after', 'json', (a) => (a.after === null ? null : JSON.stringify(a.after))],
  ['request_id', 'text', (a) => a.requestId],
  ['created_at', 'timestamptz', (a) => a.createdAt],
]
const insertAudit = insertStatement('audit_log', auditColumns)

const eventColumns: readonly Column<OutboxEvent & { readonly now: number }>[] = [
  ['topic', 'text', (e) => e.topic],
  ['wallet_id', 'uuid', (e) => e.walletId],
  ['payload', 'json', (e) => JSON.stringify(e.payload)],
  ['next_attempt_at', 'timestamptz', (e) => e.notBefore ?? e.now],
  ['created_at', 'timestamptz', (e) => e.now],
]
const insertEvents = insertStatement('outbox', eventColumns)
