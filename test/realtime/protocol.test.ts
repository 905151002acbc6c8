import { hash } from 'node:crypto'
import { get } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import t, { type Test } from 'tap'
import { fromWireId } from '../../src/kernel/ids.ts'
import { balanceParams, closingParams, lowBalanceParams } from '../../src/realtime/schemas.ts'
import { transactionObject } from '../../src/wallets/schemas.ts'
import { createProxy } from '../helpers/proxy.ts'
import { type Body, createService, times } from '../helpers/service.ts'
import { openSocket, patiently } from '../helpers/socket.ts'
import { openStream } from '../helpers/stream.ts'
import { forge, goodClaims, inSeconds } from '../helpers/tokens.ts'

/** What docs/realtime.md promises, from the upgrade to the close. */

const ABSENT = `wal_${'0'.repeat(32)}`
const FIGURES = ['version', 'balance', 'held', 'available', 'debt'] as const
const ORIGIN = 'https://app.example.com'
/** Everything that waits, waits less: a check every 20 ms instead of every second. */
const QUICK = { checkMs: 20, credentialMs: 100, leaveMs: 500 }

t.test('subscribing', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const key = service.client.key
  const [a, b, c] = [await service.wallet('10'), await service.wallet('20'), await service.wallet('30')]
  const ownerOf = async (wallet: string) => (await service.get(`/v1/wallets/${wallet}`)).body.owner as string
  const charge = (wallet: string) => service.made('/v1/charges', { wallet, amount: '1' })
  const idsIn = ({ wallets }: Body) => wallets.map(({ wallet_id }: Body) => wallet_id)

  t.test('one wallet: its present state, in the documented form', async (t) => {
    const socket = await openSocket(t, port, { key })
    const states = await socket.follow([a])
    t.equal(states.size, 1)
    const state = states.get(a)
    t.ok(balanceParams.strict().safeParse(state).success)
    const { body } = await service.get(`/v1/wallets/${a}/balance`)
    for (const figure of FIGURES) t.equal(state[figure], body[figure], figure)
    t.same(state.cause, { type: 'resync', id: null })

    const { id } = await charge(a)
    const { params } = await socket.until(({ params }) => params.version === state.version + 1)
    t.ok(balanceParams.strict().safeParse(params).success)
    t.match(params, { wallet_id: a, epoch: state.epoch, balance: '9', cause: { type: 'charge', id } })
    await charge(b)
    await socket.settled()
    t.equal(socket.notifications.length, 1, 'and no other wallet')
  })

  t.test('several, by id and by owner, each once', async (t) => {
    const socket = await openSocket(t, port, { key })
    const states = await socket.follow([a, await ownerOf(b), b, a])
    t.same([...states.keys()], [a, b])
    const { result } = await socket.call('wallet.subscribe', { wallets: [c, await ownerOf(a), b, a] })
    t.same(idsIn(result), [c, a, b], 'in the order of the names, each at the first of its own')
    await charge(b)
    await socket.settled()
    t.equal(socket.balances(b).length, 1)
  })

  t.test('again: the state is fresh, and what follows comes once', async (t) => {
    const socket = await openSocket(t, port, { key })
    const first = (await socket.follow([a])).get(a)
    await charge(a)
    const second = (await socket.follow([a])).get(a)
    t.equal(second.version, first.version + 1)
    await charge(a)
    await socket.settled()
    t.same(
      socket.balances(a).map(({ version }) => version),
      [first.version + 1, first.version + 2],
    )
  })

  t.test('a backend that names none gets the wallets of its client', async (t) => {
    const socket = await openSocket(t, port, { key })
    const states = await socket.follow()
    t.same([...states.keys()], [a, b, c].sort(), 'in the order of their ids')
    t.same(await (await openSocket(t, port, { key: service.other.key })).follow(), new Map(), 'another has none')
    const admin = await openSocket(t, port, { key: service.adminKey })
    t.equal((await admin.follow()).size, 3, 'an admin sees all')
  })

  t.test('a person sees its own, by any name', async (t) => {
    const own = await service.wallet('5', { owner: 'user:alice' })
    const socket = await openSocket(t, port, { key: await service.tokenFor('alice') })
    for (const wallets of [undefined, [own], ['user:alice']]) t.same([...(await socket.follow(wallets)).keys()], [own])
    for (const wallets of [[a], ['user:owner-1'], [own, a], [ABSENT]]) {
      const { error } = await socket.call('wallet.subscribe', { wallets })
      t.match(error, { code: -32602, data: { code: 'wallet_not_found', wallet: wallets.at(-1), retryable: false } })
    }
  })

  t.test('naming none means those that are there by then', async (t) => {
    const socket = await openSocket(t, port, { key: await service.tokenFor('dave') })
    t.same(await socket.follow(), new Map())
    const own = await service.wallet('5', { owner: 'user:dave' })
    await charge(own)
    await socket.settled()
    t.same(socket.notifications, [], 'one that was opened later is not followed')
    t.same([...(await socket.follow()).keys()], [own], 'until it is asked for')
    await charge(own)
    await socket.until(({ params }) => params.wallet_id === own && params.balance === '3')
  })

  t.test('a call that is refused leaves nothing behind', async (t) => {
    const foreign = await service.wallet('5', { key: service.other.key, owner: 'user:theirs' })
    const socket = await openSocket(t, port, { key })
    for (const other of [foreign, ABSENT, 'user:theirs', 'user:nobody']) {
      const { error } = await socket.call('wallet.subscribe', { wallets: [a, other] })
      t.match(error, { code: -32602, message: 'There is no such wallet', data: { code: 'wallet_not_found', wallet: other } })
    }
    await charge(a)
    await service.made('/v1/charges', { wallet: foreign, amount: '1' }, { key: service.other.key })
    await socket.settled()
    t.same(socket.notifications, [])
  })

  t.test('unsubscribing: one, what was never followed, all', async (t) => {
    const socket = await openSocket(t, port, { key })
    await socket.follow([a, b, c])
    t.same((await socket.call('wallet.unsubscribe', { wallets: [a] })).result, { wallets: 1 })
    t.same((await socket.call('wallet.unsubscribe', { wallets: [a] })).result, { wallets: 1 }, 'again')
    t.match((await socket.call('wallet.unsubscribe', { wallets: [ABSENT] })).error.data, { code: 'wallet_not_found' })
    await Promise.all([a, b].map(charge))
    await socket.settled()
    t.same(
      socket.balances().map(({ wallet_id }) => wallet_id),
      [b],
    )
    t.same((await socket.call('wallet.unsubscribe')).result, { wallets: 2 })
    await charge(c)
    await socket.settled()
    t.equal(socket.notifications.length, 1)
  })

  t.test('in the order in which they were sent', async (t) => {
    const socket = await openSocket(t, port, { key })
    for (let round = 0; round < 5; round += 1) {
      // Nobody waits for an answer in between.
      const calls = [
        socket.call('wallet.subscribe', { wallets: [a, b] }),
        socket.call('wallet.unsubscribe', { wallets: [a] }),
        socket.call('wallet.subscribe', { wallets: [c] }),
        socket.call('wallet.unsubscribe'),
        socket.call('wallet.subscribe', { wallets: [b] }),
      ]
      await Promise.all(calls)
      const from = socket.notifications.length
      await Promise.all([a, b, c].map(charge))
      await socket.settled()
      t.same(
        socket.notifications.slice(from).map(({ params }) => params.wallet_id),
        [b],
      )
    }
  })

  t.test('whoever is gone is forgotten', async (t) => {
    const { feed } = service.rooms
    while (feed.size > 0) await sleep(10)
    const [polite, sudden] = [await openSocket(t, port, { key }), await openSocket(t, port, { key })]
    await polite.follow([a, b])
    await sudden.follow([b, c])
    t.equal(feed.size, 3)
    polite.ws.close(1000)
    t.equal((await polite.closed).code, 1000)
    while (feed.size > 2) await sleep(10)
    sudden.ws.terminate()
    while (feed.size > 0) await sleep(10)
  })
})

