import type { z } from 'zod'
import { formatCredits, parseCredits } from '../kernel/credits.ts'
import { fail } from '../kernel/errors.ts'
import { fromWireId, toWireId } from '../kernel/ids.ts'
import { toWireTime } from '../kernel/time.ts'
import { type Caller, decided, type Operation, operation, walletRef } from '../ledger/operation.ts'
import { figuresToWire } from '../ledger/wallet.ts'
import type { PriceBook } from '../pricing/prices.ts'
import { charges, collected } from './charge.ts'
import { chargeOnce } from './charge-once.ts'
import type { ChargeDetails } from './collect.ts'
import { refund } from './refund.ts'
import {
  type CostBody,
  chargeAnswer,
  chargeBody,
  chargeParams,
  chargeToWire,
  costRequest,
  type detailsFields,
  type Estimate,
  noParams,
  refundAnswer,
  refundBody,
  sharePpm,
} from './schemas.ts'

type DetailsBody = { [K in keyof typeof detailsFields]: z.infer<(typeof detailsFields)[K]> }

/** The payees of a request, to be located by the lane after its other wallets. */
export function payeesOf(body: Pick<DetailsBody, 'payees'>) {
  return {
    refs: body.payees.map((payee) => walletRef(payee.wallet)),
    located: (wallets: readonly (string | undefined)[]) =>
      body.payees.map((payee, index) => ({ walletId: wallets[index], sharePpm: sharePpm(payee.share) })),
  }
}

export function details(body: Partial<DetailsBody> & Pick<CostBody, 'raw_usage'>): Omit<ChargeDetails, 'payees'> {
  return {
    basis: body.basis ?? 'actual',
    rawUsage: body.raw_usage ? JSON.stringify({ format: body.raw_usage.format, body: body.raw_usage.body }) : null,
    reference: body.reference ?? null,
    metadata: jsonOrNull(body.metadata),
    occurredAt: body.occurred_at === undefined ? null : Date.parse(body.occurred_at),
  }
}

export function jsonOrNull(value: unknown): string | null {
  return value === undefined || value === null ? null : JSON.stringify(value)
}

/** @throws FareboxError `forbidden` when somebody else than an admin says force */
export function mayForce(caller: Caller, force: boolean): boolean {
  if (force && !caller.isAdmin) throw fail('forbidden', 'Only an admin may force a cost past its limits.')
  return force
}

/**
 * The money-moving operations of this room.
 * @param prices the price book in force when a command is decided
 * @param estimate counts the tokens of a text before that
 */
export function chargeOperations(prices: () => PriceBook, estimate: Estimate): Operation[] {
  return [
    operation({
      name: 'charge',
      path: '/v1/charges',
      scope: 'usage:write',
      tag: 'Charges',
      summary: 'Charge a wallet at once',
      description:
        'Charges without a reservation: from available credits, then debt up to the overdraft limit. What that does not cover is refused with 402.',
      status: 201,
      needsCredits: true,
      params: noParams,
      body: chargeBody,
      answer: chargeAnswer,
      prepare: estimate,
      plan(caller, _params, body) {
        const payees = payeesOf(body)
        const input = {
          ...details(body),
          cost: costRequest(body),
          resourceOwner: body.resource_owner ?? null,
          force: mayForce(caller, body.force),
          shortfall: 'refuse' as const,
        }
        return {
          wallets: [walletRef(body.wallet), ...payees.refs],
          rows: [],
          decide: (draft, { wallets: [walletId, ...payeeIds] }) =>
            decided(
              chargeOnce(draft, { ...input, walletId, payees: payees.located(payeeIds) }, prices()),
              201,
              ({ charge, debtAdded, wallet }) => ({
                effectId: charge.id,
                walletId: wallet.id,
                body: { ...chargeToWire(charge), debt: formatCredits(debtAdded), wallet: figuresToWire(wallet) },
              }),
            ),
        }
      },
    }),
    operation({
      name: 'refund',
      path: '/v1/charges/:charge_id/refund',
      scope: 'refunds:write',
      tag: 'Charges',
      summary: 'Refund a charge, whole or in part',
      description:
        'Gives credits back to the grants that the charge was paid from. The refunds of a charge never exceed what it collected.',
      status: 201,
      needsCredits: false,
      params: chargeParams,
      body: refundBody,
      answer: refundAnswer,
      plan(_caller, params, body) {
        const chargeId = fromWireId('charge', params.charge_id) as string
        const input = {
          chargeId,
          amount: body.amount === undefined ? null : parseCredits(body.amount),
          reference: body.reference ?? null,
          metadata: jsonOrNull(body.metadata),
        }
        return {
          wallets: [],
          rows: [{ table: charges, id: chargeId }],
          decide: (draft, { rows: [walletId] }) =>
            decided(refund(draft, { ...input, walletId }), 201, ({ amount, transaction, charge, wallet }) => ({
              effectId: transaction.id,
              walletId: wallet.id,
              body: {
                id: toWireId('transaction', transaction.id),
                charge_id: toWireId('charge', charge.id),
                wallet_id: toWireId('wallet', wallet.id),
                amount: formatCredits(amount),
                refunded: formatCredits(charge.refunded),
                refundable: formatCredits(collected(charge) - charge.refunded),
                created_at: toWireTime(transaction.createdAt),
                wallet: figuresToWire(wallet),
              },
            })),
        }
      },
    }),
  ]
}
