import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { freePort } from './cli.ts'

/** A Redis of one's own, to be treated badly. It keeps nothing. */
export interface TestRedis {
  readonly url: string
  /** Sends one command, such as `FLUSHALL`, and yields the first line of the answer. */
  command(text: string): Promise<string>
  /** Freezes the process, its connections stay open. */
  freeze(): void
  thaw(): void
  /** Kills it and starts another at the same address. */
  restart(downMs: number): Promise<void>
}

/** Why there can be none, or false. */
export function noRedis(): string | false {
  return spawnSync('redis-server', ['--version']).status === 0 ? false : 'there is no redis-server on this machine'
}

export async function createRedis(t: Test): Promise<TestRedis> {
  const port = await freePort()
  let child: ChildProcess
  const start = async () => {
    const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--loglevel', 'warning']
    child = spawn('redis-server', options, { stdio: 'ignore', cwd: '/tmp' })
    for (let tries = 0; tries < 200; tries += 1) {
      if ((await ask(port, 'PING').catch(() => '')) === '+PONG') return
      await sleep(25)
    }
    throw new Error('redis-server does not answer')
  }
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  await start()
  t.teardown(kill)
  return {
    url: `redis://127.0.0.1:${port}`,
    command: (text) => ask(port, text),
    freeze: () => child.kill('SIGSTOP'),
    thaw: () => child.kill('SIGCONT'),
    async restart(downMs) {
      await kill()
      await sleep(downMs)
      await start()
    },
  }
}

async function ask(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.setTimeout(1_000, () => socket.destroy(new Error('no answer')))
  try {
    await once(socket, 'connect')
    socket.write(`${text}\r\n`)
    const [data] = (await once(socket, 'data')) as [Buffer]
    return data.toString().split('\r\n')[0] ?? ''
  } finally {
    socket.destroy()
  }
}
