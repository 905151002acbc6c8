import { type Applied, applyPayment } from '../../src/billing/apply-payment.ts'
import { type Payment, type ProviderPayment, payments } from '../../src/billing/payment.ts'
import { type Order, placeOrder } from '../../src/billing/place-order.ts'
import { assert } from '../../src/kernel/errors.ts'
import { toWireId } from '../../src/kernel/ids.ts'
import type { Outcome } from '../../src/ledger/command.ts'
import { Bench, bookOf, MARKUP, RATE, START, taken } from './decide.ts'

/** A package at 45 dollars, in credits of a size that shows every rounding. */
export const BASIC: Order = {
  packageVersionId: 'basic',
  currency: 'USD',
  amount: 4_500n,
  credits: 5_000n,
  bonus: 500n,
  firstBonus: 0n,
  promotion: 0n,
  redemptionId: null,
}

/** A book in memory that sells: orders, and what a provider says of their payments. */
export class Till extends Bench {
  #reads = 0n
  /** Charges of any size. */
  override prices = bookOf({ markups: [MARKUP], rates: [RATE] })

  order(walletId: string, what: Partial<Order> = {}): Payment {
    const order = { ok: true, value: { ...BASIC, ...what } } as const
    const input = { walletId, order, provider: 'stripe', livemode: false, reference: null, metadata: null } as const
    return taken(this.run([walletId], [], (draft) => placeOrder(draft, input))).payment
  }

  /** What the provider would say of a payment that is as ordered; paid unless something else is said. */
  said(of: Payment, said: Partial<ProviderPayment> = {}): ProviderPayment {
    return {
      objectId: `pi_${of.id.slice(0, 8)}`,
      status: 'paid',
      failure: null,
      currency: of.currency,
      amount: of.amount,
      refunded: 0n,
      withdrawn: 0n,
      disputed: false,
      livemode: false,
      paymentId: of.id,
      walletId: of.walletId,
      paidAt: START - 5_000,
      ...said,
    }
  }

  /** A number for a reading that begins now. */
  nextRead(): bigint {
    this.#reads += 1n
    return this.#reads
  }

  /** Applies what the provider says, as read just now unless a reading's number is given. */
  apply(payment: Payment, said: Partial<ProviderPayment> = {}, read: bigint = this.nextRead()): Outcome<Applied> {
    const state = this.said(payment, said)
    return this.run(
      [],
      [{ table: payments, id: payment.id }],
      (draft, walletId) => applyPayment(draft, { walletId, paymentId: payment.id, read, state }),
      null,
    )
  }

  /** An order that was paid. */
  sold(walletId: string, what: Partial<Order> = {}): Payment {
    const payment = this.order(walletId, what)
    return taken(this.apply(payment)).payment
  }

  paid(payment: Payment): Payment {
    const found = this.store.payments.get(payment.walletId)?.get(payment.id)
    assert(found !== undefined, 'the order was placed')
    return found
  }

  /** What the ledger says was taken for a payment, of what was bought and of the bonus. */
  takenFor(payment: Payment): { bought: bigint; bonus: bigint } {
    const reference = toWireId('payment', payment.id)
    const sums = { bought: 0n, bonus: 0n }
    for (const row of this.book(payment.walletId).transactions) {
      if (row.reference !== reference || (row.kind !== 'clawback' && row.kind !== 'reinstatement')) continue
      assert((row.kind === 'clawback') === row.amount < 0n, 'a clawback takes and a reinstatement gives')
      if (row.counterAccount === 'purchases') sums.bought -= row.amount
      else if (row.counterAccount === 'promotions') sums.bonus -= row.amount
      else throw new Error(`a ${row.kind} against ${row.counterAccount}`)
    }
    return sums
  }
}
