import { newId } from '../../kernel/ids.ts'
import type { Draft } from '../../ledger/book.ts'
import type { Lane } from '../../ledger/lane.ts'
import type { PriceBook } from '../../pricing/prices.ts'
import type { Gateway } from '../gateway.ts'
import type { Package } from '../package.ts'
import { payments } from '../payment.ts'
import type { PaymentReads } from '../payments-prisma.ts'
import type { BonusRule } from '../promotion/bonus-rule.ts'
import type { SyncOutcome } from '../sync.ts'
import type { Outbox } from './outbox.ts'
import type { TopUpReads } from './reads-prisma.ts'
import { topUps } from './top-up.ts'

/** What topping up needs of the others. */
export interface TopUpPorts {
  readonly gateway: Gateway
  readonly lane: Pick<Lane, 'submit'>
  readonly outbox: Outbox
  readonly reads: TopUpReads
  readonly orders: Pick<PaymentReads, 'find' | 'findCustomer' | 'linkCheckout'>
  readonly packages: { inForce(at: Date): Promise<Package[]> }
  readonly book: () => PriceBook
  readonly rules: (at: Date) => Promise<BonusRule[]>
  readonly sync: (subject: string, cause: string) => Promise<SyncOutcome>
  /** Where an owner goes after paying in person; null where nobody said. */
  readonly returnUrl: string | null
  readonly log: { warn(fields: object, message: string): void }
}

/** What a command is told of as, and an order that it needs. */
interface About {
  readonly name?: 'top_up' | 'top_up_action'
  readonly paymentId?: string
}

/** Decides something under the wallet's lock. @throws Error where the lane refuses */
export async function submit<Result extends object>(
  { lane }: Pick<TopUpPorts, 'lane'>,
  walletId: string,
  decide: (draft: Draft) => Result,
  { name = 'top_up', paymentId }: About = {},
): Promise<Result> {
  const { status, body } = await lane.submit({
    name,
    id: newId(),
    speaker: { clientId: null, everyClient: true, actor: 'system:top-up', requestId: 'job:top-ups' },
    wallets: [{ id: walletId }],
    rows: [{ table: topUps, id: walletId }, ...(paymentId === undefined ? [] : [{ table: payments, id: paymentId }])],
    idempotency: null,
    decide: (draft) => ({ ok: true, status: 200, effectId: paymentId ?? walletId, walletId, body: decide(draft) }),
  })
  if (status >= 400) throw new Error(`the lane refused a top-up: ${body}`)
  return JSON.parse(body) as Result
}
