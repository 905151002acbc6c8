import { createHash } from 'node:crypto'
import t from 'tap'
import { generateApiKey, isApiKey, prefixOf, sha256Of } from '../../src/auth/api-key.ts'

t.test('a key has a name that may be shown and 256 random bits that may not', async (t) => {
  const keys = Array.from({ length: 1_000 }, generateApiKey)
  for (const { key, prefix, sha256 } of keys) {
    if (!/^fbx_[0-9a-hjkmnp-tv-z]{8}_[A-Za-z0-9_-]{43}$/.test(key) || !isApiKey(key)) t.fail(key)
    if (prefixOf(key) !== prefix || prefix.length !== 12) t.fail(prefix)
    if (Buffer.compare(sha256, createHash('sha256').update(key).digest()) !== 0) t.fail('hash')
  }
  t.equal(new Set(keys.map(({ key }) => key.slice(13))).size, 1_000)
  t.equal(sha256Of('x').length, 32)
})

t.test('what does not have the form of a key is none', async (t) => {
  const { key } = generateApiKey()
  for (const text of [
    '',
    'fbx_',
    key.slice(1),
    `${key}x`,
    key.slice(0, -1),
    key.toUpperCase(),
    ` ${key}`,
    `${key}\n`,
    key.replace('_', '-'),
    `${key.slice(0, -1)}/`,
  ]) {
    t.equal(isApiKey(text), false, text)
  }
})
