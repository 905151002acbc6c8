import type { FastifyInstance } from 'fastify'
import type { Inbox } from '../inbox.ts'
import { readEvent } from './webhook.ts'

export interface WebhookServices {
  readonly inbox: Pick<Inbox, 'receive'>
  /** Secrets of the endpoint, `whsec_…`; more than one while they are changed. */
  readonly secrets: readonly string[]
  /** Works off what was received, now rather than in a second. */
  readonly processSoon: () => void
}

/** Far above any event of Stripe's. */
const EVENT_BYTES_MAX = 1024 * 1024

/** Where Stripe tells what happened. It only stores: whatever the event turns out to be, sending it again would mend nothing. */
export async function stripeRoutes(app: FastifyInstance, services: WebhookServices): Promise<void> {
  // The signature is over the bytes as they came, so nothing may read them before.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (_request, body, parsed) => parsed(null, body))

  app.post<{ Body: Buffer | undefined }>(
    '/v1/stripe/webhook',
    { config: { operation: 'stripe.webhook', scope: 'public' }, bodyLimit: EVENT_BYTES_MAX, schema: { hide: true } },
    async (request) => {
      const body = request.body ?? Buffer.alloc(0)
      const event = readEvent(body, request.headers['stripe-signature'], services.secrets, Date.now())
      const isNew = await services.inbox.receive(event)
      if (isNew && event.unreadable)
        request.log.error({ event: event.id, reason: event.unreadable }, 'an event cannot be read: somebody has to look at it')
      if (isNew && event.subject !== null) services.processSoon()
      return { received: true }
    },
  )
}
