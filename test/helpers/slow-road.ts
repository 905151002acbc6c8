import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** What becomes of the bytes on a road: they arrive, late, or only as far as the end of what was asked, or not at all. */
export type Pace =
  | 'pass'
  /** Two seconds late, in each direction. */
  | 'late'
  /** Whoever asks has closed its half: the other side sees the end of the stream, and its answer still gets through. */
  | 'half-closed'
  /** Open, and nothing moves. */
  | 'vanished'

const LATE_MS = 2_000

export interface SlowRoad {
  readonly url: string
  /** From now on; what has vanished stays so, and its connections with it. */
  set(pace: Pace): void
}

/** A TCP road before the service or its database, between peers that are slow, half-open or gone. */
export async function createSlowRoad(t: Test, url: string): Promise<SlowRoad> {
  const target = new URL(url)
  const open = new Set<Socket>()
  let pace: Pace = 'pass'

  function carry(from: Socket, to: Socket, isAsking: boolean): void {
    let lost = false
    let last = 0
    from.on('data', (bytes) => {
      lost ||= pace === 'vanished'
      if (lost) return
      const due = Math.max(last, performance.now() + (pace === 'late' ? LATE_MS : 0))
      last = due
      setTimeout(
        () => {
          if (to.writable) to.write(bytes)
          if (isAsking && pace === 'half-closed') to.end()
        },
        Math.max(0, due - performance.now()),
      )
    })
    from.on('end', () => {
      if (!lost) setTimeout(() => to.end(), Math.max(0, last - performance.now()))
    })
  }

  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = createConnection({ host: target.hostname, port: Number(target.port), allowHalfOpen: true })
    for (const socket of [near, far]) {
      open.add(socket)
      socket.setNoDelay(true)
      socket
        .on('error', () => {})
        .on('close', () => {
          open.delete(socket)
          near.destroy()
          far.destroy()
        })
    }
    carry(near, far, true)
    carry(far, near, false)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  const through = new URL(url)
  through.hostname = '127.0.0.1'
  through.port = String((server.address() as AddressInfo).port)
  return {
    url: through.href,
    set(next) {
      pace = next
    },
  }
}
