import pMap from 'p-map'
import { HOUR_MS, type Instant } from '../kernel/time.ts'
import { refuseOthers } from './gateway.ts'
import type { Payment } from './payment.ts'
import type { PaymentReads } from './payments-prisma.ts'
import { leaveUnpaid, type SyncPorts, sync } from './sync.ts'
import { isPaidInPerson } from './top-up/start-top-up.ts'

/**
 * Gives an order up that nobody has paid: what it could be paid on is closed, and then the order is whatever the provider says. Should
 * money have been on its way, it is paid all the same.
 * @param unlessBegun leaves it where somebody has begun to pay
 * @throws FareboxError `payments_not_configured`, `payment_provider_unavailable`
 */
export async function cancelOrder(ports: SyncPorts, payment: Payment, cause: string, unlessBegun = false): Promise<void> {
  const { gateway } = ports
  refuseOthers(gateway, payment)
  await gateway.closeCheckout(payment, unlessBegun)
  const subject = payment.objectId ?? payment.checkoutId
  // Nobody was ever shown where to pay it.
  if (subject === null) await leaveUnpaid(ports, payment, cause)
  else await sync(ports, subject, cause)
}

/** A page is open for a day; an order at today's price must not be paid next year. */
const UNPAID_MS_MAX = 25 * HOUR_MS
const READ_AT_ONCE = 500
const CANCELLED_AT_ONCE = 8

export interface CancelUnpaidPorts extends SyncPorts {
  readonly orders: SyncPorts['orders'] & Pick<PaymentReads, 'unpaid'>
  readonly log: { warn(fields: object, message: string): void }
}

/** Gives up the orders that somebody placed more than a day ago and nobody has paid. @param now by the database's clock */
export async function cancelUnpaid(ports: CancelUnpaidPorts, now: Instant): Promise<void> {
  await pMap(unpaid(ports, new Date(now - UNPAID_MS_MAX)), (payment) => giveUp(ports, payment), { concurrency: CANCELLED_AT_ONCE })
}

async function* unpaid({ gateway, orders }: CancelUnpaidPorts, before: Date): AsyncGenerator<Payment> {
  for (let after: Payment | null = null; ; ) {
    const found: Payment[] = await orders.unpaid(gateway, before, after, READ_AT_ONCE)
    yield* found.filter(isPaidInPerson)
    after = found.at(-1) ?? null
    if (found.length < READ_AT_ONCE) return
  }
}

async function giveUp(ports: CancelUnpaidPorts, payment: Payment): Promise<void> {
  try {
    await cancelOrder(ports, payment, 'job:unpaid-orders', true)
  } catch (error) {
    ports.log.warn({ err: error, payment: payment.id }, 'an order that nobody paid will be closed later')
  }
}
