import t from 'tap'
import type { LowBalance, Refused, Transaction } from '../../src/client/index.ts'
import { isLive, refusal, start, startFake } from './fake-farebox.ts'

t.test('a wallet is followed: its state at first, and each change', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '10')
  const started = start(t, fake)
  const { client, until } = started
  const heard: string[] = []
  client.subscribe('wal_a', ({ available }) => heard.push(available))
  t.same(client.status, { state: 'connecting', reason: 'starting' })
  await until('live', () => isLive(started))
  t.same(client.status, { state: 'live', reason: 'socket' })
  t.match(client.get('wal_a'), { wallet_id: 'wal_a', epoch: '1', version: 1, available: '10' })
  fake.set('wal_a', '9.5')
  await until('the change', () => client.get('wal_a')?.available === '9.5')
  t.match(client.get('wal_a')?.cause, { type: 'grant' })
  fake.peer.notify('wallet.balance', fake.set('wal_a', '8', 1))
  fake.set('wal_a', '7', 3)
  await until('the third', () => client.get('wal_a')?.version === 3)
  t.same(heard, ['10', '9.5', '7'], 'an old version is no news')
  t.same(fake.peer.protocols, ['farebox.v1', 'bearer.jwt'])
})

t.test('nothing connects before something is wanted', async (t) => {
  const fake = await startFake(t)
  const { settle, clock } = start(t, fake)
  await settle()
  t.equal(fake.attempts, 0)
  t.same(clock.waits, [])
})

t.test('wallets of one moment are asked for in one call, more than fifty in several', async (t) => {
  const fake = await startFake(t)
  const ids = Array.from({ length: 120 }, (_, i) => `wal_${i}`)
  for (const id of ids) fake.set(id, id.slice(4))
  const started = start(t, fake)
  for (const id of ids) for (let i = 0; i < 50; i += 1) started.client.subscribe(id, () => {})
  await started.until('all are there', () => ids.every((id) => started.client.get(id)?.available === id.slice(4)))
  t.same(
    fake.peer.calls.map(({ params }) => params.wallets?.length),
    [50, 50, 20],
  )
})

t.test('calls keep below what the server allows', async (t) => {
  const fake = await startFake(t)
  const names = Array.from({ length: 50 }, (_, i) => `user:${i}`)
  for (const [i, name] of names.entries()) fake.owners.set(name, `wal_${i}`)
  for (const id of fake.owners.values()) fake.set(id, '1')
  const { client, until, settle, clock } = start(t, fake)
  for (const name of names) client.subscribe(name, () => {})
  await until('the first', () => fake.peers.length > 0 && fake.peer.calls.length > 0)
  for (let second = 0; second < 4; second += 1) {
    const before = fake.peer.calls.length
    for (let i = 0; i < 10; i += 1) {
      clock.advance(100)
      await settle()
    }
    t.ok(fake.peer.calls.length - before <= 20, `${fake.peer.calls.length - before} in a second`)
  }
  await until('all are there', () => names.every((name) => client.get(name)?.available === '1'))
})

t.test('an owner is asked for by itself, so that its wallet is known', async (t) => {
  const fake = await startFake(t)
  for (const [name, id] of [
    ['user:alice', 'wal_a'],
    ['user:bob', 'wal_b'],
    ['', 'wal_own'],
  ] as const) {
    fake.owners.set(name, id)
    fake.set(id, name)
  }
  const { client, until } = start(t, fake, { wallets: ['user:alice', 'user:bob'] })
  let heard = 0
  client.subscribe(undefined, () => {
    heard += 1
  })
  await until('all are there', () => client.get() !== undefined)
  t.equal(client.get('user:alice')?.available, 'user:alice')
  t.equal(client.get('user:bob')?.available, 'user:bob')
  t.match(client.get(), { wallet_id: 'wal_own' })
  t.equal(client.get('wal_own'), client.get())
  fake.set('wal_own', '3')
  await until('its change', () => client.get()?.available === '3')
  t.equal(heard, 2)
  t.same(
    fake.peer.calls.map(({ params }) => params),
    [{ wallets: ['user:alice'] }, { wallets: ['user:bob'] }, {}],
  )
})

t.test('a wallet that is refused keeps no other out', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '1')
  fake.set('wal_b', '2')
  const started = start(t, fake, { wallets: ['wal_a', 'wal_none', 'wal_b'] })
  const refused: Refused[] = []
  started.client.on('refused', (one) => refused.push(one))
  await started.until('the call', () => fake.peers.length > 0 && fake.peer.calls.length > 0)
  await started.pass(1_000, 250)
  t.match(refused, [{ wallet: 'wal_none', code: 'wallet_not_found' }])
  t.equal(started.client.get('wal_a')?.available, '1')
  t.equal(started.client.get('wal_b')?.available, '2')
  t.ok(isLive(started))
  t.equal(fake.peer.calls.length, 4, 'and is not asked for again')
})

