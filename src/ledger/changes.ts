import type { Wallet } from './wallet.ts'

/** What a committed batch made of one wallet: its newest state, and the command that changed it last. */
export interface WalletChange {
  readonly wallet: Wallet
  readonly cause: Cause
}

export interface Cause {
  /** The command's name; `earning` for a wallet that only earned by it. */
  readonly type: string
  /** The id of what it made or ended, a UUID; null where nobody knows. */
  readonly id: string | null
}
