import type Stripe from 'stripe'

const SECONDS = { day: 86_400, week: 7 * 86_400 } as const
const MONTHS = { month: 1, year: 12 } as const

/** The first end of a period after `from`, counted from the anchor so that a 31st stays one where the month has it. */
export function periodEnd(anchor: number, from: number, recurring: Pick<Stripe.Price.Recurring, 'interval' | 'interval_count'>): number {
  for (let count = 1; ; count += 1) {
    const end = later(anchor, recurring.interval, recurring.interval_count * count)
    if (end > from) return end
  }
}

function later(anchor: number, interval: string, count: number): number {
  if (interval === 'day' || interval === 'week') return anchor + SECONDS[interval] * count
  const start = new Date(anchor * 1000)
  const months = start.getUTCMonth() + MONTHS[interval as 'month' | 'year'] * count
  const daysInMonth = new Date(Date.UTC(start.getUTCFullYear(), months + 1, 0)).getUTCDate()
  const day = Math.min(start.getUTCDate(), daysInMonth)
  const midnight = Date.UTC(start.getUTCFullYear(), months, day)
  return midnight / 1000 + (anchor % SECONDS.day)
}
