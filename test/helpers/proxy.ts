import { once } from 'node:events'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

/**
 * A TCP proxy before the service, or between it and PostgreSQL or Redis, that fails on demand. A commit is recognised by the bytes of the protocol:
 * the request is a simple query `commit`, the server's reply has the command tag `COMMIT`.
 */

const COMMIT_ASKED = Buffer.from('Q\0\0\0\x0bcommit\0', 'latin1')
const COMMIT_ANSWERED = Buffer.from('C\0\0\0\x0bCOMMIT\0', 'latin1')

export type Fault =
  /** Lets everything through. */
  | 'pass'
  /** Waits until the server has committed, and resets the connection in place of its reply. */
  | 'drop-commit-reply'
  /** Resets the connection in place of the request to commit: nothing is committed. */
  | 'drop-commit-request'
  /** Keeps connections open and moves no byte in either direction. */
  | 'blackhole'
  /** Takes connections and resets them at once, those that are open included. */
  | 'reset'
  /** The same, but closes them politely: a balancer with nothing behind it. */
  | 'hangup'
  /** Does not listen: connections are refused by the system. */
  | 'down'
  /** What the server says comes late, in order. */
  | 'slow'
  /** Now and then what the server says is lost, and all goes on as if it had not been. */
  | 'lossy'
  /** One in ten times the server says something, the connection is reset in its place. */
  | 'drop-answers'

const SLOW_MS = 300
/** One in so many pieces is lost. */
const LOST = 4
const DROPPED = 10

export interface Proxy {
  /** The address of what is behind it, by way of the proxy. */
  readonly url: string
  /** How often a fault hit a connection. */
  readonly hits: number
  set(fault: Fault): Promise<void>
  /** Lets the n-th commit from now fail in this way, and nothing else. */
  armCommit(n: number, fault: 'drop-commit-reply' | 'drop-commit-request'): void
}

export async function createProxy(t: Test, url: string): Promise<Proxy> {
  const target = new URL(url)
  const open = new Set<Socket>()
  let fault: Fault = 'pass'
  let armed: { left: number; fault: Fault } | null = null
  let hits = 0

  /** Whether this commit is to fail, asked once for each commit in each direction that matters. */
  function strikes(kind: 'drop-commit-reply' | 'drop-commit-request'): boolean {
    if (fault === kind) return true
    if (armed?.fault !== kind) return false
    armed.left -= 1
    if (armed.left > 0) return false
    armed = null
    return true
  }

  function accept(client: Socket): void {
    client.on('error', () => {})
    if (fault === 'reset' || fault === 'hangup') {
      hits += 1
      if (fault === 'reset') client.resetAndDestroy()
      // What came is read first: closing on unread bytes would be a reset.
      else client.once('data', () => client.end(() => client.destroy()))
      return
    }
    const server = createConnection({ host: target.hostname, port: Number(target.port || 5432) })
    server.on('error', () => {})
    const reset = () => {
      hits += 1
      client.resetAndDestroy()
      server.destroy()
    }
    for (const socket of [client, server]) {
      open.add(socket)
      socket.setNoDelay(true)
      socket.on('close', () => {
        open.delete(socket)
        client.destroy()
        server.destroy()
      })
    }
    client.on('data', (bytes) => {
      if (fault === 'blackhole') return
      if (bytes.includes(COMMIT_ASKED) && strikes('drop-commit-request')) return reset()
      server.write(bytes)
    })
    let late = Promise.resolve()
    let waiting = 0
    server.on('data', (bytes) => {
      if (fault === 'blackhole') return
      if (fault === 'drop-answers' && Math.random() * DROPPED < 1) return reset()
      if (fault === 'lossy' && Math.random() * LOST < 1) return
      if (fault === 'slow' || waiting > 0) {
        const due = performance.now() + (fault === 'slow' ? SLOW_MS : 0)
        waiting += 1
        late = late
          .then(() => sleep(Math.max(0, due - performance.now())))
          .then(() => {
            waiting -= 1
            client.write(bytes)
          })
        return
      }
      if (bytes.includes(COMMIT_ANSWERED) && strikes('drop-commit-reply')) return reset()
      client.write(bytes)
    })
  }

  let server: Server = createServer(accept)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening on a port')
  const { port } = address
  const closeAll = () => {
    for (const socket of open) socket.resetAndDestroy()
  }
  t.teardown(async () => {
    closeAll()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  })

  const through = new URL(url)
  through.hostname = '127.0.0.1'
  through.port = String(port)
  return {
    url: through.href,
    get hits() {
      return hits
    },
    async set(next) {
      const before = fault
      fault = next
      if (next === 'down') {
        const closed = new Promise((resolve) => server.close(resolve))
        closeAll()
        await closed
      } else if (before === 'down') {
        server = createServer(accept)
        server.listen(port, '127.0.0.1')
        await once(server, 'listening')
      }
      // What was lost in the hole stays lost: a connection that missed bytes must not go on.
      if (next === 'reset' || next === 'hangup' || before === 'blackhole') closeAll()
    },
    armCommit(n, kind) {
      armed = { left: n, fault: kind }
    },
  }
}
