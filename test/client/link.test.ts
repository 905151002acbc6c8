import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { createFarebox, type FareboxOptions } from '../../src/client/index.ts'
import { type Fake, FakeClock, isLive, type Started, start, startFake } from './fake-farebox.ts'

const PING_MS = 25_000
/** The longest time without a frame. */
const SILENCE_MS_MAX = 60_000

async function live(t: Parameters<typeof startFake>[0], options: Partial<FareboxOptions> = {}): Promise<Started & { fake: Fake }> {
  const fake = await startFake(t)
  fake.set('wal_a', '1')
  const started = start(t, fake, { wallets: ['wal_a'], ...options })
  await started.until('live', () => isLive(started))
  return { ...started, fake }
}

/** The wait before the next attempt: nothing else is waited for while there is no socket. */
function waitOf({ clock }: Started): number {
  if (clock.waits.length !== 1) throw new Error(`waits: ${clock.waits}`)
  return clock.waits[0] as number
}

t.test('a connection that dies is opened again, and what was missed is there', async (t) => {
  const started = await live(t)
  const { client, fake, until, clock, statuses } = started
  fake.peer.kill()
  await until('lost', () => !isLive(started))
  t.same(client.status, { state: 'connecting', reason: 'connection_lost' })
  fake.set('wal_a', '2')
  t.equal(waitOf(started), 250)
  clock.advance(250)
  await until('live', () => isLive(started))
  t.equal(client.get('wal_a')?.available, '2')
  t.same(
    statuses.map(({ state }) => state),
    ['live', 'connecting', 'live'],
  )
})

t.test('a connection that dies between a call and its answer leaves nothing behind', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '1')
  let dies = true
  fake.answer = ({ method }, peer) => {
    if (method !== 'wallet.subscribe' || !dies) return undefined
    dies = false
    peer.kill()
    return null
  }
  const started = start(t, fake, { wallets: ['wal_a'] })
  await started.until('dead', () => !dies)
  await started.settle()
  await started.pass(1_000)
  await started.until('live', () => isLive(started))
  t.equal(fake.peers.length, 2)
})

t.test('after a restore the versions of the new epoch count', async (t) => {
  const started = await live(t)
  const { client, fake, until, clock } = started
  fake.set('wal_a', '50', 500)
  await until('seen', () => client.get('wal_a')?.version === 500)
  fake.peer.kill()
  await until('lost', () => !isLive(started))
  fake.set('wal_a', '40', 3, '2')
  clock.advance(250)
  await until('the restored state', () => client.get('wal_a')?.version === 3)
  t.equal(client.get('wal_a')?.available, '40')
})

t.test('waits grow to half a minute, and are spread over all of it', async (t) => {
  const started = await live(t, { random: () => 0.999, ticket: () => 'tkt', token: undefined as never })
  const { client, fake, until, clock } = started
  fake.upgrades = 'refuse'
  fake.peer.kill()
  for (const bound of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    const wait = 0.999 * bound
    await until(`a wait of ${wait}`, () => clock.waits.length === 1 && clock.waits[0] === wait)
    clock.advance(wait)
  }
  t.same(client.status, { state: 'offline', reason: 'connection_lost' })
  t.equal(fake.attempts, 8)
})

t.test('a minute of quiet makes the next wait short again, less does not', async (t) => {
  const started = await live(t, { ticket: () => 'tkt_1' })
  const { fake, until, clock } = started
  const lose = async () => {
    fake.peer.kill()
    await until('lost', () => !isLive(started))
    const wait = waitOf(started)
    clock.advance(wait)
    await until('live', () => isLive(started))
    return wait
  }
  t.same([await lose(), await lose(), await lose()], [250, 500, 1_000])
  await started.pass(59_000, PING_MS)
  t.equal(await lose(), 2_000)
  await started.pass(61_000, PING_MS)
  t.equal(await lose(), 250)
})

