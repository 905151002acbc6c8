import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { pageOf, problemResponses } from '../http/openapi.ts'
import { pageQuery, paginate } from '../http/page.ts'
import { fail } from '../kernel/errors.ts'
import { fromWireId } from '../kernel/ids.ts'
import { walletRef } from '../ledger/operation.ts'
import { accessOf, callerOf } from '../ledger/routes.ts'
import { quoteObject, quoteToWire } from '../pricing/quote-schemas.ts'
import type { WalletReads } from '../wallets/reads-prisma.ts'
import { walletParams } from '../wallets/schemas.ts'
import type { Check } from './check.ts'
import type { ReservationReads } from './reads-prisma.ts'
import { checkAnswer, checkBody, reservationObject, reservationParams, reservationToWire } from './schemas.ts'

export interface ReservationServices {
  readonly reads: ReservationReads
  readonly walletReads: Pick<WalletReads, 'find'>
  readonly check: Check
}

const reservationRead = reservationObject.extend({
  quote: quoteObject.meta({ description: 'The quote of the hold, with the prices frozen at reserve' }),
})

/** Reads of reservations, and `POST /v1/check`. */
export function reservationRoutes(app: FastifyInstance, services: ReservationServices): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()

  typed.get(
    '/v1/reservations/:reservation_id',
    {
      config: { operation: 'reservation.read', scope: 'self', keyScope: 'wallets:read' },
      schema: {
        operationId: 'getReservation',
        tags: ['Reservations'],
        summary: 'Read a reservation',
        params: reservationParams,
        response: { 200: reservationRead, ...problemResponses([400, 401, 403, 404, 503]) },
      },
    },
    async (request) => {
      const id = fromWireId('reservation', request.params.reservation_id) as string
      const reservation = await services.reads.find(id, accessOf(request))
      if (!reservation) throw fail('reservation_not_found', 'No reservation of yours has this id.')
      return { ...reservationToWire(reservation), quote: quoteToWire(reservation.quote) }
    },
  )

  typed.get(
    '/v1/wallets/:wallet/reservations',
    {
      config: { operation: 'wallet.reservations', scope: 'self', keyScope: 'wallets:read' },
      schema: {
        operationId: 'listReservations',
        tags: ['Wallets', 'Reservations'],
        summary: 'List the reservations of a wallet, newest first',
        params: walletParams,
        querystring: pageQuery.extend({ status: reservationObject.shape.status.optional() }),
        response: { 200: pageOf(reservationObject), ...problemResponses([400, 401, 403, 404, 503]) },
      },
    },
    async (request) => {
      const wallet = await services.walletReads.find(walletRef(request.params.wallet), accessOf(request))
      if (!wallet) throw fail('wallet_not_found', 'No wallet of yours has this id or owner.')
      const { status } = request.query
      return paginate(
        {
          name: 'reservations',
          scope: { wallet: wallet.id, status },
          position: (reservation) => reservation.id,
          read: (before, limit) => services.reads.list(wallet.id, { status }, before, limit),
        },
        request.query,
        reservationToWire,
      )
    },
  )

  typed.post(
    '/v1/check',
    {
      config: { operation: 'check', scope: 'usage:write' },
      schema: {
        operationId: 'check',
        tags: ['Reservations'],
        summary: 'Ask whether a reserve would hold',
        description:
          'A question, not a command: it holds nothing, needs no Idempotency-Key, and answers 200 with `allowed: false` and the reason.',
        body: checkBody,
        response: { 200: checkAnswer, ...problemResponses([400, 401, 403, 404, 413, 415, 422, 503]) },
      },
    },
    async (request) => services.check(callerOf(request).speaker, accessOf(request), request.body),
  )
}
