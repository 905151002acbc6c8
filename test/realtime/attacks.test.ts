import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { closeCode, frame, rawSocket } from '../helpers/raw-socket.ts'
import { createService, type TestService, times } from '../helpers/service.ts'
import { eventually, openSocket, patiently, type TestSocket } from '../helpers/socket.ts'

/** What somebody may send who means no good, or has lost the network: it ends with a code, costs little, and harms nobody else. */

/** A check every 20 ms instead of every second. */
const QUICK = { checkMs: 20, leaveMs: 500 }
const FRAME_BYTES_MAX = 16 * 1024
const MIB = 1024 * 1024

t.test('frames', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const key = service.client.key
  const witness = await openSocket(t, port, { key })

  t.test('of 16 KiB are read, of one byte more not', async (t) => {
    const ping = (bytes: number) => {
      const text = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'session.ping' })
      return text + ' '.repeat(bytes - text.length)
    }
    const socket = await openSocket(t, port, { key })
    socket.ws.send(ping(FRAME_BYTES_MAX))
    await eventually('the answer', () => socket.answers.length === 1)
    t.ok(socket.answers[0].result)
    socket.ws.send(ping(FRAME_BYTES_MAX + 1))
    t.equal((await socket.closed).code, 1009)
  })

  t.test('of a megabyte end with 1009, without being read', async (t) => {
    const socket = await openSocket(t, port, { key })
    socket.ws.send('x'.repeat(MIB))
    t.equal((await socket.closed).code, 1009)
    const claims = await rawSocket(t, port, key)
    claims.write(Buffer.concat([Buffer.from([0x81, 0xff]), Buffer.from('7fffffffffffffff', 'hex'), Buffer.alloc(4)]))
    t.equal(await closeCode(claims), 1009, 'at the word of their length')
  })

  t.test('of bytes end with 1008', async (t) => {
    const socket = await openSocket(t, port, { key })
    socket.ws.send(Buffer.from('{"jsonrpc":"2.0","id":1,"method":"session.ping"}'), { binary: true })
    t.equal((await socket.closed).code, 1008)
  })

  t.test('in 16,000 pieces end with 1008', async (t) => {
    const socket = await rawSocket(t, port, key)
    socket.write(Buffer.concat([frame(0x01, 'x', false), ...times(16_000, () => frame(0x00, 'x', false))]))
    t.equal(await closeCode(socket), 1008)
    const empty = await rawSocket(t, port, key)
    empty.write(Buffer.concat([frame(0x01, '', false), ...times(16_000, () => frame(0x00, '', false))]))
    t.equal(await closeCode(empty), 1008, 'also in empty ones')
    const fair = await openSocket(t, port, { key })
    fair.ws.send('{"jsonrpc":"2.0","id":1,', { fin: false })
    fair.ws.send('"method":"session.ping"}', { fin: true })
    await eventually('the answer', () => fair.answers.length === 1)
  })

  t.test('that break the protocol end with the code of it, and write nothing into the log', async (t) => {
    const BROKEN: [name: string, bytes: Buffer, code: number][] = [
      ['unmasked', Buffer.from([0x81, 0x01, 0x41]), 1002],
      ['reserved bits', frame(0x71, 'x'), 1002],
      ['an unknown opcode', frame(0x03, 'x'), 1002],
      ['a continuation of nothing', frame(0x00, 'x'), 1002],
      ['a ping in pieces', frame(0x09, 'x', false), 1002],
      ['a long ping', frame(0x09, 'x'.repeat(126)), 1002],
      ['no UTF-8', frame(0x01, Buffer.from([0xff, 0xfe])), 1007],
      ['a close with a forbidden code', frame(0x08, Buffer.from([0x03, 0xee])), 1002],
      ['a close of one byte', frame(0x08, Buffer.from([0x03])), 1002],
    ]
    for (const [name, bytes, code] of BROKEN) {
      const socket = await rawSocket(t, port, key)
      socket.write(bytes)
      t.equal(await closeCode(socket), code, name)
    }
    t.equal(service.logText(), '')
  })

  t.test('that are deep, or have special names, are only wrong', async (t) => {
    const socket = await openSocket(t, port, { key })
    const deep = '['.repeat(8_000) + ']'.repeat(8_000)
    const call = (params: string) => `{"jsonrpc":"2.0","id":1,"method":"wallet.subscribe","params":${params}}`
    const WRONG = [
      deep,
      call(deep),
      call(`{"wallets":${deep}}`),
      call('{"__proto__":{"wallets":["user:a"]}}'),
      call('{"\\u005f_proto__":{"transactions":true}}'),
      call('{"constructor":{"prototype":{"polluted":1}}}'),
      call('{"wallets":["__proto__:x"]}'),
      call('{"wallets":["constructor"]}'),
      '{"__proto__":{"jsonrpc":"2.0","id":1,"method":"session.ping"}}',
      '{"jsonrpc":"2.0","id":1,"method":"session.ping","__proto__":{"x":1}}',
      '{"jsonrpc":"2.0","id":1,"method":"constructor"}',
      `{"jsonrpc":"2.0","id":"${'x'.repeat(10_000)}","method":"session.ping"}`,
      '{"jsonrpc":"2.0","id":9007199254740993,"method":"session.ping"}',
    ]
    for (const text of WRONG) {
      const from = socket.answers.length
      socket.ws.send(text)
      await eventually('the answer', () => socket.answers.length > from)
      t.match(socket.answers.at(-1).error, { code: /^-326(00|01|02)$/ }, text.slice(0, 80))
    }
    t.equal(({} as Record<string, unknown>).polluted, undefined)
    t.equal(socket.ws.readyState, socket.ws.OPEN)
  })

  t.test('harm nobody else', async (t) => {
    t.ok((await witness.call('session.ping')).result)
  })
})

