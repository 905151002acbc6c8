import type { Instant } from '../kernel/time.ts'
import type { Draft } from './book.ts'
import { chainHash, type Draw, drawsToJson, type Transaction } from './transaction.ts'

/** What a caller says of a ledger row; the ledger adds sequence, running balance, author, times and hash. */
export interface Entry extends Pick<Transaction, 'walletId' | 'kind' | 'amount' | 'counterAccount'> {
  /** The id of the row where the command has one for it. */
  readonly id?: string
  /** What time brings about (a grant takes effect, expires) has no client, whoever's command noticed it. */
  readonly author?: 'speaker' | 'time'
  readonly draws?: readonly Draw[]
  readonly chargeId?: string | null
  readonly reservationId?: string | null
  readonly reversesId?: string | null
  readonly reference?: string | null
  readonly metadata?: string | null
  readonly occurredAt?: Instant
}

/** Appends a row to a wallet's ledger and moves its balance by the row's amount. A zero amount is no movement: no row. */
export function post(draft: Draft, entry: Entry): Transaction | null {
  if (entry.amount === 0n) return null
  const wallet = draft.wallet(entry.walletId)
  const row: Omit<Transaction, 'hash'> = {
    walletId: wallet.id,
    seq: wallet.transactionSeq + 1n,
    id: entry.id ?? draft.nextId(),
    kind: entry.kind,
    amount: entry.amount,
    counterAccount: entry.counterAccount,
    balanceAfter: wallet.balance + entry.amount,
    draws: entry.draws?.length ? drawsToJson(entry.draws) : null,
    chargeId: entry.chargeId ?? null,
    reservationId: entry.reservationId ?? null,
    reversesId: entry.reversesId ?? null,
    clientId: entry.author === 'time' ? null : draft.speaker.clientId,
    actor: entry.author === 'time' ? 'system:time' : draft.speaker.actor,
    reference: entry.reference ?? null,
    metadata: entry.metadata ?? null,
    occurredAt: entry.occurredAt ?? draft.now,
    createdAt: draft.now,
  }
  const transaction = { ...row, hash: chainHash(wallet.headHash, row) }
  draft.append(transaction)
  draft.putWallet({ ...wallet, balance: row.balanceAfter, transactionSeq: row.seq, headHash: transaction.hash })
  return transaction
}
