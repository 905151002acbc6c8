import t from 'tap'
import { generateApiKey } from '../../src/auth/api-key.ts'
import { createAuthenticator } from '../../src/auth/authenticate.ts'
import type { ApiKey } from '../../src/auth/key-store.ts'
import type { Principal } from '../../src/auth/principal.ts'
import { PRINCIPAL_KEPT_MS, PrincipalCache } from '../../src/auth/principal-cache.ts'
import { FareboxError } from '../../src/kernel/errors.ts'

/** A store that counts its look-ups, and a clock that stands until it is moved. */
function setUp() {
  const { key, prefix } = generateApiKey()
  const stored: ApiKey = {
    id: 'k',
    clientId: 'c1',
    name: 'n',
    prefix,
    scopes: ['usage:write'],
    expiresAt: null,
    revokedAt: null,
    createdBy: 's',
    createdAt: 0,
  }
  const state = { now: 1_000_000, lookups: 0, answer: (): ApiKey | null | Promise<never> => stored }
  const { authenticate, forget } = createAuthenticator({
    store: {
      async findActiveKey() {
        state.lookups += 1
        await new Promise((resolve) => setImmediate(resolve))
        return state.answer()
      },
      findClient: async () => null,
    },
    verifyToken: null,
    clock: () => state.now,
  })
  return {
    key,
    stored,
    state,
    forget,
    authenticate: async (header: string | undefined = `Bearer ${key}`) => authenticate(header),
    raw: authenticate,
  }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'accepted'
  } catch (error) {
    return error instanceof FareboxError ? error.refusal.code : (error as Error).message
  }
}

t.test('a known key is answered at once and without a look-up', async (t) => {
  const { key, state, authenticate, raw } = setUp()
  const principal = await authenticate()
  t.match(principal, { kind: 'key', clientId: 'c1', subject: null, actor: `key:${key.slice(0, 12)}`, expiresAt: null })
  t.ok(principal.scopes.has('usage:write'))
  t.notOk(raw(`Bearer ${key}`) instanceof Promise, 'synchronously')
  for (let i = 0; i < 100; i += 1) t.equal(await authenticate(), principal)
  t.equal(state.lookups, 1)
})

t.test('a key in use is looked up again before its time is over, and nobody waits for that', async (t) => {
  const { key, state, raw, authenticate } = setUp()
  const principal = await authenticate()
  state.now += PRINCIPAL_KEPT_MS / 2 - 1
  t.equal(raw(`Bearer ${key}`), principal)
  t.equal(state.lookups, 1, 'not yet')
  state.now += 1
  state.answer = () => Promise.reject(new Error('connection lost'))
  t.equal(raw(`Bearer ${key}`), principal)
  t.equal(raw(`Bearer ${key}`), principal, 'one look-up at a time')
  t.equal(state.lookups, 2)
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(raw(`Bearer ${key}`), principal, 'a database that is away changes nothing yet')
  t.equal(state.lookups, 3)
  await new Promise((resolve) => setTimeout(resolve, 20))
  state.answer = () => null
  t.equal(raw(`Bearer ${key}`), principal)
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(await codeOf(authenticate()), 'unauthenticated', 'revoked elsewhere')
})

t.test('a look-up that began before a key was revoked does not bring it back', async (t) => {
  const { key, state, authenticate, forget } = setUp()
  await authenticate()
  state.now += PRINCIPAL_KEPT_MS / 2
  await authenticate()
  t.equal(state.lookups, 2, 'one is under way')
  const { answer } = state
  forget(`key:${key.slice(0, 12)}`)
  let refused: Promise<string> | undefined
  state.answer = () => {
    // The first look-up has read the key as it was; whoever comes now asks anew.
    state.answer = () => null
    refused = codeOf(authenticate())
    return answer()
  }
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(await refused, 'unauthenticated')
  t.equal(await codeOf(authenticate()), 'unauthenticated')
  t.equal(state.lookups, 3)
})

