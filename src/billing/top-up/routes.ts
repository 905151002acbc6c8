import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { pageOf, problemResponses } from '../../http/openapi.ts'
import { FareboxError, fail } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import { toWireTimeOrNull } from '../../kernel/time.ts'
import type { Draft } from '../../ledger/book.ts'
import type { Answer, Outcome } from '../../ledger/command.ts'
import type { Lane } from '../../ledger/lane.ts'
import { decided, walletRef } from '../../ledger/operation.ts'
import { accessOf, callerOf, sendAnswer } from '../../ledger/routes.ts'
import type { Wallet } from '../../ledger/wallet.ts'
import type { PriceBookKeeper } from '../../pricing/price-book.ts'
import type { WalletReads } from '../../wallets/reads-prisma.ts'
import { walletParams } from '../../wallets/schemas.ts'
import { withCustomer } from '../customers.ts'
import type { Card, Gateway } from '../gateway.ts'
import { formatMoney } from '../money.ts'
import type { PackageStore } from '../packages-prisma.ts'
import type { PaymentReads } from '../payments-prisma.ts'
import { priceOrder, wantedOf } from '../price-order.ts'
import { type ReturnRules, returnUrls } from '../return-url.ts'
import { ownUrl } from '../routes.ts'
import { pageUrl } from '../schemas.ts'
import type { TopUpReads } from './reads-prisma.ts'
import * as schema from './schemas.ts'
import { setTopUp, switchTopUp } from './set-top-up.ts'
import { type TopUp, topUps } from './top-up.ts'

export interface TopUpServices {
  readonly gateway: Gateway | null
  readonly lane: Pick<Lane, 'submit'>
  readonly topUps: TopUpReads
  readonly packages: Pick<PackageStore, 'inForce'>
  readonly orders: Pick<PaymentReads, 'findCustomer' | 'keepCustomer'>
  readonly wallets: Pick<WalletReads, 'find'>
  readonly prices: Pick<PriceBookKeeper, 'current'>
  readonly returns: ReturnRules
}