t.test('floods', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const key = service.client.key
  const wallet = await service.wallet('10')
  const call = (method: string) => frame(0x01, JSON.stringify({ jsonrpc: '2.0', id: 1, method }))
  const FLOODS: [name: string, bytes: Buffer][] = [
    ['calls', call('session.ping')],
    ['subscriptions', call('wallet.subscribe')],
    ['wrong calls', call('nonsense')],
    ['text that is no JSON', frame(0x01, 'x')],
    ['pings', frame(0x09, 'x'.repeat(125))],
    ['empty pings', frame(0x09, '')],
    ['pongs', frame(0x0a, '')],
  ]
  for (const [name, bytes] of FLOODS) {
    t.test(`${name} end with 4429, and cost little`, async (t) => {
      const witness = await openSocket(t, port, { key })
      await witness.follow([wallet])
      const flood = Buffer.concat(times(20_000, () => bytes))
      const rss = process.memoryUsage().rss
      const sockets = await Promise.all(times(3, () => rawSocket(t, port, key)))
      const ended = sockets.map((socket) => closeCode(socket))
      // Nobody waits for anything: ten thousand and more are on their way before the first is answered.
      for (const socket of sockets) socket.write(flood)
      const started = performance.now()
      await service.made('/v1/charges', { wallet, amount: '0.01' })
      await witness.until(({ method }) => method === 'wallet.balance')
      const ms = Math.round(performance.now() - started)
      for (const code of ended) t.equal(await code, 4429)
      const grown = (process.memoryUsage().rss - rss) / MIB
      t.ok(ms < 8_000, `a frame for somebody else took ${ms} ms`)
      t.ok(grown < 64, `memory grew by ${grown.toFixed(1)} MiB`)
      t.comment(`sockets: ${name}: ${ms} ms, ${grown.toFixed(1)} MiB`)
    })
  }

  t.test('of calls to a database that does not answer are bounded, too', async (t) => {
    const slow = await service.another()
    const { port } = await slow.listen()
    const socket = await openSocket(t, port, { key })
    // Nobody may read wallets for a moment: every call waits.
    const release = await lockWallets(t, service)
    for (let sent = 0; socket.ws.readyState === socket.ws.OPEN && sent < 200; sent += 1) {
      socket.ws.send(JSON.stringify({ jsonrpc: '2.0', id: sent, method: 'wallet.subscribe', params: { wallets: [wallet] } }))
      // Slowly enough for the bucket.
      await sleep(sent < 55 ? 0 : 55)
    }
    t.equal((await socket.closed).code, 4429)
    await release()
  })
})

