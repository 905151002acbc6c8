import type { Charge } from '../charges/charge.ts'
import { findPayees } from '../charges/charge-once.ts'
import { type ChargeDetails, collect } from '../charges/collect.ts'
import { forced } from '../charges/force.ts'
import { BALANCE_MICRO_MAX, formatCredits, type Micro, max } from '../kernel/credits.ts'
import { refusal } from '../kernel/errors.ts'
import type { Instant } from '../kernel/time.ts'
import type { Draft } from '../ledger/book.ts'
import { done, type Outcome, refuse } from '../ledger/command.ts'
import type { Wallet } from '../ledger/wallet.ts'
import { POOLS, type Pool, type Usage } from '../pricing/pools.ts'
import type { PriceBook } from '../pricing/prices.ts'
import { costOf, exceedsMaximum, type Quote, quoteAmount, quoteWork, type Work, withMinimum, withRequest } from '../pricing/quote.ts'
import { resolveModel } from '../pricing/resolve.ts'
import { type ModelTerms, type Subject, type Terms, termsAt } from '../pricing/terms.ts'
import { findReservation } from './release.ts'
import { end, isPastDeadline, type Reservation, reservations } from './reservation.ts'

/** What the work really cost: an amount as it stands, or the work done, priced as frozen at reserve. */
export type ActualCost =
  | { readonly amount: Micro }
  | ({
      readonly amount?: undefined
      /** The usage since the reservation began, instead of the usage since the last capture. */
      readonly usageTotal: Usage | null
      /** Model and operation are null for those that were reserved, the service tier for the one that was. */
    } & Subject &
      Omit<Work, 'serviceTier'> & { readonly serviceTier: Work['serviceTier'] | null })

export interface CommitInput extends Omit<ChargeDetails, 'payees'> {
  readonly walletId: string | undefined
  readonly reservationId: string
  readonly cost: ActualCost
  /** Settle the reservation; otherwise capture a part and keep the hold. */
  readonly final: boolean
  readonly payees: readonly { readonly walletId: string | undefined; readonly sharePpm: bigint }[]
  readonly force: boolean
}

export interface Committed {
  readonly charge: Charge
  readonly reservation: Reservation
  readonly wallet: Wallet
  /** Micro-credits of the hold that this commit gave back. */
  readonly released: Micro
  /** Micro-credits by which this commit raised the wallet's debt. */
  readonly debtAdded: Micro
}

/** A commit above so many times what was asked for is taken for a mistake of units. */
export const HOLD_FACTOR_MAX = 10n

/**
 * Charges what the reserved work really cost. Because the work is done, a commit is never refused for lack of credits: what
 * the hold does not cover comes from available credits, then debt, and the rest is recorded as uncollected. After the deadline
 * the hold is gone and the charge is `late`.
 */
export function commit(draft: Draft, input: CommitInput, prices: PriceBook): Outcome<Committed> {
  const found = findReservation(draft, input)
  if (!found.ok) return found
  let reservation = found.value
  const payees = findPayees(draft, reservation.walletId, input.payees)
  if (!payees.ok) return payees
  if (reservation.status === 'committed') return refuse(refusal('reservation_committed', 'The reservation was committed before.'))
  if (reservation.status === 'released') return refuse(refusal('reservation_released', 'The reservation was released before.'))
  if (reservation.status === 'held' && isPastDeadline(reservation, draft.now)) reservation = end(draft, reservation, 'expired')

  const priced = quoteActual(reservation, input, prices)
  if (!priced.ok) return priced
  const { quote, usageTotal } = priced.value
  const cost = costOf(quote)
  const total = reservation.cost + cost
  if (total > reservation.requested * HOLD_FACTOR_MAX && !forced(draft, input.force, cost)) {
    return refuse(
      refusal(
        'commit_exceeds_hold_factor',
        `The cost would be more than ${HOLD_FACTOR_MAX} times what was reserved; an admin may force it.`,
        {
          cost: formatCredits(total),
          reserved: formatCredits(reservation.requested),
        },
      ),
    )
  }
  // However much a policy allows for one, all captures together are one figure of the reservation.
  const fits = total <= BALANCE_MICRO_MAX
  if (!fits || (exceedsMaximum(quote.terms, cost) && !forced(draft, input.force, cost))) {
    return refuse(refusal('charge_exceeds_maximum', 'The cost exceeds the largest charge of the policy; an admin may force it.'))
  }

  const collected = collect(draft, {
    ...input,
    walletId: reservation.walletId,
    payees: payees.value,
    cost,
    quote,
    reservationId: reservation.id,
    pins: reservation.pins,
    late: reservation.status === 'expired',
    shortfall: 'record',
  })
  if (!collected.ok) return collected
  const { charge, pins, debtAdded } = collected.value
  const captured: Reservation = {
    ...reservation,
    captured: reservation.captured + charge.captured,
    cost: total,
    pins,
    usageTotal,
  }
  const after = settleReservation(draft, captured, input.final)
  return done({
    charge,
    reservation: after,
    wallet: draft.wallet(after.walletId),
    released: after.released - reservation.released,
    debtAdded,
  })
}

