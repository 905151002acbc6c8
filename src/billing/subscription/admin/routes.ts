import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { speakerOf } from '../../../auth/guard.ts'
import { pageOf, problemResponses } from '../../../http/openapi.ts'
import { paginate } from '../../../http/page.ts'
import { toWireTime } from '../../../kernel/time.ts'
import type { PlanStore, RecordedPlan } from '../plans-prisma.ts'
import * as schema from '../schemas.ts'

/** Plans as an admin sets them. */
export function planAdminRoutes(app: FastifyInstance, { plans }: { readonly plans: PlanStore }): void {
  const typed = app.withTypeProvider<ZodTypeProvider>()

  typed.post(
    '/v1/admin/plans',
    {
      config: { operation: 'plan.set', scope: 'admin' },
      schema: {
        operationId: 'setPlan',
        tags: ['Payments'],
        summary: 'Set a plan',
        description: 'Adds a version. Who subscribed keeps theirs until they change.',
        body: schema.planBody,
        response: { 201: schema.planVersionObject, ...problemResponses([400, 401, 403, 409, 413, 415, 422, 503]) },
      },
    },
    async (request, reply) => {
      const { body } = request
      const from = body.effective_from === undefined ? null : Date.parse(body.effective_from)
      const version = await plans.add(schema.newPlan(body), from, body.reason, speakerOf(request))
      return reply.code(201).send(schema.planVersionToWire(version))
    },
  )

  typed.get(
    '/v1/admin/plans',
    {
      config: { operation: 'plan.history', scope: 'admin' },
      schema: {
        operationId: 'listPlanVersions',
        tags: ['Payments'],
        summary: 'List the versions of plans, newest first',
        querystring: schema.planHistoryQuery,
        response: { 200: pageOf(schema.planHistoryObject), ...problemResponses([400, 401, 403, 503]) },
      },
    },
    async ({ query }) => {
      const listing = {
        name: 'plans',
        scope: { plan: query.plan },
        position: (version: RecordedPlan) => version.id,
        read: (before: string | null, limit: number) => plans.history(query.plan, before, limit),
      }
      return paginate(listing, query, (version) => ({
        ...schema.planVersionToWire(version),
        created_by: version.createdBy,
        created_at: toWireTime(version.createdAt),
      }))
    },
  )
}