t.test('a call that the server asks to repeat is repeated', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '1')
  let refusals = 0
  fake.answer = ({ method }) => {
    if (method !== 'wallet.subscribe' || refusals === 2) return undefined
    refusals += 1
    return refusal(-32000, 'storage_unavailable', { retry_after_seconds: 3 })
  }
  const started = start(t, fake, { wallets: ['wal_a'] })
  await started.until('refused', () => refusals === 1)
  await started.pass(4_000)
  t.equal(refusals, 1, 'not before it should')
  await started.pass(10_000)
  t.equal(started.client.get('wal_a')?.available, '1')
  t.ok(isLive(started))
})

t.test('a wallet that nobody listens to is left after the grace, and not before', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '1')
  fake.set('wal_b', '1')
  fake.owners.set('user:alice', 'wal_a')
  const started = start(t, fake, { wallets: ['wal_b'] })
  const stop = started.client.subscribe('wal_a', () => {})
  const stopName = started.client.subscribe('user:alice', () => {})
  await started.until('there', () => started.client.get('user:alice') !== undefined)
  stop()
  await started.pass(6_000)
  t.same(
    fake.peer.calls.map(({ method }) => method),
    ['wallet.subscribe', 'wallet.subscribe'],
    'another name still wants it',
  )
  stopName()
  await started.pass(4_900)
  t.equal(fake.peer.calls.length, 2)
  await started.pass(1_000)
  t.match(fake.peer.calls[2], { method: 'wallet.unsubscribe', params: { wallets: ['wal_a'] } })
  t.equal(started.client.get('wal_a'), undefined)
  fake.peer.notify('wallet.balance', fake.set('wal_a', '5'))
  await started.settle()
  t.equal(started.client.get('wal_a'), undefined, 'a late frame brings nothing back')
  started.client.subscribe('wal_a', () => {})
  await started.until('it is back', () => started.client.get('wal_a')?.available === '5')
})

t.test('a wallet that is given up while it is asked for is left as soon as the answer is there', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '1')
  fake.set('wal_b', '1')
  fake.owners.set('user:alice', 'wal_a')
  fake.answer = ({ params }) => (params.wallets?.includes('user:alice') ? null : undefined)
  const started = start(t, fake, { wallets: ['wal_b'] })
  const stop = started.client.subscribe('user:alice', () => {})
  await started.until('it is asked for', () => fake.peers.length > 0 && fake.peer.calls.length === 2)
  stop()
  await started.pass(6_000)
  const asked = fake.peer.calls.find(({ params }) => params.wallets?.includes('user:alice'))
  fake.peer.raw(JSON.stringify({ jsonrpc: '2.0', id: asked?.id, result: { wallets: [fake.set('wal_a', '2')] } }))
  await started.pass(1_000)
  t.match(fake.peer.calls.at(-1), { method: 'wallet.unsubscribe', params: { wallets: ['wal_a'] } })
})

t.test('low balances and rows of the ledger are events, each row once', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '1')
  fake.set('wal_b', '1')
  const started = start(t, fake, { wallets: ['wal_a', 'wal_b'], transactions: true })
  const { client, until } = started
  const low: LowBalance[] = []
  const rows: Transaction[] = []
  client.on('low_balance', (one) => low.push(one))
  const off = client.on('transaction', (one) => rows.push(one))
  await until('live', () => isLive(started))
  t.same(fake.peer.calls[0]?.params, { wallets: ['wal_a', 'wal_b'], transactions: true })
  fake.peer.notify('wallet.low_balance', { wallet_id: 'wal_a', version: 2, available: '1', threshold: '2' })
  fake.peer.notify('wallet.low_balance', { wallet_id: 'wal_other', version: 2, available: '1', threshold: '2' })
  for (const seq of [7, 8, 8]) fake.peer.notify('wallet.transaction', { wallet_id: 'wal_a', seq, id: `txn_${seq}` })
  await until('rows', () => rows.length === 2)
  t.match(low, [{ wallet_id: 'wal_a', threshold: '2' }])
  fake.peer.kill()
  await until('lost', () => !isLive(started))
  started.clock.advance(500)
  await until('back', () => fake.peers.length === 2 && fake.peer.calls.length === 2)
  t.same(
    fake.peer.calls.map(({ params }) => params).sort((a, b) => Number(b.after_seq ?? 0) - Number(a.after_seq ?? 0)),
    [
      { wallets: ['wal_a'], transactions: true, after_seq: 8 },
      { wallets: ['wal_b'], transactions: true },
    ],
  )
  for (const seq of [8, 9]) fake.peer.notify('wallet.transaction', { wallet_id: 'wal_a', seq, id: `txn_${seq}` })
  await until('the missed row', () => rows.length === 3)
  off()
  fake.peer.notify('wallet.transaction', { wallet_id: 'wal_a', seq: 10, id: 'txn_10' })
  await started.settle()
  t.same(
    rows.map(({ seq }) => seq),
    [7, 8, 9],
  )
})

