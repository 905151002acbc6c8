import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type { Test } from 'tap'
import { createTestDatabase } from './database.ts'

/** An empty database with two roles of its own, as an operator makes them: one that migrates and owns, one that serves. */
export interface OwnedDatabase {
  /** As a superuser. */
  readonly url: string
  readonly ownerUrl: string
  readonly serviceUrl: string
}

export async function createOwnedDatabase(t: Test): Promise<OwnedDatabase> {
  const { url } = await createTestDatabase(t, { migrated: false })
  const suffix = randomBytes(4).toString('hex')
  const [owner, service] = [`owner_${suffix}`, `service_${suffix}`]
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  for (const role of [owner, service]) await client.query(`create role ${role} login password '${role}'`)
  const database = pg.escapeIdentifier(new URL(url).pathname.slice(1))
  await client.query(`alter database ${database} owner to ${owner}`)
  t.teardown(async () => {
    await client.query(`alter database ${database} owner to current_user`)
    for (const role of [owner, service]) {
      await client.query(`reassign owned by ${role} to current_user`)
      await client.query(`drop owned by ${role}`)
      await client.query(`drop role ${role}`)
    }
    await client.end()
  })
  const as = (role: string) => {
    const address = new URL(url)
    address.username = address.password = role
    return address.href
  }
  return { url, ownerUrl: as(owner), serviceUrl: as(service) }
}
