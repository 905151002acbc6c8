import { PrismaPg } from '@prisma/adapter-pg'
import t from 'tap'
import { PrismaClient } from '../../src/generated/prisma/client.ts'
import { ConnectionLost, classify, type DatabaseFailure, sqlstateOf } from '../../src/platform/sqlstate.ts'
import { createTestDatabase } from '../helpers/database.ts'
import { openRoad } from '../helpers/server.ts'

const withCode = (code: string, more: object = {}) => Object.assign(new Error('x'), { code, ...more })
const throughAdapter = (cause: object, code = 'P2010') =>
  withCode(code, { meta: { driverAdapterError: { name: 'DriverAdapterError', cause } } })

t.test('errors are told apart by SQLSTATE, whoever carries it', async (t) => {
  const table: [error: unknown, sqlstate: string | null, failure: DatabaseFailure][] = [
    [withCode('40001'), '40001', 'retry'],
    [withCode('40P01'), '40P01', 'retry'],
    [withCode('55P03'), '55P03', 'retry'],
    [withCode('57014'), '57014', 'retry'],
    [withCode('23505', { constraint: 'idempotency_keys_pkey' }), '23505', 'retry'],
    [withCode('23505', { constraint: 'wallets_pkey' }), '23505', 'fault'],
    [withCode('57P01'), '57P01', 'connection'],
    [withCode('08006'), '08006', 'connection'],
    [withCode('25P03'), '25P03', 'connection'],
    [withCode('53100'), '53100', 'storage'],
    [withCode('58030'), '58030', 'storage'],
    [withCode('25006'), '25006', 'storage'],
    [withCode('22003'), '22003', 'fault'],
    [withCode('P0001'), 'P0001', 'fault'],
    [throughAdapter({ originalCode: '40001' }), '40001', 'retry'],
    [withCode('P2010', { meta: { code: '53100' } }), '53100', 'storage'],
    [new Error('outer', { cause: withCode('40P01') }), '40P01', 'retry'],
    [throughAdapter({ kind: 'DatabaseNotReachable' }), null, 'connection'],
    [throughAdapter({ kind: 'ConnectionClosed' }), null, 'connection'],
    [withCode('P1001'), null, 'connection'],
    [withCode('P2024'), null, 'connection'],
    [withCode('P2028'), null, 'connection'],
    [withCode('P2002'), null, 'fault'],
    [withCode('EPIPE'), null, 'connection'],
    [withCode('ECONNRESET'), null, 'connection'],
    [new ConnectionLost('silent'), null, 'connection'],
    [new Error('Connection terminated unexpectedly'), null, 'connection'],
    [new Error('assertion failed'), null, 'fault'],
    ['a string', null, 'fault'],
    [null, null, 'fault'],
    [undefined, null, 'fault'],
  ]
  for (const [error, sqlstate, failure] of table) {
    const name = error instanceof Error ? `${error.message} ${JSON.stringify(error)}` : String(error)
    t.equal(sqlstateOf(error), sqlstate, name)
    t.equal(classify(error), failure, name)
  }
})

t.test('a connection that ends under a query is a lost connection, in every form that Prisma gives it', async (t) => {
  const { url } = await createTestDatabase(t)
  const address = new URL(url)
  const to = Number(address.port || 5432)
  const open = async () => {
    const road = await openRoad(t, to)
    address.hostname = '127.0.0.1'
    address.port = String(road.port)
    const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: address.href, connectionTimeoutMillis: 1_000 }) })
    t.teardown(() => prisma.$disconnect())
    await prisma.$queryRaw`select 1`
    return { road, prisma }
  }
  const failureOf = (work: Promise<unknown>) => work.then(() => 'nothing', classify)

  const { road, prisma } = await open()
  const running = failureOf(prisma.$queryRaw`select pg_sleep(5)::text`)
  setTimeout(road.close, 100)
  t.equal(await running, 'connection', 'in the middle of a raw query')
  t.equal(await failureOf(prisma.$queryRaw`select 1`), 'connection', 'a raw query afterwards')
  t.equal(await failureOf(prisma.client.findMany()), 'connection', 'a query of a model')
  t.equal(await failureOf(prisma.$transaction([prisma.client.findMany()])), 'connection', 'a transaction')
})

t.test('a transaction that Prisma gave up waiting for is no fault of its data', async (t) => {
  const { url } = await createTestDatabase(t)
  const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url }) })
  t.teardown(() => prisma.$disconnect())
  const slow = prisma.$transaction((tx) => tx.$queryRaw`select pg_sleep(0.5)::text`, { timeout: 100 })
  const error = await slow.then(
    () => null,
    (thrown) => thrown,
  )
  t.equal(error?.code, 'P2028')
  t.equal(classify(error), 'connection')
})
