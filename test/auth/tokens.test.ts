import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from 'jose'
import t from 'tap'
import { createClient, DEFAULT_CLIENT_NAME } from '../../src/auth/create-client.ts'
import { principalOf } from '../../src/auth/guard.ts'
import type { JwtOptions } from '../../src/auth/jwt.ts'
import { newId, toWireId } from '../../src/kernel/ids.ts'
import { createAuthServer, JWT_SECRET, systemChange } from '../helpers/auth.ts'
import { forge, goodClaims, inSeconds, serveKeySet } from '../helpers/tokens.ts'

type Key = Awaited<ReturnType<typeof generateKeyPair>>['privateKey']

/** A server whose one route says who was recognised. */
async function tokenServer(t: Parameters<typeof createAuthServer>[0], jwt?: Partial<JwtOptions>, clock?: () => number) {
  const server = await createAuthServer(t, {
    ...(jwt && { jwt }),
    ...(clock && { clock }),
    routes(app) {
      app.get('/v1/me', { config: { operation: 'x', scope: 'self', keyScope: 'wallets:read' } }, async (request) => {
        const { kind, clientId, subject, actor, scopes } = principalOf(request)
        return { kind, clientId, subject, actor, scopes: [...scopes] }
      })
      app.get('/v1/admin', { config: { operation: 'x', scope: 'admin' } }, async () => 'ok')
    },
  })
  const { id: defaultId } = await createClient(server.store, DEFAULT_CLIENT_NAME, systemChange())
  const get = (token: string, url = '/v1/me') => server.app.inject({ url, headers: { authorization: `Bearer ${token}` } })
  return { ...server, defaultId, get, status: async (token: string, url?: string) => (await get(token, url)).statusCode }
}

