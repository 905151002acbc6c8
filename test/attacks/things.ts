import { DAY_MS } from '../../src/kernel/time.ts'
import { type DocumentedRoute, fillPath } from '../helpers/document.ts'
import { subscribe } from '../helpers/made-up-billing.ts'
import { atSandbox, sandboxId, saveCards } from '../helpers/sandbox.ts'
import type { Answer, ClientOfService, TestService } from '../helpers/service.ts'

/** What clients have that others may want, and requests that name it. */

export interface Things {
  readonly wallet: string
  readonly owner: string
  readonly reservation_id: string
  readonly charge_id: string
  readonly grant_id: string
  readonly client_id: string
  readonly key_id: string
  readonly proposal_id: string
  readonly payment_id: string
  readonly event_id: string
  readonly promotion_id: string
}

/** A code for everybody. It is no secret, but whose wallets have redeemed it is. */
export const CODE = 'FOR-ALL'
export const TOP_UP = { threshold: '1', package: 'basic', cap: { amount: '100' } }

/** @param code of the promotion, which is one for all clients */
export async function thingsOf(service: TestService, client: ClientOfService, owner: string, code = CODE): Promise<Things> {
  const as = { key: client.key }
  const wallet = await service.wallet('100', { ...as, owner })
  const reservation = await service.made('/v1/reservations', { wallet, amount: '10', reference: 'secret-of-theirs' }, as)
  const charge = await service.made('/v1/charges', { wallet, amount: '5', reference: 'secret-of-theirs' }, as)
  const grant = await service.made('/v1/grants', { wallet, kind: 'bonus', amount: '1', source: 'secret-of-theirs' }, as)
  const payment = await service.made('/v1/purchases', { wallet, package: 'basic', reference: 'secret-of-theirs' }, as)
  await atSandbox(service, payment, 'pay')
  const event_id = `evt_${payment.id}`
  const event = { provider: 'sandbox', type: 'x', payload: '{}', livemode: false, occurredAt: new Date() } as const
  await service.rooms.billing.inbox.receive({ ...event, id: event_id, subject: sandboxId(payment) })
  await saveCards(service, wallet, ['declined', 'good'], as)
  await service.send('PUT', `/v1/wallets/${wallet}/top-up`, TOP_UP, as)
  const admin = { key: service.adminKey }
  const plan = { plan: 'monthly', name: 'Monthly', price: '30.00', currency: 'USD', credits: '1000', reason: 'x' }
  await service.made('/v1/admin/plans', plan, admin)
  const subscription = await subscribe(service, wallet, 'monthly', client)
  const period = { start: Date.now() - 1_000, end: Date.now() + DAY_MS }
  await subscription.is({ status: 'active', periodStart: period.start, periodEnd: period.end })
  await subscription.pays(period)
  const promotion = await service.made('/v1/admin/promotions', { code, credits: '1', needs_purchase: false, reason: 'x' }, admin)
  const keys = await service.get(`/v1/admin/clients/${client.wireId}/keys`, { key: service.adminKey })
  return {
    wallet,
    owner,
    reservation_id: reservation.id,
    charge_id: charge.id,
    grant_id: grant.id,
    client_id: client.wireId,
    key_id: keys.body.data[0].id,
    payment_id: payment.id,
    event_id,
    promotion_id: promotion.id,
    proposal_id: await service.propose(`secret-${owner.replace(':', '-')}`),
  }
}

export const ABSENT: Things = {
  wallet: `wal_${'0'.repeat(32)}`,
  owner: 'user:never-was',
  reservation_id: `rsv_${'0'.repeat(32)}`,
  charge_id: `chg_${'0'.repeat(32)}`,
  grant_id: `grt_${'0'.repeat(32)}`,
  client_id: `cli_${'0'.repeat(32)}`,
  key_id: `key_${'0'.repeat(32)}`,
  proposal_id: `prp_${'0'.repeat(32)}`,
  payment_id: `pay_${'0'.repeat(32)}`,
  event_id: `evt_${'0'.repeat(32)}`,
  promotion_id: `prm_${'0'.repeat(32)}`,
}

let keysTaken = 0