t.test('too much of a good thing', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const key = service.client.key
  const ids = await manyWallets(service, 1_000)

  t.test('ten thousand wallets in one call', async (t) => {
    const socket = await openSocket(t, port, { key })
    const short = times(1_001, (i) => `a:${i}`)
    const { error } = await socket.call('wallet.subscribe', { wallets: short })
    t.match(error, { code: -32602, data: { code: 'invalid_request', errors: [{ pointer: '/params/wallets' }] } })
    socket.call('wallet.subscribe', { wallets: times(10_000, (i) => `user:${i}`) }).catch(() => {})
    t.equal((await socket.closed).code, 1009)
  })

  t.test('the thousand-and-first wallet of a socket', async (t) => {
    const socket = await openSocket(t, port, { key })
    t.equal((await socket.follow()).size, 1_000, 'all of one’s own at once')
    t.equal((await socket.follow(ids.slice(0, 300))).size, 300, 'the same ones again are no more')
    const [more] = await manyWallets(service, 1)
    const refused = { code: -32602, data: { code: 'too_many_subscriptions', retryable: false } }
    t.match((await socket.call('wallet.subscribe', { wallets: [more] })).error, refused)
    const fresh = await openSocket(t, port, { key })
    t.match((await fresh.call('wallet.subscribe', {})).error, refused, 'nor all of 1,001, rather than some of them')
    await socket.call('wallet.unsubscribe', { wallets: [ids[0]] })
    t.equal((await socket.follow([more as string])).size, 1, 'one gives room for one')
    t.equal(service.rooms.feed.size, 1_000)
  })

  t.test('the fifty-first socket of a person', async (t) => {
    const alice = await service.tokenFor('alice')
    const sockets = await Promise.all(times(50, () => openSocket(t, port, { key: alice })))
    const again = await openSocket(t, port, { protocol: `bearer.${await service.tokenFor('alice')}` })
    t.match(await again.closed, { code: 4429, reason: 'too many sockets' }, 'another token of the same person is the same person')
    t.match(again.notifications, [{ method: 'session.closing', params: { code: 4429, retry_after_seconds: 30 } }])
    for (const other of [await service.tokenFor('bob'), await service.tokenFor('alice', service.other), key]) {
      t.ok((await (await openSocket(t, port, { key: other })).call('session.ping')).result, 'others are not counted')
    }
    sockets[0]?.ws.close()
    await sockets[0]?.closed
    await sleep(20)
    t.ok((await (await openSocket(t, port, { key: alice })).call('session.ping')).result, 'one leaves, and there is room for one')
  })
})

