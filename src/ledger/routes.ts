import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { principalOf, speakerOf } from '../auth/guard.ts'
import { hasScope, ownOwner } from '../auth/principal.ts'
import { problemResponses } from '../http/openapi.ts'
import { codeOfProblem, PROBLEM_MEDIA_TYPE, renderProblem } from '../http/problem.ts'
import { type ErrorCode, FareboxError, fail } from '../kernel/errors.ts'
import type { Access } from './access.ts'
import type { Answer } from './command.ts'
import type { Lane } from './lane.ts'
import { type Caller, type Operation, parseIdempotencyKey, toCommand } from './operation.ts'

export const idempotencyHeaders = z.object({
  'idempotency-key': z.string().max(300).optional().meta({
    description:
      'Required. 1 to 255 printable ASCII characters, unique to this command; the same key with the same body replays the answer',
  }),
})

export const JSON_MEDIA_TYPE = 'application/json; charset=utf-8'

/** Statuses that any operation of the lane may answer with, and those that find the wallet short. */
const PROBLEMS = [400, 401, 403, 404, 409, 413, 415, 422, 503]
const PROBLEMS_OF_CREDITS = [...PROBLEMS, 402]

/** Registers a POST route for each operation: parse, authorise, fingerprint, through the lane, answer. */
export function operationRoutes(app: FastifyInstance, operations: readonly Operation[], lane: Pick<Lane, 'submit' | 'refusal'>): void {
  for (const operation of operations) {
    app.withTypeProvider<ZodTypeProvider>().post(
      operation.path,
      {
        config: { operation: operation.name, scope: operation.scope },
        onRequest: refuseEarly(lane),
        schema: {
          operationId: operation.name,
          tags: [operation.tag],
          summary: operation.summary,
          description: operation.description,
          headers: idempotencyHeaders,
          params: operation.params,
          body: operation.body,
          response: { [operation.status]: operation.answer, ...problemResponses(operation.needsCredits ? PROBLEMS_OF_CREDITS : PROBLEMS) },
        },
      },
      async (request, reply) => {
        const key = parseIdempotencyKey(request.headers['idempotency-key'])
        const prepared = operation.prepare ? await operation.prepare(request.body) : request.body
        const answer = await lane.submit(toCommand(operation, callerOf(request), key, request.params, request.body, prepared))
        return sendAnswer(reply, answer)
      },
    )
  }
}

/** Refuses what the lane would refuse before its body is read: reading it is most of the work. */
export function refuseEarly(lane: Pick<Lane, 'refusal'>): onRequestHookHandler {
  return (_request, _reply, done) => done(lane.refusal ?? undefined)
}

/** Who calls, for building commands. */
export function callerOf(request: FastifyRequest): Caller {
  const speaker = speakerOf(request)
  return { speaker, isAdmin: speaker.everyClient }
}

/** What the caller may read. */
export function accessOf(request: FastifyRequest): Access {
  const principal = principalOf(request)
  return { clientId: principal.clientId, everyClient: hasScope(principal, 'admin'), userId: ownOwner(principal)?.ownerId ?? null }
}

/** Sends a lane's answer as it stands: its body is JSON text already, byte for byte what a replay will see. */
export function sendAnswer(reply: FastifyReply, answer: Answer): FastifyReply {
  if (answer.replayed) reply.header('idempotent-replayed', 'true')
  if (answer.status >= 400) reply.request.refusalCode = codeOfProblem(answer.body)
  return reply
    .code(answer.status)
    .header('content-type', answer.status < 400 ? JSON_MEDIA_TYPE : PROBLEM_MEDIA_TYPE)
    .send(answer.body)
}

/**
 * The results of many commands as JSON texts, those that could not be carried out included.
 * @param onRefused is told of those: the lane tells of what it decided itself
 */
export async function settledAnswers(
  answers: readonly Promise<Answer>[],
  requestId: string,
  onRefused: (code: ErrorCode) => void,
): Promise<Answer[]> {
  const settled = await Promise.allSettled(answers)
  return settled.map((result) => {
    if (result.status === 'fulfilled') return result.value
    const error = result.reason instanceof FareboxError ? result.reason : fail('internal', 'The command could not be carried out.')
    onRefused(error.refusal.code)
    return { ...renderProblem(error.refusal, requestId), replayed: false }
  })
}