t.test('calls', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const wallet = await service.wallet('10')

  t.test('session.ping tells the time', async (t) => {
    const socket = await openSocket(t, port, { key: service.client.key })
    const { result } = await socket.call('session.ping', {})
    t.ok(Math.abs(Date.parse(result.now) - Date.now()) < 5_000)
  })

  const call = (more: object) => JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'wallet.subscribe', ...more })
  const WRONG: [frame: string, code: number, id: number | string | null, name: string][] = [
    ['', -32700, null, 'invalid_json'],
    ['{', -32700, null, 'invalid_json'],
    ['subscribe', -32700, null, 'invalid_json'],
    ['null', -32600, null, 'invalid_request'],
    ['[]', -32600, null, 'invalid_request'],
    [`[${call({})}]`, -32600, null, 'invalid_request'],
    ['{}', -32600, null, 'invalid_request'],
    [call({ method: undefined }), -32600, 7, 'invalid_request'],
    [call({ method: 5 }), -32600, 7, 'invalid_request'],
    [call({ id: undefined }), -32600, null, 'invalid_request'],
    [call({ id: null }), -32600, null, 'invalid_request'],
    [call({ id: {} }), -32600, null, 'invalid_request'],
    [call({ method: 'wallet.delete' }), -32601, 7, 'invalid_request'],
    [call({ method: '__proto__' }), -32601, 7, 'invalid_request'],
    [call({ method: 'wallet.balance', id: 'x' }), -32601, 'x', 'invalid_request'],
    [call({ jsonrpc: '1.0' }), -32602, 7, 'invalid_request'],
    [call({ extra: 1 }), -32602, 7, 'invalid_request'],
    [call({ params: [] }), -32602, 7, 'invalid_request'],
    [call({ params: { wallet } }), -32602, 7, 'invalid_request'],
    [call({ params: { wallets: wallet } }), -32602, 7, 'invalid_request'],
    [call({ params: { wallets: [] } }), -32602, 7, 'invalid_request'],
    [call({ params: { wallets: ['nonsense'] } }), -32602, 7, 'invalid_request'],
    [call({ params: { wallets: [wallet, 5] } }), -32602, 7, 'invalid_request'],
    [call({ params: { wallets: [wallet], after_seq: -1 } }), -32602, 7, 'invalid_request'],
    [call({ params: { wallets: [wallet], after_seq: 1.5 } }), -32602, 7, 'invalid_request'],
    [call({ params: { wallets: [wallet], after_seq: '1' } }), -32602, 7, 'invalid_request'],
    [call({ params: { transactions: 'yes' } }), -32602, 7, 'invalid_request'],
    [call({ params: { wallets: [ABSENT] } }), -32602, 7, 'wallet_not_found'],
    [call({ method: 'session.ping', params: { a: 1 } }), -32602, 7, 'invalid_request'],
    [call({ method: 'wallet.unsubscribe', params: { transactions: true } }), -32602, 7, 'invalid_request'],
  ]
  t.test('what is wrong with a call is said in the words of JSON-RPC', async (t) => {
    const socket = await openSocket(t, port, { key: service.client.key })
    for (const [frame, code, id, name] of WRONG) {
      const from = socket.answers.length
      socket.ws.send(frame)
      while (socket.answers.length === from) await sleep(1)
      const answer = socket.answers.at(-1)
      t.match(answer, { jsonrpc: '2.0', id, error: { code, message: /\S/, data: { code: name, retryable: false } } }, frame.slice(0, 90))
      t.same(Object.keys(answer).sort(), ['error', 'id', 'jsonrpc'])
      // Twenty a second are allowed.
      if (from % 20 === 19) await sleep(1_000)
    }
    t.equal(socket.ws.readyState, socket.ws.OPEN, 'none of it closes the socket')
    t.equal((await socket.follow([wallet])).size, 1)
  })

  t.test('a place in the ledger is of one wallet', async (t) => {
    const socket = await openSocket(t, port, { key: service.client.key })
    const second = await service.wallet('1')
    const pointed = { code: -32602, data: { code: 'invalid_request', errors: [{ pointer: '/params/after_seq' }] } }
    for (const wallets of [undefined, [wallet, second], [wallet, wallet]]) {
      const { error } = await socket.call('wallet.subscribe', { ...(wallets && { wallets }), transactions: true, after_seq: 0 })
      t.match(error, pointed, `of ${wallets?.length ?? 'all'}`)
    }
    t.ok((await socket.call('wallet.subscribe', { wallets: [wallet], transactions: true, after_seq: 0 })).result)
    t.match((await socket.call('wallet.subscribe', { wallets: [], after_seq: 0 })).error.data.errors, [{ pointer: '/params/wallets' }])
    await service.made('/v1/charges', { wallet: second, amount: '0.1' })
    await socket.settled()
    t.same(socket.balances(second), [], 'and nothing of a refused call holds')
  })

  t.test('without its database: "try again", and nothing is followed', async (t) => {
    const proxy = await createProxy(t, service.url)
    const behind = await service.another({ url: proxy.url })
    const { port } = await behind.listen()
    const socket = await openSocket(t, port, { key: service.client.key })
    await socket.follow([wallet])
    const second = await service.wallet('1')
    await proxy.set('reset')
    const { error } = await socket.call('wallet.subscribe', { wallets: [wallet, second] })
    t.match(error, { code: -32000, data: { code: 'storage_unavailable', retryable: true } })
    t.ok((await socket.call('session.ping')).result, 'the socket lives')
    await proxy.set('pass')
    await behind.made('/v1/charges', { wallet, amount: '1' })
    await behind.made('/v1/charges', { wallet: second, amount: '0.5' })
    await socket.settled()
    t.same(
      socket.balances().map(({ wallet_id }) => wallet_id),
      [wallet],
      'what was followed before still is',
    )
    t.equal((await socket.follow([second])).get(second).balance, '0.5')
  })
})