t.test('whoever does not read', async (t) => {
  const service = await createService(t, { rooms: { realtimeTimes: { leaveMs: 8_000 } } })
  const { port } = await service.listen()
  const key = service.client.key
  const ids = await manyWallets(service, 1_000)
  const [first = ''] = ids
  await service.made('/v1/grants', { wallet: first, kind: 'bonus', amount: '1000' })

  t.test('and calls on and on is cut off with 1013, and nobody else is held up', async (t) => {
    const witness = await openSocket(t, port, { key })
    await witness.follow([first])
    const readers = await Promise.all(times(3, () => openSocket(t, port, { key })))
    const rss = process.memoryUsage().rss
    for (const { ws } of readers) {
      ws.pause()
      // Each answer is of 300 KB: more than all that the system buffers between the two.
      for (let i = 0; i < 40; i += 1) ws.send(JSON.stringify({ jsonrpc: '2.0', id: i, method: 'wallet.subscribe' }))
    }
    const spans: number[] = []
    for (let round = 0; round < 10; round += 1) {
      const started = performance.now()
      await service.made('/v1/charges', { wallet: first, amount: '0.01' })
      await eventually('the frame', () => witness.balances().length > round)
      spans.push(performance.now() - started)
    }
    await eventually('the cut', () => service.rooms.feed.size === 1)
    const grown = (process.memoryUsage().rss - rss) / MIB
    for (const { ws } of readers) ws.resume()
    for (const socket of readers) {
      t.equal((await patiently('the close', socket.closed)).code, 1013)
      t.match(socket.notifications.at(-1), { method: 'session.closing', params: { code: 1013, reason: 'reads too slowly' } })
      t.ok(socket.answers.length < 40, `${socket.answers.length} of 40 answers were sent`)
    }
    t.ok(Math.max(...spans) < 8_000, `others had their frames within ${Math.round(Math.max(...spans))} ms`)
    t.ok(grown < 200, `memory grew by ${grown.toFixed(1)} MiB for three of them`)
    t.comment(
      `sockets: three that do not read: others had their frames within ${Math.round(Math.max(...spans))} ms, ${grown.toFixed(1)} MiB`,
    )
  })

  t.test('but comes back in time has the newest state of each wallet', async (t) => {
    const some = ids.slice(0, 50)
    const socket = await openSocket(t, port, { key })
    await socket.follow(some)
    socket.ws.pause()
    // Less than a megabyte beyond what the system buffers would end it.
    for (let i = 0; i < 12; i += 1) socket.ws.send(JSON.stringify({ jsonrpc: '2.0', id: `s${i}`, method: 'wallet.subscribe' }))
    const rounds = 40
    for (let round = 0; round < rounds; round += 1) {
      const commands = some.map((wallet) => ({
        operation: 'grant',
        idempotency_key: `${round} ${wallet}`,
        body: { wallet, kind: 'bonus', amount: '0.01' },
      }))
      await service.made('/v1/batch', { commands })
    }
    socket.ws.resume()
    for (const wallet of some) {
      const { body } = await service.get(`/v1/wallets/${wallet}/balance`)
      await eventually(`the newest state of ${wallet}`, () => statesIn(socket, wallet).at(-1)?.version === body.version)
    }
    t.comment(`sockets: ${socket.balances().length} frames for ${rounds * some.length} changes`)
    neverBackwards(t, socket)
  })
})

t.test('whoever is not there any more', async (t) => {
  const service = await createService(t, { rooms: { realtimeTimes: QUICK } })
  const { port } = await service.listen()
  const key = service.client.key
  const wallet = await service.wallet('10')
  const gone = await openSocket(t, port, { key, autoPong: false })
  await gone.follow([wallet])
  const there = await openSocket(t, port, { key })
  await there.follow([wallet])
  let pings = 0
  gone.ws.on('ping', () => {
    pings += 1
  })
  const started = performance.now()
  t.same(await gone.closed, { code: 4408, reason: 'no sign of life' })
  const ms = Math.round(performance.now() - started)
  // Sixty checks of 20 ms, pinged every twenty-five.
  t.ok(ms >= 1_000 && ms < 20_000, `after ${ms} ms`)
  t.ok(pings >= 2, `${pings} pings were not answered`)
  t.equal(there.ws.readyState, there.ws.OPEN, 'who answers stays')

  t.test('not even to close: the socket is cut', async (t) => {
    const connections = () => new Promise<number>((resolve) => service.app.server.getConnections((_error, count) => resolve(count)))
    const dead = await rawSocket(t, port, key)
    dead.pause()
    const before = await connections()
    while ((await connections()) === before) await sleep(20)
  })
})

