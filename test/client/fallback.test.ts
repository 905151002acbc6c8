import t from 'tap'
import type { FareboxOptions, LowBalance, Refused } from '../../src/client/index.ts'
import { type Fake, isLive, type Started, start, startFake } from './fake-farebox.ts'

/** A client whose sockets are refused from the start, so that it goes another way. */
async function blocked(
  t: Parameters<typeof startFake>[0],
  prepare: (fake: Fake) => Partial<FareboxOptions> | undefined = () => undefined,
): Promise<Started & { fake: Fake }> {
  const fake = await startFake(t)
  fake.upgrades = 'refuse'
  fake.set('wal_a', '1')
  const started = start(t, fake, { wallets: ['wal_a'], ...prepare(fake) })
  await started.until('the first refusal', () => started.client.status.reason === 'connection_lost')
  started.clock.advance(250)
  await started.until('the second refusal', () => started.clock.waits[0] === 500)
  t.same(fake.requests, [], 'two failures may be chance')
  started.clock.advance(500)
  return { ...started, fake }
}

const count = (fake: Fake, what: string) => fake.requests.filter((request) => request.includes(what)).length

t.test('blocked sockets: a stream pushes what changes', async (t) => {
  const started = await blocked(t)
  const { client, fake, until } = started
  await until('the stream', () => isLive(started))
  t.same(client.status, { state: 'live', reason: 'stream' })
  t.match(client.get('wal_a'), { available: '1', epoch: '1' })
  fake.set('wal_a', '2')
  await until('the change', () => client.get('wal_a')?.available === '2')
  t.same(fake.requests, ['GET /v1/wallets/wal_a/stream Bearer jwt'])
  t.equal(fake.attempts, 3)
})

t.test('a socket that opens and then says nothing counts as blocked', async (t) => {
  const fake = await startFake(t)
  fake.upgrades = 'swallow'
  fake.set('wal_a', '1')
  const started = start(t, fake, { wallets: ['wal_a'] })
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    await started.until('the attempt', () => fake.peers.length === attempt)
    await started.settle()
    started.clock.advance(10_000)
    started.clock.advance(attempt * 500)
  }
  await started.until('the stream', () => started.client.status.reason === 'stream')
})

t.test('the socket is tried every minute or so, and taken when it opens', async (t) => {
  const started = await blocked(t)
  const { client, fake, until, clock, settle } = started
  await until('the stream', () => isLive(started))
  clock.advance(59_000)
  await settle()
  t.equal(fake.attempts, 3)
  clock.advance(1_000)
  await until('the try', () => fake.attempts === 4)
  await settle()
  t.same(client.status, { state: 'live', reason: 'stream' }, 'a try that fails changes nothing')
  fake.upgrades = 'accept'
  clock.advance(60_000)
  await until('the socket', () => client.status.reason === 'socket')
  await until('the stream is closed', () => fake.streams.size === 0)
  fake.set('wal_a', '7')
  await until('the change', () => client.get('wal_a')?.available === '7')
})

t.test('blocked streams: the wallet is polled every five seconds, and again followed when the socket is back', async (t) => {
  const started = await blocked(t, (fake) => {
    fake.streaming = 'fail'
    return undefined
  })
  const { client, fake, until, clock, settle, statuses } = started
  await until('the first stream fails', () => client.status.reason === 'connection_lost')
  // As long as it takes: on a busy machine an answer may need more real time than a step of the clock gives it.
  for (let steps = 0; steps < 30 && client.status.state !== 'polling'; steps += 1) await started.pass(1_000)
  await until('a poll', () => client.status.state === 'polling')
  t.match(client.get('wal_a'), { wallet_id: 'wal_a', available: '1', cause: null })
  t.equal(count(fake, '/stream'), 2)
  const nextPoll = () => clock.waits[0] ?? 0
  await until('the wait', () => nextPoll() <= 5_000)
  const first = count(fake, '/balance')
  clock.advance(nextPoll())
  await until('the poll', () => count(fake, '/balance') > first)
  for (let polls = count(fake, '/balance'); polls < 8; polls = count(fake, '/balance')) {
    await until('the wait', () => nextPoll() === 5_000)
    clock.advance(4_999)
    await settle()
    t.equal(count(fake, '/balance'), polls)
    clock.advance(1)
    await until('the poll', () => count(fake, '/balance') > polls)
  }
  fake.set('wal_a', '2')
  await until('the wait', () => nextPoll() === 5_000)
  clock.advance(5_000)
  await until('the change', () => client.get('wal_a')?.available === '2')
  fake.upgrades = 'accept'
  await started.pass(60_000, 5_000)
  await until('the socket', () => client.status.reason === 'socket')
  const last = fake.requests.length
  await settle()
  clock.advance(15_000)
  await settle()
  t.equal(fake.requests.length, last, 'and the polling ends')
  t.same(
    statuses.map(({ state }) => state),
    ['connecting', 'connecting', 'connecting', 'polling', 'live'],
  )
})

