import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { fromWireId, toWireId } from '../../src/kernel/ids.ts'
import { DAY_MS } from '../../src/kernel/time.ts'
import { subscribe } from '../helpers/made-up-billing.ts'
import { createProxy } from '../helpers/proxy.ts'
import { atSandbox, saveCards } from '../helpers/sandbox.ts'
import { type Body, createService, type TestService, times } from '../helpers/service.ts'
import { openSocket, type TestSocket } from '../helpers/socket.ts'

/**
 * Every kind of mutation pushes exactly the wallets it touched, once each, at the right version, with the figures that a read
 * shows, and says what it was. What a mutation touched is told by the versions in the database, not by what was pushed.
 */

const FIGURES = ['version', 'balance', 'held', 'available', 'debt'] as const

interface Cause {
  readonly type: string
  readonly id: string | RegExp | null
}

interface Row {
  readonly name: string
  /** Does it, and tells what the wallets it touched are to be told, by their names. */
  run(): Promise<Readonly<Record<string, Cause>>>
}

t.test('every mutation pushes the wallets it touched, and no others', async (t) => {
  const service = await createService(t)
  const { made, post, patch } = service
  const admin = { key: service.adminKey }
  const { port } = await service.listen()
  const wallets: Record<string, string> = {
    main: await service.wallet('1000'),
    payee: await service.wallet(),
    second: await service.wallet(),
    indebted: await service.wallet('1', { settings: { overdraft_limit: '50' } }),
    timed: await service.wallet('100'),
    bystander: await service.wallet('5'),
    poor: await service.wallet(),
    buyer: await service.wallet(),
    saver: await service.wallet('150'),
    subscriber: await service.wallet(),
  }
  const { main, payee, second, indebted, timed, poor, buyer, saver, subscriber } = wallets as Record<string, string> &
    Record<'main' | 'saver' | 'subscriber', string>
  const nameOf = new Map(Object.entries(wallets).map(([name, id]) => [id, name]))
  const socket = await openSocket(t, port, { key: service.client.key })
  await socket.follow(Object.values(wallets))

  const reserve = (body: object = {}) => made('/v1/reservations', { wallet: main, amount: '5', ...body })
  /** Done before the row, so that it is not part of it. */
  const prepared: Record<string, Body> = {}
  const soon = () => new Date(Date.now() + 1_500).toISOString()
  prepared.late = await reserve({ wallet: timed, ttl_seconds: 1 })
  prepared.forgotten = await reserve({ wallet: timed, ttl_seconds: 1 })
  await made('/v1/grants', { wallet: second, kind: 'bonus', amount: '4', effective_at: soon() })
  await made('/v1/grants', { wallet: payee, kind: 'bonus', amount: '3', expires_at: soon() })
  for (const name of ['captured', 'committed', 'shared', 'released', 'extended', 'grown']) prepared[name] = await reserve()
  prepared.charge = await made('/v1/charges', { wallet: main, amount: '9' })
  prepared.partly = await made('/v1/charges', { wallet: main, amount: '9' })
  // Burnt last, so that something of it is left to take back.
  prepared.grant = await made('/v1/grants', { wallet: main, kind: 'bonus', amount: '7', priority: 1000 })
  await made('/v1/charges', { wallet: indebted, amount: '11' })
  const order: Body = await made('/v1/purchases', { wallet: buyer, package: 'starter' })
  const unpaid: Body = await made('/v1/purchases', { wallet: buyer, package: 'starter' })
  await made('/v1/admin/promotions', { code: 'HELLO', credits: '5', needs_purchase: false, reason: 'x' }, admin)
  await saveCards(service, saver, ['declined', 'good'])
  const topUp = async (body: object) => {
    const cap = { amount: '15' }
    const answer = await service.send('PUT', `/v1/wallets/${saver}/top-up`, { threshold: '100', package: 'starter', cap, ...body })
    t.equal(answer.status, 200)
    return { saver: { type: 'top_up', id: null } }
  }
  const paymentsOf = async (wallet: string) => (await service.get(`/v1/wallets/${wallet}/payments`)).body.data
  const plan = { plan: 'monthly', name: 'Monthly', price: '30.00', currency: 'USD', credits: '1000', rollover_cap: '200', reason: 'x' }
  await made('/v1/admin/plans', plan, admin)
  const subscription = await subscribe(service, subscriber, 'monthly')
  const ofSubscription = { subscriber: { type: 'subscription', id: toWireId('subscription', subscription.id) } }
  // It is over, and its credits have their grace.
  const period = { start: Date.now() - 31 * DAY_MS, end: Date.now() - DAY_MS }
  const periodOf = { periodStart: period.start, periodEnd: period.end }
  await socket.settled()
  await sleep(1_600)

  const ROWS: Row[] = [
    { name: 'a hold', run: async () => ({ main: { type: 'reserve', id: (await reserve()).id } }) },
    {
      name: 'a hold by the owner’s name, in part',
      run: async () => {
        const { owner } = (await service.get(`/v1/wallets/${main}`)).body
        return { main: { type: 'reserve', id: (await reserve({ wallet: owner, amount: '20', partial: true })).id } }
      },
    },
    {
      name: 'a later deadline: nothing that a reader sees',
      run: async () => {
        await made(`/v1/reservations/${prepared.extended.id}/extend`, { ttl_seconds: 900 })
        return {}
      },
    },
    {
      name: 'a hold that grows',
      run: async () => ({
        main: { type: 'extend', id: (await made(`/v1/reservations/${prepared.grown.id}/extend`, { add_amount: '2' })).id },
      }),
    },
    {
      name: 'a capture',
      run: async () => ({
        main: {
          type: 'commit',
          id: (await made(`/v1/reservations/${prepared.captured.id}/commit`, { amount: '1', final: false })).id,
        },
      }),
    },
    {
      name: 'a commit',
      run: async () => ({
        main: { type: 'commit', id: (await made(`/v1/reservations/${prepared.committed.id}/commit`, { amount: '2' })).id },
      }),
    },
    {
      name: 'a commit that somebody earns by',
      run: async () => {
        const body = { amount: '4', payees: [{ wallet: payee, share: '0.5' }] }
        const { id } = await made(`/v1/reservations/${prepared.shared.id}/commit`, body)
        // The payee's expired grant is taken in the same command.
        return { main: { type: 'commit', id }, payee: { type: 'earning', id } }
      },
    },
    {
      name: 'a release',
      run: async () => ({ main: { type: 'release', id: (await made(`/v1/reservations/${prepared.released.id}/release`)).id } }),
    },
    {
      name: 'what the sweep finds: expired holds',
      run: async () => {
        await service.sweep()
        // Two holds end in one batch: the last of them is the cause.
        return { timed: { type: 'expire', id: /^rsv_/ }, second: { type: 'settle', id: null } }
      },
    },
    {
      name: 'a late commit',
      run: async () => {
        const answer = await made(`/v1/reservations/${prepared.late.id}/commit`, { amount: '3' })
        t.equal(answer.late, true)
        return { timed: { type: 'commit', id: answer.id } }
      },
    },
    {
      name: 'a charge',
      run: async () => ({ main: { type: 'charge', id: (await made('/v1/charges', { wallet: main, amount: '1' })).id } }),
    },
    {
      name: 'a charge that two earn by',
      run: async () => {
        const payees = [payee, second].map((wallet) => ({ wallet, share: '0.25' }))
        const { id } = await made('/v1/charges', { wallet: main, amount: '2', payees })
        const earning = { type: 'earning', id }
        return { main: { type: 'charge', id }, payee: earning, second: earning }
      },
    },
    {
      name: 'a charge into debt',
      run: async () => ({ indebted: { type: 'charge', id: (await made('/v1/charges', { wallet: indebted, amount: '3' })).id } }),
    },
    {
      name: 'work that is free for its owner',
      run: async () => {
        const { owner } = (await service.get(`/v1/wallets/${main}`)).body
        await made('/v1/charges', { wallet: main, operation: 'voice_creation', resource_owner: owner })
        return {}
      },
    },
    {
      name: 'a batch: the last command on each wallet is the cause',
      run: async () => {
        const commands = [main, second, main].map((wallet, i) => ({
          operation: 'charge',
          idempotency_key: `batch-${i}`,
          body: { wallet, amount: '0.1' },
        }))
        const { results } = await made('/v1/batch', { commands })
        return { main: { type: 'charge', id: results[2].body.id }, second: { type: 'charge', id: results[1].body.id } }
      },
    },
    {
      name: 'a usage event',
      run: async () => {
        const { results } = await made('/v1/events', { events: [{ source: 'test', id: '1', wallet: main, amount: '1' }] })
        return { main: { type: 'event', id: results[0].body.id } }
      },
    },
    {
      name: 'a refund, whole',
      run: async () => ({ main: { type: 'refund', id: (await made(`/v1/charges/${prepared.charge.id}/refund`, {})).id } }),
    },
    {
      name: 'a refund, in part',
      run: async () => ({ main: { type: 'refund', id: (await made(`/v1/charges/${prepared.partly.id}/refund`, { amount: '1' })).id } }),
    },
    {
      name: 'a grant',
      run: async () => ({ main: { type: 'grant', id: (await made('/v1/grants', { wallet: main, kind: 'bonus', amount: '3' })).id } }),
    },
    {
      name: 'a grant that repays debt',
      run: async () => ({
        indebted: { type: 'grant', id: (await made('/v1/grants', { wallet: indebted, kind: 'purchase', amount: '5' })).id },
      }),
    },
    {
      name: 'a void',
      run: async () => ({
        main: { type: 'void', id: (await made(`/v1/grants/${prepared.grant.id}/void`, { reason: 'x' }, admin)).id },
      }),
    },
    {
      name: 'an adjustment',
      run: async () => ({
        main: { type: 'adjust', id: (await made('/v1/adjustments', { wallet: main, amount: '-1', reason: 'x' }, admin)).id },
      }),
    },
    {
      name: 'settings',
      run: async () => {
        await patch(`/v1/wallets/${main}`, { low_balance_threshold: '1' })
        return { main: { type: 'configure', id: null } }
      },
    },
    {
      name: 'a freeze',
      run: async () => {
        await made(`/v1/wallets/${main}/freeze`, { reason: 'x' }, admin)
        return { main: { type: 'status', id: null } }
      },
    },
    {
      name: 'an unfreeze',
      run: async () => {
        await made(`/v1/wallets/${main}/unfreeze`, { reason: 'x' }, admin)
        return { main: { type: 'status', id: null } }
      },
    },
    {
      name: 'an order: nothing that a reader sees',
      run: async () => {
        await made('/v1/purchases', { wallet: buyer, package: 'basic' })
        return {}
      },
    },
    {
      name: 'an order that is paid',
      run: async () => {
        await atSandbox(service, order, 'pay')
        return { buyer: { type: 'payment', id: order.id } }
      },
    },
    {
      name: 'an order that came to nothing',
      run: async () => {
        await atSandbox(service, unpaid, { status: 'failed', failure: 'it was canceled' })
        return {}
      },
    },
    {
      name: 'money that a bank takes',
      run: async () => {
        await atSandbox(service, order, 'dispute')
        return { buyer: { type: 'payment', id: order.id } }
      },
    },
    {
      name: 'money that a bank gives back',
      run: async () => {
        await atSandbox(service, order, 'win')
        return { buyer: { type: 'payment', id: order.id } }
      },
    },
    {
      name: 'a payment that is read again',
      run: async () => {
        await service.rooms.billing.sync(`sandbox_${order.id}`, 'test')
        return {}
      },
    },
    {
      name: 'money that is given back in part',
      run: async () => {
        await made(`/v1/admin/payments/${order.id}/refund`, { amount: '1.00', reason: 'x' }, admin)
        return { buyer: { type: 'payment', id: order.id } }
      },
    },
    {
      name: 'a code',
      run: async () => {
        await made('/v1/redemptions', { wallet: buyer, code: 'HELLO' })
        return { buyer: { type: 'redeem', id: /^rdm_/ } }
      },
    },
    { name: 'a top-up that is set', run: () => topUp({}) },
    { name: 'a top-up that is set to the same', run: async () => (await topUp({})) && {} },
    {
      name: 'a charge that takes credits below where they are topped up',
      run: async () => ({ saver: { type: 'charge', id: (await made('/v1/charges', { wallet: saver, amount: '60' })).id } }),
    },
    {
      name: 'a top-up that is paid',
      run: async () => {
        await service.rooms.billing.runTopUps()
        return { saver: { type: 'payment', id: (await paymentsOf(saver))[0].id } }
      },
    },
    { name: 'a top-up that is set to more', run: () => topUp({ threshold: '5000' }) },
    {
      name: 'a top-up that reaches its cap',
      run: async () => {
        await service.rooms.billing.runTopUps()
        return { saver: { type: 'top_up', id: null } }
      },
    },
    {
      name: 'a subscription that begins',
      run: async () => {
        await subscription.is({ status: 'active', ...periodOf })
        return {}
      },
    },
    {
      name: 'a period that is paid',
      run: async () => {
        await subscription.pays(period)
        return ofSubscription
      },
    },
    {
      name: 'a subscription whose credits end with it',
      run: async () => {
        // They had come when their period began: credits that come late stay a while.
        const times = `created_at = $1, effective_at = $1, expires_at = $2::timestamptz + interval '3 days'`
        const [start, end] = [new Date(period.start), new Date(period.end)]
        await service.query(`update grants set ${times} where wallet_id = $3`, [start, end, fromWireId('wallet', subscriber)])
        await subscription.is({ status: 'canceled', endedAt: period.end, ...periodOf })
        return ofSubscription
      },
    },
    {
      name: 'a close',
      run: async () => {
        await made(`/v1/wallets/${poor}/close`, { reason: 'x' }, admin)
        return { poor: { type: 'status', id: null } }
      },
    },
  ]

  for (const row of ROWS) {
    await t.test(row.name, async (t) => {
      const before = await versions(service, wallets)
      const from = socket.balances().length
      const causes = await row.run()
      await socket.settled()
      const pushed = socket.balances().slice(from)
      const after = await versions(service, wallets)
      const touched = Object.keys(wallets).filter((name) => after[name]?.version !== before[name]?.version)
      t.same(touched.sort(), Object.keys(causes).sort(), 'the wallets that changed')
      t.same(pushed.map(({ wallet_id }) => nameOf.get(wallet_id)).sort(), touched, 'each is pushed once')
      for (const frame of pushed) {
        const name = nameOf.get(frame.wallet_id) ?? ''
        for (const figure of FIGURES) t.equal(frame[figure], after[name]?.[figure], `${name}: ${figure}`)
        t.match(frame.cause, causes[name] ?? {}, `${name}: the cause`)
        t.match(frame.as_of, /^\d{4}-.*Z$/)
      }
    })
  }

  await t.test('a grant falls due and another expires: both by the sweep', async (t) => {
    await made('/v1/grants', { wallet: main, kind: 'bonus', amount: '4', effective_at: soon() })
    await made('/v1/grants', { wallet: payee, kind: 'bonus', amount: '3', expires_at: soon() })
    await sleep(1_600)
    await socket.settled()
    const from = socket.balances().length
    await service.sweep()
    await socket.settled()
    const pushed = socket.balances().slice(from)
    t.same(pushed.map(({ wallet_id }) => nameOf.get(wallet_id)).sort(), ['main', 'payee'])
    for (const { cause } of pushed) t.same(cause, { type: 'settle', id: null })
    const after = await versions(service, wallets)
    for (const frame of pushed) {
      for (const figure of FIGURES) t.equal(frame[figure], after[nameOf.get(frame.wallet_id) ?? '']?.[figure])
    }
  })

  await t.test('what is refused, replayed or free pushes nothing', async (t) => {
    await socket.settled()
    const once = { idempotencyKey: 'once' }
    await post('/v1/charges', { wallet: main, amount: '1' }, once)
    await socket.settled()
    const from = socket.notifications.length
    const before = await versions(service, wallets)
    t.equal((await post('/v1/charges', { wallet: main, amount: '1' }, once)).headers['idempotent-replayed'], 'true')
    t.equal((await post('/v1/charges', { wallet: main, amount: '2' }, once)).status, 422)
    t.equal((await post('/v1/reservations', { wallet: wallets.bystander, amount: '5000' })).status, 402)
    t.equal((await post('/v1/reservations', { wallet: poor, amount: '1' })).status, 409)
    t.equal((await post(`/v1/charges/${prepared.charge.id}/refund`, {})).status, 409)
    t.equal((await post(`/v1/reservations/${prepared.released.id}/release`)).status, 409)
    t.equal((await post('/v1/check', { wallet: main, amount: '1' })).status, 200)
    await service.sweep()
    t.same(await versions(service, wallets), before, 'nothing changed')
    await socket.settled()
    t.same(socket.notifications.slice(from), [])
  })

  t.same(await service.unsound(), [])
})