t.test('ledger rows', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const key = service.client.key
  const charge = (wallet: string) => service.made('/v1/charges', { wallet, amount: '0.01' })
  const ledger = async (wallet: string) => (await service.get(`/v1/wallets/${wallet}/transactions?limit=200`)).body.data.reverse() as Body[]
  const dense = (t: Test, seqs: readonly number[], from: number, to: number) =>
    t.same(
      seqs,
      times(to - from + 1, (i) => from + i),
      `every row from ${from} to ${to}, once and in order`,
    )

  t.test('come where they are asked for, from now on', async (t) => {
    const wallet = await service.wallet('10')
    const [with_, without] = [await openSocket(t, port, { key }), await openSocket(t, port, { key })]
    await with_.follow([wallet], { transactions: true })
    await without.follow([wallet])
    await service.made('/v1/reservations', { wallet, amount: '1' })
    await charge(wallet)
    const { params } = await with_.until(({ method }) => method === 'wallet.transaction')
    t.ok(transactionObject.strict().safeParse(params).success)
    t.same(params, (await ledger(wallet)).at(-1))
    t.equal(with_.transactions().length, 1, 'a hold is no row')
    t.same(without.transactions(), [])
    await without.follow([wallet], { transactions: true })
    await with_.follow([wallet])
    await charge(wallet)
    await without.until(({ method }) => method === 'wallet.transaction')
    await sleep(50)
    t.equal(with_.transactions().length, 1, 'the last subscription counts')
  })

  t.test('with after_seq those behind it first', async (t) => {
    const wallet = await service.wallet('10')
    for (let i = 0; i < 5; i += 1) await charge(wallet)
    const rows = await ledger(wallet)
    for (const afterSeq of [0, 3, 6, 600]) {
      const socket = await openSocket(t, port, { key })
      await socket.follow([wallet], { transactions: true, after_seq: afterSeq })
      await sleep(50)
      const sent = socket.transactions()
      t.same(sent, rows.slice(afterSeq), `behind ${afterSeq}`)
    }
    const some = await service.rooms.realtimeReads.transactions(fromWireId('wallet', wallet) ?? '', 2, 4)
    t.same(some, rows.slice(2, 4), 'none that the state does not tell of yet')
    const socket = await openSocket(t, port, { key })
    await socket.follow([wallet], { transactions: true, after_seq: 600 })
    await charge(wallet)
    await socket.until(({ params }) => params.seq === 7)
    await socket.follow([wallet], { transactions: true, after_seq: 5 })
    await socket.until(() => socket.transactions().length === 3)
    t.same(
      socket.transactions().map(({ seq }) => seq),
      [7, 6, 7],
      'asked for again, they come again',
    )
  })

  t.test('no gap, no double, in order, under load and more than one reading holds', async (t) => {
    const wallet = await service.wallet('1000')
    for (let i = 0; i < 5; i += 1) await Promise.all(times(50, () => charge(wallet)))
    const sockets = await Promise.all(times(4, () => openSocket(t, port, { key })))
    const load = Promise.all(
      times(6, async () => {
        for (let i = 0; i < 40; i += 1) await charge(wallet)
      }),
    )
    for (const [index, socket] of sockets.entries()) {
      await sleep(30 * index)
      await socket.follow([wallet], { transactions: true, after_seq: 0 })
    }
    await load
    const last = 1 + 250 + 240
    for (const socket of sockets) {
      await socket.until(({ params }) => params.seq === last)
      dense(
        t,
        socket.transactions().map(({ seq }) => seq),
        1,
        last,
      )
      const versions = socket.balances().map(({ version }) => version)
      t.ok(
        versions.every((version, index) => index === 0 || version > versions[index - 1]),
        'no version twice',
      )
    }
  })

  t.test('a socket that leaves and joins while they are read gets each once', async (t) => {
    const wallet = await service.wallet('1000')
    for (let i = 0; i < 4; i += 1) await Promise.all(times(50, () => charge(wallet)))
    const socket = await openSocket(t, port, { key })
    for (let round = 0; round < 6; round += 1) {
      void socket.call('wallet.subscribe', { wallets: [wallet], transactions: true, after_seq: 0 })
      void socket.call('wallet.unsubscribe')
    }
    await socket.call('wallet.unsubscribe')
    const from = socket.notifications.length
    await socket.follow([wallet], { transactions: true, after_seq: 0 })
    await socket.until(({ params }) => params.seq === 201)
    await sleep(50)
    // What an earlier subscription had under way may end before the last one begins.
    const seqs = socket.notifications.slice(from).map(({ params }) => params.seq as number)
    dense(t, seqs.slice(seqs.lastIndexOf(1)), 1, 201)
    t.equal(seqs.length, 201)
  })
})

