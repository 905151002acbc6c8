import { formatCredits } from '../kernel/credits.ts'
import type { Payment } from './payment.ts'

/** What an order is called on the page that it is paid on: "Basic · 5,000 + 500 credits". */
export function orderTitle({ credits, bonus }: Pick<Payment, 'credits' | 'bonus'>, packageName: string | null): string {
  const amounts = bonus === 0n ? [credits] : [credits, bonus]
  const what = `${amounts.map((amount) => grouped(formatCredits(amount))).join(' + ')} credits`
  return packageName === null ? what : `${packageName} · ${what}`
}

/** A decimal string with its thousands apart, as people read it: "1200.00" → "1,200.00". */
export function grouped(decimal: string): string {
  const [whole = '', fraction] = decimal.split('.')
  const apart = whole.replace(/\B(?=(?:\d{3})+$)/g, ',')
  return fraction === undefined ? apart : `${apart}.${fraction}`
}