for (const [code, reason, waitMs] of [
  [1000, 'connection_lost', 250],
  [1001, 'connection_lost', 250],
  [1012, 'server_restarting', 1_000],
  [1013, 'server_busy', 4_000],
  [4401, 'credential_ended', 250],
  [4408, 'connection_lost', 250],
  [4429, 'too_many', 15_000],
] as const) {
  t.test(`${code} comes back after a wait (${reason})`, async (t) => {
    const started = await live(t)
    started.fake.peer.close(code)
    await started.until('lost', () => !isLive(started))
    t.same(started.client.status, { state: 'connecting', reason })
    t.equal(waitOf(started), waitMs)
    started.clock.advance(waitMs)
    await started.until('live', () => isLive(started))
  })
}

for (const [code, reason] of [
  [1008, 'protocol_broken'],
  [1009, 'protocol_broken'],
  [4403, 'not_allowed'],
] as const) {
  t.test(`${code} stays away (${reason})`, async (t) => {
    const { client, clock, fake, until, pass } = await live(t)
    fake.peer.close(code)
    await until('closed', () => client.status.state === 'closed')
    t.same(client.status, { state: 'closed', reason })
    t.same(clock.waits, [])
    client.subscribe('wal_b', () => {})()
    await pass(120_000, 60_000)
    t.equal(fake.attempts, 1)
    t.equal(client.get('wal_a')?.available, '1', 'what was known can still be read')
  })
}

t.test('the server names the wait, also when its close frame is lost, and waking up does not shorten it', async (t) => {
  const page = asPage(t)
  const started = await live(t)
  const { client, fake, until, clock } = started
  fake.peer.notify('session.closing', { reason: 'restart', code: 1012, retry_after_seconds: 20 })
  await started.settle()
  fake.peer.kill()
  await until('lost', () => !isLive(started))
  t.same(client.status, { state: 'connecting', reason: 'server_restarting' })
  t.equal(waitOf(started), 21_000)
  page.dispatchEvent(new Event('online'))
  await started.settle()
  t.equal(fake.attempts, 1)
  clock.advance(21_000)
  await until('live', () => isLive(started))
})

t.test('nor does it shorten the wait of a code that asks for none by itself', async (t) => {
  const page = asPage(t)
  const started = await live(t)
  const { fake, until, clock } = started
  fake.peer.notify('session.closing', { reason: 'no sign of life', code: 4408, retry_after_seconds: 20 })
  await started.settle()
  fake.peer.close(4408)
  await until('lost', () => !isLive(started))
  t.equal(waitOf(started), 20_250)
  page.dispatchEvent(new Event('online'))
  await started.settle()
  t.equal(fake.attempts, 1)
  clock.advance(20_250)
  await until('live', () => isLive(started))
})

t.test('a wait that no sane server names is cut to an hour', async (t) => {
  const started = await live(t)
  started.fake.peer.notify('session.closing', { reason: 'restart', code: 1012, retry_after_seconds: 1e12 })
  started.fake.peer.close(1012)
  await started.until('lost', () => !isLive(started))
  t.equal(waitOf(started), 3_601_000)
})

t.test('each attempt gets a credential of its own, and a ticket goes before a token', async (t) => {
  let tickets = 0
  const started = await live(t, {
    ticket: async () => {
      tickets += 1
      return `tkt_${tickets}`
    },
  })
  t.same(started.fake.peer.protocols, ['farebox.v1', 'ticket.tkt_1'])
  started.fake.peer.close(4401)
  await started.until('lost', () => !isLive(started))
  started.clock.advance(250)
  await started.until('live', () => isLive(started))
  t.same(started.fake.peer.protocols, ['farebox.v1', 'ticket.tkt_2'])
})

t.test('a ticket that cannot be had, is late or is no ticket is asked for again', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '1')
  const answers = [
    () => {
      throw new Error('at once')
    },
    () => Promise.reject(new Error('later')),
    () => new Promise<string>(() => {}),
    () => 'not a subprotocol',
    () => 'tkt_5',
  ]
  let asked = 0
  const started = start(t, fake, {
    wallets: ['wal_a'],
    ticket: () => {
      asked += 1
      return answers[asked - 1]?.() ?? ''
    },
  })
  const { client, until, clock } = started
  await until('the first failure', () => client.status.reason === 'credential_failed')
  t.equal(client.status.state, 'connecting')
  clock.advance(250)
  await until('the second failure', () => asked === 2 && clock.waits.includes(500))
  clock.advance(500)
  await until('the third', () => asked === 3)
  clock.advance(10_000)
  await until('offline', () => client.status.state === 'offline')
  clock.advance(1_000)
  await until('the fourth failure', () => asked === 4 && clock.waits.includes(2_000))
  t.equal(fake.attempts, 0)
  clock.advance(2_000)
  await until('live', () => isLive(started))
})

