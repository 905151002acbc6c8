/**
 * The service with two routes more, for comparison only:
 *
 *   /bench/noop    is POST /v1/reservations with the lane taken out: the same hooks, authentication, parsing, validation,
 *                  fingerprint and kind of answer, and no database;
 *   /bench/naive   is the same route with one Prisma transaction a request in the place of the lane.
 *
 * They are operations like any other, handed to the very `buildApp` that the service uses. On a port of its own, /bench/bare is
 * what is left when the fingerprint and the making of the answer go, too.
 */
import closeWithGrace from 'close-with-grace'
import { fastify } from 'fastify'
import { z } from 'zod'
import { buildApp } from '../src/app.ts'
import { guardPlugin } from '../src/auth/guard.ts'
import { readConfig } from '../src/config.ts'
import { contextPlugin } from '../src/http/context.ts'
import { errorHandlerPlugin } from '../src/http/error-handler.ts'
import { jsonBodyPlugin } from '../src/http/json-body.ts'
import { serverOptions } from '../src/http/options.ts'
import { serializerCompiler, validatorCompiler } from '../src/http/zod.ts'
import { parseCredits } from '../src/kernel/credits.ts'
import type { Answer, Command } from '../src/ledger/command.ts'
import { type Operation, parseIdempotencyKey, walletRef } from '../src/ledger/operation.ts'
import { JSON_MEDIA_TYPE } from '../src/ledger/routes.ts'
import { figuresToWire, type Wallet } from '../src/ledger/wallet.ts'
import { createLogger } from '../src/platform/logger.ts'
import { type ReserveBody, reserveInput } from '../src/reservations/operations.ts'
import type { Reservation } from '../src/reservations/reservation.ts'
import { reservationToWire, reserveBody } from '../src/reservations/schemas.ts'
import { createRooms, type Rooms } from '../src/wire.ts'
import { createNaive } from './naive.ts'

/** A command that answers by itself, without the lane. */
interface SelfAnswering extends Command {
  answer(command: Command): Answer | Promise<Answer>
}

const config = readConfig(process.env)
const url = config.DATABASE_URL as string
const logger = createLogger({ level: config.LOG_LEVEL })
const rooms = await createRooms(url, logger)
const naive = createNaive(url)

const { submit } = rooms.lane
rooms.lane.submit = (command) =>
  'answer' in command ? Promise.resolve((command as SelfAnswering).answer(command)) : submit.call(rooms.lane, command)

const reserve = rooms.operations.batchable.find((operation) => operation.name === 'reserve') as Operation<unknown, ReserveBody>
const comparisons = [
  comparison('noop', (body) => {
    const input = reserveInput(body)
    return (command) => noopAnswer(command, walletIdOf(body), input.cost.amount ?? 0n)
  }),
  comparison(
    'naive',
    (body) => (command) => naive.reserve(command, { walletId: walletIdOf(body), amount: parseCredits(body.amount ?? '') ?? 0n }),
  ),
]
const withComparisons: Rooms = { ...rooms, operations: { ...rooms.operations, others: [...rooms.operations.others, ...comparisons] } }
const app = await buildApp(config, withComparisons, logger)
await app.listen({ host: config.HOST, port: config.PORT })

const bare = fastify(serverOptions({ logger, trustProxy: false }))
bare.setValidatorCompiler(validatorCompiler)
bare.setSerializerCompiler(serializerCompiler)
await bare.register(contextPlugin, { allowedHosts: null })
await bare.register(errorHandlerPlugin)
await bare.register(jsonBodyPlugin)
await bare.register(guardPlugin, {
  store: rooms.keys,
  jwt: { issuer: 'bench', audience: 'bench', secret: config.JWT_SECRET ?? null, jwksUrl: null },
})
const schema = { headers: z.object({ 'idempotency-key': z.string().max(300).optional() }), params: z.strictObject({}), body: reserveBody }
const fixedAnswer = noopAnswer({ id: '0192f3c4-d5e6-7abc-8def-0123456789ab' }, '0192f3c4-d5e6-7abc-8def-0123456789ab', 1000n).body
bare.post('/bench/bare', { config: { operation: 'bare', scope: 'usage:write' }, schema }, (request, reply) => {
  parseIdempotencyKey(request.headers['idempotency-key'])
  reply.code(201).header('content-type', JSON_MEDIA_TYPE).send(fixedAnswer)
})
await bare.listen({ host: config.HOST, port: Number(process.env.BARE_PORT) })

closeWithGrace({ delay: 5_000, logger: false }, async () => {
  await bare.close()
  await app.close()
  await naive.close()
  await rooms.close()
})

function comparison(name: string, answerTo: (body: ReserveBody) => SelfAnswering['answer']): Operation {
  return {
    ...reserve,
    name: `bench_${name}`,
    path: `/bench/${name}`,
    plan: (_caller: unknown, _params: unknown, body: unknown) => ({
      wallets: [walletRef((body as ReserveBody).wallet)],
      rows: [],
      decide: () => {
        throw new Error('never decided')
      },
      answer: answerTo(body as ReserveBody),
    }),
  } as Operation
}

function walletIdOf(body: ReserveBody): string {
  const ref = walletRef(body.wallet)
  if (!('id' in ref)) throw new Error('the comparisons take wallets by id')
  return ref.id
}

/** An answer like that of a reserve, made anew for each request as that is. */
function noopAnswer(command: Pick<Command, 'id'>, walletId: string, amount: bigint): Answer {
  const now = Date.now()
  const reservation: Pick<Reservation, keyof Reservation> = {
    walletId,
    id: command.id,
    status: 'held',
    requested: amount,
    amount,
    captured: 0n,
    released: 0n,
    cost: 0n,
    pins: [],
    quote: { n: '0', d: '1', min: '0', exempt: false, terms: { policy: null, minimum: '0', maximum: '0' } },
    usageTotal: null,
    clientId: walletId,
    reference: null,
    metadata: null,
    expiresAt: now,
    createdAt: now,
    finalizedAt: null,
  }
  const wallet = { id: walletId, version: 12_345n, balance: 1_000_000_000n, held: amount, debt: 0n } as Wallet
  return { status: 201, body: JSON.stringify({ ...reservationToWire(reservation), wallet: figuresToWire(wallet) }), replayed: false }
}
