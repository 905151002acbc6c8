import type { Card } from '../gateway.ts'

/** The cards that can be saved in the sandbox, by what they do, and the page on which one is. */

export const SANDBOX_CARDS = {
  good: { methodId: 'sandbox_card', fingerprint: 'sandbox_good', card: 'sandbox 4242' },
  declined: { methodId: 'sandbox_card_declined', fingerprint: 'sandbox_declined', card: 'sandbox 0002' },
} as const satisfies Readonly<Record<string, Card>>
export type SandboxCard = keyof typeof SANDBOX_CARDS

export interface SandboxCardPage {
  readonly id: string
  readonly customerId: string
  readonly successUrl: string
  readonly cancelUrl: string
  /** The card that was saved on it, one to a page; null while none is. */
  readonly methodId: string | null
}

export function cardOf(methodId: string | null): Card | null {
  return Object.values(SANDBOX_CARDS).find((card) => card.methodId === methodId) ?? null
}
