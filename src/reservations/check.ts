import type { Estimate } from '../charges/schemas.ts'
import type { Grant } from '../grants/grant.ts'
import { grants } from '../grants/grant.ts'
import { formatCredits } from '../kernel/credits.ts'
import { FareboxError, fail } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { Access } from '../ledger/access.ts'
import { Book, Draft, type Speaker } from '../ledger/book.ts'
import type { WalletRef } from '../ledger/command.ts'
import { walletRef } from '../ledger/operation.ts'
import { figuresToWire, type Wallet } from '../ledger/wallet.ts'
import type { PriceBook } from '../pricing/prices.ts'
import { type ReserveBody, reserveInput } from './operations.ts'
import { reserve } from './reserve.ts'

/** Reads a wallet with its open grants and the database's clock, all from one snapshot. */
export type ReadForCheck = (ref: WalletRef, access: Access) => Promise<{ wallet: Wallet; grants: Grant[]; now: number } | null>

export type Check = (speaker: Speaker, access: Access, body: ReserveBody) => Promise<CheckResult>

export interface CheckResult {
  readonly allowed: boolean
  /** The code that a reserve would be refused with, and its text; null when it is allowed. */
  readonly reason: string | null
  readonly detail: string | null
  readonly required: string | null
  readonly amount: string | null
  readonly affords?: object
  readonly wallet: ReturnType<typeof figuresToWire>
}

/** Refusals that answer the question; anything else means that the question itself makes no sense. */
const REASONS = new Set(['insufficient_credits', 'wallet_frozen', 'wallet_closed', 'charge_exceeds_maximum'])

/** Makes the question `would this reserve hold?`: the very decision of a reserve, on a snapshot, and nothing is kept of it. */
export function createCheck(read: ReadForCheck, prices: () => PriceBook, estimate: Estimate): Check {
  return async (speaker, access, asked) => {
    const body = await estimate(asked)
    const found = await read(walletRef(body.wallet), access)
    if (!found) throw fail('wallet_not_found', 'No wallet of yours has this id or owner.')
    const book = new Book()
    book.loadWallet(found.wallet)
    book.load(grants, found.grants)
    const draft = new Draft(book, { id: newId(), speaker }, found.now)
    const outcome = reserve(draft, { ...reserveInput(body), walletId: found.wallet.id }, prices())
    if (outcome.ok) {
      const { reservation, affords } = outcome.value
      return {
        allowed: true,
        reason: null,
        detail: null,
        required: formatCredits(reservation.requested),
        amount: formatCredits(reservation.amount),
        ...(affords && { affords }),
        wallet: figuresToWire(found.wallet),
      }
    }
    const { code, detail, extra } = outcome.refusal
    if (!REASONS.has(code)) throw new FareboxError(outcome.refusal)
    return {
      allowed: false,
      reason: code,
      detail,
      required: typeof extra?.required === 'string' ? extra.required : null,
      amount: null,
      wallet: figuresToWire(found.wallet),
    }
  }
}
