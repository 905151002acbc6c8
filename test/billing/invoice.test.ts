import t from 'tap'
import { placeOf } from '../../src/billing/subscription/apply-invoice.ts'
import { boughtBy, type InvoiceLine } from '../../src/billing/subscription/invoice.ts'
import { changeOf, type Plan } from '../../src/billing/subscription/plan.ts'
import { presentPlanId } from '../../src/billing/subscription/subscription.ts'

const plan = (id: string, amount: bigint, credits: bigint, more: Partial<Plan> = {}): Plan => ({
  ...{ id, plan: id, name: id, currency: 'USD', amount, interval: 'month', credits, rolloverCap: 0n, enabled: true, effectiveFrom: 0 },
  ...more,
})
const basic = plan('basic', 3_000n, 1_000_000_000n)
const pro = plan('pro', 9_000n, 4_000_000_000n)
const plans = new Map([basic, pro].map((one) => [one.id, one]))
const line = (priceId: string | null, amount: bigint, start = 0, end = 30): InvoiceLine => ({ priceId, amount, period: { start, end } })

t.test('credits follow the money, line by line', async (t) => {
  t.match(boughtBy([line('basic', 3_000n)], plans), { credits: basic.credits, period: { start: 0, end: 30 }, plan: basic })
  t.match(boughtBy([line('basic', 6_000n)], plans), { credits: 2n * basic.credits }, 'twice the plan')
  const upgrade = [line('basic', -1_500n, 15, 30), line('pro', 4_500n, 15, 30)]
  t.match(boughtBy(upgrade, plans), { credits: 1_500_000_000n, period: { start: 15, end: 30 }, plan: pro })
  t.match(boughtBy([...upgrade, line('pro', 9_000n, 30, 60)], plans), { credits: 5_500_000_000n, period: { start: 30, end: 60 } })
  t.match(boughtBy([line('basic', 1n), line('basic', 1n)], plans), { credits: 666_666n }, 'rounded down once')
  t.match(boughtBy([line('basic', 3_000n), line('setup', 500n), line(null, 100n)], plans), { credits: basic.credits }, 'what is no plan')
})

t.test('an invoice that gives back as much as it takes buys nothing', async (t) => {
  t.equal(boughtBy([], plans), null)
  t.equal(boughtBy([line('setup', 500n)], plans), null)
  t.equal(boughtBy([line('basic', 0n)], plans), null, 'a trial')
  t.equal(boughtBy([line('pro', -4_500n), line('basic', 1_500n)], plans), null)
  t.equal(boughtBy([line('pro', -4_500n)], plans), null)
})

t.test('a period follows the newest one, is a part of it, or was over before', async (t) => {
  const credited = { creditedFrom: 30, creditedUntil: 60 }
  t.equal(placeOf({ creditedFrom: null, creditedUntil: null }, { start: 30, end: 60 }), 'next')
  t.equal(placeOf(credited, { start: 60, end: 90 }), 'next')
  t.equal(placeOf(credited, { start: 90, end: 120 }), 'next')
  t.equal(placeOf(credited, { start: 45, end: 60 }), 'present')
  t.equal(placeOf(credited, { start: 45, end: 410 }), 'present', 'a year that begins at once')
  t.equal(placeOf(credited, { start: 0, end: 30 }), 'past')
})

t.test('a period is paid for with what it was credited for, once it was', async (t) => {
  const of = { planVersionId: 'billed', creditedPlanId: 'credited', creditedUntil: 60, periodStart: 30 }
  t.equal(presentPlanId(of), 'credited')
  t.equal(presentPlanId({ ...of, periodStart: 60 }), 'billed', 'the next one has begun')
  t.equal(presentPlanId({ ...of, periodStart: null }), 'credited', 'its state was not told yet')
  t.equal(presentPlanId({ ...of, creditedPlanId: null, creditedUntil: null }), 'billed', 'nothing was paid yet')
})

t.test('dearer is at once, cheaper is later, and some things cannot be', async (t) => {
  const year = plan('year', 30_000n, 1n, { interval: 'year' })
  t.equal(changeOf(basic, basic), 'same')
  t.equal(changeOf(basic, pro), 'upgrade')
  t.equal(changeOf(basic, plan('more', 3_000n, 2n)), 'upgrade')
  t.equal(changeOf(pro, basic), 'downgrade')
  t.equal(changeOf(basic, year), 'upgrade')
  t.equal(changeOf(basic, plan('cheap', 2_000n, 1n, { interval: 'year' })), null)
  t.equal(changeOf(year, pro), null)
  t.equal(changeOf(basic, plan('euro', 9_000n, 1n, { currency: 'EUR' })), null)
})
