import type { Table, WalletRow } from './book.ts'
import type { Command, WalletRef } from './command.ts'

/** Entries of a generation; two of them are kept of each kind, about 10 MB. */
const GENERATION_MAX = 32_768

/**
 * Remembers which wallet a row belongs to and which wallet an owner has. Neither ever changes, so what is remembered is true for
 * good. What was not found is not remembered: it may come to be.
 */
export class Places {
  readonly #rows = new Map<Table<WalletRow>, Memory>()
  readonly #owners = new Memory()

  walletOfRow(table: Table<WalletRow>, id: string): string | undefined {
    return this.#rows.get(table)?.get(id)
  }

  walletOf(clientId: string | null, ref: WalletRef): string | undefined {
    return 'id' in ref ? ref.id : this.#owners.get(`${clientId} ${ref.ownerKind} ${ref.ownerId}`)
  }

  rememberRow(table: Table<WalletRow>, id: string, walletId: string): void {
    let rows = this.#rows.get(table)
    if (!rows) {
      rows = new Memory()
      this.#rows.set(table, rows)
    }
    rows.set(id, walletId)
  }

  rememberOwner(clientId: string, kind: string, id: string, walletId: string): void {
    this.#owners.set(`${clientId} ${kind} ${id}`, walletId)
  }

  /** The wallet that a command is about, where it names one wallet and that is known. */
  onlyWalletOf({ speaker, wallets, rows }: Command): string | undefined {
    const [wallet] = wallets
    const [row] = rows
    if (wallets.length + rows.length !== 1) return undefined
    return row ? this.walletOfRow(row.table, row.id) : wallet && this.walletOf(speaker.clientId, wallet)
  }

  /** The wallets that a command names, as far as they are known. */
  walletsOf({ speaker, wallets, rows }: Command): string[] {
    const found = [
      ...wallets.map((wallet) => this.walletOf(speaker.clientId, wallet)),
      ...rows.map(({ table, id }) => this.walletOfRow(table, id)),
    ]
    return found.filter((id) => id !== undefined)
  }

  /** What a command is about: its first wallet where that is known, else the name that it gives. */
  subjectOf({ speaker, wallets: [wallet], rows: [row] }: Command): string {
    if (row) return this.walletOfRow(row.table, row.id) ?? row.id
    if (!wallet) return ''
    return this.walletOf(speaker.clientId, wallet) ?? ('ownerId' in wallet ? wallet.ownerId : '')
  }
}

/** Forgets by generations: taking single entries from the front of a large Map is slow, because it skips over all that were taken before. */
class Memory {
  #young = new Map<string, string>()
  #old = new Map<string, string>()

  get(key: string): string | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) return young
    const old = this.#old.get(key)
    if (old !== undefined) this.set(key, old)
    return old
  }

  set(key: string, value: string): void {
    if (this.#young.size >= GENERATION_MAX) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }
}
