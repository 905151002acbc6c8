import { formatCredits, type Micro } from '../kernel/credits.ts'
import { type Refusal, refusal } from '../kernel/errors.ts'
import { toWireId } from '../kernel/ids.ts'
import type { Instant } from '../kernel/time.ts'

export type WalletStatus = 'active' | 'frozen' | 'closed'

/**
 * One owner's credits. `balance = Σ grants.remaining − debt` and `held = Σ grants.held`; both are kept on the row so that a
 * reader needs no sum. The row is also the one lock of everything that belongs to the wallet.
 */
export interface Wallet {
  readonly id: string
  readonly clientId: string
  readonly ownerKind: string
  readonly ownerId: string
  readonly label: string | null
  readonly balance: Micro
  readonly held: Micro
  readonly debt: Micro
  readonly overdraftLimit: Micro
  readonly lowBalanceThreshold: Micro | null
  /** Set while a top-up is armed: falling below it is an event. */
  readonly topUpThreshold: Micro | null
  readonly status: WalletStatus
  readonly timeZone: string
  /** Rises with every command that changes the row: the sequence of the balance stream. */
  readonly version: bigint
  /** The dense sequence number of the last ledger row. */
  readonly transactionSeq: bigint
  /** The hash of the last ledger row; null before the first. */
  readonly headHash: Buffer | null
  readonly createdAt: Instant
  readonly updatedAt: Instant
}

/** What may be promised to new work; below zero while the wallet is in debt. */
export function available(wallet: Wallet): Micro {
  return wallet.balance - wallet.held
}

/** "user:alice", the other address of a wallet. */
export function ownerOf(wallet: Pick<Wallet, 'ownerKind' | 'ownerId'>): string {
  return `${wallet.ownerKind}:${wallet.ownerId}`
}

/** The figures that every mutating answer and every balance event carries. */
export function figuresToWire(wallet: Wallet) {
  return {
    id: toWireId('wallet', wallet.id),
    version: Number(wallet.version),
    balance: formatCredits(wallet.balance),
    held: formatCredits(wallet.held),
    available: formatCredits(available(wallet)),
    debt: formatCredits(wallet.debt),
  }
}

/** The refusal of whatever a wallet cannot carry, with the figures that tell the caller what is missing. */
export function insufficient(wallet: Wallet, required: Micro): Refusal {
  return refusal(
    'insufficient_credits',
    `This needs ${formatCredits(required)} credits and ${formatCredits(available(wallet))} are available.`,
    {
      required: formatCredits(required),
      available: formatCredits(available(wallet)),
      held: formatCredits(wallet.held),
      wallet_id: toWireId('wallet', wallet.id),
    },
  )
}
