import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Bus } from '../../src/realtime/bus.ts'
import { createRedisBus } from '../../src/realtime/bus-redis.ts'
import { REALTIME_TIMES, type RealtimeTimes } from '../../src/realtime/times.ts'
import { createRedis, noRedis, type TestRedis } from '../helpers/redis.ts'
import { eventually, patiently } from '../helpers/socket.ts'

/** The bus over a Redis that is restarted, frozen and cut off: it may lose messages, but never stops, waits or forgets to say so. */

const QUICK = { watchdogMs: 250, watchdogAnswerMs: 200 }
/** More than it keeps unanswered. */
const FLOOD = 15_000
const UNANSWERED_MAX = 10_000

t.test('a bus over Redis', { skip: noRedis() }, async (t) => {
  const redis = await createRedis(t)

  t.test('tells other processes of the wallets that they asked for, and of no others', async (t) => {
    const [near, far, third] = [await open(t, redis), await open(t, redis), await open(t, redis)]
    await Promise.all([far.bus.subscribe('a'), far.bus.subscribe('b'), third.bus.subscribe('b')])
    near.tell('a 1', 'b 1', 'c 1')
    await far.heard('a 1', 'b 1')
    await third.heard('b 1')
    far.bus.unsubscribe('a')
    await far.settled(near)
    near.tell('a 2', 'b 2')
    await far.heard('a 1', 'b 1', 'b 2')
    t.same(await channelsOf(redis), ['farebox:wallet:b'], 'nor does Redis send it any more')
    await far.bus.subscribe('a')
    near.tell('a 3')
    await far.heard('a 1', 'b 1', 'b 2', 'a 3')
    t.same(near.messages, [], 'who asked for nothing hears nothing')
    t.same(far.gaps, 1, 'nothing was lost since it came up')
    t.same(
      [near, far, third].flatMap(({ warnings }) => warnings),
      [],
    )
  })

  t.test('a message has come when the subscription has been agreed', async (t) => {
    const [near, far] = [await open(t, redis), await open(t, redis)]
    for (let i = 0; i < 50; i += 1) {
      await far.bus.subscribe(`w${i}`)
      near.tell(`w${i} 1`)
    }
    await eventually('all of them', () => far.messages.length === 50)
    t.equal(new Set(far.messages).size, 50)
  })

  t.test('after a restart of Redis what is wanted by then comes again, and the gap is told before', async (t) => {
    const [near, far] = [await open(t, redis), await open(t, redis)]
    await Promise.all([far.bus.subscribe('a'), far.bus.subscribe('b')])
    const restarted = redis.restart(400)
    await eventually('it is noticed', () => !far.bus.isUp && !near.bus.isUp)
    const started = performance.now()
    // Meanwhile one more is wanted, and one less. Nobody waits for a Redis that is away.
    await far.bus.subscribe('c')
    far.bus.unsubscribe('b')
    near.tell('a lost')
    t.ok(performance.now() - started < 500)
    await restarted
    await eventually('it is up', () => far.bus.isUp && near.bus.isUp && near.mayPublish())
    t.equal(far.gaps, 2)
    t.same(await channelsOf(redis), ['farebox:wallet:a', 'farebox:wallet:c'])
    near.tell('a 1', 'b 1', 'c 1')
    await far.heard('a 1', 'c 1')
    t.ok(far.warnings.length >= 1 && far.warnings.length <= 4, `${far.warnings.length} lines in the log, not one an attempt`)
  })

  t.test('a Redis that hangs is noticed, and so is its return', async (t) => {
    const [near, far] = [await open(t, redis, QUICK), await open(t, redis, QUICK)]
    await far.bus.subscribe('a')
    redis.freeze()
    const started = performance.now()
    await eventually('it is noticed', () => !far.bus.isUp)
    const ms = performance.now() - started
    t.ok(ms < 8_000, `after ${Math.round(ms)} ms`)
    // A frozen process still takes connections: the next ones hang as well.
    await sleep(1_000)
    t.equal(far.bus.isUp, false)
    redis.thaw()
    await eventually('it is up', () => far.bus.isUp && near.mayPublish())
    t.ok(far.gaps >= 2)
    near.tell('a 1')
    await eventually('a message', () => far.messages.includes('a 1'))
  })

  t.test('one that hangs from the start does not stay unnoticed either', async (t) => {
    redis.freeze()
    const { bus } = create(t, redis, QUICK)
    await sleep(1_000)
    t.equal(bus.isUp, false)
    redis.thaw()
    await eventually('it is up', () => bus.isUp)
  })

  t.test('connections that were taken and are never answered are given up', async (t) => {
    let taken = 0
    const road = createServer((near) => {
      taken += 1
      near.on('error', () => {})
      // As a balancer does whose Redis is gone. Later ones get through.
      if (taken <= 2) return void near.resume()
      const far = connect(Number(new URL(redis.url).port), '127.0.0.1').on('error', () => near.destroy())
      near.on('close', () => far.destroy())
      near.pipe(far).pipe(near)
    }).listen(0, '127.0.0.1')
    await once(road, 'listening')
    t.teardown(() => road.close())
    const opened = create(t, { ...redis, url: `redis://127.0.0.1:${(road.address() as AddressInfo).port}` }, QUICK)
    await eventually('it is up', () => opened.bus.isUp && opened.mayPublish())
    t.ok(taken >= 4)
  })

  t.test('whoever joins a wallet waits a second for a Redis that hangs, and hears of it when it is there', async (t) => {
    const [near, far] = [await open(t, redis), await open(t, redis)]
    redis.freeze()
    const started = performance.now()
    await far.bus.subscribe('a')
    const ms = performance.now() - started
    t.ok(ms > 900 && ms < 8_000, `after ${Math.round(ms)} ms`)
    t.equal(far.gaps, 1)
    redis.thaw()
    await eventually('the gap is told', () => far.gaps === 2)
    near.tell('a 1')
    await eventually('a message', () => far.messages.includes('a 1'))
  })

  t.test('publishing never waits and never throws, and is bounded', async (t) => {
    const near = await open(t, redis)
    redis.freeze()
    let made = 0
    const started = performance.now()
    for (let i = 0; i < FLOOD; i += 1) {
      const returned = near.bus.publish('a', () => {
        made += 1
        return `a ${i}`
      })
      if (returned !== undefined) t.fail('there is nothing to wait for')
    }
    t.ok(performance.now() - started < 8_000)
    // Something of before may still have been under way.
    t.ok(made <= UNANSWERED_MAX && made > UNANSWERED_MAX - 10, `${made}: what would be dropped is not even written`)
    redis.thaw()
    await eventually('there is room again', () => near.mayPublish())

    redis.freeze()
    near.tell('a 1')
    await sleep(2_500)
    t.ok(near.mayPublish(), 'an answer that does not come is given up')
    redis.thaw()

    const restarted = redis.restart(300)
    await eventually('it is away', () => !near.mayPublish())
    for (let i = 0; i < FLOOD; i += 1) near.bus.publish('a', () => `a ${i}`)
    await restarted
    await eventually('it is back', () => near.mayPublish())
  })

  for (const command of ['FLUSHALL', 'CLIENT KILL TYPE pubsub', 'CLIENT KILL TYPE normal']) {
    t.test(`${command} does no harm`, async (t) => {
      const [near, far] = [await open(t, redis), await open(t, redis)]
      await far.bus.subscribe('a')
      const gaps = far.gaps
      await redis.command(command).catch(() => {})
      if (command.endsWith('pubsub')) await eventually('the gap is told', () => far.gaps === gaps + 1)
      await eventually('both are up', () => far.bus.isUp && near.mayPublish())
      near.tell('a 1')
      // A connection that was killed a moment ago may still have taken it.
      await eventually('a message', () => {
        if (far.messages.length === 0) near.tell('a 1')
        return far.messages.includes('a 1')
      })
      t.ok(far.bus.isUp)
    })
  }

  t.test('the last messages are told before it closes', async (t) => {
    const [near, far] = [await open(t, redis), await open(t, redis)]
    await far.bus.subscribe('a')
    const last = Array.from({ length: 2_000 }, (_, i) => `a ${i}`)
    near.tell(...last)
    await near.bus.close()
    await far.heard(...last)
    near.tell('a late')
    await far.bus.close()
    t.notOk(far.messages.includes('a late'))
    t.same([near.warnings, far.warnings], [[], []], 'and a farewell is no fault')

    const stuck = await open(t, redis)
    redis.freeze()
    stuck.tell('a 1')
    const started = performance.now()
    await patiently('the end', stuck.bus.close())
    redis.thaw()
    t.ok(performance.now() - started < 8_000, 'but not at any price')
  })
})