t.test('a stream that is held back on the way counts as blocked', async (t) => {
  const started = await blocked(t, (fake) => {
    fake.streaming = 'hold'
    return undefined
  })
  const { client, fake, until } = started
  await until('the stream', () => count(fake, '/stream') === 1)
  await started.pass(26_000)
  await until('a poll', () => client.status.state === 'polling')
  t.equal(count(fake, '/stream'), 2)
})

t.test('an answer that is no stream is let go of at once', async (t) => {
  const { fake, until } = await blocked(t, (fake) => {
    fake.streaming = 'page'
    return undefined
  })
  await until('the request', () => count(fake, '/stream') === 1)
  await until('it is closed', () => fake.streams.size === 0)
})

t.test('an answer that comes when the socket is back counts no more', async (t) => {
  const answers: ((response: Response) => void)[] = []
  const started = await blocked(t, () => ({ fetch: () => new Promise((resolve) => answers.push(resolve)) }))
  const { client, fake, until, clock, settle } = started
  await until('the request', () => answers.length === 1)
  fake.upgrades = 'accept'
  clock.advance(60_000)
  await until('the socket', () => client.status.reason === 'socket')
  const state = fake.set('wal_b', '9')
  const stream = { headers: { 'content-type': 'text/event-stream' } }
  for (const answer of answers)
    answer(new Response(`event: wallet.balance\ndata: ${JSON.stringify({ ...state, wallet_id: 'wal_a' })}\n\n`, stream))
  await settle()
  t.same(client.status, { state: 'live', reason: 'socket' })
})

t.test('a stream that breaks off, or falls silent, is opened again', async (t) => {
  const started = await blocked(t)
  const { client, fake, until, clock, settle } = started
  await until('the stream', () => isLive(started))
  for (const response of fake.streams.keys()) response.destroy()
  await until('it is gone', () => fake.streams.size === 0)
  await settle()
  fake.set('wal_a', '2')
  clock.advance(2_000)
  await until('the state', () => client.get('wal_a')?.available === '2')
  clock.advance(59_000)
  for (const response of fake.streams.keys()) response.write(': alive\n\n')
  await settle()
  clock.advance(30_000)
  await settle()
  t.equal(count(fake, '/stream'), 2, 'a comment is a sign of life')
  clock.advance(30_000)
  await settle()
  clock.advance(2_000)
  await until('the third', () => count(fake, '/stream') === 3)
  t.equal(client.status.state, 'live')
})

t.test('four wallets are streamed and the others polled, and each is found by the name it was asked for', async (t) => {
  const wallets = ['wal_a', 'user:alice', 'wal_c', 'wal_d', 'wal_e', 'wal_f']
  const started = await blocked(t, (fake) => {
    for (const id of ['wal_b', 'wal_c', 'wal_d', 'wal_e', 'wal_f']) fake.set(id, '1')
    fake.owners.set('user:alice', 'wal_b')
    return { wallets }
  })
  const { client, fake, until } = started
  await until('the streams', () => fake.streams.size === 4)
  await started.pass(2_000)
  await until('all are there', () => wallets.every((name) => client.get(name)?.available === '1'))
  t.same(client.status, { state: 'polling', reason: 'socket_blocked' }, 'as fresh as the stalest')
  t.equal(count(fake, '/stream'), 4)
  t.ok(fake.requests.includes('GET /v1/wallets/user%3Aalice/stream Bearer jwt'))
  t.equal(client.get('user:alice')?.wallet_id, 'wal_b')
})

t.test("the caller's own wallet is looked up", async (t) => {
  const fake = await startFake(t)
  fake.upgrades = 'refuse'
  fake.owners.set('', 'wal_own')
  fake.set('wal_own', '4')
  const own = start(t, fake)
  own.client.subscribe(undefined, () => {})
  await own.until('refused', () => own.client.status.reason === 'connection_lost')
  await own.pass(2_000)
  await own.until('there', () => own.client.get()?.available === '4')
  t.same(fake.requests, ['GET /v1/wallets?limit=1 Bearer jwt', 'GET /v1/wallets/wal_own/stream Bearer jwt'])
})

t.test('what is wanted may change meanwhile', async (t) => {
  const started = await blocked(t)
  const { client, fake, until } = started
  await until('the stream', () => isLive(started))
  fake.set('wal_b', '5')
  const stop = client.subscribe('wal_b', () => {})
  await until('its stream', () => client.get('wal_b')?.available === '5')
  t.equal(fake.streams.size, 2)
  stop()
  await started.pass(5_000)
  await until('it is left', () => fake.streams.size === 1)
  t.equal(client.get('wal_b'), undefined)
})