t.test("rows of the caller's own wallets that were missed are asked for wallet by wallet, after the list", async (t) => {
  const fake = await startFake(t)
  const own = ['wal_a', 'wal_b', 'wal_c']
  for (const id of own) fake.set(id, '1')
  // The fake has one wallet of a caller's own; here there are several, and one more each time.
  let count = 1
  fake.answer = ({ method, params }) => {
    if (method !== 'wallet.subscribe' || params.wallets) return undefined
    count += 1
    return { result: { wallets: own.slice(0, count).map((id) => fake.set(id, '1')) } }
  }
  const started = start(t, fake, { transactions: true })
  const { client, until } = started
  const rows: Transaction[] = []
  client.subscribe(undefined, () => {})
  client.on('transaction', (one) => rows.push(one))
  await until('live', () => isLive(started))
  await started.pass(1_000)
  const paramsOf = () => fake.peer.calls.map(({ params }) => params)
  t.same(paramsOf(), [{ transactions: true }], 'at first one call is enough')
  fake.peer.notify('wallet.transaction', { wallet_id: 'wal_a', seq: 7, id: 'txn_7' })
  await until('the row', () => rows.length === 1)
  fake.peer.kill()
  await until('lost', () => !isLive(started))
  started.clock.advance(500)
  await until('back', () => fake.peers.length === 2 && isLive(started))
  await started.pass(1_000)
  t.same(paramsOf(), [{}, { wallets: ['wal_b', 'wal_c'], transactions: true }, { wallets: ['wal_a'], transactions: true, after_seq: 7 }])
  for (const seq of [8, 9]) fake.peer.notify('wallet.transaction', { wallet_id: 'wal_a', seq, id: `txn_${seq}` })
  await until('the missed rows', () => rows.length === 3)
  await started.pass(60_000)
  t.equal(paramsOf().length, 3, 'once')
})

t.test('a caller without a wallet asks again now and then, until there is one', async (t) => {
  for (const [random, waitMs] of [
    [0, 10_000],
    [0.5, 20_000],
    [0.999, 29_980],
  ] as const) {
    const fake = await startFake(t)
    fake.set('wal_other', '3')
    let opened = false
    fake.answer = ({ params }) => (params.wallets || opened ? undefined : { result: { wallets: [] } })
    const started = start(t, fake, { random: () => random, wallets: ['wal_other'] })
    const { client, until, settle, clock } = started
    const heard: string[] = []
    const listen = () => client.subscribe(undefined, ({ available }) => heard.push(available))
    const stop = listen()
    await until('live', () => isLive(started))
    const asked = () => fake.peer.calls.filter(({ params }) => !params.wallets).length
    const waits = () => clock.waits.some((ms) => Math.abs(ms - waitMs) < 1)
    await until('it waits', () => asked() === 1 && waits())
    clock.advance(waitMs - 100)
    fake.set('wal_other', '2')
    await until('a frame', () => client.get('wal_other')?.available === '2')
    await settle()
    t.equal(asked(), 1, 'a frame of another wallet is no reason')
    clock.advance(101)
    await until('asked again', () => asked() === 2)
    await settle()
    t.same([client.status.state, heard], ['live', []], 'still none')
    stop()
    await started.pass(40_000)
    t.equal(asked(), 2, 'nobody wants to know any more')
    listen()
    await until('asked for anew', () => asked() === 3 && waits())
    fake.owners.set('', 'wal_own')
    fake.set('wal_own', '5')
    opened = true
    await started.pass(waitMs + 1_000, 500)
    await until('its first state', () => heard.length > 0)
    fake.set('wal_own', '4')
    await until('what is pushed', () => heard.length === 2)
    t.same([heard, client.get()?.available, asked()], [['5', '4'], '4', 4])
    await started.pass(40_000)
    t.equal(asked(), 4, 'one that is there is not asked for again')
    client.close()
  }
})

t.test('frames that mean nothing to us change nothing', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '1')
  const started = start(t, fake, { wallets: ['wal_a'] })
  await started.until('live', () => isLive(started))
  for (const text of [
    '',
    '{',
    'null',
    '7',
    '[]',
    '{}',
    '{"id":99,"result":1}',
    '{"method":"wallet.balance"}',
    '{"method":"new.thing","params":{}}',
  ]) {
    fake.peer.raw(text)
  }
  fake.peer.notify('wallet.balance', { wallet_id: 'wal_a', version: 'x' })
  fake.set('wal_a', '2')
  await started.until('the next', () => started.client.get('wal_a')?.available === '2')
  t.equal(fake.peers.length, 1)
})