/** Well-formed bodies that name these things, for each route that takes one. */
export function bodiesOf(things: Things, mine: string): Record<string, object[]> {
  const next = () => `k-${keysTaken++}`
  const named = [things.wallet, things.owner]
  return {
    reserve: named.map((wallet) => ({ wallet, amount: '1' })),
    check: named.map((wallet) => ({ wallet, amount: '1' })),
    charge: [
      ...named.map((wallet) => ({ wallet, amount: '1' })),
      ...named.map((wallet) => ({ wallet: mine, amount: '1', payees: [{ wallet, share: '0.5' }] })),
    ],
    grant: named.map((wallet) => ({ wallet, kind: 'bonus', amount: '1' })),
    commit: [{ amount: '1' }],
    extend: [{ ttl_seconds: 60 }, { add_amount: '1' }],
    release: [{}],
    refund: [{}, { amount: '1' }],
    configureWallet: [{ label: 'mine now' }],
    purchase: named.flatMap((wallet) => [
      { wallet, package: 'basic' },
      { wallet, amount: '10.00', currency: 'USD', flow: 'payment_intent' },
      { wallet, package: 'basic', promotion_code: CODE },
    ]),
    redeem: named.map((wallet) => ({ wallet, code: CODE })),
    saveCard: [{}, { currency: 'EUR' }],
    subscribe: [{ plan: 'monthly' }, { plan: 'never_was' }, { plan: 'monthly', success_url: 'https://elsewhere.example/' }],
    changeSubscription: [{ plan: 'monthly' }, { plan: 'never_was' }],
    cancelSubscription: [{}, { at_period_end: false }],
    resumeSubscription: [{}],
    setTopUp: [TOP_UP, { ...TOP_UP, enabled: false }, { ...TOP_UP, payment_method_id: 'sandbox_card' }],
    switchTopUp: [{ enabled: false }, { enabled: true }],
    batch: named.map((wallet) => ({
      commands: [
        { operation: 'reserve', idempotency_key: next(), body: { wallet, amount: '1' } },
        { operation: 'charge', idempotency_key: next(), body: { wallet, amount: '1' } },
        { operation: 'commit', idempotency_key: next(), reservation_id: things.reservation_id, body: { amount: '1' } },
        { operation: 'release', idempotency_key: next(), reservation_id: things.reservation_id },
        { operation: 'extend', idempotency_key: next(), reservation_id: things.reservation_id, body: { ttl_seconds: 60 } },
        { operation: 'refund', idempotency_key: next(), charge_id: things.charge_id, body: {} },
        { operation: 'grant', idempotency_key: next(), body: { wallet, kind: 'bonus', amount: '1' } },
      ],
    })),
    reportEvents: named.map((wallet) => ({ events: [{ source: 's', id: next(), wallet, amount: '1' }] })),
  }
}

/** An answer without what differs from request to request. */
export function blind(answer: Answer, own: Things): string {
  let text = answer.text.replace(/"instance":"[^"]*"/g, '"instance":"…"').replace(/"id":"k-\d+"/g, '"id":"…"')
  for (const [name, value] of Object.entries(own)) text = text.replaceAll(value, `<${name}>`)
  return `${answer.status} ${text}`
}

export function variantsOf(route: DocumentedRoute, things: Things, mine: string): { path: string; body?: object | undefined }[] {
  const paths = route.params.length === 0 ? [] : [fillPath(route.path, things as unknown as Record<string, string>)]
  if (route.params.includes('wallet'))
    paths.push(fillPath(route.path, { ...(things as unknown as Record<string, string>), wallet: things.owner }))
  const bodies = bodiesOf(things, mine)[route.operationId]
  if (paths.length > 0) return paths.flatMap((path) => (bodies ?? [undefined]).map((body) => ({ path, body })))
  return (bodies ?? []).map((body) => ({ path: route.path, body }))
}

/** A digest of every table, so that a test can say that nothing happened. @param except tables whose rows may change */
export async function digest(service: TestService, except: readonly string[] = []): Promise<Readonly<Record<string, string>>> {
  const tables = await service.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by 1`,
  )
  const sums = await Promise.all(
    tables
      .filter(({ name }) => !except.includes(name))
      .map(async ({ name }) => {
        const [row] = await service.query(`select md5(coalesce(string_agg(x::text, '|' order by x::text), '')) as sum from ${name} x`)
        return [name, row.sum] as const
      }),
  )
  return Object.fromEntries(sums)
}
