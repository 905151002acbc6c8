import { type Payment, payments } from '../../src/billing/payment.ts'
import { type Charge, charges } from '../../src/charges/charge.ts'
import { type Grant, grants } from '../../src/grants/grant.ts'
import { Book, type WalletRow, type WrittenAuditEntry } from '../../src/ledger/book.ts'
import type { Answer, Command, Located } from '../../src/ledger/command.ts'
import { decideBatch, type IdempotencyRecord, recordKey } from '../../src/ledger/decide-batch.ts'
import type { Transaction } from '../../src/ledger/transaction.ts'
import type { Wallet } from '../../src/ledger/wallet.ts'
import type { Quote } from '../../src/pricing/quote.ts'
import { type Reservation, reservations } from '../../src/reservations/reservation.ts'
import { renderRefusal } from './drive.ts'

type ByWallet<Row> = Map<string, Map<string, Row>>

/**
 * What PostgreSQL does for the lane, in memory: it hands a batch the rows that the lane would load and no others, and keeps
 * what the batch made of them.
 */
export class MemoryStore {
  readonly wallets = new Map<string, Wallet>()
  readonly grants: ByWallet<Grant> = new Map()
  readonly reservations: ByWallet<Reservation> = new Map()
  readonly charges: ByWallet<Charge> = new Map()
  readonly payments: ByWallet<Payment> = new Map()
  readonly transactions = new Map<string, Transaction[]>()
  readonly records = new Map<string, IdempotencyRecord>()
  readonly audit: WrittenAuditEntry[] = []
  readonly walletOf = new Map<string, string>()
  readonly #foreknown: MemoryStore | null
  readonly #backwards: boolean
  /** Ids that the last batch changed. */
  changed = new Set<string>()

  /**
   * @param foreknown the book of the same commands one by one: it tells where the rows are that a batch itself will make, so that
   * a command may name what another of its batch makes. The lane's callers learn such an id only with the answer.
   * @param backwards loads the newest rows first
   */
  constructor(foreknown: MemoryStore | null = null, backwards = false) {
    this.#foreknown = foreknown
    this.#backwards = backwards
  }

  addWallet(wallet: Wallet): void {
    this.wallets.set(wallet.id, wallet)
  }

