import { z } from 'zod'
import { formatCredits, parseCredits } from '../kernel/credits.ts'
import { toWireId } from '../kernel/ids.ts'
import { toWireTime } from '../kernel/time.ts'
import { decided, type Operation, operation, walletRef } from '../ledger/operation.ts'
import { figuresToWire } from '../ledger/wallet.ts'
import { adjust } from './adjust.ts'
import { adjustAnswer, adjustBody } from './schemas.ts'

/** Adjustments: an admin's corrections. */
export const adjustmentOperations: Operation[] = [
  operation({
    name: 'adjust',
    path: '/v1/adjustments',
    scope: 'admin',
    tag: 'Wallets',
    summary: 'Adjust a balance',
    description: 'Adds credits, or takes away available ones, with a reason in the audit log. Never makes debt.',
    status: 201,
    needsCredits: true,
    params: z.strictObject({}),
    body: adjustBody,
    answer: adjustAnswer,
    plan(_caller, _params, body) {
      const input = {
        amount: parseCredits(body.amount) ?? 0n,
        reason: body.reason,
        reference: body.reference ?? null,
        metadata: body.metadata ? JSON.stringify(body.metadata) : null,
      }
      return {
        wallets: [walletRef(body.wallet)],
        rows: [],
        decide: (draft, { wallets: [walletId] }) =>
          decided(adjust(draft, { ...input, walletId }), 201, ({ transaction, wallet }) => ({
            effectId: transaction.id,
            walletId: wallet.id,
            body: {
              id: toWireId('transaction', transaction.id),
              wallet_id: toWireId('wallet', wallet.id),
              amount: formatCredits(transaction.amount),
              reason: body.reason,
              created_at: toWireTime(transaction.createdAt),
              wallet: figuresToWire(wallet),
            },
          })),
      }
    },
  }),
]
