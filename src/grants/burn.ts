import { type Micro, min } from '../kernel/credits.ts'
import { assert } from '../kernel/errors.ts'
import type { Draft } from '../ledger/book.ts'
import type { Draw } from '../ledger/transaction.ts'
import { free, type Grant, grants, putGrant } from './grant.ts'

/**
 * How credits leave grants: by the burn order, pinned first and then spent, or spent at once. Every function here keeps
 * `wallet.held = Σ grant.held`; the wallet's balance moves only with a ledger row, which the callers post.
 */

/** Lower priority first, then earliest expiry, then oldest; the id makes the order total. Two that never expire differ by NaN, which `||` skips. */
export function burnOrder(a: Grant, b: Grant): number {
  return (
    a.priority - b.priority ||
    (a.expiresAt ?? Number.POSITIVE_INFINITY) - (b.expiresAt ?? Number.POSITIVE_INFINITY) ||
    a.createdAt - b.createdAt ||
    (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
  )
}

/** The wallet's grants with something free, in burn order. */
function freeGrants(draft: Draft, walletId: string): Grant[] {
  return draft
    .list(grants, walletId)
    .filter((grant) => free(grant) > 0n)
    .sort(burnOrder)
}

/** @param grants with something free, in the order in which they are taken from */
function take(draft: Draft, grants: readonly Grant[], amount: Micro, change: (grant: Grant, part: Micro) => Grant): Draw[] {
  const draws: Draw[] = []
  let left = amount
  for (const grant of grants) {
    if (left === 0n) break
    const part = min(free(grant), left)
    putGrant(draft, change(grant, part))
    draws.push({ grantId: grant.id, amount: part })
    left -= part
  }
  return draws
}

export function sum(draws: readonly Draw[]): Micro {
  return draws.reduce((total, draw) => total + draw.amount, 0n)
}

/** Pins `amount` to free grants in burn order. The caller has checked that so much is available. */
export function pin(draft: Draft, walletId: string, amount: Micro): Draw[] {
  if (amount === 0n) return []
  const draws = take(draft, freeGrants(draft, walletId), amount, (grant, part) => ({ ...grant, held: grant.held + part }))
  assert(sum(draws) === amount, 'a hold is covered by free grants')
  const wallet = draft.wallet(walletId)
  draft.putWallet({ ...wallet, held: wallet.held + amount })
  return draws
}

/** Spends up to `amount` from free grants in burn order and says what it got. */
export function spendFree(draft: Draft, walletId: string, amount: Micro): Draw[] {
  return amount === 0n ? [] : spendFrom(draft, freeGrants(draft, walletId), amount)
}

/** Spends up to `amount` of these grants, which have something free, one after the other. */
export function spendFrom(draft: Draft, grants: readonly Grant[], amount: Micro): Draw[] {
  return take(draft, grants, amount, (grant, part) => ({ ...grant, remaining: grant.remaining - part }))
}

/** Splits pins at `amount` counted from their front. */
function split(pins: readonly Draw[], amount: Micro): [Draw[], Draw[]] {
  const front: Draw[] = []
  const back: Draw[] = []
  let left = amount
  for (const pin of pins) {
    const part = min(pin.amount, left)
    if (part > 0n) front.push({ grantId: pin.grantId, amount: part })
    if (pin.amount > part) back.push({ grantId: pin.grantId, amount: pin.amount - part })
    left -= part
  }
  assert(left === 0n, 'pins cover what is taken from them')
  return [front, back]
}

function loosen(draft: Draft, walletId: string, pins: readonly Draw[], spent: boolean): void {
  let total = 0n
  for (const { grantId, amount } of pins) {
    const grant = draft.get(grants, walletId, grantId)
    assert(grant !== undefined, 'a pinned grant is in the batch')
    putGrant(draft, { ...grant, held: grant.held - amount, remaining: spent ? grant.remaining - amount : grant.remaining })
    total += amount
  }
  if (total === 0n) return
  const wallet = draft.wallet(walletId)
  draft.putWallet({ ...wallet, held: wallet.held - total })
}

/** Spends `amount` of a hold, in the order in which it was pinned. */
export function spendPinned(draft: Draft, walletId: string, pins: readonly Draw[], amount: Micro): { spent: Draw[]; left: Draw[] } {
  const [spent, left] = split(pins, amount)
  loosen(draft, walletId, spent, true)
  return { spent, left }
}

/** Frees all of a hold's pins; each part goes back to the grant it came from, so their order cannot matter. */
export function unpin(draft: Draft, walletId: string, pins: readonly Draw[]): void {
  loosen(draft, walletId, pins, false)
}
