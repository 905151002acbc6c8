import type { Checkout, Gateway } from '../billing/gateway.ts'
import type { Provider } from '../billing/payment.ts'
import { openCheckout, type Purchased, type PurchasePorts, purchase, titleOf } from '../billing/purchase.ts'
import { packageToWire, purchaseBody } from '../billing/schemas.ts'
import { isPaidInPerson } from '../billing/top-up/start-top-up.ts'
import { fail } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import { OWNER, PERSON, WALLET } from './wallet.ts'

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

  function configured(): Gateway {
    if (!gateway) throw fail('payments_not_configured', 'No payment provider is configured.')
    return gateway
  }

  return {
    async offer(): Promise<Offer> {
      const packages = (await services.packages.inForce(new Date())).filter(({ enabled }) => enabled)
      return { provider: gateway?.provider ?? null, livemode: gateway?.livemode ?? false, data: packages.map(packageToWire) }
    },

    /** @param page where the customer comes back to */
    async buy(requestId: string, packageName: string, page: string): Promise<Purchased> {
      const client = await clientId()
      const reference = newId()
      return purchase(
        { ...services, gateway: configured() },
        {
          caller: { speaker: { clientId: client, everyClient: false, actor: 'system:demo', requestId }, isAdmin: false },
          access: { clientId: client, everyClient: false, userId: PERSON },
          key: `demo:${reference}`,
          body: purchaseBody.parse({ wallet: WALLET, package: packageName, reference }),
          ...returnsTo(page, reference),
        },
      )
    },

    /** Where an order is paid that was placed before; null when it can be paid no more. @throws FareboxError `payment_not_found` */
    async pay(paymentId: string, page: string): Promise<Checkout | null> {
      const access = { clientId: await clientId(), everyClient: false, userId: PERSON }
      const wallet = await services.wallets.find({ ownerKind: OWNER.kind, ownerId: OWNER.id }, access)
      const payment = await services.orders.find(paymentId)
      if (!wallet || payment?.walletId !== wallet.id || !isPaidInPerson(payment))
        throw fail('payment_not_found', 'The demo has no such order.')
      const title = await titleOf(services.packages, payment)
      const wishes = { title, email: null, flow: 'checkout', ...returnsTo(page, payment.reference ?? '') } as const
      return openCheckout({ ...services, gateway: configured() }, payment, wallet, wishes)
    },
  }
}

/** The customer comes back with the order's reference: its id is not known before it is placed. */
function returnsTo(page: string, reference: string) {
  return { successUrl: `${page}?paid=${reference}`, cancelUrl: `${page}?left=${reference}` }
}
