import { errors, exportJWK, generateKeyPair } from 'jose'
import t from 'tap'
import { createKeySet } from '../../src/auth/key-set.ts'
import { FareboxError } from '../../src/kernel/errors.ts'

const HOUR_MS = 3_600_000

t.test('keys outlive an outage of the provider for an hour, without a fetch for each token', async (t) => {
  const { publicKey } = await generateKeyPair('EdDSA', { extractable: true })
  const jwk = { ...(await exportJWK(publicKey)), kid: '1', alg: 'EdDSA' }
  let down = false
  let asked = 0
  const find = createKeySet(new URL('https://id.example.com/jwks'), async () => {
    asked += 1
    if (down) throw new TypeError('fetch failed')
    return new Response(JSON.stringify({ keys: [jwk] }))
  })
  const input = { payload: '', signature: '' }
  const start = { date: Date.now(), monotonic: performance.now() }
  let elapsed = 0
  const real = { date: Date.now, monotonic: performance.now }
  Date.now = () => start.date + elapsed
  performance.now = () => start.monotonic + elapsed
  t.teardown(() => {
    Date.now = real.date
    performance.now = real.monotonic
  })
  const found = async () => {
    try {
      await find({ alg: 'EdDSA', kid: '1' }, input)
      return 'found'
    } catch (error) {
      return error instanceof FareboxError ? error.refusal.code : (error as Error).name
    }
  }

  t.equal(await found(), 'found')
  t.equal(asked, 1)
  down = true
  for (; elapsed < HOUR_MS - 60_000; elapsed += 30_000) t.equal(await found(), 'found', `${elapsed / 1000} s`)
  t.ok(asked < 20, `${asked} fetches in an hour`)
  elapsed = 3 * HOUR_MS
  t.equal(await found(), 'key_set_unavailable')
  down = false
  elapsed += 6_000
  t.equal(await found(), 'found', 'and back again')
})

t.test('what is not a key set is unavailable, an unknown key is not', async (t) => {
  const input = { payload: '', signature: '' }
  const answers: [string, () => Promise<Response>][] = [
    ['an error', async () => new Response('{"keys":[]}', { status: 500 })],
    ['a redirect', async () => new Response(null, { status: 302, headers: { location: 'http://169.254.169.254/' } })],
    ['no JSON', async () => new Response('<html>')],
    ['no keys', async () => new Response('{}')],
  ]
  for (const [name, answer] of answers) {
    const find = createKeySet(new URL('https://id.example.com/jwks'), answer)
    await t.rejects(async () => find({ alg: 'EdDSA', kid: '1' }, input), /key_set_unavailable/, name)
  }
  const find = createKeySet(new URL('https://id.example.com/jwks'), async () => new Response('{"keys":[]}'))
  await t.rejects(async () => find({ alg: 'EdDSA', kid: '1' }, input), errors.JWKSNoMatchingKey)
})
