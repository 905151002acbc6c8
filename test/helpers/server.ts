import { once } from 'node:events'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { type FastifyInstance, fastify } from 'fastify'
import type { Test } from 'tap'
import { contextPlugin } from '../../src/http/context.ts'
import { errorHandlerPlugin } from '../../src/http/error-handler.ts'
import { jsonBodyPlugin } from '../../src/http/json-body.ts'
import { serverOptions } from '../../src/http/options.ts'
import { serializerCompiler, validatorCompiler } from '../../src/http/zod.ts'
import { createLogger, type LogLevel } from '../../src/platform/logger.ts'

export interface TestServer {
  readonly app: FastifyInstance
  /** The lines logged so far, parsed. */
  logs(): Record<string, unknown>[]
  /** Everything logged so far, as it was written. */
  logText(): string
}

/** The HTTP part of Farebox with nothing behind it, in the order of `app.ts`. */
export async function createServer(
  t: Test,
  options: {
    readonly level?: LogLevel
    readonly allowedHosts?: readonly string[]
    readonly routes?: (app: FastifyInstance) => void | Promise<void>
  } = {},
): Promise<TestServer> {
  const lines: string[] = []
  const logger = createLogger({ level: options.level ?? 'debug', destination: { write: (line) => lines.push(line) } })
  const app = fastify(serverOptions({ logger, trustProxy: false })) as unknown as FastifyInstance
  t.teardown(() => app.close())
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  await app.register(contextPlugin, { allowedHosts: options.allowedHosts ?? null })
  await app.register(errorHandlerPlugin)
  await app.register(jsonBodyPlugin)
  if (options.routes) await options.routes(app)
  return {
    app,
    logs: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>),
    logText: () => lines.join(''),
  }
}

/** Listens on a loopback port. */
export async function listen(app: FastifyInstance): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const address = app.server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening on a port')
  return address.port
}

export interface RawAnswer {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string
  readonly ms: number
}

/**
 * Sends bytes on a socket of their own, piece by piece, and reads until the server closes it.
 * @param pieces what to send; a number waits that many milliseconds
 */
export async function sendRaw(port: number, ...pieces: readonly (string | number)[]): Promise<RawAnswer> {
  const startedAt = performance.now()
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.setEncoding('utf8')
  socket.on('data', (data) => {
    text += data
  })
  socket.on('error', () => {})
  const closed = once(socket, 'close')
  await once(socket, 'connect')
  for (const piece of pieces) {
    if (socket.destroyed) break
    if (typeof piece === 'number') await new Promise((resolve) => setTimeout(resolve, piece))
    else socket.write(piece)
  }
  await closed
  return { ...parseAnswer(text), ms: performance.now() - startedAt }
}

function parseAnswer(text: string): Omit<RawAnswer, 'ms'> {
  const [head = '', ...body] = text.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
  })
  return { status: Number(statusLine.split(' ')[1] ?? 0), headers: Object.fromEntries(headers), body: body.join('\r\n\r\n') }
}

/** A TCP road to a server that can be closed under those who travel on it. */
export async function openRoad(t: Test, to: number): Promise<{ readonly port: number; close(): void }> {
  const sockets = new Set<Socket>()
  const road = createTcpServer((near) => {
    const far = connect(to, '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    }
    near.pipe(far).pipe(near)
  })
  await new Promise<void>((resolve) => road.listen(0, '127.0.0.1', resolve))
  const close = () => {
    road.close()
    for (const socket of sockets) socket.resetAndDestroy()
  }
  t.teardown(close)
  return { port: (road.address() as AddressInfo).port, close }
}