interface Opened {
  readonly bus: Bus
  /** All that came, each `wallet text`. */
  readonly messages: string[]
  readonly gaps: number
  readonly warnings: string[]
  /** Publishes each `wallet text`. */
  tell(...messages: string[]): void
  /** Exactly these came, in this order. */
  heard(...messages: string[]): Promise<void>
  /** All that was sent or unsubscribed before has taken effect. */
  settled(by: Opened): Promise<void>
  /** Whether a publish is sent rather than dropped. */
  mayPublish(): boolean
}

function create(t: Test, redis: TestRedis, times: Partial<RealtimeTimes> = {}): Opened {
  const warnings: string[] = []
  const bus = createRedisBus(redis.url, { warn: (_fields, message) => warnings.push(message) }, { ...REALTIME_TIMES, ...times })
  t.teardown(() => bus.close())
  const messages: string[] = []
  let gaps = 0
  bus.listen({
    onMessage: (walletId, message) => messages.push(`${walletId} ${message}`),
    onGap: () => {
      gaps += 1
    },
  })
  const tell = (message: string) => {
    const [walletId = '', text = ''] = message.split(' ')
    bus.publish(walletId, () => text)
  }
  return {
    bus,
    messages,
    warnings,
    get gaps() {
      return gaps
    },
    tell: (...all) => all.forEach(tell),
    async heard(...expected) {
      await eventually(`${expected.length} messages`, () => messages.length >= expected.length)
      await sleep(20)
      t.same(messages, expected)
    },
    async settled(by) {
      const probe = `probe${messages.length}`
      await bus.subscribe(probe)
      by.tell(`${probe} 1`)
      await eventually('the probe', () => messages.includes(`${probe} 1`))
      messages.splice(messages.indexOf(`${probe} 1`), 1)
      bus.unsubscribe(probe)
    },
    mayPublish() {
      let sent = false
      bus.publish('nobody', () => {
        sent = true
        return ''
      })
      return sent
    },
  }
}

/** What somebody is subscribed to. */
async function channelsOf({ url }: TestRedis): Promise<string[]> {
  const client = new Redis(url)
  try {
    const channels = (await client.pubsub('CHANNELS')) as string[]
    return channels.filter((channel) => !channel.includes('probe')).sort()
  } finally {
    client.disconnect()
  }
}

/** The same, up. */
async function open(t: Test, redis: TestRedis, times?: Partial<RealtimeTimes>): Promise<Opened> {
  const opened = create(t, redis, times)
  await eventually('it is up', () => opened.bus.isUp && opened.mayPublish())
  return opened
}
