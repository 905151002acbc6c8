import type { lookup } from 'node:dns'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { checkUrl, createOutbound, isPublicAddress, type OutboundOptions, OutboundRefused } from '../../src/platform/outbound.ts'

/** Attack 44: an address that somebody gives us must not lead into our own network, neither when it is given nor when it is called. */

const PUBLIC = { allowPrivate: false }
const OPEN = { allowPrivate: true, timeoutMs: 5_000, answerBytesMax: 1_000 }

const REFUSED = [
  // Loopback, in every spelling.
  ...[
    'https://127.0.0.1/',
    'https://127.1/',
    'https://127.255.255.254:8443/x',
    'https://localhost/',
    'https://LOCALHOST./',
    'https://a.localhost/',
  ],
  ...[
    'https://2130706433/',
    'https://0x7f000001/',
    'https://0x7f.0.0.1/',
    'https://017700000001/',
    'https://0177.0.0.1/',
    'https://127.0.0.1./',
  ],
  ...['https://[::1]/', 'https://[0:0:0:0:0:0:0:1]/', 'https://[::ffff:127.0.0.1]/', 'https://[::ffff:7f00:1]/', 'https://[::127.0.0.1]/'],
  ...['https://①②⑦.⓪.⓪.①/', 'https://0/', 'https://0.0.0.0/', 'https://[::]/'],
  // Private, link-local, shared, reserved.
  ...[
    'https://10.0.0.1/',
    'https://172.16.0.1/',
    'https://172.31.255.255/',
    'https://192.168.1.1/',
    'https://100.64.0.1/',
    'https://3232235777/',
  ],
  ...[
    'https://169.254.169.254/latest/meta-data',
    'https://0xa9fea9fe/',
    'https://[fe80::1]/',
    'https://[fc00::1]/',
    'https://[fd00:ec2::254]/',
  ],
  ...['https://[::ffff:10.0.0.1]/', 'https://[64:ff9b::7f00:1]/', 'https://[2002:7f00:1::]/', 'https://[2001::1]/', 'https://[fec0::1]/'],
  ...[
    'https://224.0.0.1/',
    'https://[ff02::1]/',
    'https://255.255.255.255/',
    'https://240.0.0.1/',
    'https://198.18.0.1/',
    'https://192.0.2.1/',
  ],
  // Names that stay inside.
  ...['https://metadata.google.internal/', 'https://printer.local/', 'https://redis/', 'https://db.corp/', 'https://router.home.arpa/'],
  // Other ways out.
  ...[
    'http://example.com/',
    'file:///etc/passwd',
    'ftp://example.com/',
    'gopher://example.com/',
    'data:text/plain,x',
    'javascript:1',
    'unix:/x',
  ],
  ...[
    'https://user:secret@example.com/',
    'https://user@example.com/',
    'https://example.com/#x',
    'https://',
    'example.com',
    '',
    ' ',
    '//example.com',
  ],
  ...[`https://example.com/${'x'.repeat(2_048)}`],
]
const TAKEN = [
  'https://example.com/hook',
  'https://hooks.example.com:8443/a?b=c',
  'https://8.8.8.8/',
  'https://[2606:4700::1111]/',
  'https://münchen.example/',
]

t.test('at save', async (t) => {
  for (const text of REFUSED) t.throws(() => checkUrl(text, PUBLIC), OutboundRefused, text.slice(0, 60))
  for (const text of TAKEN) t.doesNotThrow(() => checkUrl(text, PUBLIC), text)
  t.comment(`${REFUSED.length} refused`)
  t.equal(checkUrl('http://127.0.0.1:8080/keys', OPEN).port, '8080', 'an operator may mean the own network')
  for (const text of ['file:///etc/passwd', 'https://user:secret@example.com/', 'unix:/x'])
    t.throws(() => checkUrl(text, OPEN), OutboundRefused, text)
})

