/** One request, from its words to its answer. Nothing in here waits. */
import { expanded } from './expand.ts'
import { StripeFailure } from './failure.ts'
import type { Form } from './form.ts'
import type { Answer } from './idempotency.ts'
import { readParams } from './params.ts'
import { routeFor } from './routes.ts'
import type { World } from './world.ts'

export interface Asked {
  readonly method: string
  readonly path: string
  readonly form: Form
  readonly requestId: string
  readonly idempotencyKey: string | null
  readonly authorization: string | undefined
}

/** `began` tells whether the work was begun: only then is the answer kept for the key. */
export interface Handled extends Answer {
  readonly began: boolean
}

export function handle(world: World, asked: Asked): Handled {
  let began = false
  try {
    const found = routeFor(asked.method, asked.path)
    if (found === null)
      throw new StripeFailure(404, {
        type: 'invalid_request_error',
        message: `Unrecognized request URL (${asked.method}: ${asked.path}), or one that the test Stripe does not have.`,
      })
    const params = readParams(found.route.params, asked.form) as { expand?: string[] }
    began = true
    world.request = { id: asked.requestId, idempotency_key: asked.idempotencyKey }
    const answer = found.route.run(world, params as never, { id: found.id, url: asked.path })
    const body = JSON.stringify(params.expand ? expanded(world, answer, params.expand) : answer)
    return { began, status: 200, body, requestId: asked.requestId }
  } catch (error) {
    return { began, requestId: asked.requestId, ...failureAnswer(error) }
  } finally {
    world.request = null
  }
}

export function failureAnswer(error: unknown): { status: number; body: string } {
  if (error instanceof StripeFailure) return { status: error.status, body: JSON.stringify({ error: error.body }) }
  // A mistake in the test Stripe itself: its stack is the most useful thing to say.
  const message = error instanceof Error ? `The test Stripe is broken: ${error.stack}` : String(error)
  return { status: 500, body: JSON.stringify({ error: { type: 'api_error', message } }) }
}

export function checkKey(world: World, authorization: string | undefined): void {
  const given = authorization?.replace(/^Bearer /, '') ?? ''
  if (given === world.settings.apiKey) return
  const message =
    given === '' ? 'You did not provide an API key.' : `Invalid API Key provided: ${given.slice(0, 7)}${'*'.repeat(8)}${given.slice(-4)}`
  throw new StripeFailure(401, { type: 'invalid_request_error', message })
}
