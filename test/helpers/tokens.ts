import { createHmac } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { JWT_SECRET } from './auth.ts'

type Json = Record<string, unknown>

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url')

/** Seconds from now, as tokens count. */
export function inSeconds(seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds
}

/** Claims that are accepted. A claim given as undefined is left out. */
export function goodClaims(changes: Json = {}): Json {
  return { sub: 'alice', iss: 'farebox', aud: 'farebox', exp: inSeconds(300), ...changes }
}

/** A token made by hand, so that it can be wrong in any way; signed with HMAC-SHA256 whatever its header says. */
export function forge(claims: unknown, header: Json = { alg: 'HS256', typ: 'JWT' }, secret: string = JWT_SECRET): string {
  const input = `${encode(header)}.${encode(claims)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

/** An identity provider's JWKS URL on loopback, which counts how often it is asked. */
export async function serveKeySet(t: Test, keys: object[]) {
  const state = { keys, asked: 0, failing: false }
  const server = createServer((_request, response) => {
    state.asked += 1
    response.statusCode = state.failing ? 500 : 200
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ keys: state.keys }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return Object.assign(state, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json` })
}