t.test('tokens signed with the shared secret', async (t) => {
  let now = Date.now()
  const { app, client, defaultId, get, status } = await tokenServer(t, {}, () => now)

  t.test('name a person of the default client', async (t) => {
    t.same((await get(forge(goodClaims()))).json(), {
      kind: 'user',
      clientId: defaultId,
      subject: 'alice',
      actor: 'user:alice',
      scopes: [],
    })
  })

  t.test('name a person of another client, by id or by name', async (t) => {
    const { clientId } = await client()
    t.match((await get(forge(goodClaims({ client_id: toWireId('client', clientId) })))).json(), { clientId })
    t.match((await get(forge(goodClaims({ client_id: 'client 1' })))).json(), { clientId })
    t.equal(await status(forge(goodClaims({ client_id: toWireId('client', newId()) }))), 401, 'no such client')
    t.equal(await status(forge(goodClaims({ client_id: 'nobody' }))), 401)
  })

  t.test('give the role of an admin', async (t) => {
    t.match((await get(forge(goodClaims({ role: 'admin' })))).json(), { scopes: ['admin'] })
    t.equal(await status(forge(goodClaims({ role: 'admin' })), '/v1/admin'), 200)
    t.equal(await status(forge(goodClaims()), '/v1/admin'), 403)
    t.equal(await status(forge(goodClaims({ role: 'user' })), '/v1/admin'), 403)
  })

  t.test('are refused when a claim is missing or wrong', async (t) => {
    const wrong: Record<string, Record<string, unknown>> = {
      'no exp': { exp: undefined },
      'no sub': { sub: undefined },
      'no aud': { aud: undefined },
      'no iss': { iss: undefined },
      'exp 61 s ago': { exp: inSeconds(-61) },
      'exp a string': { exp: String(inSeconds(300)) },
      'exp without end': { exp: 1e15 },
      'exp below zero': { exp: -1 },
      'exp null': { exp: null },
      'nbf ahead': { nbf: inSeconds(120) },
      'nbf a string': { nbf: 'later' },
      'another aud': { aud: 'elsewhere' },
      'other auds': { aud: ['a', 'b'] },
      'aud almost': { aud: 'farebox2' },
      'another iss': { iss: 'evil' },
      'iss a list': { iss: ['farebox'] },
      'another role': { role: 'owner' },
      'role a list': { role: ['admin'] },
      'sub empty': { sub: '' },
      'sub a number': { sub: 5 },
      'sub with a colon': { sub: 'user:alice' },
      'sub too long': { sub: 'x'.repeat(129) },
      'sub with NUL': { sub: 'a\0b' },
      'sub a list': { sub: ['alice'] },
      'client a number': { client_id: 1 },
      'client empty': { client_id: '' },
    }
    for (const [name, claims] of Object.entries(wrong)) t.equal(await status(forge(goodClaims(claims))), 401, name)
    for (const payload of ['text', 5, null, [], [goodClaims()]]) t.equal(await status(forge(payload)), 401, JSON.stringify(payload))
  })

  t.test('are accepted within the tolerance of clocks', async (t) => {
    t.equal(await status(forge(goodClaims({ exp: inSeconds(-50) }))), 200)
    t.equal(await status(forge(goodClaims({ nbf: inSeconds(50) }))), 200)
    t.equal(await status(forge(goodClaims({ aud: ['other', 'farebox'] }))), 200)
  })

  t.test('are refused when the header is not ours', async (t) => {
    const { publicKey } = await generateKeyPair('RS256')
    const headers: Record<string, Record<string, unknown>> = {
      'alg none': { alg: 'none' },
      'alg None': { alg: 'None' },
      'alg missing': { typ: 'JWT' },
      'alg HS512': { alg: 'HS512' },
      'alg RS256': { alg: 'RS256' },
      'alg a list': { alg: ['HS256'] },
      'typ of another kind': { alg: 'HS256', typ: 'at+jwt' },
      'typ empty': { alg: 'HS256', typ: '' },
      'typ a number': { alg: 'HS256', typ: 1 },
      crit: { alg: 'HS256', crit: ['exp'] },
      'crit empty': { alg: 'HS256', crit: [] },
      b64: { alg: 'HS256', b64: false },
      jwk: { alg: 'HS256', jwk: await exportJWK(publicKey) },
      jku: { alg: 'HS256', jku: 'http://127.0.0.1:1/keys' },
      x5u: { alg: 'HS256', x5u: 'http://127.0.0.1:1/cert' },
      x5c: { alg: 'HS256', x5c: ['MII'] },
    }
    for (const [name, header] of Object.entries(headers)) t.equal(await status(forge(goodClaims(), header)), 401, name)
    t.equal(await status(forge(goodClaims(), { alg: 'HS256' })), 200, 'typ may be absent')
    t.equal(await status(forge(goodClaims(), { alg: 'HS256', typ: 'jwt' })), 200, 'typ has no case')
  })

  t.test('are refused when they are not signed, or with something else', async (t) => {
    const token = forge(goodClaims())
    const [header, payload, signature] = token.split('.') as [string, string, string]
    const { publicKey } = await generateKeyPair('RS256')
    const wrong = [
      `${header}.${payload}.`,
      `${header}.${payload}`,
      `${header}.${payload}.${signature}.x`,
      `${header}.${payload}.${signature}A`,
      `${header}..${signature}`,
      `.${payload}.${signature}`,
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`,
      `${header}.${Buffer.from(JSON.stringify(goodClaims({ role: 'admin' }))).toString('base64url')}.${signature}`,
      forge(goodClaims(), undefined, 'another secret of more than thirty-two bytes!'),
      forge(goodClaims(), undefined, await exportSPKI(publicKey)),
      forge(goodClaims(), undefined, ''),
      forge(goodClaims({ padding: 'x'.repeat(9_000) })),
    ]
    for (const each of wrong) t.equal(await status(each), 401, each.slice(0, 60))
  })

  t.test('with the same beginning are two people', async (t) => {
    const one = forge(goodClaims({ sub: 'alice-1' }))
    const two = forge(goodClaims({ sub: 'alice-2' }))
    t.equal(one.slice(0, 40), two.slice(0, 40))
    t.equal((await get(one)).json().subject, 'alice-1')
    t.equal((await get(two)).json().subject, 'alice-2')
    t.equal((await get(one)).json().subject, 'alice-1')
  })

  t.test('end although they are cached', async (t) => {
    now = Date.now()
    const token = forge(goodClaims({ exp: inSeconds(-55) }))
    t.equal(await status(token), 200)
    now += 6_000
    t.equal(await status(token), 401)
  })

  t.test('that we sign are tokens like others', async (t) => {
    const token = app.auth.signToken?.({ subject: 'bob', clientId: defaultId }, Date.now(), Date.now() + 60_000) ?? ''
    t.match((await get(token)).json(), { subject: 'bob', clientId: defaultId, scopes: [] })
    t.match(app.jwt.decode(token), { iss: 'farebox', aud: 'farebox', sub: 'bob', role: 'user', client_id: toWireId('client', defaultId) })
  })
})

t.test('tokens of an identity provider', async (t) => {
  const pairs = Object.fromEntries(
    await Promise.all(
      (['RS256', 'ES256', 'EdDSA'] as const).map(async (alg) => [alg, await generateKeyPair(alg, { extractable: true })] as const),
    ),
  )
  const provider = await serveKeySet(
    t,
    await Promise.all(
      Object.entries(pairs).map(async ([alg, { publicKey }]) => ({ ...(await exportJWK(publicKey)), kid: `${alg}-1`, alg, use: 'sig' })),
    ),
  )
  const { status, get } = await tokenServer(t, { secret: null, jwksUrl: provider.url })
  const sign = (alg: string, claims: object = {}, header: object = {}) =>
    new SignJWT(goodClaims({ ...claims }))
      .setProtectedHeader({ alg, kid: `${alg}-1`, typ: 'JWT', ...header })
      .sign(pairs[alg]?.privateKey as Key)

  t.test('are accepted with each pinned algorithm, after one fetch', async (t) => {
    for (const alg of Object.keys(pairs)) t.match((await get(await sign(alg))).json(), { subject: 'alice' }, alg)
    t.equal(provider.asked, 1)
  })

  t.test('are refused for the same reasons as others', async (t) => {
    const wrong: [string, object, object][] = [
      ['no exp', { exp: undefined }, {}],
      ['no sub', { sub: undefined }, {}],
      ['another iss', { iss: 'evil' }, {}],
      ['another aud', { aud: 'evil' }, {}],
      ['exp 61 s ago', { exp: inSeconds(-61) }, {}],
      ['nbf ahead', { nbf: inSeconds(120) }, {}],
      ['role', { role: 'owner' }, {}],
      ['typ', {}, { typ: 'at+jwt' }],
      ['another kid', {}, { kid: 'ES256-1' }],
      ['jku', {}, { jku: provider.url }],
      ['jwk', {}, { jwk: await exportJWK(pairs.RS256?.publicKey as Key) }],
    ]
    for (const [name, claims, header] of wrong) t.equal(await status(await sign('RS256', claims, header)), 401, name)
  })

  t.test('cannot be made from the public key', async (t) => {
    const pem = await exportSPKI(pairs.RS256?.publicKey as Key)
    for (const secret of [pem, pem.trim(), JSON.stringify(provider.keys[0])]) {
      t.equal(await status(forge(goodClaims(), { alg: 'HS256', kid: 'RS256-1' }, secret)), 401)
      t.equal(await status(forge(goodClaims(), { alg: 'RS256', kid: 'RS256-1' }, secret)), 401)
    }
    t.equal(await status(forge(goodClaims(), { alg: 'HS256' }, JWT_SECRET)), 401, 'no secret is configured')
  })

  t.test('with a thousand unknown key ids cause at most one fetch', async (t) => {
    const before = provider.asked
    const tokens = await Promise.all(Array.from({ length: 1_000 }, (_, i) => sign('EdDSA', {}, { kid: `unknown-${i}` })))
    for (let i = 0; i < tokens.length; i += 100) {
      for (const code of await Promise.all(tokens.slice(i, i + 100).map((token) => status(token)))) if (code !== 401) t.fail(String(code))
    }
    t.ok(provider.asked - before <= 1, `${provider.asked - before} fetches`)
  })
})

t.test('an identity provider that is down is 503 and not asked by everyone', async (t) => {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true })
  const provider = await serveKeySet(t, [{ ...(await exportJWK(publicKey)), kid: '1', alg: 'EdDSA' }])
  provider.failing = true
  const { get } = await tokenServer(t, { secret: null, jwksUrl: provider.url })
  const tokens = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      new SignJWT(goodClaims({ sub: `p${i}` })).setProtectedHeader({ alg: 'EdDSA', kid: '1' }).sign(privateKey),
    ),
  )
  for (const token of tokens) {
    const answer = await get(token)
    t.equal(answer.statusCode, 503)
    t.match(answer.json(), { code: 'key_set_unavailable', retryable: true })
  }
  t.equal(provider.asked, 1)
})

t.test('a secret that is too short does not start', async (t) => {
  await t.rejects(tokenServer(t, { secret: 'short' }), /at least 32 bytes/)
})

t.test('without secret and key set no token is accepted', async (t) => {
  const { status, app } = await tokenServer(t, { secret: null })
  t.equal(await status(forge(goodClaims())), 401)
  t.equal(app.auth.signToken, null)
})
