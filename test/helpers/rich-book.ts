import { DAY_MS } from '../../src/kernel/time.ts'
import { subscribe } from './made-up-billing.ts'
import { atSandbox, sandboxId, saveCards } from './sandbox.ts'
import { type Body, type TestService, times } from './service.ts'

export interface RichBook {
  /** Many charges, captures, an open hold, a payee, refunds, adjustments. */
  readonly busy: string
  /** Earns from `busy`. */
  readonly payee: string
  /** In debt up to its limit, with cost that could not be collected. */
  readonly indebted: string
  /** Late commits, expired holds, an expired grant, one that is scheduled. */
  readonly aged: string
  readonly empty: string
  /** Buys credits, with an order in every state. The references of its orders name them. */
  readonly buyer: string
  /** In debt beyond its limit: what it spent was paid with money that went back. */
  readonly reversed: string
  /** Spent what a bank took and gave back after all. */
  readonly contested: string
  /** Bought credits by itself when few were left, and will again. */
  readonly toppedUp: string
  /** Would, but its card is declined. */
  readonly declined: string
  /** Got all that comes on top of what is bought, and a voucher. Has a code that it has not used. */
  readonly promoted: string
  /** Is subscribed: in its second period, which took over some of the first, and a part of whose money went back. A page it had left before has expired. */
  readonly subscriber: string
  /** Was subscribed, for a period that a coupon paid. Is on the page of another subscription. */
  readonly lapsed: string
  readonly openHold: string
}

