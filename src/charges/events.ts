import { formatCredits } from '../kernel/credits.ts'
import type { Command } from '../ledger/command.ts'
import { type Caller, decided, type Operation, operation, toCommand, walletRef } from '../ledger/operation.ts'
import { figuresToWire } from '../ledger/wallet.ts'
import type { PriceBook } from '../pricing/prices.ts'
import { chargeOnce } from './charge-once.ts'
import { details } from './operations.ts'
import { type CloudEvent, chargeAnswer, chargeToWire, costRequest, noParams, ownEvent, type UsageEvent } from './schemas.ts'

export function fromCloudEvent(event: CloudEvent): UsageEvent {
  const { wallet, ...data } = event.data
  return {
    ...data,
    source: event.source,
    id: event.id,
    wallet: (event.subject ?? wallet) as string,
    ...(event.time !== undefined && { occurred_at: event.time }),
  }
}

/**
 * A usage event as a command: work that is done, so it is charged whatever the wallet has, and recorded as uncollected where it
 * has nothing. (`source`, `id`) is its idempotency key.
 */
function eventOperation(prices: () => PriceBook): Operation {
  return operation({
    name: 'event',
    path: '/v1/events',
    scope: 'usage:write',
    tag: 'Events',
    summary: 'Report usage',
    description: 'Charges work that is done.',
    status: 201,
    needsCredits: false,
    params: noParams,
    body: ownEvent,
    answer: chargeAnswer,
    plan(_caller, _params, event) {
      const input = {
        ...details(event),
        cost: costRequest(event),
        resourceOwner: event.resource_owner ?? null,
        payees: [],
        force: false,
        shortfall: 'record' as const,
      }
      return {
        wallets: [walletRef(event.wallet)],
        rows: [],
        decide: (draft, { wallets: [walletId] }) =>
          decided(chargeOnce(draft, { ...input, walletId }, prices()), 201, ({ charge, debtAdded, wallet }) => ({
            effectId: charge.id,
            walletId: wallet.id,
            body: { ...chargeToWire(charge), debt: formatCredits(debtAdded), wallet: figuresToWire(wallet) },
          })),
      }
    },
  })
}

/** The lane's command for a usage event. */
export function eventCommands(prices: () => PriceBook): (caller: Caller, event: UsageEvent) => Command {
  const operation = eventOperation(prices)
  return (caller, event) => toCommand(operation, caller, JSON.stringify([event.source, event.id]), {}, event)
}