t.test('low balance', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const wallet = await service.wallet('100', { settings: { low_balance_threshold: '50' } })
  const socket = await openSocket(t, port, { key: service.client.key })
  await socket.follow([wallet])
  const lows = () => socket.notifications.filter(({ method }) => method === 'wallet.low_balance').map(({ params }) => params)

  const hold = await service.made('/v1/reservations', { wallet, amount: '50' })
  await socket.settled()
  t.same(lows(), [], 'at the threshold is not below it')
  await service.made(`/v1/reservations/${hold.id}/extend`, { add_amount: '0.000001' })
  await socket.settled()
  t.equal(lows().length, 1, 'said when it is below')
  t.ok(lowBalanceParams.strict().safeParse(lows()[0]).success)
  t.match(lows()[0], { wallet_id: wallet, available: '49.999999', threshold: '50', version: socket.balances().at(-1).version })
  t.equal(socket.notifications.at(-1)?.method, 'wallet.low_balance', 'behind the state that it is about')
  await service.made('/v1/charges', { wallet, amount: '10' })
  await socket.settled()
  t.equal(lows().length, 1, 'once')
  await service.made(`/v1/reservations/${hold.id}/release`)
  await service.made('/v1/charges', { wallet, amount: '39' })
  await socket.settled()
  t.equal(lows().length, 1, 'and not when it rises')
  await service.made('/v1/charges', { wallet, amount: '2' })
  await socket.settled()
  t.equal(lows().length, 2, 'again after it was above')
  await service.patch(`/v1/wallets/${wallet}`, { low_balance_threshold: null })
  await service.patch(`/v1/wallets/${wallet}`, { low_balance_threshold: '200' })
  await socket.settled()
  t.equal(lows().length, 3, 'a higher threshold is one, too')
  const late = await openSocket(t, port, { key: service.client.key })
  await late.follow([wallet])
  await service.made('/v1/charges', { wallet, amount: '1' })
  await late.settled()
  t.same(
    late.notifications.map(({ method }) => method),
    ['wallet.balance'],
    'who comes later is not told of what was',
  )
})

