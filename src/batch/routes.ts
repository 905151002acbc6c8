import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { principalOf } from '../auth/guard.ts'
import { problemResponses } from '../http/openapi.ts'
import { type ErrorCode, FareboxError, type FieldError, fail } from '../kernel/errors.ts'
import type { Command } from '../ledger/command.ts'
import type { Lane } from '../ledger/lane.ts'
import { type Operation, toCommand } from '../ledger/operation.ts'
import { callerOf, JSON_MEDIA_TYPE, refuseEarly, settledAnswers } from '../ledger/routes.ts'

export const BATCH_COMMANDS_MAX = 1_000
/** Room for a thousand commands with references and some metadata. */
const BODY_BYTES_MAX = 4 * 1024 * 1024

const envelope = {
  idempotency_key: z.string().regex(/^[\x20-\x7e]{1,255}$/, 'must be 1 to 255 printable ASCII characters'),
}

const batchAnswer = z
  .object({
    results: z.array(
      z.object({
        status: z.int().meta({ description: 'The status that the command alone would have been answered with' }),
        replayed: z.boolean(),
        body: z.unknown().meta({ description: 'The answer or the problem of this command' }),
      }),
    ),
  })
  .meta({ id: 'BatchResponse' })

/**
 * `POST /v1/batch`: up to 1,000 commands, each with its own key and its own result, carried out in order as far as they share a wallet. They are not one
 * transaction: some may be refused while others hold. A malformed command refuses the whole request before any is carried out.
 */
export function batchRoutes(
  app: FastifyInstance,
  operations: readonly Operation[],
  lane: Pick<Lane, 'submitAll' | 'refusal'>,
  onRefused: (code: ErrorCode) => void,
): void {
  const byName = new Map(operations.map((operation) => [operation.name, operation]))
  const command = z.discriminatedUnion(
    'operation',
    operations.map((operation) => commandSchema(operation)) as [ReturnType<typeof commandSchema>, ...ReturnType<typeof commandSchema>[]],
  )
  const body = z.strictObject({ commands: z.array(command).min(1).max(BATCH_COMMANDS_MAX) }).meta({ id: 'BatchRequest' })

  app.withTypeProvider<ZodTypeProvider>().post(
    '/v1/batch',
    {
      config: { operation: 'batch', scope: 'usage:write' },
      bodyLimit: BODY_BYTES_MAX,
      onRequest: refuseEarly(lane),
      schema: {
        operationId: 'batch',
        tags: ['Batch'],
        summary: 'Send up to 1,000 commands',
        description:
          'Each command has its own idempotency key and its own result; those on one wallet are carried out in order, and each may hold or be refused by itself. A malformed command refuses the whole request before anything is carried out.',
        body,
        response: { 200: batchAnswer, ...problemResponses([400, 401, 403, 413, 415, 503]) },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { scopes } = principalOf(request)
      const items = request.body.commands as unknown as readonly BatchItem[]
      const prepared = await Promise.all(items.map(({ operation, body }) => byName.get(operation)?.prepare?.(body) ?? body))
      const commands = items.map((item, index): Command => {
        const { operation: name, idempotency_key: key, body, ...params } = item
        const operation = byName.get(name) as Operation
        if (!scopes.has('admin') && !scopes.has(operation.scope as never)) {
          throw forbidden(`/commands/${index}/operation`, `This key lacks the scope ${operation.scope}.`)
        }
        return toCommand(operation, caller, key, params, body, prepared[index])
      })
      const answers = await settledAnswers(lane.submitAll(commands), request.id, onRefused)
      const results = answers.map(({ status, replayed, body }) => `{"status":${status},"replayed":${replayed},"body":${body}}`)
      return reply.header('content-type', JSON_MEDIA_TYPE).send(`{"results":[${results.join(',')}]}` as never)
    },
  )
}

interface BatchItem {
  readonly operation: string
  readonly idempotency_key: string
  readonly body: unknown
}

function commandSchema(operation: Operation) {
  const params = operation.params as z.ZodObject
  return z.strictObject({ operation: z.literal(operation.name), ...envelope, ...params.shape, body: operation.body })
}

function forbidden(pointer: string, message: string): FareboxError {
  const errors: FieldError[] = [{ pointer, message }]
  return new FareboxError({ ...fail('forbidden', message).refusal, errors })
}
