import { hash } from 'node:crypto'
import type { Micro } from '../kernel/credits.ts'
import type { Instant } from '../kernel/time.ts'

export type TransactionKind =
  | 'grant'
  | 'charge'
  | 'uncollected'
  | 'refund'
  | 'expire'
  | 'void'
  | 'adjust'
  | 'earning'
  | 'clawback'
  | 'reinstatement'

/** The other side of every ledger row. The accounts' balances are the negated sums of their rows: the book sums to zero. */
export type CounterAccount = 'revenue' | 'purchases' | 'promotions' | 'expired' | 'adjustments' | 'clearing' | 'uncollected'

/** A part of an amount that was drawn from, or is pinned to, one grant. */
export interface Draw {
  readonly grantId: string
  readonly amount: Micro
}

/** One immutable ledger row: a signed movement between a wallet and a counter-account. */
export interface Transaction {
  readonly walletId: string
  readonly seq: bigint
  readonly id: string
  readonly kind: TransactionKind
  readonly amount: Micro
  readonly counterAccount: CounterAccount
  readonly balanceAfter: Micro
  /** JSON text of the draws, or null: the hash covers the text as it is stored. */
  readonly draws: string | null
  readonly chargeId: string | null
  readonly reservationId: string | null
  readonly reversesId: string | null
  readonly clientId: string | null
  readonly actor: string
  readonly reference: string | null
  /** JSON text, as given by the caller. */
  readonly metadata: string | null
  /** When it happened in the world; `createdAt` is when we wrote it. */
  readonly occurredAt: Instant
  readonly createdAt: Instant
  readonly hash: Buffer
}

export function drawsToJson(draws: readonly Draw[]): string {
  let text = '['
  for (const draw of draws) text += `${text.length > 1 ? ',' : ''}{"grant":"${draw.grantId}","amount":"${draw.amount}"}`
  return `${text}]`
}

export function drawsFromJson(rows: readonly { grant: string; amount: string }[]): Draw[] {
  return rows.map((row) => ({ grantId: row.grant, amount: BigInt(row.amount) }))
}

/**
 * The hash of a ledger row: SHA-256 over the previous row's hash (nothing before the first) and the row's canonical bytes,
 * which are a JSON array of texts and nulls. PostgreSQL's `transaction_canon` yields the same bytes, so `verify` recomputes
 * the chain inside the database.
 */
export function chainHash(previous: Buffer | null, row: Omit<Transaction, 'hash'>): Buffer {
  const canon = JSON.stringify([
    row.walletId,
    row.seq.toString(),
    row.id,
    row.kind,
    row.amount.toString(),
    row.counterAccount,
    row.balanceAfter.toString(),
    row.draws,
    row.chargeId,
    row.reservationId,
    row.reversesId,
    row.clientId,
    row.actor,
    row.reference,
    row.metadata,
    `${row.occurredAt}000`,
    `${row.createdAt}000`,
  ])
  const bytes = Buffer.from(canon, 'utf8')
  return hash('sha256', previous ? Buffer.concat([previous, bytes]) : bytes, 'buffer')
}