t.test('joining and leaving while everything changes', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const key = service.client.key
  const ids = await Promise.all(times(12, () => service.wallet('1000')))
  const sockets = await Promise.all(times(12, () => openSocket(t, port, { key })))
  let stopped = false
  let commits = 0
  const storm = times(8, async (worker) => {
    while (!stopped) {
      const wallet = ids[(commits + worker) % ids.length]
      await service.made('/v1/charges', { wallet, amount: '0.01' })
      commits += 1
    }
  })
  const until = performance.now() + 2_500
  const followed = await Promise.all(
    sockets.map(async (socket, index) => {
      const follows = new Set<string>()
      for (let step = 0; performance.now() < until; step += 1) {
        const some = ids.filter((_, i) => (i * 7 + step * 5 + index) % 3 === 0)
        if (step % 2 === 0) {
          for (const id of (await socket.follow(some)).keys()) follows.add(id)
        } else {
          await socket.call('wallet.unsubscribe', { wallets: some.slice(0, 2) })
          for (const id of some.slice(0, 2)) follows.delete(id)
        }
        await sleep(60)
      }
      return follows
    }),
  )
  stopped = true
  await Promise.all(storm)
  await Promise.all(sockets.map((socket) => socket.settled()))
  const newest = new Map(await Promise.all(ids.map(async (id) => [id, (await service.get(`/v1/wallets/${id}/balance`)).body] as const)))
  let wrong = 0
  for (const [index, socket] of sockets.entries()) {
    neverBackwards(t, socket)
    for (const id of followed[index] ?? []) {
      const last = statesIn(socket, id).at(-1)
      if (last?.version !== newest.get(id).version || last?.balance !== newest.get(id).balance) wrong += 1
    }
  }
  t.equal(wrong, 0, 'wrong final balances')
  t.comment(`sockets: ${commits} commits, ${sockets.reduce((sum, socket) => sum + socket.frames.length, 0)} frames`)
})

/** What a socket was told of a wallet, by answers and notifications, in order. */
function statesIn(socket: TestSocket, wallet: string) {
  return socket.frames
    .flatMap(({ method, params, result }) =>
      method === 'wallet.balance' ? [params] : Array.isArray(result?.wallets) ? result.wallets : [],
    )
    .filter(({ wallet_id }) => wallet_id === wallet)
}

function neverBackwards(t: Test, socket: TestSocket): void {
  const last = new Map<string, number>()
  let backwards = 0
  for (const { method, params, result } of socket.frames) {
    const answered = method !== 'wallet.balance'
    for (const { wallet_id, version } of answered ? (Array.isArray(result?.wallets) ? result.wallets : []) : [params]) {
      const before = last.get(wallet_id) ?? 0
      // An answer may say again what is known; a notification says something new.
      if (answered ? version < before : version <= before) backwards += 1
      last.set(wallet_id, version)
    }
  }
  t.equal(backwards, 0, 'versions backwards')
}

/** Opens wallets of the main client, past the service. @returns their wire ids */
async function manyWallets(service: TestService, count: number): Promise<string[]> {
  const rows = await service.query<{ id: string }>(
    `insert into wallets (id, client_id, owner_kind, owner_id, created_at, updated_at)
      select gen_random_uuid(), $1, 'user', gen_random_uuid()::text, now(), now() from generate_series(1, $2) returning replace(id::text, '-', '') as id`,
    [service.client.id, count],
  )
  return rows.map(({ id }) => `wal_${id}`)
}

/** Makes every read of wallets wait. @returns how to let them on */
async function lockWallets(t: Test, service: TestService): Promise<() => Promise<void>> {
  const { default: pg } = await import('pg')
  const holder = new pg.Client({ connectionString: service.url })
  await holder.connect()
  await holder.query('begin; lock table wallets in access exclusive mode')
  let held = true
  const release = async () => {
    if (!held) return
    held = false
    await holder.end()
  }
  t.teardown(release)
  return release
}