t.test('a wallet that is refused is not asked for again; a proxy that forbids is tried on', async (t) => {
  const refused: Refused[] = []
  const started = await blocked(t, (fake) => {
    fake.failure = { status: 404, code: 'wallet_not_found' }
    return undefined
  })
  started.client.on('refused', (one) => refused.push(one))
  await started.until('the refusal', () => refused.length > 0)
  t.match(refused, [{ wallet: 'wal_a', code: 'wallet_not_found', message: 'as the test wants it' }])
  await started.pass(20_000, 5_000)
  t.equal(started.fake.requests.length, 1)

  const proxy = await blocked(t, (fake) => {
    fake.failure = { status: 403 }
    return undefined
  })
  await proxy.pass(10_000)
  t.same(proxy.client.status, { state: 'offline', reason: 'connection_lost' }, 'several failures in a row')
  proxy.fake.failure = null
  await proxy.pass(10_000)
  await proxy.until('through', () => proxy.client.get('wal_a') !== undefined)
})

t.test('the server names the wait', async (t) => {
  const started = await blocked(t, (fake) => {
    fake.failure = { status: 429, code: 'rate_limited', retryAfter: '20' }
    return undefined
  })
  await started.until('the wait', () => started.clock.waits[0] === 21_000)
  started.clock.advance(20_999)
  await started.settle()
  t.equal(started.fake.requests.length, 1)
  started.clock.advance(1)
  await started.until('the next request', () => started.fake.requests.length === 2)
})

t.test('a token is asked for anew with each request, and one that fails is said', async (t) => {
  let asked = 0
  const started = await blocked(t, () => ({
    token: async () => {
      asked += 1
      if (asked === 4) throw new Error('no token now')
      return `jwt_${asked}`
    },
  }))
  const { client, fake, until } = started
  await until('the failure', () => client.status.reason === 'credential_failed')
  t.equal(client.status.state, 'connecting')
  await started.pass(2_000)
  await until('the stream', () => isLive(started))
  t.same(fake.requests, ['GET /v1/wallets/wal_a/stream Bearer jwt_5'])
})

t.test('a token that the service refuses is said as well', async (t) => {
  const started = await blocked(t, (fake) => {
    fake.failure = { status: 401, code: 'unauthenticated' }
    return undefined
  })
  await started.pass(10_000)
  t.same(started.client.status, { state: 'offline', reason: 'credential_failed' })
})

t.test('a low balance is told on a stream too', async (t) => {
  const low: LowBalance[] = []
  const started = await blocked(t)
  started.client.on('low_balance', (one) => low.push(one))
  await started.until('the stream', () => started.fake.streams.size === 1)
  for (const response of started.fake.streams.keys()) {
    response.write('event: wallet.low_balance\ndata: {"wallet_id":"wal_a","version":2,"available":"1","threshold":"2"}\n\n')
  }
  await started.until('the event', () => low.length > 0)
  t.match(low, [{ wallet_id: 'wal_a', threshold: '2' }])
})

t.test('a close code, or a client with tickets alone, is no reason to fall back', async (t) => {
  const fake = await startFake(t)
  fake.upgrades = 'swallow'
  const started = start(t, fake, { wallets: ['wal_a'] })
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    await started.until('the attempt', () => fake.peers.length === attempt)
    fake.peer.close(1013)
    await started.until('the wait', () => started.clock.waits[0] === 4_000)
    started.clock.advance(4_000)
  }
  t.same(fake.requests, [])
  t.same(started.client.status, { state: 'offline', reason: 'server_busy' })

  const other = await startFake(t)
  other.upgrades = 'refuse'
  const ticketed = start(t, other, { wallets: ['wal_a'], ticket: () => 'tkt', token: undefined as never })
  await ticketed.until('lost', () => ticketed.client.status.reason === 'connection_lost')
  await ticketed.pass(30_000, 5_000)
  t.same(other.requests, [])
  t.equal(ticketed.client.status.state, 'offline')
})

for (const streaming of ['serve', 'fail', 'hold'] as const) {
  t.test(`close leaves nothing while streams ${streaming}`, async (t) => {
    const { client, clock, fake, until, settle } = await blocked(t, (fake) => {
      fake.streaming = streaming
      return undefined
    })
    await until('a request', () => fake.requests.length > 0)
    await settle()
    client.close()
    t.same(clock.waits, [])
    const requests = fake.requests.length
    await settle()
    t.same(clock.waits, [])
    t.equal(fake.streams.size, 0)
    t.equal(fake.requests.length, requests)
  })
}