  transact(batch: readonly Command[], now: number): Answer[] {
    const walletIds = new Set<string>()
    const place = (id: string) => this.walletOf.get(id) ?? this.#foreknown?.walletOf.get(id)
    const located = batch.map(
      (command): Located => ({
        wallets: command.wallets.map((ref) => ('id' in ref ? ref.id : undefined)),
        rows: command.rows.map(({ id }) => place(id)),
      }),
    )
    for (const { wallets, rows } of located) for (const id of [...wallets, ...rows]) if (id !== undefined) walletIds.add(id)

    const book = new Book()
    for (const id of walletIds) {
      const wallet = this.wallets.get(id)
      if (!wallet) continue
      book.loadWallet(wallet)
      const open: Grant[] = []
      for (const grant of this.grants.get(id)?.values() ?? []) if (grant.spentAt === null) open.push(grant)
      // Tables have no order: what depends on one must not show.
      book.load(grants, this.#backwards ? open.reverse() : open)
    }
    for (const command of batch) {
      for (const { table, id } of command.rows) {
        const walletId = this.walletOf.get(id)
        if (walletId === undefined) continue
        if ((table as unknown) === grants) {
          const grant = this.grants.get(walletId)?.get(id)
          if (grant) book.load(grants, [grant])
        } else if ((table as unknown) === reservations) {
          const reservation = this.reservations.get(walletId)?.get(id)
          if (reservation) book.load(reservations, [reservation])
        } else if ((table as unknown) === payments) {
          const payment = this.payments.get(walletId)?.get(id)
          if (!payment) continue
          book.load(payments, [payment])
          const named = [payment.grantId, payment.bonusGrantId, ...payment.taken.map(({ grantId }) => grantId)]
          book.load(
            grants,
            named.filter((grantId) => grantId !== null).map((grantId) => this.grants.get(walletId)?.get(grantId) as Grant),
          )
        } else {
          const charge = this.charges.get(walletId)?.get(id)
          if (!charge) continue
          book.load(charges, [charge])
          book.load(
            grants,
            charge.draws.map(({ grantId }) => this.grants.get(walletId)?.get(grantId) as Grant),
          )
        }
      }
    }
    const known = new Map<string, IdempotencyRecord>()
    for (const { idempotency, speaker } of batch) {
      if (!idempotency || speaker.clientId === null) continue
      const name = recordKey(speaker.clientId, idempotency.operation, idempotency.key)
      const record = this.records.get(name)
      if (record) known.set(name, record)
    }

    const { answers, records } = decideBatch(book, known, batch, located, now, renderRefusal)

    this.changed = new Set()
    for (const record of records) {
      const name = recordKey(record.clientId, record.operation, record.key)
      if (this.records.has(name)) throw new Error(`two records of one key: ${name}`)
      this.records.set(name, record)
    }
    for (const wallet of book.changedWallets()) {
      this.wallets.set(wallet.id, wallet)
      this.changed.add(wallet.id)
    }
    this.#keep(this.grants, book.changes(grants))
    this.#keep(this.reservations, asStored(book.changes(reservations)))
    this.#keep(this.charges, asStored(book.changes(charges)))
    this.#keep(this.payments, book.changes(payments))
    for (const row of book.transactions) {
      const ledger = this.transactions.get(row.walletId)
      if (ledger) ledger.push(row)
      else this.transactions.set(row.walletId, [row])
      this.changed.add(row.walletId)
    }
    this.audit.push(...book.audit)
    return answers
  }

  #keep<Row extends WalletRow>(table: ByWallet<Row>, changes: { inserted: Row[]; updated: Row[] }): void {
    for (const row of changes.inserted) {
      if (this.walletOf.has(row.id)) throw new Error(`row ${row.id} is inserted twice`)
      this.walletOf.set(row.id, row.walletId)
    }
    for (const row of changes.updated) {
      if (this.walletOf.get(row.id) !== row.walletId) throw new Error(`row ${row.id} is updated in another wallet or not there`)
    }
    for (const row of [...changes.inserted, ...changes.updated]) {
      const rows = table.get(row.walletId)
      if (rows) rows.set(row.id, row)
      else table.set(row.walletId, new Map([[row.id, row]]))
      this.changed.add(row.walletId)
    }
  }

  /** The whole book as one text. */
  print(): string {
    const rows = <Row>(table: ByWallet<Row>) =>
      [...table]
        .map(([id, of]) => [id, [...of.values()].sort((a, b) => ((a as { id: string }).id < (b as { id: string }).id ? -1 : 1))] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1))
    return JSON.stringify(
      [
        [...this.wallets.values()],
        rows(this.grants),
        rows(this.reservations),
        rows(this.charges),
        rows(this.payments),
        [...this.transactions].sort(([a], [b]) => (a < b ? -1 : 1)),
        [...this.records.values()],
        this.audit,
      ],
      (_, value) => (typeof value === 'bigint' ? `${value}n` : value),
    )
  }
}

/** Rows as they come back from the database: frozen prices have been JSON. */
function asStored<Row extends { readonly quote: Quote }>({ inserted, updated }: { inserted: Row[]; updated: Row[] }) {
  return { updated, inserted: inserted.map((row) => ({ ...row, quote: JSON.parse(JSON.stringify(row.quote)) as Quote })) }
}

export function newWallet(id: string, clientId: string, ownerKind: string, ownerId: string, createdAt: number): Wallet {
  return {
    id,
    clientId,
    ownerKind,
    ownerId,
    label: null,
    balance: 0n,
    held: 0n,
    debt: 0n,
    overdraftLimit: 0n,
    lowBalanceThreshold: null,
    topUpThreshold: null,
    status: 'active',
    timeZone: 'UTC',
    version: 1n,
    transactionSeq: 0n,
    headHash: null,
    createdAt,
    updatedAt: createdAt,
  }
}