t.test('a stream whose reader leaves while its wallet is looked up leaves nothing', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const wallet = await service.wallet('10')
  const connections = async () => /^farebox_feed_connections (\d+)$/m.exec(await service.rooms.metrics.text())?.[1]
  const client = new Client({ connectionString: service.url })
  await client.connect()
  t.teardown(() => client.end())
  await client.query('begin; lock table wallets in access exclusive mode')
  const options = { port, path: `/v1/wallets/${wallet}/stream`, headers: { authorization: `Bearer ${service.client.key}` } }
  const requests = times(5, () => get(options).on('error', () => {}))
  const waiting = async () =>
    (await client.query(`select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`)).rows.length
  while ((await waiting()) < 5) await sleep(20)
  for (const request of requests) request.destroy()
  await sleep(50)
  await client.query('rollback')
  for (let waited = 0; waited < 100 && (await connections()) !== '0'; waited += 1) await sleep(100)
  t.equal(await connections(), '0')
  await openStream(t, `http://127.0.0.1:${port}${options.path}`, service.client.key)
  t.equal(await connections(), '1')
})

t.test('the stream', async (t) => {
  const service = await createService(t, { rooms: { realtimeTimes: QUICK } })
  const { base } = await service.listen()
  const wallet = await service.wallet('100', { owner: 'user:alice', settings: { low_balance_threshold: '90' } })
  const at = (name: string) => `${base}/v1/wallets/${name}/stream`

  t.test('the state, then each newer one', async (t) => {
    const stream = await openStream(t, at(wallet), service.client.key)
    t.equal(stream.status, 200)
    t.match(stream.headers, {
      'content-type': /^text\/event-stream/,
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
      'x-request-id': /\S/,
    })
    const first = await stream.until(({ event }) => event === 'wallet.balance')
    t.ok(balanceParams.strict().safeParse(first.data).success)
    t.equal(first.id, String(first.data.version))
    const { id } = await service.made('/v1/charges', { wallet, amount: '20' })
    const next = await stream.until(({ data }) => data?.version === first.data.version + 1)
    t.match(next, { event: 'wallet.balance', id: String(next.data.version), data: { balance: '80', cause: { type: 'charge', id } } })
    const low = await stream.until(({ event }) => event === 'wallet.low_balance')
    t.ok(lowBalanceParams.strict().safeParse(low.data).success)
    await stream.until(({ comment }) => comment === 'alive')
    t.equal(stream.events.filter(({ event }) => event === 'wallet.balance').length, 2, 'each once')
  })

  t.test('for persons and by owner', async (t) => {
    const key = await service.tokenFor('alice')
    for (const name of [wallet, 'user:alice']) {
      const stream = await openStream(t, at(name), key)
      t.equal((await stream.until(({ event }) => event === 'wallet.balance')).data.wallet_id, wallet)
    }
  })

  t.test('not for others', async (t) => {
    t.equal((await openStream(t, at(wallet), null)).status, 401)
    t.equal((await openStream(t, at(wallet), await service.tokenFor('bob'))).status, 404)
    t.equal((await openStream(t, at(wallet), service.other.key)).status, 404)
    t.equal((await openStream(t, at(ABSENT), service.client.key)).status, 404)
    t.equal((await openStream(t, at('nonsense'), service.client.key)).status, 400)
    t.equal((await openStream(t, at(wallet), await service.newKey(['prices:read']))).status, 403)
    const head = await fetch(at(wallet), { method: 'HEAD', headers: { authorization: `Bearer ${service.client.key}` } })
    t.equal(head.status, 405, 'a HEAD has nobody to stream to')
  })

  t.test('ends with its credential', async (t) => {
    const stream = await openStream(t, at(wallet), forge(goodClaims({ client_id: service.client.name, exp: inSeconds(-58) })))
    t.equal(stream.status, 200)
    const closing = await stream.until(({ event }) => event === 'session.closing')
    t.match(closing.data, { code: 4401, reason: 'the credential ended' })
    await stream.ended
    const key = await service.newKey(['wallets:read'])
    const second = await openStream(t, at(wallet), key)
    await revoke(service, key)
    t.match((await second.until(({ event }) => event === 'session.closing')).data, { code: 4401, reason: 'the credential was revoked' })
  })

  t.test('51 of one person are one too many, sockets among them', async (t) => {
    const key = await service.tokenFor('carol')
    await service.wallet('1', { owner: 'user:carol' })
    const { port } = new URL(base)
    const socket = await openSocket(t, Number(port), { key })
    const streams = await Promise.all(times(49, () => openStream(t, at('user:carol'), key)))
    t.equal((await streams[48]?.until(({ event }) => event === 'wallet.balance'))?.data.balance, '1')
    const refused = await openStream(t, at('user:carol'), key)
    const closing = await refused.until(({ event }) => event === 'session.closing')
    t.match(closing, { data: { code: 4429, retry_after_seconds: 30 }, retry: '30000' })
    await refused.ended
    t.equal((await (await openSocket(t, Number(port), { key })).closed).code, 4429)
    socket.ws.close()
    await socket.closed
    await sleep(20)
    const again = await openStream(t, at('user:carol'), key)
    t.ok(await again.until(({ event }) => event === 'wallet.balance'), 'one left, and there is room')
  })

  t.test('a stop of the process is announced', async (t) => {
    const stream = await openStream(t, at(wallet), service.client.key)
    await stream.until(({ event }) => event === 'wallet.balance')
    const closed = service.close()
    const closing = await stream.until(({ event }) => event === 'session.closing')
    t.ok(closingParams.strict().safeParse(closing.data).success)
    t.match(closing, { data: { code: 1012, reason: 'restarting', retry_after_seconds: 1 }, retry: '1000' })
    await stream.ended
    await closed
  })
})

