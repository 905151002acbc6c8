import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

export interface Road {
  readonly base: string
  /** From now on WebSockets are cut, those that are open included; everything else passes. */
  blockSockets(): void
  unblockSockets(): void
}

const UPGRADE = Buffer.from('GET /v1/realtime HTTP/1.1')

/** A way to the service that can be closed to WebSockets, as some networks do. */
export async function openRoad(t: Test, port: number): Promise<Road> {
  const open = new Set<Socket>()
  const upgraded = new Set<Socket>()
  let blocked = false
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        open.delete(one)
        upgraded.delete(one)
        other.destroy()
      })
    }
    near.on('data', (bytes) => {
      if (bytes.subarray(0, UPGRADE.length).equals(UPGRADE)) upgraded.add(near)
      if (blocked && upgraded.has(near)) near.resetAndDestroy()
      else far.write(bytes)
    })
    far.on('data', (bytes) => near.write(bytes))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  return {
    base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    blockSockets() {
      blocked = true
      for (const socket of upgraded) socket.resetAndDestroy()
    },
    unblockSockets() {
      blocked = false
    },
  }
}