/** Saved cards, and the credits that buy themselves with them. */
export function topUpRoutes(app: FastifyInstance, services: TopUpServices): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()
  const read = { scope: 'self', keyScope: 'payments:read' } as const
  const write = { scope: 'self', keyScope: 'payments:write' } as const

  function configured(): Gateway {
    if (!services.gateway) throw fail('payments_not_configured', 'No payment provider is configured.')
    return services.gateway
  }

  async function findWallet(request: FastifyRequest, named: string): Promise<Wallet> {
    const wallet = await services.wallets.find(walletRef(named), accessOf(request))
    if (!wallet) throw fail('wallet_not_found', 'No wallet of yours has this id or owner.')
    return wallet
  }

  async function cardsOf(wallet: Wallet, gateway: Gateway) {
    const customerId = await services.orders.findCustomer(wallet.id, gateway)
    return customerId === null ? [] : gateway.cards(customerId)
  }

  typed.get(
    '/v1/wallets/:wallet/cards',
    {
      config: { operation: 'card.list', ...read },
      schema: {
        operationId: 'listCards',
        tags: ['Payments'],
        summary: 'List the saved cards of a wallet, newest first',
        description: 'All on one page.',
        params: walletParams,
        response: { 200: pageOf(schema.cardObject), ...problemResponses([400, 401, 403, 404, 503]) },
      },
    },
    async (request) => {
      const wallet = await findWallet(request, request.params.wallet)
      return { data: (await cardsOf(wallet, configured())).map(schema.cardToWire), next_cursor: null }
    },
  )

  typed.post(
    '/v1/wallets/:wallet/cards',
    {
      config: { operation: 'card.save', ...write },
      schema: {
        operationId: 'saveCard',
        tags: ['Payments'],
        summary: 'Open a page on which a card is saved',
        description: 'A page of the payment provider; no money moves. The card is listed once its owner has entered it.',
        params: walletParams,
        body: schema.cardPageBody,
        response: { 201: schema.cardPageAnswer, ...problemResponses([400, 401, 403, 404, 413, 415, 422, 503]) },
      },
    },
    async (request, reply) => {
      const gateway = configured()
      const { body } = request
      const own = ownUrl(request)
      const urls = returnUrls(services.returns, body, own, gateway.provider)
      const wallet = await findWallet(request, request.params.wallet)
      const page = await withCustomer({ gateway, orders: services.orders }, wallet, (customerId) =>
        gateway.openCardPage({ walletId: wallet.id, customerId, currency: body.currency, ...urls }),
      )
      return reply.code(201).send({ url: pageUrl(page.url, own), expires_at: toWireTimeOrNull(page.expiresAt) })
    },
  )

  typed.get(
    '/v1/wallets/:wallet/top-up',
    {
      config: { operation: 'topUp.read', ...read },
      schema: {
        operationId: 'getTopUp',
        tags: ['Payments'],
        summary: 'Read the automatic top-up of a wallet',
        params: walletParams,
        response: { 200: schema.topUpObject, ...problemResponses([400, 401, 403, 404, 503]) },
      },
    },
    async (request) => {
      const wallet = await findWallet(request, request.params.wallet)
      const topUp = await services.topUps.find(wallet.id)
      if (!topUp) throw fail('top_up_not_found', 'The wallet has no automatic top-up.')
      return schema.topUpToWire(topUp, Date.now())
    },
  )

  typed.put(
    '/v1/wallets/:wallet/top-up',
    {
      config: { operation: 'topUp.set', ...write },
      schema: {
        operationId: 'setTopUp',
        tags: ['Payments'],
        summary: 'Set the automatic top-up of a wallet',
        description:
          'Buys with a saved card whenever fewer credits are available than the threshold, one attempt at a time. A card that is declined three times in a row is left alone for thirty days, or until another one is set.',
        params: walletParams,
        body: schema.topUpBody,
        response: { 200: schema.topUpObject, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 422, 503]) },
      },
    },
    async (request, reply) => {
      const gateway = configured()
      const { body } = request
      const wallet = await findWallet(request, request.params.wallet)
      const onSale = await services.packages.inForce(new Date())
      const priced = priceOrder(wantedOf(body), onSale, services.prices.current(), Date.now())
      if (!priced.ok) throw new FareboxError(priced.refusal)
      const { currency: code, amount: price } = priced.value
      const settings = schema.settingsOf(body, code)
      if (!settings) {
        const errors = [{ pointer: '/cap/amount', message: `must not have more decimals than ${code} has` }]
        throw new FareboxError({ code: 'invalid_request', detail: 'The amounts do not fit the currency.', errors })
      }
      if (price > settings.capAmount) {
        const errors = [{ pointer: '/cap/amount', message: `must be at least ${formatMoney(price, code)} ${code}` }]
        throw new FareboxError({ code: 'amount_not_payable', detail: 'The cap is less than one top-up costs.', errors })
      }
      const card = chosen(await cardsOf(wallet, gateway), body.payment_method_id)
      const answer = await submit(request, wallet, (draft, walletId) => setTopUp(draft, walletId, settings, card))
      return sendAnswer(reply, answer) as never
    },
  )

  typed.patch(
    '/v1/wallets/:wallet/top-up',
    {
      config: { operation: 'topUp.switch', ...write },
      schema: {
        operationId: 'switchTopUp',
        tags: ['Payments'],
        summary: 'Switch the automatic top-up of a wallet on or off',
        description:
          'Changes nothing else. Off works whatever the payment provider, the package or the card are like. On is the same as setting it again as it is set: it takes up one that stopped, but not with a card that was declined too often.',
        params: walletParams,
        body: schema.topUpSwitchBody,
        response: { 200: schema.topUpObject, ...problemResponses([400, 401, 403, 404, 409, 413, 415, 503]) },
      },
    },
    async (request, reply) => {
      const { enabled } = request.body
      if (enabled) configured()
      const wallet = await findWallet(request, request.params.wallet)
      const answer = await submit(request, wallet, (draft, walletId) => switchTopUp(draft, walletId, enabled))
      return sendAnswer(reply, answer) as never
    },
  )

  /** Decides something of a wallet's top-up under the wallet's lock. */
  function submit(
    request: FastifyRequest,
    wallet: Wallet,
    decide: (draft: Draft, walletId: string | undefined) => Outcome<{ topUp: TopUp }>,
  ): Promise<Answer> {
    return services.lane.submit({
      name: 'top_up',
      id: newId(),
      speaker: callerOf(request).speaker,
      wallets: [{ id: wallet.id }],
      rows: [{ table: topUps, id: wallet.id }],
      idempotency: null,
      decide: (draft, { wallets: [walletId] }) =>
        decided(decide(draft, walletId), 200, ({ topUp }) => ({
          effectId: wallet.id,
          walletId: wallet.id,
          body: schema.topUpToWire(topUp, draft.now),
        })),
    })
  }
}

/** The card that was asked for, or the newest. @throws FareboxError `card_not_found` */
function chosen(cards: readonly Card[], methodId: string | undefined): Card {
  const card = methodId === undefined ? cards[0] : cards.find((one) => one.methodId === methodId)
  if (card) return card
  if (cards.length === 0 || methodId === undefined) {
    throw fail('card_not_found', 'Save a card first: POST /v1/wallets/{wallet}/cards opens the page for it.')
  }
  const errors = [{ pointer: '/payment_method_id', message: 'must be the id of a saved card of this wallet' }]
  throw new FareboxError({ code: 'card_not_found', detail: 'This card is not one of the saved ones of the wallet.', errors })
}
