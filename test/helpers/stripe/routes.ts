import { chargeRoutes } from './resources/charges.ts'
import { sessionRoutes } from './resources/checkout-sessions.ts'
import { customerRoutes } from './resources/customers.ts'
import { disputeRoutes } from './resources/disputes.ts'
import { eventRoutes } from './resources/event-routes.ts'
import { invoiceRoutes } from './resources/invoice-routes.ts'
import { paymentIntentRoutes } from './resources/payment-intents.ts'
import { paymentMethodRoutes } from './resources/payment-methods.ts'
import { portalRoutes } from './resources/portal-sessions.ts'
import { priceRoutes } from './resources/prices.ts'
import { productRoutes } from './resources/products.ts'
import { refundRoutes } from './resources/refunds.ts'
import { setupIntentRoutes } from './resources/setup-intents.ts'
import { subscriptionRoutes } from './resources/subscriptions.ts'
import type { Route } from './route.ts'

const routes: readonly Route[] = [
  ...[...customerRoutes, ...productRoutes, ...priceRoutes, ...sessionRoutes, ...paymentIntentRoutes, ...setupIntentRoutes],
  ...[...paymentMethodRoutes, ...chargeRoutes, ...refundRoutes, ...disputeRoutes, ...invoiceRoutes, ...subscriptionRoutes],
  ...[...eventRoutes, ...portalRoutes],
]

const patterns = routes.map((route) => ({ route, pattern: new RegExp(`^${route.path.replace(':id', '([^/]+)')}$`) }))

export function routeFor(method: string, path: string): { route: Route; id: string } | null {
  for (const { route, pattern } of patterns) {
    if (route.method !== method) continue
    const match = pattern.exec(path)
    if (match) return { route, id: decodeURIComponent(match[1] ?? '') }
  }
  return null
}
