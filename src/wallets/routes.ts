import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { principalOf } from '../auth/guard.ts'
import type { Grant } from '../grants/grant.ts'
import type { GrantReads } from '../grants/reads-prisma.ts'
import { grantObject, grantToWire } from '../grants/schemas.ts'
import * as field from '../http/fields.ts'
import { pageOf, problemResponses } from '../http/openapi.ts'
import { pageQuery, paginate } from '../http/page.ts'
import { fieldError } from '../http/pointer.ts'
import { invalidRequest } from '../http/zod.ts'
import { parseCredits } from '../kernel/credits.ts'
import { fail } from '../kernel/errors.ts'
import { newId, toWireId } from '../kernel/ids.ts'
import { DAY_MS } from '../kernel/time.ts'
import type { Draft } from '../ledger/book.ts'
import type { Outcome, RowRef } from '../ledger/command.ts'
import type { Lane } from '../ledger/lane.ts'
import { decided, walletRef } from '../ledger/operation.ts'
import { accessOf, callerOf, sendAnswer } from '../ledger/routes.ts'
import type { Wallet, WalletStatus } from '../ledger/wallet.ts'
import { type CloseGuard, configure, type Settings, setStatus } from './configure.ts'
import type { WalletReads } from './reads-prisma.ts'
import {
  balanceObject,
  balanceToWire,
  openBody,
  patchBody,
  statusBody,
  transactionObject,
  transactionToWire,
  usageAnswer,
  usageToWire,
  walletObject,
  walletParams,
  walletToWire,
} from './schemas.ts'

export interface WalletServices {
  readonly lane: Pick<Lane, 'submit'>
  readonly reads: WalletReads
  readonly grantReads: GrantReads
  /** What later rooms have against closing a wallet. */
  readonly closeGuards: readonly CloseGuard[]
}

const USAGE_WINDOW_MS_MAX = 366 * DAY_MS
const USAGE_WINDOW_MS_DEFAULT = 30 * DAY_MS

function settingsOf(body: {
  label?: string | null | undefined
  overdraft_limit?: string | undefined
  low_balance_threshold?: string | null | undefined
  time_zone?: string | undefined
}): Settings {
  const threshold = body.low_balance_threshold
  return {
    ...(body.label !== undefined && { label: body.label }),
    ...(body.overdraft_limit !== undefined && { overdraftLimit: parseCredits(body.overdraft_limit) ?? 0n }),
    ...(threshold !== undefined && { lowBalanceThreshold: threshold === null ? null : parseCredits(threshold) }),
    ...(body.time_zone !== undefined && { timeZone: body.time_zone }),
  }
}

