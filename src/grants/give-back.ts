import type { Micro } from '../kernel/credits.ts'
import type { Draft } from '../ledger/book.ts'
import type { Draw } from '../ledger/transaction.ts'
import { grants, isOver, putGrant } from './grant.ts'
import { addGrant } from './issue.ts'

/** A part of something that was taken: from a grant, or, without one, as debt. */
export interface TakenPart {
  readonly grantId: string | null
  readonly amount: Micro
}

/**
 * Gives parts back to the grants that they came from, and to a fresh grant that never expires where those are over or where a part
 * had been debt. The caller posts the ledger row and settles.
 * @returns where it went
 */
export function giveBack(draft: Draft, walletId: string, parts: readonly TakenPart[], reference: string | null): Draw[] {
  const back: Draw[] = []
  let fresh = 0n
  for (const { grantId, amount } of parts) {
    const grant = grantId === null ? undefined : draft.get(grants, walletId, grantId)
    if (grant && !isOver(grant, draft.now)) {
      putGrant(draft, { ...grant, remaining: grant.remaining + amount })
      back.push({ grantId: grant.id, amount })
    } else {
      fresh += amount
    }
  }
  if (fresh > 0n) {
    const grant = addGrant(draft, { id: draft.nextId(), walletId, kind: 'refund', amount: fresh, reference })
    back.push({ grantId: grant.id, amount: fresh })
  }
  return back
}

/** Splits a list of parts in two: the last `amount` of it, last first, and what stays. */
export function takeFromEnd(parts: readonly TakenPart[], amount: Micro): { end: TakenPart[]; rest: TakenPart[] } {
  const end: TakenPart[] = []
  const rest = [...parts]
  let left = amount
  while (left > 0n) {
    const last = rest.pop()
    if (!last) break
    if (last.amount > left) {
      rest.push({ ...last, amount: last.amount - left })
      end.push({ ...last, amount: left })
      left = 0n
    } else {
      end.push(last)
      left -= last.amount
    }
  }
  return { end, rest }
}
