import { randomBytes } from 'node:crypto'
import { basename } from 'node:path'
import { Client } from 'pg'
import type { Test } from 'tap'

export interface TestDatabase {
  readonly url: string
  /** The same database as the role of the service, which owns nothing and cannot change the ledger. */
  readonly serviceUrl: string
  /** Drops the database at once. Needed only by who cannot wait for the end of the test. */
  drop(): Promise<void>
}

/**
 * Creates a migrated database for one test file (an empty one with `migrated: false`) and drops it when the test is over. The database of a failed test stays, and
 * its name is in the output; to look into it, run the tests against a server of your own with TEST_DATABASE_URL.
 *
 * Call it before you open anything on the database: tap tears down in reverse order.
 */
export async function createTestDatabase(t: Test, { migrated = true } = {}): Promise<TestDatabase> {
  const server = process.env.TEST_DATABASE_URL
  const { TEST_TEMPLATE: template, TEST_SERVICE_ROLE: role } = process.env
  if (!server || !template || !role)
    throw new Error('There is no test server. Run tests with "npm test", for one file "npm test -- test/path.test.ts".')
  const stem = basename(t.name, '.test.ts').replace(/\W+/g, '_').toLowerCase().slice(0, 30)
  const name = `farebox_test_${stem}_${process.pid}_${randomBytes(3).toString('hex')}`
  await administer(server, `create database ${name} template ${migrated ? template : 'template0'}`)
  let dropped = false
  const drop = async () => {
    if (dropped) return
    dropped = true
    // A pool says that it has ended before its servers are gone. PostgreSQL waits for them a while; killed, they would complain.
    await administer(server, `drop database ${name}`).catch(() => administer(server, `drop database ${name} with (force)`))
  }
  t.teardown(async () => {
    if (t.passing()) await drop()
    else t.comment(`The database of this test is kept: ${name}`)
  })
  const address = new URL(server)
  address.pathname = `/${name}`
  const asService = new URL(address)
  asService.username = asService.password = role
  return { url: address.href, serviceUrl: asService.href, drop }
}

async function administer(server: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: server })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
