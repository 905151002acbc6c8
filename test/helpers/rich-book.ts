import { type TestService, times } from './service.ts'

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

  // Refusals.
  await refused('/v1/reservations', { wallet: empty, amount: '1' }, 402)
  await refused('/v1/charges', { wallet: empty, amount: '1' }, 402)
  await refused(`/v1/reservations/${split.id}/commit`, { amount: '1' }, 409)
  await refused('/v1/charges', { wallet: 'user:nobody', amount: '1' }, 404)
  await refused(`/v1/charges/${shared.id}/refund`, { amount: '1000' }, 422)

  const over = Math.max(...timed.map(({ expires_at }) => Date.parse(expires_at)))
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, over - Date.now() + 20)))
  await service.sweep()
  await made(`/v1/reservations/${late.id}/commit`, { amount: '6' })
  await made(`/v1/reservations/${lateInTwo.id}/commit`, { amount: '1', final: false })
  await made(`/v1/reservations/${lateInTwo.id}/commit`, { amount: '2' })
  return { busy, payee, indebted, aged, empty, openHold: open.id }
}
