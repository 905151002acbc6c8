import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { closeCode, frame, rawSocket } from '../helpers/raw-socket.ts'
import { createService, times } from '../helpers/service.ts'
import { openSocket } from '../helpers/socket.ts'

/** The attacks of attacks.test.ts, over and over: what each leaves behind would add up. */

const MIB = 1024 * 1024

t.test('a frame that never ends is no sign of life', async (t) => {
  const service = await createService(t, { rooms: { realtimeTimes: { checkMs: 20, leaveMs: 500 } } })
  const { port } = await service.listen()
  const socket = await rawSocket(t, port, service.client.key)
  const ended = closeCode(socket)
  // The head of a frame of 16 KiB, and then a byte at a time.
  socket.write(Buffer.from([0x81, 0xfe, 0x40, 0x00, 0, 0, 0, 0]))
  const drip = setInterval(() => socket.writable && socket.write('x'), 10)
  t.teardown(() => clearInterval(drip))
  t.equal(await ended, 4408)
})

t.test('the same attack again and again leaves nothing behind', async (t) => {
  const service = await createService(t)
  const { port } = await service.listen()
  const key = service.client.key
  const wallet = await service.wallet('10')
  const witness = await openSocket(t, port, { key })
  await witness.follow([wallet])
  const call = (params: object) => JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'wallet.subscribe', params })
  const megabyte = Buffer.alloc(14 + MIB, 'x')
  megabyte.set([0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0])
  const ATTACKS: [name: string, bytes: Buffer, code: number][] = [
    ['a megabyte', megabyte, 1009],
    ['16,000 pieces', Buffer.concat([frame(0x01, 'x', false), ...times(16_000, () => frame(0x00, 'x', false))]), 1008],
    ['10,000 pings', Buffer.concat(times(10_000, () => frame(0x09, 'x'))), 4429],
    ['10,000 subscriptions', Buffer.concat(times(10_000, () => frame(0x01, call({ wallets: [wallet], transactions: true })))), 4429],
  ]
  const attack = async (bytes: Buffer) => {
    const socket = await rawSocket(t, port, key)
    socket.write(bytes)
    const code = await closeCode(socket)
    socket.destroy()
    return code
  }
  const connections = () => new Promise<number>((resolve) => service.app.server.getConnections((_error, count) => resolve(count)))
  const before = await connections()
  for (const [name, bytes, code] of ATTACKS) {
    t.test(name, async (t) => {
      const codes = new Set<number | null>()
      const sizes: number[] = []
      // The first rounds fill the pools of the machine.
      for (let block = 0; block < 4; block += 1) {
        for (let round = 0; round < 40; round += 1) codes.add(await attack(bytes))
        sizes.push(residentBytes() / MIB)
      }
      t.same([...codes], [code])
      const grown = (sizes.at(-1) ?? 0) - (sizes[1] ?? 0)
      t.ok(grown < 16, `memory grew by ${grown.toFixed(1)} MiB over the last 80 of 160`)
      t.comment(`${name}: ${sizes.map((size) => size.toFixed(0)).join(', ')} MiB`)
    })
  }
  t.test('no connection, no topic, and nothing in the log', async (t) => {
    for (let tries = 0; tries < 500 && (await connections()) > before; tries += 1) await sleep(10)
    t.equal(await connections(), before)
    t.equal(service.rooms.feed.size, 1, 'that of the witness')
    await service.made('/v1/charges', { wallet, amount: '0.01' })
    await witness.until(({ method }) => method === 'wallet.balance')
    t.equal(service.logText(), '')
  })
})

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** What this process holds in memory, without what it could let go of. */
function residentBytes(): number {
  collect()
  return process.memoryUsage().rss
}