t.test('we ping every 25 seconds, and a socket that is silent for a minute is dropped', async (t) => {
  const started = await live(t)
  const { client, fake, until, clock, settle } = started
  t.equal(fake.peer.pings, 1, 'the first frame proves that frames come through')
  for (let pings = 2; pings < 6; pings += 1) {
    clock.advance(PING_MS)
    await until('a ping', () => fake.peer.pings === pings)
    await settle()
  }
  t.ok(isLive(started), 'the pongs keep it')
  fake.answer = () => null
  clock.advance(SILENCE_MS_MAX - 1)
  t.ok(isLive(started))
  clock.advance(1)
  t.same(client.status, { state: 'connecting', reason: 'connection_lost' })
  fake.answer = () => undefined
  clock.advance(250)
  await until('live', () => isLive(started))
  t.equal(fake.peers.length, 2)
})

t.test('any frame is a sign of life', async (t) => {
  const started = await live(t)
  started.fake.answer = () => null
  for (let i = 0; i < 10; i += 1) {
    started.fake.set('wal_a', `${i}`)
    await started.settle()
    started.clock.advance(20_000)
  }
  t.ok(isLive(started))
})

t.test('a server that accepts no connection, or never speaks, is tried again', async (t) => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => silent.close())
  const clock = new FakeClock()
  const { port } = silent.address() as { port: number }
  const client = createFarebox({ url: `http://127.0.0.1:${port}/`, ticket: () => 'tkt', wallets: ['wal_a'], clock, random: () => 0 })
  t.teardown(() => client.close())
  let requests = 0
  silent.on('connection', (socket) => {
    socket.on('data', () => {
      requests += 1
    })
    t.teardown(() => socket.destroy())
  })
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    while (requests < attempt) {
      await new Promise((resolve) => setTimeout(resolve, 2))
      clock.advance(0)
    }
    clock.advance(10_000)
  }
  t.same(client.status, { state: 'offline', reason: 'connection_lost' })
})

t.test('an open page that is looked at again tries at once, and doubts a socket that it has', async (t) => {
  const page = asPage(t)
  const started = await live(t)
  const { fake, until, clock, client } = started
  fake.peer.kill()
  await until('lost', () => !isLive(started))
  page.document.visibilityState = 'hidden'
  page.document.dispatchEvent(new Event('visibilitychange'))
  await started.settle()
  t.equal(fake.attempts, 1)
  page.document.visibilityState = 'visible'
  page.document.dispatchEvent(new Event('visibilitychange'))
  await until('live', () => isLive(started))
  t.equal(fake.attempts, 2)

  fake.answer = () => null
  page.dispatchEvent(new Event('online'))
  clock.advance(4_999)
  t.ok(isLive(started))
  clock.advance(1)
  t.notOk(isLive(started), 'a probe has five seconds')

  t.same([page.listeners, page.document.listeners], [2, 1])
  client.close()
  t.same([page.listeners, page.document.listeners], [0, 0])
})

t.test('a socket that is just being opened is given its time', async (t) => {
  const page = asPage(t)
  const fake = await startFake(t)
  fake.upgrades = 'swallow'
  const { client, clock, until, settle } = start(t, fake, { wallets: ['wal_a'] })
  await until('the attempt', () => fake.peers.length === 1)
  await settle()
  page.dispatchEvent(new Event('online'))
  clock.advance(9_999)
  t.equal(client.status.reason, 'starting')
  clock.advance(1)
  t.equal(client.status.reason, 'connection_lost')
})

