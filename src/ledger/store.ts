import type { Statement } from '../platform/sql.ts'
import type { Table, WalletRow } from './book.ts'
import type { Answer, Command } from './command.ts'

/** Rows of one table that a batch needs, and the statement that reads them after the wallets are locked. */
export interface Load<Row extends WalletRow = WalletRow> {
  readonly table: Table<Row>
  readonly statement: Statement
  fromRow(row: never): Row
}

/**
 * How a room's rows get from the database into the book and back. `wire.ts` hands the rooms' stores to the lane; statements are
 * set-based, one per table and step.
 */
export interface RowStore<Row extends WalletRow = WalletRow> {
  readonly table: Table<Row>
  /** Reads `id, wallet_id` of rows that were named by id alone; null where rows are never named so. */
  locate(ids: readonly string[]): Statement
  /** What a batch needs that locks these wallets and names these rows of this table. */
  loads(walletIds: readonly string[], ids: readonly string[]): Load[]
  insert(rows: readonly Row[]): Statement
  update(rows: readonly Row[]): Statement
}

/** Somebody else holds wallets of a batch locked, and for longer than a batch takes. Nothing was written. */
export class WalletsLocked extends Error {
  override readonly name = 'WalletsLocked'
  readonly walletIds: readonly string[]
  /** What the server said, `lock_not_available`. */
  readonly code = '55P03'

  constructor(walletIds: readonly string[], cause?: unknown) {
    super('wallets are locked', { cause })
    this.walletIds = walletIds
  }
}

/** Runs batches of commands, each in one database transaction. */
export interface BatchStore {
  /**
   * Locks, loads, decides and writes one batch, and returns the answers after COMMIT.
   * @param avoid wallets that are known to be locked by somebody else: a batch that turns out to need one of them does not wait for it
   * @throws WalletsLocked, or what the database said. Unless it is a refusal of COMMIT itself nothing was written; when the connection was lost
   * around COMMIT nobody knows, and the batch has to go through again for its idempotency records to tell.
   */
  transact(batch: readonly Command[], avoid: ReadonlySet<string>): Promise<Answer[]>
  /** Gives up the connection. */
  close(): void
}
