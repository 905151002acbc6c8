import { z } from 'zod'
import { parseCredits } from '../kernel/credits.ts'
import { fromWireId } from '../kernel/ids.ts'
import type { Draft } from '../ledger/book.ts'
import { decided, type Operation, operation, walletRef } from '../ledger/operation.ts'
import { figuresToWire, type Wallet } from '../ledger/wallet.ts'
import { type Grant, grants } from './grant.ts'
import { issue } from './issue.ts'
import { grantAnswer, grantBody, grantParams, grantToWire, voidBody } from './schemas.ts'
import { voidGrant } from './void.ts'

function granted(draft: Draft) {
  return ({ grant, wallet }: { grant: Grant; wallet: Wallet }) => ({
    effectId: grant.id,
    walletId: wallet.id,
    body: { ...grantToWire(grant, draft.now), wallet: figuresToWire(wallet) },
  })
}

function instantOrNull(text: string | undefined): number | null {
  return text === undefined ? null : Date.parse(text)
}

/** The operations on grants. */
export const grantOperations: Operation[] = [
  operation({
    name: 'grant',
    path: '/v1/grants',
    scope: 'grants:write',
    tag: 'Grants',
    summary: 'Put credits into a wallet',
    description: 'Adds a grant: a lot of credits with its own priority and expiry. Credits repay debt first.',
    status: 201,
    needsCredits: false,
    params: z.strictObject({}),
    body: grantBody,
    answer: grantAnswer,
    plan(_caller, _params, body) {
      const input = {
        kind: body.kind,
        amount: parseCredits(body.amount) ?? 0n,
        priority: body.priority ?? null,
        effectiveAt: instantOrNull(body.effective_at),
        expiresAt: instantOrNull(body.expires_at),
        costBasis: body.cost_basis ? JSON.stringify(body.cost_basis) : null,
        source: body.source ?? null,
        reference: body.reference ?? null,
        metadata: body.metadata ? JSON.stringify(body.metadata) : null,
      }
      return {
        wallets: [walletRef(body.wallet)],
        rows: [],
        decide: (draft, { wallets: [walletId] }) => decided(issue(draft, { ...input, walletId }), 201, granted(draft)),
      }
    },
  }),
  operation({
    name: 'void',
    path: '/v1/grants/:grant_id/void',
    scope: 'admin',
    tag: 'Grants',
    summary: 'Void a grant',
    description: 'Takes back what is free of a grant. What open reservations have pinned stays theirs and goes when they release it.',
    status: 200,
    needsCredits: false,
    params: grantParams,
    body: voidBody,
    answer: grantAnswer,
    plan(_caller, params, body) {
      const grantId = fromWireId('grant', params.grant_id) as string
      return {
        wallets: [],
        rows: [{ table: grants, id: grantId }],
        decide: (draft, { rows: [walletId] }) => decided(voidGrant(draft, { walletId, grantId, reason: body.reason }), 200, granted(draft)),
      }
    },
  }),
]