function settleReservation(draft: Draft, captured: Reservation, final: boolean): Reservation {
  if (final && captured.status === 'held') return end(draft, captured, 'committed')
  const after: Reservation = final ? { ...captured, status: 'committed', finalizedAt: draft.now } : captured
  draft.put(reservations, after)
  return after
}

function quoteActual(reservation: Reservation, input: CommitInput, prices: PriceBook): Outcome<{ quote: Quote; usageTotal: Usage | null }> {
  const { cost, final } = input
  const frozen = reservation.quote.terms
  const exempt = reservation.quote.exempt
  if (cost.amount !== undefined) {
    return done({ quote: quoteAmount(frozen, cost.amount, exempt), usageTotal: reservation.usageTotal })
  }
  const terms = termsFor(reservation, cost, prices)
  if (!terms.ok) return terms
  const seen = reservation.usageTotal
  const usage = cost.usageTotal ? beyond(cost.usageTotal, seen) : cost.usage
  if ((usage !== null && !terms.value.model) || (cost.units !== null && !terms.value.operation)) {
    return refuse(refusal('usage_mismatch', 'Usage needs a model and units need an operation, here or at reserve.'))
  }
  const serviceTier = cost.serviceTier ?? reservation.quote.service_tier ?? 'standard'
  const since = cost.usageTotal && seen
  const work = quoteWork(
    terms.value,
    {
      units: cost.units,
      // What applies once for the whole (the price of a request, an operation's flat cost) comes with the last capture.
      usage: usage && final ? withRequest(terms.value, usage, serviceTier, since) : usage,
      serviceTier,
    },
    exempt,
    { flat: final, since },
  )
  if (!work.ok) return work
  // The minimum is of the whole reservation, so that captures cost no more than one charge would: only the last one tops it up.
  const worked = work.value.n !== '0' || reservation.cost > 0n
  const quote = withMinimum(work.value, final && worked ? max(0n, BigInt(terms.value.minimum) - reservation.cost) : 0n)
  return done({ quote, usageTotal: cost.usageTotal ? largest(cost.usageTotal, seen) : seen })
}

/** The frozen terms where they cover the work; otherwise the prices that were in force when the credits were reserved. */
function termsFor(reservation: Reservation, cost: Subject, prices: PriceBook): Outcome<Terms> {
  const frozen = reservation.quote.terms
  const at = reservation.createdAt
  const sameModel = cost.model === null || (frozen.model !== undefined && means(prices, at, cost.model, cost.provider, frozen.model))
  const sameOperation = cost.operation === null || cost.operation === frozen.operation?.id
  if (sameModel && sameOperation) return done(frozen)
  // Only what is new is looked up: a name that means the reserved model there may mean another one here.
  const asked = termsAt(prices, at, {
    model: sameModel ? null : cost.model,
    provider: sameModel ? null : cost.provider,
    operation: sameOperation ? null : cost.operation,
  })
  if (!asked.ok) return asked
  const { model, operation } = asked.value
  return done({ ...frozen, ...(model && { model }), ...(operation && { operation }) })
}

/** Whether a name means the reserved model: the name is looked up where it was reserved, unless it says where. */
function means(prices: PriceBook, at: Instant, name: string, provider: string | null, reserved: ModelTerms): boolean {
  if (name === reserved.id && (provider ?? reserved.provider) === reserved.provider) return true
  return resolveModel(prices, at, name, provider ?? reserved.provider)?.model === reserved.id
}

/** How far a cumulative report goes beyond the largest one so far, pool by pool: a repeated or late report adds nothing. */
function beyond(total: Usage, seen: Usage | null): Usage {
  return merged(total, seen, (now, before) => Math.max(0, now - before))
}

function largest(total: Usage, seen: Usage | null): Usage {
  return merged(total, seen, Math.max)
}

/** Pool by pool, for the pools that either names. */
function merged(total: Usage, seen: Usage | null, combine: (now: number, before: number) => number): Usage {
  const result: Partial<Record<Pool, number>> = {}
  for (const pool of POOLS) {
    if (total[pool] !== undefined || seen?.[pool] !== undefined) result[pool] = combine(total[pool] ?? 0, seen?.[pool] ?? 0)
  }
  return result
}