t.test('a revoked key stops working within 30 seconds, at once where it was revoked', async (t) => {
  const { key, state, authenticate, forget } = setUp()
  await authenticate()
  state.answer = () => null
  state.now += PRINCIPAL_KEPT_MS - 1
  t.equal(await codeOf(authenticate()), 'accepted')
  state.now += 1
  t.equal(await codeOf(authenticate()), 'unauthenticated')
  t.ok(PRINCIPAL_KEPT_MS <= 30_000)

  const other = setUp()
  await other.authenticate()
  other.state.answer = () => null
  other.forget(`key:${other.key.slice(0, 12)}`)
  t.equal(await codeOf(other.authenticate()), 'unauthenticated')
  forget(`key:${key.slice(0, 12)}`)
})

t.test('a key ends by itself, cached or not', async (t) => {
  const { stored, state, authenticate } = setUp()
  state.answer = () => ({ ...stored, expiresAt: state.now + 1_000 })
  t.equal(await codeOf(authenticate()), 'accepted')
  state.now += 999
  t.equal(await codeOf(authenticate()), 'accepted')
  state.answer = () => null
  state.now += 1
  t.equal(await codeOf(authenticate()), 'unauthenticated')
})

t.test('a thousand requests with one unknown key are one look-up', async (t) => {
  const { state, authenticate } = setUp()
  await Promise.all(Array.from({ length: 1_000 }, () => authenticate()))
  t.equal(state.lookups, 1)
})

t.test('a wrong key is refused without a look-up for five seconds', async (t) => {
  const { state, authenticate } = setUp()
  state.answer = () => null
  for (let i = 0; i < 10; i += 1) t.equal(await codeOf(authenticate()), 'unauthenticated')
  t.equal(state.lookups, 1)
  state.now += 5_000
  t.equal(await codeOf(authenticate()), 'unauthenticated')
  t.equal(state.lookups, 2)
})

t.test('a database that fails is not a wrong key, and is asked again', async (t) => {
  const { stored, state, authenticate } = setUp()
  state.answer = () => Promise.reject(new Error('connection lost'))
  t.equal(await codeOf(authenticate()), 'connection lost')
  state.answer = () => stored
  t.equal(await codeOf(authenticate()), 'accepted')
})

t.test('what is no bearer credential never reaches the store', async (t) => {
  const { key, state, raw } = setUp()
  const wrong = [
    undefined,
    '',
    'Bearer',
    'Bearer ',
    `Basic ${key}`,
    key,
    `Bearer ${key} x`,
    "Bearer ' OR '1'='1",
    `Bearer  `,
    'Bearer x',
    'Bearer fbx_ab12cd34_short',
    `bearer\t${key}`,
    `Bearer ${key},Bearer ${key}`,
  ]
  for (const header of wrong) t.equal(await codeOf((async () => raw(header))()), 'unauthenticated', String(header))
  t.equal(state.lookups, 0)
  t.equal(await codeOf((async () => raw(`bearer ${key}`))()), 'accepted', 'the scheme has no case')
})

t.test('a flood of unknown keys is bounded', async (t) => {
  const { state, authenticate } = setUp()
  const codes = await Promise.all(Array.from({ length: 600 }, () => codeOf(authenticate(`Bearer ${generateApiKey().key}`))))
  t.equal(codes.filter((code) => code === 'overloaded').length, 100)
  t.equal(state.lookups, 500)
})

t.test('the cache is bounded, and wrong credentials do not push out right ones', async (t) => {
  const cache = new PrincipalCache()
  const principal = { actor: 'key:x', expiresAt: null } as Principal
  cache.put('mine', principal, 0)
  for (let i = 0; i < 30_000; i += 1) cache.put(`wrong ${i}`, null, 0)
  t.equal(cache.get('mine', 0), principal)
  t.equal(cache.size, 10_001)
  for (let i = 0; i < 30_000; i += 1) cache.put(`right ${i}`, principal, 0)
  t.equal(cache.size, 20_000)
  t.equal(cache.get('mine', 0), undefined, 'the oldest goes first')
  t.equal(cache.get('right 29999', 0), principal)
})

t.test('a clock that is put back makes no answer last longer', async (t) => {
  const cache = new PrincipalCache()
  const principal = { actor: 'key:x', expiresAt: null } as Principal
  const future = 7_200_000
  cache.put('right', principal, future)
  cache.put('wrong', null, future)
  t.equal(cache.get('right', future), principal)
  t.equal(cache.get('wrong', future), null)
  t.equal(cache.get('wrong', 0), undefined, 'it is asked again')
  t.equal(cache.get('right', 0), undefined, 'a key that was revoked meanwhile is found out')
})
