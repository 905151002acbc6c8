import type { FastifyInstance, FastifyRequest } from 'fastify'
import { issueToken } from '../auth/issue-token.ts'
import { fail } from '../kernel/errors.ts'
import { sendAnswer } from '../ledger/routes.ts'
import { DEMO_FILES } from './files.ts'
import { type Action, type Cost, type DemoServices, demoWallet, PERSON, randomCost } from './wallet.ts'

/** Short, so that a page left open shows how the client renews it. */
const TOKEN_SECONDS = 300

const ACTIONS: readonly Action[] = ['reserve', 'commit', 'release', 'grant']

/** Nothing that is not ours, nothing inline, and no frame around it. */
const SECURITY_HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; '),
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

/**
 * A page that shows a wallet live, for development only: whoever reaches it may move the credits of one wallet, its own. The page
 * holds no API key, as no page should; what a product's backend would do for it is done here.
 */
export function demoRoutes(app: FastifyInstance, services: DemoServices, cost: Cost = randomCost): void {
  const wallet = demoWallet(services, cost)
  const config = { operation: 'demo', scope: 'public' } as const

  for (const { path, type, read } of DEMO_FILES) {
    app.get(path, { config, schema: { hide: true } }, async (_request, reply) => {
      const text = await read()
      if (text === null) throw fail('route_not_found', 'The sources of the demo are not there.')
      return reply.headers(SECURITY_HEADERS).header('content-type', type).send(text)
    })
  }

  app.post('/demo/token', { config, schema: { hide: true }, onRequest: checkOrigin }, async (request, reply) => {
    await wallet.open(request.id)
    const principal = { clientId: await wallet.clientId(), expiresAt: null }
    return reply.code(201).send(issueToken(app.auth.signToken, principal, { subject: PERSON, ttlSeconds: TOKEN_SECONDS }, Date.now()))
  })

  for (const action of ACTIONS) {
    app.post(`/demo/${action}`, { config, schema: { hide: true }, onRequest: checkOrigin }, async (request, reply) =>
      sendAnswer(reply, await wallet.act(request.id, action)),
    )
  }
}

/** Pages of others can make a browser send these requests too. @throws FareboxError `forbidden` */
async function checkOrigin({ headers: { origin, host } }: FastifyRequest): Promise<void> {
  const own = origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)
  if (!own) throw fail('forbidden', 'Only the page of the demo may do that.')
}
