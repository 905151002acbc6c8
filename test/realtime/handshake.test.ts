import { connect } from 'node:net'
import t from 'tap'
import { createService } from '../helpers/service.ts'
import { eventually, openSocket } from '../helpers/socket.ts'
import { forge, goodClaims, inSeconds } from '../helpers/tokens.ts'

t.test('handshakes that are wrong', async (t) => {
  const service = await createService(t, { level: 'debug' })
  const { port } = await service.listen()
  const token = await service.tokenFor('alice')
  const late = forge(goodClaims({ client_id: service.client.name, exp: inSeconds(-61) }))
  const GET = 'GET /v1/realtime HTTP/1.1'
  const GOOD = {
    host: 'x',
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-protocol': `farebox.v1, bearer.${token}`,
  }
  const WRONG: [name: string, status: RegExp, changes: Record<string, string>, line?: string][] = [
    ['an origin of somebody else', / 403 /, { origin: 'https://app.example.com.evil' }],
    ['no origin at all', / 403 /, { origin: 'null' }],
    ['an old token', / 401 /, { 'sec-websocket-protocol': `farebox.v1, bearer.${late}` }],
    ['a token in the address', / 401 /, { 'sec-websocket-protocol': 'farebox.v1' }, `GET /v1/realtime?token=${token} HTTP/1.1`],
    ['a ticket that is none', / 401 /, { 'sec-websocket-protocol': `farebox.v1, ticket.${token}` }],
    ['another method', / 405 /, {}, 'POST /v1/realtime HTTP/1.1'],
    ['no key', / 400 /, { 'sec-websocket-key': '' }],
    ['a short key', / 400 /, { 'sec-websocket-key': 'x' }],
    ['a version before the standard', / 4\d\d /, { 'sec-websocket-version': '7' }],
    ['protocols twice', / 4\d\d /, { 'sec-websocket-protocol': `farebox.v1, farebox.v1, bearer.${token}` }],
  ]
  for (const [name, status, changes, line = GET] of WRONG) {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    const headers = Object.entries({ ...GOOD, ...changes }).map(([name, value]) => `${name}: ${value}`)
    let answer = ''
    socket.on('error', () => {})
    socket.on('data', (data) => {
      answer += String(data)
    })
    socket.write(`${[line, ...headers].join('\r\n')}\r\n\r\n`)
    await eventually(name, () => answer.includes('\r\n\r\n'))
    t.match(answer.split('\r\n')[0], status, name)
    for (const secret of [token, late]) t.notMatch(answer, secret.slice(-40), 'no credential is echoed')
    socket.destroy()
  }
  t.equal(service.rooms.feed.size, 0)
  for (const secret of [token, late]) t.notMatch(service.logText(), secret.slice(-40), 'nor is one logged')
  t.notMatch(service.logText(), /"level":"(error|fatal)"/)
  t.ok((await (await openSocket(t, port, { key: token })).call('session.ping')).result)
})
