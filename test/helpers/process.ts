import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Role } from '../../src/jobs/role.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
/** Some seconds even on a machine where much else runs. */
const START_MS_MAX = 60_000

interface Teardown {
  teardown(handler: () => unknown): void
}

export interface ServiceProcess {
  readonly url: string
  readonly pid: number
  /** Everything it wrote so far. */
  output(): string
  /** Ends it and waits. @returns its exit code, null when a signal ended it */
  end(signal?: NodeJS.Signals): Promise<number | null>
}

/** Starts the service as an operator would, in a process of its own with nothing but the given environment. */
export async function startProcess(t: Teardown, env: Record<string, string>, role: Role = 'all'): Promise<ServiceProcess> {
  const child = spawn(process.execPath, [MAIN, '--role', role], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, LOG_LEVEL: 'info', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await closed
  })
  const url = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => {
      // Or it would be ready later, beside the one that was started in its place.
      child.kill('SIGKILL')
      reject(new Error(`not ready after ${START_MS_MAX} ms:\n${output}`))
    }, START_MS_MAX)
    function read(chunk: Buffer): void {
      output += chunk
      // A person is greeted in development; in production the log says where it listens.
      const ready = /Farebox is ready at (\S+)|"url":"([^"]+)".*"listening"/.exec(output)
      if (!ready) return
      clearTimeout(timer)
      resolve((ready[1] ?? ready[2]) as string)
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.once('close', (code) => {
      clearTimeout(timer)
      reject(new Error(`ended with ${code}:\n${output}`))
    })
  })
  return {
    url,
    pid: child.pid as number,
    output: () => output,
    end: async (signal = 'SIGTERM') => {
      child.kill(signal)
      return closed
    },
  }
}
