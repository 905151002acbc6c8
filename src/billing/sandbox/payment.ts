/** A payment that nobody makes, in the sandbox's own books. */
export interface SandboxPayment {
  readonly id: string
  readonly paymentId: string
  readonly walletId: string
  readonly title: string
  readonly currency: string
  readonly amount: string
  readonly status: 'open' | 'paid' | 'cancelled'
  /** Why the last card was not taken. */
  readonly failure: string | null
  readonly refunded: string
  /** Those that the product asked for, by the ids of its requests: one that is repeated is the same refund. */
  readonly refunds: Readonly<Record<string, SandboxRefund>>
  /** What a pretended bank took. */
  readonly withdrawn: string
  readonly dispute: 'open' | 'won' | 'lost' | null
  readonly paidAt: number | null
  readonly successUrl: string
  readonly cancelUrl: string
}

export interface SandboxRefund {
  readonly id: string
  readonly amount: string
}

export const SANDBOX_ACTIONS = ['pay', 'decline', 'refund', 'dispute', 'win', 'lose'] as const
export type SandboxAction = (typeof SANDBOX_ACTIONS)[number]

/** What can happen to a payment next; a bank hears one dispute of it. */
export function actionsOf({ status, dispute, refunded, amount }: SandboxPayment): readonly SandboxAction[] {
  if (status === 'open') return ['pay', 'decline']
  if (status === 'cancelled') return []
  if (dispute === 'open') return ['win', 'lose']
  if (dispute === 'lost' || refunded === amount) return []
  return dispute === 'won' ? ['refund'] : ['refund', 'dispute']
}

/** What an action makes of a payment; the same payment where it makes no sense, so that a second click does nothing. */
export function act(payment: SandboxPayment, action: SandboxAction, now: number): SandboxPayment {
  if (!actionsOf(payment).includes(action)) return payment
  switch (action) {
    case 'pay':
      return { ...payment, status: 'paid', failure: null, paidAt: now }
    case 'decline':
      return { ...payment, failure: 'The card was declined.' }
    case 'refund':
      return { ...payment, refunded: payment.amount }
    case 'dispute':
      return { ...payment, dispute: 'open', withdrawn: (BigInt(payment.amount) - BigInt(payment.refunded)).toString() }
    case 'win':
      return { ...payment, dispute: 'won', withdrawn: '0' }
    case 'lose':
      return { ...payment, dispute: 'lost' }
  }
}
