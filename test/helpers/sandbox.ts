import { SANDBOX_CARDS, type SandboxCard } from '../../src/billing/sandbox/card.ts'
import { act, type SandboxAction, type SandboxPayment } from '../../src/billing/sandbox/payment.ts'
import type { AppOfService, Send } from './service.ts'

/** Something that can be clicked in the sandbox, or what its books say afterwards: other providers have payments that fail for good. */
type Change = SandboxAction | (Partial<Omit<SandboxPayment, 'status'>> & { readonly status?: SandboxPayment['status'] | 'failed' })

/** What customers and banks do with an order at the sandbox, without its pages; and what the service makes of it. */
export async function atSandbox(app: Pick<AppOfService, 'rooms'>, order: { readonly id: string }, change: Change): Promise<void> {
  await untold(app, order, change)
  const result = await app.rooms.billing.sync(sandboxId(order), 'test')
  if (result.outcome !== 'applied') throw new Error(`${order.id} was ${result.outcome}: ${result.reason}`)
}

/** The same, and nobody tells the service. */
export async function untold(app: Pick<AppOfService, 'rooms'>, order: { readonly id: string }, change: Change): Promise<void> {
  await app.rooms.billing.sandbox.change(sandboxId(order), (before) => {
    const after = typeof change === 'string' ? act(before, change, Date.now()) : { ...before, ...change }
    if (after === before) throw new Error(`${order.id} takes no ${change} now`)
    return after as SandboxPayment
  })
}

/** Saves cards of a wallet on the pages of the sandbox, as their owner does, each on its own; the last one is the newest. */
export async function saveCards(app: Pick<AppOfService, 'made' | 'post'>, wallet: string, cards: SandboxCard[], as: Send = {}) {
  for (const card of cards) {
    const { url } = await app.made(`/v1/wallets/${wallet}/cards`, {}, as)
    const { status, text } = await app.post(`${new URL(url).pathname}/${card}`, null, { key: null, idempotencyKey: null })
    if (status !== 303) throw new Error(`${SANDBOX_CARDS[card].card} was not saved: ${text}`)
  }
}

/** The sandbox's own id of an order's payment. */
export function sandboxId(order: { readonly id: string }): string {
  return `sandbox_${order.id}`
}