/** A book in which everything has happened that can happen, made through the API. Its wallets by what they are like. */
export async function makeRichBook(service: TestService): Promise<RichBook> {
  const { made } = service
  const admin = { key: service.adminKey }
  const refused = async (path: string, body: object, status: number, options = {}) => {
    const answer = await service.post(path, body, options)
    if (answer.status !== status) throw new Error(`POST ${path} was to answer ${status}: ${answer.text}`)
    return answer
  }
  const soon = () => new Date(Date.now() + 1_200).toISOString()
  const [busy, payee, indebted, aged, empty] = (await Promise.all(
    times(5, (i) => service.wallet(i === 0 ? '100' : i === 2 ? '10' : i === 3 ? '40' : undefined)),
  )) as [string, string, string, string, string]

  // What needs time to pass comes first.
  const timed = [await made('/v1/grants', { wallet: aged, kind: 'bonus', amount: '7', expires_at: soon() })]
  const late = await made('/v1/reservations', { wallet: aged, amount: '5', ttl_seconds: 1 })
  const lateInTwo = await made('/v1/reservations', { wallet: aged, amount: '4', ttl_seconds: 1 })
  timed.push(late, lateInTwo, await made('/v1/reservations', { wallet: aged, amount: '3', ttl_seconds: 1, reference: 'forgotten' }))
  timed.push({ expires_at: (await made('/v1/grants', { wallet: aged, kind: 'bonus', amount: '2', effective_at: soon() })).effective_at })
  await made('/v1/grants', { wallet: aged, kind: 'bonus', amount: '9', effective_at: '2100-01-01T00:00:00Z' })

  // A reservation in three captures, one that stays open, one that is released, one that grew.
  await made('/v1/grants', { wallet: busy, kind: 'bonus', amount: '12.5', source: 'campaign', metadata: { text: 'Grüße 🌍 "\\' } })
  const split = await made('/v1/reservations', { wallet: busy, amount: '20', reference: 'split' })
  await made(`/v1/reservations/${split.id}/commit`, { amount: '5', final: false })
  await made(`/v1/reservations/${split.id}/commit`, { amount: '3', final: false, metadata: { step: 2 } })
  await made(`/v1/reservations/${split.id}/commit`, { amount: '4' })
  const open = await made('/v1/reservations', { wallet: busy, amount: '10', reference: 'open', metadata: { job: 'x' } })
  await made(`/v1/reservations/${open.id}/commit`, { amount: '1.5', final: false })
  await made(`/v1/reservations/${open.id}/extend`, { ttl_seconds: 3_600, add_amount: '2' })
  const dropped = await made('/v1/reservations', { wallet: busy, amount: '6' })
  await made(`/v1/reservations/${dropped.id}/release`)
  const nothing = await made('/v1/reservations', { wallet: busy, amount: '2' })
  await made(`/v1/reservations/${nothing.id}/commit`, { amount: '0' })

  // Priced work, work that is free for its owner, a payee, refunds.
  const owner = (await service.get(`/v1/wallets/${busy}`)).body.owner
  await made('/v1/charges', { wallet: busy, model: 'gpt-4o', usage: { input_tokens: 1_234, output_tokens: 567 } })
  const cached = { prompt_tokens: 4_000, completion_tokens: 80, prompt_tokens_details: { cached_tokens: 3_000 } }
  await made('/v1/charges', { wallet: busy, model: 'gpt-4o', raw_usage: { format: 'openai.chat', body: cached } })
  await made('/v1/charges', { wallet: busy, operation: 'voice_creation', units: 2, resource_owner: owner })
  const shared = await made('/v1/charges', { wallet: busy, amount: '30', payees: [{ wallet: payee, share: '0.7' }], reference: 'shared' })
  await made('/v1/charges', { wallet: busy, amount: '0.000001', payees: [{ wallet: payee, share: '1' }] })
  await made(`/v1/charges/${shared.id}/refund`, { amount: '5', reference: 'sorry' })
  await made('/v1/events', { events: [{ source: 'worker', id: '1', wallet: busy, amount: '1' }] })
  const rag = await made('/v1/reservations', { wallet: busy, operation: 'rag_retrieval', units: 3 })
  await made(`/v1/reservations/${rag.id}/commit`, { units: 2 })

  // Over the hold into available credits, debt and beyond; a repayment; again into debt.
  await service.patch(`/v1/wallets/${indebted}`, { overdraft_limit: '5' })
  const beyondHold = await made('/v1/reservations', { wallet: indebted, amount: '8' })
  const beyond = await made(`/v1/reservations/${beyondHold.id}/commit`, { amount: '20' })
  await made(`/v1/charges/${beyond.id}/refund`, { amount: '2' })
  await made('/v1/grants', { wallet: indebted, kind: 'purchase', amount: '1', cost_basis: { amount: '0.01', currency: 'USD' } })
  await made('/v1/events', { events: [{ source: 'worker', id: '2', wallet: indebted, amount: '7' }] })

  // Admins.
  const wrong = await made('/v1/grants', { wallet: busy, kind: 'adjustment', amount: '4' })
  await made(`/v1/grants/${wrong.id}/void`, { reason: 'by mistake' }, admin)
  await made('/v1/adjustments', { wallet: busy, amount: '3', reason: 'goodwill' }, admin)
  await made('/v1/adjustments', { wallet: busy, amount: '-1.25', reason: 'correction' }, admin)
  const small = await made('/v1/reservations', { wallet: busy, amount: '0.1' })
  await made(`/v1/reservations/${small.id}/commit`, { amount: '2', force: true }, admin)
  await made(
    '/v1/admin/prices',
    {
      model: 'house-1',
      provider: 'house',
      rates: { input_tokens: '1', output_tokens: '2', requests: '0.001' },
      variants: [{ above_prompt_tokens: 1_000, rates: { input_tokens: '3' } }],
      reason: 'new',
    },
    admin,
  )

  // A long prompt in two captures, work with a flat cost, under a policy that rounds.
  const longHold = await made('/v1/reservations', { wallet: busy, model: 'house-1', usage: { input_tokens: 3_000, output_tokens: 100 } })
  await made(`/v1/reservations/${longHold.id}/commit`, { usage_total: { input_tokens: 900, output_tokens: 20 }, final: false })
  await made(`/v1/reservations/${longHold.id}/commit`, { usage_total: { input_tokens: 2_500, output_tokens: 90 } })
  await made('/v1/admin/operations', { operation: 'house_call', flat_cost: '0.5', unit_cost: '0.000003', reason: 'new' }, admin)
  const rounded = { minimum_charge: '0.01', maximum_charge: '100000', round_to: '0.01', reason: 'rounded prices' }
  await made('/v1/admin/charge-policies', rounded, admin)
  await made('/v1/charges', { wallet: busy, operation: 'house_call', units: 7 })
  await made('/v1/charges', { wallet: busy, model: 'gpt-4o', usage: { input_tokens: 1_234, output_tokens: 567 } })
  await made('/v1/charges', { wallet: busy, amount: '0.000001' })
  await made('/v1/admin/charge-policies', { ...rounded, round_to: '0.000001', reason: 'exact again' }, admin)

  // Imported prices that wait for a person, and those that somebody decided on.
  const [accepted, rejected] = [await service.propose('house-2'), await service.propose('house-3')]
  await service.propose('gpt-4o', { rates: { input_tokens: '9', output_tokens: '99' } })
  await made(`/v1/admin/price-quarantine/${accepted}/accept`, { reason: 'looked at' }, admin)
  await made(`/v1/admin/price-quarantine/${rejected}/reject`, { reason: 'a typo' }, admin)

  const buyers = await makeOrders(service)
  const toppedUp = await makeTopUps(service)
  const promoted = await makePromotions(service)
  const subscribers = await makeSubscriptions(service)

  // Refusals.
  await refused('/v1/reservations', { wallet: empty, amount: '1' }, 402)
  await refused('/v1/charges', { wallet: empty, amount: '1' }, 402)
  await refused(`/v1/reservations/${split.id}/commit`, { amount: '1' }, 409)
  await refused('/v1/charges', { wallet: 'user:nobody', amount: '1' }, 404)
  await refused(`/v1/charges/${shared.id}/refund`, { amount: '1000' }, 422)
  await refused('/v1/purchases', { wallet: empty, package: 'never_was' }, 422)

  const over = Math.max(...timed.map(({ expires_at }) => Date.parse(expires_at)))
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, over - Date.now() + 20)))
  await service.sweep()
  await made(`/v1/reservations/${late.id}/commit`, { amount: '6' })
  await made(`/v1/reservations/${lateInTwo.id}/commit`, { amount: '1', final: false })
  await made(`/v1/reservations/${lateInTwo.id}/commit`, { amount: '2' })
  return { busy, payee, indebted, aged, empty, ...buyers, ...toppedUp, promoted, ...subscribers, openHold: open.id }
}

