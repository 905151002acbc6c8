import t from 'tap'
import { createLogger, type LogLevel } from '../../src/platform/logger.ts'

function logTo(level: LogLevel = 'trace', secrets: readonly string[] = []) {
  const lines: string[] = []
  return { log: createLogger({ level, secrets, destination: { write: (line) => void lines.push(line) } }), text: () => lines.join('') }
}

const KEY = `fbx_ab12cd34_${'k'.repeat(43)}`
const JWT = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLWNhbmFyeQ'
const URL_WITH_PASSWORD = 'postgresql://farebox:canary-password@db.internal:5432/farebox'

t.test('secrets are taken out by the name of their field', async (t) => {
  const { log, text } = logTo()
  const secrets = {
    authorization: 'canary',
    cookie: 'canary',
    'x-api-key': 'canary',
    password: 'canary',
    secret: 'canary',
    token: 'canary',
    DATABASE_URL: 'canary',
  }
  log.info(secrets)
  log.info({ headers: secrets })
  log.info({ req: { headers: secrets, body: { x: 'canary' }, method: 'GET' }, body: { amount: 'canary' } })
  log.info({ config: { database: secrets } })
  t.notMatch(text(), /canary/)
  t.match(text(), /\[redacted\]/)
})

t.test('secrets are taken out by their form, wherever they are', async (t) => {
  const { log, text } = logTo()
  log.info(`using ${KEY} and ${JWT} on ${URL_WITH_PASSWORD}`)
  log.error({ err: new Error(`cannot reach ${URL_WITH_PASSWORD}`, { cause: new Error(KEY) }) }, 'failed')
  log.child({ given: JWT }).warn({ nested: { deep: { deeper: KEY } } })
  t.notMatch(text(), new RegExp(`k{43}|canary|${JWT.split('.')[2]}`))
  t.match(text(), /fbx_ab12cd34_\[redacted\]/, 'the public part of a key stays')
  t.match(text(), /postgresql:\/\/farebox:\[redacted\]@db\.internal/)
  for (const line of text().trim().split('\n')) t.ok(JSON.parse(line))
})

t.test('a line break in a value does not make a line', async (t) => {
  const { log, text } = logTo()
  log.info({ reference: 'x\n{"level":"fatal","msg":"forged"}' }, 'a\nb')
  t.equal(text().trim().split('\n').length, 1)
})

t.test('errors keep their cause and stack, levels are words', async (t) => {
  const { log, text } = logTo('info')
  log.debug('not written')
  log.error({ err: new Error('outer', { cause: new Error('inner') }) })
  const line = JSON.parse(text())
  t.equal(line.level, 'error')
  t.match(line.err.stack, /outer[\s\S]*inner/)
})

t.test('keys of the payment provider, tickets and passwords of Redis are known by their form', async (t) => {
  const { log, text } = logTo()
  log.info(`sk_test_canary rk_live_canary whsec_canary+/= pi_1_secret_canary seti_1_secret_canary tkt_${'canary'.padEnd(43, 'x')}`)
  log.warn({ err: new Error('redis://farebox:canary@redis:6379 and rediss://:canary@redis') }, 'failed')
  t.notMatch(text(), /canary/)
  t.match(text(), /sk_test_\[redacted\] rk_live_\[redacted\] whsec_\[redacted\] pi_1_secret_\[redacted\]/)
})

t.test('secrets of the installation are taken out wherever they are, everyday words are not', async (t) => {
  const { log, text } = logTo('info', ['a "quoted" canary', 'farebox'])
  log.info({ deep: { deeper: 'xa "quoted" canaryx' } }, 'farebox')
  t.notMatch(text(), /canary/)
  t.match(JSON.parse(text()), { msg: 'farebox', deep: { deeper: 'x[redacted]x' } })
})

t.test('of an error only known fields are kept: drivers put rows, passwords and payments into others', async (t) => {
  const { log, text } = logTo()
  const error = Object.assign(new Error('refused'), {
    code: '23514',
    constraint: 'charges_check',
    detail: 'Failing row contains (canary).',
    command: { name: 'auth', args: ['canary'] },
    raw: { payment_intent: 'canary' },
  })
  log.error({ err: error })
  log.error({ err: 'a text' })
  t.notMatch(text(), /canary/)
  const [first, second] = text()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).err)
  t.match(first, { type: 'Error', message: 'refused', code: '23514', constraint: 'charges_check', stack: String })
  t.same(second, { message: 'a text' })
})
