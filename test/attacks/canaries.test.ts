import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import pg from 'pg'
import t, { type Test } from 'tap'
import { WebSocket } from 'undici'
import { readConfig, secretsOf } from '../../src/config.ts'
import { reasonLines } from '../../src/main.ts'
import { freePort, ready, startService, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { createProxy } from '../helpers/proxy.ts'
import { sendRaw } from '../helpers/server.ts'
import { type Answer, callerAt } from '../helpers/service.ts'

/**
 * Attacks 45–47 on the service as it is deployed: a process of its own that writes down everything, with a canary in each secret it
 * is configured with and in each place where a caller can put one, while its database, its Redis and its payment provider fail and
 * say back what they were told. Nothing of it may be in what the process writes, in the metrics, or in an answer that refuses.
 */

t.setTimeout(300_000)

/** A text that is nowhere else. */
const canary = (what: string) => `canary${what}${randomBytes(12).toString('hex')}`

t.test('secrets of the installation and of its callers', async (t) => {
  const secrets = {
    databasePassword: canary('Database'),
    redisPassword: canary('Redis'),
    stripeKey: canary('Stripe'),
    webhookSecret: canary('Webhook'),
    jwtSecret: canary('Jwt').padEnd(48, 'x'),
    key: canary('Key').padEnd(43, 'x'),
    token: canary('Token'),
    cookie: canary('Cookie'),
    authorization: canary('Authorization'),
    query: canary('Query'),
    path: canary('Path'),
    body: canary('Body'),
    metadata: canary('Metadata'),
    signature: canary('Signature'),
    ticket: canary('Ticket').padEnd(43, 'x'),
    header: canary('Header'),
    clientSecret: canary('ClientSecret'),
  }
  const { url } = await createTestDatabase(t)
  const database = await databaseWithPassword(t, url, secrets.databasePassword)
  const proxy = await createProxy(t, database.url)
  const redis = await refusingRedis(t)
  const provider = await tellingProvider(t, secrets.clientSecret)
  const [port, metricsPort] = [await freePort(), await freePort()]
  const service = await startService(
    {
      LOG_LEVEL: 'trace',
      DATABASE_URL: proxy.url,
      DATA_DIR: temporary(t),
      REDIS_URL: `redis://farebox:${secrets.redisPassword}@127.0.0.1:${redis}`,
      STRIPE_SECRET_KEY: `sk_test_${secrets.stripeKey}`,
      STRIPE_WEBHOOK_SECRET: `whsec_${secrets.webhookSecret}`,
      STRIPE_API_URL: `http://127.0.0.1:${provider.port}`,
      CHECKOUT_RETURN_URL: 'https://app.example.com/',
      JWT_SECRET: secrets.jwtSecret,
      METRICS_PORT: String(metricsPort),
    },
    port,
  )
  t.teardown(() => service.kill())
  await ready(service)
  // The greeting shows the admin key, once and on purpose.
  const adminKey = /(fbx_[0-9a-z]{8}_[A-Za-z0-9_-]{43})/.exec(service.output())?.[1] as string
  const greeted = service.output().length
  const call = callerAt(service.url, () => adminKey)
  const wallet = (await call.made('/v1/wallets', { owner: 'user:alice' })).id
  await call.made('/v1/grants', { wallet, kind: 'bonus', amount: '100' })

  const answers: Answer[] = []
  const key = `fbx_00000000_${secrets.key}`
  const jwt = ['{"alg":"HS256"}', `{"sub":"${secrets.token}"}`, secrets.token]
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.')
  const metadata = { password: secrets.metadata }
  const forged = { note: `${secrets.metadata}\n{"level":60,"msg":"forged"}` }

  async function everyPlace(): Promise<void> {
    const headers = {
      cookie: `session=${secrets.cookie}`,
      'x-api-key': secrets.header,
      'user-agent': secrets.header,
      'x-request-id': `${secrets.header} x`,
    }
    answers.push(
      await call.get('/v1/wallets', { key }),
      await call.get('/v1/wallets', { key: jwt }),
      await call.get('/v1/wallets', { key: null, headers: { authorization: `Basic ${secrets.authorization}` } }),
      await call.get('/v1/wallets', { key: null, headers: { authorization: `${secrets.authorization}\t` } }),
      await call.get(`/v1/wallets?cursor=${secrets.query}&limit=${secrets.query}`, { headers }),
      await call.get(`/v1/wallets?token=${secrets.query}&access_token=${secrets.query}`),
      await call.get(`/v1/wallets/${secrets.path}`),
      await call.get(`/v1/wallets/user:${secrets.path}/balance`),
      await call.get(`/${secrets.path}`),
      await call.get(`/v1/%zz${secrets.path}`),
      await call.get(`/v1/wallets/${secrets.path.repeat(10)}`),
      await call.send('DELETE', `/v1/wallets/${secrets.path}`),
      await call.post('/v1/charges', { wallet, amount: secrets.body }),
      await call.post('/v1/charges', { wallet: secrets.body, amount: '1' }),
      await call.post('/v1/charges', { wallet, amount: '1', metadata, reference: secrets.body }, { headers }),
      await call.post('/v1/charges', { wallet, amount: '1000', metadata, reference: secrets.body }),
      await call.post('/v1/charges', { wallet, amount: '1' }, { idempotencyKey: secrets.body }),
      await call.post('/v1/charges', { wallet, amount: '2' }, { idempotencyKey: secrets.body }),
      await call.post('/v1/charges', `{"wallet": "${secrets.body}", `),
      await call.post('/v1/charges', `{"wallet": "${secrets.body}"}`, { headers: { 'content-type': `text/${secrets.header}` } }),
      await call.post('/v1/charges', `{"amount":"1","amount":"${secrets.body}"}`),
      await call.post('/v1/charges', { wallet, amount: '1', reference: secrets.body.repeat(3_000) }),
      await call.post('/v1/batch', { commands: [{ operation: 'charge', idempotency_key: 'x', body: { wallet, amount: secrets.body } }] }),
      await call.post('/v1/charges', { wallet, amount: '1', metadata: forged }),
      await call.post('/v1/quotes', { model: 'gpt-4o-mini', input_text: secrets.body, max_output_tokens: 5 }),
      await call.post('/v1/tokens', { sub: secrets.body.slice(0, 100) }),
      await call.post('/v1/redemptions', { wallet, promotion_code: secrets.body }),
      await call.post('/v1/purchases', { wallet, package: 'basic', metadata }),
      await call.post(`/v1/wallets/${wallet}/cards`, {}),
      await call.post('/v1/admin/clients', { name: 'shop', reason: secrets.body }),
      await call.post(
        '/v1/stripe/webhook',
        { id: secrets.body },
        { key: null, headers: { 'stripe-signature': `t=1,v1=${secrets.signature}` } },
      ),
      await call.post('/v1/stripe/webhook', secrets.body, { key: null, headers: { 'stripe-signature': secrets.signature } }),
    )
    for (const bytes of [
      `GET /${secrets.path} HTTP/9.9\r\n\r\n`,
      `${secrets.path}\r\n\r\n`,
      `GET / HTTP/1.1\r\nhost: ${secrets.header}/\r\nconnection: close\r\n\r\n`,
      `GET / HTTP/1.1\r\nhost: localhost\r\n${secrets.header}\r\nconnection: close\r\n\r\n`,
      `GET / HTTP/1.1\r\nhost: localhost\r\nx-request-id: a\r\n\t${secrets.header}{"level":60}\r\nconnection: close\r\n\r\n`,
      `POST /v1/charges HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n${secrets.body}`,
    ]) {
      await sendRaw(port, bytes).catch(() => null)
    }
    for (const [path, protocols] of [
      [`/v1/realtime?ticket=tkt_${secrets.ticket}`, ['farebox.v1']],
      ['/v1/realtime', ['farebox.v1', `bearer.${jwt}`]],
    ] as const) {
      const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, [...protocols])
      await new Promise<void>((resolve) => {
        socket.addEventListener('error', () => resolve())
        socket.addEventListener('close', () => resolve())
      })
    }
  }

  function noCanary(t: Test, text: string, what: string) {
    for (const [name, secret] of Object.entries(secrets)) {
      t.notOk(text.includes(secret), `the canary ${name} is not in ${what}`)
      t.notOk(text.includes(Buffer.from(secret).toString('base64url').slice(4, -4)), `nor the encoded one`)
    }
    t.notOk(text.includes(adminKey.slice(13)), `nor the key of an admin in ${what}`)
  }

  t.test('while everything works but the payment provider and Redis', async () => everyPlace())

  t.test('while the database refuses, and says what', async (t) => {
    // The row that is refused is in the error, and a message of two lines.
    await database.query(`alter table charges add constraint forced check (reference is null) not valid`)
    await database.query(`create function forced() returns trigger language plpgsql as $$
      begin raise exception E'refused\\n{"level":60,"msg":"forged"} %', new.owner_id using detail = new.owner_id, hint = new.owner_id; end $$`)
    await database.query('create trigger forced before insert on wallets for each row execute function forced()')
    t.match(await call.post('/v1/charges', { wallet, amount: '1', reference: secrets.body, metadata }), { status: 500 })
    await everyPlace()
    await database.query('alter table grants rename column kind to kind_')
    t.equal((await call.get(`/v1/wallets/${wallet}/grants?kind=${secrets.query}`)).status, 400)
    answers.push(await call.get(`/v1/wallets/${wallet}/grants`))
    await database.query('alter table grants rename column kind_ to kind')
    await database.query('alter table charges drop constraint forced')
    await database.query('drop trigger forced on wallets')
  })

  t.test('while the payment provider fails in other ways', async () => {
    for (const how of ['500', '402', 'html', 'hang up'] as const) {
      provider.how = how
      answers.push(await call.post('/v1/purchases', { wallet, package: 'basic', metadata }))
    }
    provider.how = '401'
  })

  t.test('while the database is away', async (t) => {
    for (const fault of ['reset', 'hangup', 'down'] as const) {
      await proxy.set(fault)
      await Promise.all([
        call.get('/v1/wallets'),
        call.post('/v1/charges', { wallet, amount: '1', metadata }),
        call.get('/readyz', { key: null }),
      ]).then((all) => answers.push(...all))
      await proxy.set('pass')
    }
    t.ok(answers.filter(({ status }) => status === 503).length >= 3)
  })

  t.test('nothing of it is in the log, in the metrics or in a refusal', async (t) => {
    noCanary(t, await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text(), 'the metrics')
    await service.stop()
    const written = service.output().slice(greeted)
    noCanary(t, written, 'what the process wrote')
    t.notOk(service.output().slice(0, greeted).includes('canary'), 'nor in its greeting')
    const refusals = answers.filter(({ status }) => status >= 400)
    for (const { text } of refusals) noCanaryOnce(t, text, Object.values(secrets))
    const lines = written.split('\n').filter((line) => line !== '')
    let structured = 0
    for (const line of lines) {
      const entry = parsed(line)
      if (entry) structured += 1
      t.not(entry?.msg, 'forged')
    }
    t.equal(structured, lines.length, 'every line is one of ours')
    t.notOk(written.includes('\n{"level":60'))
    t.ok(
      lines.length > 100 && refusals.length > 60,
      `${lines.length} lines, ${refusals.length} refusals, ${Object.keys(secrets).length} canaries`,
    )
    t.comment(`${lines.length} lines of log, ${refusals.length} refusals, ${Object.keys(secrets).length} canaries, 0 hits`)
    for (const cause of [/"code":"23514"/, /WRONGPASS/, /P2022|42703/, /Stripe/])
      t.match(service.output(), cause, 'the causes are in the log')
    const request = lines
      .map(parsed)
      .find((entry) => entry?.msg === 'request' && entry.operation === 'charge' && entry.code === 'insufficient_credits')
    t.match(request, { request_id: String, client_id: String, wallet_id: wallet, operation: 'charge', status: 402, route: '/v1/charges' })
  })
})