t.test('tickets', async (t) => {
  const service = await createService(t, { rooms: { realtimeTimes: QUICK } })
  const { port } = await service.listen()
  const own = await service.wallet('5', { owner: 'user:alice' })
  const other = await service.wallet('6', { owner: 'user:bob' })
  const alice = { key: await service.tokenFor('alice'), idempotencyKey: null }
  const ticketOf = async (send = alice) => (await service.made('/v1/realtime/tickets', undefined, send)).ticket as string
  const open = (ticket: string) => openSocket(t, port, { protocol: `ticket.${ticket}` })

  t.test('open a socket once, as whoever asked', async (t) => {
    const { ticket, expires_at } = await service.made('/v1/realtime/tickets', undefined, alice)
    t.match(ticket, /^tkt_[\w-]{43}$/)
    const left = Date.parse(expires_at) - Date.now()
    t.ok(left > 25_000 && left < 35_000, 'for half a minute')
    const socket = await open(ticket)
    t.equal(socket.ws.protocol, 'farebox.v1')
    t.same([...(await socket.follow()).keys()], [own])
    t.match((await socket.call('wallet.subscribe', { wallets: [other] })).error.data, { code: 'wallet_not_found' })
    await refused(t, open(ticket), 401, 'not twice')
  })

  t.test('of a hundred who try at once one gets in', async (t) => {
    const ticket = await ticketOf()
    const tried = await Promise.allSettled(times(100, () => open(ticket)))
    t.equal(tried.filter(({ status }) => status === 'fulfilled').length, 1)
  })

  t.test('not late, by the clock of the database', async (t) => {
    const ticket = await ticketOf()
    await service.query(`update realtime_tickets set expires_at = clock_timestamp() - interval '1 ms'`)
    await refused(t, open(ticket), 401)
    t.same(await service.query('select * from realtime_tickets'), [], 'and it is gone')
  })

  t.test('not made up', async (t) => {
    for (const ticket of ['', 'x', 'tkt_', `tkt_${'A'.repeat(43)}`, `tkt_${'A'.repeat(44)}`, `x${await ticketOf()}`]) {
      await refused(t, open(ticket), 401, ticket.slice(0, 8))
    }
  })

  t.test('kept as a hash', async (t) => {
    await service.query('delete from realtime_tickets')
    const ticket = await ticketOf()
    const [row] = await service.query('select encode(sha256, $1) as sha256, holder::text, t::text as whole from realtime_tickets t', [
      'hex',
    ])
    t.equal(row.sha256, hash('sha256', ticket, 'hex'))
    t.notMatch(row.whole, ticket.slice(4))
    t.notMatch(row.whole, alice.key)
    await service.query(`update realtime_tickets set expires_at = now() - interval '1 hour'`)
    await ticketOf()
    t.equal(await service.rooms.realtimeReads.clearOldTickets(), 1, 'and cleared away when nobody used it')
  })

  t.test('have the rights of what they stand for, and end with it', async (t) => {
    const narrow = await service.newKey(['prices:read'])
    t.equal((await service.post('/v1/realtime/tickets', undefined, { key: narrow })).status, 403)
    t.equal((await service.post('/v1/realtime/tickets', undefined, { key: null })).status, 401)

    const key = await service.newKey(['wallets:read'])
    const socket = await open(await ticketOf({ key, idempotencyKey: null }))
    await socket.follow([own])
    await revoke(service, key)
    t.same(await socket.closed, { code: 4401, reason: 'the credential was revoked' })

    const short = forge(goodClaims({ client_id: service.client.name, exp: inSeconds(-58) }))
    const brief = await open(await ticketOf({ key: short, idempotencyKey: null }))
    t.same(await brief.closed, { code: 4401, reason: 'the credential ended' })
  })
})

