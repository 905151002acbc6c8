import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { issueToken } from '../auth/issue-token.ts'
import { ownUrl } from '../billing/routes.ts'
import { checkoutToWire, packageObject, pageUrl, paymentParams } from '../billing/schemas.ts'
import { isOwnOrigin } from '../http/own-origin.ts'
import { fail } from '../kernel/errors.ts'
import { fromWireId, toWireId } from '../kernel/ids.ts'
import { sendAnswer } from '../ledger/routes.ts'
import { DEMO_FILES } from './files.ts'
import { demoShop, type ShopServices } from './shop.ts'
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
export function demoRoutes(app: FastifyInstance, services: DemoServices & ShopServices, cost: Cost = randomCost): void {
  const wallet = demoWallet(services, cost)
  const shop = demoShop(services, wallet.clientId)
  const config = { operation: 'demo', scope: 'public' } as const

  // Whoever opens the address that the start prints wants to see something.
  app.get('/', { config, schema: { hide: true } }, (_request, reply) => reply.redirect('/demo'))

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

  app.get('/demo/packages', { config, schema: { hide: true } }, () => shop.offer())

  const typed = app.withTypeProvider<ZodTypeProvider>()
  typed.post(
    '/demo/buy/:package',
    { config, schema: { hide: true, params: z.strictObject({ package: packageObject.shape.id }) }, onRequest: checkOrigin },
    async (request, reply) => {
      const own = ownUrl(request)
      const bought = await shop.buy(request.id, request.params.package, `${own}/demo`)
      if (!bought.ok) return sendAnswer(reply, bought.answer)
      return reply.code(201).send({ id: toWireId('payment', bought.payment.id), checkout: checkoutToWire(bought.checkout, own) })
    },
  )

  // A plain link: whoever closed the payment page, or left it, finds it again.
  typed.get('/demo/pay/:payment_id', { config, schema: { hide: true, params: paymentParams } }, async (request, reply) => {
    const own = ownUrl(request)
    const checkout = await shop.pay(fromWireId('payment', request.params.payment_id) as string, `${own}/demo`)
    return reply.redirect(pageUrl(checkout?.url ?? null, own) ?? '/demo', 303)
  })
}

/** Pages of others can make a browser send these requests too. @throws FareboxError `forbidden` */
async function checkOrigin({ headers }: FastifyRequest): Promise<void> {
  if (!isOwnOrigin(headers)) throw fail('forbidden', 'Only the page of the demo may do that.')
}