t.test('at dial', async (t) => {
  for (const text of REFUSED) {
    const outbound = make(t, PUBLIC, async () => t.fail(`${text} was looked up`))
    await t.rejects(outbound.fetch(text), OutboundRefused, text.slice(0, 60))
  }

  t.test('a name that leads inside, even with one of its addresses, is not called', async (t) => {
    for (const addresses of [
      ['127.0.0.1'],
      ['10.1.2.3'],
      ['169.254.169.254'],
      ['8.8.8.8', '127.0.0.1'],
      ['::1'],
      ['::ffff:127.0.0.1'],
      ['2606:4700::1111', 'fd00::1'],
      [],
    ]) {
      const error = await make(t, PUBLIC, async () => addresses)
        .fetch('https://rebind.example/')
        .catch((reason: unknown) => reason)
      t.ok(error instanceof OutboundRefused, addresses.join(' '))
      for (const address of addresses) t.notOk((error as Error).message.includes(address), 'and nobody is told where it leads')
    }
  })

  t.test('a name that was public when it was saved and is not any more', async (t) => {
    const hits = await server(t, (_request, response) => response.end('inside'))
    let asked = 0
    const outbound = make(t, PUBLIC, async () => {
      asked += 1
      return ['127.0.0.1']
    })
    const url = `https://rebind.example:${hits.port}/`
    t.doesNotThrow(() => checkUrl(url, PUBLIC))
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      await t.rejects(outbound.fetch(url), OutboundRefused)
      t.equal(asked, attempt, 'every connection looks the name up, and checks that very answer')
    }
    t.equal(hits.count(), 0)
  })

  t.test('every address of a public name is offered to the connection', async (t) => {
    const outbound = make(t, { ...PUBLIC, timeoutMs: 300 }, async () => ['192.0.2.7'])
    await t.rejects(outbound.fetch('https://documentation.example/'), OutboundRefused)
    const failing = make(t, PUBLIC, async () => {
      throw Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' })
    })
    await t.rejects(failing.fetch('https://nowhere.example/'), /ENOTFOUND/)
  })
})

t.test('redirects, sizes and times', async (t) => {
  const inside = await server(t, (_request, response) => response.end('inside'))
  const outside = await server(t, (request, response) => {
    if (request.url === '/redirect') response.writeHead(302, { location: `http://127.0.0.1:${inside.port}/` }).end()
    else if (request.url === '/large') response.end('x'.repeat(1_001))
    else if (request.url === '/endless') response.writeHead(200).write('x'.repeat(100))
    else if (request.url === '/dripping') setInterval(() => response.write('x'), 20).unref()
    else if (request.url === '/empty') response.writeHead(204).end()
    else request.pipe(response.writeHead(200, { 'x-method': request.method, 'x-given': request.headers['x-given'] }))
  })
  const at = `http://127.0.0.1:${outside.port}`
  const outbound = make(t, OPEN)

  const redirect = await outbound.fetch(`${at}/redirect`)
  t.equal(redirect.status, 302, 'the answer is the redirect')
  t.equal(inside.count(), 0, 'and nobody follows it')

  const echo = await outbound.fetch(`${at}/echo`, { method: 'POST', headers: { 'x-given': 'yes' }, body: 'hello' })
  t.equal(await echo.text(), 'hello')
  t.equal(echo.headers.get('x-method'), 'POST')
  t.equal(echo.headers.get('x-given'), 'yes')
  t.equal((await outbound.fetch(`${at}/empty`)).status, 204)
  await t.rejects(outbound.fetch(`${at}/large`), /more than 1000 bytes/)
  const hasty = make(t, { ...OPEN, timeoutMs: 300 })
  for (const path of ['/endless', '/dripping']) await t.rejects(hasty.fetch(at + path), path)
  const signal = AbortSignal.abort()
  await t.rejects(outbound.fetch(at, { signal }))
})

t.test('addresses', async (t) => {
  for (const address of ['8.8.8.8', '1.1.1.1', '::ffff:8.8.8.8', '2606:4700::1']) t.ok(isPublicAddress(address), address)
  for (const address of ['127.0.0.1', '::ffff:127.0.0.1', '100::1', '5f00::1', '::7f00:1', '192.88.99.1'])
    t.notOk(isPublicAddress(address), address)
})

function make(t: Test, options: Partial<OutboundOptions>, resolve?: () => Promise<string[]> | Promise<unknown>) {
  const fake = ((_hostname: string, _options: object, done: (error: unknown, addresses?: object[]) => void) => {
    resolve?.().then(
      (addresses) =>
        done(
          null,
          (addresses as string[]).map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
        ),
      (error: unknown) => done(error),
    )
  }) as unknown as typeof lookup
  const outbound = createOutbound({ ...OPEN, ...options, ...(resolve && { lookup: fake }) })
  t.teardown(() => outbound.close())
  return outbound
}

async function server(t: Test, answer: RequestListener) {
  let count = 0
  const listening = createServer((request, response) => {
    count += 1
    answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(listening, 'listening')
  t.teardown(() => {
    listening.closeAllConnections()
    listening.close()
  })
  return { port: (listening.address() as AddressInfo).port, count: () => count }
}