/** Orders in every state, at the sandbox. */
async function makeOrders(service: TestService): Promise<Pick<RichBook, 'buyer' | 'reversed' | 'contested'>> {
  const admin = { key: service.adminKey }
  const [buyer, reversed, contested] = (await Promise.all(times(3, () => service.wallet()))) as [string, string, string]
  const order = (wallet: string, reference: string, what: object): Promise<Body> =>
    service.made('/v1/purchases', { wallet, reference, ...what })
  const paid = async (wallet: string, reference: string, what: object = { package: 'basic' }) => {
    const one = await order(wallet, reference, what)
    await atSandbox(service, one, 'pay')
    return one
  }

  await order(buyer, 'pending', { package: 'starter', metadata: { text: 'Grüße 🌍 "\\' } })
  const failed = await order(buyer, 'failed', { package: 'starter' })
  await atSandbox(service, failed, { status: 'failed', failure: 'it was canceled' })
  await paid(buyer, 'paid')
  await paid(buyer, 'by amount', { amount: '10.01', currency: 'USD' })

  // A third that divides into no millionths, in two parts, the first asked for by an admin.
  const part = await paid(buyer, 'part', { package: 'pro' })
  await service.made(`/v1/admin/payments/${part.id}/refund`, { amount: '12.34', reason: 'goodwill' }, admin)
  await atSandbox(service, part, { refunded: '3333' })

  // Some of what a bank holds is refunded as well: it counts once.
  const disputed = await paid(buyer, 'disputed')
  await atSandbox(service, disputed, 'dispute')
  await atSandbox(service, disputed, { refunded: '1000' })

  const gone = await paid(reversed, 'reversed')
  await service.made('/v1/charges', { wallet: reversed, amount: '1000' })
  await atSandbox(service, gone, 'refund')

  const won = await paid(contested, 'won')
  await service.made('/v1/charges', { wallet: contested, amount: '5400' })
  await atSandbox(service, won, 'dispute')
  await atSandbox(service, won, 'win')
  const event = { provider: 'sandbox', type: 'x', payload: '{}', livemode: false, occurredAt: new Date() } as const
  await service.rooms.billing.inbox.receive({ ...event, id: 'evt_of_won', subject: sandboxId(won) })
  await service.rooms.billing.processEvents()
  return { buyer, reversed, contested }
}