t.test('without a network the status says so, and nothing is taken for blocked', async (t) => {
  const page = asPage(t)
  const started = await live(t)
  const { client, fake, until, clock } = started
  page.navigator.onLine = false
  fake.upgrades = 'refuse'
  fake.peer.kill()
  for (const wait of [250, 500, 1_000, 2_000]) {
    await until('the wait', () => clock.waits.length === 1 && clock.waits[0] === wait)
    t.same(client.status, { state: 'offline', reason: 'network_offline' })
    clock.advance(wait)
  }
  await until('the wait', () => clock.waits[0] === 4_000)
  t.same(fake.requests, [])
  page.navigator.onLine = true
  fake.upgrades = 'accept'
  page.dispatchEvent(new Event('online'))
  await until('live', () => isLive(started))
})

t.test('close ends everything: no timer, no socket, no more news', async (t) => {
  const { client, clock, fake, until, statuses } = await live(t)
  client.subscribe('wal_a', () => t.fail('no news after the end'))
  client.subscribe('wal_b', () => {})()
  client.close()
  client.close()
  t.same(client.status, { state: 'closed', reason: 'by_caller' })
  t.same(clock.waits, [])
  await until('the socket is closed', () => fake.peer.closed)
  client.subscribe('wal_c', () => {})()
  fake.peer.kill()
  t.same(clock.waits, [])
  t.equal(statuses.length, 2)
})

t.test('close while connecting, while waiting and while a ticket is fetched leaves nothing', async (t) => {
  const fake = await startFake(t)
  fake.upgrades = 'swallow'
  const connecting = start(t, fake, { wallets: ['wal_a'] })
  await connecting.until('the attempt', () => fake.attempts === 1)
  connecting.client.close()
  t.same(connecting.clock.waits, [])

  let give: (ticket: string) => void = () => {}
  const ticket = () => new Promise<string>((resolve) => (give = resolve))
  const fetching = start(t, fake, { wallets: ['wal_a'], ticket })
  await fetching.settle()
  fetching.client.close()
  give('tkt')
  await fetching.settle()
  t.same(fetching.clock.waits, [])
  t.equal(fake.attempts, 1)

  fake.upgrades = 'refuse'
  const waiting = start(t, fake, { wallets: ['wal_a'], ticket: () => 'tkt' })
  await waiting.until('the wait', () => waiting.client.status.reason === 'connection_lost')
  waiting.client.close()
  t.same(waiting.clock.waits, [])
})

t.test('with the clock of the machine no timer is left either', async (t) => {
  const fake = await startFake(t)
  fake.set('wal_a', '1')
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()
  const client = createFarebox({ url: fake.url, token: async () => 'jwt' })
  await new Promise<void>((heard) => client.subscribe('wal_a', () => heard()))
  client.close()
  t.equal(timers(), before)
})

t.test('options that cannot work are refused at once', async (t) => {
  t.throws(() => createFarebox({ url: 'https://x.example' }), TypeError)
  t.throws(() => createFarebox({ url: '/', token: () => '' }), TypeError, 'a path needs a page')
  t.throws(() => createFarebox({ url: 'https://x.example', token: () => '', WebSocket: null as never }), TypeError)
})

/** Counts who listens. */
class Target extends EventTarget {
  listeners = 0
  override addEventListener(...args: Parameters<EventTarget['addEventListener']>): void {
    this.listeners += 1
    super.addEventListener(...args)
  }
  override removeEventListener(...args: Parameters<EventTarget['removeEventListener']>): void {
    this.listeners -= 1
    super.removeEventListener(...args)
  }
}

/** Makes Node look like a page: events of the window and the document, and navigator.onLine. */
function asPage(t: Parameters<typeof startFake>[0]) {
  const page = Object.assign(new Target(), {
    document: Object.assign(new Target(), { visibilityState: 'visible' }),
    navigator: { onLine: true },
  })
  const parts = {
    document: page.document,
    navigator: page.navigator,
    addEventListener: page.addEventListener.bind(page),
    removeEventListener: page.removeEventListener.bind(page),
  }
  const before = Object.getOwnPropertyDescriptors(globalThis) as Record<string, PropertyDescriptor | undefined>
  for (const [name, value] of Object.entries(parts)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
  t.teardown(() => {
    for (const name of Object.keys(parts)) {
      const was = before[name]
      if (was) Object.defineProperty(globalThis, name, was)
      else Reflect.deleteProperty(globalThis, name)
    }
  })
  return page
}
