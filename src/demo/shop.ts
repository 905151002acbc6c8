import type { Gateway } from '../billing/gateway.ts'
import type { Provider } from '../billing/payment.ts'
import { type Purchased, type PurchasePorts, purchase } from '../billing/purchase.ts'
import { packageToWire, purchaseBody } from '../billing/schemas.ts'
import { fail } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import { PERSON, WALLET } from './wallet.ts'

/** What the demo sells to its wallet: the part of a product's backend that places orders, played within the service. */

export interface ShopServices extends Omit<PurchasePorts, 'gateway'> {
  /** Null where no provider is configured. */
  readonly gateway: Gateway | null
}

export interface Offer {
  /** Who takes the payment, so that the page can say whether it is real. */
  readonly provider: Provider | null
  readonly livemode: boolean
  readonly data: readonly ReturnType<typeof packageToWire>[]
}

export function demoShop(services: ShopServices, clientId: () => Promise<string>) {
  const { gateway } = services
  return {
    async offer(): Promise<Offer> {
      const packages = (await services.packages.inForce(new Date())).filter(({ enabled }) => enabled)
      return { provider: gateway?.provider ?? null, livemode: gateway?.livemode ?? false, data: packages.map(packageToWire) }
    },

    /** @param page where the customer comes back to */
    async buy(requestId: string, packageName: string, page: string): Promise<Purchased> {
      if (!gateway) throw fail('payments_not_configured', 'No payment provider is configured.')
      const client = await clientId()
      return purchase(
        { ...services, gateway },
        {
          caller: { speaker: { clientId: client, everyClient: false, actor: 'system:demo', requestId }, isAdmin: false },
          access: { clientId: client, everyClient: false, userId: PERSON },
          key: `demo:${newId()}`,
          body: purchaseBody.parse({ wallet: WALLET, package: packageName }),
          successUrl: `${page}?paid`,
          cancelUrl: `${page}?left`,
        },
      )
    },
  }
}