t.test('the upgrade', async (t) => {
  const service = await createService(t, { level: 'debug', env: { ALLOWED_ORIGINS: `${ORIGIN},http://localhost:3000` } })
  const { port, base } = await service.listen()
  const token = await service.tokenFor('alice')
  await service.wallet('5', { owner: 'user:alice' })

  t.test('takes a token as a subprotocol or a header, and gives nothing back', async (t) => {
    for (const opening of [{ protocol: `bearer.${token}` }, { key: token }, { key: service.client.key }]) {
      const socket = await openSocket(t, port, opening)
      t.equal(socket.ws.protocol, 'farebox.v1')
      t.equal((await socket.follow()).size, 1)
    }
    const key = 'dGhlIHNhbXBsZSBub25jZQ=='
    const head = await rawUpgrade(port, [`Sec-WebSocket-Key: ${key}`, `Sec-WebSocket-Protocol: bearer.${token}, farebox.v1`])
    t.match(head, /^HTTP\/1\.1 101 /)
    t.match(head, /^Sec-WebSocket-Protocol: farebox\.v1$/m)
    t.notMatch(head, token)
    const bare = await rawUpgrade(port, [`Sec-WebSocket-Key: ${key}`, `Sec-WebSocket-Protocol: bearer.${token}`])
    t.notMatch(bare, /Sec-WebSocket-Protocol/, 'where it is not offered, nothing is selected')
    t.notMatch(service.logText(), token.slice(-40), 'nor is it logged')
  })

  t.test('is refused with a problem, before the 101', async (t) => {
    await refused(t, openSocket(t, port), 401, 'without a credential')
    for (const name of ['token', 'access_token', 'ticket', 'authorization']) {
      await refused(t, openSocket(t, port, { query: `?${name}=${token}` }), 401, `a token as ?${name}=`)
    }
    await refused(t, openSocket(t, port, { key: 'fbx_nonsense' }), 401, 'a wrong key')
    await refused(t, openSocket(t, port, { protocol: 'bearer.nonsense' }), 401, 'a wrong token')
    await refused(t, openSocket(t, port, { protocol: 'bearer.nonsense', key: token }), 401, 'a wrong token beside a good one')
    const expired = forge(goodClaims({ client_id: service.client.name, exp: inSeconds(-61) }))
    await refused(t, openSocket(t, port, { key: expired }), 401, 'an old token')
    const narrow = await service.newKey(['prices:read', 'usage:write'])
    await refused(t, openSocket(t, port, { key: narrow }), 403, 'a key without wallets:read')
  })

  t.test('a page of an origin that is not allowed is refused', async (t) => {
    const own = `127.0.0.1:${port}`
    const credentials = [{ protocol: `bearer.${token}` }, { key: token }]
    const ORIGINS: [origin: string | undefined, allowed: boolean][] = [
      // Browsers always send one (RFC 6455, 10.2): whoever sends none is a program, and could send any.
      [undefined, true],
      [ORIGIN, true],
      ['http://localhost:3000', true],
      [`http://${own}`, true],
      [`https://${own}`, true],
      ['null', false],
      ['', false],
      [`${ORIGIN}.evil`, false],
      [`${ORIGIN}.evil.com`, false],
      [`${ORIGIN}:8443`, false],
      [`${ORIGIN}/`, false],
      [`${ORIGIN}@evil.com`, false],
      ['http://app.example.com', false],
      ['https://evil.com/https://app.example.com', false],
      ['https://APP.example.com', false],
      ['http://localhost:3001', false],
      ['http://127.0.0.1', false],
      [`http://127.0.0.1:${port + 1}`, false],
      [`http://${own}.evil.com`, false],
      [`http://evil.com#@${own}`, false],
      [`null, ${ORIGIN}`, false],
      ['file://', false],
    ]
    for (const [origin, allowed] of ORIGINS) {
      for (const credential of credentials) {
        const opening = openSocket(t, port, { ...credential, ...(origin !== undefined && { headers: { origin } }) })
        if (allowed) t.ok(await opening, `${origin} is let in`)
        else await refused(t, opening, 403, `${origin} is not`)
      }
    }
    await refused(t, openSocket(t, port, { headers: { origin: 'null' } }), 403, 'whatever else is wrong')
  })

  t.test('without an upgrade it is a 400, with another one as if there were none', async (t) => {
    const answer = await service.get('/v1/realtime', { key: token })
    t.match(answer, { status: 400, body: { code: 'invalid_request' } })
    const body = JSON.stringify({ owner: 'user:h2c' })
    const h2c = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA']
    const post = ['POST /v1/wallets HTTP/1.1', 'Host: x', ...h2c, `Authorization: Bearer ${service.client.key}`]
    const made = await raw(
      port,
      `${[...post, 'Content-Type: application/json', `Content-Length: ${body.length}`].join('\r\n')}\r\n\r\n${body}`,
    )
    t.match(made, /^HTTP\/1\.1 201 /, 'a first request of an HTTP/2 client')
    const ws = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']
    for (const path of ['/healthz', '/v1/wallets', '/nowhere', '/v1/realtime/tickets', '/v1/realtimes']) {
      t.notMatch(await raw(port, `GET ${path} HTTP/1.1\r\nHost: x\r\n${ws.join('\r\n')}\r\n\r\n`), /^HTTP\/1\.1 101/, path)
    }
    t.equal((await fetch(`${base}/healthz`)).status, 200)
  })
})

