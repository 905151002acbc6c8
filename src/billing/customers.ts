import { FareboxError } from '../kernel/errors.ts'
import { ownerOf, type Wallet } from '../ledger/wallet.ts'
import type { Gateway } from './gateway.ts'
import type { PaymentReads } from './payments-prisma.ts'

/** The provider does not know a customer any more: somebody deleted it in the provider's own console. */
export class CustomerGone extends FareboxError {}

export interface CustomerPorts {
  readonly gateway: Gateway
  readonly orders: Pick<PaymentReads, 'findCustomer' | 'keepCustomer'>
}

/**
 * Does something with the account that a wallet's payments are kept under at the provider. It is opened the first time, and anew where
 * the provider does not know it any more; cards that were saved under the old one are gone with it.
 */
export async function withCustomer<T>(ports: CustomerPorts, wallet: Wallet, use: (customerId: string) => Promise<T>): Promise<T> {
  const { gateway, orders } = ports
  const open = async (gone: string | null) => {
    const opened = await gateway.openCustomer({ walletId: wallet.id, owner: ownerOf(wallet), gone })
    return orders.keepCustomer(wallet.id, gateway, opened, gone)
  }
  const customerId = (await orders.findCustomer(wallet.id, gateway)) ?? (await open(null))
  try {
    return await use(customerId)
  } catch (error) {
    if (!(error instanceof CustomerGone)) throw error
    return use(await open(customerId))
  }
}
