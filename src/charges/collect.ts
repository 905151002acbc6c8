import { burnOrder, spendFree, spendPinned, sum } from '../grants/burn.ts'
import { grants, putGrant } from '../grants/grant.ts'
import { addGrant, fits } from '../grants/issue.ts'
import { settle } from '../grants/settle.ts'
import { type Micro, max, min } from '../kernel/credits.ts'
import type { Instant } from '../kernel/time.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import { post } from '../ledger/post.ts'
import type { Draw } from '../ledger/transaction.ts'
import { available, insufficient } from '../ledger/wallet.ts'
import type { Quote } from '../pricing/quote.ts'
import { type Basis, type Charge, charges, type Earning, type Payee, SHARE_WHOLE_PPM } from './charge.ts'

/** What the caller says of a charge besides its cost. */
export interface ChargeDetails {
  readonly basis: Basis
  readonly rawUsage: string | null
  readonly payees: readonly Payee[]
  readonly reference: string | null
  readonly metadata: string | null
  readonly occurredAt: Instant | null
}

export interface CollectInput extends ChargeDetails {
  readonly walletId: string
  readonly cost: Micro
  readonly quote: Quote
  readonly reservationId: string | null
  readonly pins: readonly Draw[]
  readonly final: boolean
  readonly late: boolean
  /** Refuse with 402 what the wallet cannot cover, or record it as uncollected because the work is done. */
  readonly shortfall: 'refuse' | 'record'
}

export interface Collected {
  readonly charge: Charge
  /** What stays pinned of the hold. */
  readonly pins: readonly Draw[]
  /** How much of the overage went into debt. */
  readonly debtAdded: Micro
}

/**
 * Collects a cost: from the hold, then from available credits, then as debt up to the overdraft limit; the rest is recorded as
 * uncollected. Writes the charge, its ledger rows and the payees' earnings. The caller has settled the wallet.
 */
export function collect(draft: Draft, input: CollectInput): Outcome<Collected> {
  const { walletId, cost } = input
  const captured = min(cost, sum(input.pins))
  const rest = cost - captured
  const before = draft.wallet(walletId)
  const debtRoom = max(0n, before.overdraftLimit - before.debt)
  if (input.shortfall === 'refuse' && rest > max(0n, available(before)) + debtRoom) return refuse(insufficient(before, cost))

  const hold = spendPinned(draft, walletId, input.pins, captured)
  const drawn = spendFree(draft, walletId, rest)
  const uncovered = rest - sum(drawn)
  const debtAdded = min(uncovered, debtRoom)
  const uncollected = uncovered - debtAdded
  if (debtAdded > 0n) {
    const wallet = draft.wallet(walletId)
    draft.putWallet({ ...wallet, debt: wallet.debt + debtAdded })
  }

  const id = draft.commandId
  const draws = [...hold.spent, ...drawn]
  const earnings = share(input.payees, cost - uncollected)
  const common = {
    walletId,
    chargeId: id,
    reservationId: input.reservationId,
    reference: input.reference,
    metadata: input.metadata,
    ...(input.occurredAt !== null && { occurredAt: input.occurredAt }),
  }
  const kept = cost - earnings.reduce((total, earning) => total + earning.amount, 0n)
  const house = post(draft, { ...common, id, kind: 'charge', amount: -kept, counterAccount: 'revenue', draws })
  for (const [index, { amount }] of earnings.entries()) {
    // The charge's own id and its draws stand on its first row, whichever that is.
    const first = house === null && index === 0
    post(draft, { ...common, ...(first && { id, draws }), kind: 'charge', amount: -amount, counterAccount: 'clearing' })
  }
  post(draft, { ...common, kind: 'uncollected', amount: uncollected, counterAccount: 'uncollected' })
  for (const earning of earnings) {
    const earned = earn(draft, earning, input)
    if (!earned.ok) return earned
  }

  const charge: Charge = {
    walletId,
    id,
    reservationId: input.reservationId,
    cost,
    captured,
    overage: rest - uncollected,
    uncollected,
    refunded: 0n,
    final: input.final,
    late: input.late,
    basis: input.basis,
    model: input.quote.terms.model?.id ?? null,
    operation: input.quote.terms.operation?.id ?? null,
    usage: input.quote.usage ?? null,
    rawUsage: input.rawUsage,
    quote: input.quote,
    draws,
    earnings,
    clientId: draft.speaker.clientId,
    reference: input.reference,
    metadata: input.metadata,
    occurredAt: input.occurredAt ?? draft.now,
    createdAt: draft.now,
  }
  draft.put(charges, charge)
  return done({ charge, pins: hold.left, debtAdded })
}

/** Each payee's part of what was collected, rounded down to a micro-credit: what cannot be split stays with the house. */
function share(payees: readonly Payee[], collected: Micro): Earning[] {
  return payees.map((payee) => ({ ...payee, amount: (collected * payee.sharePpm) / SHARE_WHOLE_PPM }))
}

/** Earnings of one wallet gather in one grant that never expires, so that a busy payee does not pile up grants. */
function earn(draft: Draft, earning: Earning, input: CollectInput): Outcome<null> {
  const { walletId, amount } = earning
  if (amount === 0n) return done(null)
  settle(draft, walletId)
  const room = fits(draft, walletId, amount)
  if (!room.ok) return room
  const [open] = draft
    .list(grants, walletId)
    .filter((grant) => grant.kind === 'earning' && grant.voidedAt === null && grant.spentAt === null)
    .sort(burnOrder)
  if (open) {
    putGrant(draft, { ...open, amount: open.amount + amount, remaining: open.remaining + amount })
  } else {
    addGrant(draft, {
      id: draft.nextId(),
      walletId,
      kind: 'earning',
      amount,
      reference: null,
    })
  }
  post(draft, {
    walletId,
    kind: 'earning',
    amount,
    counterAccount: 'clearing',
    chargeId: draft.commandId,
    reference: input.reference,
    ...(input.occurredAt !== null && { occurredAt: input.occurredAt }),
  })
  settle(draft, walletId)
  return done(null)
}