/** Wallets: open, read, list, settings, freeze, unfreeze, close, and what belongs to a wallet. */
export function walletRoutes(app: FastifyInstance, services: WalletServices): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()
  const { reads } = services
  const problems = problemResponses([400, 401, 403, 404, 503])
  const read = { scope: 'self', keyScope: 'wallets:read' } as const

  async function findWallet(request: FastifyRequest, named: string): Promise<Wallet> {
    const wallet = await reads.find(walletRef(named), accessOf(request))
    if (!wallet) throw fail('wallet_not_found', 'No wallet of yours has this id or owner.')
    return wallet
  }

  typed.post(
    '/v1/wallets',
    {
      config: { operation: 'wallet.open', scope: 'wallets:write' },
      schema: {
        operationId: 'openWallet',
        tags: ['Wallets'],
        summary: 'Open a wallet for an owner',
        description: 'An owner has one wallet. Opening it twice answers 409 with the id of the first.',
        body: openBody,
        response: { 201: walletObject, ...problemResponses([400, 401, 403, 409, 413, 415, 503]) },
      },
    },
    async (request, reply) => {
      const { owner, ...settings } = request.body
      const { clientId } = principalOf(request)
      const ref = walletRef(owner) as { ownerKind: string; ownerId: string }
      const opened = await reads.open(clientId, { kind: ref.ownerKind, id: ref.ownerId }, settingsOf(settings))
      if (opened) return reply.code(201).send(walletToWire(opened))
      const existing = await findWallet(request, owner)
      throw fail('wallet_exists', `${owner} has a wallet already.`, { wallet_id: toWireId('wallet', existing.id) })
    },
  )

  typed.get(
    '/v1/wallets',
    {
      config: { operation: 'wallet.list', ...read },
      schema: {
        operationId: 'listWallets',
        tags: ['Wallets'],
        summary: 'List wallets, newest first',
        querystring: pageQuery.extend({
          status: z.enum(['active', 'frozen', 'closed']).optional(),
          owner_kind: z
            .string()
            .regex(/^[a-z][a-z0-9_]{0,31}$/)
            .optional(),
        }),
        response: { 200: pageOf(walletObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async (request) => {
      const access = accessOf(request)
      const { status, owner_kind: ownerKind } = request.query
      return paginate(
        {
          name: 'wallets',
          scope: { ...access, status, ownerKind },
          position: (wallet) => wallet.id,
          read: (before, limit) => reads.list(access, { status, ownerKind }, before, limit),
        },
        request.query,
        walletToWire,
      )
    },
  )

  typed.get(
    '/v1/wallets/:wallet',
    {
      config: { operation: 'wallet.read', ...read },
      schema: {
        operationId: 'getWallet',
        tags: ['Wallets'],
        summary: 'Read a wallet',
        params: walletParams,
        response: { 200: walletObject, ...problems },
      },
    },
    async (request) => walletToWire(await findWallet(request, request.params.wallet)),
  )

  typed.get(
    '/v1/wallets/:wallet/balance',
    {
      config: { operation: 'wallet.balance', ...read },
      schema: {
        operationId: 'getBalance',
        tags: ['Wallets'],
        summary: 'Read a balance',
        params: walletParams,
        response: { 200: balanceObject, ...problems },
      },
    },
    async (request) => balanceToWire(await findWallet(request, request.params.wallet), Date.now()),
  )

  typed.get(
    '/v1/wallets/:wallet/transactions',
    {
      config: { operation: 'wallet.transactions', ...read },
      schema: {
        operationId: 'listTransactions',
        tags: ['Wallets'],
        summary: 'List the ledger of a wallet, newest first',
        params: walletParams,
        querystring: pageQuery.extend({
          kind: transactionObject.shape.kind.optional(),
          reference: field.reference.optional(),
          from: field.time.optional().meta({ description: 'Rows written at or after this time' }),
          to: field.time.optional().meta({ description: 'Rows written before this time' }),
        }),
        response: { 200: pageOf(transactionObject), ...problems },
      },
    },
    async (request) => {
      const wallet = await findWallet(request, request.params.wallet)
      const { kind, reference, from, to } = request.query
      const filter = { kind, reference, from: from ? new Date(from) : undefined, to: to ? new Date(to) : undefined }
      return paginate(
        {
          name: 'transactions',
          scope: { wallet: wallet.id, kind, reference, from, to },
          pattern: /^[0-9]{1,18}$/,
          position: (row) => row.seq.toString(),
          read: (before, limit) => reads.transactions(wallet.id, filter, before === null ? null : BigInt(before), limit),
        },
        request.query,
        transactionToWire,
      )
    },
  )

  typed.get(
    '/v1/wallets/:wallet/grants',
    {
      config: { operation: 'wallet.grants', ...read },
      schema: {
        operationId: 'listGrants',
        tags: ['Wallets', 'Grants'],
        summary: 'List the grants of a wallet, newest first',
        params: walletParams,
        querystring: pageQuery.extend({
          open: z.enum(['true', 'false']).default('false').meta({ description: 'Only grants that are not spent, expired or void' }),
        }),
        response: { 200: pageOf(grantObject), ...problems },
      },
    },
    async (request) => {
      const wallet = await findWallet(request, request.params.wallet)
      const open = request.query.open === 'true'
      const now = await services.grantReads.now()
      return paginate(
        {
          name: 'grants',
          scope: { wallet: wallet.id, open },
          position: (grant: Grant) => grant.id,
          read: (before, limit) => services.grantReads.list(wallet.id, { open }, before, limit),
        },
        request.query,
        (grant: Grant) => grantToWire(grant, now),
      )
    },
  )

  typed.get(
    '/v1/wallets/:wallet/usage',
    {
      config: { operation: 'wallet.usage', ...read },
      schema: {
        operationId: 'getUsage',
        tags: ['Wallets'],
        summary: 'Usage totals by model, operation or day',
        description:
          'Totals of the charges of a window of at most 366 days, the last 30 days when none is given. Days are those of the wallet’s time zone.',
        params: walletParams,
        querystring: z.strictObject({
          group_by: z.enum(['model', 'operation', 'day']).default('model'),
          from: field.time.optional(),
          to: field.time.optional(),
        }),
        response: { 200: usageAnswer, ...problems },
      },
    },
    async (request) => {
      const wallet = await findWallet(request, request.params.wallet)
      const to = request.query.to ? new Date(request.query.to) : new Date()
      const from = request.query.from ? new Date(request.query.from) : new Date(to.getTime() - USAGE_WINDOW_MS_DEFAULT)
      const length = to.getTime() - from.getTime()
      if (length <= 0 || length > USAGE_WINDOW_MS_MAX) {
        throw invalidRequest([fieldError(['query', 'from'], 'must lie before to, by at most 366 days')], 'query')
      }
      return usageToWire(wallet, { from, to }, request.query.group_by, await reads.usage(wallet, { from, to }, request.query.group_by))
    },
  )

  /** Changes of a wallet's own row go through the lane as well: they take turns with the money that moves on it. */
  async function change(
    request: FastifyRequest,
    name: 'configure' | 'status',
    named: string,
    decide: (draft: Draft, walletId: string | undefined) => Outcome<Wallet>,
    rows: readonly RowRef[] = [],
  ) {
    return services.lane.submit({
      name,
      id: newId(),
      speaker: callerOf(request).speaker,
      wallets: [walletRef(named)],
      rows,
      idempotency: null,
      decide: (draft, { wallets: [walletId] }) =>
        decided(decide(draft, walletId), 200, (wallet) => ({ effectId: wallet.id, walletId: wallet.id, body: walletToWire(wallet) })),
    })
  }

  typed.patch(
    '/v1/wallets/:wallet',
    {
      config: { operation: 'wallet.configure', scope: 'wallets:write' },
      schema: {
        operationId: 'configureWallet',
        tags: ['Wallets'],
        summary: 'Change the settings of a wallet',
        params: walletParams,
        body: patchBody,
        response: { 200: walletObject, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 422, 503]) },
      },
    },
    async (request, reply) => {
      const { reason, ...settings } = request.body
      return sendAnswer(
        reply,
        await change(request, 'configure', request.params.wallet, (draft, walletId) =>
          configure(draft, walletId, settingsOf(settings), reason ?? 'Settings changed through the API.'),
        ),
      ) as never
    },
  )

  const statusRoutes: readonly [verb: string, status: WalletStatus, summary: string, description: string][] = [
    ['freeze', 'frozen', 'Freeze a wallet', 'Refuses new holds and charges; commits and releases of existing holds go on.'],
    ['unfreeze', 'active', 'Unfreeze a wallet', 'Takes new holds again.'],
    [
      'close',
      'closed',
      'Close a wallet',
      'For good. The wallet must be empty: no credits, no holds, no debt, no scheduled grants; and its subscription, if any, over.',
    ],
  ]
  for (const [verb, status, summary, description] of statusRoutes) {
    typed.post(
      `/v1/wallets/:wallet/${verb}`,
      {
        config: { operation: `wallet.${verb}`, scope: 'admin' },
        schema: {
          operationId: `${verb}Wallet`,
          tags: ['Wallets'],
          summary,
          description,
          params: walletParams,
          body: statusBody,
          response: { 200: walletObject, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 503]) },
        },
      },
      async (request, reply) => {
        const { params, body } = request as { params: z.output<typeof walletParams>; body: z.output<typeof statusBody> }
        const guards = status === 'closed' ? services.closeGuards : []
        const rows = guards.length === 0 ? [] : rowsOf(await findWallet(request, params.wallet), guards)
        const decide = (draft: Draft, walletId: string | undefined) => setStatus(draft, walletId, status, body.reason, guards)
        return sendAnswer(reply, await change(request, 'status', params.wallet, decide, rows)) as never
      },
    )
  }
}

/** Guards' rows stand under the wallet's own id. */
function rowsOf({ id }: Wallet, guards: readonly CloseGuard[]): RowRef[] {
  return guards.map(({ table }) => ({ table, id }))
}