t.test('an open socket ends', async (t) => {
  const service = await createService(t, { rooms: { realtimeTimes: QUICK } })
  const { port } = await service.listen()
  await service.wallet('5', { owner: 'user:alice' })

  t.test('with its token', async (t) => {
    const token = forge(goodClaims({ client_id: service.client.name, exp: inSeconds(-58) }))
    const socket = await openSocket(t, port, { protocol: `bearer.${token}` })
    t.equal((await socket.follow()).size, 1)
    const { params } = await socket.until(({ method }) => method === 'session.closing')
    t.ok(closingParams.strict().safeParse(params).success)
    t.same(params, { code: 4401, reason: 'the credential ended', retry_after_seconds: 0 })
    t.same(await socket.closed, { code: 4401, reason: 'the credential ended' })
  })

  t.test('with its key, and only with its own', async (t) => {
    const [key, kept] = [await service.newKey(['wallets:read']), await service.newKey(['wallets:read'])]
    const sockets = await Promise.all([key, key, kept].map((key) => openSocket(t, port, { key })))
    await revoke(service, key)
    for (const socket of sockets.slice(0, 2)) t.same(await socket.closed, { code: 4401, reason: 'the credential was revoked' })
    await sleep(300)
    t.ok((await sockets[2]?.call('session.ping'))?.result)
    await refused(t, openSocket(t, port, { key }), 401)
  })

  t.test('with the process: session.closing, then 1012, and nobody holds the stop up', async (t) => {
    const stopping = await service.another({ rooms: { realtimeTimes: QUICK } })
    const { port } = await stopping.listen()
    const sockets = await Promise.all(times(5, () => openSocket(t, port, { key: service.client.key })))
    // One that will never say goodbye.
    const deaf = await deafSocket(t, port, service.client.key)
    for (const socket of sockets) await socket.follow()
    const started = performance.now()
    await patiently('the stop', stopping.close(), 20_000)
    const ms = Math.round(performance.now() - started)
    for (const socket of sockets) {
      t.same(await socket.closed, { code: 1012, reason: 'restarting' })
      t.match(socket.notifications.at(-1), { method: 'session.closing', params: { code: 1012, retry_after_seconds: 1 } })
    }
    t.ok(ms < 10_000, `stopped in ${ms} ms`)
    deaf.destroy()
  })
})

/** It fails with a problem of this status in place of the 101. */
async function refused(t: Test, opening: Promise<unknown>, status: 401 | 403, name = 'is refused'): Promise<void> {
  const error = await opening.then(
    () => null,
    (error: unknown) => error,
  )
  t.match(error, { status, body: { status, code: status === 401 ? 'unauthenticated' : 'forbidden', instance: /\S/ } }, name)
}

async function revoke(service: Awaited<ReturnType<typeof createService>>, key: string): Promise<void> {
  const [row] = await service.query(`select replace(id::text, '-', '') as id from api_keys where sha256 = decode($1, 'hex')`, [
    hash('sha256', key, 'hex'),
  ])
  await service.made(`/v1/admin/keys/key_${row.id}/revoke`, { reason: 'x' }, { key: service.adminKey })
}

/** Sends bytes and reads what comes within a moment. */
async function raw(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('utf8').on('data', (data) => {
    answer += data
  })
  socket.on('error', () => {})
  socket.write(text)
  for (let waited = 0; waited < 5_000 && !answer.includes('\r\n\r\n'); waited += 10) await sleep(10)
  socket.destroy()
  return answer.replaceAll('\r', '')
}

function rawUpgrade(port: number, headers: readonly string[]): Promise<string> {
  const lines = ['GET /v1/realtime HTTP/1.1', `Host: 127.0.0.1:${port}`, 'Connection: Upgrade', 'Upgrade: websocket']
  return raw(port, `${[...lines, 'Sec-WebSocket-Version: 13', ...headers].join('\r\n')}\r\n\r\n`)
}

/** A socket that reads nothing and answers nothing. */
async function deafSocket(t: Test, port: number, key: string) {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  const lines = ['GET /v1/realtime HTTP/1.1', 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
  socket.write(`${[...lines, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', `Authorization: Bearer ${key}`].join('\r\n')}\r\n\r\n`)
  await new Promise<void>((resolve) => socket.once('data', () => resolve()))
  socket.pause()
  return socket
}