t.test('a service that does not start says why, and no secret', async (t) => {
  const password = canary('Password')
  const secret = canary('Secret').padEnd(48, 'x')
  const { url } = await createTestDatabase(t)
  const wrong = new URL(url)
  wrong.username = `nobody${randomBytes(4).toString('hex')}`
  wrong.password = password
  const gone = new URL(url)
  gone.port = String(await freePort())
  gone.password = password
  const base = { NODE_ENV: 'production', LOG_LEVEL: 'debug', JWT_SECRET: secret, DATABASE_URL: wrong.href }
  const noSecret = (text: string, what: string) => {
    t.match(text, /^farebox: \S/m, what)
    for (const one of [password.slice(0, 31), secret]) t.notOk(text.includes(one), what)
  }
  await Promise.all(
    Object.entries({ 'an unknown user': wrong.href, 'no server': gone.href }).map(async ([what, DATABASE_URL]) => {
      const service = await startService({ ...base, DATA_DIR: temporary(t), DATABASE_URL }, await freePort())
      t.teardown(() => service.kill())
      if (service.child.exitCode === null) await once(service.child, 'exit')
      t.equal(service.child.exitCode, 1, what)
      noSecret(service.output(), what)
    }),
  )
  for (const [what, env] of Object.entries({
    'another scheme': { DATABASE_URL: `mysql://x:${password}@localhost/x` },
    'a short secret': { JWT_SECRET: password.slice(0, 31) },
    'a wrong key': { STRIPE_SECRET_KEY: password },
    'a wrong webhook secret': { STRIPE_SECRET_KEY: `sk_test_${password}`, STRIPE_WEBHOOK_SECRET: password },
    'a wrong Redis': { REDIS_URL: `http://x:${password}@localhost` },
    'a wrong collector': { OTEL_EXPORTER_OTLP_ENDPOINT: `ftp://x:${password}@localhost` },
  })) {
    try {
      readConfig({ ...base, ...env })
      t.fail(what)
    } catch (error) {
      noSecret(reasonLines(error, undefined).join('\n'), what)
    }
  }
  const broken = readConfig({
    ...base,
    DATABASE_URL: `postgresql://${password}:${password}%zz@[bad`,
    REDIS_URL: `redis://x:${password}%21@localhost`,
  })
  t.ok(secretsOf(broken).includes(`${password}!`), 'secrets are known as they are sent')
})

