import pg from 'pg'
import t from 'tap'
import { farebox, freePort, ready, startService, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'

t.setTimeout(300_000)

t.test('keys and tokens that the command line makes are those that the service takes', async (t) => {
  const database = await createTestDatabase(t)
  const env = { DATABASE_URL: database.url, DATA_DIR: temporary(t) }
  const service = await startService(env, await freePort())
  t.teardown(() => service.stop())
  await ready(service)
  const get = (path: string, credential: string) => fetch(`${service.url}${path}`, { headers: { authorization: `Bearer ${credential}` } })
  const open = (owner: string, key: string) =>
    fetch(`${service.url}/v1/wallets`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ owner }),
    })

  /** Makes a key and returns it with its id. */
  async function create(...args: readonly string[]): Promise<{ key: string; id: string; said: string }> {
    const { status, stdout, stderr } = await farebox(['keys', 'create', ...args], env)
    t.equal(status, 0, stderr)
    t.match(stdout, /^fbx_[0-9a-z]{8}_[\w-]{43}\n$/, 'the key alone is on standard output')
    return { key: stdout.trim(), id: /key_[0-9a-f]{32}/.exec(stderr)?.[0] ?? '', said: stderr }
  }

  await t.test('a key has the scopes of a backend unless others are named', async (t) => {
    const usual = await create('--name', 'usual')
    t.match(usual.said, /of client default: wallets:read wallets:write usage:write\./)
    t.equal((await open('user:alice', usual.key)).status, 201)
    t.equal((await get('/v1/wallets/user:alice', usual.key)).status, 200)
    const narrow = await create('--name', 'narrow', '--scope', 'usage:write', '--scope', 'prices:read')
    t.equal((await get('/v1/models', narrow.key)).status, 200)
    t.equal((await get('/v1/wallets/user:alice', narrow.key)).status, 403)
  })

  await t.test('a client is added only when that is asked for', async (t) => {
    const refused = await farebox(['keys', 'create', '--name', 'a', '--client', 'shop'], env)
    t.equal(refused.status, 1)
    t.match(refused.stderr, /^farebox: There is no client named shop\. Add --new-client/)
    const badName = await farebox(['keys', 'create', '--name', 'a', '--client', 'cli_x', '--new-client'], env)
    t.match(badName.stderr, /^farebox: The name of a client is/)
    const { key } = await create('--name', 'a', '--client', 'shop', '--new-client')
    t.equal((await get('/v1/wallets/user:alice', key)).status, 404, 'another client sees nothing of the first')
  })

  await t.test('a revoked key is refused, and the audit log knows why', async (t) => {
    const { key, id } = await create('--name', 'leaked', '--expires-in-days', '7')
    const list = await farebox(['keys', 'list'], env)
    t.match(list.stdout, new RegExp(`^${id} {2}until \\d{4}-\\d\\d-\\d\\d  ${key.slice(0, 12)}  default  leaked`, 'm'))
    const revoked = await farebox(['keys', 'revoke', id, '--reason', 'left in a repository'], env)
    t.equal(revoked.status, 0, revoked.stderr)
    t.match(revoked.stdout, /is revoked\. Running processes stop taking it within 30 seconds/)
    t.equal((await get('/v1/models', key)).status, 401)
    t.match((await farebox(['keys', 'revoke', id], env)).stdout, /was revoked already/)
    t.match((await farebox(['keys', 'list'], env)).stdout, new RegExp(`^${id} {2}revoked `, 'm'))
    const client = new pg.Client({ connectionString: database.url })
    await client.connect()
    const { rows } = await client.query(`select actor, reason from audit_log where action = 'api_key.revoke'`)
    await client.end()
    t.match(rows, [{ actor: /^cli:/, reason: 'left in a repository' }])
    const unknown = await farebox(['keys', 'revoke', `key_${'0'.repeat(32)}`], env)
    t.equal(unknown.status, 1)
    t.equal(unknown.stderr, 'farebox: There is no API key with this id.\n')
  })

  await t.test('a token reads the wallet of its person and of nobody else', async (t) => {
    const { status, stdout, stderr } = await farebox(['token', 'mint', '--sub', 'alice', '--ttl-seconds', '60'], env)
    t.equal(status, 0, stderr)
    t.match(stderr, /^For user alice of client default, until \d{4}-/)
    const token = stdout.trim()
    const wallet = (await (await get('/v1/wallets/user:alice', token)).json()) as { owner: string }
    t.equal(wallet.owner, 'user:alice')
    t.equal((await get('/v1/wallets/user:bob', token)).status, 404)
    t.equal((await get('/v1/admin/clients', token)).status, 403)
    const admin = await farebox(['token', 'mint', '--sub', 'root', '--role', 'admin'], env)
    t.equal((await get('/v1/admin/clients', admin.stdout.trim())).status, 200)
    const stranger = await farebox(['token', 'mint', '--sub', 'alice', '--client', 'nobody'], env)
    t.equal((await get('/v1/wallets/user:alice', stranger.stdout.trim())).status, 401)
  })
})

t.test('a token is signed with JWT_SECRET, and says when there is nothing to sign with', async (t) => {
  const dataDir = temporary(t)
  const signed = await farebox(['token', 'mint', '--sub', 'alice'], { DATA_DIR: dataDir, JWT_SECRET: 's'.repeat(32) })
  t.match(signed.stdout, /^eyJ[\w-]+\.[\w-]+\.[\w-]+\n$/)
  const keySet = await farebox(['token', 'mint', '--sub', 'alice'], { DATA_DIR: dataDir, JWKS_URL: 'https://id.example/keys' })
  t.equal(keySet.status, 1)
  t.match(keySet.stderr, /^farebox: Tokens come from the identity provider of JWKS_URL.*\n$/)
  const none = await farebox(['token', 'mint', '--sub', 'alice'], { DATA_DIR: dataDir })
  t.equal(none.status, 1)
  t.match(none.stderr, /^farebox: There is no secret to sign with.*\n$/)
})
