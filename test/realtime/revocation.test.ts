import { hash } from 'node:crypto'
import t from 'tap'
import { REALTIME_TIMES } from '../../src/realtime/times.ts'
import { type Body, createService, type TestService } from '../helpers/service.ts'
import { openSocket, patiently } from '../helpers/socket.ts'
import { openStream, type TestStream } from '../helpers/stream.ts'
import { forge, goodClaims } from '../helpers/tokens.ts'

/** Whoever lost the credential loses what is open with it, on every process, within one look at the credentials. */

/** In place of half a minute. */
const CREDENTIAL_MS = 300
const SLACK_MS = 8_000
const REVOKED = { code: 4401, reason: 'the credential was revoked', retry_after_seconds: 0 }

t.test('the look at the credentials comes often enough', async (t) => {
  t.ok(REALTIME_TIMES.credentialMs <= 60_000)
})

t.test('what is open ends with its credential', async (t) => {
  const service = await createService(t, { rooms: { realtimeTimes: { checkMs: 20, credentialMs: CREDENTIAL_MS } } })
  const { port, base } = await service.listen()
  // fetch opens a connection in the place of each stream that it broke off, and says nothing on it.
  t.teardown(() => service.app.server.closeAllConnections())
  // Revocation is told to no other process: each finds it by itself.
  const elsewhere = await (await service.another()).listen()
  const wallet = await service.wallet('10', { owner: 'user:alice' })
  const at = `${base}/v1/wallets/${wallet}/stream`

  t.test('a revoked key: its sockets, however they were opened, and its streams', async (t) => {
    const [key, kept] = [await service.newKey(['wallets:read']), await service.newKey(['wallets:read'])]
    const { ticket } = await service.made('/v1/realtime/tickets', undefined, { key })
    const sockets = [await openSocket(t, port, { key }), await openSocket(t, port, { protocol: `ticket.${ticket}` })]
    const streams = [await openStream(t, at, key), await openStream(t, at, key)]
    const [keptSocket, keptStream] = [await openSocket(t, port, { key: kept }), await openStream(t, at, kept)]
    for (const socket of [...sockets, keptSocket]) await socket.follow([wallet])
    for (const stream of [...streams, keptStream]) await stream.until(({ event }) => event === 'wallet.balance')
    const unused = await service.made('/v1/realtime/tickets', undefined, { key })

    await elsewhere.made(`/v1/admin/keys/${await idOf(service, key)}/revoke`, { reason: 'lost' }, { key: service.adminKey })
    const started = performance.now()
    for (const socket of sockets) {
      t.match(await patiently('the close', socket.closed), { code: REVOKED.code, reason: REVOKED.reason })
      t.same(socket.notifications.at(-1), { method: 'session.closing', params: REVOKED, jsonrpc: '2.0' })
    }
    for (const stream of streams) t.same(await closingOf(stream), REVOKED)
    const ms = performance.now() - started
    t.ok(ms < CREDENTIAL_MS + SLACK_MS, `within ${Math.round(ms)} ms`)

    await service.made('/v1/charges', { wallet, amount: '1' })
    await keptSocket.until(({ method }) => method === 'wallet.balance')
    await keptStream.until(({ data }) => data?.cause?.type === 'charge')
    for (const socket of sockets) t.same(socket.balances(), [], 'nothing comes behind the farewell')
    for (const { events } of streams) t.equal(events.at(-1)?.event, 'session.closing')

    // A ticket stands for its key, and lets nobody in for longer than the next look.
    const late = await openSocket(t, port, { protocol: `ticket.${unused.ticket}` }).catch((error: Body) => error)
    if (late.status === undefined) t.equal((await patiently('the close', late.closed as Promise<Body>)).code, 4401)
    else t.equal(late.status, 401)
  })

  t.test('a person whose client is gone', async (t) => {
    await service.query(`insert into clients (id, name, created_at) values (gen_random_uuid(), 'short-lived', now())`)
    const token = forge(goodClaims({ client_id: 'short-lived' }))
    const socket = await openSocket(t, port, { protocol: `bearer.${token}` })
    const alice = await openSocket(t, port, { key: await service.tokenFor('alice') })
    const stream = await openStream(t, at, await service.tokenFor('alice'))
    t.equal((await socket.follow()).size, 0)
    await service.query(`delete from clients where name = 'short-lived'`)
    const started = performance.now()
    t.match(await patiently('the close', socket.closed), { code: REVOKED.code, reason: REVOKED.reason })
    t.ok(performance.now() - started < CREDENTIAL_MS + SLACK_MS)
    t.equal((await alice.follow()).size, 1, 'people of others stay')
    t.notOk(stream.events.some(({ event }) => event === 'session.closing'))
  })
})

async function closingOf(stream: TestStream): Promise<Body> {
  const { data } = await stream.until(({ event }) => event === 'session.closing')
  await patiently('the end', stream.ended)
  return data
}

async function idOf(service: TestService, key: string): Promise<string> {
  const [row] = await service.query(`select replace(id::text, '-', '') as id from api_keys where sha256 = decode($1, 'hex')`, [
    hash('sha256', key, 'hex'),
  ])
  return `key_${row.id}`
}
