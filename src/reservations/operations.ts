import { z } from 'zod'
import { details, jsonOrNull, mayForce, payeesOf } from '../charges/operations.ts'
import { chargeToWire, costRequest, type Estimate, type Estimated, workOf } from '../charges/schemas.ts'
import { formatCredits, parseCredits } from '../kernel/credits.ts'
import { fromWireId, toWireId } from '../kernel/ids.ts'
import { decided, type Operation, operation, walletRef } from '../ledger/operation.ts'
import { figuresToWire, type Wallet } from '../ledger/wallet.ts'
import type { PriceBook } from '../pricing/prices.ts'
import { type ActualCost, commit } from './commit.ts'
import { extend } from './extend.ts'
import { release } from './release.ts'
import { type Reservation, reservations } from './reservation.ts'
import { reserve } from './reserve.ts'
import {
  commitAnswer,
  commitBody,
  emptyBody,
  extendBody,
  reservationAnswer,
  reservationParams,
  reservationToWire,
  reserveAnswer,
  reserveBody,
} from './schemas.ts'

export type ReserveBody = z.output<typeof reserveBody> & Estimated

/** What a reserve, or a question about one, asks of the lane. */
export function reserveInput(body: ReserveBody) {
  return {
    cost: costRequest(body),
    ttlSeconds: body.ttl_seconds,
    partial: body.partial,
    resourceOwner: body.resource_owner ?? null,
    reference: body.reference ?? null,
    metadata: jsonOrNull(body.metadata),
  }
}

function actualCost(body: z.output<typeof commitBody>): ActualCost {
  if (body.amount !== undefined) return { amount: parseCredits(body.amount) ?? 0n }
  return { ...workOf(body), usageTotal: body.usage_total ?? null, serviceTier: body.service_tier ?? null }
}

function ended({ reservation, wallet }: { reservation: Reservation; wallet: Wallet }) {
  return {
    effectId: reservation.id,
    walletId: wallet.id,
    body: { ...reservationToWire(reservation), wallet: figuresToWire(wallet) },
  }
}

/**
 * The operations on reservations.
 * @param prices the price book in force when a command is decided
 * @param estimate counts the tokens of a text before that
 */
export function reservationOperations(prices: () => PriceBook, estimate: Estimate): Operation[] {
  return [
    operation({
      name: 'reserve',
      path: '/v1/reservations',
      scope: 'usage:write',
      tag: 'Reservations',
      summary: 'Reserve credits before work',
      description:
        'Holds credits until the work is committed, released or the deadline passes, and freezes its prices. A hold counts at once against what is available and never draws overdraft.',
      status: 201,
      needsCredits: true,
      params: z.strictObject({}),
      body: reserveBody,
      answer: reserveAnswer,
      prepare: estimate,
      plan(_caller, _params, body) {
        const input = reserveInput(body)
        return {
          wallets: [walletRef(body.wallet)],
          rows: [],
          decide: (draft, { wallets: [walletId] }) =>
            decided(reserve(draft, { ...input, walletId }, prices()), 201, ({ reservation, affords, wallet }) => ({
              effectId: reservation.id,
              walletId: wallet.id,
              body: { ...reservationToWire(reservation), ...(affords && { affords }), wallet: figuresToWire(wallet) },
            })),
        }
      },
    }),
    operation({
      name: 'commit',
      path: '/v1/reservations/:reservation_id/commit',
      scope: 'usage:write',
      tag: 'Reservations',
      summary: 'Commit what the work really cost',
      description:
        'Charges the actual cost at the prices frozen at reserve and releases the rest of the hold. Never refused for lack of credits: beyond the hold it takes available credits, then debt, and records the rest as uncollected. After the deadline it is still charged, once, and says `late`.',
      status: 200,
      needsCredits: false,
      params: reservationParams,
      body: commitBody,
      answer: commitAnswer,
      plan(caller, params, body) {
        const reservationId = fromWireId('reservation', params.reservation_id) as string
        const payees = payeesOf(body)
        const input = { ...details(body), reservationId, cost: actualCost(body), final: body.final, force: mayForce(caller, body.force) }
        return {
          wallets: payees.refs,
          rows: [{ table: reservations, id: reservationId }],
          decide: (draft, { wallets, rows: [walletId] }) =>
            decided(
              commit(draft, { ...input, walletId, payees: payees.located(wallets) }, prices()),
              200,
              ({ charge, reservation, released, debtAdded, wallet }) => ({
                effectId: charge.id,
                walletId: wallet.id,
                body: {
                  ...chargeToWire(charge),
                  debt: formatCredits(debtAdded),
                  reservation_id: toWireId('reservation', reservation.id),
                  reservation_status: reservation.status,
                  released: formatCredits(released),
                  wallet: figuresToWire(wallet),
                },
              }),
            ),
        }
      },
    }),
    operation({
      name: 'release',
      path: '/v1/reservations/:reservation_id/release',
      scope: 'usage:write',
      tag: 'Reservations',
      summary: 'Release an unspent hold',
      description: 'Gives the unspent hold back to the wallet and ends the reservation. Captures made before stay charged.',
      status: 200,
      needsCredits: false,
      params: reservationParams,
      body: emptyBody,
      answer: reservationAnswer,
      plan(_caller, params) {
        const reservationId = fromWireId('reservation', params.reservation_id) as string
        return {
          wallets: [],
          rows: [{ table: reservations, id: reservationId }],
          decide: (draft, { rows: [walletId] }) => decided(release(draft, { walletId, reservationId }), 200, ended),
        }
      },
    }),
    operation({
      name: 'extend',
      path: '/v1/reservations/:reservation_id/extend',
      scope: 'usage:write',
      tag: 'Reservations',
      summary: 'Extend or grow a hold',
      description: 'Moves the deadline of an open hold, at most to seven days after its creation, and/or adds credits to it.',
      status: 200,
      needsCredits: true,
      params: reservationParams,
      body: extendBody,
      answer: reservationAnswer,
      plan(_caller, params, body) {
        const reservationId = fromWireId('reservation', params.reservation_id) as string
        const input = {
          reservationId,
          ttlSeconds: body.ttl_seconds ?? null,
          addAmount: body.add_amount === undefined ? 0n : (parseCredits(body.add_amount) ?? 0n),
        }
        return {
          wallets: [],
          rows: [{ table: reservations, id: reservationId }],
          decide: (draft, { rows: [walletId] }) => decided(extend(draft, { ...input, walletId }), 200, ended),
        }
      },
    }),
  ]
}
