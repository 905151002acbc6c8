import { readFile } from 'node:fs/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isOwnOrigin } from '../../http/own-origin.ts'
import { fail } from '../../kernel/errors.ts'
import type { SyncOutcome } from '../sync.ts'
import { SANDBOX_CARDS, type SandboxCard } from './card.ts'
import { cardPage } from './card-page.ts'
import { SANDBOX_CARDS_PATH, SANDBOX_PATH } from './gateway.ts'
import { pageHeaders } from './layout.ts'
import { checkoutPage, donePage, unknownPage } from './page.ts'
import { act, SANDBOX_ACTIONS } from './payment.ts'
import type { SandboxStore } from './store-prisma.ts'

export interface SandboxServices {
  readonly store: SandboxStore
  /** What a webhook would bring about. */
  readonly sync: (subject: string, cause: string) => Promise<SyncOutcome>
}

const FORM = 'application/x-www-form-urlencoded'
/** The forms have no fields. */
const FORM_BYTES_MAX = 1024

/** The same from src and from dist: a build carries no sources along. */
const SOURCE = new URL('../../../src/billing/sandbox/', import.meta.url)
const FILES: Readonly<Record<string, string>> = { 'page.css': 'text/css; charset=utf-8', 'icon.svg': 'image/svg+xml' }

interface OfPage {
  Params: { id: string }
}

/** The pages of the sandbox, for development only: whoever reaches them may pay without money. */
export async function sandboxRoutes(app: FastifyInstance, { store, sync }: SandboxServices): Promise<void> {
  const options = { config: { operation: 'sandbox', scope: 'public' }, schema: { hide: true } } as const
  // Other kinds of bodies are no forms of the page.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(FORM, { parseAs: 'buffer', bodyLimit: FORM_BYTES_MAX }, (_request, _body, parsed) => parsed(null, undefined))

  for (const [name, type] of Object.entries(FILES)) {
    app.get(`/sandbox/${name}`, options, async (_request, reply) => reply.header('content-type', type).send(await textOf(name)))
  }

  app.get('/sandbox/done', options, async (_request, reply) => reply.headers(pageHeaders(null)).send(donePage()))

  app.get<OfPage>(`${SANDBOX_PATH}/:id`, options, async (request, reply) => {
    const payment = await store.find(request.params.id)
    if (!payment) return reply.code(404).headers(pageHeaders(null)).send(unknownPage())
    return reply.headers(pageHeaders(payment.successUrl)).send(checkoutPage(payment))
  })

  for (const action of SANDBOX_ACTIONS) {
    app.post<OfPage>(`${SANDBOX_PATH}/:id/${action}`, { ...options, onRequest: checkOrigin }, async (request, reply) => {
      const payment = await store.change(request.params.id, (before) => act(before, action, Date.now()))
      const result = await sync(payment.id, `sandbox:${request.id}`)
      if (result.outcome !== 'applied') {
        const trouble = `Farebox did not take this over: ${result.reason}`
        return reply.headers(pageHeaders(payment.successUrl)).send(checkoutPage(payment, trouble))
      }
      return reply.redirect(action === 'pay' ? payment.successUrl : `${SANDBOX_PATH}/${encodeURIComponent(payment.id)}`, 303)
    })
  }

  app.get<OfPage>(`${SANDBOX_CARDS_PATH}/:id`, options, async (request, reply) => {
    const page = await store.findCardPage(request.params.id)
    if (!page) return reply.code(404).headers(pageHeaders(null)).send(unknownPage())
    return reply.headers(pageHeaders(page.successUrl)).send(cardPage(page))
  })

  for (const name of Object.keys(SANDBOX_CARDS) as SandboxCard[]) {
    app.post<OfPage>(`${SANDBOX_CARDS_PATH}/:id/${name}`, { ...options, onRequest: checkOrigin }, async (request, reply) => {
      const page = await store.saveCard(request.params.id, SANDBOX_CARDS[name].methodId)
      return reply.redirect(page.successUrl, 303)
    })
  }
}

function textOf(name: string): Promise<string> {
  return readFile(new URL(name, SOURCE), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw fail('route_not_found', 'The sources of the sandbox are not there.')
    throw error
  })
}

/** Pages of others can make a browser send these requests too. @throws FareboxError `forbidden` */
async function checkOrigin({ headers }: FastifyRequest): Promise<void> {
  if (!isOwnOrigin(headers)) throw fail('forbidden', 'Only the page of the sandbox may do that.')
}
