import { grants } from '../grants/grant.ts'
import { settle } from '../grants/settle.ts'
import { formatCredits, type Micro } from '../kernel/credits.ts'
import { type Refusal, refusal } from '../kernel/errors.ts'
import type { Draft, Table, WalletRow } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import type { Wallet, WalletStatus } from '../ledger/wallet.ts'

/** What of a wallet an operator may set. Absent means unchanged. */
export interface Settings {
  readonly label?: string | null
  readonly overdraftLimit?: Micro
  readonly lowBalanceThreshold?: Micro | null
  readonly timeZone?: string
}

/** Changes a wallet's settings; what it leaves as it was does not raise the version. */
export function configure(draft: Draft, walletId: string | undefined, settings: Settings, reason: string): Outcome<Wallet> {
  const found = draft.findWallet(walletId)
  if (!found) return refuse(refusal('wallet_not_found', 'No wallet of yours has this id or owner.'))
  if (found.status === 'closed') return refuse(refusal('wallet_closed', 'A closed wallet cannot be changed.'))
  settle(draft, found.id)
  const wallet = draft.wallet(found.id)
  if (settings.overdraftLimit !== undefined && settings.overdraftLimit < wallet.debt) {
    return refuse(
      refusal('overdraft_limit_below_debt', `The wallet owes ${formatCredits(wallet.debt)} credits.`, { debt: formatCredits(wallet.debt) }),
    )
  }
  const changed: Wallet = { ...wallet, ...settings }
  if (settingsToWire(changed) === settingsToWire(wallet)) return done(wallet)
  draft.putWallet(changed)
  draft.record({
    action: 'wallet.configure',
    targetKind: 'wallet',
    targetId: wallet.id,
    reason,
    before: JSON.parse(settingsToWire(wallet)),
    after: JSON.parse(settingsToWire(changed)),
  })
  return done(draft.wallet(wallet.id))
}

function settingsToWire(wallet: Wallet): string {
  return JSON.stringify({
    label: wallet.label,
    overdraft_limit: formatCredits(wallet.overdraftLimit),
    low_balance_threshold: wallet.lowBalanceThreshold === null ? null : formatCredits(wallet.lowBalanceThreshold),
    time_zone: wallet.timeZone,
  })
}

/** What another room may have against closing a wallet. Its rows are found by the wallet's own id. */
export interface CloseGuard {
  readonly table: Table<WalletRow>
  /** Why the wallet has to stay open; null where nothing is in the way. */
  objection(draft: Draft, walletId: string): Refusal | null
}

/**
 * Freezes, unfreezes or closes a wallet. Freezing stops new holds only. Closing is for good and takes an empty wallet: no
 * credits, no holds, no debt, nothing scheduled.
 * @param guards asked before a wallet is closed; the command has to name the wallet's id among the rows of their tables
 */
export function setStatus(
  draft: Draft,
  walletId: string | undefined,
  status: WalletStatus,
  reason: string,
  guards: readonly CloseGuard[] = [],
): Outcome<Wallet> {
  const found = draft.findWallet(walletId)
  if (!found) return refuse(refusal('wallet_not_found', 'No wallet of yours has this id or owner.'))
  if (found.status === 'closed' && status !== 'closed') return refuse(refusal('wallet_closed', 'A closed wallet stays closed.'))
  if (found.status === status) return done(found)
  settle(draft, found.id)
  const wallet = draft.wallet(found.id)
  if (status === 'closed') {
    for (const guard of guards) {
      const objection = guard.objection(draft, wallet.id)
      if (objection) return refuse(objection)
    }
  }
  const scheduled = draft.list(grants, wallet.id).some((grant) => grant.spentAt === null)
  if (status === 'closed' && (wallet.balance !== 0n || wallet.held !== 0n || wallet.debt !== 0n || scheduled)) {
    return refuse(
      refusal('wallet_not_empty', 'Adjust the balance to zero, settle holds and debt and void scheduled grants first.', {
        balance: formatCredits(wallet.balance),
        held: formatCredits(wallet.held),
        debt: formatCredits(wallet.debt),
      }),
    )
  }
  draft.putWallet({ ...wallet, status })
  draft.record({
    action: `wallet.${status === 'active' ? 'unfreeze' : status === 'frozen' ? 'freeze' : 'close'}`,
    targetKind: 'wallet',
    targetId: wallet.id,
    reason,
    before: { status: wallet.status },
    after: { status },
  })
  return done(draft.wallet(wallet.id))
}
