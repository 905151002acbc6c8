import t, { type Test } from 'tap'
import { createFarebox } from '../../src/client/index.ts'
import { createService } from '../helpers/service.ts'
import { eventually, patiently } from '../helpers/socket.ts'
import { forge, goodClaims, inSeconds } from '../helpers/tokens.ts'

/** Pages of other origins: what a browser lets them do is decided by the headers of our answers (fetch.spec.whatwg.org, 3.2). */

const PAGE = 'https://app.example.com'
const OTHER_PAGE = 'http://localhost:3000'
const STRANGERS = [
  'null',
  'https://app.example.com.evil',
  'https://app.example.com.evil.com',
  'https://evil.com',
  'https://APP.example.com',
  'https://app.example.com/',
  'https://app.example.com:443',
  'http://app.example.com',
  'https://xapp.example.com',
  `${PAGE},${OTHER_PAGE}`,
  '*',
  '',
]
const ABSENT = `wal_${'0'.repeat(32)}`

t.test('pages of ALLOWED_ORIGINS', async (t) => {
  const service = await createService(t, { env: { ALLOWED_ORIGINS: `${PAGE}, ${OTHER_PAGE}` } })
  const { base } = await service.listen()
  // fetch opens a connection in the place of each stream that it broke off, and says nothing on it.
  t.teardown(() => service.app.server.closeAllConnections())
  const token = await service.tokenFor('alice')
  const wallet = await service.wallet('5', { owner: 'user:alice' })
  const authorization = `Bearer ${token}`
  /** What the browser client asks for where sockets are blocked, and for its ticket. */
  const FALLBACKS: [method: string, path: string, status: number][] = [
    ['POST', '/v1/realtime/tickets', 201],
    ['GET', `/v1/wallets/${wallet}/stream`, 200],
    ['GET', '/v1/wallets/user%3Aalice/balance', 200],
    ['GET', '/v1/wallets?limit=1', 200],
  ]
  const preflight = (path: string, origin: string, more: Record<string, string> = {}) =>
    fetch(base + path, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization', ...more },
    })

  t.test('may ask first, without a credential', async (t) => {
    for (const [method, path] of FALLBACKS) {
      const answer = await preflight(path, PAGE, { 'access-control-request-method': method })
      t.equal(answer.status, 204, path)
      t.same(
        corsOf(answer),
        {
          'access-control-allow-origin': PAGE,
          'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE',
          'access-control-allow-headers': 'authorization, content-type, idempotency-key',
          'access-control-expose-headers': 'retry-after, idempotent-replayed, x-request-id',
          'access-control-max-age': '7200',
        },
        'and nothing of credentials',
      )
      t.match(answer.headers.get('vary'), /\bOrigin\b/)
      t.equal(await answer.text(), '')
    }
  })

  t.test('may read the answers', async (t) => {
    for (const origin of [PAGE, OTHER_PAGE]) {
      for (const [method, path, status] of FALLBACKS) {
        const abort = new AbortController()
        const answer = await fetch(base + path, { method, headers: { origin, authorization }, signal: abort.signal })
        abort.abort()
        t.equal(answer.status, status, path)
        t.same(corsOf(answer), {
          'access-control-allow-origin': origin,
          'access-control-expose-headers': 'retry-after, idempotent-replayed, x-request-id',
        })
        t.match(answer.headers.get('vary'), /\bOrigin\b/, 'no cache gives it to another page')
        t.ok(answer.headers.get('x-request-id'))
      }
    }
  })

  t.test('may read refusals, whoever made them', async (t) => {
    const late = forge(goodClaims({ client_id: service.client.name, exp: inSeconds(-61) }))
    const narrow = await service.newKey(['prices:read'])
    const REFUSALS: [method: string, path: string, headers: Record<string, string>, status: number, code: string][] = [
      ['GET', `/v1/wallets/${wallet}/balance`, {}, 401, 'unauthenticated'],
      ['GET', `/v1/wallets/${wallet}/stream`, { authorization: `Bearer ${late}` }, 401, 'unauthenticated'],
      ['POST', '/v1/realtime/tickets', { authorization: `Bearer ${narrow}` }, 403, 'forbidden'],
      ['GET', `/v1/wallets/${ABSENT}/stream`, { authorization }, 404, 'wallet_not_found'],
      ['GET', `/v1/wallets/${ABSENT}/balance`, { authorization }, 404, 'wallet_not_found'],
      ['GET', '/v1/wallets?limit=x', { authorization }, 400, 'invalid_request'],
      ['GET', '/v1/nowhere', { authorization }, 404, 'route_not_found'],
      ['DELETE', `/v1/wallets/${wallet}`, { authorization }, 405, 'method_not_allowed'],
      ['GET', '/v1/realtime', { authorization }, 400, 'invalid_request'],
    ]
    for (const [method, path, headers, status, code] of REFUSALS) {
      const answer = await fetch(base + path, { method, headers: { origin: PAGE, ...headers } })
      const body = (await answer.json()) as { code: string }
      t.match([answer.status, body.code], [status, code], `${method} ${path}`)
      t.equal(answer.headers.get('access-control-allow-origin'), PAGE, code)
      t.match(answer.headers.get('access-control-expose-headers'), /retry-after/, code)
    }
  })

  t.test('and no others', async (t) => {
    for (const origin of STRANGERS) {
      for (const [method, path, status] of FALLBACKS) {
        const asked = await preflight(path, origin, { 'access-control-request-method': method })
        t.equal(asked.status, 405, `${origin} is answered as anybody who asks for OPTIONS`)
        t.match(await asked.json(), { code: 'method_not_allowed' })
        const abort = new AbortController()
        const answer = await fetch(base + path, { method, headers: { origin, authorization }, signal: abort.signal })
        abort.abort()
        t.equal(answer.status, status, `${method} ${path} does what a program may ask for`)
        for (const { headers } of [asked, answer]) {
          t.same(corsOf({ headers }), {}, `a page of ${origin} cannot read it`)
          t.match(headers.get('vary'), /\bOrigin\b/)
        }
      }
    }
    const none = await fetch(`${base}/v1/wallets?limit=1`, { headers: { authorization } })
    t.same([none.status, corsOf(none)], [200, {}], 'a program without a page')
  })

  t.test('an OPTIONS that asks for nothing is answered like any other', async (t) => {
    const bare = await fetch(`${base}/v1/wallets`, { method: 'OPTIONS' })
    t.match([bare.status, bare.headers.get('allow')], [405, 'GET, POST, HEAD'])
    t.equal((await fetch(`${base}/v1/nowhere`, { method: 'OPTIONS' })).status, 404)
    t.equal((await fetch(`${base}/v1/wallets`, { method: 'OPTIONS', headers: { origin: PAGE } })).status, 204)
  })

  t.test('follow a wallet with the browser client where sockets are blocked', async (t) => {
    t.match(await followed(t, base, PAGE, token, () => service.made('/v1/charges', { wallet, amount: '1.25' })), {
      available: ['5', '3.75'],
      reason: 'stream',
    })
    await t.rejects(pageFetch('https://evil.com')(`${base}/v1/wallets?limit=1`, { headers: { authorization } }), TypeError)
  })
})

