import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { farebox, freePort, ready, startService, temporary } from '../helpers/cli.ts'
import { createTestDatabase } from '../helpers/database.ts'

t.setTimeout(300_000)

t.test('help names every command, and every command has help with examples', async (t) => {
  const { status, stdout } = await farebox(['--help'])
  t.equal(status, 0)
  for (const name of ['start', 'migrate', 'seed', 'keys', 'token', 'prices', 'verify', 'reconcile', 'doctor', 'replay']) {
    t.match(stdout, new RegExp(`^  ${name} `, 'm'))
    const own = await farebox([name, '--help'])
    t.equal(own.status, 0, name)
    t.match(own.stdout, /Examples:\n {2}\$ /, name)
  }
  t.match((await farebox(['help', 'token'])).stdout, /mint/)
  t.match((await farebox([])).stdout, /^Usage: farebox/)
  t.match((await farebox(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/)
})

t.test('wrong use is status 2 with one clear line', async (t) => {
  for (const [args, message] of [
    [['nonsense'], /unknown command 'nonsense'/],
    [['verify', '--nonsense'], /unknown option '--nonsense'/],
    [['verify', 'nonsense'], /too many arguments/],
    [['keys', 'create'], /required option '--name <name>'/],
    [['keys', 'create', '--name', 'a', '--scope', 'all'], /must be one of wallets:read/],
    [['keys', 'revoke', 'fbx_'], /must be an id such as key_/],
    [['token', 'mint', '--sub', 'a b'], /letters, digits/],
    [['token', 'mint', '--sub', 'a', '--role', 'root'], /Allowed choices are user, admin/],
    [['token', 'mint', '--sub', 'a', '--ttl-seconds', '1e3'], /whole number from 1 to 86400/],
    [['replay'], /missing required argument 'file'/],
    [['replay', 'x', '--speed', 'fast'], /must be a number/],
    [['replay', 'x', '--url', 'localhost'], /must be such as http/],
    [['replay', 'x', '--credits', '-1'], /must be credits/],
    [['replay', 'x', '--run-id', 'a b'], /letters, digits/],
  ] as const) {
    const { status, stdout, stderr } = await farebox(args)
    t.equal(status, 2, args.join(' '))
    t.match(stderr, message)
    t.equal(stdout, '')
  }
})

t.test('says that there is no database yet, and makes none', async (t) => {
  const { status, stderr } = await farebox(['verify'], { DATA_DIR: join(temporary(t), 'none') })
  t.equal(status, 1)
  t.match(stderr, /^farebox: There is no database in .*none yet\. Start the service once.*\n$/)
})

t.test('says that a database cannot be reached', async (t) => {
  const { status, stderr } = await farebox(['verify'], { DATABASE_URL: `postgresql://x:y@127.0.0.1:${await freePort()}/z` })
  t.equal(status, 1)
  t.equal(stderr, 'farebox: the database cannot be reached; check DATABASE_URL\n')
})

t.test('production names each missing setting on a line of its own, and asks for a database only where one is enough', async (t) => {
  const start = await farebox(['start'], { NODE_ENV: 'production' })
  t.equal(start.status, 1)
  t.match(start.stderr, /^farebox: DATABASE_URL: is required in production .*\nfarebox: JWT_SECRET: is required in production, .*\n$/)
  const migrate = await farebox(['migrate'], { NODE_ENV: 'production' })
  t.equal(migrate.status, 1)
  t.match(migrate.stderr, /^farebox: DATABASE_URL: is required in production .*\n$/)
  const database = await createTestDatabase(t)
  t.equal((await farebox(['migrate'], { NODE_ENV: 'production', DATABASE_URL: database.url })).status, 0)
})

t.test('start says in one line that the port is taken', async (t) => {
  const database = await createTestDatabase(t)
  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as { port: number }
  const env = { DATABASE_URL: database.url, DATA_DIR: temporary(t), PORT: String(port), LOG_LEVEL: 'fatal' }
  const { status, stderr } = await farebox(['start'], env)
  t.equal(status, 1)
  t.equal(stderr, `farebox: port ${port} is taken; set PORT to another one\n`)
})

t.test('reads .env, and what is set already stays', async (t) => {
  const directory = temporary(t)
  writeFileSync(join(directory, '.env'), 'DATA_DIR=from-file\nPORT=wrong\n')
  const read = await farebox(['verify'], {}, directory)
  t.match(read.stderr, /^farebox: PORT: /)
  const overridden = await farebox(['verify'], { PORT: '8080' }, directory)
  t.match(overridden.stderr, /no database in from-file yet/)
})

t.test('start runs the service, SIGTERM ends it in order', async (t) => {
  const database = await createTestDatabase(t)
  const service = await startService({ DATABASE_URL: database.url, DATA_DIR: temporary(t) }, await freePort())
  t.teardown(() => service.kill())
  await ready(service)
  await service.stop()
  t.equal(service.child.exitCode, 0)
})