/** Credits that buy themselves. The next attempt with the card that is declined waits in the outbox. */
async function makeTopUps(service: TestService): Promise<Pick<RichBook, 'toppedUp' | 'declined'>> {
  const withCard = async (credits: string, payment_method_id: string) => {
    const wallet = await service.wallet(credits)
    await saveCards(service, wallet, ['good', 'declined'])
    const body = { threshold: '100', package: 'starter', cap: { amount: '15' }, payment_method_id }
    const set = await service.send('PUT', `/v1/wallets/${wallet}/top-up`, body)
    if (set.status !== 200) throw new Error(`a top-up was not set: ${set.text}`)
    return wallet
  }
  const toppedUp = await withCard('150', 'sandbox_card')
  const declined = await withCard('50', 'sandbox_card_declined')
  await service.made('/v1/charges', { wallet: toppedUp, amount: '60' })
  await service.rooms.billing.runTopUps()
  return { toppedUp, declined }
}

/** A wallet's first order, with everything on top, a part of it given back; an order that was too late for all that; a voucher. */
async function makePromotions(service: TestService): Promise<string> {
  const set = (path: string, body: object) =>
    service.made(`/v1/admin/${path}`, { reason: 'more for all', ...body }, { key: service.adminKey })
  const promoted = await service.wallet()
  await set('bonus-rules', {
    rule: 'volume_100',
    kind: 'volume',
    currency: 'USD',
    from_amount: '100',
    percent: '12.5',
    most_credits: '2000',
  })
  await set('bonus-rules', { rule: 'welcome', kind: 'first_purchase', currency: 'USD', percent: '50', most_credits: '300' })
  await set('promotions', { code: 'SPRING-26', percent: '10', grant_days: 30, most_redemptions: 9, ends_at: '2100-01-01T00:00:00Z' })
  await set('promotions', { code: 'FIXED', credits: '7', most_redemptions: 9 })
  await set('promotions', { code: 'VOUCHER', credits: '25', needs_purchase: false, grant_days: 30 })
  const order = (reference: string, what: object, promotion_code: string): Promise<Body> =>
    service.made('/v1/purchases', { wallet: promoted, reference, promotion_code, ...what })

  const large = await order('promoted', { amount: '100', currency: 'USD' }, 'SPRING-26')
  const late = await order('too late', { package: 'starter' }, 'spring-26')
  await order('claimed', { package: 'starter' }, 'FIXED')
  await atSandbox(service, large, 'pay')
  await service.made('/v1/redemptions', { wallet: promoted, code: 'voucher' })
  // More than came on top, which burns first.
  await service.made('/v1/charges', { wallet: promoted, amount: '3000' })
  await atSandbox(service, late, 'pay')
  await atSandbox(service, large, { refunded: '3333' })
  return promoted
}

/** Subscriptions at a provider that is made up: one that goes on, one that is over, one that nobody has paid for and one that nobody did. */
async function makeSubscriptions(service: TestService): Promise<Pick<RichBook, 'subscriber' | 'lapsed'>> {
  const [subscriber, lapsed] = (await Promise.all(times(2, () => service.wallet()))) as [string, string]
  const plan = { plan: 'monthly', name: 'Monthly', price: '30.00', currency: 'USD', credits: '1000', rollover_cap: '200', reason: 'new' }
  await service.made('/v1/admin/plans', plan, { key: service.adminKey })
  const now = Date.now()

  await subscribe(service, subscriber, 'monthly')
  const going = await subscribe(service, subscriber, 'monthly')
  const [first, second] = [
    // Enough of the first is left for its credits to go over into the second.
    { start: now - 25 * DAY_MS, end: now + 5 * DAY_MS },
    { start: now + 5 * DAY_MS, end: now + 35 * DAY_MS },
  ]
  await going.is({ status: 'active', periodStart: first.start, periodEnd: first.end })
  await going.pays(first)
  await service.made('/v1/charges', { wallet: subscriber, amount: '300' })
  await going.is({ status: 'active', periodStart: second.start, periodEnd: second.end })
  const paid = await going.pays(second)
  await going.givesBack(paid ?? '', 1_000n)

  const over = await subscribe(service, lapsed, 'monthly')
  const only = { start: now - 10 * DAY_MS, end: now + 20 * DAY_MS }
  const period = { periodStart: only.start, periodEnd: only.end }
  await over.is({ status: 'active', ...period })
  await over.pays(only, 0n)
  await service.made('/v1/charges', { wallet: lapsed, amount: '100' })
  await over.is({ status: 'canceled', endedAt: now, ...period })
  await subscribe(service, lapsed, 'monthly')
  return { subscriber, lapsed }
}