t.test('without ALLOWED_ORIGINS there is nothing of it', async (t) => {
  const service = await createService(t)
  const { base } = await service.listen()
  const headers = { origin: PAGE, authorization: `Bearer ${service.client.key}` }
  const answer = await fetch(`${base}/v1/wallets?limit=1`, { headers })
  t.same([answer.status, corsOf(answer), answer.headers.get('vary')], [200, {}, null])
  const asked = await fetch(`${base}/v1/wallets`, { method: 'OPTIONS', headers: { origin: PAGE, 'access-control-request-method': 'GET' } })
  t.same([asked.status, corsOf(asked), asked.headers.get('vary')], [405, {}, null])
})

function corsOf({ headers }: Pick<Response, 'headers'>): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => name.startsWith('access-control-')))
}

/** What a page's client sees of its own wallet without a socket: the available credits in turn, and how it came by them. */
async function followed(t: Test, base: string, origin: string, token: string, change: () => Promise<unknown>) {
  const client = createFarebox({
    url: base,
    token: () => token,
    fetch: pageFetch(origin),
    WebSocket: BlockedSocket as never,
    random: () => 0,
  })
  t.teardown(() => client.close())
  const available: string[] = []
  client.subscribe(undefined, (balance) => available.push(balance.available))
  await eventually('the first state', () => available.length > 0)
  await patiently('the change', change())
  await eventually('the second state', () => available.length > 1)
  return { available, reason: client.status.reason }
}

/** A socket on a network that lets none through. */
class BlockedSocket {
  readonly OPEN = 1
  readonly readyState = 3
  onclose: ((event: { code: number }) => void) | null = null

  constructor() {
    setImmediate(() => this.onclose?.({ code: 1006 }))
  }

  close(): void {}
}

/** fetch as a page has it: it asks first, and shows nothing that the service does not give to the page's origin. */
function pageFetch(origin: string): typeof fetch {
  const listOf = (headers: Headers, name: string) => (headers.get(name) ?? '').split(',').map((one) => one.trim().toLowerCase())
  return async (input, init = {}) => {
    const names = [...new Headers(init.headers).keys()]
    const method = init.method ?? 'GET'
    const asking = { origin, 'access-control-request-method': method, 'access-control-request-headers': names.join(',') }
    const asked = await fetch(input, { method: 'OPTIONS', headers: asking })
    const methods = [...listOf(asked.headers, 'access-control-allow-methods'), 'get', 'head', 'post']
    const allowed = listOf(asked.headers, 'access-control-allow-headers')
    const mayAsk = asked.ok && asked.headers.get('access-control-allow-origin') === origin
    if (!mayAsk || !methods.includes(method.toLowerCase()) || !names.every((name) => allowed.includes(name))) throw new TypeError('CORS')
    const answer = await fetch(input, { ...init, headers: { ...init.headers, origin } })
    if (answer.headers.get('access-control-allow-origin') !== origin) throw new TypeError('CORS')
    return answer
  }
}