function noCanaryOnce(t: Test, text: string, secrets: readonly string[]): void {
  t.notOk(
    secrets.some((secret) => text.includes(secret)),
    `a refusal does not send back what it was sent: ${text.slice(0, 120)}`,
  )
}

// biome-ignore lint/suspicious/noExplicitAny: a line of the log, of any form
function parsed(line: string): any {
  try {
    return JSON.parse(line)
  } catch {
    return null
  }
}

/** The same database for a user of its own with a password. */
async function databaseWithPassword(t: Test, url: string, password: string) {
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  const name = `leak_${randomBytes(6).toString('hex')}`
  await pool.query(`create role ${name} superuser login password '${password}'`)
  t.teardown(async () => {
    await pool.query(`drop owned by ${name} cascade; drop role ${name}`)
    await pool.end()
  })
  const own = new URL(url)
  own.username = name
  own.password = password
  return { url: own.href, query: (text: string) => pool.query(text) }
}

/** A Redis that takes no password. */
async function refusingRedis(t: Test): Promise<number> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () => socket.write('-WRONGPASS invalid username-password pair or user is disabled.\r\n'))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => void server.close())
  return (server.address() as AddressInfo).port
}

/** A payment provider that fails, and says back the key that it was given. */
async function tellingProvider(t: Test, clientSecret: string) {
  const state = { port: 0, how: '401' as '401' | '500' | '402' | 'html' | 'hang up' }
  const server = createHttpServer((request, response) => {
    request.resume()
    if (state.how === 'hang up') return void request.socket.destroy()
    const error = {
      type: state.how === '402' ? 'card_error' : 'invalid_request_error',
      message: `Invalid API Key provided: ${request.headers.authorization}\n{"level":60,"msg":"forged"}`,
      payment_intent: { id: 'pi_1', object: 'payment_intent', client_secret: `pi_1_secret_${clientSecret}` },
    }
    response.writeHead(state.how === 'html' ? 200 : Number(state.how), {
      'content-type': state.how === 'html' ? 'text/html' : 'application/json',
    })
    response.end(state.how === 'html' ? `<html>${request.headers.authorization}` : JSON.stringify({ error }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  state.port = (server.address() as AddressInfo).port
  return state
}
