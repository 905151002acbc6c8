import type { Instant } from '../kernel/time.ts'
import type { Draft } from '../ledger/book.ts'
import { post } from '../ledger/post.ts'
import { spendFree, sum } from './burn.ts'
import { free, type Grant, grants, isOver, originOf, putGrant } from './grant.ts'

/**
 * Brings a wallet to rest: the free part of grants that are over leaves it, scheduled grants whose time has come are posted, and
 * free credits repay debt. Every command does this first, and again after it freed credits, so that expiry is exact whenever
 * anybody looks through the lane, and free credits and debt never stand side by side.
 */
export function settle(draft: Draft, walletId: string): void {
  // First what is over: expired credits repay nothing.
  takeOver(draft, walletId)
  const posted = postDue(draft, walletId)
  repayDebt(draft, walletId)
  // A scheduled grant counts from its time on, and repays debt, even when it is over by the time that anybody looks.
  if (posted) takeOver(draft, walletId)
}

function postDue(draft: Draft, walletId: string): boolean {
  const due = draft
    .list(grants, walletId)
    .filter((grant) => grant.postedAt === null && grant.voidedAt === null && grant.effectiveAt <= draft.now)
    .sort((a, b) => a.effectiveAt - b.effectiveAt)
  for (const grant of due) {
    putGrant(draft, { ...grant, remaining: grant.amount, postedAt: draft.now })
    post(draft, {
      walletId,
      author: 'time',
      kind: 'grant',
      amount: grant.amount,
      counterAccount: originOf(grant.kind),
      draws: [{ grantId: grant.id, amount: grant.amount }],
      reference: grant.reference,
      occurredAt: grant.effectiveAt,
    })
  }
  return due.length > 0
}

/** Takes the free part of expired and void grants out of the wallet. */
function takeOver(draft: Draft, walletId: string): void {
  const over = draft
    .list(grants, walletId)
    .filter((grant) => free(grant) > 0n && isOver(grant, draft.now))
    .sort((a, b) => endOf(a) - endOf(b))
  for (const grant of over) {
    const amount = free(grant)
    putGrant(draft, { ...grant, remaining: grant.held })
    post(draft, {
      walletId,
      author: 'time',
      kind: grant.voidedAt === null ? 'expire' : 'void',
      amount: -amount,
      counterAccount: grant.voidedAt === null ? 'expired' : originOf(grant.kind),
      draws: [{ grantId: grant.id, amount }],
      reference: grant.reference,
      occurredAt: endOf(grant),
    })
  }
}

/** When a grant that is over came to its end. */
function endOf(grant: Grant): Instant {
  return grant.voidedAt ?? grant.expiresAt ?? Number.POSITIVE_INFINITY
}

/** Moves free credits against debt, in burn order. Neither the balance nor the ledger changes: debt is the wallet's column. */
function repayDebt(draft: Draft, walletId: string): void {
  const debt = draft.wallet(walletId).debt
  if (debt === 0n) return
  const repaid = sum(spendFree(draft, walletId, debt))
  if (repaid === 0n) return
  const wallet = draft.wallet(walletId)
  draft.putWallet({ ...wallet, debt: wallet.debt - repaid })
}