t.test('many commands on a wallet at once: the newest state arrives, nothing goes backwards', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const wallet = await service.wallet('10000')
  const socket = await openSocket(t, port, { key: service.client.key })
  await socket.follow([wallet])
  const commands = times(600, (i) => ({ operation: 'reserve', idempotency_key: `b${i}`, body: { wallet, amount: '1' } }))
  const { results } = await service.made('/v1/batch', { commands })
  t.ok(results.every((result: Body) => result.status === 201))
  await Promise.all(times(100, (i) => service.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: `c${i}` })))
  await socket.settled()
  const { body } = await service.get(`/v1/wallets/${wallet}/balance`)
  const frames = socket.balances(wallet)
  t.ok(frames.length >= 1 && frames.length <= 700)
  for (const figure of FIGURES) t.equal(frames.at(-1)[figure], body[figure])
  rises(t, socket)
  t.equal(frames.at(-1).cause.type, 'charge')
  t.comment(`${frames.length} frames for 700 commands`)
})

t.test('only what is committed is pushed, and all of it', async (t) => {
  const service = await createService(t)
  const proxy = await createProxy(t, service.url)
  const behind = await service.another({ url: proxy.url, rooms: { realtimeTimes: { compareMs: 1_000, tickMs: 50 } } })
  const { port } = await behind.listen()
  const wallet = await service.wallet('100')
  const socket = await openSocket(t, port, { key: service.client.key })
  const { version } = (await socket.follow([wallet])).get(wallet)
  const seen = () => socket.balances(wallet).map((frame) => [frame.version - version, frame.balance, frame.cause.type])

  proxy.armCommit(1, 'drop-commit-request')
  t.equal((await behind.post('/v1/charges', { wallet, amount: '1' })).status, 201)
  await socket.settled()
  t.same(seen(), [[1, '99', 'charge']], 'a batch that is rolled back and carried out again is told once')

  // Committed, but nobody here was told so: the same batch goes through again, and finds its own answer.
  proxy.armCommit(1, 'drop-commit-reply')
  t.equal((await behind.post('/v1/charges', { wallet, amount: '1' })).status, 201)
  await socket.until(({ params }) => params.balance === '98')
  t.same(seen().slice(1), [[2, '98', 'resync']], 'found by comparing')

  await proxy.set('down')
  t.equal((await behind.post('/v1/charges', { wallet, amount: '1' })).status, 503)
  await socket.settled()
  t.equal(seen().length, 2, 'what was never committed is not told')
  await proxy.set('pass')
  t.same(await service.unsound(), [])
})

function rises(t: Test, socket: TestSocket): void {
  const versions = socket.balances().map(({ version }) => version)
  t.ok(
    versions.every((version, index) => index === 0 || version > versions[index - 1]),
    'versions only rise',
  )
}

async function versions(service: TestService, wallets: Readonly<Record<string, string>>): Promise<Record<string, Body>> {
  const read = async ([name, id]: [string, string]) => {
    const { body } = await service.get(`/v1/wallets/${id}/balance`)
    return [name, Object.fromEntries(FIGURES.map((figure) => [figure, body[figure]]))]
  }
  return Object.fromEntries(await Promise.all(Object.entries(wallets).map(read)))
}
